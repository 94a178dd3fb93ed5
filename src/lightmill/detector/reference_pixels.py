"""Correct each read for the drifts that pixels without light record.

Reference pixels see the electronics but no light. What they show is common to
the pixels read at nearly the same time through the same output, and is
subtracted from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lightmill.detector.frames import Borders, detector_of, reference_borders
from lightmill.errors import ConfigurationError, DataError
from lightmill.kernels import arithmetic, refpix
from lightmill.models import Model, RampModel, Region
from lightmill.models.dq import PIXEL
from lightmill.pipeline import Skipped, Step, param

__all__ = ["CorrectReferencePixels", "Drift"]

DO_NOT_USE = PIXEL["DO_NOT_USE"]
REFERENCE_PIXEL = PIXEL["REFERENCE_PIXEL"]
INTERLEAVED = 4  # outputs that take the columns in turn


@dataclass(frozen=True)
class Drift:
    """What is to be subtracted from each plane of a ramp.

    The planes are the groups of all integrations, then the zero frames.

    Parameters
    ----------
    along_x : (nplanes, nx) ndarray of float32
        Subtracted from every row [DN].
    along_y : (nplanes, ny) ndarray of float32
        Subtracted from every column [DN].
    by_row_parity : (nplanes, 2, nx) ndarray of float32 or None
        Subtracted from even and odd rows [DN].
    """

    along_x: np.ndarray | None = None
    along_y: np.ndarray | None = None
    by_row_parity: np.ndarray | None = None


class CorrectReferencePixels(Step):
    """Subtract the drifts of the read-out electronics that reference pixels record."""

    name = "refpix"
    reads, writes = RampModel, RampModel
    references = {"refpix": Model, "sirskernel": Model}
    optional = frozenset({"refpix", "sirskernel"})
    extensions = frozenset({"keep_level"})
    rows = True

    @dataclass(frozen=True)
    class Parameters:
        odd_even_columns: bool = param(True, "even and odd columns have their own level")
        use_side_ref_pixels: bool = param(True, "correct each row by the reference columns")
        side_smoothing_length: int = param(
            11, "rows in the running median of the reference columns", ge=1, unit="pixel"
        )
        side_gain: float = param(1.0, "part of the reference columns' signal to subtract")
        odd_even_rows: bool = param(True, "even and odd rows have their own level (interleaved)")
        ovr_corr_mitigation_ftr: float = param(3.0, "interleaved reference pixels: not used yet")
        preserve_irs2_refpix: bool = param(False, "interleaved reference pixels: not used yet")
        irs2_mean_subtraction: bool = param(False, "interleaved reference pixels: not used yet")
        refpix_algorithm: Literal["median", "sirs"] = param(
            "median", "how reference columns are used"
        )
        sigreject: float = param(4.0, "for the algorithm sirs: not used yet")
        gaussmooth: float = param(1.0, "for the algorithm sirs: not used yet")
        halfwidth: int = param(30, "for the algorithm sirs: not used yet")
        siglimit: float = param(3.0, "clipping limit of the means", gt=0, unit="sigma")
        keep_level: bool = param(
            False, "subtract only what changes from read to read, not the mean level of all: where "
            "later corrections expect counts with their zero point",
        )  # fmt: skip

    def uses(self, reftype: str) -> bool:  # noqa: ARG002 - neither, with the algorithms there are
        """Say that no file is looked at: overrides are accepted, and given to `apply`."""
        return False

    def survey(self, rows: Any, **references: Any) -> Drift | Skipped | None:  # noqa: ARG002
        """Measure the reference pixels of all reads."""
        if self.parameters.refpix_algorithm == "sirs":
            raise ConfigurationError(
                "the algorithm is not available yet",
                place="refpix.refpix_algorithm",
                found="sirs",
                expected="median",
            )
        model = rows.source
        detector = detector_of(model)
        if detector is None:
            return None
        if "IRS2" in str(model.meta.exposure.readpatt or ""):
            raise DataError(
                "interleaved reference pixels cannot be used yet",
                place=f"{model.path}[PRIMARY/READPATT]",
                found=model.meta.exposure.readpatt,
                remedy="leave the step out with --skip refpix",
            )
        ny, nx = rows.frame
        whole = (ny, nx) == (detector.rows, detector.columns)
        if detector.interleaved:
            return self._interleaved(rows) if whole else None
        borders = reference_borders(model)
        outputs = model.meta.exposure.noutputs or (detector.outputs if whole else 1)
        if whole or outputs == detector.outputs:
            drift = self._blocks(rows, borders, detector.columns // detector.outputs)
        else:
            drift = self._one_output(rows, borders)
        if drift is None or not self.parameters.keep_level:
            return drift
        nints, ngroups = model.array("data").shape[:2]
        return _changes(drift, nints * ngroups)

    def apply(self, ramp: RampModel, *, survey: Any = None, **references: Any) -> Any:  # noqa: ARG002
        """Subtract what the survey found."""
        if survey is None:
            return Skipped(ramp, "no reference pixels serve this frame")
        nints, ngroups = ramp.data.shape[:2]
        y0, y1, x0, x1 = ramp.region
        count = nints * ngroups
        if survey.by_row_parity is not None:
            table = survey.by_row_parity[:count, :, x0:x1].reshape(nints, ngroups, 2, -1)
            arithmetic.subtract_cross(ramp.data, along_x=table, start_group=1, row_phase=y0)
            return ramp
        along_x = np.ascontiguousarray(survey.along_x[:, x0:x1])
        along_y = np.ascontiguousarray(survey.along_y[:, y0:y1])
        arithmetic.subtract_cross(
            ramp.data,
            along_y[:count].reshape(nints, ngroups, -1),
            along_x[:count].reshape(nints, ngroups, -1),
        )
        if ramp.has("zeroframe"):
            zero = np.array(ramp.zeroframe)
            ramp = ramp.evolve(zeroframe=zero - along_x[count:, None, :] - along_y[count:, :, None])
        return ramp

    def _blocks(self, rows: Any, borders: Borders, width: int) -> Drift | None:
        """Measure outputs that take blocks of columns: a mean per output, then a median per row."""
        axes = _Axes(rows)
        levels = []
        for strip in axes.ends(borders):
            planes, good = axes.read(strip)
            levels.append(self._levels(planes, good, axes.output_of(width)))
        sides = list(axes.sides(borders))
        if not levels and not sides:
            return None
        nplanes = axes.nplanes
        level = _mean_of(levels, (nplanes, axes.nfast)).astype(np.float32)
        row = np.zeros((nplanes, axes.nslow), np.float32)
        if self.parameters.use_side_ref_pixels and sides:
            length = self.parameters.side_smoothing_length | 1
            medians = []
            for strip in sides:
                planes, good = axes.read(strip)  # (nplanes, nslow, 4), slow axis first
                fast = np.arange(*axes.fast_range(strip))
                planes = np.ascontiguousarray(planes - level[:, None, fast])
                medians.append(refpix.side_median(planes, good, length))
            row = self.parameters.side_gain * _mean_of(medians, (nplanes, axes.nslow))
        return axes.drift(level, row.astype(np.float32))

    def _levels(self, planes: np.ndarray, good: np.ndarray, output: np.ndarray) -> np.ndarray:
        """Return the clipped mean for every fast-axis position; NaN where nothing is good.

        `planes` is (nplanes, rows of reference pixels, nfast).
        """
        parity = np.arange(planes.shape[2]) % 2
        result = np.full((len(planes), planes.shape[2]), np.nan)
        for number in sorted(set(output.tolist())):  # np.unique imports masked arrays: 10 ms
            for odd in (0, 1) if self.parameters.odd_even_columns else (None,):
                here = output == number
                if odd is not None:
                    here &= parity == odd
                chosen = planes[:, :, here].reshape(len(planes), -1)
                mean = self._mean(chosen, good[:, here].ravel())
                result[:, here] = np.asarray(mean)[:, None]
        return result

    def _mean(self, values: np.ndarray, good: np.ndarray) -> Any:
        """Return the clipped mean of each row of `values`."""
        return refpix.clipped_mean(
            np.ascontiguousarray(values), np.ascontiguousarray(good), self.parameters.siglimit
        )

    def _one_output(self, rows: Any, borders: Borders) -> Drift | None:
        """One output: the mean of all reference pixels of the subarray, by column parity."""
        axes = _Axes(rows)
        values: list[np.ndarray] = []
        flags: list[np.ndarray] = []
        parities: list[np.ndarray] = []
        for strip in axes.border(borders):
            planes, good = axes.read(strip, need=REFERENCE_PIXEL)
            fast = np.arange(*axes.fast_range(strip))
            values.append(planes.reshape(len(planes), -1))
            flags.append(good.ravel())
            parities.append(np.broadcast_to(fast % 2, good.shape).ravel())
        if not values:
            return None
        all_values, good = np.concatenate(values, axis=1), np.concatenate(flags)
        odd = np.concatenate(parities)
        level = np.zeros((len(all_values), axes.nfast), np.float32)
        for parity in (0, 1) if self.parameters.odd_even_columns else (None,):
            here = good if parity is None else good & (odd == parity)
            columns = slice(parity, None, 2) if parity is not None else slice(None)
            if not here.any():
                continue
            mean = self._mean(all_values, here)
            level[:, columns] = np.asarray(mean)[:, None]
        return axes.drift(level, np.zeros((len(level), axes.nslow), np.float32))

    def _interleaved(self, rows: Any) -> Drift:
        """Measure outputs in turn: a mean per output and row parity, relative to the first group."""
        ny, nx = rows.frame
        nints, ngroups = rows.source.array("data").shape[:2]
        means = []
        for x0 in (0, nx - INTERLEAVED):
            part = rows.cut(Region(0, ny, x0, x0 + INTERLEAVED))
            planes = part.data - part.data[:, :1]
            good = (part.pixeldq & DO_NOT_USE) == 0
            mean = np.full((nints * ngroups, 2, INTERLEAVED), np.nan)
            for output in range(INTERLEAVED):
                for parity in (0, 1):
                    step = slice(parity, None, 2) if self.parameters.odd_even_rows else slice(None)
                    chosen = planes.reshape(-1, ny, INTERLEAVED)[:, step, output]
                    mean[:, parity, output] = self._mean(chosen, good[step, output])
            means.append(mean)
        table = _mean_of(means, means[0].shape).reshape(nints, ngroups, 2, INTERLEAVED)
        table[:, 0] = 0.0
        columns = np.arange(nx) % INTERLEAVED
        return Drift(
            by_row_parity=table.reshape(-1, 2, INTERLEAVED)[:, :, columns].astype(np.float32)
        )


def _mean_of(found: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Average two measurements; the other one where one is NaN, zero where both are."""
    total, count = np.zeros(shape), np.zeros(shape)
    for values in found:
        there = np.isfinite(values)
        total[there] += values[there]
        count += there
    return np.divide(total, count, out=np.zeros(shape), where=count > 0)


