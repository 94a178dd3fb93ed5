"""Make the counts of a detector proportional to its charge, by the observatory's own file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lightmill.kernels.linearity import correct_linearity
from lightmill.models import RampModel, ReferenceModel
from lightmill.pipeline import Step, param

__all__ = ["CorrectNonlinearity", "powers"]


class CorrectNonlinearity(Step):
    """Correct each read for the non-linearity of its pixel; saturated reads stay as they are.

    The file holds five planes c0 … c4. The library of the readout multiplies counts x by
    1 + c0 + c1 x + c2 x² + c3 x³ + c4 x⁴; bias is not subtracted before.
    """

    name = "nonlincorr"
    reads, writes = RampModel, RampModel
    references = {"nonlincoeff": ReferenceModel}
    rows = True

    @dataclass(frozen=True)
    class Parameters:
        coefficients: Literal["factor", "powers"] = param(
            "factor",
            "what they are: of the factor counts are multiplied by, as the files of 2021 have"
            " them, or of the powers of the counts",
        )

    def apply(self, ramp: RampModel, *, nonlincoeff: ReferenceModel) -> RampModel:
        """Evaluate the polynomial in every read below saturation."""
        planes = nonlincoeff.data
        while len(planes) > 2 and not planes[-1].any():
            planes = planes[:-1]  # a power that nobody measured
        coefficients = powers(planes) if self.parameters.coefficients == "factor" else planes
        dq = nonlincoeff.dq if nonlincoeff.has("dq") else np.zeros(planes.shape[-2:], np.uint32)
        correct_linearity(
            ramp.data, ramp.groupdq, coefficients, reference_dq=dq, pixeldq=ramp.pixeldq
        )
        return ramp


def powers(planes: np.ndarray) -> np.ndarray:
    """Return coefficients of powers of the counts, from those of the factor.

    Parameters
    ----------
    planes : (n, ny, nx) ndarray of float32
        c of the factor 1 + c0 + c1 x + … .

    Returns
    -------
    coefficients : (n + 1, ny, nx) ndarray of float32
        0, 1 + c0, c1, … of the powers 0, 1, 2, … .
    """
    made = np.empty((len(planes) + 1, *planes.shape[1:]), np.float32)
    made[0] = 0.0
    made[1] = 1.0 + planes[0]
    made[2:] = planes[1:]
    return made
