"""Columns of a catalog that follow from others: places on the sky, magnitudes, concentrations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lightmill.imaging.photometry import ab_magnitudes
from lightmill.imaging.sky_places import position_angles, sky_positions

__all__ = ["add_concentrations", "add_magnitudes", "add_places"]


def add_places(values: dict[str, Any], wcs: Any) -> None:
    """Add where the sources, their axes and their boxes are on the sky.

    Parameters
    ----------
    values : dict
        Column -> values: xcentroid, ycentroid and, if there are segments, orientation and
        ``box`` (left, right, bottom and top edge [pixel]), which is taken out.
    wcs : gwcs.WCS or astropy.wcs.WCS or None
        Of the image.
    """
    x, y = values["xcentroid"], values["ycentroid"]
    values["sky_centroid"] = sky_positions(wcs, x, y)
    box = values.pop("box", None)
    if box is None:
        return
    left, right, bottom, top = box
    values["sky_orientation"] = position_angles(wcs, x, y, values["orientation"])
    corners = {"ll": (left, bottom), "ul": (left, top), "lr": (right, bottom), "ur": (right, top)}
    for corner, place in corners.items():
        values[f"sky_bbox_{corner}"] = sky_positions(wcs, *place)


def add_magnitudes(values: dict[str, Any], offset: float, *, calibrated: bool) -> None:
    """Add the AB and Vega magnitudes of every flux of a source.

    Parameters
    ----------
    values : dict
        Column -> values; those that end in ``_flux`` have one in ``_flux_err``.
    offset : float
        AB minus Vega magnitude [mag]; NaN where it is not known.
    calibrated : bool
        The fluxes are in Jy; if not, the magnitudes are NaN.
    """
    for name in [name for name in values if name.endswith("_flux") and "bkg" not in name]:
        start = name.removesuffix("flux")
        flux = values[name] if calibrated else np.full(len(values[name]), np.nan)
        magnitude, error = ab_magnitudes(flux, values[f"{name}_err"])
        values[f"{start}abmag"], values[f"{start}abmag_err"] = magnitude, error
        known = error if math.isfinite(offset) else np.full_like(error, np.nan)
        values[f"{start}vegamag"], values[f"{start}vegamag_err"] = magnitude - offset, known


def add_concentrations(
    values: dict[str, Any], energies: Sequence[int], thresholds: tuple[float, float]
) -> None:
    """Add the ratios of the fluxes in three circles, and whether they tell of more than a star.

    Parameters
    ----------
    values : dict
        Column -> values.
    energies : sequence of int
        Encircled energies of the circles, growing [percent].
    thresholds : (float, float)
        Ratio middle/smallest and largest/middle that an extended source exceeds, both.
    """
    one, two, three = energies
    unknown = np.full(len(values["label"]), np.nan)
    small, middle, large = (values.get(f"aper{energy}_flux", unknown) for energy in energies)
    with np.errstate(invalid="ignore", divide="ignore"):
        inner, outer = middle / small, large / middle
        values[f"CI_{two}_{one}"], values[f"CI_{three}_{two}"] = inner, outer
        values[f"CI_{three}_{one}"] = large / small
    values["is_extended"] = (inner > thresholds[0]) & (outer > thresholds[1])
