"""Which circles to measure in, and what light falls outside them: from reference tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.imaging.sampling import StarProfile, fitted_profile

__all__ = ["Apertures", "Circle", "apertures_of_radii", "apertures_of_table", "magnitude_offset"]

RING = (5.0, 10.0)  # of the local sky where no reference names one [pixel]


@dataclass(frozen=True)
class Circle:
    """A circle around a star.

    Attributes
    ----------
    energy : int
        Encircled energy [percent].
    radius : float
        [pixel]; NaN where it is not known.
    correction : float
        Total light of a point source over that in the circle; NaN where it is not known.
    """

    energy: int
    radius: float
    correction: float


@dataclass(frozen=True)
class Apertures:
    """Circles around a source.

    Attributes
    ----------
    energies : tuple of int
        Encircled energy of each, as it names the columns [percent].
    radii : tuple of float
        [pixel]; NaN where it is not known.
    corrections : tuple of float
        Total light of a point source over that in the circle; NaN where it is not known.
    inner, outer : float
        Radii of the ring of the local sky [pixel].
    profile : StarProfile or None
        That fits all radii the reference has.
    wide : Circle or None
        That total fluxes come from, if it is none of these.
    """

    energies: tuple[int, ...]
    radii: tuple[float, ...]
    corrections: tuple[float, ...]
    inner: float
    outer: float
    profile: StarProfile | None = None
    wide: Circle | None = None

    @property
    def total(self) -> Circle:
        """Return the circle that total fluxes come from."""
        return self.wide or Circle(self.energies[-1], self.radii[-1], self.corrections[-1])

    def as_dict(self) -> dict[str, Any]:
        """Return the same under the names the field's catalogs have them."""
        return {
            "aperture_ee": list(self.energies),
            "aperture_radii": list(self.radii),
            "aperture_corrections": list(self.corrections),
            "bkg_aperture_inner_radius": self.inner,
            "bkg_aperture_outer_radius": self.outer,
            "total_aperture_ee": self.total.energy,
            "total_aperture_radius": self.total.radius,
            "total_aperture_correction": self.total.correction,
        }


def apertures_of_table(
    table: np.ndarray,
    setting: Mapping[str, Any],
    energies: Sequence[int],
    pixel_ratio: float,
    total_radius: float = 0.0,
) -> Apertures | str:
    """Choose circles from a table of aperture corrections.

    Parameters
    ----------
    table : (n,) structured ndarray
        With eefraction, radius [pixel of the detector], apcorr, skyin, skyout [pixel of the
        detector]; and columns that choose the rows.
    setting : mapping
        Name of a choosing column (filter, pupil, …) -> value of the image. A column that is not
        in the table, or of which the image says nothing, does not choose.
    energies : sequence of int
        Encircled energies wanted [percent].
    pixel_ratio : float
        Pixel of the image over pixel of the detector.
    total_radius : float
        Least radius of the circle for total fluxes [pixel of the image or of the detector,
        whichever is larger]: the smallest circle of the table that is as large, else its largest;
        never one of less light than the last of `energies`.

    Returns
    -------
    apertures : Apertures or str
        Or why there are none: no row fits, or one is missing, or there are two.
    """
    columns = _columns(table)
    absent = {"eefraction", "radius", "apcorr", "skyin", "skyout"} - set(columns)
    if absent:
        return f"the table of aperture corrections has no column {', '.join(sorted(absent))}"
    chosen = _chosen(columns, setting)
    if not chosen.any():
        return f"the table of aperture corrections has no row for {_told(setting)}"
    percent = np.rint(100 * columns["eefraction"].astype(float)).astype(int)
    rows = []
    for energy in energies:
        found = np.flatnonzero(chosen & (percent == energy))
        if len(found) != 1:
            held = sorted(set(percent[chosen].tolist()))
            return (
                f"the table of aperture corrections has {len(found)} rows for an encircled energy "
                f"of {energy} %; it knows {', '.join(map(str, held))} for {_told(setting)}"
            )
        rows.append(int(found[0]))
    last = rows[-1]
    growth = [columns[name][chosen].astype(float) for name in ("eefraction", "radius")]
    return Apertures(
        tuple(energies),
        tuple(float(columns["radius"][row]) / pixel_ratio for row in rows),
        tuple(float(columns["apcorr"][row]) for row in rows),
        float(columns["skyin"][last]) / pixel_ratio,
        float(columns["skyout"][last]) / pixel_ratio,
        fitted_profile(growth[0], growth[1] / pixel_ratio),
        _wide_circle(columns, chosen, last, pixel_ratio, total_radius),
    )


