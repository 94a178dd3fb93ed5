"""Subtract what exposures of empty sky saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import ConfigurationError, DataError
from lightmill.models import Exposures, RateModel, Region
from lightmill.models.dq import PIXEL
from lightmill.models.lineage import descend, frame_of
from lightmill.pipeline import Beside, SideProduct, Skipped, Step, param

__all__ = ["SubtractBackground", "clipped_mean"]

DO_NOT_USE = np.uint32(PIXEL["DO_NOT_USE"])
TILE_BYTES = 64 << 20  # of the values of all backgrounds that are in memory at a time
VARIANCES = ("var_poisson", "var_rnoise")
SAME = (  # what a background must have in common with the science exposure
    "instrument.name", "instrument.detector", "instrument.filter", "instrument.pupil",
    "instrument.grating", "instrument.channel",
)  # fmt: skip


class SubtractBackground(Step):
    """Subtract the clipped mean of background exposures from an exposure."""

    name = "bkg_subtract"
    reads, writes = (Exposures, RateModel), RateModel
    extensions = frozenset({"flagged", "errors"})

    @dataclass(frozen=True)
    class Parameters:
        bkg_list: list[str] | None = param(
            None, "files of the backgrounds, where no association names them"
        )
        save_combined_background: bool = param(False, "save the mean of the backgrounds")
        sigma: float = param(
            3.0, "values this far from the median are left out", gt=0, unit="sigma"
        )
        maxiters: int | None = param(
            None, "how often values are left out; until none is, without a number", ge=1
        )
        flagged: bool = param(
            False, "use values of backgrounds that are flagged DO_NOT_USE, and pass the flag on"
        )
        errors: bool = param(True, "add the variances of the mean to those of the exposure")
        soss_source_percentile: float = param(35.0, "for slitless spectra: not available")
        soss_bkg_percentile: list[float] | None = param(None, "for slitless spectra: not available")
        wfss_mmag_extract: float | None = param(None, "for grisms: not available")
        wfss_mask: str | None = param(None, "for grisms: not available")
        wfss_maxiter: int = param(5, "for grisms: not available")
        wfss_rms_stop: float = param(0.0, "for grisms: not available")
        wfss_outlier_percent: float = param(1.0, "for grisms: not available")

    def side_products(self) -> tuple[SideProduct, ...]:
        """Return the mean of the backgrounds, if it is asked for."""
        wanted = self.parameters.save_combined_background
        return (SideProduct("combinedbackground"),) if wanted else ()

    def apply(self, exposures: Any) -> Any:
        """Combine the backgrounds in tiles; subtract the same from each science exposure."""
        self._refuse()
        together = isinstance(exposures, Exposures)
        science = exposures.science if together else (exposures,)
        backgrounds = self._backgrounds(exposures if together else None)
        if not backgrounds:
            return Skipped(exposures, "there are no background exposures")
        done, mean = [], None
        for model in science:
            if mean is None or _frame(mean) != _frame(model):
                mean = self._combined(model, backgrounds)
            done.append(self._subtracted(model, mean))
        result = exposures.evolve(done) if together else done[0]
        return Beside(result, {"combinedbackground": mean}) if self.side_products() else result

    def _backgrounds(self, exposures: Exposures | None) -> list[tuple[RateModel, str]]:
        """Return the background exposures and their names; their arrays stay in the files."""
        if exposures is not None:
            members = [m for m in exposures.members if m.role == "background"]
            if members:
                return [(member.model, member.name) for member in members]
        from lightmill import models

        return [(models.open(one), Path(one).name) for one in self.parameters.bkg_list or () if one]

    def _combined(
        self, model: RateModel, backgrounds: Sequence[tuple[RateModel, str]]
    ) -> RateModel:
        """Return the mean of the backgrounds on the frame of an exposure."""
        origins = [_origin_in(model, background, name) for background, name in backgrounds]
        ny, nx = frame_of(model)
        made = {"data": np.empty((ny, nx), np.float32), "dq": np.empty((ny, nx), np.uint32)}
        for name in VARIANCES:
            if all(background.has(name) for background, _ in backgrounds):
                made[name] = np.empty((ny, nx), np.float32)
        made["err"] = np.empty((ny, nx), np.float32)
        planes = sum(_planes(background) for background, _ in backgrounds)
        height = max(TILE_BYTES // (8 * nx * planes), 1)
        for y0 in range(0, ny, height):
            y1 = min(y0 + height, ny)
            parts = [
                background.cut(Region(y0 + dy, y1 + dy, dx, dx + nx))
                for (background, _), (dy, dx) in zip(backgrounds, origins, strict=True)
            ]
            for name, rows in self._tile(parts, [n for n in VARIANCES if n in made]).items():
                made[name][y0:y1] = rows
        mean = RateModel(meta=model.meta, **made)
        descend(mean, model)
        return mean

    def _tile(self, parts: Sequence[RateModel], variances: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the rows of the mean, its error, variances and flags."""
        parameters = self.parameters
        single = [self._one(part, variances) for part in parts]
        mean, kept = clipped_mean(
            np.stack([one["data"] for one in single]), parameters.sigma, parameters.maxiters
        )
        count = kept.sum(axis=0)
        made: dict[str, np.ndarray] = {"data": np.nan_to_num(mean, nan=0.0)}
        for name in ("err", *variances):
            values = np.stack([one[name] for one in single])
            total = np.where(kept, values, 0.0).sum(axis=0)
            made[name] = np.divide(total, count**2, out=np.zeros(total.shape), where=count > 0)
        made["err"] = np.sqrt(made["err"])
        flags = np.stack([one["dq"] for one in single])
        if not parameters.flagged:  # pixels that were left out say nothing
            flags = np.where((flags & DO_NOT_USE) != 0, np.uint32(0), flags)
        dq = np.bitwise_or.reduce(flags, axis=0)
        dq[count == 0] |= DO_NOT_USE
        return {**made, "dq": dq}

    def _one(self, part: RateModel, variances: Sequence[str]) -> dict[str, np.ndarray]:
        """Return values, squared errors, variances and flags of one background, float64."""
        data = np.array(part.array("data"), np.float64)
        dq = np.array(part.array("dq")) if part.has("dq") else np.zeros(data.shape, np.uint32)
        found = {"err": np.array(part.array("err"), np.float64) ** 2} if part.has("err") else {}
        found |= {name: np.array(part.array(name), np.float64) for name in variances}
        found.setdefault("err", np.zeros(data.shape))
        if not self.parameters.flagged:
            data[(dq & DO_NOT_USE) != 0] = np.nan
        if data.ndim == 2:
            return {"data": data, "dq": dq, **found}
        # Integrations of one exposure first, so that each exposure counts as one.
        mean, kept = clipped_mean(data, self.parameters.sigma, self.parameters.maxiters)
        count = np.maximum(kept.sum(axis=0), 1)
        one = {
            name: np.where(kept, values, 0.0).sum(axis=0) / count**2
            for name, values in found.items()
        }
        if not self.parameters.flagged:
            dq = np.where((dq & DO_NOT_USE) != 0, np.uint32(0), dq)
        return {"data": mean, "dq": np.bitwise_or.reduce(dq, axis=0), **one}

    def _subtracted(self, model: RateModel, mean: RateModel) -> RateModel:
        changes: dict[str, np.ndarray] = {"data": np.asarray(model.array("data")) - mean.data}
        dq = np.asarray(model.array("dq")) if model.has("dq") else np.uint32(0)
        changes["dq"] = np.broadcast_to(dq | mean.dq, changes["data"].shape)
        if self.parameters.errors:
            for name in VARIANCES:
                if model.has(name) and mean.has(name):
                    changes[name] = np.asarray(model.array(name)) + getattr(mean, name)
            if model.has("err"):
                changes["err"] = np.hypot(np.asarray(model.array("err")), mean.err)
        result: RateModel = model.evolve(**changes)
        return result

    def _refuse(self) -> None:
        """Say which of the parameters ask for what is not available."""
        defaults = type(self).Parameters()
        for name in vars(defaults):
            found = getattr(self.parameters, name)
            if name.startswith(("soss_", "wfss_")) and found != getattr(defaults, name):
                raise ConfigurationError(
                    "this is not available yet: backgrounds of spectra",
                    place=f"{self.name}.{name}",
                    found=found,
                    expected="the default",
                )