def _changes(drift: Drift, reads: int) -> Drift:
    """Return how a drift differs from its mean over the reads of the exposure."""
    parts = {
        name: plane - plane[:reads].mean(axis=0, dtype=np.float64).astype(np.float32)
        for name in ("along_x", "along_y")
        if (plane := getattr(drift, name)) is not None
    }
    return Drift(**parts)


class _Axes:
    """Read-out axes of a frame: along the fast axis pixels follow each other in time.

    FASTAXIS and SLOWAXIS name the axis (1 is x, 2 is y); the direction, their sign, does not
    matter here: blocks of columns and their parities are the same sets either way.
    """

    def __init__(self, rows: Any) -> None:
        self.rows = rows
        subarray = rows.meta.subarray
        fast, slow = subarray.fastaxis, subarray.slowaxis
        if abs(fast or 0) not in (1, 2) or abs(slow or 0) not in (1, 2) or abs(fast) == abs(slow):
            raise DataError(
                "the read-out direction is not known",
                place=f"{rows.source.path}[PRIMARY/FASTAXIS, SLOWAXIS]",
                found=f"{fast}, {slow}",
                expected="±1 and ±2",
                remedy="correct the keywords, or leave the step out with --skip refpix",
            )
        ny, nx = rows.frame
        self.fast_is_x = abs(fast) == 1
        self.nfast, self.nslow = (nx, ny) if self.fast_is_x else (ny, nx)
        start = subarray.xstart if self.fast_is_x else subarray.ystart
        self.fast_start = (start or 1) - 1
        source = rows.source
        nints, ngroups = source.array("data").shape[:2]
        self.zero = source.has("zeroframe")
        self.nplanes = nints * ngroups + (nints if self.zero else 0)

    def output_of(self, width: int) -> np.ndarray:
        """Return the output that reads each fast-axis position."""
        return (np.arange(self.nfast) + self.fast_start) // width

    def ends(self, borders: Borders) -> list[Region]:
        """Return the strips of reference pixels at both ends of the slow axis."""
        ny, nx = self.rows.frame
        if self.fast_is_x:
            strips = [Region(0, borders.bottom, 0, nx), Region(ny - borders.top, ny, 0, nx)]
        else:
            strips = [Region(0, ny, 0, borders.left), Region(0, ny, nx - borders.right, nx)]
        return [s for s in strips if s.y1 > s.y0 and s.x1 > s.x0]

    def sides(self, borders: Borders) -> list[Region]:
        """Return the strips of reference pixels at both ends of the fast axis."""
        ny, nx = self.rows.frame
        if self.fast_is_x:
            strips = [Region(0, ny, 0, borders.left), Region(0, ny, nx - borders.right, nx)]
        else:
            strips = [Region(0, borders.bottom, 0, nx), Region(ny - borders.top, ny, 0, nx)]
        return [s for s in strips if s.y1 > s.y0 and s.x1 > s.x0]

    def border(self, borders: Borders) -> list[Region]:
        """Return all strips of reference pixels, none twice."""
        ny, nx = self.rows.frame
        y0, y1 = borders.bottom, ny - borders.top
        strips = [
            Region(0, y0, 0, nx),
            Region(y1, ny, 0, nx),
            Region(y0, y1, 0, borders.left),
            Region(y0, y1, nx - borders.right, nx),
        ]
        return [s for s in strips if s.y1 > s.y0 and s.x1 > s.x0]

    def fast_range(self, strip: Region) -> tuple[int, int]:
        """Return the fast-axis positions of a strip."""
        return (strip.x0, strip.x1) if self.fast_is_x else (strip.y0, strip.y1)

    def read(self, strip: Region, need: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return the planes of a strip as (nplanes, slow, fast), and which pixels are good."""
        part = self.rows.cut(strip)
        planes = part.data.reshape(-1, *part.data.shape[-2:])
        if self.zero:
            planes = np.concatenate([planes, part.zeroframe])
        good = (part.pixeldq & DO_NOT_USE) == 0
        if need:
            good &= (part.pixeldq & need) != 0
        if not self.fast_is_x:
            planes, good = planes.swapaxes(1, 2), good.swapaxes(0, 1)
        return np.ascontiguousarray(planes), np.ascontiguousarray(good)

    def drift(self, along_fast: np.ndarray, along_slow: np.ndarray) -> Drift:
        """Return corrections along the read-out axes as corrections along x and y."""
        if self.fast_is_x:
            return Drift(along_x=along_fast, along_y=along_slow)
        return Drift(along_x=along_slow, along_y=along_fast)
