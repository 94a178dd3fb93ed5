"""The frames of an association as one image of each chip, without cosmic rays.

Every frame is dropped on the pixels of the leader's, by the shifts and roll of the association
(Fruchter & Hook 2002, PASP 114, 144); what only one of them sees there, and is no star by its shape,
is no part of the sky.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightmill.errors import CorruptFileError, DataError, ShapeError
from lightmill.imaging.outliers import median_of
from lightmill.kernels.drizzle import drizzle_into, new_sums
from lightmill.models.fits_reader import read_fits
from lightmill.models.lazy import FileBytes
from lightmill.observatories.hst.wfpc2.associations import Association, Member
from lightmill.observatories.hst.wfpc2.geometry import CHIPS, focal_plane
from lightmill.observatories.hst.wfpc2.rays import find_rays, noise_of

__all__ = ["GAIN", "ChipImage", "combine", "read_frame", "to_leader"]

GAIN = 7.0  # electrons in a DN (WFPC2 Instrument Handbook, chapter 4)
PASSES = 3  # the next without what the one before found: rays beside rays come to light
KNOWN = 0.3  # least share of a pixel that the other frames must see, to say something of it
AGREE = 5.0  # standard errors that two frames may differ by, to be averaged


@dataclass(frozen=True)
class ChipImage:
    """The sky on one chip, on the pixels of the leader's frame.

    Parameters
    ----------
    rate : (ny, nx) ndarray of float32
        Electrons in a second; NaN where no frame has a good pixel.
    weight : (ny, nx) ndarray of float32
        Exposure time that went into it [s].
    rays : (n, ny, nx) ndarray of bool
        Pixels of each frame that were left out, as it was read.
    """

    rate: np.ndarray
    weight: np.ndarray
    rays: np.ndarray


def read_frame(path: Path) -> np.ndarray:
    """Read a calibrated frame.

    Parameters
    ----------
    path : path
        ``_c0m.fits``: an image extension SCI for each chip, in DN.

    Returns
    -------
    frame : (4, ny, nx) ndarray of float32
        DN, in the order of `CHIPS`.

    Raises
    ------
    DataError, CorruptFileError
        If it is missing, damaged, or lacks a chip.
    """
    file = read_fits(FileBytes(path))
    planes = []
    for number, chip in enumerate(CHIPS, 1):
        hdu = file.find("SCI", number)
        if hdu is None or len(hdu.shape) != 2:
            raise DataError(
                "a chip is missing", place=path, found=f"no image SCI,{number}", expected=chip
            )
        planes.append(np.asarray(hdu.array(), np.float32))
    if len({plane.shape for plane in planes}) > 1:
        raise CorruptFileError("chips differ in shape", place=path)
    return np.stack(planes)


def to_leader(member: Member, chip: str, shape: tuple[int, int]) -> np.ndarray:
    """Return where the pixels of a member's frame lie in the leader's.

    Parameters
    ----------
    member : Member
        With its shift on each chip and its roll.
    chip : str
        One of `CHIPS`.
    shape : (int, int)
        Rows and columns of the frame.

    Returns
    -------
    positions : (ny + 2, nx + 2, 2) ndarray of float64
        (x, y), 0 is the middle of the first pixel; with a margin of one pixel on each side.
    """
    dx, dy = member.shifts[CHIPS.index(chip)]
    x0, y0 = focal_plane().middles[chip]
    turn = np.radians(member.delta_roll)
    sine, cosine = np.sin(turn), np.cos(turn)
    y, x = np.mgrid[-1 : shape[0] + 1, -1 : shape[1] + 1].astype(np.float64)
    x, y = x - x0, y - y0
    # A chip sees the sky mirrored: the camera turned by the roll, its image by the same, back. The
    # shift is along the leader's axes: it comes after the turn.
    return np.stack([x0 - dx + cosine * x - sine * y, y0 - dy + sine * x + cosine * y], axis=-1)


def combine(
    association: Association, frames: Sequence[np.ndarray], chip: str, *, pixfrac: float = 1.0
) -> ChipImage:
    """Return the sky on one chip as all frames of an association see it together.

    Parameters
    ----------
    association : Association
        Whose shifts are used as they are.
    frames : sequence of (ny, nx) ndarray of float32
        What the chip read in each member, in their order [DN].
    chip : str
        One of `CHIPS`.
    pixfrac : float
        Side of a drop over that of a pixel, in the sum.

    Returns
    -------
    image : ChipImage
        Mean weighted by exposure time.

    Raises
    ------
    ShapeError
        If there is not one frame for each member, or they differ in shape.
    """
    shapes = {frame.shape for frame in frames}
    if len(frames) != len(association.members) or len(shapes) != 1:
        raise ShapeError(
            "frames do not go with the association",
            place=association.assoc_id,
            found=f"{len(frames)} frames of {sorted(shapes)}",
            expected=f"{len(association.members)} of one shape",
        )
    (shape,) = shapes
    times = [np.float32(member.exptime) for member in association.members]
    rates = [frame * np.float32(GAIN) / time for frame, time in zip(frames, times, strict=True)]
    places = [to_leader(member, chip, shape) for member in association.members]
    rays = np.zeros((len(frames), *shape), bool)
    for turn in range(PASSES):
        clean = [
            np.where(bad, np.float32(np.nan), one) for one, bad in zip(rates, rays, strict=True)
        ]
        seen = [_dropped(rate, place) for rate, place in zip(clean, places, strict=True)]
        # Of two, each is held against the other, once that is without what is surely a ray.
        is_first = turn == 0 or len(seen) > 2
        skies = [_sky(seen, times)] * len(seen) if is_first else seen[::-1]
        for number, (sky, place) in enumerate(zip(skies, places, strict=True)):
            rays[number] = find_rays(
                rates[number], _at(sky, place), float(times[number]), faint=len(seen) > 2
            )
    sums = new_sums(shape)
    for rate, time, place, bad in zip(rates, times, places, rays, strict=True):
        weight = np.where(bad | ~np.isfinite(rate), np.float32(0), time)
        drizzle_into(sums, (0, 0), place, np.nan_to_num(rate), weight, pixfrac=pixfrac)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = sums[..., 1] / sums[..., 0]
    return ChipImage(rate, sums[..., 0].copy(), rays)


def _sky(seen: Sequence[np.ndarray], times: Sequence[np.float32]) -> np.ndarray:
    """Return what most frames see on the leader's pixels; of two that differ, the fainter."""
    cube = np.stack(seen)
    if len(cube) > 2:
        return median_of(cube)
    low = np.fmin(cube[0], cube[1])
    noise = np.hypot(noise_of(low, float(times[0])), noise_of(low, float(times[1])))
    with np.errstate(invalid="ignore"):
        apart = np.abs(cube[0] - cube[1]) > AGREE * noise
    mean = np.where(np.isnan(cube[0]), cube[1], np.where(np.isnan(cube[1]), cube[0], cube.mean(0)))
    return np.where(apart, low, mean).astype(np.float32)


def _dropped(rate: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return one frame on the leader's pixels, NaN beyond its edge."""
    sums = new_sums(rate.shape)
    weight = np.isfinite(rate).astype(np.float32)
    drizzle_into(sums, (0, 0), place, np.nan_to_num(rate), weight)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums[..., 0] > KNOWN, sums[..., 1] / sums[..., 0], np.float32(np.nan))


def _at(sky: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return the sky as a frame would see it: interpolated linearly between what is known of it."""
    from scipy.ndimage import map_coordinates

    yx = place[1:-1, 1:-1, 1], place[1:-1, 1:-1, 0]
    is_known = np.isfinite(sky)
    light, share = (
        map_coordinates(plane, yx, order=1, mode="constant", cval=0.0)
        for plane in (np.where(is_known, sky, np.float32(0)), is_known.astype(np.float32))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(share > KNOWN, light / share, np.float32(np.nan))
