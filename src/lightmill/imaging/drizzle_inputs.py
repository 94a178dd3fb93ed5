"""What of an exposure is drizzled: its values, its weights and its noise, read part by part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lightmill.errors import DataError
from lightmill.imaging.drizzling import Pixels, Sheet
from lightmill.imaging.mosaic_frame import Frame, Orientation, bounds_of
from lightmill.imaging.pixel_map import PixelMap
from lightmill.imaging.plain_systems import system_of
from lightmill.models import CalModel, Region
from lightmill.models.dq import PIXEL, mask_of

__all__ = [
    "COMPONENTS",
    "bad_bits",
    "check_alike",
    "exposure_time",
    "orientation_in",
    "part_of",
    "sheet_of",
    "sky_level",
    "sky_system",
    "together",
    "valid_region",
]

COMPONENTS = ("var_rnoise", "var_poisson", "var_flat")  # the first gives the weights


def bad_bits(good: str) -> int:
    """Return the flags of pixels that must not be used.

    Parameters
    ----------
    good : str
        Flags that do no harm, by name or value, with ``+``, ``|`` or ``,`` between them; after
        ``~`` the flags that do. Empty: every flag does harm.

    Raises
    ------
    UnknownNameError
        If there is no such flag.
    """
    text = good.strip()
    if text.lower() == "none":
        return 0
    harmful = text.startswith("~")
    parts = [
        part.strip(" ()")
        for part in text.lstrip("~").replace("|", "+").replace(",", "+").split("+")
    ]
    mask = 0
    for part in parts:
        if part:
            mask |= int(part) if part.isdigit() else mask_of(part)
    return mask if harmful else ~mask & 0xFFFFFFFF


def sky_system(model: Any, name: str = "") -> Any:
    """Return the world coordinate system of an exposure.

    Returns
    -------
    wcs : NodeSystem, gwcs.WCS or astropy.wcs.WCS
        The first kind that can say where its pixels are.

    Raises
    ------
    DataError
        If it has none, or one that does not lead to right ascension and declination.
    """
    wcs = system_of(model)
    if wcs is None:
        raise DataError(
            "the exposure has no world coordinate system",
            place=model.path or name or model.meta.get("filename"),
            remedy="run the step assign_wcs first",
        )
    kind = wcs.wcs.lngtyp.strip() if hasattr(wcs, "wcs") else "RA"  # of FITS keywords
    if kind != "RA":
        raise DataError(
            "the world coordinates of the exposure are of another kind",
            place=f"{model.path or name}[SCI/CTYPE1]",
            found=kind,
            expected="RA, right ascension and declination",
            remedy="write the keywords of its world coordinates in equatorial coordinates",
        )
    return wcs


def orientation_in(model: Any) -> tuple[Orientation | None, tuple[float, float] | None]:
    """Return how an exposure's axes lie and where its reference point is [deg], if it says so."""
    known = [
        model.meta.get(f"wcsinfo.{name}")
        for name in ("roll_ref", "v3yangle", "vparity", "ra_ref", "dec_ref")
    ]
    roll, angle, parity, ra, dec = known
    orientation = None
    if roll is not None and angle is not None and parity in {1, -1}:
        orientation = Orientation(float(np.deg2rad(roll)), float(np.deg2rad(angle)), int(parity))
    return orientation, None if ra is None or dec is None else (float(ra), float(dec))


def valid_region(wcs: Any, shape: tuple[int, int]) -> Region:
    """Return the pixels of an image whose centres lie in the bounding box of its system."""
    ny, nx = shape
    (x0, x1), (y0, y1) = bounds_of(wcs, shape)
    return Region(
        max(0, int(y0 + 0.5)), min(ny, int(y1 + 0.5) + 1),
        max(0, int(x0 + 0.5)), min(nx, int(x1 + 0.5) + 1),
    )  # fmt: skip


def exposure_time(model: Any) -> float:
    """Return the time an exposure is weighted with [s]: of measurement, else of exposure.

    Raises
    ------
    DataError
        If the exposure says neither.
    """
    for name in ("measurement_time", "exposure_time", "effective_exposure_time"):
        time = model.meta.get(f"exposure.{name}")
        if time is not None and 0 < time < np.inf:
            return float(time)
    raise DataError(
        "the exposure time is not known",
        place=f"{model.path or model.meta.get('filename')}[PRIMARY/TMEASURE]",
        expected="seconds, more than 0",
        remedy="add the keyword TMEASURE or EFFEXPTM, or use weight_type=ivm",
    )


