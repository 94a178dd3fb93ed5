"""Models in .asdf files, through the asdf package, imported when needed."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import CorruptFileError, DataError, LightmillError
from lightmill.models.asdf_blocks import plain_array
from lightmill.models.asdf_tree import (
    STANDARD,
    TAG,
    AsdfSection,
    Tagged,
    array_tag,
    datatype_of,
)
from lightmill.models.classes import ReferenceModel, class_named, class_of_reftype
from lightmill.models.foreign import Foreign
from lightmill.models.lazy import FileBytes
from lightmill.models.model import Model, accepted
from lightmill.models.namespace import MetaStore, nested
from lightmill.models.output import atomic
from lightmill.models.overlay import model_schema, overlay_of
from lightmill.models.regions import Region
from lightmill.models.unread import UnreadArray

__all__ = ["AsdfArray", "inline", "read_asdf", "write_asdf"]

_NDARRAY = f"{TAG}core/ndarray-"
_OBJECTS = {"asdf-astropy", "gwcs"}  # packages that make objects of parts of a tree


class AsdfArray(UnreadArray):
    """An array in an .asdf file, not yet read.

    Parameters
    ----------
    path : Path
        The file.
    keys : tuple
        Where the array is in the tree.
    shape : tuple of int
    dtype : dtype
    node : object, optional
        What the tree says of the array.
    """

    def __init__(
        self,
        path: Path,
        keys: tuple[Any, ...],
        shape: tuple[int, ...],
        dtype: np.dtype,
        region: Region | None = None,
        node: Any = None,
    ) -> None:
        self.node = node
        self.path, self.keys, self.dtype, self.region = path, keys, np.dtype(dtype), region
        self._frame = shape
        self.shape = shape if region is None else (*shape[:-2], *region.shape)
        self.place = f"{path.name}[{'.'.join(map(str, keys))}]"

    def cut(self, region: Region) -> AsdfArray:
        """Return the part of the last two axes in `region`; nothing is read."""
        part = self._within(region)
        return AsdfArray(self.path, self.keys, self._frame, self.dtype, part, self.node)

    def astype(self, dtype: np.dtype) -> AsdfArray:
        """Return the same array, to be read as another dtype; nothing is read."""
        kind = np.dtype(dtype)
        return AsdfArray(self.path, self.keys, self._frame, kind, self.region, self.node)

    def _whole(self) -> np.ndarray:
        values = plain_array(self.node, self.path)
        if values is not None:
            return values
        import asdf

        try:
            with asdf.config_context() as config, warnings.catch_warnings():
                warnings.simplefilter("ignore", asdf.exceptions.AsdfWarning)
                # Else the table or transform around the array would be made, and hide it.
                for package in _OBJECTS & {one.package_name for one in config.extensions}:
                    config.remove_extension(package=package)
                with asdf.open(self.path, memmap=False, ignore_unrecognized_tag=True) as file:
                    node: Any = file.tree
                    for key in self.keys:
                        node = node[key]
                    found = np.array(node)
        except Exception as error:  # a damaged block raises whatever its codec raises
            raise self._unreadable(error) from error
        if found.dtype == object:
            raise self._unreadable(f"{type(node).__name__} instead of an array")
        return found

    def _unreadable(self, found: object) -> CorruptFileError:
        return CorruptFileError(
            "the array cannot be read", place=self.place, found=found, remedy="fetch the file again"
        )


def read_asdf(source: FileBytes) -> Model:
    """Return the model an .asdf file holds; arrays stay in the file.

    Raises
    ------
    CorruptFileError
        If it is not an ASDF file, or damaged.
    """

    def content() -> bytes:
        buffer = bytearray(source.size)
        source.read_into(memoryview(buffer), 0)
        return bytes(buffer)

    section = AsdfSection(content, source.name)
    tree = section.tree()
    if not any(isinstance(value, (dict, Tagged)) for value in tree.values()):
        raise CorruptFileError(
            "the file holds no tree", place=source.path, expected="a tree with meta and arrays"
        )
    tree = {key: _with_arrays(value, (key,), source.path) for key, value in tree.items()}
    section.replace(tree)
    meta = section.meta()
    telescope = meta.get("telescope")
    telescope = telescope if isinstance(telescope, str) else None
    model_class = _class_of(meta, telescope)
    schema = model_schema(model_class.schema, telescope)
    store = MetaStore(schema, {}, Foreign(asdf=section), source.name)
    arrays: dict[str, Any] = {}
    for key, value in tree.items():
        if not isinstance(value, AsdfArray):
            continue
        field = schema.arrays.get(key)
        if field is not None:
            whole = value.read() if field.is_table else value
            arrays[key] = accepted(field, whole, value.place)
        elif model_class is Model and value.dtype.names:
            arrays[key] = value.read()
        elif model_class is Model and value.dtype.kind in "biuf" and key.isidentifier():
            arrays[key] = value
    section.replace({key: value for key, value in tree.items() if key not in arrays})
    ordered = {name: arrays[name] for name in schema.arrays if name in arrays}
    model = model_class._made(store, {**ordered, **arrays}, path=source.path)
    store.read_tree()
    model.validate()
    return model


def write_asdf(
    model: Model, path: Path, values: Mapping[str, Any], tree: Mapping[str, Any]
) -> None:
    """Write a model to an .asdf file, atomically."""
    import asdf

    whole: dict[str, Any] = {name: np.asarray(getattr(model, name)) for name in model.arrays}
    whole["meta"] = _for_library(nested(values))
    section = model.foreign.asdf
    if section is not None and section.blocks():
        tree = _with_blocks(tree, section)
    whole.update({key: _for_library(value) for key, value in tree.items()})
    try:
        file = asdf.AsdfFile(whole, ignore_unrecognized_tag=True)
        for text in model.history:
            file.add_history_entry(text)
    except LightmillError:
        raise
    except Exception as error:  # what the package cannot represent
        raise DataError("the tree cannot be written as ASDF", place=path, found=error) from error
    with atomic(path) as output:
        stream = os.fdopen(os.dup(output.descriptor), "wb")
        try:
            with stream:
                file.write_to(stream)
        except OSError:
            raise
        except Exception as error:  # what the package cannot represent
            raise DataError(
                "the tree cannot be written as ASDF", place=path, found=error
            ) from error


def inline(value: Any, standard: str = STANDARD) -> Any:
    """Return a tree with its arrays written out, as a tree without blocks needs them."""
    if isinstance(value, AsdfArray):
        array = value.read()
        node = {
            "data": array.tolist(),
            "datatype": datatype_of(array.dtype),
            "shape": list(array.shape),
        }
        return Tagged(array_tag(standard), node)
    if isinstance(value, Tagged):
        return Tagged(value.tag, inline(value.value, standard))
    if isinstance(value, dict):
        return {key: inline(one, standard) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [inline(one, standard) for one in value]
    return value


def _class_of(meta: Mapping[str, Any], telescope: str | None) -> type[Model]:
    name, overlay = meta.get("model_type"), overlay_of(telescope)
    if isinstance(name, str):
        found = class_named((overlay.models.get(name) if overlay else None) or name)
        if found is not None:
            return found
    reftype = meta.get("reftype")
    if isinstance(reftype, str):
        return class_of_reftype(reftype) or ReferenceModel
    return Model


def _with_arrays(value: Any, keys: tuple[Any, ...], path: Path, *, inside: bool = False) -> Any:
    """Return a tree whose array nodes stand for the arrays.

    Those of an object (`inside`) that are written out in the tree are part of what the object's
    own package reads, and stay as they are: columns of texts, for instance.
    """
    if isinstance(value, Tagged):
        if value.tag.startswith(_NDARRAY):
            written_out = isinstance(value.value, list) or "data" in value.value
            return value if inside and written_out else _array_of(value.value, keys, path)
        return Tagged(value.tag, _with_arrays(value.value, keys, path, inside=True))
    if isinstance(value, dict):
        return {
            key: _with_arrays(one, (*keys, key), path, inside=inside) for key, one in value.items()
        }
    if isinstance(value, list):
        return [
            _with_arrays(one, (*keys, number), path, inside=inside)
            for number, one in enumerate(value)
        ]
    return value


def _array_of(node: Any, keys: tuple[Any, ...], path: Path) -> Any:
    if isinstance(node, dict) and isinstance(node.get("datatype"), str):
        shape = node.get("shape")
        if isinstance(shape, list) and all(isinstance(n, int) and n >= 0 for n in shape):
            try:
                kind = np.dtype(node["datatype"])
                return AsdfArray(path, keys, tuple(shape), kind, node=node)
            except TypeError:
                pass
    loaded = AsdfArray(path, keys, (), np.dtype(object), node=node)
    values = _loaded(loaded)
    return AsdfArray(path, keys, values.shape, values.dtype, node=node)


def _loaded(array: AsdfArray) -> np.ndarray:
    """Read an array whose node does not say its shape or type in plain words."""
    values = array._whole()
    return values.astype(values.dtype.newbyteorder("="))


def _with_blocks(tree: Mapping[str, Any], section: AsdfSection) -> dict[str, Any]:
    """Return a tree with the arrays of its binary blocks put in."""
    import asdf

    def filled(value: Any, node: Any) -> Any:
        if isinstance(value, Tagged):
            if value.tag.startswith(_NDARRAY):
                return np.array(node)
            return Tagged(value.tag, filled(value.value, node))
        if isinstance(value, dict):
            return {key: filled(one, node[key]) for key, one in value.items()}
        if isinstance(value, list):
            return [filled(one, node[number]) for number, one in enumerate(value)]
        return value

    try:
        with asdf.open(io.BytesIO(section.content), ignore_unrecognized_tag=True) as file:
            return {key: filled(value, file.tree.get(key)) for key, value in tree.items()}
    except Exception as error:
        raise CorruptFileError(
            "the ASDF tree is damaged", place=section.place, found=error
        ) from error


def _for_library(value: Any) -> Any:
    """Return a tree as the asdf package wants it: tags on its own node types."""
    from asdf.tagged import TaggedDict, TaggedList, TaggedString

    if isinstance(value, AsdfArray):
        return value.read()
    if isinstance(value, Tagged):
        inner = _for_library(value.value)
        if isinstance(inner, dict):
            return TaggedDict(inner, value.tag)
        if isinstance(inner, list):
            return TaggedList(inner, value.tag)
        text = TaggedString(str(inner))
        text._tag = value.tag
        return text
    if isinstance(value, dict):
        return {key: _for_library(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_for_library(one) for one in value]
    return value