def _wide_circle(
    columns: Mapping[str, np.ndarray],
    chosen: np.ndarray,
    last: int,
    pixel_ratio: float,
    least: float,
) -> Circle | None:
    """Return the circle for total fluxes; None where the row `last` is it."""
    energy, radius, correction = (
        columns[name].astype(float) for name in ("eefraction", "radius", "apcorr")
    )
    usable = chosen & (energy >= energy[last]) & np.isfinite(radius) & (correction > 0)
    rows = np.flatnonzero(usable)
    if not len(rows):
        return None
    rows = rows[np.argsort(radius[rows], kind="stable")]
    enough = rows[radius[rows] >= least * max(pixel_ratio, 1.0)]
    row = int(enough[0] if len(enough) else rows[-1])
    if radius[row] == radius[last]:
        return None
    return Circle(
        round(100 * float(energy[row])), float(radius[row]) / pixel_ratio, float(correction[row])
    )


def apertures_of_radii(
    energies: Sequence[int], radii: Sequence[float] | None, ring: Sequence[float] | None = None
) -> Apertures:
    """Return circles of given radii; what falls outside them is not known.

    Parameters
    ----------
    energies : sequence of int
        What the columns are called after.
    radii : sequence of float or None
        As many, or None: no circle is measured.
    ring : (inner, outer), optional
        Of the local sky [pixel].

    Returns
    -------
    apertures : Apertures
        Without corrections.
    """
    unknown = (math.nan,) * len(energies)
    inner, outer = ring or RING
    return Apertures(
        tuple(energies), tuple(radii) if radii else unknown, unknown, float(inner), float(outer)
    )


def magnitude_offset(table: np.ndarray, setting: Mapping[str, Any]) -> float | str:
    """Return the AB magnitude of a source of Vega magnitude zero.

    Parameters
    ----------
    table : (n,) structured ndarray
        With abvega_offset [mag], and columns that choose the row.
    setting : mapping
        As for `apertures_of_table`.

    Returns
    -------
    offset : float or str
        [mag]; or why there is none.
    """
    columns = _columns(table)
    if "abvega_offset" not in columns:
        return "the table of Vega magnitudes has no column abvega_offset"
    found = np.flatnonzero(_chosen(columns, setting))
    if len(found) != 1:
        return f"the table of Vega magnitudes has {len(found)} rows for {_told(setting)}"
    return float(columns["abvega_offset"][found[0]])


def _columns(table: np.ndarray) -> dict[str, np.ndarray]:
    columns = {}
    for name in table.dtype.names:
        column = np.asarray(table[name])
        if column.dtype.kind == "S":
            column = np.char.decode(column, "ascii", "replace")
        elif column.dtype.kind == "O":
            column = column.astype(str)
        columns[name.lower()] = column
    return columns


def _chosen(columns: Mapping[str, np.ndarray], setting: Mapping[str, Any]) -> np.ndarray:
    """Return which rows say what the image says; case and blanks do not matter."""
    chosen = np.ones(len(next(iter(columns.values()))), bool)
    for name, value in setting.items():
        if name in columns and value is not None:
            chosen &= np.char.upper(np.char.strip(columns[name].astype(str))) == str(value).upper()
    return chosen


def _told(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in setting.items() if value) or "the image"
