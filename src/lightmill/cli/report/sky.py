"""A mosaic and its catalog against the sky that was simulated."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lightmill import models

__all__ = [
    "Mosaic",
    "Residuals",
    "alignment",
    "magnitude_column",
    "match",
    "read_mosaic",
    "read_sky",
]

RADIUS = 0.15  # arcsec, within which a source of the catalog is the one simulated
COMMON = 0.6  # arcsec, the largest error that all pointings may have in common
BRIGHTEST = 200  # sources that tell the common error
TOTAL = "aper_total"  # fluxes of stars; columns of others are named alike


@dataclass
class Mosaic:
    """One mosaic as the report needs it.

    Attributes
    ----------
    name, filter : str
    data, weight : (ny, nx) ndarray
        Surface brightness, and weight.
    unit : str
        Of the data.
    wcs : object
        World coordinates.
    catalog : astropy.table.QTable
    path : Path
    """

    name: str
    filter: str
    data: np.ndarray
    weight: np.ndarray
    unit: str
    wcs: Any
    catalog: Any
    path: Path
    exposures: int = 0
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass
class Residuals:
    """What the catalog says minus what was simulated, source by source.

    Attributes
    ----------
    magnitude : ndarray
        Simulated AB magnitude of each source found.
    difference : ndarray
        Measured minus simulated magnitude.
    pull : ndarray
        Difference of the flux in units of its error.
    snr : ndarray
        Flux over its error.
    is_star : ndarray of bool
    east, north : ndarray
        Measured minus simulated position [mas].
    bins : list of (low, high, number, found)
        Completeness: sources simulated between two magnitudes, and the fraction found.
    unmatched : int
        Sources of the catalog that are near none that was simulated.
    found : int
        Sources of the catalog.
    row : ndarray of int
        Of the catalog, for each source found.
    is_brightest : ndarray of bool
        Of the sources simulated that one row is nearest to; a row cannot tell of the others.
    """

    magnitude: np.ndarray
    difference: np.ndarray
    pull: np.ndarray
    snr: np.ndarray
    is_star: np.ndarray
    east: np.ndarray
    north: np.ndarray
    bins: list[tuple[float, float, int, float]]
    unmatched: int
    found: int
    row: np.ndarray
    is_brightest: np.ndarray

    @property
    def bright_stars(self) -> np.ndarray:
        """Which are stars whose flux is known to 2 percent: others say more of noise than of us."""
        return self.is_star & (self.snr > 50) & np.isfinite(self.difference)


def read_sky(path: Path) -> dict[str, np.ndarray]:
    """Return the tables of a simulated sky: sources and pointings."""
    model = models.open(path)
    found = {}
    for hdu in models.read_header(path).hdus:
        if hdu.kind == "table":
            from lightmill.models.tables import LazyTable

            found[hdu.name] = LazyTable(hdu).read()
    del model
    return found


def read_mosaic(path: Path, catalog: Path) -> Mosaic:
    """Return a mosaic with its catalog."""
    from astropy.table import QTable

    model = models.open(path)
    meta = model.meta
    elements = [meta.get(f"instrument.{key}") for key in ("filter", "pupil")]
    known = [str(one) for one in elements if one not in (None, "CLEAR", "N/A")]
    weight = np.asarray(model.array("wht")) if model.has("wht") else np.isfinite(model.data)
    return Mosaic(
        path.stem,
        "+".join(known) or "none",
        model.data,
        weight,
        str(meta.get("bunit_data") or ""),
        models.wcs_of(model),
        QTable.read(catalog, format="ascii.ecsv"),
        path,
        int(meta.get("resample.pointings") or 0),
    )


def match(mosaic: Mosaic, sources: np.ndarray, flux_name: str = TOTAL) -> Residuals:
    """Compare a catalog with the sources simulated.

    Parameters
    ----------
    mosaic : Mosaic
    sources : structured ndarray
        With ra, dec [deg], kind, and abmag_FILTER.
    flux_name : str
        What the columns of fluxes begin with.
    """
    truth = np.asarray(sources[magnitude_column(sources, mosaic.filter)], float)
    x, y = mosaic.wcs.world_to_pixel_values(sources["ra"], sources["dec"])
    ny, nx = mosaic.data.shape
    inside = (x > 0) & (x < nx - 1) & (y > 0) & (y < ny - 1)
    inside &= np.isfinite(x) & np.isfinite(truth)
    column = np.clip(np.nan_to_num(x), 0, nx - 1).astype(int)
    row = np.clip(np.nan_to_num(y), 0, ny - 1).astype(int)
    inside &= mosaic.weight[row, column] > 0
    catalog = mosaic.catalog
    ra, dec = _positions(catalog)
    magnitude = truth[inside]
    true_ra, true_dec = sources["ra"][inside], sources["dec"][inside]
    index, east, north = _nearest(true_ra, true_dec, ra, dec)
    common_e, common_n = _common(magnitude, east, north)
    index, east, north = _nearest(
        true_ra + common_e / np.cos(np.radians(true_dec)) / 3.6e6,
        true_dec + common_n / 3.6e6,
        ra,
        dec,
    )
    near = np.hypot(east, north) < RADIUS * 1000
    east, north = east + common_e, north + common_n
    abmag, flux, error = (
        _plain(catalog, f"{flux_name}_{part}") for part in ("abmag", "flux", "flux_err")
    )
    snr = flux / error
    measured = abmag[index]
    expected = 10 ** (-0.4 * (magnitude - 8.9))  # Jy, the definition of AB magnitudes
    pull = (flux[index] - expected) / error[index]
    kind = np.char.strip(np.asarray(sources["kind"][inside]).astype("S8"))
    bins = []
    limits = np.arange(np.floor(magnitude.min()), np.ceil(magnitude.max()) + 1)
    for low, high in itertools.pairwise(limits):
        here = (magnitude >= low) & (magnitude < high)
        if here.any():
            bins.append((float(low), float(high), int(here.sum()), float(near[here].mean())))
    _, away_e, away_n = _nearest(ra, dec, sources["ra"], sources["dec"])
    away = np.hypot(away_e + common_e, away_n + common_n)
    unmatched = int((away > 3 * RADIUS * 1000).sum())
    return Residuals(
        magnitude[near],
        (measured - magnitude)[near],
        pull[near],
        snr[index][near],
        (kind == b"STAR")[near],
        east[near],
        north[near],
        bins,
        unmatched,
        len(catalog),
        index[near],
        _brightest(index[near], magnitude[near]),
    )


def _brightest(row: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """Say which sources are the brightest of those with the same row."""
    order = np.lexsort((magnitude, row))
    is_first = np.ones(len(row), bool)
    is_first[order[1:]] = row[order[1:]] != row[order[:-1]]
    return is_first


def _common(magnitude: np.ndarray, east: np.ndarray, north: np.ndarray) -> tuple[float, float]:
    """Return the offset that the brightest sources have in common [mas]."""
    bright = np.argsort(magnitude)[:BRIGHTEST]
    close = bright[np.hypot(east[bright], north[bright]) < COMMON * 1000]
    if close.size < 3:
        return 0.0, 0.0
    return float(np.median(east[close])), float(np.median(north[close]))


def alignment(residuals: Residuals) -> tuple[float, float, float]:
    """Return mean offset east and north of bright stars, and their scatter a coordinate [mas].

    The mean is the error of the whole mosaic, which no alignment between exposures can tell; the
    scatter (from the median absolute deviation) is what alignment and centroids leave.
    """
    bright = residuals.bright_stars
    if bright.sum() < 3:
        return float("nan"), float("nan"), float("nan")
    east, north = residuals.east[bright], residuals.north[bright]
    scatter = [1.4826 * np.median(np.abs(v - np.median(v))) for v in (east, north)]
    return float(np.median(east)), float(np.median(north)), float(np.hypot(*scatter) / np.sqrt(2))


def magnitude_column(sources: np.ndarray, wanted: str) -> str:
    """Return the column of magnitudes of a filter."""
    names = [name for name in sources.dtype.names or () if name.startswith("abmag_")]
    parts = wanted.lower().split("+")
    for name in names:
        if name.removeprefix("abmag_") in parts:
            return name
    return names[0]


def _positions(catalog: Any) -> tuple[np.ndarray, np.ndarray]:
    sky = catalog["sky_centroid"]
    return np.asarray(sky.ra.deg), np.asarray(sky.dec.deg)


def _plain(catalog: Any, name: str) -> np.ndarray:
    values = catalog[name]
    return np.asarray(getattr(values, "value", values), float)


def _nearest(
    ra: np.ndarray, dec: np.ndarray, of_ra: np.ndarray, of_dec: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the nearest of some positions to each of others, and its offset east and north [mas]."""
    from scipy.spatial import KDTree

    def unit(a: np.ndarray, d: np.ndarray) -> np.ndarray:
        a, d = np.radians(a), np.radians(d)
        return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)

    _, index = KDTree(unit(of_ra, of_dec)).query(unit(ra, dec))
    turn = (of_ra[index] - ra + 180) % 360 - 180
    east = turn * np.cos(np.radians(dec)) * 3.6e6
    north = (of_dec[index] - dec) * 3.6e6
    return index, east, north
