"""Turn count rates into surface brightness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.errors import DataError
from lightmill.imaging.planes import blank_unusable, planes_of, row_slices
from lightmill.models import AreaModel, CalModel, PhotomModel
from lightmill.models.lineage import force
from lightmill.pipeline import Skipped, Step, param

__all__ = ["CalibrateFlux", "row_for", "throughput"]

MJY_SR = "MJy/sr"
# 1 MJy/sr in microjansky per square arcsecond: 1e12 uJy/MJy over (180/π * 3600)² arcsec²/sr.
UJY_ARCSEC2 = 1e12 / (np.rad2deg(1.0) * 3600.0) ** 2
ANY = frozenset({"", "ANY", "N/A", "GENERIC"})
YEAR = 365.0  # [d], of the linear and the power law in the reference files
LAWS = {  # of TIMECOEFF_* in reference files: the columns each needs
    "timecoeff_linear": ("t0", "lossperyear"),
    "timecoeff_exponential": ("t0", "amplitude", "tau", "const"),
    "timecoeff_powerlaw": ("t0", "year1value", "tsoft", "alpha"),
}


class CalibrateFlux(Step):
    """Multiply an image by the surface brightness of one count per second."""

    name = "photom"
    reads, writes = CalModel, CalModel
    references = {"photom": PhotomModel, "area": AreaModel}
    optional = frozenset({"area"})
    rows = True

    @dataclass(frozen=True)
    class Parameters:
        inverse: bool = param(False, "divide instead: undo the calibration")
        source_type: str | None = param(
            None, "POINT or EXTENDED, for spectra: images have no use for it"
        )
        apply_time_correction: bool = param(
            True, "correct for throughput lost since the reference was made, if it says how much"
        )

    def apply(
        self, image: CalModel, *, photom: PhotomModel, area: AreaModel | None
    ) -> CalModel | Skipped:
        """Choose the row of the table, and apply it to values, errors and variances."""
        table = photom.phot_table
        row = row_for(table, _facts(image), photom.path)
        if row is None:
            return Skipped(image, f"the photom reference has no row for {_words(image, table)}")
        factor = float(_columns(table)["photmjsr"][row])
        if not (np.isfinite(factor) and factor > 0):
            raise DataError(
                "the flux of one count per second is no positive number",
                place=f"{photom.path}[PHOTOM] row {row + 1}",
                found=factor,
                expected="MJy/sr per DN/s",
                remedy="use another reference with --override-photom",
            )
        if self.parameters.apply_time_correction:
            factor /= _throughput(photom, row, image)
        planes = planes_of(image)
        dq = image.dq if image.has("dq") else None
        sign = -1 if self.parameters.inverse else 1
        scales = {
            name: np.float32(factor ** (2 * sign if name.startswith("var_") else sign))
            for name in planes
        }
        for rows in row_slices(planes["data"].shape):
            here = {name: plane[..., rows, :] for name, plane in planes.items()}
            for name, plane in here.items():
                np.multiply(plane, scales[name], out=plane)
            blank_unusable(here, None if dq is None else dq[..., rows, :])
        changes: dict[str, Any] = {**planes, "dq": dq}
        if area is not None:
            changes["area"] = area.data
        result: CalModel = image.evolve(**changes)
        for path, value in self._told(factor, photom, area).items():
            if value is not None:
                force(result, path, value)
        return result

    def _told(
        self, factor: float, photom: PhotomModel, area: AreaModel | None
    ) -> dict[str, float | str | None]:
        unit = "DN/s" if self.parameters.inverse else MJY_SR
        told: dict[str, float | str | None] = {
            "bunit_data": unit,
            "bunit_err": unit,
            "photometry.conversion_megajanskys": factor,
            "photometry.conversion_microjanskys": factor * UJY_ARCSEC2,
        }
        for name in ("pixelarea_steradians", "pixelarea_arcsecsq"):
            path = f"photometry.{name}"
            found = None if area is None else area.meta.get(path)
            told[path] = photom.meta.get(path) if found is None else found
        return told


def row_for(table: np.ndarray, facts: Mapping[str, str], place: object = None) -> int | None:
    """Return which row of a table is for an exposure.

    Every column of text that is called as a fact of the exposure is compared, whatever the case;
    ``ANY``, ``GENERIC``, ``N/A`` and no text fit every exposure. Of several rows that fit, the one
    with fewest such columns is taken.

    Parameters
    ----------
    table : structured ndarray
        Of the reference.
    facts : mapping
        Name of a column, in small letters → what the exposure has there.
    place : object, optional
        Of the table, for errors.

    Returns
    -------
    row : int or None
        None if there is none.

    Raises
    ------
    DataError
        If two rows fit equally well.
    """
    fits = np.ones(len(table), bool)
    loose = np.zeros(len(table), int)
    for name, column in _columns(table).items():
        if name not in facts or column.dtype.kind not in "SU":
            continue
        texts = np.char.upper(np.char.strip(column.astype(str)))
        general = np.isin(texts, sorted(ANY))
        fits &= general | (texts == facts[name].strip().upper())
        loose += general
    rows = np.flatnonzero(fits)
    best = rows[loose[rows] == loose[rows].min()] if len(rows) else rows
    if len(best) > 1:
        raise DataError(
            "several rows of the photom reference are for this exposure",
            place=f"{place}[PHOTOM]",
            found="rows " + ", ".join(str(row + 1) for row in best),
            expected="one row",
            remedy="use a corrected reference with --override-photom",
        )
    return int(best[0]) if len(best) else None


def throughput(coefficients: Mapping[str, Mapping[str, float]], time: float) -> float:
    """Return how much of the light is still recorded, relative to the time of the reference.

    Parameters
    ----------
    coefficients : mapping
        Law (``timecoeff_linear``, ``_exponential``, ``_powerlaw``) → its coefficients:
        1 - lossperyear (t - t0)/365; amplitude exp(-(t - t0)/tau) + const;
        year1value ((t - t0 + tsoft)/(365 + tsoft))^alpha.
        The value of the power law one year after t0 is year1value. Those given are multiplied.
    time : float
        Middle of the exposure (MJD) [d].

    Returns
    -------
    throughput : float
        1 without a law.
    """
    total = 1.0
    for law, one in coefficients.items():
        age = time - one["t0"]
        if law == "timecoeff_linear":
            total *= 1.0 - one["lossperyear"] * age / YEAR
        elif law == "timecoeff_exponential":
            total *= one["amplitude"] * np.exp(-age / one["tau"]) + one["const"]
        else:
            base = (age + one["tsoft"]) / (YEAR + one["tsoft"])
            total *= one["year1value"] * base ** one["alpha"]
    return float(total)


def _throughput(photom: PhotomModel, row: int, image: CalModel) -> float:
    coefficients: dict[str, dict[str, float]] = {}
    for law, names in LAWS.items():
        if not photom.has(law):
            continue
        columns = _columns(getattr(photom, law))
        place = f"{photom.path}[{law.upper()}]"
        if not set(names) <= set(columns) or len(columns[names[0]]) != len(photom.phot_table):
            raise DataError(
                "the loss of throughput does not belong to the table of fluxes",
                place=place,
                found=f"{len(next(iter(columns.values())))} rows of {', '.join(columns)}",
                expected=f"{len(photom.phot_table)} rows of {', '.join(names)}",
                remedy="use another reference, or photom.apply_time_correction=false",
            )
        coefficients[law] = {name: float(columns[name][row]) for name in names}
    if not coefficients:
        return 1.0
    time = image.meta.get("exposure.mid_time")
    if time is None:
        raise DataError(
            "the throughput depends on time, and the time of the exposure is not known",
            place=f"{image.path}[PRIMARY/EXPMID]",
            expected="the middle of the exposure (MJD)",
            remedy="add the keyword, or set photom.apply_time_correction=false",
        )
    left = throughput(coefficients, time)
    if not (np.isfinite(left) and left > 0):
        raise DataError(
            "the loss of throughput leaves no light",
            place=photom.path,
            found=left,
            expected="a positive number",
            remedy="use another reference, or photom.apply_time_correction=false",
        )
    return left


def _columns(table: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of a table by their names in small letters."""
    return {name.lower(): table[name] for name in table.dtype.names}


def _facts(image: CalModel) -> dict[str, str]:
    """Return what a column may be called, and what the image has there."""
    facts = {
        name: str(value)
        for name, value in image.meta.instrument.to_dict().items()
        if isinstance(value, str | int)
    }
    for name, path in (("subarray", "subarray.name"), ("exp_type", "exposure.type")):
        if image.meta.get(path) is not None:
            facts[name] = str(image.meta.get(path))
    return facts


def _words(image: CalModel, table: np.ndarray) -> str:
    facts = _facts(image)
    return ", ".join(f"{name} {facts[name]}" for name in _columns(table) if name in facts)
