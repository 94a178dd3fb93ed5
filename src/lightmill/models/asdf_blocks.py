"""Arrays of an .asdf file, read without the asdf package: written out in the tree, or in plain blocks.

The package takes a second to start, and makes objects of all the tree to get at one array. Blocks
it compressed, strided views, masks, tables and other files are left to it.

References
----------
.. [1] Greenfield, P., Droettboom, M., & Bray, E. 2015, Astronomy and Computing, 12, 240; file
   layout: https://asdf-standard.readthedocs.io/en/latest/file_layout.html
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.models.asdf_tree import TAG, Tagged, array_tag

__all__ = ["plain_array", "written_out"]

_NDARRAY = f"{TAG}core/ndarray-"
_MAGIC = b"\xd3BLK"
_HEADER = struct.Struct(">I4sQQQ16s")  # flags, compression, allocated, used, data size, checksum
_END_OF_TREE = (b"\n...\n", b"\n...\r\n")
_STREAMED = 1  # flag: the block goes on to the end of the file
_TYPES = frozenset(
    ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
     "float64", "complex64", "complex128")
)  # fmt: skip
_TEXTS = {"ascii": "S", "ucs4": "U"}  # of fixed length
LONGEST_TEXT = 1 << 16  # characters
LARGEST_TREE = 16 << 20  # bytes in which the end of the tree is looked for


def written_out(node: Any, content: bytes, standard: str) -> Any:
    """Return a node with its arrays as lists, as a tree without blocks has them.

    Parameters
    ----------
    node : object
        Of a tree, or a part of one.
    content : bytes
        The ASDF file it is in.
    standard : str
        Version of the standard whose tags the tree has.

    Returns
    -------
    node : object
        Arrays that only the asdf package can read stay as they are.
    """
    if isinstance(node, Tagged):
        if not node.tag.startswith(_NDARRAY):
            return Tagged(node.tag, written_out(node.value, content, standard))
        is_elsewhere = isinstance(node.value, Mapping) and "data" not in node.value
        values = plain_array(node.value, content) if is_elsewhere else None
        if values is None or values.dtype.kind not in "biuf":
            return node
        held = {"data": values.tolist(), "datatype": values.dtype.name, "shape": list(values.shape)}
        return Tagged(array_tag(standard), held)
    if isinstance(node, Mapping):
        return {key: written_out(one, content, standard) for key, one in node.items()}
    if isinstance(node, list):
        return [written_out(one, content, standard) for one in node]
    return node


def plain_array(node: Any, source: Path | bytes) -> np.ndarray | None:
    """Return the array a node stands for, or None if only the asdf package can read it.

    Parameters
    ----------
    node : list or mapping
        Content of a node tagged ``core/ndarray``.
    source : Path or bytes
        The file it is in, or its content.

    Returns
    -------
    array : ndarray or None
        Native-endian, owned by the caller.
    """
    if isinstance(node, list):
        return _inline(node, None)
    if not isinstance(node, Mapping) or {"mask", "strides"} & set(node):
        return None
    kind = node.get("datatype")
    if kind is not None:
        kind = _native_type(kind)
        if kind is None:
            return None
    if "data" in node:
        return _inline(node["data"], kind, node.get("shape"))
    number, shape, order = node.get("source"), node.get("shape"), node.get("byteorder")
    offset = node.get("offset", 0)
    if (
        not isinstance(number, int)
        or not isinstance(offset, int)
        or min(number, offset) < 0
        or kind is None
        or order not in {"big", "little"}
        or not isinstance(shape, list)
        or not all(isinstance(length, int) and length >= 0 for length in shape)
    ):
        return None
    dtype = kind.newbyteorder(">" if order == "big" else "<")
    count = int(np.prod(shape, dtype=object))
    data = _block(source, number, offset, count * dtype.itemsize)
    if data is None:
        return None
    values = np.frombuffer(data, dtype).reshape(shape)
    return values.astype(dtype.newbyteorder("="))


def _native_type(kind: Any) -> np.dtype | None:
    """Return the dtype of a word, or of a kind of text and its length; None of anything else."""
    if isinstance(kind, str):
        return np.dtype(kind) if kind in _TYPES else None
    if isinstance(kind, list) and len(kind) == 2:
        word, length = kind
        if isinstance(word, str) and isinstance(length, int) and 0 < length <= LONGEST_TEXT:
            return np.dtype((_TEXTS[word], length)) if word in _TEXTS else None
    return None


def _inline(data: Any, kind: np.dtype | None, shape: Any = None) -> np.ndarray | None:
    try:
        values = np.array(data, kind)
        if shape is not None:  # of an empty array, the list says less than the shape
            values = values.reshape(shape)
    except (TypeError, ValueError, OverflowError):
        return None
    return values if kind is not None or values.dtype.kind in "biufc" else None


def _block(source: Path | bytes, number: int, offset: int, size: int) -> bytes | None:
    """Return bytes of a block, the first of which is number 0; None if it is not a plain one."""
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            position = _first_block(file.read(LARGEST_TREE))
            if position is None:
                return None
            for _ in range(number + 1):
                file.seek(position)
                head = file.read(6)
                length = int.from_bytes(head[4:6], "big")
                fields = file.read(length)
                if head[:4] != _MAGIC or len(fields) < _HEADER.size or len(fields) != length:
                    return None
                flags, compression, allocated, _, held, _ = _HEADER.unpack_from(fields)
                begin, position = position + 6 + length, position + 6 + length + allocated
                if flags & _STREAMED:
                    return None
            if compression != b"\0\0\0\0" or offset + size > held:
                return None
            file.seek(begin + offset)
            data = file.read(size)
    except OSError:
        return None
    return data if len(data) == size else None


def _first_block(beginning: bytes) -> int | None:
    ends = [beginning.find(end) + len(end) for end in _END_OF_TREE if beginning.find(end) >= 0]
    found = beginning.find(_MAGIC, min(ends)) if ends else -1
    return found if found >= 0 else None
