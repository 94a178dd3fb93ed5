"""Make a pool: the headers of exposures' files, as rows.

What becomes a column, and of which keyword, is said by a file of the observatory
(``associations/pool.yaml``). A file that cannot be read is left out and reported; a keyword that
a header does not have leaves the cell ``null``, and is reported where rules need it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightmill.association.names import member_fault
from lightmill.association.pool_columns import Column, text_of
from lightmill.association.pool_table import IN_MEMORY, Pool
from lightmill.errors import CorruptFileError, DataError, LightmillError

if TYPE_CHECKING:
    from lightmill.models.cards import Header

__all__ = ["MadePool", "Skipped", "exposures_in", "make_pool", "read_header"]

BLOCK = 2880  # bytes of a FITS block
FIRST_READ = 10 * BLOCK  # most primary headers are shorter
LONGEST = 8 << 20  # bytes a header may have
THREADS = 8  # reading a header is waiting for a disk
_BATCH = 512  # files between two reports of progress
_COMMENTARY = {"", "COMMENT", "HISTORY", "CONTINUE", "END", "SIMPLE", "BITPIX", "NAXIS", "EXTEND"}

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Skipped:
    """A file that is not in the pool, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class MadePool:
    """A pool made of files, and what there is to say about it.

    Parameters
    ----------
    pool : Pool
        A row for each file that could be read, in the order given; as headers write the values.
    skipped : list of Skipped
        The files that could not, with the reason.
    missing : mapping of str to list of str
        Column that rules need → names of the files whose headers do not have it.
    """

    pool: Pool
    skipped: list[Skipped] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Read:
    """What one file gave."""

    path: Path
    cells: dict[str, str] | None = None
    counted: dict[str, str] = field(default_factory=dict)  # column → text that is to be numbered
    missing: tuple[str, ...] = ()
    reason: str = ""


def make_pool(
    files: Iterable[str | os.PathLike[str]],
    definitions: Mapping[str, Mapping[str, Column]],
    *,
    fixed: Mapping[str, str] | None = None,
    candidates: Sequence[tuple[str, str]] = (),
    every_keyword: bool = False,
    folders: bool = False,
    threads: int = THREADS,
    name: str = IN_MEMORY,
    progress: Progress | None = None,
) -> MadePool:
    """Return the pool of some files.

    Parameters
    ----------
    files : iterable of path-like
        FITS files, perhaps compressed by gzip; only their primary headers are read.
    definitions : mapping
        Telescope, as headers name it → its columns.
    fixed : mapping of str to str, optional
        Cells that every row gets, whatever its header says.
    candidates : sequence of (str, str)
        Id and type of candidates every row is of, besides its own.
    every_keyword : bool
        Whether to add a column for every other keyword of the headers.
    folders : bool
        Whether files keep the folders in their names; else their names alone are given.
    threads : int
        How many files to read at once.
    name : str
        What to call the pool.
    progress : callable, optional
        Told what is done, files read and files in all.

    Returns
    -------
    made : MadePool
        The same whatever `threads`.
    """
    paths = [Path(file) for file in files]

    def one(path: Path) -> _Read:
        return _of_file(path, definitions, every_keyword=every_keyword, folders=folders)

    results = _all(one, paths, threads, progress)
    skipped: list[Skipped] = []
    missing: dict[str, list[str]] = {}
    rows: list[dict[str, str]] = []
    numbers: dict[tuple[str, str], dict[str, int]] = {}
    known: dict[str, Path] = {}
    for result in results:
        if result.cells is None:
            skipped.append(Skipped(result.path, result.reason))
            continue
        cells = result.cells
        file = cells.get("filename", str(result.path))
        if file in known:
            same = known[file] == result.path
            reason = "it was given before" if same else f"{known[file]} has the same name"
            skipped.append(Skipped(result.path, reason))
            continue
        known[file] = result.path
        for column, text in result.counted.items():
            given = numbers.setdefault((column, cells.get("program", "")), {})
            cells[column] = str(given.setdefault(text, len(given) + 1))
        for column in result.missing:
            missing.setdefault(column, []).append(file)
        _add_candidates(cells, candidates)
        cells.update(fixed or {})
        rows.append(cells)
    return MadePool(Pool.from_rows(rows, name=name), skipped, missing)


