"""Fit the count rate of every pixel, and say how well it is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lightmill.detector.corrections import read_times
from lightmill.detector.groups import (
    flag_gain,
    flags_whole_groups,
    group_time_of,
    unusable_groups,
)
from lightmill.errors import DataError
from lightmill.kernels import ramp_fit
from lightmill.models import (
    ChisqModel,
    FitOptModel,
    GainModel,
    Model,
    RampModel,
    RateIntsModel,
    RateModel,
    ReadnoiseModel,
)
from lightmill.models.dq import PIXEL
from lightmill.models.lineage import descend
from lightmill.pipeline import Beside, Products, SideProduct, Skipped, Step, param

__all__ = ["FitRamps", "ScaleGain"]

MINIMUM_LIKELIHOOD = 4  # groups the likelihood fit needs; with fewer the weighted fit is used


class FitRamps(Step):
    """Fit a straight line to the groups of each pixel: count rate, error and its parts."""

    name = "ramp_fit"
    reads, writes = RampModel, (RateModel, RateIntsModel)
    references = {"gain": GainModel, "readnoise": ReadnoiseModel}
    rows = True
    extensions = frozenset({"dark_current_unit", "group_time", "jump_masks", "variances"})

    @dataclass(frozen=True)
    class Parameters:
        algorithm: Literal["OLS_C", "LIKELY"] = param(
            "OLS_C", "optimally weighted least squares, or the likelihood fit of Brandt 2024"
        )
        int_name: str = param("", "accepted for old parameter files")
        save_opt: bool = param(
            False, "save the fit of each segment (or the chi² of the likelihood fit) as well"
        )
        opt_name: str = param("", "name for that product, instead of the exposure's")
        suppress_one_group: bool = param(True, "leave out pixels with one good group only")
        firstgroup: int | None = param(None, "ignore the groups before this one", ge=0)
        lastgroup: int | None = param(None, "ignore the groups after this one", ge=0)
        maximum_cores: str = param("1", "accepted for old parameter files; see --threads")
        group_time: float | None = param(
            None, "time between groups where the header does not say", gt=0, unit="s"
        )
        dark_current_unit: Literal["electron", "DN"] = param(
            "electron", "unit of the average dark current in the Poisson noise; DN as in jwst 3.0"
        )
        jump_masks: Literal["auto", "both"] = param(
            "auto", "differences a jump spoils in the likelihood fit; both as in jwst 3.0"
        )
        variances: Literal["estimate", "bound"] = param(
            "estimate", "of the slope that was fitted, or the lower bound jwst 3.0 reports"
        )

    def side_products(self) -> tuple[SideProduct, ...]:
        """Return the fit of the segments, or the chi² of the likelihood fit ."""
        parameters = self.parameters
        if not parameters.save_opt:
            return ()
        name = parameters.opt_name or None
        if parameters.algorithm == "OLS_C":
            return (SideProduct("fitopt", name),)
        # with too few groups the weighted fit is made all the same
        return SideProduct("likely_chisq", name), SideProduct("fitopt", name, usual=False)

    def survey(self, rows: Any, **references: Any) -> tuple[int, int]:  # noqa: ARG002
        """Find the groups that some pixel can use: first, and last plus one."""
        model = rows.source
        ngroups = model.array("data").shape[1]
        first, last = 0, ngroups
        if flags_whole_groups(rows):
            unusable = unusable_groups(rows)
            while first < ngroups and unusable[first]:
                first += 1
            if last > first and unusable[last - 1]:
                last -= 1
            if last - first < 2 <= ngroups:
                raise DataError(
                    "fewer than two groups can be used in any pixel",
                    place=f"{model.path}[GROUPDQ]",
                    found=f"{last - first} of {ngroups} groups",
                    expected="at least 2",
                    remedy="skip a step that leaves groups out (rscd, firstframe, lastframe)",
                )
        return first, last

    def apply(
        self,
        ramp: RampModel,
        *,
        gain: GainModel,
        readnoise: ReadnoiseModel,
        survey: tuple[int, int],
    ) -> Products | Beside:
        """Fit every integration and their combination."""
        parameters, exposure = self.parameters, ramp.meta.exposure
        first, last = survey
        if first:
            ramp.groupdq[:, first] &= np.uint8(~PIXEL["JUMP_DET"] & 0xFF)
        flag_gain(ramp.pixeldq, gain.data)
        self._limit(ramp.groupdq)
        arrays = (
            ramp.data,
            ramp.groupdq,
            ramp.pixeldq,
            gain.data,
            readnoise.data,
            ramp.average_dark_current,
        )
        common: dict[str, Any] = {
            "group_time": group_time_of(ramp, parameters.group_time, self.name),
            "frame_time": exposure.frame_time,
            "nframes": exposure.nframes or 1,
            "dark_in": "dn" if parameters.dark_current_unit == "DN" else "e",
            "first_group": first,
            "last_group": last - 1,
        }
        if parameters.algorithm == "LIKELY" and last - first >= MINIMUM_LIKELIHOOD:
            fit = ramp_fit.fit_ramps_likelihood(
                *arrays,
                read_times=self._read_times(ramp, common["group_time"]),
                jump_masks=parameters.jump_masks,
                **common,
            )
        else:
            fit = ramp_fit.fit_ramps(
                *arrays,
                zeroframe=ramp.zeroframe,
                drop_frames=exposure.drop_frames1 or 0,
                segments=parameters.save_opt,
                variances=parameters.variances,
                # one group is all there is of a ramp of one: nothing better was lost
                suppress_one_group=parameters.suppress_one_group and last - first > 1,
                **common,
            )
        products = self._products(ramp, fit)
        return Beside(products, _beside(ramp, fit)) if parameters.save_opt else products

    def _read_times(self, ramp: RampModel, group_time: float) -> list[list[float]]:
        """Return the times of the reads averaged in each group [s]."""
        reads = read_times(ramp)
        per_group = reads[1][0] - reads[0][0]
        return [[read * group_time / per_group for read in group] for group in reads]

    def _limit(self, groupdq: np.ndarray) -> None:
        """Flag the groups the user does not want."""
        if self.parameters.firstgroup is not None:
            groupdq[:, : self.parameters.firstgroup] |= np.uint8(PIXEL["DO_NOT_USE"])
        if self.parameters.lastgroup is not None:
            groupdq[:, self.parameters.lastgroup + 1 :] |= np.uint8(PIXEL["DO_NOT_USE"])

    def _products(self, ramp: RampModel, fit: Any) -> Products:
        rate = RateModel(
            meta=ramp.meta,
            data=fit.slope,
            err=fit.err,
            dq=fit.dq,
            var_poisson=fit.var_poisson,
            var_rnoise=fit.var_rnoise,
        )
        rateints = RateIntsModel(
            meta=ramp.meta,
            data=fit.int_slope,
            err=fit.int_err,
            dq=fit.int_dq,
            var_poisson=fit.int_var_poisson,
            var_rnoise=fit.int_var_rnoise,
        )
        return Products(rate=descend(rate, ramp), rateints=descend(rateints, ramp, "int_times"))


def _beside(ramp: RampModel, fit: Any) -> dict[str, Model]:
    """Return the optional product of a fit: of its segments, or its chi²."""
    if fit.segments is None:
        return {"likely_chisq": descend(ChisqModel(meta=ramp.meta, data=fit.chisq), ramp)}
    arrays = fit.segments._asdict()
    there = np.flatnonzero(arrays["weights"].any(axis=(0, 2, 3)))  # the fit drops the shortest
    count = int(there[-1]) + 1 if there.size else 1
    for name, array in arrays.items():
        if name not in {"crmag", "pedestal"}:
            arrays[name] = array[:, :count]
    return {"fitopt": descend(FitOptModel(meta=ramp.meta, **arrays), ramp)}


class ScaleGain(Step):
    """Undo a gain that was set differently from the one the references are made for."""

    name = "gain_scale"
    reads, writes = (RateModel, RateIntsModel), (RateModel, RateIntsModel)
    references = {"gain": GainModel}
    optional = frozenset({"gain"})
    rows = True

    def apply(self, rate: Any, *, gain: GainModel | None) -> Any:
        """Multiply rates by the factor, variances by its square."""
        factor = rate.meta.get("exposure.gain_factor")
        if factor is None and gain is not None:
            factor = gain.meta.get("exposure.gain_factor")
        if factor is None:
            return Skipped(rate, "neither the data nor the gain reference name a factor")
        rate.data *= np.float32(factor)
        rate.err *= np.float32(factor)
        rate.var_poisson *= np.float32(factor * factor)
        rate.var_rnoise *= np.float32(factor * factor)
        return rate
