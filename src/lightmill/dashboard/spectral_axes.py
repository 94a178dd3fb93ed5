"""Lines of wavelength and of place for the picture of a spectrum, and what is written beside them.

Where light is dispersed, a header tells of no place on the sky for each pixel. It tells wavelengths:
by a plane of them beside the image, as slits have it, or by an axis of FITS (Greisen et al. 2006,
A&A 446, 747) where the spectrum is rectified. Across it places are arcsec if the header says so,
else pixels, counted from 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lightmill.dashboard.sky_grid import Label, SkyGrid
from lightmill.errors import LightmillError

__all__ = ["is_cube", "spectral_grid", "wavelength_plane"]

LINES = 6  # of each axis, or a few less
KINDS = ("WAVE", "AWAV")  # of spectral axes: lengths; frequencies and energies are not drawn
PLANE = "WAVELENGTH"  # the part of a file that has the wavelength of each pixel
MICRON = 1e6  # in a metre
UNITS = {"um": 1.0, "micron": 1.0, "nm": 1e-3, "angstrom": 1e-4, "m": MICRON}  # in um
ARCSEC = 3600.0  # in a degree


def is_cube(shape: tuple[int, ...], header: Any) -> bool:
    """Say whether an image has a spectrum in each pixel: its first axis is one of wavelengths.

    Parameters
    ----------
    shape : tuple of int
        Of the image.
    header : Header
        Its keywords.
    """
    return len(shape) == 3 and _kind(header, 3) in KINDS


def wavelength_plane(model: Any, shape: tuple[int, ...]) -> tuple[Any, str] | None:
    """Return the plane of a file that has the wavelength of each pixel of an image, and its unit.

    Parameters
    ----------
    model : Model
    shape : tuple of int
        Of the image.
    """
    for hdu in model.foreign.hdus:
        if (hdu.name, hdu.version, hdu.kind) == (PLANE, 1, "image") and hdu.shape == shape:
            unit = str(hdu.header.get("BUNIT") or "um").strip().lower()
            if unit in UNITS:
                return hdu.array(), unit
    return None


def spectral_grid(
    header: Any, plane: tuple[Any, str] | None, x: np.ndarray, y: np.ndarray
) -> SkyGrid | None:
    """Return the lines of wavelength and place in the picture of a spectrum.

    Parameters
    ----------
    header : Header
        Keywords of its image.
    plane : (array, unit) or None
        The wavelength of each pixel of the image, as `wavelength_plane` returns it.
    x : (nx,) ndarray of float64
        Where in the image the columns of the picture are, ascending.
    y : (ny,) ndarray of float64
        Where its rows are, the first at the bottom.

    Returns
    -------
    grid : SkyGrid or None
        None where nobody says wavelengths, or they do not change.
    """
    if min(len(x), len(y)) < 2:
        return None
    wavelength = _of_axis(header, x, y) if plane is None else _of_plane(*plane, x, y)
    if wavelength is None or not np.isfinite(wavelength).any():
        return None
    turns = [np.nanmax(np.abs(np.diff(wavelength, axis=k)), initial=0.0) for k in (1, 0)]
    if max(turns) <= 0:
        return None
    if turns[0] >= turns[1]:
        lines, below = _lines(wavelength, "µm")
        across, left = _across(header, 2, y)
        return SkyGrid(lines | across[:, None], below, left)
    lines, left = _lines(wavelength.T, "µm")
    across, below = _across(header, 1, x)
    return SkyGrid(lines.T | across, below, left)


def _kind(header: Any, axis: int) -> str:
    """Return what an axis is, as FITS names it; empty if it does not say."""
    found = header.get(f"CTYPE{axis}")
    return found.strip().upper() if isinstance(found, str) else ""


def _of_plane(array: Any, unit: str, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """Return the wavelength of each pixel of the picture [um], from the plane that tells it."""
    plane = np.asarray(array, np.float64)
    rows, columns = (
        np.clip(np.rint(at).astype(int), 0, length - 1)
        for at, length in zip((y, x), plane.shape, strict=True)
    )
    found = plane[np.ix_(rows, columns)] * UNITS[unit]
    found[~(np.isfinite(found) & (found > 0))] = np.nan  # outside of the slit
    return found


def _of_axis(header: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
    """Return the wavelength of each pixel of the picture [um], from an axis of the header."""
    axis = next((n for n in (1, 2) if _kind(header, n) in KINDS), None)
    if axis is None:
        return None
    at = _linear(header, axis, x if axis == 1 else y)
    unit = header.get(f"CUNIT{axis}") or "m"  # what FITS takes where nothing is said
    scale = UNITS.get(str(unit).strip().lower())
    if at is None or scale is None:
        return None
    ones = np.ones((len(y), len(x)))
    return scale * (at * ones if axis == 1 else at[:, None] * ones)


def _across(header: Any, axis: int, at: np.ndarray) -> tuple[np.ndarray, tuple[Label, ...]]:
    """Return where lines of place are along an edge, and what is written there."""
    unit = str(header.get(f"CUNIT{axis}") or "").strip().lower()
    scale = {"deg": ARCSEC, "arcsec": 1.0}.get(unit)
    if scale is not None:
        places = _linear(header, axis, at)
        if places is not None:
            lines, labels = _lines(scale * places[None], "″")
            return lines[0], labels
    lines, labels = _lines(at[None], "")
    return lines[0], labels


def _linear(header: Any, axis: int, at: np.ndarray) -> np.ndarray | None:
    """Return the coordinate along an axis that is a straight line; None if it is not told."""
    names = (f"CRVAL{axis}", f"CRPIX{axis}", f"CDELT{axis}", f"CD{axis}_{axis}", f"PC{axis}_{axis}")
    value, pixel, delta, cd, pc = (_number(header, name) for name in names)
    step = cd if cd is not None else None if delta is None else delta * (1.0 if pc is None else pc)
    if value is None or pixel is None or not step:
        return None
    return value + (at + 1 - pixel) * step


def _number(header: Any, name: str) -> float | None:
    try:
        found = header.get(name)
    except LightmillError:
        return None
    good = isinstance(found, int | float) and not isinstance(found, bool) and np.isfinite(found)
    return float(found) if good else None


def _lines(values: np.ndarray, unit: str) -> tuple[np.ndarray, tuple[Label, ...]]:
    """Return where values pass whole steps, and what is written at the row that knows most."""
    extent = float(np.nanmax(values) - np.nanmin(values))
    lines = np.zeros(values.shape, bool)
    if not extent > 0:
        return lines, ()
    step, decimals = _chosen(extent)
    with np.errstate(invalid="ignore"):
        cells = np.floor(values / step + 1e-9)
        steps = np.diff(cells, axis=1)
        lines[:, 1:] |= np.abs(steps) > 0  # NaN is not
        lines[1:] |= np.abs(np.diff(cells, axis=0)) > 0
    row = int(np.argmax(np.isfinite(values).sum(1)))
    labels = []
    for at in np.flatnonzero(np.abs(steps[row]) == 1):
        value = max(cells[row, at], cells[row, at + 1]) * step
        labels.append(Label((f"{value + 0.0:.{decimals}f}{unit}",), at + 0.5))
    return lines, tuple(labels)


def _chosen(extent: float) -> tuple[float, int]:
    """Return a distance of lines, 1, 2 or 5 of a decimal place, and the decimals it needs."""
    power = int(np.floor(np.log10(extent / LINES)))
    for number in (1, 2, 5, 10):
        step = number * 10.0**power
        if step >= extent / LINES:
            break
    return step, max(0, -power - (number == 10))
