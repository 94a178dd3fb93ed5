"""Small pictures of datasets, made when somebody looks and kept by the checksum of the file."""

from __future__ import annotations

import contextlib
import os
import re
import struct
import threading
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import DataError, LightmillError

__all__ = ["SIZES", "Previews", "png", "shrunk", "stretched"]

SIZES = {"thumb": 192, "preview": 960}  # longest side [pixel]
STRIP = 32 << 20  # bytes of an image that are read at once
LARGEST = 40_000  # pixels of a side; what claims more is no image of ours
CONTRAST = 60.0  # of the inverse hyperbolic sine: linear up to a sixtieth of the range
_LEVELS, _MISSING = 255, 255
# The colours of the night sky, as in the report: where on the scale, red green blue.
_SKY = ((0, 0x05060A), (0.18, 0x0F1B33), (0.4, 0x2B4A7D), (0.62, 0x7F9CC4), (0.85, 0xF3E3C3),
        (1, 0xFFFFFF))  # fmt: skip
_NO_VALUE = 0x3A2230


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
        kept = self.folder / sha256[:2] / f"{sha256}-{size}.png"
        with contextlib.suppress(OSError):
            return kept.read_bytes()
        with self._lock:
            with contextlib.suppress(OSError):
                return kept.read_bytes()  # somebody else wanted it, too
            if sha256 in self._refused:
                raise DataError(self._refused[sha256])
            try:
                made = png(stretched(_image(self._inside(path), SIZES[size])))
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


def stretched(image: np.ndarray) -> np.ndarray:
    """Return the shades of an image.

    Parameters
    ----------
    image : (ny, nx) ndarray of float64
        NaN where there is no value.

    Returns
    -------
    shades : (ny, nx) ndarray of uint8
        0 from two sigma under the median (σ from the median absolute deviation, so that sources do
        not count) to 254 at the percentile 99.8, by an inverse hyperbolic sine; 255 for NaN.
    """
    known = image[np.isfinite(image)]
    if not known.size:
        return np.full(image.shape, _MISSING, np.uint8)
    middle = float(np.median(known))
    sigma = 1.4826 * float(np.median(np.abs(known - middle)))
    top = max(float(np.percentile(known, 99.8)), middle + 20 * sigma)
    low, high = max(float(known.min()), middle - 2 * sigma), min(float(known.max()), top)
    with np.errstate(invalid="ignore", over="ignore"):
        part = np.clip((image - low) / ((high - low) or 1.0), 0, 1)
        level = np.arcsinh(part * CONTRAST) / np.arcsinh(CONTRAST)
    shades = np.rint(np.nan_to_num(level) * (_LEVELS - 1)).astype(np.uint8)
    shades[~np.isfinite(image)] = _MISSING
    return shades


def png(shades: np.ndarray) -> bytes:
    """Return shades as a PNG picture with a palette, the first row at the bottom.

    Parameters
    ----------
    shades : (ny, nx) ndarray of uint8
    """
    ny, nx = shades.shape
    rows = np.zeros((ny, nx + 1), np.uint8)  # before each row: how it is filtered, not at all
    rows[:, 1:] = shades[::-1]
    head = struct.pack(">IIBBBBB", nx, ny, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"PLTE", _palette()), (b"IDAT", zlib.compress(rows.tobytes(), 6)),
              (b"IEND", b""))  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )  # fmt: skip


def shrunk(image: Any, plane: int, largest: int) -> np.ndarray:
    """Return a plane of an image in bins, so that no side is longer than asked; NaN are left out.

    Parameters
    ----------
    image : LazyArray or ndarray
        Its last two axes are rows and columns; of the former only a strip is in memory at a time.
    plane : int
        Counted along all other axes.
    largest : int
        Bins of the longest side.

    Returns
    -------
    small : ndarray of float64
        Means; NaN where nothing is finite.
    """
    from lightmill.models import LazyArray, Region

    ny, nx = image.shape[-2:]
    step = -(-max(ny, nx) // largest)
    whole = None if isinstance(image, LazyArray) else np.asarray(image).reshape(-1, ny, nx)[plane]
    rows = max(1, STRIP // max(1, nx * 8 * step)) * step
    parts = []
    for y in range(0, ny, rows):
        region = Region(y, min(ny, y + rows), 0, nx)
        part = image.read(region, planes=plane) if whole is None else whole[region.slices]
        parts.append(_means(np.asarray(part, np.float64), step))
    return np.concatenate(parts)


def _means(part: np.ndarray, step: int) -> np.ndarray:
    good = np.isfinite(part)
    with np.errstate(over="ignore"):
        edges = [np.arange(0, length, step) for length in part.shape]
        total = np.add.reduceat(np.add.reduceat(np.where(good, part, 0), edges[0], 0), edges[1], 1)
        count = np.add.reduceat(np.add.reduceat(good, edges[0], 0, int), edges[1], 1, int)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 0, total / count, np.nan)


def _image(path: Path, largest: int) -> np.ndarray:
    """Return the science image of a file, small; of a cube or ramp its last plane."""
    from lightmill.models import open as open_model

    model = open_model(path)
    known = [one for one in model.arrays.items() if _is_image(one[1].shape, one[1].dtype)]
    known.sort(key=lambda one: one[0] != "data")
    arrays = [array for _, array in known] + [
        hdu.array() for hdu in model.foreign.hdus
        if hdu.kind == "image" and hdu.has_data and _is_image(hdu.shape, np.dtype(float))
    ]  # fmt: skip
    if not arrays:
        raise DataError("the file holds no image")
    return shrunk(arrays[0], int(np.prod(arrays[0].shape[:-2], dtype=int)) - 1, largest)


def _is_image(shape: Any, dtype: np.dtype) -> bool:
    sides = shape[-2:]
    return len(shape) >= 2 and 0 not in shape and max(sides) <= LARGEST and not dtype.names


def _palette() -> bytes:
    where, colours = zip(*_SKY, strict=True)
    anchors = np.array([_rgb(one) for one in colours], float)
    at = np.linspace(0, 1, _LEVELS)
    table = [np.interp(at, where, anchors[:, k]) for k in range(3)]
    return np.vstack([np.rint(np.stack(table, 1)), _rgb(_NO_VALUE)]).astype(np.uint8).tobytes()


def _rgb(colour: int) -> tuple[int, int, int]:
    return colour >> 16, colour >> 8 & 255, colour & 255


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
