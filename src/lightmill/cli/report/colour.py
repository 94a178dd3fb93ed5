"""A colour picture of mosaics taken through different filters."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np

from lightmill.cli.report.pictures import Picture, shrunk
from lightmill.cli.report.sky import Mosaic

__all__ = ["colour_picture", "colours"]

STEP = 16  # pixels between the points where two mosaics are compared exactly


def colours(
    blue: np.ndarray, green: np.ndarray, red: np.ndarray, *, softening: float
) -> np.ndarray:
    """Return three images as one in colours, (ny, nx, 3) uint8.

    The brightness of a pixel is an inverse hyperbolic sine of the mean of the three; its colour is
    their ratio, so that bright stars keep theirs (Lupton et al. 2004, PASP 116, 133).

    Parameters
    ----------
    blue, green, red : (ny, nx) ndarray
        Without background, in units in which white is equally bright in all.
    softening : float
        What is as bright as the noise: below it brightness is proportional.
    """
    stack = np.stack([red, green, blue], axis=-1)
    mean = np.maximum(stack.mean(axis=-1), 1e-12)
    q = 9.0
    level = np.arcsinh(q * mean / (softening * 40)) / q * 3.2
    shown = stack * (level / mean)[..., None]
    most = shown.max(axis=-1, keepdims=True)
    shown = np.where(most > 1, shown / np.maximum(most, 1e-12), shown)
    return (np.clip(shown, 0, 1) * 255).astype(np.uint8)


def colour_picture(mosaics: Sequence[Mosaic], *, key: str, largest: int = 1400) -> Picture:
    """Make one picture of two or three mosaics, the bluest first, on the grid of the first."""
    first = mosaics[0]
    planes = [first.data, *(_onto(first, other) for other in mosaics[1:])]
    seen = np.all([np.isfinite(plane) for plane in planes], axis=0)
    levels = [_without_sky(np.where(seen, plane, np.nan)) for plane in planes]
    small = [shrunk(plane, largest) for plane, _ in levels]
    scale = [noise for _, noise in levels]
    bluest, reddest = small[0], small[-1] * (scale[0] / scale[-1])
    middle = small[1] * (scale[0] / scale[1]) if len(small) > 2 else (bluest + reddest) / 2
    image = colours(*(np.nan_to_num(p) for p in (bluest, middle, reddest)), softening=scale[0])
    image[~np.isfinite(bluest) | ~np.isfinite(reddest)] = (12, 14, 20)
    names = ", ".join(one.filter for one in mosaics)
    return Picture(
        key,
        "Colours",
        f"{names}, the bluest first",
        f"Colour picture of the field, of the filters {names}",
        _png(image),
        image.shape[1],
        image.shape[0],
    )


def _onto(first: Mosaic, other: Mosaic) -> np.ndarray:
    """Return a mosaic on the pixels of another one; for looking at, not for measuring."""
    from scipy import ndimage

    ny, nx = first.data.shape
    rows = np.unique(np.append(np.arange(0, ny, STEP), ny - 1))
    columns = np.unique(np.append(np.arange(0, nx, STEP), nx - 1))
    x, y = np.meshgrid(columns.astype(float), rows.astype(float))
    px, py = other.wcs.world_to_pixel_values(*first.wcs.pixel_to_world_values(x, y))
    # Both are tangent planes of nearby points: between nodes the map is straight.
    at = np.meshgrid(
        np.interp(np.arange(ny), rows, np.arange(len(rows))),
        np.interp(np.arange(nx), columns, np.arange(len(columns))),
        indexing="ij",
    )
    where = [ndimage.map_coordinates(p, at, order=1, mode="nearest") for p in (py, px)]
    return ndimage.map_coordinates(other.data, where, order=1, mode="constant", cval=np.nan)


def _without_sky(image: np.ndarray) -> tuple[np.ndarray, float]:
    """Return an image without its background, and the noise of it."""
    known = image[np.isfinite(image)][::7]
    middle = float(np.median(known))
    noise = 1.4826 * float(np.median(np.abs(known - middle)))
    return image - middle, max(noise, 1e-12)


def _png(image: np.ndarray) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[::-1])).save(buffer, "WEBP", quality=88)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
