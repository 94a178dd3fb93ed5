"""Subtract the sky as exposures of empty fields saw it, at the brightness it had in each frame."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lightmill.errors import DataError
from lightmill.imaging.combine_frames import combined
from lightmill.models import Exposures, RateModel, Region
from lightmill.models.dq import PIXEL
from lightmill.models.lineage import descend, force, frame_of
from lightmill.pipeline import Skipped, Step, param
from lightmill.pipeline.opening import fit

__all__ = ["CombineSky", "Level", "SubtractSky", "block_means", "mean_sky", "sky_levels"]

log = logging.getLogger("lightmill.imaging")

ROLES = ("background", "sky")
DO_NOT_USE = np.uint32(PIXEL["DO_NOT_USE"])
NO_SKY = DO_NOT_USE | np.uint32(PIXEL["REFERENCE_PIXEL"])  # pixels that tell nothing of its level
TILE_BYTES = 2 << 20  # of the values of all frames that are worked on at a time: near a cache
BLOCKS = 1 << 12  # are enough to compare frames by
BLOCK, SMALL_BLOCK = 16, 4  # [pixel] side of the blocks frames are compared by; of small frames
CLIP = 2.5  # deviations from which a block is not sky
SIGNIFICANT = 5.0  # errors that a level must be from zero to scale by it


class Level(NamedTuple):
    """Brightness of the sky of a frame, and its standard error, in the unit of the frame."""

    value: float
    error: float


class SubtractSky(Step):
    """Subtract the mean sky of an association's sky exposures, scaled to each science frame.

    The sky of the near infrared changes by some percent in minutes, its pattern on the detector
    does not. Each sky frame is divided by its own level before they are combined; the mean is
    multiplied by the level of the science frame. Instead of exposures, a sky that was combined
    before may be given (``--override-sky``).
    """

    name = "sky_subtract"
    reads, writes = (Exposures, RateModel), RateModel
    references = {"sky": RateModel}
    optional = frozenset({"sky"})
    rows = True

    @dataclass(frozen=True)
    class Parameters:
        scale: bool = param(True, "scale the sky to the level of each frame, where it has one")
        sigma: float = param(
            3.0, "values this far from the median are left out", gt=0, unit="sigma"
        )

    def applies_by_rows(self, model: Any) -> bool:
        """One frame goes through in bands; several exposures do not."""
        return not isinstance(model, Exposures)

    def survey(self, rows: Any, *, sky: RateModel | None) -> list[Level] | None:
        """Compare some rows of the frame with the sky, to know their levels."""
        if sky is None:
            return None
        ny, nx = rows.frame
        dy, dx = _origin(rows.source, sky)
        size = _block_size(ny, nx)
        there = block_means(sky.cut, Region(dy, dy + ny, dx, dx + nx), size)
        return self._settled([there], block_means(rows.cut, Region(0, ny, 0, nx), size))

    def apply(
        self, exposures: Any, *, sky: RateModel | None = None, survey: list[Level] | None = None
    ) -> Any:
        """Combine the sky frames in tiles, and subtract them from each science member."""
        if not isinstance(exposures, Exposures):
            if sky is None or survey is None:
                return Skipped(exposures, "there are no exposures of the sky")
            return self._in_band(exposures, sky, survey)
        skies = [member.model for member in exposures.members if member.role in ROLES]
        if not skies and sky is not None:
            skies = [sky]
        if not skies:
            return Skipped(exposures, "there are no exposures of the sky")
        done = []
        for model in exposures.science:
            levels = self._levels(model, skies)
            done.append(self._subtracted(model, levels[-1], skies, levels[:-1]))
        return exposures.evolve(done)

    def _in_band(self, frame: RateModel, sky: RateModel, levels: Sequence[Level]) -> RateModel:
        """Return a band of a frame without the sky of the same pixels."""
        there, here = levels
        factor = np.float32(here.value / there.value)
        data, err, dq = _image(frame)
        sky_data, sky_err, sky_dq = _image(sky)
        usable = np.isfinite(sky_data) & ((sky_dq & DO_NOT_USE) == 0)
        variance = (np.where(usable, sky_err, np.float32(0)) * factor) ** 2
        changes: dict[str, Any] = {
            "data": data - np.where(usable, sky_data, np.float32(0)) * factor,
            "dq": dq | np.where(usable, sky_dq, DO_NOT_USE),
            "err": np.sqrt(err * err + variance),
        }
        if frame.has("var_rnoise") and frame.has("var_poisson"):
            changes["var_rnoise"] = np.asarray(frame.array("var_rnoise")) + variance
        result: RateModel = frame.evolve(**changes)
        return _told(result, here.value, scaled=here.error > 0)

    def _levels(self, frame: RateModel, skies: Sequence[RateModel]) -> list[Level]:
        """Return the levels of the sky frames, and last that of the science frame."""
        ny, nx = frame_of(frame)
        size = _block_size(ny, nx)
        blocks = []
        for sky in skies:
            dy, dx = _origin(frame, sky)
            blocks.append(block_means(sky.cut, Region(dy, dy + ny, dx, dx + nx), size))
        return self._settled(blocks, block_means(frame.cut, Region(0, ny, 0, nx), size))

    def _settled(self, skies: Sequence[np.ndarray], frame: np.ndarray) -> list[Level]:
        """Return the levels to scale by; all 1 where skies are to be subtracted as they are."""
        none = [Level(1.0, 0.0)] * (len(skies) + 1)
        if not self.parameters.scale:
            return none
        levels = sky_levels(skies, frame)
        if not all(level.value > SIGNIFICANT * level.error for level in levels):
            log.info("the sky is too faint to be scaled by its level: it is subtracted as it is")
            return none
        return levels

    def _subtracted(
        self, frame: RateModel, level: Level, skies: Sequence[RateModel], levels: Sequence[Level]
    ) -> RateModel:
        """Return a frame without its sky, in tiles of rows."""
        ny, nx = frame_of(frame)
        origins = [_origin(frame, sky) for sky in skies]
        made = {name: np.empty((ny, nx), np.float32) for name in ("data", "err")}
        made["dq"] = np.empty((ny, nx), np.uint32)
        variances = [name for name in ("var_poisson", "var_rnoise") if frame.has(name)]
        if len(variances) == 2:
            made["var_rnoise"] = np.empty((ny, nx), np.float32)
        height = max(TILE_BYTES // (24 * nx * len(skies)), 1)
        total = 0.0
        for y0 in range(0, ny, height):
            region = Region(y0, min(y0 + height, ny), 0, nx)
            parts = [
                _image(sky.cut(Region(y0 + dy, region.y1 + dy, dx, dx + nx)))
                for sky, (dy, dx) in zip(skies, origins, strict=True)
            ]
            mean = mean_sky(parts, levels, self.parameters.sigma)
            part = frame.cut(region)
            data, err, dq = _image(part)
            rows = region.slices[0]
            sky = np.multiply(mean["data"], level.value, dtype=np.float32)
            variance = np.multiply(mean["err"], level.value, dtype=np.float32)
            variance *= variance
            np.subtract(data, sky, out=made["data"][rows])
            np.bitwise_or(dq, mean["dq"], out=made["dq"][rows])
            if "var_rnoise" in made:
                np.add(part.array("var_rnoise"), variance, out=made["var_rnoise"][rows])
            variance += err * err
            np.sqrt(variance, out=made["err"][rows])
            total += float(sky.sum(dtype=np.float64))
        result: RateModel = frame.evolve(**made)
        return _told(result, total / (ny * nx), scaled=level.error > 0)


class CombineSky(Step):
    """Combine exposures of empty sky, each scaled to the level of the first, into one sky."""

    name = "combine_sky"
    reads, writes = Exposures, RateModel

    @dataclass(frozen=True)
    class Parameters:
        sigma: float = param(
            3.0, "values this far from the median are left out", gt=0, unit="sigma"
        )

    def apply(self, exposures: Exposures) -> RateModel:
        """Combine the science members in tiles of rows."""
        frames = exposures.science
        ny, nx = frame_of(frames[0])
        for frame in frames[1:]:
            _origin(frames[0], frame)
        whole, size = Region(0, ny, 0, nx), _block_size(ny, nx)
        blocks = [block_means(frame.cut, whole, size) for frame in frames]
        levels = sky_levels(blocks, blocks[0])[:-1]
        made = {name: np.empty((ny, nx), np.float32) for name in ("data", "err")}
        made["dq"] = np.empty((ny, nx), np.uint32)
        height = max(TILE_BYTES // (24 * nx * len(frames)), 1)
        for y0 in range(0, ny, height):
            region = Region(y0, min(y0 + height, ny), 0, nx)
            parts = [_image(frame.cut(region)) for frame in frames]
            mean = mean_sky(parts, levels, self.parameters.sigma)
            rows = region.slices[0]
            for name in ("data", "err"):
                np.multiply(mean[name], levels[0].value, out=made[name][rows], casting="same_kind")
            made["dq"][rows] = mean["dq"]
        sky = RateModel(meta=frames[0].meta, **made)
        descend(sky, frames[0])
        return sky


def mean_sky(
    parts: Sequence[tuple[np.ndarray, ...]], levels: Sequence[Level], sigma: float
) -> dict[str, np.ndarray]:
    """Return the mean of sky frames, each divided by its level.

    Parameters
    ----------
    parts : sequence of (data, err, dq)
        Of the frames, (ny, nx) each.
    levels : sequence of Level
    sigma : float
        Values this far from the median are left out [standard errors].

    Returns
    -------
    mean : dict
        As `combined` returns it.
    """
    data, err, dq = (np.stack(planes) for planes in zip(*parts, strict=True))
    level = np.array([one.value for one in levels])[:, None, None]
    if len(parts) > 1:  # sums of several in float64
        data, err = data.astype(np.float64), err.astype(np.float64)
    return combined(
        np.divide(data, level, dtype=data.dtype), np.divide(err, level, dtype=err.dtype), dq,
        sigma=sigma,
    )  # fmt: skip


def sky_levels(skies: Sequence[np.ndarray], frame: np.ndarray) -> list[Level]:
    """Return the brightness of the sky of several frames, whatever its pattern is.

    Frames are compared block by block, so that what the detector makes of even light divides
    out; blocks with stars differ from most others and do not count.

    Parameters
    ----------
    skies : sequence of (ny, nx) ndarray of float64
        Block means of frames of empty sky; NaN is none.
    frame : (ny, nx) ndarray of float64
        The same of a frame with sources.

    Returns
    -------
    levels : list of Level
        Of the sky frames, and last of the other; the level of the first is the median of its
        blocks.

    Raises
    ------
    DataError
        If no block can be compared.
    """
    first = float(np.nanmedian(skies[0])) if np.isfinite(skies[0]).any() else np.nan
    if first == 0 or not np.isfinite(first):
        return [Level(0.0, 1.0)] * (len(skies) + 1)  # nothing to scale by
    with np.errstate(divide="ignore", invalid="ignore"):
        levels = [_typical(sky / (skies[0] / first)) for sky in skies]
        pattern = np.median(
            [sky / level.value for sky, level in zip(skies, levels, strict=True)], axis=0
        )
        own = _typical(skies[0])  # how well the first is known: its pattern counts as noise
        levels[0] = Level(first, own.error)
        return [*levels, _typical(frame / pattern)]


def _typical(values: np.ndarray) -> Level:
    """Return the median of values without those far from it, and its error."""
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise DataError(
            "frames of the sky cannot be compared",
            found="no block of pixels that can be used in all",
            remedy="remove frames that are mostly flagged, or set sky_subtract.scale=false",
        )
    while True:
        middle = float(np.median(values))
        spread = 1.4826 * float(np.median(np.abs(values - middle)))  # of Gaussian values
        kept = values[np.abs(values - middle) <= CLIP * spread]
        if kept.size == values.size or spread == 0:
            return Level(middle, float(np.sqrt(np.pi / 2) * spread / np.sqrt(values.size)))
        values = kept


def block_means(cut: Callable[[Region], RateModel], region: Region, size: int) -> np.ndarray:
    """Return the mean of the usable pixels of each block of a frame.

    Parameters
    ----------
    cut : callable
        Returns part of the frame: values and flags (y, x).
    region : Region
        The part that is looked at; rows and columns that fill no block are left out.
    size : int
        Side of a block [pixel].

    Returns
    -------
    means : (rows, nx // size) ndarray of float64
        NaN where fewer than half of the pixels can be used. Of large frames only some rows of
        blocks, evenly spaced.
    """
    ny, nx = region.shape
    columns = nx // size
    rows = range(0, ny // size, max(ny * nx // (size * size * BLOCKS), 1))
    means = np.full((len(rows), columns), np.nan)
    for number, row in enumerate(rows):
        y0 = region.y0 + row * size
        part = cut(Region(y0, y0 + size, region.x0, region.x0 + columns * size))
        data, _, dq = _image(part)
        good = np.isfinite(data) & ((dq & NO_SKY) == 0)
        shape = (size, columns, size)
        count = good.reshape(shape).sum(axis=(0, 2), dtype=np.int64)
        total = np.where(good, data, 0).reshape(shape).sum(axis=(0, 2), dtype=np.float64)
        np.divide(total, count, out=means[number], where=count >= size * size / 2)
    return means


def _block_size(ny: int, nx: int) -> int:
    return BLOCK if min(ny, nx) >= 8 * BLOCK else SMALL_BLOCK


def _told(frame: RateModel, level: float, *, scaled: bool) -> RateModel:
    """Return a frame that says what was subtracted."""
    force(frame, "background.level", level)
    force(frame, "background.subtracted", True)
    force(frame, "background.method", "scaled sky" if scaled else "sky")
    return frame


def _image(frame: RateModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values, errors (0 where there are none) and flags of a frame."""
    data = np.asarray(frame.array("data"))
    err = np.asarray(frame.array("err")) if frame.has("err") else np.zeros(data.shape, np.float32)
    dq = np.asarray(frame.array("dq")) if frame.has("dq") else np.zeros(data.shape, np.uint32)
    return data, err, dq


def _origin(frame: RateModel, sky: RateModel) -> tuple[int, int]:
    """Return row and column of a sky frame where the science frame begins."""
    for path in ("instrument.detector", "instrument.filter"):
        ours, theirs = frame.meta.get(path), sky.meta.get(path)
        if ours is not None and theirs is not None and ours != theirs:
            raise DataError(
                "an exposure of the sky was taken with another detector or filter",
                place=sky.path or sky.meta.filename,
                found=f"{path.rpartition('.')[2]} {theirs}",
                expected=str(ours),
                remedy="remove it from the association, or leave the step out: --skip sky_subtract",
            )
    return fit(frame, sky, "sky")
