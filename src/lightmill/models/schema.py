"""Schemas: what a kind of data holds, read from YAML and compiled once.

A schema is JSON Schema; ``array``, ``table``, ``unit`` and ``fits`` are our
additions. An overlay (`lightmill.models.overlay`) adds an observatory's
keywords to it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import UnknownNameError, ValidationError, suggestion
from lightmill.models.checker import Check, compile_check, plain
from lightmill.yaml_files import read_yaml

__all__ = ["ArrayField", "Field", "ModelSchema", "load_schema", "schema_directories"]

PREFIX = "lightmill:schemas/"
schema_directories: list[Path] = [Path(__file__).parent / "schemas"]
"""Where schemas are looked for; overlays append theirs."""


@dataclass(frozen=True, slots=True)
class Field:
    """One scalar of the metadata.

    Parameters
    ----------
    path : str
        Where it is, ``exposure.ngroups``.
    keyword, hdu : str or None
        FITS keyword and the extension that carries it.
    node : mapping
        What the value must be.
    """

    path: str
    keyword: str | None
    hdu: str
    node: Mapping[str, Any]
    problem: Any = field(repr=False, compare=False)

    @property
    def type(self) -> str:
        """JSON type, ``string`` when the schema says nothing."""
        kind = self.node.get("type", "string")
        return kind if isinstance(kind, str) else kind[0]

    @property
    def title(self) -> str:
        """What it means, one line."""
        return self.node.get("title", "")

    @property
    def unit(self) -> str:
        """Unit, or nothing."""
        return self.node.get("unit", "")

    @property
    def comment(self) -> str:
        """The comment of its FITS card."""
        return f"[{self.unit}] {self.title}" if self.unit else self.title

    def checked(self, given: object, place: object = None) -> Any:
        """Return the value as the schema's type, or raise ValidationError."""
        value: Any = plain(given)
        problem = self._problem(value)
        if problem is not None:
            words = problem
            remedy = f"correct the value, or extend the schema of meta.{self.path}"
            enum = self.node.get("enum")
            if enum and isinstance(value, str):
                remedy = (
                    suggestion(value, [name for name in enum if isinstance(name, str)]) or remedy
                )
            raise ValidationError(
                f"{self.title or self.path}: not a valid value",
                place=place or f"meta.{self.path}",
                found=value,
                expected=words,
                remedy=remedy,
            )
        kind = self.node.get("type")
        if kind == "number":
            return float(value)
        if kind == "integer":
            return int(value)
        return value

    def _problem(self, value: object) -> str | None:
        """Return what the value breaks: the schema, or the range of a 64-bit integer."""
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            return "a number of at most 64 bits"
        return self.problem(value)


@dataclass(frozen=True, slots=True)
class ArrayField:
    """One array or table of a model.

    Parameters
    ----------
    name : str
        Attribute.
    hdu : str or None
        Extension; None is not written to FITS.
    axes : tuple of tuple of str
        The layouts allowed, slowest axis first.
    dtypes : tuple of dtype
        The dtypes allowed; others are converted to the first that loses nothing.
    unit, title : str
    required : bool
    columns : dict
        Of a table: name -> {dtype, unit, title}.
    """

    name: str
    hdu: str | None
    axes: tuple[tuple[str, ...], ...]
    dtypes: tuple[np.dtype, ...]
    unit: str
    title: str
    required: bool
    flags: bool = False
    columns: Mapping[str, Mapping[str, str]] | None = None

    @property
    def is_table(self) -> bool:
        """Whether it is a table."""
        return self.columns is not None

    def layout(self, ndim: int) -> tuple[str, ...] | None:
        """Return the axes of an array of `ndim` dimensions, or None."""
        for axes in self.axes:
            if len(axes) == ndim:
                return axes
        return None

    def table_dtype(self) -> np.dtype:
        """Return the dtype of the columns the schema names."""
        return np.dtype([(name, column["dtype"]) for name, column in (self.columns or {}).items()])


