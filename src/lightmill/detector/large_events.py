"""Snowballs and showers: cosmic-ray events that cover many pixels.

A snowball is a round event with a saturated core and a halo in which charge
leaks on; a shower is faint, extended, and fades over several groups [1]_.

References
----------
.. [1] Regan, M. W. 2023, JWST-STScI-008545.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.detector.groups import Integrations, group_time_of
from lightmill.models import RampModel, Region
from lightmill.models.dq import PIXEL

__all__ = ["Ellipse", "ellipses_of", "flag_showers", "flag_snowballs"]

DO_NOT_USE, SATURATED, JUMP = PIXEL["DO_NOT_USE"], PIXEL["SATURATED"], PIXEL["JUMP_DET"]
EIGHT = np.ones((3, 3), bool)  # neighbours that touch at a corner belong together
MINIMUM_SHOWER_DIFFERENCES = 10


@dataclass(frozen=True)
class Ellipse:
    """A region described by its second moments.

    Parameters
    ----------
    y, x : float
        Centre [pixel].
    major, minor : float
        Full axes [pixel].
    angle : float
        From the y axis towards the x axis to the major axis [rad].
    """

    y: float
    x: float
    major: float
    minor: float
    angle: float

    def contains(self, y: float, x: float) -> bool:
        """Say whether a point lies inside."""
        return bool(self.distance(np.asarray(y), np.asarray(x)) <= 1)

    def grown(self, major: float, minor: float) -> Ellipse:
        """Return the ellipse with other axes."""
        return Ellipse(self.y, self.x, major, minor, self.angle)

    def on_pixels(self) -> Ellipse:
        """Return the ellipse with its centre and half axes on whole pixels, as it is drawn."""
        return Ellipse(
            round(self.y),
            round(self.x),
            2.0 * round(self.major / 2),
            2.0 * round(self.minor / 2),
            self.angle,
        )

    def pixels(self, shape: tuple[int, int]) -> tuple[tuple[slice, slice], np.ndarray]:
        """Return a box of an image, and which of its pixels lie inside."""
        drawn = self.on_pixels()
        reach = drawn.major / 2 + 1
        y0, y1 = max(0, int(drawn.y - reach)), min(shape[0], int(drawn.y + reach) + 2)
        x0, x1 = max(0, int(drawn.x - reach)), min(shape[1], int(drawn.x + reach) + 2)
        yy, xx = np.mgrid[y0:y1, x0:x1]
        inside = drawn.distance(yy, xx) < 1
        return (slice(y0, y1), slice(x0, x1)), inside & (drawn.minor > 0)

    def distance(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the squared distance from the centre, in half axes: 1 on the ellipse."""
        dy, dx = y - self.y, x - self.x
        along = dy * np.cos(self.angle) + dx * np.sin(self.angle)
        across = -dy * np.sin(self.angle) + dx * np.cos(self.angle)
        return (2 * along / max(self.major, 1e-6)) ** 2 + (2 * across / max(self.minor, 1e-6)) ** 2


def ellipses_of(image: np.ndarray, min_area: float) -> list[Ellipse]:
    """Describe the connected regions of an image by ellipses of the same second moments.

    Parameters
    ----------
    image : (ny, nx) ndarray of bool
        Pixels that touch, also at a corner, belong to one region.
    min_area : float
        Smallest region returned, its holes counted [pixel].

    Returns
    -------
    ellipses : list of Ellipse
        Axes one pixel shorter than those of the moments, so that one pixel has none.
    """
    from scipy import ndimage

    if not image.any():
        return []
    labels, count = ndimage.label(image, EIGHT)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        extent = (box[0].stop - box[0].start) * (box[1].stop - box[1].start)
        if extent < min_area:
            continue
        region = labels[box] == number
        if areas[number] < min_area and ndimage.binary_fill_holes(region).sum() < min_area:
            continue
        y, x = np.nonzero(region)
        cy, cx = y.mean(), x.mean()
        yy, xx = ((y - cy) ** 2).mean() + 1 / 12, ((x - cx) ** 2).mean() + 1 / 12
        xy = ((y - cy) * (x - cx)).mean()
        spread = np.sqrt(4 * xy**2 + (yy - xx) ** 2)
        major = 4 * np.sqrt((yy + xx + spread) / 2)
        minor = 4 * np.sqrt(max((yy + xx - spread) / 2, 0.0))
        angle = 0.5 * np.arctan2(2 * xy, yy - xx)
        found.append(
            Ellipse(cy + box[0].start, cx + box[1].start, major - 1, minor - 1, float(angle))
        )
    return found


