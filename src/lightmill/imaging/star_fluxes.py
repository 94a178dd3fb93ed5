"""Fluxes of stars, without what neighbours, holes and the places of pixels put into a circle.

References
----------
Lupton, R. H. 2005, *SDSS Image Processing I: The Deblender*: a source looks the same turned by
half a turn about its centre, and so tells its light where another lies upon it. Windowed places
are those of SExtractor (Bertin, E., *SExtractor user's manual*, "Windowed positional parameters").
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.imaging.apertures import Apertures
from lightmill.imaging.background_mesh import row_bands
from lightmill.imaging.drizzle_inputs import part_of
from lightmill.imaging.photometry import circular_fluxes, local_backgrounds
from lightmill.imaging.sampling import Sharing
from lightmill.models import Region

__all__ = [
    "Circles",
    "lost_to_holes",
    "missing_weight",
    "star_fluxes",
    "window_of",
    "windowed_places",
]

WINDOW = math.sqrt(0.5)  # standard deviation of the window, over the radius of the circle
USUAL = 1.5  # the same where there is no circle [pixel]
FARTHEST = 3.0  # windows that a place may be from its centroid
MOVED = 0.04  # windows between both places, above which another source must be behind it
BELIEVED = 3.0  # errors above which a light or a shift is real
WORTH = 1.0  # errors that a neighbour's light may make, above which it is looked at
SEEN = 3.0  # semimajor axes that a neighbour reaches
MIDDLE = 1  # of the three circles
PAIRS = 1 << 14  # looked at at once
FAINTEST = 0.02  # missing weight that is a hole, not a change of coverage
AROUND = 6  # pixels about a star whose weights are looked at


def window_of(apertures: Apertures) -> float:
    """Return the standard deviation of the window of places, which suits the circle [pixel]."""
    radius = apertures.total.radius
    return WINDOW * radius if radius > 0 else USUAL


def windowed_places(
    signal: np.ndarray, x: np.ndarray, y: np.ndarray, window: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return where sources are when seen through a Gaussian window that follows them.

    Parameters
    ----------
    signal : (ny, nx) ndarray of float32
        Image without its sky, finite, C-contiguous.
    x, y : (n,) ndarray of float64
        Centroids [pixel].
    window : float
        Standard deviation of the window [pixel].

    Returns
    -------
    x, y : (n,) ndarray of float64
        The centroid itself where the window finds nothing, or walks away.
    """
    import sep

    places = np.array([x, y], np.float64)
    known = np.flatnonzero(np.isfinite(places).all(axis=0))
    if len(known):
        found = np.array(sep.winpos(signal, *places[:, known], window)[:2])
        near = np.hypot(*(found - places[:, known])) < FARTHEST * window
        places[:, known[near]] = found[:, near]
    return places[0], places[1]


