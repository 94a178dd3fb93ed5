"""A table of what each exposure of a mosaic says of itself, keyword by keyword."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightmill.models.lineage import keyword_values

__all__ = ["header_table"]

WRITING = frozenset({"DATE"})  # of the file: says nothing of the exposure


def header_table(models: Sequence[Any]) -> np.ndarray | None:
    """Return a table with a row for each exposure and a column for each keyword that one has.

    Parameters
    ----------
    models : sequence of Model

    Returns
    -------
    table : (n,) structured ndarray or None
        Numbers are int64 or float64, claims int8, the rest is text (ASCII). Where an exposure does not
        say it: no text, NaN (whole numbers are float64 then). None where no exposure says anything.
    """
    rows = [keyword_values(model) for model in models]
    names = [name for name in dict.fromkeys(n for row in rows for n in row) if name not in WRITING]
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    if not columns:
        return None
    table = np.zeros(len(rows), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        table[name] = column
    return table


def _column(values: list[Any]) -> np.ndarray:
    known = [value for value in values if value is not None]
    complete = len(known) == len(values)
    if all(isinstance(value, bool) for value in known) and complete:
        return np.array(values, np.int8)
    if all(isinstance(value, int | np.integer) for value in known) and complete:
        return np.array(values, np.int64)
    if all(isinstance(value, int | float | np.number) for value in known):
        return np.array([np.nan if value is None else float(value) for value in values])
    texts = ["" if value is None else str(value) for value in values]
    encoded = [text.encode("ascii", "replace") for text in texts]
    return np.array(encoded, f"S{max(1, *map(len, encoded))}")
