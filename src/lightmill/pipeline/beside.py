"""What steps make beside their result: products the user asked for, and counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from lightmill.models import Model, Region
from lightmill.models.lineage import region_of, whole_of, window
from lightmill.pipeline.spool import Spool

if TYPE_CHECKING:
    from lightmill.pipeline.bands import Stage
    from lightmill.pipeline.step import Beside

__all__ = ["Aside", "Growing"]


class Growing:
    """An array (n, layers, y, x) of which a band brings as many layers as it needs.

    It lives in a scratch file; layers a band does not bring are zeros there and take no space.

    Parameters
    ----------
    first : (n, layers, rows, nx) ndarray
        A band of it: tells n and the dtype.
    frame : (int, int)
        Rows and columns.
    scratch : path_like, optional
        Directory of the scratch file.
    """

    def __init__(self, first: np.ndarray, frame: tuple[int, int], scratch: Any = None) -> None:
        self._each, self._layers, self._frame = first.shape[0], 1, frame
        self._spool = Spool((self._each, *frame), first.dtype, scratch)
        self._lock = threading.Lock()
        self.dtype = first.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """At least one layer, as many as the band with most of them."""
        return (self._each, self._layers, *self._frame)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return 4

    def write(self, y0: int, rows: np.ndarray) -> None:
        """Write full-width rows from row `y0` on; threads may do so at the same time."""
        with self._lock:
            if rows.shape[1] > self._layers:
                self._layers = rows.shape[1]
                self._spool.grow(self._layers * self._each)
        for layer in range(rows.shape[1]):
            self._spool.write(y0, rows[:, layer], first_plane=layer * self._each)

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield the array in file order, one plane at a time."""
        for number in range(self._each):
            for layer in range(self._layers):
                plane = layer * self._each + number
                yield self._spool.read(planes=slice(plane, plane + 1))[0]


class Aside:
    """Gathers, band by band, what the steps of a chain make beside their result.

    Parameters
    ----------
    frame : (int, int)
        Rows and columns of the whole frame.
    scratch : path_like, optional
        Directory for the arrays.
    """

    def __init__(self, frame: tuple[int, int], scratch: Any = None) -> None:
        self._frame, self._scratch = frame, scratch
        self._lock = threading.Lock()
        self._products: dict[str, tuple[Stage, Model, dict[str, Any]]] = {}

    def add(self, stage: Stage, found: Beside, region: Region) -> None:
        """Take the rows `region` of what a step made of a band."""
        with self._lock:
            for name, count in found.counts.items():
                stage.counts[name] = stage.counts.get(name, 0) + count
        for suffix, model in found.products.items():
            part = window(model, region)
            with self._lock:
                if suffix not in self._products:
                    self._products[suffix] = (stage, part, self._rooms(part))
            rooms = self._products[suffix][2]
            for name, room in rooms.items():
                room.write(region.y0, part.arrays[name])

    def finish(self) -> None:
        """Give every stage its whole products."""
        for suffix, (stage, first, rooms) in self._products.items():
            stage.beside[suffix] = whole_of(first, rooms)

    def _rooms(self, part: Model) -> dict[str, Any]:
        """Return where the rows of each array of a product go."""
        rows = region_of(part).shape
        rooms: dict[str, Any] = {}
        for name, array in part.arrays.items():
            if not isinstance(array, np.ndarray) or array.shape[-2:] != rows:
                continue
            if array.ndim == 4:
                rooms[name] = Growing(array, self._frame, self._scratch)
            else:
                rooms[name] = Spool((*array.shape[:-2], *self._frame), array.dtype, self._scratch)
        return rooms