class ModelSchema:
    """A schema with everything it refers to put in.

    Parameters
    ----------
    name : str
        ``ramp-1.0.0``.
    node : mapping
        The merged JSON Schema.
    """

    def __init__(self, name: str, node: Mapping[str, Any]) -> None:
        self.name = name
        self.node = node
        self.title: str = node.get("title", "")
        self.reftypes: tuple[str, ...] = tuple(node.get("reftypes", ()))
        self.arrays: dict[str, ArrayField] = {}
        self.fields: dict[str, Field] = {}
        self.sections: dict[str, str] = {}
        self.open_branches: dict[str, Mapping[str, Any]] = {}
        self.aliases: dict[str, str] = {}
        required = set(node.get("required", ()))
        for key, child in node.get("properties", {}).items():
            if key == "meta":
                self._collect("", child)
            elif "array" in child or "table" in child:
                self.arrays[key] = _array_field(key, child, key in required)
        self._index()

    def _index(self) -> None:
        branches: set[str] = set()
        for path in self.fields:
            branch = path.rpartition(".")[0]
            while branch and branch not in branches:
                branches.add(branch)
                branch = branch.rpartition(".")[0]
        self.branches = branches | set(self.open_branches)
        self.keywords: dict[tuple[str, str], Field] = {
            (one.hdu, one.keyword): one for one in self.fields.values() if one.keyword
        }

    def _collect(self, path: str, node: Mapping[str, Any]) -> None:
        if "properties" in node or "additionalProperties" in node:
            if path and "title" in node:
                self.sections[path] = node["title"]
            if isinstance(node.get("additionalProperties"), Mapping):
                self.open_branches[path] = node["additionalProperties"]
            for key, child in node.get("properties", {}).items():
                self._collect(f"{path}.{key}" if path else key, child)
            return
        fits = node.get("fits", {})
        self.add(path, fits.get("keyword"), fits.get("hdu", "PRIMARY"), node)

    def add(self, path: str, keyword: str | None, hdu: str, node: Mapping[str, Any]) -> None:
        """Add a scalar, or replace the one of the same path."""
        self.fields[path] = _field(path, keyword, hdu, node)

    def extended(self, overlay: Any) -> ModelSchema:
        """Return a copy that knows an overlay's keywords too."""
        copy = ModelSchema.__new__(ModelSchema)
        copy.__dict__.update(self.__dict__)
        copy.aliases = dict(overlay.aliases)
        copy.sections = {**self.sections, **overlay.sections}
        copy.fields = dict(self.fields)
        shared = overlay.shared
        for path, (keyword, hdu, node) in overlay.fields.items():
            known = copy.fields.get(path)
            if known is None:
                if path not in shared:
                    shared[path] = _field(path, keyword, hdu, node)
                copy.fields[path] = shared[path]
            elif keyword is None:
                copy.add(path, known.keyword, known.hdu, {**known.node, **node})
            else:
                copy.add(path, keyword, hdu, {**known.node, **node})
        copy._index()
        return copy

    def resolve(self, path: str) -> str:
        """Return the path a name stands for: ``meta.`` dropped, aliases followed."""
        path = path.removeprefix("meta.")
        return self.aliases.get(path, path)

    def field(self, path: str) -> Field | None:
        """Return the scalar at a path; in an open branch any name is one."""
        known = self.fields.get(path)
        if known is not None:
            return known
        for branch, node in self.open_branches.items():
            if not path.startswith(f"{branch}."):
                continue
            parts = path[len(branch) + 1 :].split(".")
            leaf = node
            if "properties" in node:
                leaf = node["properties"].get(parts.pop())
            if len(parts) == 1 and leaf is not None:
                return _field(path, None, "PRIMARY", leaf)
        return None

    def is_branch(self, path: str) -> bool:
        """Whether a path holds further names."""
        if path in self.branches:
            return True
        parent, _, _name = path.rpartition(".")
        node = self.open_branches.get(parent)
        return node is not None and "properties" in node


def _field(path: str, keyword: str | None, hdu: str, node: Mapping[str, Any]) -> Field:
    return Field(path, keyword, hdu, node, _LazyCheck(node))


class _LazyCheck:
    """The check of a node, compiled when the first value comes: most keywords never do."""

    __slots__ = ("_check", "_node")

    def __init__(self, node: Mapping[str, Any]) -> None:
        self._node = node
        self._check: Check | None = None

    def __call__(self, value: object) -> str | None:
        if self._check is None:
            self._check = compile_check(self._node)
        return self._check(value)


def load_schema(name: str) -> ModelSchema:
    """Return a schema by name, ``ramp-1.0.0``.

    Raises
    ------
    UnknownNameError
        If no directory has it.
    """
    return _load(name.removeprefix(PREFIX))


@functools.cache
def _load(name: str) -> ModelSchema:
    return ModelSchema(name, _merged(name))


@functools.cache
def _merged(name: str) -> Mapping[str, Any]:
    return _resolved(_parse(name), name)


def _resolved(node: Mapping[str, Any], name: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if "$ref" in node:
        _deep_merge(result, _merged(node["$ref"].removeprefix(PREFIX)))
    for part in node.get("allOf", ()):
        _deep_merge(result, _resolved(part, name))
    own = {key: value for key, value in node.items() if key not in ("allOf", "$ref")}
    if "properties" in own:
        own["properties"] = {key: _resolved(one, name) for key, one in own["properties"].items()}
    _deep_merge(result, own)
    return result


def _deep_merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merged = dict(into[key])
            _deep_merge(merged, value)
            into[key] = merged
        elif key == "required" and key in into:
            into[key] = list(dict.fromkeys([*into[key], *value]))
        else:
            into[key] = value


def _parse(name: str) -> Mapping[str, Any]:
    for directory in schema_directories:
        path = directory / f"{name}.yaml"
        if path.is_file():
            return read_yaml(path)
    known = [path.stem for directory in schema_directories for path in directory.glob("*.yaml")]
    raise UnknownNameError("schema", name, known)


def _array_field(name: str, node: Mapping[str, Any], required: bool) -> ArrayField:
    fits = node.get("fits", {})
    if "table" in node:
        columns = node["table"]["columns"]
        return ArrayField(
            name, fits.get("hdu"), (("row",),), (), "", node.get("title", ""), required,
            columns=columns,
        )  # fmt: skip
    array = node["array"]
    axes = array["axes"]
    layouts = axes if isinstance(axes[0], list) else [axes]
    dtypes = array["dtype"] if isinstance(array["dtype"], list) else [array["dtype"]]
    return ArrayField(
        name,
        fits.get("hdu"),
        tuple(tuple(layout) for layout in layouts),
        tuple(np.dtype(one) for one in dtypes),
        array.get("unit", ""),
        node.get("title", ""),
        required,
        flags=bool(array.get("flags", False)),
    )
