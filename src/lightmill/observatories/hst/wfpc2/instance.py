"""A copy of the archive in a folder: tables, deliveries, jitter files.

``archive.sqlite`` has the tables ``exposures``, ``delivery_items`` and ``db_changes``; jitter files
lie in the folder, or, where an archive is too large for that, ``jit_extracted`` has their pointings.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightmill.errors import CorruptFileError, DataError, ValidationError
from lightmill.observatories.hst.wfpc2 import events
from lightmill.observatories.hst.wfpc2.associations import Association
from lightmill.observatories.hst.wfpc2.exposures import Exposure
from lightmill.observatories.hst.wfpc2.jitter import Pointing, extract
from lightmill.observatories.hst.wfpc2.rules import Rules
from lightmill.observatories.hst.wfpc2.state import Generation

__all__ = ["Instance", "inside"]

_TABLES = ("exposures", "delivery_items", "db_changes")


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file that a table names, which must lie in the folder.

    Parameters
    ----------
    folder : path
        The archive.
    name : str
        Relative to it.

    Returns
    -------
    path : Path
        Links followed.

    Raises
    ------
    ValidationError
        If it leads out of the folder.
    """
    home = folder.resolve()
    try:
        path = (home / name).resolve()
    except (ValueError, OSError, RuntimeError) as error:  # a zero byte, a circle of links
        raise ValidationError("this is no name of a file", place=folder, found=name) from error
    if not path.is_relative_to(home) or path == home:
        raise ValidationError(
            "a file's name leads out of the archive",
            place=folder,
            found=name,
            expected="a path inside the folder",
            remedy="correct the delivery's list",
        )
    return path


class Instance:
    """A copy of the archive.

    Parameters
    ----------
    folder : path
        With ``archive.sqlite``.
    rules : Rules, optional
        Thresholds of quality.

    Raises
    ------
    DataError
        If there is no such file, or tables are missing.
    """

    def __init__(self, folder: Path, rules: Rules | None = None) -> None:
        self.folder = Path(folder)
        self.rules = rules or Rules()
        self.path = self.folder / "archive.sqlite"
        if not self.path.is_file():
            raise DataError(
                "there is no archive here",
                place=self.folder,
                expected="archive.sqlite",
                remedy="give the folder of an archive",
            )
        self.home = self.folder.resolve()
        uri = f"{self.path.resolve().as_uri()}?mode=ro&immutable=1"
        with _told(self.path):
            self._connection = sqlite3.connect(uri, uri=True)
        self._connection.row_factory = sqlite3.Row
        known = {row["name"] for row in self._rows("select name from sqlite_master")}
        if missing := [name for name in _TABLES if name not in known]:
            raise DataError(
                "the archive lacks tables",
                place=self.path,
                found=", ".join(sorted(known)),
                expected=", ".join(missing),
            )
        self._has_pointings = "jit_extracted" in known
        self.deliveries = [
            row["delivery"]
            for row in self._rows(
                "select delivery from delivery_items union select delivery from db_changes order by 1"
            )
        ]

    def close(self) -> None:
        """Close the archive's tables."""
        self._connection.close()

    def count(self) -> int:
        """Return how many exposures the database has."""
        return int(next(self._rows("select count(*) from exposures"))[0])

    def exposures(self) -> Iterator[events.Described | events.Refused]:
        """Yield what the database tells of every exposure.

        Yields
        ------
        event : Described or Refused
            In order of names; refused is a row that makes no sense.
        """
        for row in self._rows("select * from exposures order by dataset_name"):
            try:
                yield events.Described(Exposure.from_row(row))
            except ValidationError as error:
                yield events.Refused(error.story())

    def arrivals(self, delivery: int) -> Iterator[events.Arrived]:
        """Yield what a delivery brought, in its order.

        Parameters
        ----------
        delivery : int
            Its number.

        Yields
        ------
        event : Arrived
            With the digest of the jitter files that are there.
        """
        rows = self._rows("select * from delivery_items where delivery=? order by seq", delivery)
        for row in rows:
            files = tuple(str(row[key]) for key in ("jit", "jif") if row[key])
            yield events.Arrived(
                row["dataset_name"], row["archive_class"], row["gen_date_str"],
                self._digest(files), files,
            )  # fmt: skip

    def changes(self, delivery: int) -> list[events.Changed]:
        """Return the corrections of the database that came with a delivery.

        Parameters
        ----------
        delivery : int
            Its number.

        Returns
        -------
        changes : list of Changed
            In order of the table.
        """
        rows = self._rows("select * from db_changes where delivery=? order by rowid", delivery)
        return [events.Changed(r["dataset_name"], r["column"], r["new_value"]) for r in rows]

    def extract(self, dataset: str, gen_date_str: str, generation: Generation) -> Pointing:
        """Return the pointing of a pair of jitter files.

        Parameters
        ----------
        dataset, gen_date_str : str
            Which generation of which jitter dataset.
        generation : Generation
            Where the files are.

        Returns
        -------
        pointing : Pointing
            Measured in the files, or, where there are none, as the table of pointings has it.

        Raises
        ------
        DataError
            If neither can be read.
        """
        paths = [inside(self.folder, name) for name in generation.files]
        if len(paths) == 2 and any(path.exists() for path in paths):
            return extract(*paths, dataset=dataset, gen_date_str=gen_date_str, rules=self.rules)
        query = "select * from jit_extracted where dataset_name=? and gen_date_str=?"
        found = self._rows(query, dataset, gen_date_str) if self._has_pointings else iter(())
        row = next(found, None)
        if row is None:
            raise DataError(
                "the jitter files are missing",
                place=self.folder,
                found=", ".join(generation.files) or "no names of files",
                expected=f"a pair of {dataset}, {gen_date_str}",
                remedy="fetch the pair again",
            )
        if not row["readable"]:
            raise CorruptFileError(
                "the jitter files cannot be read", place=f"{dataset} {gen_date_str}"
            )
        return Pointing(dataset, gen_date_str, row["ra"], row["dec"], row["roll"], row["q"])

    def preview(self, association: Association) -> None:
        """Make nothing: an archive of tables and jitter files has no images.

        Parameters
        ----------
        association : Association
            Not looked at.
        """

    def _digest(self, files: tuple[str, ...]) -> str:
        """Return the digest of a delivery's files, as `jitter` makes it; empty if one is missing."""
        digest = hashlib.sha256()
        for name in files:
            try:
                if not (self.home / name).exists():
                    return ""
                digest.update(inside(self.home, name).read_bytes())
            except (OSError, ValueError, ValidationError):
                return ""
        return digest.hexdigest() if files else ""

    def _rows(self, query: str, *values: Any) -> Iterator[sqlite3.Row]:
        with _told(self.path):
            yield from self._connection.execute(query, values)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell what a database complains of as an error of the archive."""
    try:
        yield
    except sqlite3.Error as error:
        raise CorruptFileError(
            "the archive's tables cannot be read",
            place=path,
            found=error,
            remedy="copy the archive again",
        ) from error
