"""Tables in the tree of an .asdf file, read without the packages that make objects of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.models.asdf_blocks import plain_array
from lightmill.models.asdf_file import AsdfArray
from lightmill.models.asdf_tree import TAG, Tagged

__all__ = ["plain_table"]

_TABLES = ("tag:astropy.org:astropy/table/table-", f"{TAG}core/table-", f"{TAG}table/table-")
_COLUMNS = (f"{TAG}core/column-", f"{TAG}table/column-")
_ARRAY = f"{TAG}core/ndarray-"


def plain_table(node: Any, path: Path) -> np.ndarray | None:
    """Return the rows of a table.

    Parameters
    ----------
    node : object
        Of the tree of a model.
    path : Path
        The file it is from.

    Returns
    -------
    rows : (n,) structured ndarray or None
        None if it is no table of plain columns, one number or text a row: with masks, units, times
        and the like it takes astropy to say what it means.
    """
    if not isinstance(node, Tagged) or not node.tag.startswith(_TABLES):
        return None
    listed = node.value.get("columns") if isinstance(node.value, Mapping) else None
    if not isinstance(listed, list) or not listed:
        return None
    columns: dict[str, np.ndarray] = {}
    for one in listed:
        if not isinstance(one, Tagged) or not one.tag.startswith(_COLUMNS):
            return None
        values = _values(one.value.get("data"), path)
        name = one.value.get("name")
        if values is None or values.ndim != 1 or not isinstance(name, str) or "unit" in one.value:
            return None
        columns[name] = values
    lengths = {len(values) for values in columns.values()}
    if len(columns) < len(listed) or len(lengths) != 1:
        return None
    rows = np.empty(lengths.pop(), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    return rows


def _values(data: Any, path: Path) -> np.ndarray | None:
    if isinstance(data, AsdfArray):
        return plain_array(data.node, path)
    if isinstance(data, Tagged) and data.tag.startswith(_ARRAY):
        return plain_array(data.value, path)
    return None
