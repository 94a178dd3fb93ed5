"""The pool: a table of exposures, one row a file, that rules make associations of.

A pool of a whole mission has a million rows of sixty columns, of which most repeat a few values:
each column is kept as the values it has and a number per row that says which, four bytes a cell.
Tables of text are read and written in `pool`.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lightmill.errors import DataError, UnknownNameError, ValidationError

__all__ = ["IN_MEMORY", "Column", "Pool", "concat"]

IN_MEMORY = "in-memory"  # name of a pool that came from no file


class Column:
    """One column: its different values, and which of them each row has.

    Parameters
    ----------
    values : sequence of str
        No value twice.
    codes : array of int
        (nrows,), index in `values`.
    """

    __slots__ = ("codes", "values")

    def __init__(self, values: list[str], codes: array[int]) -> None:
        self.values = values
        self.codes = codes

    @classmethod
    def of(cls, cells: Iterable[str]) -> Column:
        """Return the column that has these cells."""
        cells = list(cells)
        known = {cell: code for code, cell in enumerate(dict.fromkeys(cells))}
        return cls(list(known), array("i", map(known.__getitem__, cells)))

    def cells(self) -> list[str]:
        """Return the value of every row; equal values are one object."""
        return list(map(self.values.__getitem__, self.codes))

    def taken(self, rows: Iterable[int]) -> Column:
        """Return the column of some rows; values that no row has any more are left out."""
        old = list(map(self.codes.__getitem__, rows))
        known = {code: new for new, code in enumerate(dict.fromkeys(old))}
        if len(known) == len(self.values):
            return Column(self.values, array("i", old))
        return Column([self.values[c] for c in known], array("i", map(known.__getitem__, old)))

    def mapped(self, change: Mapping[str, str]) -> Column:
        """Return the column with some values changed for others, each everywhere."""
        if not change:
            return self
        known: dict[str, int] = {}
        new = [known.setdefault(change.get(value, value), len(known)) for value in self.values]
        if len(known) == len(self.values):
            return Column(list(known), self.codes)
        return Column(list(known), array("i", map(new.__getitem__, self.codes)))


class Pool:
    """Exposures, and what is known of each, as text.

    Parameters
    ----------
    columns : mapping of str to Column
        In the order of the table. All are equally long.
    name : str
        Base name of the file the pool came from.
    lines : sequence of int, optional
        Line of that file each row was on.
    header : int, optional
        Line of that file the columns are named on.
    """

    __slots__ = ("_columns", "_length", "header", "lines", "name")

    def __init__(
        self,
        columns: Mapping[str, Column],
        *,
        name: str = IN_MEMORY,
        lines: Sequence[int] | None = None,
        header: int | None = None,
    ) -> None:
        self._columns = dict(columns)
        self._length = len(next(iter(self._columns.values())).codes) if self._columns else 0
        self.name = name
        self.lines = lines
        self.header = header

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[Mapping[str, Any]],
        *,
        columns: Sequence[str] | None = None,
        name: str = IN_MEMORY,
    ) -> Pool:
        """Return a pool of rows that need not have the same columns.

        Parameters
        ----------
        rows : iterable of mapping
            Column → value; None, and a column a row does not have, become ``null``.
        columns : sequence of str, optional
            The columns, in order; by default every column any row has, as they come.
        name : str
            What to call the pool.
        """
        rows = list(rows)
        if columns is None:
            columns = list(dict.fromkeys(column for row in rows for column in row))
        table = {column: Column.of(_text(row.get(column)) for row in rows) for column in columns}
        return cls(table, name=name)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(self._columns)

    def __len__(self) -> int:
        return self._length

    def __eq__(self, other: object) -> bool:
        """Say whether the tables are equal: columns, their order, and every cell."""
        if not isinstance(other, Pool):
            return NotImplemented
        return (
            self.columns == other.columns
            and len(self) == len(other)
            and all(self.column(name) == other.column(name) for name in self.columns)
        )

    __hash__ = None  # type: ignore[assignment]  # equal by content, and large

    def __repr__(self) -> str:
        return f"<Pool {self.name}: {len(self)} rows of {len(self._columns)} columns>"

    def __iter__(self) -> Iterator[dict[str, str]]:
        """Yield every row as a dict."""
        names = self.columns
        cells = [map(column.values.__getitem__, column.codes) for column in self._columns.values()]
        for values in zip(*cells, strict=True):
            yield dict(zip(names, values, strict=True))

    def has(self, name: str) -> bool:
        """Say whether there is such a column."""
        return name in self._columns

    def column(self, name: str) -> list[str]:
        """Return the cells of a column, one a row.

        Raises
        ------
        UnknownNameError
            If there is no such column.
        """
        return self._column(name).cells()

    def values(self, name: str) -> list[str]:
        """Return the different values of a column, for the caller to look at only."""
        return self._column(name).values

    def codes(self, name: str) -> array[int]:
        """Return for each row which of `values` it has (nrows,), to look at only."""
        return self._column(name).codes

    def cell(self, row: int, name: str) -> str:
        """Return one cell."""
        column = self._column(name)
        return column.values[column.codes[row]]

    def row(self, number: int) -> dict[str, str]:
        """Return one row as a dict, column → cell."""
        return {name: c.values[c.codes[number]] for name, c in self._columns.items()}

    def place(self, row: int, column: str | None = None) -> str:
        """Return where a row is, for messages: ``name:line [column]``."""
        line = self.lines[row] if self.lines is not None else row + 1
        text = f"{self.name}:{line}" if self.lines is not None else f"{self.name}, row {line}"
        return text if column is None else f"{text} [{column}]"

    def require(self, names: Iterable[str]) -> None:
        """Refuse a pool without some columns.

        Raises
        ------
        ValidationError
            That names the columns that are missing.
        """
        missing = [name for name in names if name not in self._columns]
        if missing:
            raise ValidationError(
                "the pool has no column " + ", ".join(repr(name) for name in missing),
                place=self.name if self.header is None else f"{self.name}:{self.header}",
                found=", ".join(self.columns),
                remedy="add the column to the pool; `lightmill asn pool` makes it from headers",
            )

    def select(self, rows: Sequence[int]) -> Pool:
        """Return the pool of some rows, in the order given."""
        return Pool(
            {name: column.taken(rows) for name, column in self._columns.items()},
            name=self.name,
            lines=None if self.lines is None else array("q", map(self.lines.__getitem__, rows)),
            header=self.header,
        )

    def replaced(self, name: str, cells: Iterable[str] | str) -> Pool:
        """Return the pool with other cells in a column; one text goes to every row."""
        if isinstance(cells, str):
            new = Column([cells], array("i", bytes(4 * len(self))))
        else:
            new = Column.of(cells)
        if len(new.codes) != len(self):
            raise DataError(
                f"the cells given for column {name!r} are not one a row",
                found=len(new.codes),
                expected=len(self),
            )
        return Pool(
            {**self._columns, name: new}, name=self.name, lines=self.lines, header=self.header
        )

    def folded(self, as_written: Collection[str] = ()) -> Pool:
        """Return the pool as rules see it: lower case, no blanks around, every cell filled.

        An empty cell becomes ``null``, cut to the width of the widest value of its column: the
        field's reader does so, and what comes of it (``nu`` is a value, ``n`` is none) is seen
        in associations.

        Parameters
        ----------
        as_written : collection of str
            Columns, in lower case, whose letters keep their case.
        """
        columns: dict[str, Column] = {}
        for name, column in self._columns.items():
            if name.lower() in columns:
                raise ValidationError(
                    "two columns differ only in the case of letters", place=self.name, found=name
                )
            columns[name.lower()] = _folded(column, keep=name.lower() in as_written)
        return Pool(columns, name=self.name, lines=self.lines, header=self.header)

    def _column(self, name: str) -> Column:
        found = self._columns.get(name)
        if found is None:
            raise UnknownNameError("column of the pool", name, self._columns, place=self.name)
        return found


def concat(pools: Sequence[Pool], *, name: str | None = None) -> Pool:
    """Return one pool with the rows of several; what a pool has no column of is ``null``.

    Parameters
    ----------
    pools : sequence of Pool
        In the order of their rows.
    name : str, optional
        What to call it; by default as the first.
    """
    names = list(dict.fromkeys(column for pool in pools for column in pool.columns))

    def cells(column: str) -> Iterator[str]:
        for pool in pools:
            yield from pool.column(column) if pool.has(column) else ["null"] * len(pool)

    return Pool(
        {column: Column.of(cells(column)) for column in names},
        name=name or (pools[0].name if pools else IN_MEMORY),
    )


def _folded(column: Column, *, keep: bool = False) -> Column:
    folded = [value.strip() if keep else value.strip().lower() for value in column.values]
    if "" in folded:
        empty = "null"[: max(1, *map(len, folded))]
        folded = [text or empty for text in folded]
    pairs = zip(column.values, folded, strict=True)
    return column.mapped({value: text for value, text in pairs if text != value})


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
