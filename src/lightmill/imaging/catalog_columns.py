"""The columns of a source catalog: their names, units and words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Column", "build_table", "columns_of"]


class Column(NamedTuple):
    """One column.

    Attributes
    ----------
    name : str
        As the field's catalogs call it.
    unit : str or None
        ``flux`` stands for the unit of fluxes, which the image decides; ``sky`` for a position.
    dtype : type
    digits : str
        How it is written.
    words : str
        What it means.
    """

    name: str
    unit: str | None
    dtype: Any
    digits: str | None
    words: str


FLUX, MAGNITUDE, PLACE = ".6e", ".6f", ".4f"
_KINDS = {
    "flux": ("flux", FLUX, "light"),
    "abmag": (None, MAGNITUDE, "AB magnitude"),
    "vegamag": (None, MAGNITUDE, "Vega magnitude"),
}
_CORNERS = {"ll": "lower left", "ul": "upper left", "lr": "lower right", "ur": "upper right"}


def columns_of(energies: Sequence[int]) -> tuple[Column, ...]:
    """Return the columns of a catalog, in order.

    Parameters
    ----------
    energies : sequence of int
        Encircled energies of the three circles, growing [percent].

    Returns
    -------
    columns : tuple of Column
        Those of the field's catalogs first, then those it does not have.
    """
    return (
        Column("label", None, np.int32, None, "number of the source, that of its segment"),
        Column("xcentroid", None, float, PLACE, "x of the centroid, 0 is the first pixel's centre"),
        Column("ycentroid", None, float, PLACE, "y of the centroid, 0 is the first pixel's centre"),
        Column("sky_centroid", "sky", float, None, "place of the centroid on the sky, ICRS"),
        Column(
            "aper_bkg_flux", "flux", float, FLUX, "local sky of a pixel: clipped median in the ring"
        ),
        Column("aper_bkg_flux_err", "flux", float, FLUX, "standard error of that median"),
        *(
            column
            for kind in _KINDS
            for column in (*_in_circles(energies, kind), *_total(energies, kind))
        ),
        *(
            Column(
                f"CI_{large}_{small}",
                None,
                float,
                ".4f",
                f"concentration: aper{large}_flux over aper{small}_flux",
            )
            for large, small in _pairs(energies)
        ),
        Column("is_extended", None, bool, None, "less concentrated than a star, by both thresholds"),
        Column("sharpness", None, float, MAGNITUDE, "sharpness as DAOFIND defines it"),
        Column("roundness", None, float, MAGNITUDE, "roundness by symmetry as DAOFIND defines it"),
        Column("nn_label", None, np.int32, None, "label of the nearest other source, -1 for none"),
        Column("nn_dist", "pix", float, MAGNITUDE, "distance to that source"),
        *_magnitudes_of("isophotal", "in the source's segment"),
        Column("isophotal_area", "pix2", float, None, "area of the segment"),
        Column("semimajor_sigma", "pix", float, MAGNITUDE, "standard deviation along the major axis"),
        Column("semiminor_sigma", "pix", float, MAGNITUDE, "standard deviation along the minor axis"),
        Column("ellipticity", "", float, MAGNITUDE, "one minus minor over major axis"),
        Column("orientation", "deg", float, MAGNITUDE, "from the x axis to the major axis, towards y"),
        Column("sky_orientation", "deg", float, MAGNITUDE, "from north to the major axis, towards east"),
        *(
            Column(f"sky_bbox_{end}", "sky", float, None, f"{words} corner of the bounding box, ICRS")
            for end, words in _CORNERS.items()
        ),
        *_magnitudes_of("kron", "in the Kron ellipse"),
        Column("kron_radius", "", float, MAGNITUDE, "first-moment radius of the light over the major axis"),
        Column("xwindowed", None, float, PLACE, "x of the centroid in a Gaussian window of a star's size"),
        Column("ywindowed", None, float, PLACE, "y of the centroid in a Gaussian window of a star's size"),
        *_magnitudes_of("star", "of a star there, corrected for neighbours, holes and places in pixels"),
        Column("star_misfit", None, float, ".3f", "that light less what the middle circle tells, over the error"),
        Column("neighbour_flux", "flux", float, FLUX, "light of neighbours that was taken out of star_flux"),
        Column("neighbour_flux_err", "flux", float, FLUX, "standard error of that light"),
        Column("is_blended", None, bool, None, "another source is upon it that was not taken apart or out"),
    )  # fmt: skip


def build_table(
    columns: Sequence[Column], values: Mapping[str, Any], flux_unit: str, meta: Mapping[str, Any]
) -> Any:
    """Return a table with every column, whatever is known.

    Parameters
    ----------
    columns : sequence of Column
    values : mapping
        Name -> array of the length of ``values["label"]``; for a place on the sky (2, n) right
        ascension and declination [deg]. What is missing is NaN.
    flux_unit : str
        Unit of the fluxes.
    meta : mapping
        What is said of the whole table.

    Returns
    -------
    table : astropy.table.QTable
        With units, descriptions and formats.
    """
    from astropy.coordinates import SkyCoord
    from astropy.table import QTable
    from astropy.units import Quantity, Unit

    table = QTable(meta=dict(meta))
    length = len(values["label"])
    for name, unit, dtype, digits, words in columns:
        value = values.get(name)
        if value is None and dtype is bool:
            value = np.zeros(length, bool)
        if unit == "sky":
            ra, dec = np.full((2, length), np.nan) if value is None else np.asarray(value, float)
            table[name] = SkyCoord(ra, dec, unit="deg")
        else:
            value = np.full(length, np.nan) if value is None else np.asarray(value)
            value = value.astype(dtype)
            table[name] = (
                value
                if unit is None
                else Quantity(value, Unit(flux_unit if unit == "flux" else unit), copy=False)
            )
        table[name].info.description = words
        if digits is not None:
            table[name].info.format = digits
    return table


def _in_circles(energies: Sequence[int], kind: str) -> list[Column]:
    unit, digits, words = _KINDS[kind]
    columns = []
    for energy in energies:
        where = f"in the circle that holds {energy} % of a star's light"
        name = f"aper{energy}_{kind}"
        columns += [
            Column(name, unit, float, digits, f"{words} {where}"),
            Column(f"{name}_err", unit, float, digits, f"standard error of the {words} {where}"),
        ]
    return columns


def _total(energies: Sequence[int], kind: str) -> list[Column]:
    unit, digits, words = _KINDS[kind]
    how = f"of a star, corrected from the circle of {energies[-1]} %; not for extended sources"
    name = f"aper_total_{kind}"
    return [
        Column(name, unit, float, digits, f"total {words} {how}"),
        Column(f"{name}_err", unit, float, digits, f"standard error of the total {words} {how}"),
    ]


def _magnitudes_of(name: str, where: str) -> list[Column]:
    columns = []
    for kind, (unit, digits, words) in _KINDS.items():
        columns += [
            Column(f"{name}_{kind}", unit, float, digits, f"{words} {where}"),
            Column(f"{name}_{kind}_err", unit, float, digits, f"standard error of the {words} {where}"),
        ]  # fmt: skip
    return columns


def _pairs(energies: Sequence[int]) -> tuple[tuple[int, int], ...]:
    small, middle, large = energies
    return (middle, small), (large, middle), (large, small)
