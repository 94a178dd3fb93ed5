"""Combine frames that saw the same, pixel by pixel: darks, flats, images that did not move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lightmill.errors import DataError
from lightmill.imaging.background import clipped_mean
from lightmill.models import Exposures, RateModel, Region
from lightmill.models.dq import PIXEL
from lightmill.models.lineage import descend, frame_of
from lightmill.pipeline import Step, param

__all__ = ["CombineFrames", "combined"]

DO_NOT_USE = np.uint32(PIXEL["DO_NOT_USE"])
TILE_BYTES = 64 << 20  # of the values of all frames that are in memory at a time
MEDIAN_LOSS = np.sqrt(np.pi / 2)  # error of a median of Gaussian values over that of their mean


class CombineFrames(Step):
    """Combine frames of the same pixels into one, without values that do not belong."""

    name = "combine_frames"
    reads, writes = Exposures, RateModel

    @dataclass(frozen=True)
    class Parameters:
        method: Literal["mean", "weighted", "median"] = param(
            "mean", "mean, mean with weights of the errors, or median"
        )
        sigma: float = param(
            4.0, "values this far from the median are left out", gt=0, unit="sigma"
        )
        maxiters: int | None = param(
            5, "how often values are left out where no errors are known", ge=1
        )
        errors: Literal["propagate", "measure"] = param(
            "propagate", "error of the result: of the frames' errors, or of their scatter"
        )

    def apply(self, exposures: Exposures) -> RateModel:
        """Combine the science members in tiles of rows."""
        frames = exposures.science
        shape = frame_of(frames[0])
        for frame, name in zip(frames, exposures.names, strict=True):
            if frame_of(frame) != shape:
                raise DataError(
                    "frames of different sizes cannot be combined",
                    place=frame.path or name,
                    found="{} x {} pixels".format(*frame_of(frame)[::-1]),
                    expected="{} x {} pixels".format(*shape[::-1]),
                    remedy="combine the frames of each subarray by themselves",
                )
        ny, nx = shape
        made = {name: np.empty(shape, np.float32) for name in ("data", "err")}
        made["dq"] = np.empty(shape, np.uint32)
        height = max(TILE_BYTES // (24 * nx * len(frames)), 1)
        for y0 in range(0, ny, height):
            region = Region(y0, min(y0 + height, ny), 0, nx)
            for name, rows in self._tile([frame.cut(region) for frame in frames]).items():
                made[name][y0 : region.y1] = rows
        result = RateModel(meta=frames[0].meta, **made)
        descend(result, frames[0])
        return result

    def _tile(self, parts: Sequence[RateModel]) -> dict[str, np.ndarray]:
        data = np.stack([np.asarray(part.array("data"), np.float64) for part in parts])
        none = np.zeros(data.shape[1:])
        err = np.stack(
            [np.asarray(p.array("err"), np.float64) if p.has("err") else none for p in parts]
        )
        dq = np.stack(
            [
                np.asarray(p.array("dq")) if p.has("dq") else np.zeros(none.shape, np.uint32)
                for p in parts
            ]
        )
        parameters = self.parameters
        return combined(
            data,
            err,
            dq,
            method=parameters.method,
            sigma=parameters.sigma,
            iterations=parameters.maxiters,
            errors=parameters.errors,
        )


def combined(
    data: np.ndarray,
    err: np.ndarray,
    dq: np.ndarray,
    *,
    method: str = "mean",
    sigma: float = 4.0,
    iterations: int | None = 5,
    errors: str = "propagate",
) -> dict[str, np.ndarray]:
    """Combine a stack of images pixel by pixel.

    Where every usable value of a pixel has an error, a value is left out if it is more than
    `sigma` errors from the median: a few frames are enough. Elsewhere it is compared with the
    scatter of the values (`clipped_mean`), which takes many: of n values none can be further
    than (n - 1)/sqrt(n) standard deviations from the mean.

    Parameters
    ----------
    data, err : (n, ny, nx) ndarray of float64
        Values and their standard errors, 0 where none is known.
    dq : (n, ny, nx) ndarray of uint32
        Flags; values DO_NOT_USE are left out.
    method : {"mean", "weighted", "median"}
        Weights are the inverse squares of the errors; equal ones where a value has none.
    sigma : float
        Limit [standard errors or standard deviations].
    iterations : int, optional
        How often values are compared with the scatter.
    errors : {"propagate", "measure"}
        Of the errors of the values that are kept, or of the scatter of these.

    Returns
    -------
    made : dict
        ``data``, ``err`` float64 and ``dq`` uint32, (ny, nx). Flags of values that are kept are
        passed on; where none is, the value is 0, and DO_NOT_USE is set.
    """
    usable = np.isfinite(data) & ((dq & DO_NOT_USE) == 0)
    if len(data) == 1:
        return _alone(data[0], err[0], dq[0], usable[0])
    values = np.where(usable, data, np.nan)
    known = (~usable | (err > 0)).all(axis=0)
    with np.errstate(invalid="ignore"):
        kept = usable & (np.abs(values - _median(values)) <= sigma * err)
    if not known.all():
        kept = np.where(known, kept, clipped_mean(values, sigma, iterations)[1])
    weights = kept.astype(np.float64)
    if method == "weighted":
        weights = np.where(known, np.divide(kept, err**2, out=weights.copy(), where=err > 0), kept)
    total = weights.sum(axis=0)
    some = total > 0
    value = np.divide(
        (weights * np.where(kept, data, 0.0)).sum(axis=0),
        total,
        out=np.zeros(total.shape),
        where=some,
    )
    if errors == "measure":
        count = kept.sum(axis=0)
        scatter = (weights * np.where(kept, data - value, 0.0) ** 2).sum(axis=0)
        square = np.divide(
            scatter, total * (count - 1), out=np.zeros(total.shape), where=some & (count > 1)
        )
    else:
        square = ((weights * np.where(kept, err, 0.0)) ** 2).sum(axis=0)
        square = np.divide(square, total**2, out=np.zeros(total.shape), where=some)
    error = np.sqrt(square)
    if method == "median":
        value = np.nan_to_num(_median(np.where(kept, data, np.nan)))
        error *= np.where(kept.sum(axis=0) > 2, MEDIAN_LOSS, 1.0)  # of two it is the mean
    flags = np.bitwise_or.reduce(np.where(kept, dq, np.uint32(0)), axis=0)
    return {"data": value, "err": error, "dq": np.where(some, flags, flags | DO_NOT_USE)}


def _alone(
    data: np.ndarray, err: np.ndarray, dq: np.ndarray, usable: np.ndarray
) -> dict[str, np.ndarray]:
    """Return what one image says."""
    return {
        "data": np.where(usable, data, 0.0),
        "err": np.where(usable, err, 0.0),
        "dq": np.where(usable, dq, DO_NOT_USE),
    }


def _median(values: np.ndarray) -> np.ndarray:
    """Return the median of each pixel's numbers; NaN where there is none."""
    count = np.isfinite(values).sum(axis=0)
    few = np.maximum(count, 1)
    ordered = np.sort(values, axis=0)  # NaN last
    low = np.take_along_axis(ordered, (few - 1)[None] // 2, axis=0)[0]
    high = np.take_along_axis(ordered, few[None] // 2, axis=0)[0]
    return 0.5 * (low + high)