def check_alike(models: Sequence[Any], names: Sequence[str]) -> None:
    """Refuse exposures whose values do not mean the same.

    Raises
    ------
    DataError
        If they differ in unit, filter or pupil element.
    """
    for path, what in (
        ("bunit_data", "unit"),
        ("instrument.filter", "filter"),
        ("instrument.pupil", "pupil element"),
    ):
        first = models[0].meta.get(path)
        for model, name in zip(models, names, strict=True):
            value = model.meta.get(path)
            if value != first:
                raise DataError(
                    f"the exposures differ in their {what}",
                    place=model.path or name,
                    found=value,
                    expected=f"{first!r}, as {names[0]}",
                    remedy=f"put exposures of one {what} together",
                )


def together(names: Sequence[str]) -> str:
    """Return what exposures are called together: the first, and how many more."""
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def part_of(model: Any, name: str, region: Region) -> np.ndarray | None:
    """Read a part of an array; the model does not keep it. None if it has no such array."""
    if not model.has(name):
        return None
    held = model.array(name)
    if isinstance(held, np.ndarray):
        return held[region.slices]
    if hasattr(held, "cut"):
        return np.asarray(held.cut(region))
    return np.asarray(held)[region.slices]


def sheet_of(
    model: Any,
    frame: Frame,
    *,
    weight_type: str | None,
    bad: int,
    components: Sequence[str] = (),
    name: str = "",
    pixel_map: PixelMap | None = None,
) -> Sheet:
    """Return an exposure as it is put on the grid of a mosaic.

    Parameters
    ----------
    model : CalModel
        Its arrays may be in a file.
    frame : Frame
        Of the mosaic.
    weight_type : {'ivm', 'exptime', None}
        Inverse of the read-noise variance, exposure time, or one.
    bad : int
        Flags of pixels that get no weight.
    components : sequence of str
        Noise components to be read.
    name : str
        File name, for messages.
    pixel_map : PixelMap, optional
        From the exposure to the mosaic, where it is known.
    """
    shape = model.array("data").shape
    wcs = sky_system(model, name)
    here = [one for one in components if model.has(one)]
    time = exposure_time(model) if weight_type == "exptime" else _time_or_zero(model)
    level = sky_level(model)

    def read(region: Region) -> Pixels:
        data = part_of(model, "data", region)
        variances = {one: part_of(model, one, region) for one in here}
        return _pixels(
            data if level == 0 else data - np.float32(level),
            part_of(model, "dq", region),
            variances,
            weights=variances.get(COMPONENTS[0])
            if COMPONENTS[0] in variances
            else part_of(model, COMPONENTS[0], region),
            weight_type=weight_type,
            bad=bad,
            time=time,
        )

    return Sheet(pixel_map or PixelMap(wcs, frame.wcs, shape), valid_region(wcs, shape), read, time)


def _pixels(
    data: np.ndarray,
    dq: np.ndarray | None,
    variances: dict[str, np.ndarray],
    *,
    weights: np.ndarray | None,
    weight_type: str | None,
    bad: int,
    time: float,
) -> Pixels:
    """Return values, weights and standard deviations; pixels that cannot be used weigh nothing."""
    total = data
    with np.errstate(all="ignore"):
        for variance in variances.values():
            total = total + variance  # not a number where one of them is not
        useless = ~np.isfinite(total)
        if dq is not None:
            useless |= (dq & np.uint32(bad | PIXEL["DO_NOT_USE"])) != 0
        if weight_type == "ivm" and weights is not None:
            weight = 1 / weights
            useless |= ~np.isfinite(weight)
        elif weight_type == "exptime":
            weight = np.full(data.shape, time, np.float32)
        else:
            weight = np.ones(data.shape, np.float32)
        weight[useless] = 0
        sigma = {name: np.sqrt(variance) for name, variance in variances.items()}
    return Pixels(np.asarray(data, np.float32), weight, sigma)


def sky_level(model: CalModel) -> float:
    """Return the sky level that has been measured but not taken away."""
    level = model.meta.get("background.level")
    return 0.0 if level is None or model.meta.get("background.subtracted") else float(level)


def _time_or_zero(model: Any) -> float:
    try:
        return exposure_time(model)
    except DataError:
        return 0.0
