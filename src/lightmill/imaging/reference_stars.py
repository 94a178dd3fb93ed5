"""Stars whose positions are known: a catalog on this machine to align exposures to."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import ConfigurationError, CorruptFileError, DataError

__all__ = ["ReferenceStars", "read_positions", "read_reference"]

YEAR_DAYS = 365.25  # Julian year, as proper motions have it
J2000_MJD = 51544.5
MAS_PER_DEG = 3.6e6
FORMATS = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".fits": "fits", ".txt": "ascii"}
# Names of columns as catalogs have them: ours and the peer's source catalog, Gaia, 2MASS, plain tables.
RA = ("ra", "ra_icrs", "raj2000", "ra_deg", "alpha_j2000", "sky_centroid.ra")
DEC = ("dec", "de_icrs", "dej2000", "dec_deg", "delta_j2000", "sky_centroid.dec")
MOTION_RA, MOTION_DEC = ("pmra", "pm_ra", "pm_ra_cosdec"), ("pmdec", "pmde", "pm_dec")
EPOCH, WEIGHT = ("epoch", "ref_epoch"), ("weight", "weights")
X, Y = ("x", "xcentroid", "x_centroid"), ("y", "ycentroid", "y_centroid")
MAGNITUDE = (
    "mag", "phot_g_mean_mag", "isophotal_abmag", "aper_total_abmag", "abmag",
)  # fmt: skip
FLUX = ("flux", "isophotal_flux", "aper_total_flux")


@dataclass(frozen=True)
class ReferenceStars:
    """Stars with known positions, brightest first where their brightness is known.

    Attributes
    ----------
    ra, dec : (n,) ndarray of float64
        Position at the epoch asked for [deg].
    weight : (n,) ndarray of float64 or None
        What each counts in a fit.
    """

    ra: np.ndarray
    dec: np.ndarray
    weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ra)

    def take(self, which: np.ndarray) -> ReferenceStars:
        """Return some of them."""
        weight = None if self.weight is None else self.weight[which]
        return ReferenceStars(self.ra[which], self.dec[which], weight)


def read_reference(path: str | Path, mjd: float | None = None) -> ReferenceStars:
    """Read a catalog of positions on the sky.

    Parameters
    ----------
    path : path
        An ECSV, CSV or FITS table on this machine. It needs right ascension and declination
        (``RA``, ``DEC``, or a ``sky_centroid`` as source catalogs have); it may have proper
        motions (``pmra``, which includes cos(dec), and ``pmdec``), the ``epoch`` they count from
        [Julian year; 2016.0 by default, that of Gaia DR3], ``weight``, and a magnitude or flux.
        Where columns have no unit, positions are in degrees and motions in mas/yr.
    mjd : float, optional
        When the exposures were taken [MJD]; without it stars stay where the catalog has them.

    Raises
    ------
    ConfigurationError
        If there is no such file, or its name ends unlike a table's.
    CorruptFileError
        If it is not a table.
    DataError
        If positions are missing, or no row has one.
    """
    path = Path(path)
    table = _read(path)
    columns = _columns(table)
    ra = _numbers(_needed(columns, RA, "RA", path), "deg", path)
    dec = _numbers(_needed(columns, DEC, "DEC", path), "deg", path)
    if mjd is not None:
        ra, dec = _moved(columns, ra, dec, mjd, path)
    weight = _find(columns, WEIGHT)
    weights = None if weight is None else _numbers(weight, "", path)
    good = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90)
    if weights is not None:
        good &= np.isfinite(weights) & (weights > 0)
    if not good.any():
        raise DataError(
            "no row of the catalog has a position",
            place=path,
            found=f"{len(ra)} rows",
            expected="finite right ascensions and declinations [deg]",
        )
    order = _by_brightness(columns, len(ra))
    return ReferenceStars(ra, dec, weights).take(order[good[order]])


def read_positions(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the positions of stars in an image from a catalog: x and y [pixel, from 0].

    Brightest first, where there is a magnitude or a flux.

    Raises
    ------
    ConfigurationError, CorruptFileError, DataError
        As for `read_reference`.
    """
    path = Path(path)
    columns = _columns(_read(path))
    x = _numbers(_needed(columns, X, "x", path), "", path)
    y = _numbers(_needed(columns, Y, "y", path), "", path)
    order = _by_brightness(columns, len(x))
    order = order[np.isfinite(x[order]) & np.isfinite(y[order])]
    return x[order], y[order]


