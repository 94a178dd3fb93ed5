"""The images of a file, as the viewer shows them: read where and when somebody looks."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import DataError, UnknownNameError
from lightmill.models import CubeModel, LazyArray, Model, Region, dq
from lightmill.models import open as open_model
from lightmill.viewing.planes import Overview, binned, overview
from lightmill.viewing.sky import Sky

__all__ = ["TILE", "Layer", "Product"]

TILE = 256  # bins along the side of a tile
KEPT = 192 << 20  # bytes of overviews that are kept: ten of 9 MB and their weights
_FLAGS = {"dq", "pixeldq", "groupdq"}
_AXES = {1: ("plane",), 2: ("integration", "group")}  # of the planes of a cube, of a ramp
_FACTS = ("target.catalog_name", "telescope", "instrument.name", "instrument.detector",
          "instrument.filter", "exposure.type")  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """One image of a file; of a cube or ramp, all planes of it.

    Attributes
    ----------
    name : str
        As the extension of a FITS file is called.
    attribute : str
        As the model calls it.
    array : LazyArray or _Whole
        The image, not read.
    kind : str
        ``values``, ``flags``, or ``labels`` (of sources, or of combinations of inputs).
    unit : str
    channels : tuple of float
        Wavelength of each plane of a cube [um]; empty where planes are something else.
    """

    name: str
    attribute: str
    array: Any
    kind: str
    unit: str
    channels: tuple[float, ...] = ()

    @property
    def frame(self) -> tuple[int, int]:
        """Rows and columns [pixel]."""
        ny, nx = self.array.shape[-2:]
        return int(ny), int(nx)

    @property
    def lead(self) -> tuple[int, ...]:
        """Lengths of the axes that choose a plane."""
        return tuple(int(length) for length in self.array.shape[:-2])

    @property
    def planes(self) -> int:
        """How many planes there are."""
        return math.prod(self.lead)

    def read(self, region: Region, plane: int = 0) -> np.ndarray:
        """Return the pixels of a region of a plane."""
        return np.asarray(self.array.read(region, planes=plane))

    def through(self, x: int, y: int) -> np.ndarray:
        """Return the values of one pixel in all planes: a spectrum, or a ramp."""
        region = Region(y, y + 1, x, x + 1)
        if isinstance(self.array, LazyArray):
            return np.asarray(self.array.read(region)).ravel()
        return np.array([self.read(region, plane)[0, 0] for plane in range(self.planes)])

    def facts(self) -> dict[str, Any]:
        """Return what the page is told of it."""
        names = _AXES.get(len(self.lead), tuple(f"axis {n}" for n in range(len(self.lead))))
        if self.channels:
            names = ("wavelength",)
        return {
            "name": self.name,
            "kind": self.kind,
            "unit": self.unit,
            "shape": list(self.frame),
            "axes": [
                {"name": name, "length": length}
                for name, length in zip(names, self.lead, strict=True)
            ],
            "channels": list(self.channels),
        }


class _Whole:
    """An image whose parts cannot be read alone: read when first looked at, and kept."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape = tuple(array.shape)
        self._lock = threading.Lock()
        self._values: np.ndarray | None = None

    def read(self, region: Region, planes: int) -> np.ndarray:
        """Return the pixels of a region of a plane."""
        with self._lock:
            if self._values is None:
                self._values = np.asarray(self.array).reshape(-1, *self.shape[-2:])
        return self._values[planes][region.slices]


