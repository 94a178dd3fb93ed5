"""The frame of an exposure that was sampled while its reads came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.errors import UsageError
from lightmill.kernels.readout import Frame
from lightmill.models import MaskModel, RampModel, RateModel, ReferenceModel, SaturationModel
from lightmill.models.lineage import descend
from lightmill.pipeline import Step, param

__all__ = ["SampleLive"]


class SampleLive(Step):
    """Take the frame that the readout made of an exposure while its reads came.

    Sampled by unweighted least squares up the ramp, or as the difference of the first and the
    last reads, as the header says; cosmic rays are not looked for.
    """

    name = "live_readout"
    reads, writes = RampModel, RateModel
    references = {"mask": MaskModel, "saturation": SaturationModel, "nonlincoeff": ReferenceModel}
    optional = frozenset(references)

    @dataclass(frozen=True)
    class Parameters:
        sampling: str = param("utr", "how reads became a frame")
        reads: int = param(1, "reads in the frame", ge=0)
        lost: int = param(0, "reads of the exposure that are not in the frame", ge=0)
        nfowler: int = param(1, "reads averaged at either end", ge=1)

    def given(self, frame: Frame, notes: Sequence[str]) -> SampleLive:
        """Take the frame, and notes for its history."""
        self.__dict__["frame"], self.__dict__["notes"] = frame, tuple(notes)
        return self

    def apply(self, ramp: RampModel, **references: Any) -> RateModel:
        """Make a model of the frame."""
        del references  # the readout had them before the first read
        frame = self.__dict__.get("frame")
        if frame is None:
            raise UsageError(
                "this frame is made while its reads come",
                place=self.name,
                remedy="lightmill iris live SOURCE; of a raw exposure: lightmill run iris_rop",
            )
        err = np.sqrt(frame.var_poisson + frame.var_rnoise)
        err[np.isnan(frame.signal)] = np.nan
        made = RateModel(
            meta=ramp.meta, data=frame.signal, err=err, dq=frame.dq,
            var_poisson=frame.var_poisson, var_rnoise=frame.var_rnoise,
        )  # fmt: skip
        descend(made, ramp)
        made.history.extend(self.__dict__["notes"])
        return made
