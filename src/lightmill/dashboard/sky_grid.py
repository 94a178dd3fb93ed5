"""Lines of right ascension and declination for a picture, and what is written beside them.

The sky is asked at the knots of a net over the image; between them the direction, a unit vector, is
interpolated: it has no seam at 0 h and no hole at a pole. A pixel is on a line where the next one
is on the other side of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Label", "SkyGrid", "sky_grid"]

KNOTS = 33  # of the net, a side
LINES = 5  # of each coordinate, or a few less
# Distances of lines, in hundredths of a second: of time for right ascension, of arc for
# declination. All of the former divide a day: there is a line at 0 h.
_MINUTE, _HOUR = 60_00, 3600_00
_SECONDS = (1, 2, 5, 10, 20, 50, 1_00, 2_00, 5_00, 10_00, 15_00, 30_00)
_MINUTES = tuple(_MINUTE * n for n in (1, 2, 5, 10, 15, 30))
_TIME = (*_SECONDS, *_MINUTES, *(_HOUR * n for n in (1, 2, 3, 6)))
_ARC = (*_SECONDS, *_MINUTES, *(_HOUR * n for n in (1, 2, 5, 10, 15, 30)))
_DAY, _TURN = 24 * _HOUR, 360  # hundredths of a second of time; degrees


@dataclass(frozen=True)
class Label:
    """What is written where a line meets an edge of the picture.

    Attributes
    ----------
    parts : tuple of str
        Hours, minutes, seconds; or degrees and so on. The last ones may be missing.
    at : float
        Column of a line that meets the lower edge, row of one that meets the left [pixel].
    """

    parts: tuple[str, ...]
    at: float


@dataclass(frozen=True)
class SkyGrid:
    """Lines over a picture.

    Attributes
    ----------
    lines : (ny, nx) ndarray of bool
        Where a line is.
    below, left : tuple of Label
        At the lower and at the left edge, from left to right and from below upwards: the one edge
        has right ascensions, the other declinations.
    """

    lines: np.ndarray
    below: tuple[Label, ...]
    left: tuple[Label, ...]


def sky_grid(
    degrees: Callable[..., tuple[Any, ...]], x: np.ndarray, y: np.ndarray
) -> SkyGrid | None:
    """Return the lines of right ascension and declination in a picture.

    Parameters
    ----------
    degrees : callable
        Given x and y [pixel of the image, from 0], returns right ascension and declination [deg].
    x : (nx,) ndarray of float64
        Where in the image the columns of the picture are, ascending.
    y : (ny,) ndarray of float64
        Where its rows are, the first at the bottom.

    Returns
    -------
    grid : SkyGrid or None
        None where a part of the picture is not on the sky, or all of it in one point.
    """
    if min(len(x), len(y)) < 2:
        return None
    knots_x, knots_y = np.linspace(x[0], x[-1], KNOTS), np.linspace(y[0], y[-1], KNOTS)
    with np.errstate(all="ignore"):
        ra, dec = (np.asarray(one, float) for one in degrees(*np.meshgrid(knots_x, knots_y)))
    if not (np.isfinite(ra) & np.isfinite(dec)).all():
        return None
    # How far the right ascension turns, from the middle of the picture.
    turned = (ra - ra[KNOTS // 2, KNOTS // 2] + _TURN / 2) % _TURN - _TURN / 2
    if not (np.ptp(turned) > 0 and np.ptp(dec) > 0):
        return None
    ra_step = _chosen(_TIME, np.ptp(turned) / _TURN * _DAY)
    dec_step = _chosen(_ARC, np.ptp(dec) * _HOUR)
    ra, dec = _between(ra, dec, _hats(x, knots_x), _hats(y, knots_y))
    hours = np.floor(ra % _TURN / _TURN * _DAY / ra_step).astype(int) % (_DAY // ra_step)
    arcs = np.floor(dec * _HOUR / dec_step).astype(int)
    # Right ascensions are written along the edge that more of their lines meet.
    is_turned = _steps(hours[0]) < _steps(hours[:, 0])
    below, left = (arcs[0], hours[:, 0]) if is_turned else (hours[0], arcs[:, 0])
    return SkyGrid(
        _borders(hours) | _borders(arcs),
        tuple(_labels(below, dec_step if is_turned else ra_step, is_time=not is_turned)),
        tuple(_labels(left, ra_step if is_turned else dec_step, is_time=is_turned)),
    )


def _chosen(steps: Sequence[int], extent: float) -> int:
    """Return a distance of lines so that there are a few in an extent."""
    return next((step for step in steps if step >= extent / LINES), steps[-1])


def _hats(at: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Return the weights of linear interpolation: a row for each position, a column for each knot."""
    step = knots[1] - knots[0]
    return np.maximum(0.0, 1.0 - np.abs(at[:, None] - knots) / step)


def _between(
    ra: np.ndarray, dec: np.ndarray, along_x: np.ndarray, along_y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return right ascension and declination [deg] of each pixel of the picture."""
    a, d = np.radians(ra), np.radians(dec)
    u, v, w = (
        along_y @ one @ along_x.T
        for one in (np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d))
    )
    return np.degrees(np.arctan2(v, u)), np.degrees(np.arctan2(w, np.hypot(u, v)))


def _borders(cells: np.ndarray) -> np.ndarray:
    """Return which pixels have a neighbour, on the left or below, on the other side of a line."""
    found = np.zeros(cells.shape, bool)
    found[:, 1:] |= cells[:, 1:] != cells[:, :-1]
    found[1:] |= cells[1:] != cells[:-1]
    return found


def _steps(edge: np.ndarray) -> int:
    return int((np.diff(edge) != 0).sum())


def _labels(edge: np.ndarray, step: int, *, is_time: bool) -> Iterable[Label]:
    """Yield what is written along an edge, given the cell of each of its pixels."""
    last = _DAY // step - 1
    for at in np.flatnonzero(np.diff(edge)):
        low, high = sorted((int(edge[at]), int(edge[at + 1])))
        if is_time and (low, high) == (0, last):
            high = 0
        elif high - low > 1:
            continue  # lines run together at a pole
        # Below zero, a cell's number is that of its lower line, too: the line is the upper cell's.
        yield Label(_written(high * step, step, is_time=is_time), at + 0.5)


def _written(value: int, step: int, *, is_time: bool) -> tuple[str, ...]:
    """Return the parts of a coordinate given in hundredths of a second, as far as lines need them."""
    units = "hms" if is_time else "°′″"
    sign = "" if is_time else "-" if value < 0 else "+"
    whole, hundredths = divmod(abs(value), 100)
    minutes, seconds = divmod(whole, 60)
    first, minutes = divmod(minutes, 60)
    parts = [f"{sign}{first:02d}{units[0]}"]
    if step % _HOUR:
        parts.append(f"{minutes:02d}{units[1]}")
    if step % _MINUTE:
        decimals = "" if step % 100 == 0 else f".{hundredths:02d}"
        decimals = decimals[:2] if step % 10 == 0 else decimals
        parts.append(f"{seconds:02d}{decimals}{units[2]}")
    return tuple(parts)