def exposures_in(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the raw exposures in a folder and the folders in it, by name."""
    found = {
        path
        for pattern in ("*_uncal.fits", "*_uncal.fits.gz")
        for path in Path(folder).rglob(pattern)
    }
    return sorted(found)


def read_header(path: Path) -> Header:
    """Return the primary header of a FITS file; nothing else of the file is read.

    Raises
    ------
    DataError
        If there is no such file.
    CorruptFileError
        If it is no FITS file, or its header has no end.
    """
    from lightmill.models.cards import Header

    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise DataError("this is not a file", place=path)
        with _opened(path) as file:
            content = file.read(FIRST_READ)
            if not content.startswith(b"SIMPLE  ="):
                raise CorruptFileError("this is not a FITS file", place=path, found=content[:30])
            while (end := _end_of(content)) < 0:
                more = file.read(FIRST_READ) if len(content) < LONGEST else b""
                if not more:
                    raise CorruptFileError("the header has no END card", place=path)
                content += more
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError("the file cannot be read", place=path, found=reason) from error
    return Header.from_bytes(content[:end], f"{path}[PRIMARY]")


def _opened(path: Path) -> Any:
    if path.name.endswith(".gz"):
        import gzip

        return gzip.open(path, "rb")
    return path.open("rb")


def _end_of(content: bytes) -> int:
    """Return where the END card is, or -1; cards are 80 bytes."""
    at = content.find(b"END" + b" " * 77)
    while at >= 0 and at % 80:
        at = content.find(b"END" + b" " * 77, at + 1)
    return at


def _all(
    one: Callable[[Path], _Read], paths: list[Path], threads: int, progress: Progress | None
) -> list[_Read]:
    results: list[_Read] = []
    if progress is not None:
        progress("headers", 0, len(paths))
    if threads <= 1 or len(paths) <= 1:
        for start in range(0, len(paths), _BATCH):
            results += map(one, paths[start : start + _BATCH])
            if progress is not None:
                progress("headers", len(results), len(paths))
        return results
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(threads, len(paths))) as pool:
        for start in range(0, len(paths), _BATCH):
            results += pool.map(one, paths[start : start + _BATCH])
            if progress is not None:
                progress("headers", len(results), len(paths))
    return results


def _of_file(
    path: Path,
    definitions: Mapping[str, Mapping[str, Column]],
    *,
    every_keyword: bool,
    folders: bool,
) -> _Read:
    file = str(path) if folders else path.name
    fault = member_fault(file)
    if fault:
        return _Read(path, reason=fault)
    try:
        header = read_header(path)
        telescope = str(header.get("TELESCOP") or "").strip().upper()
    except LightmillError as error:
        found = "" if error.found is None else f" ({error.found})"
        return _Read(path, reason=f"{error.fact}{found}")
    columns = definitions.get(telescope)
    if columns is None:
        met = f"no pool columns are known for telescope {telescope!r}"
        return _Read(path, reason=met if telescope else "the header does not name the telescope")
    cells: dict[str, str] = {}
    counted: dict[str, str] = {}
    missing: list[str] = []
    for name, column in columns.items():
        if column.file_name:
            cells[name] = file
            continue
        text = column.cell(lambda keyword: _value(header, keyword))
        if text is None:
            cells[name] = column.default
            if column.needed:
                missing.append(name)
        elif column.counted:
            counted[name] = text
            cells[name] = ""
        else:
            cells[name] = text
    if every_keyword:
        for keyword in header.keywords():
            if keyword not in _COMMENTARY and keyword.lower() not in cells:
                cells[keyword.lower()] = text_of(_value(header, keyword)) or "null"
    return _Read(path, cells, counted, tuple(missing))


def _value(header: Header, keyword: str) -> Any:
    """Return a keyword's value; a card that is damaged counts as one that is not there."""
    try:
        return header.get(keyword)
    except LightmillError:
        return None


def _add_candidates(cells: dict[str, str], more: Sequence[tuple[str, str]]) -> None:
    if not more:
        return
    from lightmill.association.pool_check import parse_candidates

    known = parse_candidates(cells.get("asn_candidate", "null")) or []
    cells["asn_candidate"] = str(list(dict.fromkeys([*known, *more])))
