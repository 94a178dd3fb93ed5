"""A pipeline whose order is Python, for `benchmarks.resume`: the ramp branches, and is fitted twice."""

from __future__ import annotations

from typing import Any

from lightmill.detector import (
    CorrectLinearity,
    DetectJumps,
    FitRamps,
    FlagSaturation,
    InitializeDq,
    SubtractDark,
)
from lightmill.pipeline import Pipeline, Products


class TwoFits(Pipeline):
    """Fit with and without the search for jumps."""

    name = "two_fits"
    steps = {
        "dq_init": InitializeDq,
        "saturation": FlagSaturation,
        "linearity": CorrectLinearity,
        "dark_current": SubtractDark,
        "jump": DetectJumps,
        "ramp_fit": FitRamps,
        "plain_fit": FitRamps,
    }

    def process(self, ramp: Any) -> Products:
        ramp = self.saturation(self.dq_init(ramp))
        ramp = self.dark_current(self.linearity(ramp))
        fits = self.ramp_fit(self.jump(ramp))
        return Products(rate=fits["rate"], plain=self.plain_fit(ramp)["rate"])