def flag_snowballs(ramp: RampModel, parameters: Any) -> tuple[RampModel, int]:
    """Flag snowballs in every integration: halo as jump, core as saturated.

    Parameters
    ----------
    ramp : RampModel
        After the search for jumps; its ``groupdq`` may be a spool.
    parameters : DetectJumps.Parameters

    Returns
    -------
    ramp : RampModel
        The same exposure with more JUMP_DET and SATURATED in its ``groupdq``.
    count : int
        Snowballs found.
    """
    group_time = group_time_of(ramp, parameters.group_time, "jump")
    later = int(parameters.snowball_time_masked_next_int // group_time)
    cores: list[Ellipse] = []
    count = 0
    store = Integrations(ramp)
    for number in range(store.nints):
        flags = store.read("groupdq", number)
        found, events = _snowballs_of(flags, parameters)
        count += events
        if parameters.mask_snowball_core_next_int:
            for core in cores:
                box, inside = core.pixels(flags.shape[-2:])
                flags[1:later, box[0], box[1]] |= np.where(inside, JUMP, 0).astype(np.uint8)
        cores = found
        store.write("groupdq", number, flags)
    return store.finish(), count


def _snowballs_of(flags: np.ndarray, parameters: Any) -> tuple[list[Ellipse], int]:
    """Flag the snowballs of one integration (ngroups, ny, nx); return their cores, and how many."""
    ngroups, ny, nx = flags.shape
    all_cores: list[Ellipse] = []
    count = 0
    for group in range(1, ngroups):
        jumps = ellipses_of((flags[group] & JUMP) != 0, parameters.min_jump_area)
        cores = ellipses_of(_newly_saturated(flags, group), parameters.min_sat_area)
        near = list(cores)
        if group + 1 < ngroups:
            near += ellipses_of(_newly_saturated(flags, group + 1), parameters.min_sat_area)
        all_cores += _extend_cores(flags[group:], cores, parameters)
        for event in jumps:
            if not _is_snowball(event, near, (ny, nx), parameters):
                continue
            count += 1
            factor, most = parameters.expand_factor, 2.0 * parameters.max_extended_radius
            halo = event.grown(
                min(event.major + (factor - 1) * event.minor, most),
                min(event.minor * factor, most),
            )
            box, inside = halo.pixels((ny, nx))
            part = flags[group][box]
            part[inside & ((part & SATURATED) == 0)] |= np.uint8(JUMP)
    return all_cores, count


def _newly_saturated(flags: np.ndarray, group: int) -> np.ndarray:
    return ((flags[group] & SATURATED) != 0) & ((flags[group - 1] & SATURATED) == 0)


def _extend_cores(flags: np.ndarray, cores: list[Ellipse], parameters: Any) -> list[Ellipse]:
    """Mark the large ones of the saturated cores, a little wider, in this and all later groups."""
    large = [core for core in cores if core.minor > parameters.min_sat_radius_extend]
    most = 2.0 * parameters.max_extended_radius
    for core in large:
        wider = core.grown(
            min(core.major + 2 * parameters.sat_expand, most),
            min(core.minor + 2 * parameters.sat_expand, most),
        )
        box, inside = wider.pixels(flags.shape[-2:])
        rest = flags[:, box[0], box[1]]
        rest[:, inside] &= np.uint8(~JUMP & 0xFF)
        rest[:, inside] |= np.uint8(SATURATED)
    return large


def _is_snowball(
    event: Ellipse, cores: list[Ellipse], shape: tuple[int, int], parameters: Any
) -> bool:
    if not parameters.sat_required_snowball:
        return True
    edge = parameters.edge_size
    if not (edge <= event.y < shape[0] - edge and edge <= event.x < shape[1] - edge):
        return True
    return any(event.contains(core.y, core.x) for core in cores)


def flag_showers(
    ramp: RampModel, gain: np.ndarray, readnoise: np.ndarray, parameters: Any
) -> tuple[RampModel, int]:
    """Flag the showers of every integration.

    Parameters
    ----------
    ramp : RampModel
        After the search for jumps; its arrays may be spools.
    gain : (ny, nx) ndarray of float32
        Gain [electron / DN].
    readnoise : (ny, nx) ndarray of float32
        Noise of the difference of two reads [DN].
    parameters : DetectJumps.Parameters

    Returns
    -------
    ramp : RampModel
        As it was where there are fewer than ten differences in all.
    count : int
        Showers found.
    """
    store = Integrations(ramp)
    if store.nints * (store.ngroups - 1) < MINIMUM_SHOWER_DIFFERENCES:
        return ramp, 0
    count = 0
    nframes = ramp.meta.exposure.nframes or 1
    group_time = group_time_of(ramp, parameters.group_time, "jump")
    after = int(parameters.time_masked_after_shower // group_time)
    median = _median_difference(ramp, gain)
    noise = np.sqrt(np.abs(median) + (readnoise * gain) ** 2 / nframes)
    ring = _ring(parameters.extend_inner_radius, parameters.extend_outer_radius)
    limit = parameters.max_shower_amplitude * group_time
    for number in range(store.nints):
        flags = store.read("groupdq", number)
        before = flags.copy()
        data = store.read("data", number)
        for group in range(1, store.ngroups):
            difference = (data[group] - data[group - 1]) * gain
            ratio = np.abs(difference - median) / noise
            bad = (before[group] & (JUMP | SATURATED | DO_NOT_USE)) != 0
            bad |= (before[group - 1] & (SATURATED | DO_NOT_USE)) != 0
            smooth = _smoothed(np.where(bad, np.nan, ratio), ring)
            for event in ellipses_of(
                smooth > parameters.extend_snr_threshold, parameters.extend_min_area
            ):
                count += 1
                factor = parameters.extend_ellipse_expand_ratio
                most = 2.0 * parameters.max_extended_radius
                grown = event.grown(
                    min(event.major * factor, most), min(event.minor * factor, most)
                )
                box, inside = grown.pixels(flags.shape[-2:])
                part = flags[group : group + after + 1, box[0], box[1]]
                free = inside & ((part & (SATURATED | DO_NOT_USE)) == 0)
                part[free] |= np.uint8(JUMP)
        _undo_where_rate_changes(data, flags, before, limit)
        store.write("groupdq", number, flags)
    return store.finish(), count


def _undo_where_rate_changes(
    data: np.ndarray, flags: np.ndarray, before: np.ndarray, limit: float
) -> None:
    """Take the flags of showers back where they would change the mean difference too much."""
    touched = (flags != before).any(axis=0)
    if not touched.any():
        return
    means = []
    for dq in (before[:, touched], flags[:, touched]):
        difference = np.diff(data[:, touched].astype(np.float64), axis=0)
        bad = (dq[1:] & (JUMP | SATURATED | DO_NOT_USE)) != 0
        bad |= (dq[:-1] & (SATURATED | DO_NOT_USE)) != 0
        count = (~bad).sum(axis=0)
        total = np.where(bad, 0.0, difference).sum(axis=0)
        means.append(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))
    wrong = ~(np.abs(means[1] - means[0]) <= limit)
    where = np.zeros(touched.shape, bool)
    where[touched] = wrong
    flags[:, where] = before[:, where]


def _median_difference(ramp: RampModel, gain: np.ndarray) -> np.ndarray:
    """Median difference of each pixel over all integrations [electron], rows at a time."""
    ny, nx = gain.shape
    median = np.empty((ny, nx), np.float32)
    data, flags = ramp.arrays["data"], ramp.arrays["groupdq"]
    planes = int(np.prod(data.shape[:-2], dtype=np.int64))
    step = max(1, (32 << 20) // (planes * nx * 4))
    for y0 in range(0, ny, step):
        region = Region(y0, min(y0 + step, ny), 0, nx)
        values, dq = _read(data, region), _read(flags, region)
        bad = (dq & (JUMP | SATURATED | DO_NOT_USE)) != 0
        difference = np.where(bad[:, 1:] | bad[:, :-1], np.nan, np.diff(values, axis=1))
        difference = difference.reshape(-1, *difference.shape[-2:])
        empty = ~np.isfinite(difference).any(axis=0)
        difference[0, empty] = 0
        median[region.y0 : region.y1] = (
            np.nanmedian(difference, axis=0) * gain[region.y0 : region.y1]
        )
    return median


def _read(array: Any, region: Region) -> np.ndarray:
    if hasattr(array, "read"):
        return array.read(region)
    return array[..., region.y0 : region.y1, region.x0 : region.x1]


def _ring(inner: float, outer: float) -> np.ndarray:
    """Return a ring of equal weights, normalised."""
    reach = int(np.ceil(outer))
    yy, xx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    radius = np.hypot(yy, xx)
    ring = ((radius >= inner) & (radius <= outer)).astype(np.float64)
    return ring / ring.sum()


def _smoothed(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve, leaving out what is NaN."""
    from scipy import ndimage

    there = np.isfinite(image)
    total = ndimage.convolve(np.where(there, image, 0.0), kernel, mode="constant")
    weight = ndimage.convolve(there.astype(np.float64), kernel, mode="constant")
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > 1e-9)