class Product:
    """A file that is looked at.

    Parameters
    ----------
    path : path
        A product in FITS or ASDF.

    Raises
    ------
    DataError
        If it holds no image.
    CorruptFileError
        If it is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.model = open_model(self.path)
        self.layers = _layers(self.model)
        if not self.layers:
            raise DataError(
                "the file holds no image to look at",
                place=self.path,
                expected="an image extension with rows and columns",
                remedy=f"lightmill info {self.path} shows what it holds",
            )
        self.sky = Sky.of(self.model)
        self._kept: OrderedDict[tuple[int, int], Overview] = OrderedDict()
        self._lock = threading.Lock()  # an overview is made once, however many ask for it

    def layer(self, name: str | None) -> int:
        """Return the number of an extension by its name; of the science image without one.

        Raises
        ------
        UnknownNameError
            If there is none of this name.
        """
        if name is None:
            return 0
        for number, layer in enumerate(self.layers):
            if name.lower() in {layer.name.lower(), layer.attribute}:
                return number
        known = [layer.name for layer in self.layers]
        raise UnknownNameError("image extension", name, known, place=self.path)

    def title(self) -> str:
        """Return in a few words what the file is of."""
        found = [self.model.meta.get(path) for path in _FACTS]
        return " · ".join(str(one) for one in found if one)

    def overview(self, layer: int, plane: int) -> Overview:
        """Return a plane as small as a screen; read once and kept."""
        key = layer, plane
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            one = self.layers[layer]
            made = overview(lambda region: one.read(region, plane), *one.frame, one.kind)
            self._kept[key] = made
            while len(self._kept) > 1 and sum(o.nbytes for o in self._kept.values()) > KEPT:
                self._kept.popitem(last=False)
            return made

    def tile(self, layer: int, plane: int, side: int, tx: int, ty: int) -> np.ndarray | None:
        """Return a square of a plane in bins of `side` pixels; None outside the image.

        Returns
        -------
        tile : (ny, nx) ndarray of float32 or uint32
            At most `TILE` bins a side; row 0 is the lowest.
        """
        one = self.layers[layer]
        ny, nx = one.frame
        size = TILE * side
        region = Region(ty * size, min(ny, (ty + 1) * size), tx * size, min(nx, (tx + 1) * size))
        if not (0 <= region.y0 < region.y1 and 0 <= region.x0 < region.x1):
            return None
        seen = self.overview(layer, plane)
        if side >= seen.bin:
            return seen.at(side, region, one.kind)
        return binned(one.read(region, plane), side, one.kind)

    def flag_planes(self, layer: int, plane: int) -> list[tuple[int, int]]:
        """Return which planes of which layers tell the flags of a plane."""
        shown = self.layers[layer]
        found = []
        for number, one in enumerate(self.layers):
            if one.kind != "flags" or one.frame != shown.frame:
                continue
            if one.lead == shown.lead:
                found.append((number, plane))
            elif one.planes == 1:
                found.append((number, 0))
            elif shown.planes == 1 and number == layer:
                found.append((number, plane))
        return found

    def flag_tile(self, layer: int, plane: int, side: int, tx: int, ty: int) -> np.ndarray | None:
        """Return the flags of a tile: those of the pixels and those of the plane."""
        tiles = [
            self.tile(number, at, side, tx, ty) for number, at in self.flag_planes(layer, plane)
        ]
        known = [tile for tile in tiles if tile is not None]
        if not known:
            return None
        return np.bitwise_or.reduce(known).astype(np.uint32, copy=False)

    def at(self, layer: int, plane: int, x: int, y: int) -> dict[str, Any]:
        """Return what is known of one pixel: value, error and names of flags.

        Parameters
        ----------
        x, y : int
            Column and row, 0-based.

        Returns
        -------
        facts : dict
            Empty outside the image; a value that is no number is None.
        """
        one = self.layers[layer]
        ny, nx = one.frame
        if not (0 <= x < nx and 0 <= y < ny):
            return {}
        region = Region(y, y + 1, x, x + 1)
        facts: dict[str, Any] = {"value": _plain(one.read(region, plane)[0, 0])}
        if one.attribute == "data":
            for other in self.layers:
                if other.attribute == "err" and other.array.shape == one.array.shape:
                    facts["error"] = _plain(other.read(region, plane)[0, 0])
        value = 0
        for number, at in self.flag_planes(layer, plane):
            value |= int(self.layers[number].read(region, at)[0, 0])
        facts["flags"] = dq.names(value)
        return facts


def _layers(model: Model) -> list[Layer]:
    found = []
    channels = _channels(model)
    for attribute, array in model.arrays.items():
        shape = tuple(array.shape)
        if array.dtype.names or len(shape) < 2 or 0 in shape:
            continue
        name = "SCI" if attribute == "data" else attribute.upper()
        kind = _kind(model, attribute)
        held = array if isinstance(array, LazyArray) else _Whole(array)
        of_cube = channels if len(shape) == 3 and shape[0] == len(channels) else ()
        found.append(Layer(name, attribute, held, kind, _unit(model, attribute, name), of_cube))
    for hdu in model.foreign.hdus:  # what the schema does not know can be looked at, too
        if hdu.kind == "image" and hdu.has_data and len(hdu.shape) >= 2 and 0 not in hdu.shape:
            name = (hdu.name or f"HDU {hdu.number}") + (f",{hdu.version}" * (hdu.version > 1))
            unit = hdu.header.text("BUNIT")
            found.append(Layer(name, name.lower(), hdu.array(), "values", unit))
    found.sort(key=lambda layer: layer.attribute != "data")
    return found


def _channels(model: Model) -> tuple[float, ...]:
    """Return the wavelengths of the planes of a cube [um], as far as it says them."""
    if not isinstance(model, CubeModel) or not model.has("wavelength"):
        return ()
    wavelength = np.asarray(model.array("wavelength"), float).ravel()
    return tuple(wavelength.tolist()) if np.isfinite(wavelength).all() else ()


def _kind(model: Model, attribute: str) -> str:
    if attribute in _FLAGS:
        return "flags"
    if attribute == "data" and model.model_type == "SegmentationModel":
        return "labels"
    if attribute == "con":  # which inputs contribute: each combination is a colour
        return "labels"
    return "values"


def _unit(model: Model, attribute: str, name: str) -> str:
    header = model.foreign.headers.get((name, 1))
    written = header.text("BUNIT") if header is not None else ""
    known = {"data": model.meta.get("bunit_data"), "err": model.meta.get("bunit_err")}
    return str(written or known.get(attribute) or model.unit(attribute) or "")


def _plain(value: Any) -> float | int | None:
    """Return a number JSON can hold; NaN and infinity as None."""
    number = value.item()
    return None if isinstance(number, float) and not math.isfinite(number) else number
