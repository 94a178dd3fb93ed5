"""What the page may ask of the files it shows."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lightmill.models import Region
from lightmill.viewing.planes import summary
from lightmill.viewing.product import Product
from lightmill.viewing.sources import Sources

__all__ = ["Viewer"]

_POINTS = 64  # places asked for at once
_READERS = 3  # tiles made at the same time: bounds the memory, and two processors have enough
Answer = tuple[str, bytes]
Numbers = dict[str, list[float]]


class Viewer:
    """What the page may ask; a question holds numbers only, never a name.

    Parameters
    ----------
    products : sequence of Product
        The files, in the order they are blinked.
    sources : Sources, optional
        A catalog that is laid over them.
    layer : str, optional
        Name of the extension that is shown first.
    planes : sequence of int
        Plane that is shown first, one number for each axis.
    """

    def __init__(
        self,
        products: Sequence[Product],
        *,
        sources: Sources | None = None,
        layer: str | None = None,
        planes: Sequence[int] = (),
    ) -> None:
        self.products = list(products)
        self.sources = sources
        self.first = [product.layer(layer) for product in self.products]
        self.planes = list(planes)
        self._readers = threading.Semaphore(_READERS)
        self._places: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        if sources is not None:
            for number in range(len(self.products)):
                self.places(number)

    def facts(self) -> dict[str, Any]:
        """Return what the page is told when it is made."""
        return {
            "files": [
                {
                    "name": product.path.name,
                    "title": product.title(),
                    "model": product.model.model_type,
                    "sky": product.sky is not None,
                    "layers": [
                        {**layer.facts(), "flags": bool(product.flag_planes(number, 0))}
                        for number, layer in enumerate(product.layers)
                    ],
                    "first": first,
                }
                for product, first in zip(self.products, self.first, strict=True)
            ],
            "planes": self.planes,
            "catalog": None
            if self.sources is None
            else {
                "name": self.sources.path.name,
                "count": len(self.sources),
                "columns": self.sources.columns(),
            },
        }

    def answer(self, question: str, asked: Numbers) -> Answer | None:
        """Return the type and content of an answer, or None to a question there is not.

        Parameters
        ----------
        question : str
            ``tile``, ``flags``, ``summary``, ``at``, ``cut``, ``through``, ``sky``, ``place``, ``sources`` or ``row``.
        asked : dict
            Names → numbers.

        Raises
        ------
        IndexError, KeyError, ValueError
            If a number is missing, or names nothing that there is.
        """
        known: dict[str, Callable[[Numbers], Any]] = {
            "tile": self._tile,
            "flags": self._flags,
            "summary": self._summary,
            "at": self._at,
            "cut": self._cut,
            "through": self._through,
            "sky": self._sky,
            "place": self._pixels,
            "sources": self._sources,
            "row": self._row,
        }
        if question not in known:
            return None
        found = known[question](asked)
        if isinstance(found, np.ndarray):
            little = found.astype(found.dtype.newbyteorder("<"), copy=False)
            return "application/octet-stream", np.ascontiguousarray(little).tobytes()
        return "application/json", json.dumps(found, allow_nan=False).encode()

    def _file(self, asked: Numbers) -> Product:
        return self.products[_index(asked, "file", len(self.products))]

    def _plane(self, asked: Numbers) -> tuple[Product, int, int]:
        product = self._file(asked)
        layer = _index(asked, "layer", len(product.layers))
        return product, layer, _index(asked, "plane", product.layers[layer].planes)

    def _square(self, asked: Numbers, how: str) -> np.ndarray:
        product, layer, plane = self._plane(asked)
        side = _index(asked, "bin", 1 << 16)
        if side < 1 or side & (side - 1):
            raise ValueError("bin")
        with self._readers:
            made = getattr(product, how)(
                layer, plane, side, _index(asked, "tx", 1 << 20), _index(asked, "ty", 1 << 20)
            )
        if made is None:
            raise IndexError("tile")
        return made if how == "flag_tile" else made.astype(np.float32, copy=False)

    def _tile(self, asked: Numbers) -> np.ndarray:
        return self._square(asked, "tile")

    def _flags(self, asked: Numbers) -> np.ndarray:
        return self._square(asked, "flag_tile")

    def _summary(self, asked: Numbers) -> dict[str, Any]:
        product, layer, plane = self._plane(asked)
        with self._readers:
            facts = summary(product.overview(layer, plane))
            counts: dict[str, dict[str, Any]] = {}
            for one, at in product.flag_planes(layer, plane):
                for flag in summary(product.overview(one, at))["flags"]:
                    before = counts.setdefault(flag["name"], {**flag, "count": 0})
                    # Flags of pixels and of groups overlap: the larger number is a lower bound.
                    before["count"] = max(before["count"], flag["count"])
        return {**facts, "flags": sorted(counts.values(), key=lambda flag: -flag["count"])}

    def _at(self, asked: Numbers) -> dict[str, Any]:
        product, layer, plane = self._plane(asked)
        x, y = asked["x"][0], asked["y"][0]
        facts = product.at(layer, plane, round(x), round(y))
        if product.sky is not None:
            ra, dec = product.sky.degrees(x, y)
            facts |= {"ra": _number(ra), "dec": _number(dec)}
        return facts

    def _cut(self, asked: Numbers) -> np.ndarray:
        """Return the row through a pixel, and after it the column."""
        product, layer, plane = self._plane(asked)
        one = product.layers[layer]
        ny, nx = one.frame
        x, y = _index(asked, "x", nx), _index(asked, "y", ny)
        row = one.read(Region(y, y + 1, 0, nx), plane)[0]
        column = one.read(Region(0, ny, x, x + 1), plane)[:, 0]
        return np.concatenate([row, column]).astype(np.float32)

    def _through(self, asked: Numbers) -> np.ndarray:
        """Return the values of a pixel in all planes, and after them their errors, NaN without any."""
        product, layer, _ = self._plane(asked)
        one = product.layers[layer]
        ny, nx = one.frame
        x, y = _index(asked, "x", nx), _index(asked, "y", ny)
        errors = np.full(one.planes, np.nan)
        for other in product.layers if one.attribute == "data" else ():
            if other.attribute == "err" and other.array.shape == one.array.shape:
                errors = other.through(x, y)
        return np.concatenate([one.through(x, y), errors]).astype(np.float32)

    def _sky(self, asked: Numbers) -> dict[str, Any]:
        sky = self._file(asked).sky
        x, y = asked["x"][:_POINTS], asked["y"][:_POINTS]
        if sky is None:
            return {"ra": [None] * len(x), "dec": [None] * len(x)}
        ra, dec = sky.degrees(x, y)
        return {"ra": _numbers(ra), "dec": _numbers(dec)}

    def _pixels(self, asked: Numbers) -> dict[str, Any]:
        sky = self._file(asked).sky
        if sky is None:
            return {"x": None, "y": None}
        x, y = sky.pixels(asked["ra"][0], asked["dec"][0])
        return {"x": _number(x), "y": _number(y)}

    def places(self, number: int) -> dict[str, list[float | None]]:
        """Return the pixels of the catalog's sources on a file, None where one has no place."""
        if self.sources is None:
            return {"x": [], "y": []}
        if number not in self._places:
            self._places[number] = self.sources.on(self.products[number].sky)
        x, y = self._places[number]
        return {"x": _numbers(x.round(3)), "y": _numbers(y.round(3))}

    def _sources(self, asked: Numbers) -> dict[str, Any]:
        return self.places(_index(asked, "file", len(self.products)))

    def _row(self, asked: Numbers) -> list[str]:
        if self.sources is None:
            raise IndexError("row")
        return self.sources.row(_index(asked, "row", len(self.sources)))


def _index(asked: Numbers, name: str, length: int) -> int:
    """Return a number that counts from 0 to below `length`."""
    value = asked[name][0]
    if not (value.is_integer() and 0 <= value < length):
        raise IndexError(name)
    return int(value)


def _number(value: Any) -> float | None:
    """Return a number as JSON can hold it."""
    return float(value) if np.isfinite(value) else None


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]
