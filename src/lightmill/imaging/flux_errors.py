"""Errors of fluxes in a mosaic: what pixels share, the sky that was taken away, coarse sampling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lightmill.imaging.apertures import Apertures
from lightmill.imaging.background_mesh import row_bands
from lightmill.imaging.sampling import Sharing
from lightmill.models import Region

__all__ = ["contributing", "sharing_of", "with_all_errors"]

ODD = 3.0  # errors by which the middle circle contradicts the wide one


def sharing_of(image: Any) -> Sharing | None:
    """Return how the pixels of an image share drops; None where it does not say it was drizzled."""
    pixfrac = image.meta.get("resample.pixfrac")
    ratio = image.meta.get("resample.pixel_scale_ratio")
    if pixfrac is None or not ratio or not ratio > 0:
        return None
    return Sharing(float(pixfrac), float(ratio))


def contributing(image: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how many exposures contribute to the pixels of an image under some places.

    Parameters
    ----------
    image : ResampledModel
        With its context, else every exposure counts.
    x, y : (n,) ndarray of float64
        Places [pixel].

    Returns
    -------
    count : (n,) ndarray of int64
        One at least.
    """
    count = np.zeros(len(x), np.int64)
    if not image.has("con"):
        count += int(image.meta.get("resample.pointings") or 1)
        return np.maximum(count, 1)
    held = image.array("con")
    ny, nx = held.shape[-2:]
    column = np.clip(np.rint(np.nan_to_num(x)), 0, nx - 1).astype(np.int64)
    row = np.clip(np.rint(np.nan_to_num(y)), 0, ny - 1).astype(np.int64)
    for y0, y1 in row_bands((ny, nx)):
        here = np.flatnonzero((row >= y0) & (row < y1))
        if not len(here):
            continue
        band = held.cut(Region(y0, y1, 0, nx)) if hasattr(held, "cut") else held[..., y0:y1, :]
        planes = np.asarray(band).reshape(-1, y1 - y0, nx)
        bits = np.ascontiguousarray(planes[:, row[here] - y0, column[here]].T).view(np.uint8)
        count[here] = np.unpackbits(bits, axis=1).sum(axis=1)
    return np.maximum(count, 1)


def with_all_errors(
    values: dict[str, Any], apertures: Apertures, sharing: Sharing, exposures: np.ndarray
) -> dict[str, Any]:
    """Return columns of fluxes with errors that are those of the fluxes.

    Parameters
    ----------
    values : dict
        Columns; errors of fluxes are those of sums of independent pixels. ``sky_noise`` is the
        error of a pixel of the sky around each source; where it is missing, all noise counts as
        the sky's.
    apertures : Apertures
        The circles.
    sharing : Sharing
        How the pixels share drops.
    exposures : (n,) ndarray of int
        That contribute to each source.

    Returns
    -------
    values : dict
        The same, with other errors. Of circles: the noise of the local sky is in them; of the
        total: how the sampling of a star differs from the average that the aperture correction
        is good for.
    """
    changed = dict(values)
    kron = values.get("kron_area")
    for name, area in (("isophotal_flux", values.get("isophotal_area")), ("kron_flux", kron)):
        if f"{name}_err" in values and area is not None:
            changed[f"{name}_err"] = _shared(values[f"{name}_err"], area, values, sharing)
    sky = "aper_bkg_flux_err"
    if sky in values:
        changed[sky] = values[sky] * sharing.hidden_noise()  # from the scatter of pixels
    level = np.nan_to_num(changed[sky]) if sky in changed else 0.0
    whole, total = apertures.total, "aper_total_flux"
    circles = [
        (f"aper{energy}_flux", radius, 1.0)
        for energy, radius in zip(apertures.energies, apertures.radii, strict=True)
    ]
    for name, radius, correction in (*circles, (total, whole.radius, whole.correction)):
        error = f"{name}_err"
        if error in values:
            area = math.pi * radius * radius
            own = apertures.profile.own_noise(radius, sharing) if apertures.profile else 1.0
            noise = _shared(values[error] / correction, area, values, sharing, own)
            changed[error] = correction * np.hypot(noise, area * level)
    if "star_flux" in values:
        changed |= _of_stars(changed, apertures, sharing, exposures)
    if total in values and apertures.profile is not None:
        relative = np.hypot(
            apertures.profile.sampling_errors(whole.radius, exposures, sharing),
            values.get("lost", 0.0),
        )
        changed[f"{total}_err"] = np.hypot(
            changed[f"{total}_err"], relative * np.abs(values[total])
        )
    return changed


def _of_stars(
    values: dict[str, Any], apertures: Apertures, sharing: Sharing, exposures: np.ndarray
) -> dict[str, Any]:
    """Return fluxes of stars, corrected for holes and places of pixels, with their errors.

    Of the errors of total fluxes these have the noise, and the blur that exposures scatter by;
    the place in a pixel is known. What a hole took away is as uncertain as it is large, and so is
    a flux that the middle circle contradicts: what is there is no star, or not alone.
    """
    whole, profile = apertures.total, apertures.profile
    area = math.pi * whole.radius**2
    level = np.nan_to_num(values.get("aper_bkg_flux_err", 0.0)) * area * whole.correction
    light = values["neighbour_flux_err"] * sharing.noise_factors(area)
    light = np.hypot(light, np.sqrt(2 * values["neighbours"]) * level)  # two more rings for each
    error = np.hypot(values["aper_total_flux_err"], light)
    changed = {"neighbour_flux_err": light, "star_flux_err": error}
    if profile is None:
        return changed
    place, lost = (values["xwindowed"], values["ywindowed"]), values.get("lost", 0.0)
    flux = values["star_flux"] / profile.place_factors(*place, whole.radius)
    blur = profile.blur_errors(whole.radius, exposures, sharing)
    error = np.hypot(error, np.hypot(blur, lost) * np.abs(flux))
    radius = apertures.radii[1]
    core = values["core"] / profile.place_factors(*place, radius)
    scatter = profile.sampling_errors(radius, exposures, sharing) * np.abs(core)
    misfit = flux - core
    with np.errstate(invalid="ignore", divide="ignore"):
        changed["star_misfit"] = misfit / np.hypot(error, np.hypot(scatter, values["core_err"]))
        odd = np.abs(changed["star_misfit"]) > ODD
    changed["star_flux"] = flux / (1 + lost)
    changed["star_flux_err"] = np.where(odd, np.hypot(error, misfit), error)
    return changed


def _shared(
    error: np.ndarray,
    area: np.ndarray | float,
    values: dict[str, Any],
    sharing: Sharing,
    own: float = 1.0,
) -> np.ndarray:
    """Return the errors of sums of pixels that share their noise.

    The part that a sky as noisy as that around makes is shared evenly, and leaves through the
    edge; what the source makes beyond it lies in the middle.
    """
    total = np.square(error)
    even = total
    if "sky_noise" in values:
        even = np.fmin(area * np.square(values["sky_noise"]), total)
    factor = sharing.noise_factors(area)
    noise: np.ndarray = np.sqrt(factor**2 * even + own**2 * (total - even))
    return noise