def clipped_mean(
    values: np.ndarray, sigma: float, iterations: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each pixel over several images, without outliers.

    A value further than `sigma` standard deviations from the median of the values still there is
    left out, again and again until none is.

    Parameters
    ----------
    values : (n, ny, nx) ndarray of float64
        Images; NaN is no value.
    sigma : float
        Limit [standard deviations].
    iterations : int, optional
        How often at most.

    Returns
    -------
    mean : (ny, nx) ndarray of float64
        NaN where there is no value.
    kept : (n, ny, nx) ndarray of bool
        Which values are in it.
    """
    kept = np.isfinite(values)
    done = 0
    while len(values) > 2 and (iterations is None or done < iterations):
        count = kept.sum(axis=0)
        few = np.maximum(count, 1)
        mean = np.where(kept, values, 0.0).sum(axis=0) / few
        spread = np.sqrt((np.where(kept, values - mean, 0.0) ** 2).sum(axis=0) / few)
        ordered = np.sort(np.where(kept, values, np.inf), axis=0)
        low = np.take_along_axis(ordered, (few - 1)[None] // 2, axis=0)[0]
        high = np.take_along_axis(ordered, few[None] // 2, axis=0)[0]
        median = np.where(count > 0, 0.5 * (low + high), 0.0)
        with np.errstate(invalid="ignore"):
            outside = kept & (abs(values - median) > sigma * spread)
        if not outside.any():
            break
        kept &= ~outside
        done += 1
    count = kept.sum(axis=0)
    total = np.where(kept, values, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0), kept


def _frame(model: RateModel) -> tuple[Any, ...]:
    subarray = model.meta.subarray
    return (frame_of(model), subarray.xstart or 1, subarray.ystart or 1)


def _planes(model: RateModel) -> int:
    return int(np.prod(model.array("data").shape[:-2], dtype=int))


def _origin_in(model: RateModel, background: RateModel, name: str) -> tuple[int, int]:
    """Return row and column of a background where the exposure begins.

    Raises
    ------
    DataError
        If the background is of another detector or filter, or does not cover the exposure.
    """
    for path in SAME:
        ours, theirs = model.meta.get(path), background.meta.get(path)
        if ours is not None and theirs is not None and ours != theirs:
            raise DataError(
                "a background was taken with another instrument, detector or filter",
                place=background.path or name,
                found=f"{path.rpartition('.')[2]} {theirs}",
                expected=str(ours),
                remedy="remove it from the association, or skip the step: --skip bkg_subtract",
            )
    (ny, nx), x0, y0 = _frame(model)
    (rows, columns), bx, by = _frame(background)
    dy, dx = y0 - by, x0 - bx
    if dy < 0 or dx < 0 or dy + ny > rows or dx + nx > columns:
        raise DataError(
            "a background does not cover the exposure",
            place=background.path or name,
            found=f"{columns} x {rows} pixels from column {bx}, row {by}",
            expected=f"{nx} x {ny} pixels from column {x0}, row {y0}",
            remedy="use backgrounds with the subarray of the exposure, or of the whole detector",
        )
    return dy, dx
