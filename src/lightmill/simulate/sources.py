"""What stands on the sky: stars and galaxies with places, brightness and shape."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lightmill.simulate.focal_plane import View
from lightmill.simulate.pointing import deproject
from lightmill.simulate.scene import CATALOG_COLUMNS, Scene, stream

__all__ = ["AB_ZERO", "draw_sky", "flux_name", "seen"]

AB_ZERO = 3631.0  # Jy (Oke & Gunn 1983, ApJ 266, 713)
_COLOUR = 0.35  # mag, scatter of the colours of neighbouring filters
_RANGE = (
    1000.0  # the brightest star is so much brighter than the faintest, unless asked to saturate
)


def flux_name(filter_name: str) -> str:
    """Return the name of a catalog's column of flux density in a filter."""
    return f"flux_{filter_name.lower()}"


def draw_sky(
    scene: Scene,
    *,
    extent: float,
    inner: float,
    scale: float,
    filters: Mapping[str, float],
    faintest: float,
    saturating: float,
    seed: int,
) -> np.ndarray:
    """Draw the sources of a field.

    Parameters
    ----------
    scene : Scene
        How many there are, and where.
    extent : float
        Side of the square around the scene's centre that is filled [arcsec].
    inner : float
        Side of the square that every exposure sees, where the showpieces stand [arcsec].
    scale : float
        Size of a pixel, by which the sizes of galaxies are chosen [arcsec].
    filters : mapping of str to float
        Filter to wavelength [um].
    faintest, saturating : float
        Flux densities of the faintest star, and of one that fills its brightest pixel [Jy].
    seed : int
        Decides the field.

    Returns
    -------
    sky : structured array
        id, kind, ra, dec [deg], flux_<filter> [Jy], abmag_<filter>, radius (half the light,
        along the long axis) [arcsec], index, axis_ratio, angle (of the long axis, north through
        east) [deg], arms.

    Notes
    -----
    Star counts grow as ``N(>F) ~ F^-0.55`` and galaxy counts as ``F^-0.8``; half-light radii
    are log-normal around 1.4 pixels and grow with the fourth root of the flux.
    """
    rng = stream(seed, "sky")
    area = (extent / scale) ** 2 / 1e6
    nstars = scene.saturated + max(1, round(scene.stars * area)) if scene.stars else 0
    ngalaxies = scene.showpieces + round(scene.galaxies * area)
    sky = np.zeros(nstars + ngalaxies, _columns(filters))
    sky["id"] = np.arange(1, len(sky) + 1)
    east, north = rng.uniform(-0.5, 0.5, (2, len(sky))) * extent
    stars, galaxies = sky[:nstars], sky[nstars:]
    stars["kind"], galaxies["kind"] = b"STAR", b"GALAXY"
    flux = np.empty(len(sky))
    flux[:nstars] = np.minimum(faintest * (rng.pareto(0.55, nstars) + 1), faintest * _RANGE)
    flux[:nstars] = np.minimum(flux[:nstars], 0.7 * saturating)
    k = min(scene.saturated, nstars)
    flux[:k] = saturating * np.exp(rng.uniform(0.3, 2.3, k))
    n, m = len(galaxies), scene.showpieces
    bright = np.minimum(2.5 * (rng.pareto(0.8, n) + 1), 2000)
    flux[nstars:] = faintest * bright
    radius = np.clip(rng.lognormal(np.log(1.4), 0.4, n) * bright**0.25, 0.8, 14)
    galaxies["index"] = np.where(rng.random(n) < 0.75, 1.0, 4.0)
    galaxies["axis_ratio"] = rng.uniform(0.25, 1.0, n)
    galaxies["angle"] = rng.uniform(0, 180, n)
    radius[:m] = rng.uniform(16, 28, m) * min(1.0, inner / scale / 1000)
    galaxies["index"][:m] = 1.0
    galaxies["axis_ratio"][:m] = rng.uniform(0.45, 0.95, m)
    surface = rng.uniform(3, 9, m) / 6 * faintest  # in a pixel
    flux[nstars : nstars + m] = surface * 2 * np.pi * radius[:m] ** 2 * galaxies["axis_ratio"][:m]
    spiral = (radius > 5) & (galaxies["index"] < 2)
    spiral[:m] = True
    galaxies["arms"] = np.where(spiral, 0.65, 0.0) * rng.choice([-1, 1], n)
    galaxies["radius"] = radius * scale
    # what must be seen stands inside every exposure
    for part in (slice(0, k), slice(nstars, nstars + m)):
        count = len(sky[part])
        east[part], north[part] = rng.uniform(-0.36, 0.36, (2, count)) * inner
    sky["ra"], sky["dec"] = deproject(east, north, scene.ra, scene.dec)
    slope = rng.normal(0.0, _COLOUR, len(sky))
    first = next(iter(filters.values()))
    for name, wavelength in filters.items():
        # a power law of frequency for each source: colours in step over several filters
        of_filter = flux * (wavelength / first) ** (slope * 2.0)
        sky[flux_name(name)] = of_filter
        sky[f"abmag_{name.lower()}"] = -2.5 * np.log10(of_filter / AB_ZERO)
    return sky


