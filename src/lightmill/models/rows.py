"""Write a product by rows, while it is being computed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.models.fits_writer import Reserved, begin_fits, end_fits, rewrite_primary
from lightmill.models.model import Model
from lightmill.models.opening import open as open_model
from lightmill.models.output import atomic

__all__ = ["RowWriter"]


class RowWriter:
    """A FITS product that appears under its name when all its rows are written.

    Parameters
    ----------
    path : path_like
        Ends in ``.fits``.
    part : Model
        A band of the product: it tells which arrays there are, and the metadata.
    frame : (int, int)
        Rows and columns of the whole frame.
    """

    def __init__(self, path: str | Path, part: Model, frame: tuple[int, int]) -> None:
        self.path = Path(path)
        rows = part.region.shape if part.region is not None else frame
        self._room: dict[str, Reserved] = {}
        arrays: dict[str, Any] = {}
        for name, held in part.arrays.items():
            if (
                isinstance(held, np.ndarray)
                and held.dtype.names is None
                and held.shape[-2:] == rows
            ):
                self._room[name] = Reserved((*held.shape[:-2], *frame), held.dtype)
            arrays[name] = self._room.get(name, held)
        self._model = part._again(arrays, region=None)
        self._values = self._model._values_for(self.path)
        self._stack = contextlib.ExitStack()
        self._file = self._stack.enter_context(atomic(self.path))
        with self._giving_up():
            self._references = begin_fits(self._file, self._model, self._values)

    @property
    def stored(self) -> frozenset[str]:
        """Names of the arrays that go into the file."""
        return frozenset(name for name, room in self._room.items() if room.offset >= 0)

    def write(self, part: Model) -> None:
        """Write the rows of a band."""
        y0 = part.region.y0 if part.region is not None else 0
        with self._giving_up():
            for name, room in self._room.items():
                if room.offset >= 0:  # arrays the schema does not store have no room
                    room.write(self._file, y0, part.arrays[name])

    def complete(
        self, record: Mapping[str, Any] | None = None, late: Mapping[str, Any] | None = None
    ) -> None:
        """Write the rest; all of it is on disk afterwards, still without its name.

        Parameters
        ----------
        record : mapping, optional
            How the product was made.
        late : mapping, optional
            Metadata known only now: path → number. The part that began the product had a number
            under each of these paths, so that there is room for it in the primary header.
        """
        with self._giving_up():
            if late:
                self._values.update(late)
                rewrite_primary(self._file, self._model, self._values)
            tree = self._model._tree_for(record)
            end_fits(self._file, self._model, self._values, tree, self._references)
            self._file.synchronise()

    def publish(self) -> Model:
        """Give the complete file its name, and open it."""
        self._stack.close()
        return open_model(self.path)

    def finish(self, record: Mapping[str, Any] | None = None) -> Model:
        """Write the rest, give the file its name, and open it."""
        self.complete(record)
        return self.publish()

    def abandon(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(_Abandoned):
            self._stack.__exit__(_Abandoned, _Abandoned(), None)

    @contextlib.contextmanager
    def _giving_up(self) -> Any:
        try:
            yield
        except BaseException:
            self.abandon()
            raise


class _Abandoned(Exception):  # noqa: N818 - not an error: it tells the file to go away
    pass
