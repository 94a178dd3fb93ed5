"""A table of sources, and what is said of the whole of it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from lightmill.errors import CorruptFileError, DataError, OutputError
from lightmill.models.namespace import MetaStore, Namespace
from lightmill.models.output import atomic

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["Catalog"]

RECORD, SOURCE = "lightmill", "image"  # keys of the table's metadata


class Catalog:
    """Sources of an image, one a row.

    Parameters
    ----------
    table : astropy.table.QTable
        With units and descriptions; its metadata say how it was measured.
    meta : Namespace or mapping, optional
        The metadata of the image the sources are in.
    path : path, optional
        The file it came from.
    """

    extension: ClassVar[str] = ".ecsv"
    model_type: ClassVar[str] = "Catalog"

    def __init__(
        self,
        table: QTable,
        *,
        meta: Namespace | Mapping[str, Any] | None = None,
        path: str | Path | None = None,
    ) -> None:
        self.table = table
        self._meta = _namespace(meta)
        self._path = None if path is None else Path(path)

    @property
    def meta(self) -> Namespace:
        """The metadata of the image."""
        return self._meta

    @property
    def path(self) -> Path | None:
        """The file the catalog came from."""
        return self._path

    @property
    def _store(self) -> MetaStore:
        return self._meta._store  # where the engine notes what was done, as in any model

    @property
    def arrays(self) -> dict[str, Any]:
        """The arrays of the model: none, a catalog is a table."""
        return {}

    @property
    def record(self) -> dict[str, Any] | None:
        """How the catalog was made, as `save` was told, or None."""
        found = self.table.meta.get(RECORD)
        return found if isinstance(found, dict) else None

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        where = f" from {self._path.name}" if self._path else ""
        return f"<{self.model_type}{where}: {len(self)} sources>"

    def evolve(
        self,
        *,
        table: QTable | None = None,
        meta: Namespace | Mapping[str, Any] | None = None,
    ) -> Self:
        """Return a new catalog with another table, or some metadata of the image changed.

        Parameters
        ----------
        table : astropy.table.QTable, optional
            In place of this one's.
        meta : mapping or Namespace, optional
            A mapping path -> value is merged; a Namespace takes the place of this one's.

        Returns
        -------
        catalog : Catalog
            What is not replaced is shared.
        """
        changed = type(self)(self.table if table is None else table, path=self._path)
        if isinstance(meta, Namespace):
            changed._meta = _copied(meta)
        else:
            changed._meta = _copied(self._meta)
            if meta:
                changed._meta.update(meta)
        return changed

    def save(self, path: str | Path, *, record: Mapping[str, Any] | None = None) -> Path:
        """Write the catalog; the file appears complete or not at all.

        Parameters
        ----------
        path : path
            Ends in ``.ecsv``.
        record : mapping, optional
            How the catalog was made; without one that of the file it came from is kept.

        Returns
        -------
        path : Path
            The file written.

        Raises
        ------
        OutputError
            If the suffix is another, or the file cannot be written.
        """
        path = Path(path)
        if path.suffix != self.extension:
            raise OutputError(
                "the suffix does not say how to write",
                place=path,
                found=path.suffix or "no suffix",
                expected=self.extension,
            )
        table = self.table.copy(copy_data=False)
        table.meta = {name: _plain(value) for name, value in self.table.meta.items()}
        image = {name: _plain(value) for name, value in self._meta.flat().items()}
        image = {name: value for name, value in image.items() if _is_scalar(value)}
        if image:
            table.meta[SOURCE] = {**image, "filename": path.name}
        if record is not None:
            table.meta[RECORD] = _plain(record)
        text = _ecsv(table)
        with atomic(path) as file:
            file.write(text.encode("utf-8"))
        return path

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read a catalog, ours or another's of the same format.

        Parameters
        ----------
        path : path
            An ECSV file.

        Returns
        -------
        catalog : Catalog

        Raises
        ------
        DataError
            If there is no such file.
        CorruptFileError
            If it is no ECSV, or damaged.
        """
        from astropy.table import QTable

        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            kind = CorruptFileError if isinstance(error, UnicodeDecodeError) else DataError
            raise kind(
                "the catalog cannot be read",
                place=path,
                found=getattr(error, "strerror", None) or error,
                remedy="check the name and the directory",
            ) from error
        try:
            table = QTable.read(text.splitlines(), format="ascii.ecsv")
        except Exception as error:  # whatever a line can make the reader raise
            raise CorruptFileError(
                "this is not a catalog in the ECSV format",
                place=path,
                found=error,
                expected="a text that begins with '# %ECSV'",
                remedy="fetch the file again, or make it again",
            ) from error
        image = table.meta.get(SOURCE)
        return cls(table, meta=image if isinstance(image, dict) else None, path=path)


def _ecsv(table: QTable) -> str:
    """Return a table as ECSV text.

    The rows are put together column by column where these are plain numbers: the library's
    writer, value by value, takes longer than to find and measure the sources.
    """
    from astropy.table.serialize import represent_mixins_as_columns

    text = io.StringIO()
    plain = represent_mixins_as_columns(table)
    if any(
        column.ndim != 1 or column.dtype.kind not in "biuf" or hasattr(column, "mask")
        for column in plain.itercols()
    ):
        table.write(text, format="ascii.ecsv")
        return text.getvalue()
    table[:0].write(text, format="ascii.ecsv")  # all but the rows
    columns = [_texts(column) for column in plain.itercols()]
    return text.getvalue() + "".join(f"{' '.join(row)}\n" for row in zip(*columns, strict=True))


def _texts(column: Any) -> list[str]:
    """Return the values of a column of numbers as they are written: all their digits."""
    single = column.dtype.kind == "f" and column.dtype.itemsize < 8  # as floats they had too many
    return [str(value) for value in (column if single else column.tolist())]


def _namespace(meta: Namespace | Mapping[str, Any] | None) -> Namespace:
    from lightmill.models.classes import ResampledModel

    if isinstance(meta, Namespace):
        return _copied(meta)  # what is said of the catalog is not said of the image
    kept = ResampledModel().meta
    # The telescope first: it brings the names of its own keywords.
    for path, value in sorted((meta or {}).items(), key=lambda item: item[0] != "telescope"):
        with contextlib.suppress(DataError):  # written by others: no room for it in our schema
            kept.update({path: value})
    return kept


def _copied(meta: Namespace) -> Namespace:
    return Namespace(meta._store.copy())


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool))


def _plain(value: Any) -> Any:
    """Return a value as YAML has it: nothing of numpy, no tuples, no paths."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or _is_scalar(value):
        return value
    return str(value)
