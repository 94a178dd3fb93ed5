"""Association files as they are read: one JSON object, checked, with the place of each fault."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lightmill.association.json_places import position_of
from lightmill.association.names import member_fault
from lightmill.errors import DataError, LightmillError, ValidationError

__all__ = ["Fault", "faults_of", "faults_of_text", "load"]

LARGEST = 256 << 20  # bytes of a file worth parsing
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_WORDS = {"string": "text", "array": "a list", "object": "an object", "null": "null"}
Where = tuple[str | int, ...]


class Fault(NamedTuple):
    """Something wrong with an association.

    Parameters
    ----------
    where : tuple of str and int
        Keys and indices, from the outermost.
    fact : str
        What is wrong.
    found : object
        The value met, if there is one.
    fatal : bool
        Whether programs cannot read the file, or must not follow it.
    """

    where: Where
    fact: str
    found: Any = None
    fatal: bool = True

    @property
    def path(self) -> str:
        """The place, as ``products[0].members[2].expname``."""
        text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in self.where)
        return text.lstrip(".")


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read an association.

    Parameters
    ----------
    path : path-like
        Its file.

    Returns
    -------
    association : dict
        As it is written; every member has a name and a role.

    Raises
    ------
    DataError
        If there is no such file.
    ValidationError
        If it is no association; the place has line and column of the first fault.
    """
    path = Path(path)
    text = read_text(path)
    content, faults = faults_of_text(text)
    for fault in faults:
        if fault.fatal:
            raise error_of(fault, path, text)
    assert isinstance(content, dict)
    return content


def read_text(path: Path) -> str:
    """Return the text of a file that should be an association."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValidationError("the file is too large for an association", place=path)
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise DataError(
            "the association cannot be read", place=path, found=error.strerror
        ) from error
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise ValidationError(
            "an association is JSON text in UTF-8, and this is not",
            place=f"{path}:{line}:{column}",
            found=f"byte 0x{error.object[error.start]:02x}",
        ) from error


def error_of(fault: Fault, path: Path, text: str) -> LightmillError:
    """Return a fault as an error, with line and column."""
    if fault.where and isinstance(fault.where[0], int):  # of the text, not of its content
        line, column = fault.where[0], fault.where[1]
        place = f"{path}:{line}:{column}"
    else:
        line, column = position_of(text, fault.where)
        place = f"{path}:{line}:{column}" + (f" [{fault.path}]" if fault.where else "")
    return ValidationError(fault.fact, place=place, found=fault.found)


def faults_of_text(text: str) -> tuple[Any, list[Fault]]:
    """Return what a text holds, and what is wrong with it as an association.

    A fault of the text itself has its line and column as place.
    """
    repeated: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) != len(items):
            seen: set[str] = set()
            repeated.extend(key for key, _ in items if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # add returns None
        return made

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    try:
        content = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except json.JSONDecodeError as error:
        found = text[error.pos : error.pos + 30] or None
        return None, [Fault((error.lineno, error.colno), f"no JSON: {error.msg}", found)]
    except ValueError as error:
        return None, [Fault((), str(error))]
    except RecursionError:
        return None, [Fault((), "no association: lists inside lists without end")]
    faults = [Fault((), f"the key {key!r} is there twice in one object") for key in repeated]
    return content, faults + faults_of(content)


def faults_of(content: Any) -> list[Fault]:
    """Return what is wrong with an association, in the order of its content.

    Parameters
    ----------
    content : object
        As JSON gives it.

    Returns
    -------
    faults : list of Fault
        Those a program would stumble over are ``fatal``.
    """
    faults = list(_against(_schema("association-1.0.0"), content, ()))
    if faults:
        return faults
    level_3 = [f._replace(fatal=False) for f in _against(_schema("combined-1.0.0"), content, ())]
    return level_3 + list(_of_products(content))


def _of_products(content: dict[str, Any]) -> Iterator[Fault]:
    if not content["products"]:
        yield Fault(("products",), "there are no products")
    names: set[str] = set()
    for number, product in enumerate(content["products"]):
        here: Where = ("products", number)
        name = product.get("name")
        if name is None:
            yield Fault(here, "a product without a name", fatal=False)
        else:
            if name in names:
                yield Fault((*here, "name"), "two products have one name", name)
            names.add(name)
            # Names of products are patterns: what is in braces is filled in by whoever makes them.
            wrong = member_fault(re.sub(r"\{\w+\}", "x", name))
            if wrong or not name:
                yield Fault((*here, "name"), wrong or "an empty name", name)
        if not product["members"]:
            yield Fault((*here, "members"), "the product has no members")
        known: set[tuple[str, str]] = set()
        for index, member in enumerate(product["members"]):
            place = (*here, "members", index)
            file, role = member["expname"], member["exptype"]
            # The files of a source are named by a pattern with braces, too.
            wrong = member_fault(re.sub(r"\{\w+\}", "x", file)) if file else "an empty name"
            if wrong:
                yield Fault((*place, "expname"), wrong, file)
            if (file, role) in known:
                yield Fault(place, "the member is there twice", file, fatal=False)
            known.add((file, role))


def _against(schema: dict[str, Any], value: Any, where: Where) -> Iterator[Fault]:
    """Yield where a value breaks a schema: types, what must be there, items and properties."""
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(isinstance(value, _TYPES[one]) for one in types):
        words = " or ".join(_WORDS[one] for one in types)
        what = f"{where[-1]!r}" if where and isinstance(where[-1], str) else "it"
        yield Fault(where, f"{what} is not {words}", value)
        return
    if isinstance(value, dict):
        for key in schema.get("required", ()):
            if key not in value:
                yield Fault(where, f"there is no {key!r}")
        for key, node in schema.get("properties", {}).items():
            if key in value:
                yield from _against(node, value[key], (*where, key))
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _against(schema["items"], item, (*where, index))


@functools.cache
def _schema(name: str) -> dict[str, Any]:
    path = Path(__file__).parent / "schemas" / f"{name}.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found
