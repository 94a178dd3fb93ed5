"""The cells of a pool as rules see them.

Whoever needs cells is given this, not what else knows it: nothing of a run stands in a circle, and
all of it is gone as soon as its associations are. A service makes them all night.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lightmill.association.engine.conditions import Condition, compile_condition
from lightmill.association.pool_table import Pool

__all__ = ["PoolCells"]


class PoolCells:
    """Cells, and conditions on rows.

    Parameters
    ----------
    pool : Pool
    shared : mapping
        What the observatory's rules share.
    """

    def __init__(self, pool: Pool, shared: Mapping[str, Any]) -> None:
        self.pool = pool
        self.not_set = frozenset(shared["not_set"])
        self.conditions: Mapping[str, Any] = shared.get("conditions", {})
        self._compiled: dict[str, Condition] = {}
        self._cells: dict[str, tuple[Sequence[str], Sequence[int]]] = {}
        self._values: dict[str, list[str | None]] = {}

    def values(self, column: str) -> list[str | None]:
        """Return the different values of a column; None for those that are not set."""
        known = self._values.get(column)
        if known is None:
            texts = self.pool.values(column) if self.pool.has(column) else (None,)
            known = self._values[column] = [None if one in self.not_set else one for one in texts]
        return known

    def raw_cell(self, row: int, column: str) -> str | None:
        """Return a cell as it is; None if there is no such column."""
        cells = self._cells.get(column)
        if cells is None:
            if not self.pool.has(column):
                return None
            cells = self._cells[column] = (self.pool.values(column), self.pool.codes(column))
        values, codes = cells
        return values[codes[row]]

    def cell(self, row: int, column: str) -> str | None:
        """Return what is set in a cell."""
        value = self.raw_cell(row, column)
        return None if value is None or value in self.not_set else value

    def number(self, row: int, *columns: str) -> int | None:
        """Return the first of some cells that is a whole number."""
        for column in columns:
            value = self.raw_cell(row, column)
            if value is not None:
                try:
                    return int(value)
                except ValueError:
                    continue
        return None

    def holds(self, written: Any, row: int) -> bool:
        """Say whether a condition is true of a row."""
        key = repr(written)
        condition = self._compiled.get(key)
        if condition is None:
            condition = self._compiled[key] = compile_condition(written, self.conditions)
        return condition(_Row(self, row))


class _Row(Mapping[str, "str | None"]):
    """A row of a pool, as conditions see it."""

    def __init__(self, cells: PoolCells, row: int) -> None:
        self.cells, self.row = cells, row

    def __getitem__(self, column: str) -> str | None:
        return self.cells.cell(self.row, column)

    def get(self, column: str, default: Any = None) -> Any:
        found = self.cells.cell(self.row, column)
        return default if found is None else found

    def __iter__(self) -> Iterator[str]:
        return iter(self.cells.pool.columns)

    def __len__(self) -> int:
        return len(self.cells.pool.columns)
