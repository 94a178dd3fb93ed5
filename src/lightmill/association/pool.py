"""Pools as the field writes them: a table of text with ``|`` between the cells."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, NoReturn

from lightmill.association.pool_table import IN_MEMORY, Column, Pool, concat
from lightmill.errors import CorruptFileError, DataError, OutputError, ValidationError

__all__ = ["IN_MEMORY", "Pool", "concat", "read_pool", "write_pool"]

BLOCK = 1 << 17  # bytes parsed at once: their cells stay in a processor's cache
LONGEST = 1 << 20  # bytes a line may have: a pool's have a few hundred
_CONTROL = bytes({*range(32), 127} - set(b"\t\n\r"))
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?|[+-]?(nan|inf)", re.IGNORECASE)
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')


def read_pool(
    path: str | os.PathLike[str],
    *,
    delimiter: str = "|",
    fold: bool = True,
    as_written: Collection[str] = (),
) -> Pool:
    """Read a pool.

    The first line that is no comment has the names of the columns. Lines that start with ``#``
    and blank lines say nothing. Blanks around a cell are no part of it; double quotes around a
    cell let it have the delimiter in it.

    Parameters
    ----------
    path : path-like
        The file.
    delimiter : str
        The character between cells.
    fold : bool
        Whether to make names and cells what rules see: lower case, and ``null`` for what is
        empty (see `Pool.folded`). Else as they are written.
    as_written : collection of str
        Columns whose letters keep their case.

    Returns
    -------
    pool : Pool
        Rows in the order of the file; it knows their lines.

    Raises
    ------
    DataError
        If there is no such file.
    CorruptFileError
        If it is no text; the place has line and column.
    ValidationError
        If a row has other than the header's number of cells, or names of columns are missing,
        numbers, or differ only in case; the place has line and column.
    """
    path = Path(path)
    if len(delimiter) != 1 or delimiter in '"# \n\r':
        raise DataError("a pool's delimiter is one character", found=delimiter, expected="|")
    table = _Table(path, delimiter, fold=fold, as_written=as_written)
    try:
        with path.open("rb") as file:
            for text, first in _blocks(file, path):
                table.add(text, first)
    except OSError as error:
        raise DataError("the pool cannot be read", place=path, found=error.strerror) from error
    if table.names is None:
        raise ValidationError("the pool has no header line", place=path, expected="column|column|…")
    columns = {
        name: Column(list(known), codes)
        for name, known, codes in zip(table.names, table.values, table.codes, strict=True)
    }
    pool = Pool(columns, name=path.name, lines=table.lines, header=table.header)
    return pool.folded(as_written) if fold else pool


def write_pool(pool: Pool, path: str | os.PathLike[str], *, delimiter: str = "|") -> Path:
    """Write a pool: all of it or, if that fails, nothing.

    Parameters
    ----------
    pool : Pool
        What to write, as it is.
    path : path-like
        The file; one that exists is replaced.
    delimiter : str
        The character between cells.

    Returns
    -------
    path : Path
        The file.

    Raises
    ------
    OutputError
        If it cannot be written there.
    ValidationError
        If a cell has a line break or another control character in it.
    """
    from lightmill import models

    path = Path(path)
    written = [
        [_quoted(text, delimiter, pool.name, name) for text in pool.values(name)]
        for name in pool.columns
    ]
    header = delimiter.join(_quoted(name, delimiter, pool.name, "") for name in pool.columns)
    cells = [
        map(texts.__getitem__, pool.codes(name))
        for texts, name in zip(written, pool.columns, strict=True)
    ]
    try:
        with models.atomic(path) as file:
            file.write((header + "\n").encode())
            some: list[str] = []
            for row in zip(*cells, strict=True):
                some.append(delimiter.join(row))
                if len(some) == 4096:
                    file.write(("\n".join(some) + "\n").encode())
                    some.clear()
            if some:
                file.write(("\n".join(some) + "\n").encode())
    except OSError as error:
        raise OutputError("the pool cannot be written", place=path, found=error.strerror) from error
    return path


class _Codes(dict[str, int]):
    """Raw cell → number of its value; a cell not met before gets one."""

    def __init__(self, values: dict[str, int], *, fold: bool) -> None:
        super().__init__()
        self.values_ = values
        self.fold = fold

    def __missing__(self, raw: str) -> int:
        text = raw.strip().lower() if self.fold else raw.strip()
        code = self.values_.setdefault(raw if text == raw else text, len(self.values_))
        self[raw] = code
        return code


class _Table:
    """What was read so far."""

    def __init__(
        self, path: Path, delimiter: str, *, fold: bool, as_written: Collection[str]
    ) -> None:
        self.path = path
        self.delimiter = delimiter
        self.fold = fold
        self.as_written = as_written
        self.names: list[str] | None = None
        self.header: int | None = None
        self.lines = array("q")
        self.values: list[dict[str, int]] = []
        self.codes: list[array[int]] = []
        self._tables: list[_Codes] = []

    def add(self, text: str, first: int) -> None:
        """Take in lines of the file, of which `first` is the number of the first."""
        delimiter = self.delimiter
        quotes = '"' in text
        rows: list[list[str]] = []
        for number, line in enumerate(text.split("\n"), first):
            cells = line.split(delimiter)
            start = cells[0].lstrip()
            if start[:1] == "#" or (not start and len(cells) == 1):
                continue
            if quotes and '"' in line:
                cells = self._split(line, number)
            if self.names is None:
                self._header(cells, number, line)
                continue
            if len(cells) != len(self.names):
                self._wrong_count(cells, number, line)
            rows.append(cells)
            self.lines.append(number)
        for cells_of, table, codes in zip(
            zip(*rows, strict=True), self._tables, self.codes, strict=bool(rows)
        ):
            codes.extend(map(table.__getitem__, cells_of))

    def _header(self, cells: list[str], number: int, line: str) -> None:
        self.header = number
        names: list[str] = []
        counts: dict[str, int] = {}
        at = 1
        for cell in cells:
            name = cell.strip()
            place = f"{self.path}:{number}:{at}"
            at += len(cell) + 1
            if not name or _NUMBER.fullmatch(name):
                raise ValidationError(
                    "a column's name is empty" if not name else "a column's name is a number",
                    place=place,
                    found=_start(line),
                    remedy="the first line that is no comment must name the columns",
                )
            counts[name] = counts.get(name, -1) + 1
            if counts[name]:  # the field's reader numbers repeated names
                name = f"{name}_{counts[name]}"
            if name.lower() in {known.lower() for known in names}:
                raise ValidationError(
                    "two columns differ only in the case of letters", place=place, found=name
                )
            names.append(name)
        self.names = names
        self.values = [{} for _ in names]
        self._tables = [
            _Codes(known, fold=self.fold and name.lower() not in self.as_written)
            for name, known in zip(names, self.values, strict=True)
        ]
        self.codes = [array("i") for _ in names]

    def _wrong_count(self, cells: list[str], number: int, line: str) -> NoReturn:
        assert self.names is not None
        many = len(cells) > len(self.names)
        at = sum(len(cell) + 1 for cell in cells[: len(self.names)]) if many else len(line)
        missing = "" if many else f"; the row ends before column {self.names[len(cells)]!r}"
        raise ValidationError(
            f"a row has {'too many' if many else 'too few'} cells{missing}",
            place=f"{self.path}:{number}:{at + 1}",
            found=f"{len(cells)} cells",
            expected=f"{len(self.names)} cells",
            remedy=f"put double quotes around a cell that has a {self.delimiter} in it"
            if many
            else None,
        )

    def _split(self, line: str, number: int) -> list[str]:
        """Return the cells of a line some of whose cells are quoted."""
        cells: list[str] = []
        blanks = re.compile("[ \t\r]*".replace("\t" if self.delimiter == "\t" else "", ""))
        at = 0
        while True:
            start = _end(blanks, line, at)
            if line[start : start + 1] != '"':
                end = line.find(self.delimiter, at)
                end = len(line) if end < 0 else end
                cells.append(line[at:end])
            else:
                match = _QUOTED.match(line, start)
                if match is None:
                    raise ValidationError(
                        "a cell's quotes are not closed on the same line",
                        place=f"{self.path}:{number}:{start + 1}",
                        found=_start(line[start:]),
                    )
                end = _end(blanks, line, match.end())
                if end < len(line) and line[end] != self.delimiter:
                    raise ValidationError(
                        "there is text after the closing quotes of a cell",
                        place=f"{self.path}:{number}:{end + 1}",
                        found=_start(line[end:]),
                    )
                cells.append(match.group(1).replace('""', '"'))
            if end >= len(line):
                return cells
            at = end + 1


def _blocks(file: BinaryIO, path: Path) -> Iterator[tuple[str, int]]:
    """Yield whole lines of the file, many at once, and the number of the first."""
    number = 1
    while data := file.read(BLOCK):
        if not data.endswith(b"\n"):
            data += file.readline(LONGEST)
        longest = max(map(len, data.split(b"\n")))
        if len(data.translate(None, _CONTROL)) != len(data):
            at = next(i for i, byte in enumerate(data) if byte in _CONTROL)
            raise CorruptFileError(
                "a pool is text, and this is not",
                place=_place(path, data, at, number),
                found=f"byte 0x{data[at]:02x}",
            )
        if longest >= LONGEST:
            raise CorruptFileError(
                "a line is too long for a pool",
                place=f"{path}:{number}",
                found=f"{longest} bytes",
                expected=f"less than {LONGEST}",
            )
        try:
            text = data.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise CorruptFileError(
                "a pool is text in UTF-8, and this is not",
                place=_place(path, data, error.start, number),
                found=f"byte 0x{data[error.start]:02x}",
            ) from error
        lines = data.count(b"\n")
        yield text, number
        number += lines


def _place(path: Path, data: bytes, at: int, first: int) -> str:
    line = first + data.count(b"\n", 0, at)
    column = at - data.rfind(b"\n", 0, at)
    return f"{path}:{line}:{column}"


def _end(blanks: re.Pattern[str], line: str, at: int) -> int:
    match = blanks.match(line, at)
    return match.end() if match else at


def _start(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def _quoted(text: str, delimiter: str, pool: str, column: str) -> str:
    bad = _UNPRINTABLE.search(text)
    if bad:
        raise ValidationError(
            "a cell of a pool has no line breaks or control characters",
            place=f"{pool} [{column}]",
            found=_start(repr(text)),
        )
    plain = text and text == text.strip() and delimiter not in text and text[0] not in '"#'
    return text if plain else '"' + text.replace('"', '""') + '"'
