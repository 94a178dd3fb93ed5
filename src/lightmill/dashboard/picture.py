"""Images as small pictures: bins, shades, colours, lines of the sky, PNG."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from lightmill.dashboard.lettering import HIGH, haloed, written
from lightmill.dashboard.sky_grid import Label, SkyGrid

__all__ = ["collapsed", "enlarged", "png", "shrunk", "stretched", "with_grid"]

STRIP = 32 << 20  # bytes of an image that are read at once
CONTRAST = 60.0  # of the inverse hyperbolic sine: linear up to a sixtieth of the range
_LEVELS, _MISSING = 255, 255
# The colours of the night sky, as in the report: where on the scale, red green blue.
_SKY = ((0, 0x05060A), (0.18, 0x0F1B33), (0.4, 0x2B4A7D), (0.62, 0x7F9CC4), (0.85, 0xF3E3C3),
        (1, 0xFFFFFF))  # fmt: skip
_NO_VALUE = 0x3A2230
# A picture with lines has half as many shades, and each of them once more for what a line covers.
_HALF, _HALF_MISSING, _COVERED = 127, 127, 128
_LINE, _COVER = 0x1FC9AC, 0.6  # colour of a line, and how much of what is behind it is covered
_READABLE = 320  # pixels of a picture for each pixel of a letter


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


def png(shades: np.ndarray, colours: bytes | None = None) -> bytes:
    """Return shades as a PNG picture with a palette, the first row at the bottom.

    Parameters
    ----------
    shades : (ny, nx) ndarray of uint8
    colours : bytes, optional
        Red, green and blue of each shade; by default those of `stretched`.
    """
    ny, nx = shades.shape
    rows = np.zeros((ny, nx + 1), np.uint8)  # before each row: how it is filtered, not at all
    rows[:, 1:] = shades[::-1]
    head = struct.pack(">IIBBBBB", nx, ny, 8, 3, 0, 0, 0)
    palette = _palette().astype(np.uint8).tobytes() if colours is None else colours
    chunks = ((b"IHDR", head), (b"PLTE", palette), (b"IDAT", zlib.compress(rows.tobytes(), 6)),
              (b"IEND", b""))  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )  # fmt: skip


def enlarged(image: np.ndarray, zoom: int) -> np.ndarray:
    """Return an image whose pixels are squares of several."""
    return image.repeat(zoom, 0).repeat(zoom, 1)


def with_grid(shades: np.ndarray, grid: SkyGrid) -> bytes:
    """Return shades, and lines of the sky over them, as a PNG picture.

    Parameters
    ----------
    shades : (ny, nx) ndarray of uint8
        As `stretched` returns them.
    grid : SkyGrid
        Of the same shape.
    """
    dots = (shades.astype(np.uint16) * (_HALF - 1) // (_LEVELS - 1)).astype(np.uint8)
    dots[shades == _MISSING] = _HALF_MISSING
    zoom = max(2, round(max(shades.shape) / _READABLE))
    lines = grid.lines.copy()
    if zoom > 2:  # a large picture is shown smaller: its lines are twice as wide
        lines[:, :-1] |= grid.lines[:, 1:]
        lines[:-1] |= grid.lines[1:]
    dots[lines] += _COVERED
    _label_below(dots, grid.below, zoom)
    _label_left(dots, grid.left, zoom)
    plain = _palette(_HALF)
    covered = plain + _COVER * (np.array(_rgb(_LINE)) - plain)
    return png(dots, np.vstack([plain, np.rint(covered)]).astype(np.uint8).tobytes())


def _label_below(dots: np.ndarray, labels: Sequence[Label], zoom: int) -> None:
    """Write at the lower edge; what would touch its neighbour is left out."""
    free, last = 0.0, Label((), 0.0)
    row = 2 * zoom
    for label in labels:
        ink = written(_shortened(label, last), zoom)
        left = min(max(label.at - ink.shape[1] / 2, 2 * zoom), dots.shape[1] - ink.shape[1])
        if left < free or abs(left + ink.shape[1] / 2 - label.at) > ink.shape[1] / 2:
            continue
        _write(dots, ink, row, round(left), zoom)
        free, last = left + ink.shape[1] + 4 * zoom, label


def _label_left(dots: np.ndarray, labels: Sequence[Label], zoom: int) -> None:
    """Write at the left edge, each label over its line; not where the lower edge has its own."""
    free, last = (2 * HIGH + 2) * zoom, Label((), 0.0)
    for label in labels:
        row = round(label.at) + 2 * zoom
        if row < free or row + HIGH * zoom > dots.shape[0]:
            continue
        _write(dots, written(_shortened(label, last), zoom), row, 2 * zoom, zoom)
        free, last = row + 2 * HIGH * zoom, label


def _shortened(label: Label, last: Label) -> str:
    """Return what a label says that the one before it does not."""
    same = 0
    while same < min(len(label.parts), len(last.parts)) - 1 and (
        label.parts[same] == last.parts[same]
    ):
        same += 1
    return "".join(label.parts[same:])


def _write(dots: np.ndarray, ink: np.ndarray, row: int, column: int, zoom: int) -> None:
    """Put ink into a picture whose first row is the lowest; what is outside is cut off."""
    for mask, edge, shade in ((haloed(ink, zoom), zoom, 0), (ink, 0, _HALF - 1)):
        low, left = row - edge, column - edge
        part = dots[max(low, 0) : low + mask.shape[0], max(left, 0) : left + mask.shape[1]]
        inside = mask[::-1][max(-low, 0) :, max(-left, 0) :]
        part[inside[: part.shape[0], : part.shape[1]]] = shade


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


def collapsed(cube: Any, largest: int) -> np.ndarray:
    """Return the mean over the first axis of a cube in bins, as `shrunk` does of a plane.

    Parameters
    ----------
    cube : (n, ny, nx) LazyArray or ndarray
        One plane at a time is in memory.
    largest : int
        Bins of the longest side.

    Returns
    -------
    small : ndarray of float64
        Means of what is finite; NaN where nothing is.
    """
    total = count = np.zeros(())
    for plane in range(cube.shape[0]):
        small = shrunk(cube, plane, largest)
        is_known = np.isfinite(small)
        total, count = total + np.where(is_known, small, 0.0), count + is_known
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 0, total / count, np.nan)


def _means(part: np.ndarray, step: int) -> np.ndarray:
    good = np.isfinite(part)
    with np.errstate(over="ignore"):
        edges = [np.arange(0, length, step) for length in part.shape]
        total = np.add.reduceat(np.add.reduceat(np.where(good, part, 0), edges[0], 0), edges[1], 1)
        count = np.add.reduceat(np.add.reduceat(good, edges[0], 0, int), edges[1], 1, int)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 0, total / count, np.nan)


def _palette(levels: int = _LEVELS) -> np.ndarray:
    """Return red, green and blue of each shade and of no value, (levels + 1, 3) of float64."""
    where, colours = zip(*_SKY, strict=True)
    anchors = np.array([_rgb(one) for one in colours], float)
    at = np.linspace(0, 1, levels)
    table = np.stack([np.interp(at, where, anchors[:, k]) for k in range(3)], 1)
    return np.rint(np.vstack([table, _rgb(_NO_VALUE)]))


def _rgb(colour: int) -> tuple[int, int, int]:
    return colour >> 16, colour >> 8 & 255, colour & 255