@dataclass(frozen=True, eq=False)
class Circles:
    """A mosaic, and the circles it is measured in.

    Attributes
    ----------
    data, err : (ny, nx) ndarray of float32
        Image and its standard error, C-contiguous.
    labels : (ny, nx) ndarray of int32 or None
        Segments, the n-th source has n + 1; without them no neighbours are looked for.
    apertures : Apertures
        The circle of total fluxes, the middle one of the three, and the ring.
    """

    data: np.ndarray
    err: np.ndarray
    labels: np.ndarray | None
    apertures: Apertures

    @property
    def area(self) -> float:
        """Of the circle of total fluxes, times its correction [pixel]."""
        whole = self.apertures.total
        return math.pi * whole.radius**2 * whole.correction

    def light(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return total fluxes, sky included, and their errors of pixels."""
        whole = self.apertures.total
        flux, error = circular_fluxes(self.data, self.err, x, y, whole.radius)
        return flux * whole.correction, error * whole.correction

    def sky(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sky of the ring, and its error."""
        return local_backgrounds(self.data, x, y, self.apertures.inner, self.apertures.outer)

    def core(self, x: np.ndarray, y: np.ndarray, sky: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return total fluxes as the middle circle has them, and their errors of pixels."""
        radius, correction = (
            part[MIDDLE] for part in (self.apertures.radii, self.apertures.corrections)
        )
        flux, error = circular_fluxes(self.data, self.err, x, y, radius)
        return (flux - sky * math.pi * radius**2) * correction, error * correction

    def foreign(self, x: np.ndarray, y: np.ndarray, *own: np.ndarray) -> np.ndarray:
        """Say which circles hold pixels of others than some sources, or leave the image."""
        assert self.labels is not None  # asked for only with segments
        ny, nx = self.labels.shape
        reach = math.ceil(self.apertures.total.radius)
        grid = np.arange(-reach, reach + 1)
        column = np.rint(np.nan_to_num(x)).astype(np.int64)[:, None, None] + grid
        row = np.rint(np.nan_to_num(y)).astype(np.int64)[:, None, None] + grid[:, None]
        outside = (column < 0) | (column >= nx) | (row < 0) | (row >= ny)
        found = self.labels[np.clip(row, 0, ny - 1), np.clip(column, 0, nx - 1)]
        others = (found != 0) | outside
        for label in own:
            others &= outside | (found != label[:, None, None])
        alien: np.ndarray = others.any(axis=(1, 2))
        return alien


def star_fluxes(circles: Circles, values: dict[str, Any], window: float) -> dict[str, Any]:
    """Measure sources as stars: about their windowed places, light of neighbours taken out.

    Parameters
    ----------
    circles : Circles
        What is measured, and in what.
    values : dict
        Columns, with both places of each source and, if there are segments, isophotal_flux and
        semimajor_sigma.
    window : float
        That of the windowed places [pixel].

    Returns
    -------
    columns : dict
        star_flux, neighbour_flux (taken out of it), with errors of their pixels; is_blended; and
        what errors ask for: ``neighbours`` (how many were taken out), ``core`` and ``core_err``
        (the flux that the middle circle tells).
    """
    x, y = values["xwindowed"], values["ywindowed"]
    flux, error = circles.light(x, y)
    sky, _ = circles.sky(x, y)
    flux = flux - sky * circles.area
    core, core_err = circles.core(x, y, sky)
    shift = np.hypot(x - values["xcentroid"], y - values["ycentroid"])
    with np.errstate(invalid="ignore", divide="ignore"):
        noise = BELIEVED * window * np.abs(error / flux)
    blended = shift > np.hypot(MOVED * window, np.nan_to_num(noise, posinf=0))
    n = len(x)
    light: np.ndarray = np.zeros(n)
    variance: np.ndarray = np.zeros(n)
    count: np.ndarray = np.zeros(n, np.int64)
    for one, added, added_err, hidden in _neighbours(circles, values, error):
        light += np.bincount(one, added, n)
        variance += np.bincount(one, added_err**2, n)
        count += np.bincount(one, minlength=n)
        blended[hidden] = True
    return {
        "star_flux": flux - light,
        "star_flux_err": error,
        "neighbour_flux": light,
        "neighbour_flux_err": np.sqrt(variance),
        "neighbours": count,
        "core": core,
        "core_err": core_err,
        "is_blended": blended,
    }


def _neighbours(
    circles: Circles, values: dict[str, Any], error: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield whose light neighbours add to, how much and how uncertain; and whom they hide."""
    if circles.labels is None:
        return
    one, two = _near(circles, values, error)
    for start in range(0, len(one), PAIRS):
        some = slice(start, start + PAIRS)
        yield _added(circles, values, one[some], two[some])


def _added(
    circles: Circles, values: dict[str, Any], one: np.ndarray, two: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the same of some pairs, of which the second may add to the first.

    A neighbour is as bright on its other side. What is there of the source's own light is also
    on the source's other side, where the neighbour is three times as far.
    """
    x, y = values["xwindowed"], values["ywindowed"]
    own, other = np.array([x[one], y[one]]), np.array([x[two], y[two]])
    across, beyond = 2 * other - own, 3 * own - 2 * other
    # Pixels between both are given to either by chance.
    clean = ~circles.foreign(*across, one + 1, two + 1) & ~circles.foreign(
        *beyond, one + 1, two + 1
    )
    reach = circles.apertures.total.radius + 2 * values["semimajor_sigma"][two]
    hidden = one[~clean & (np.hypot(*(other - own)) < reach)]
    one, across, beyond = one[clean], across[:, clean], beyond[:, clean]
    seen, seen_err = circles.light(*across)
    wing, wing_err = circles.light(*beyond)
    (level, level_err), (far, far_err) = circles.sky(*across), circles.sky(*beyond)
    added, noise = seen - wing - (level - far) * circles.area, np.hypot(seen_err, wing_err)
    with np.errstate(invalid="ignore"):
        uncertain = np.hypot(noise, np.hypot(level_err, far_err) * circles.area)
        real = added > BELIEVED * uncertain
    return one[real], added[real], noise[real], hidden


def _near(
    circles: Circles, values: dict[str, Any], error: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of sources of which the second may add to the first.

    What it adds at most is guessed: from a Gaussian of its size half as large again, and wings
    that fall with the third power of the distance, as those of diffraction do.
    """
    from scipy.spatial import cKDTree

    x, y = values["xwindowed"], values["ywindowed"]
    size, bright = values["semimajor_sigma"], values["isophotal_flux"]
    known = np.flatnonzero(np.isfinite([x, y, size, bright]).all(axis=0))
    if len(known) < 2:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    outer, radius = circles.apertures.outer, circles.apertures.total.radius
    tree = cKDTree(np.stack([x[known], y[known]], axis=1))
    found = known[tree.query_pairs(3 * outer, output_type="ndarray")]
    one, two = np.concatenate([found, found[:, ::-1]]).T
    distance = np.hypot(x[one] - x[two], y[one] - y[two])
    wide = 2 * (1.5 * size[two]) ** 2
    most = bright[two] * (
        (radius / distance) ** 3 + radius**2 / wide * np.exp(-(distance**2) / wide)
    )
    with np.errstate(invalid="ignore"):
        kept = (distance < outer + SEEN * size[two]) & (most > WORTH * error[one])
    return one[kept], two[kept]


def lost_to_holes(
    image: Any, x: np.ndarray, y: np.ndarray, apertures: Apertures, sharing: Sharing
) -> np.ndarray:
    """Return how far total fluxes are off because drops are missing from stars' cores.

    Parameters
    ----------
    image : ResampledModel
        With its weights; without, nothing is missing.
    x, y : (n,) ndarray of float64
        Places [pixel].
    apertures : Apertures
        With the profile; without, nothing is known of it.
    sharing : Sharing
        How the mosaic was made.

    Returns
    -------
    fraction : (n,) ndarray of float64
        Of the total flux; negative where light is lost.
    """
    lost = np.zeros(len(x))
    profile, whole = apertures.profile, apertures.total
    if profile is None or not image.has("wht") or math.isnan(whole.radius):
        return lost
    ny, nx = image.array("data").shape
    grid = np.arange(-AROUND, AROUND + 1)
    column = np.rint(np.nan_to_num(x)).astype(np.int64)
    row = np.rint(np.nan_to_num(y)).astype(np.int64)
    for y0, y1 in row_bands((ny, nx)):
        here = np.flatnonzero((row >= y0) & (row < y1))
        if not len(here):
            continue
        first, last = max(y0 - AROUND, 0), min(y1 + AROUND, ny)
        weight = part_of(image, "wht", Region(first, last, 0, nx))
        assert weight is not None  # asked for above
        rows, columns = row[here, None] + grid, column[here, None] + grid
        around = weight[
            (np.clip(rows, first, last - 1) - first)[:, :, None],
            np.clip(columns, 0, nx - 1)[:, None, :],
        ]
        away = columns - x[here, None], rows - y[here, None]
        lost[here] = profile.lost_light(missing_weight(around), *away, whole.radius, sharing)
    return lost * whole.correction


def missing_weight(weight: np.ndarray) -> np.ndarray:
    """Return the part of the usual weight that pixels lack.

    Parameters
    ----------
    weight : (n, h, w) ndarray of float32
        Of the surroundings of n stars; usual is the median of each.

    Returns
    -------
    missing : (n, h, w) ndarray of float64
        From zero to one.
    """
    usual = np.median(weight, axis=(1, 2), keepdims=True).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        missing = 1 - weight / usual
    return np.where(missing > FAINTEST, missing, 0.0)
