"""Small pictures of datasets, made when somebody looks and kept by the checksum of the file."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightmill.dashboard.picture import collapsed, enlarged, png, shrunk, stretched, with_grid
from lightmill.dashboard.sky_grid import SkyGrid, sky_grid
from lightmill.dashboard.spectral_axes import is_cube, spectral_grid, wavelength_plane
from lightmill.errors import DataError, LightmillError

if TYPE_CHECKING:
    from lightmill.models.cards import Header

__all__ = ["SIZES", "Previews"]

SIZES = {"thumb": 192, "preview": 960}  # longest side [pixel]
LOOK = 3  # how pictures look; with another number they are made anew
LARGEST = 40_000  # pixels of a side; what claims more is no image of ours
LEGIBLE = 640  # pixels of the longest side that a preview has at least, or a few less


class Previews:
    """Pictures of the files of an archive.

    Parameters
    ----------
    archive : Path
        No file outside of it is opened.
    folder : Path
        Where pictures are kept; made when needed. Nothing is lost with it.
    """

    def __init__(self, archive: Path, folder: Path) -> None:
        self.archive, self.folder = archive, folder
        self._lock = threading.Lock()  # one at a time: they are made beside the night's work
        self._refused: OrderedDict[str, str] = OrderedDict()

    def picture(self, path: str, sha256: str, size: str) -> bytes:
        """Return the PNG of a dataset.

        Parameters
        ----------
        path : str
            As the store has it, below the archive.
        sha256 : str
            Of the file.
        size : str
            ``thumb`` or ``preview``.

        Raises
        ------
        DataError
            If there is no image, or the path leads out of the archive.
        """
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise DataError("the dataset has no checksum", found=sha256)
        kept = self.folder / sha256[:2] / f"{sha256}-{size}.{LOOK}.png"
        with contextlib.suppress(OSError):
            return kept.read_bytes()
        with self._lock:
            with contextlib.suppress(OSError):
                return kept.read_bytes()  # somebody else wanted it, too
            if sha256 in self._refused:
                raise DataError(self._refused[sha256])
            try:
                made = _picture(self._inside(path), size)
            except (LightmillError, OSError, ValueError, MemoryError) as error:
                fact = error.fact if isinstance(error, LightmillError) else "it cannot be read"
                self._refused[sha256] = fact
                while len(self._refused) > 10_000:
                    self._refused.popitem(last=False)
                raise DataError(fact) from error
            _keep(kept, made)
            return made

    def _inside(self, path: str) -> Path:
        """Return a file of the archive, wherever links lead."""
        archive = self.archive.resolve()
        if "\0" in path:
            raise DataError("the path of the dataset is none", found=path)
        found = (archive / path).resolve()
        if not found.is_relative_to(archive) or not found.is_file():
            raise DataError("the file is not in the archive", found=path)
        return found


def _picture(path: Path, size: str) -> bytes:
    """Return the PNG of a file's science image; of a cube that of its mean, of a ramp its last plane."""
    from lightmill.models import open as open_model

    model = open_model(path)
    array, header = _image(model)
    largest = SIZES[size]
    if is_cube(array.shape, header):
        small = collapsed(array, largest)
    else:
        small = shrunk(array, int(np.prod(array.shape[:-2], dtype=int)) - 1, largest)
    shades = stretched(small)
    if size == "thumb":
        return png(shades)
    step, zoom = -(-max(array.shape[-2:]) // largest), max(1, LEGIBLE // max(small.shape))
    shades = enlarged(shades, zoom)
    x, y = (_places(length, step, zoom) for length in shades.shape[::-1])
    grid = _grid(model, header, array.shape, x, y)
    return png(shades) if grid is None else with_grid(shades, grid)


def _places(length: int, step: int, zoom: int) -> np.ndarray:
    """Return where the pixels of a picture are, in bins of `step` pixels drawn `zoom` wide."""
    return (np.arange(length) + 0.5) / zoom * step - 0.5


def _grid(
    model: Any, header: Header, shape: tuple[int, ...], x: np.ndarray, y: np.ndarray
) -> SkyGrid | None:
    """Return the lines of the sky, or those of a spectrum; None if nothing tells of either."""
    from lightmill.models.content import wcs_of_cards

    try:
        plane = wavelength_plane(model, shape)
        wcs = wcs_of_cards(header.cards) if plane is None and "CTYPE1" in header else None
        if wcs is None:
            return spectral_grid(header, plane, x, y)
        if wcs.wcs.lngtyp != "RA":
            return None
        axes = wcs.wcs.lng, wcs.wcs.lat
        return sky_grid(lambda *at: tuple(wcs.pixel_to_world_values(*at)[k] for k in axes), x, y)
    except (LightmillError, ValueError):  # there is a picture all the same
        return None


def _image(model: Any) -> tuple[Any, Header]:
    """Return the image to show, and its keywords: none if it is not what the file is about."""
    from lightmill.models.cards import Header
    from lightmill.models.content import cards_of_image

    known = [one for one in model.arrays.items() if _is_image(one[1].shape, one[1].dtype)]
    known.sort(key=lambda one: one[0] != "data")
    if known:
        name, array = known[0]
        return array, Header(cards_of_image(model) if name == "data" else [])
    others = [
        hdu for hdu in model.foreign.hdus
        if hdu.kind == "image" and hdu.has_data and _is_image(hdu.shape, np.dtype(float))
    ]  # fmt: skip
    if not others:
        raise DataError("the file holds no image")
    is_science = len(others) == 1
    return others[0].array(), Header(cards_of_image(model) if is_science else [])


def _is_image(shape: Any, dtype: np.dtype) -> bool:
    sides = shape[-2:]
    return len(shape) >= 2 and 0 not in shape and max(sides) <= LARGEST and not dtype.names


def _keep(path: Path, content: bytes) -> None:
    """Write a picture aside and put it in its place; a full disk keeps nobody from looking."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        aside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
