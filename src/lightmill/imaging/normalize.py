"""Scale an image so that its typical value is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lightmill.errors import DataError
from lightmill.imaging.planes import planes_of
from lightmill.models import RateModel
from lightmill.pipeline import Step, param

__all__ = ["NormalizeImage", "typical_value"]


class NormalizeImage(Step):
    """Divide an image by a typical value of the pixels nothing is known against."""

    name = "normalize"
    reads, writes = RateModel, RateModel

    @dataclass(frozen=True)
    class Parameters:
        method: Literal["median", "mean", "mode"] = param(
            "median", "which value is typical; mode is the most frequent one"
        )

    def apply(self, image: RateModel) -> RateModel:
        """Divide values and errors, and variances by its square."""
        planes = planes_of(image)
        dq = image.dq if image.has("dq") else np.zeros(planes["data"].shape, np.uint32)
        value = typical_value(planes["data"], dq, self.parameters.method)
        if not (np.isfinite(value) and value != 0):
            raise DataError(
                f"the {self.parameters.method} of the image is no number to divide by",
                place=image.path or image.meta.filename,
                found=value,
                remedy="look at the exposure: it may have got no light",
            )
        changes: dict[str, Any] = {
            name: plane / np.float32(value**2 if name.startswith("var_") else value)
            for name, plane in planes.items()
        }
        result: RateModel = image.evolve(**changes)
        return result


def typical_value(data: np.ndarray, dq: np.ndarray, method: str = "median") -> float:
    """Return a typical value of the pixels of an image that have no flag.

    Parameters
    ----------
    data : (ny, nx) ndarray of float32
        Values; NaN is none.
    dq : (ny, nx) ndarray of uint32
        Flags.
    method : {"median", "mean", "mode"}
        The mode is the smallest of the most frequent values.

    Returns
    -------
    value : float
        1 if every pixel has a flag.
    """
    good = data[(dq == 0) & np.isfinite(data)]
    if good.size == 0:
        return 1.0
    if method == "mode":
        values, counts = np.unique(good, return_counts=True)
        return float(values[np.argmax(counts)])
    return float(np.median(good) if method == "median" else good.mean(dtype=np.float64))