def _columns(filters: Mapping[str, float]) -> list[tuple[str, str]]:
    light = [(flux_name(name), "f8") for name in filters]
    light += [(f"abmag_{name.lower()}", "f8") for name in filters]
    shape = [(name, "f8") for name in ("radius", "index", "axis_ratio", "angle", "arms")]
    return [("id", "i4"), ("kind", "S6"), ("ra", "f8"), ("dec", "f8"), *light, *shape]


def seen(sky: np.ndarray, view: View, filter_name: str, electrons: float) -> np.ndarray:
    """Return the sources as one exposure sees them.

    Parameters
    ----------
    sky : structured array
        See `draw_sky`.
    view : View
        Where each place on the sky falls, and how shapes are changed there.
    filter_name : str
        Which flux.
    electrons : float
        Photo-electrons per second of a source of one jansky.

    Returns
    -------
    catalog : structured array
        See `lightmill.simulate.scene.CATALOG_COLUMNS`: x, y [pixel], flux [electron / s],
        radius [pixel], angle from x [rad]. Sources behind the distortion's fold are left out.

    Notes
    -----
    An ellipse with second moments M on the sky is seen as ``J M J^T``, J being the local
    derivative of pixels by sky coordinates.
    """
    x, y = view.pixels(sky["ra"], sky["dec"])
    kept = np.isfinite(x) & np.isfinite(y)
    kept &= (np.abs(x) < 1e5) & (np.abs(y) < 1e5)
    sky, x, y = sky[kept], x[kept], y[kept]
    out = np.zeros(len(sky), CATALOG_COLUMNS)
    for name in ("id", "kind", "ra", "dec", "index"):
        out[name] = sky[name]
    out["x"], out["y"] = x, y
    out["flux"] = sky[flux_name(filter_name)] * electrons
    if not len(sky):
        return out
    j = np.moveaxis(view.jacobian(sky["ra"], sky["dec"]), -1, 0)
    angle = np.radians(sky["angle"])
    long = np.stack([np.sin(angle), np.cos(angle)], axis=1) * sky["radius"][:, None]
    short = np.stack([np.cos(angle), -np.sin(angle)], axis=1)
    short *= (sky["radius"] * sky["axis_ratio"])[:, None]
    axes = j @ np.stack([long, short], axis=2)
    values, vectors = np.linalg.eigh(axes @ np.swapaxes(axes, 1, 2))
    is_extended = sky["radius"] > 0
    out["radius"] = np.sqrt(np.maximum(values[:, 1], 0))
    with np.errstate(invalid="ignore"):
        out["axis_ratio"] = np.where(is_extended, np.sqrt(values[:, 0] / values[:, 1]), 0)
    out["angle"] = np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1]) % np.pi
    out["arms"] = sky["arms"] * np.sign(np.linalg.det(j))
    return out
