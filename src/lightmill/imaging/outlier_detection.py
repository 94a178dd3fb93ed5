"""Flag in each exposure what the others do not see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lightmill.errors import DataError, ShapeError
from lightmill.imaging.blot import blot
from lightmill.imaging.drizzle_inputs import (
    bad_bits,
    check_alike,
    part_of,
    sheet_of,
    sky_level,
    together,
)
from lightmill.imaging.drizzling import Recipe, Sheet, drizzle, reached
from lightmill.imaging.flagged import Flagged
from lightmill.imaging.mosaic_frame import MAXIMUM_MEGAPIXELS, Frame
from lightmill.imaging.outliers import (
    find_outliers,
    find_outliers_unshifted,
    median_of,
    weight_threshold,
)
from lightmill.imaging.resample import check_fill, fill_value, frame_for
from lightmill.models import Exposures, Region
from lightmill.models.dq import PIXEL
from lightmill.models.filled import Filled
from lightmill.pipeline import Skipped, Step, param
from lightmill.pipeline.spool import Spool

__all__ = ["DetectOutliers"]

FLAGS = PIXEL["OUTLIER"] | PIXEL["DO_NOT_USE"]
STACK_BYTES = 64 << 20  # of exposures on the grid in memory at a time, for their median
MEDIAN_BYTES = 128 << 20  # a larger median is kept in a scratch file
BAND_ROWS = 256  # of an exposure compared at a time
MEDIAN_NOISE = 1.2533  # error of a median over that of a mean, Gaussian noise: sqrt(pi / 2)


def check_numbers(text: str) -> str | None:
    """Return what was expected where a text does not hold two numbers."""
    try:
        values = [float(one) for one in text.split()]
    except ValueError:
        values = []
    return None if len(values) == 2 else "two numbers, as '5.0 4.0'"


@dataclass(frozen=True)
class _Layer:
    """An exposure on the grid: a part of it, in a scratch file."""

    window: Region
    values: Spool


class DetectOutliers(Step):
    """Flag cosmic rays and other things that only one exposure of a field sees."""

    name = "outlier_detection"
    reads, writes = Exposures, Exposures
    extensions = frozenset({"least_coverage", "maximum_megapixels", "steepness_noise"})

    @dataclass(frozen=True)
    class Parameters:
        weight_type: Literal["ivm", "exptime"] = param(
            "ivm", "weight of a pixel: inverse of its read-noise variance, or exposure time"
        )
        pixfrac: float = param(
            1.0, "side of the drop over that of the pixel it falls from", ge=0, le=1
        )
        kernel: Literal["square", "point", "turbo"] = param("square", "shape of the drop")
        fillval: str = param("NAN", "value of pixels that got nothing", check=check_fill)
        maskpt: float = param(
            0.7, "share of the mean weight below which a pixel is no part of the median", ge=0
        )
        snr: str = param(
            "5.0 4.0", "standard errors a pixel must be off: of a seed, of its neighbours",
            check=check_numbers,
        )  # fmt: skip
        scale: str = param(
            "5.0 3.0", "share of the steepness of the image a pixel may be off besides, for both",
            check=check_numbers,
        )  # fmt: skip
        steepness_noise: float = param(
            2.0, "standard errors of the median that a steepness may be by noise, and is not "
            "counted for", ge=0,
        )  # fmt: skip
        least_coverage: int = param(
            2, "fewest exposures a median is made of: where fewer are, nothing is flagged", ge=1
        )
        backg: float = param(
            0.0, "level of the sky in the exposures but not in their median, where no exposure "
            "says its own",
        )  # fmt: skip
        resample_data: bool = param(
            True, "put the exposures on one grid; else compare them pixel by pixel"
        )
        good_bits: str = param("~DO_NOT_USE", "flags of pixels that may be used, by name")
        in_memory: bool = param(
            True, "accepted for the sake of old files: exposures stay on disk always"
        )
        save_intermediate_results: bool = param(False, "accepted; nothing more is saved")
        kernel_size: str = param("7 7", "of other kinds of data; not used for images")
        threshold_percent: float = param(99.8, "of other kinds of data; not used for images")
        rolling_window_width: int = param(25, "of other kinds of data; not used for images")
        ifu_second_check: bool = param(False, "of other kinds of data; not used for images")
        search_output_file: bool = param(False, "accepted for the sake of old files")
        pixmap_stepsize: float = param(
            1.0, "accepted for the sake of old files: positions are always interpolated to 1e-4 "
            "pixel", ge=0, unit="pixel",
        )  # fmt: skip
        pixmap_order: int = param(1, "accepted for the sake of old files", choices=(1, 3))
        maximum_megapixels: float = param(
            MAXIMUM_MEGAPIXELS, "a larger grid is refused", gt=0, unit="Mpixel"
        )

    def apply(self, exposures: Exposures) -> Exposures | Skipped:
        """Median of all, look it up at each exposure's pixels, flag what is off."""
        if len(exposures.groups()) < 2:
            return Skipped(exposures, "outliers need at least two exposures to compare")
        check_alike(exposures.science, exposures.names)
        if self.parameters.resample_data:
            return self._on_one_grid(exposures)
        return self._pixel_by_pixel(exposures)

    # -- exposures of different pointings --------------------------------------------------

    def _on_one_grid(self, exposures: Exposures) -> Exposures:
        p = self.parameters
        models = exposures.science
        frame = frame_for(models, exposures.names, maximum_megapixels=p.maximum_megapixels)
        recipe = Recipe(kernel=p.kernel, pixfrac=p.pixfrac, ratio=frame.ratio)
        sheets = {
            id(model): sheet_of(
                model, frame, weight_type=p.weight_type, bad=bad_bits(p.good_bits), name=name
            )
            for model, name in zip(models, exposures.names, strict=True)
        }

        def put(model: Any) -> _Layer | None:
            return self._layer(sheets[id(model)], frame, recipe)

        layers = exposures.each(put, "exposures on one grid")
        _check_usable(layers, exposures.names)
        groups = [[layers[k] for k in group] for group in exposures.groups().values()]
        median = _median(groups, frame.shape, fill_value(p.fillval), p.least_coverage)
        snr, scale = _two(p.snr), _two(p.scale)
        noise = p.steepness_noise * MEDIAN_NOISE / len(groups) ** 0.5

        def flag(model: Any) -> Any:
            return _flagged(model, sheets[id(model)], median, frame, snr, scale, p.backg, noise)

        return exposures.evolve(exposures.each(flag, "outliers"))

    def _layer(self, sheet: Sheet, frame: Frame, recipe: Recipe) -> _Layer | None:
        """Put one exposure on the grid; pixels of too little weight become NaN.

        None for an exposure of which nothing can be used.
        """
        grid = Region(0, frame.shape[0], 0, frame.shape[1])
        window = reached(sheet.pixel_map, sheet.valid, grid, recipe.reach)
        if window is None:
            return None
        image, weight, _ = drizzle(sheet, sheet.valid, window, recipe, errors=False)
        if not weight.any():
            return None
        threshold = weight_threshold(weight, self.parameters.maskpt)
        image[(weight < threshold) | (weight == 0)] = np.nan
        values = Spool(image.shape, np.float32)
        values.write(0, image)
        return _Layer(window, values)

    # -- exposures of one pointing ---------------------------------------------------------

    def _pixel_by_pixel(self, exposures: Exposures) -> Exposures:
        p = self.parameters
        models = exposures.science
        shape = models[0].array("data").shape
        for model, name in zip(models, exposures.names, strict=True):
            if model.array("data").shape != shape:
                raise ShapeError(
                    "exposures that are not resampled must be alike",
                    place=model.path or name,
                    found=model.array("data").shape,
                    expected=shape,
                    remedy="use resample_data=true",
                )
        bad = bad_bits(p.good_bits)

        def threshold(model: Any) -> float | None:
            weight = self._weight(model, bad, None)
            return weight_threshold(weight, p.maskpt) if weight.any() else None

        thresholds = exposures.each(threshold)
        _check_usable(thresholds, exposures.names)
        height = max(16, min(shape[0], STACK_BYTES // (8 * len(models) * shape[1])))
        found: list[list[np.ndarray]] = [[] for _ in models]
        snr = _two(p.snr)[0]
        for y0 in range(0, shape[0], height):
            region = Region(y0, min(shape[0], y0 + height), 0, shape[1])
            cube = np.empty((len(models), *region.shape), np.float32)
            for k, model in enumerate(models):
                cube[k] = part_of(model, "data", region)
                cube[k][self._weight(model, bad, region) < max(thresholds[k] or 0.0, 1e-38)] = (
                    np.nan
                )
            median = _judged(median_of(cube), cube, p.least_coverage)
            for k, model in enumerate(models):
                outlier = find_outliers_unshifted(
                    part_of(model, "data", region), _error(model, region), median, snr=snr
                )
                found[k].append(np.flatnonzero(outlier) + y0 * shape[1])
        return exposures.evolve(
            [
                _with_flags(model, np.concatenate(pixels))
                for model, pixels in zip(models, found, strict=True)
            ]
        )

    def _weight(self, model: Any, bad: int, region: Region | None) -> np.ndarray:
        shape = model.array("data").shape
        region = region or Region(0, shape[0], 0, shape[1])
        variance = (
            part_of(model, "var_rnoise", region) if self.parameters.weight_type == "ivm" else None
        )
        if variance is None:
            weight = np.ones(region.shape, np.float32)
        else:
            with np.errstate(divide="ignore", invalid="ignore"):
                weight = np.asarray(1 / variance, np.float32)
            weight[~np.isfinite(weight)] = 0
        dq = part_of(model, "dq", region)
        if dq is not None:
            weight[(dq & np.uint32(bad | PIXEL["DO_NOT_USE"])) != 0] = 0
        weight[~np.isfinite(part_of(model, "data", region))] = 0
        return weight


def _check_usable(found: Sequence[Any], names: Sequence[str]) -> None:
    """Refuse exposures of which nothing can be used, before they are saved with new flags."""
    if all(one is None for one in found):
        raise DataError(
            "no exposure has a pixel that can be used",
            place=together(names),
            found="all of them flagged, or not numbers",
            expected="one at least",
            remedy="look at the flags: lightmill info FILE; or choose others with good_bits",
        )


def _median(
    groups: list[list[_Layer | None]], shape: tuple[int, int], missing: float, least: int
) -> np.ndarray | Spool:
    """Return the median of groups of exposures on the grid, a stripe at a time.

    `missing` stands where nothing is there; where fewer than `least` are, there is no median.
    """
    ny, nx = shape
    large = 4 * ny * nx > MEDIAN_BYTES
    median: Any = Spool(shape, np.float32) if large else np.empty(shape, np.float32)
    height = max(16, min(ny, STACK_BYTES // (4 * len(groups) * nx)))
    for y0 in range(0, ny, height):
        y1 = min(ny, y0 + height)
        cube = np.full((len(groups), y1 - y0, nx), np.nan, np.float32)
        for plane, group in zip(cube, groups, strict=True):
            for layer in group:
                if layer is not None:
                    _lay(plane, y0, layer)
        rows = median_of(cube)
        if not np.isnan(missing):
            rows[np.isnan(rows)] = missing
        rows = _judged(rows, cube, least)
        if large:
            median.write(y0, rows)
        else:
            median[y0:y1] = rows
    return median


def _judged(median: np.ndarray, ordered: np.ndarray, least: int) -> np.ndarray:
    """Take away medians of too few values, which come along the first axis, NaN last.

    The median of one exposure is that exposure, and blurred by the grid: peaks of its stars are
    not outliers.
    """
    if least > 1:
        few = ~np.isnan(ordered[0])
        if least <= len(ordered):
            few &= np.isnan(ordered[least - 1])
        median[few] = np.nan
    return median


def _lay(plane: np.ndarray, y0: int, layer: _Layer) -> None:
    """Put the rows of a layer where the plane, from row `y0` on, has none yet."""
    window = layer.window
    first, last = max(y0, window.y0), min(y0 + plane.shape[0], window.y1)
    if first >= last:
        return
    width = window.x1 - window.x0
    rows = layer.values.read(Region(first - window.y0, last - window.y0, 0, width))
    target = plane[first - y0 : last - y0, window.slices[1]]
    np.copyto(target, rows, where=np.isnan(target))


def _flagged(
    model: Any,
    sheet: Sheet,
    median: np.ndarray | Spool,
    frame: Frame,
    snr: tuple[float, float],
    scale: tuple[float, float],
    level: float,
    noise: float,
) -> Any:
    """Return an exposure with its outliers flagged."""
    ny, nx = sheet.pixel_map.shape
    own = sky_level(model)
    read: Callable[[Region], np.ndarray] = (
        median.read if isinstance(median, Spool) else lambda region: median[region.slices]
    )
    found = []
    for first in range(0, ny, BAND_ROWS):
        last = min(ny, first + BAND_ROWS)
        # Neighbours of seeds: one row more; the steepness at those: another.
        y0, y1 = max(0, first - 2), min(ny, last + 2)
        region = Region(y0, y1, 0, nx)
        outlier = find_outliers(
            part_of(model, "data", region),
            _error(model, region),
            blot(read, frame.shape, sheet.pixel_map, (y0, y1)),
            snr=snr,
            scale=scale,
            level=own or level,
            sky_noise=noise,
        )[first - y0 : last - y0]
        found.append(np.flatnonzero(outlier) + first * nx)
    return _with_flags(model, np.concatenate(found))


def _error(model: Any, region: Region) -> np.ndarray:
    error = part_of(model, "err", region)
    return np.zeros(region.shape, np.float32) if error is None else error


def _with_flags(model: Any, pixels: np.ndarray) -> Any:
    base = model.array("dq") if model.has("dq") else Filled(model.array("data").shape, np.uint32)
    return model.evolve(dq=Flagged(base, pixels, FLAGS))


def _two(text: str) -> tuple[float, float]:
    first, second = (float(one) for one in text.split())
    return first, second