def _read(path: Path) -> Any:
    kind = FORMATS.get(path.suffix.lower())
    if kind is None or not path.is_file():
        no_name = kind is None
        raise ConfigurationError(
            "the name does not say what kind of table this is"
            if no_name
            else "there is no such catalog",
            place=path,
            found=path.suffix or path.name if no_name else None,
            expected="a file on this machine that ends in " + ", ".join(FORMATS),
            remedy="save the catalog in one of these formats; nothing is fetched from the web",
        )
    from astropy.table import Table

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # units astropy does not know: they are not needed
            return Table.read(path, format=kind)
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise CorruptFileError(
            "the catalog cannot be read as a table",
            place=path,
            found=error,
            expected=f"a table in the format {kind}",
        ) from error


def _columns(table: Any) -> dict[str, Any]:
    """Return columns by names in small letters, coordinates taken apart."""
    columns: dict[str, Any] = {}
    for name in table.colnames:
        column = table[name]
        if hasattr(column, "ra") and hasattr(column, "dec"):
            columns[f"{name.lower()}.ra"] = column.ra.deg
            columns[f"{name.lower()}.dec"] = column.dec.deg
        else:
            columns.setdefault(name.lower(), column)
    return columns


def _find(columns: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((columns[name] for name in names if name in columns), None)


def _needed(columns: dict[str, Any], names: tuple[str, ...], usual: str, path: Path) -> Any:
    found = _find(columns, names)
    if found is None:
        raise DataError(
            f"the catalog has no column {usual}",
            place=path,
            found=", ".join(columns) or "no columns",
            expected=f"a column called {', '.join(names)}, in small or capital letters",
            remedy=f"call the column {usual}",
        )
    return found


def _numbers(column: Any, unit: str, path: Path) -> np.ndarray:
    """Return a column as numbers in a unit; masked rows as NaN."""
    try:
        given = getattr(column, "unit", None)
        values = np.ma.filled(np.ma.asarray(column, np.float64), np.nan)
        if given is None or not unit or str(given) == unit:
            return values
        from astropy import units

        return np.asarray((values * units.Unit(given)).to_value(unit))
    except (ValueError, TypeError) as error:
        raise DataError(
            "a column of the catalog does not hold what it should",
            place=path,
            found=error,
            expected=f"numbers{f' [{unit}]' if unit else ''}",
        ) from error


def _moved(
    columns: dict[str, Any], ra: np.ndarray, dec: np.ndarray, mjd: float, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions at a date; stars without a proper motion stay."""
    motions = _find(columns, MOTION_RA), _find(columns, MOTION_DEC)
    if any(motion is None for motion in motions):
        return ra, dec
    epoch = _find(columns, EPOCH)
    years = 2016.0 if epoch is None else _numbers(epoch, "", path)
    elapsed = 2000.0 + (mjd - J2000_MJD) / YEAR_DAYS - years
    east, north = (
        np.nan_to_num(_numbers(motion, "mas / yr", path)) * np.nan_to_num(elapsed) / MAS_PER_DEG
        for motion in motions
    )
    squeezed = np.maximum(np.cos(np.radians(dec)), 1e-9)
    return np.mod(ra + east / squeezed, 360.0), dec + north


def _by_brightness(columns: dict[str, Any], n: int) -> np.ndarray:
    magnitude, flux = _find(columns, MAGNITUDE), _find(columns, FLUX)
    if magnitude is not None:
        key = np.ma.filled(np.ma.asarray(magnitude, np.float64), np.nan)
    elif flux is not None:
        key = -np.ma.filled(np.ma.asarray(flux, np.float64), np.nan)
    else:
        return np.arange(n)
    return np.argsort(np.where(np.isfinite(key), key, np.inf), kind="stable")
