"""What must be true of an exposure before anything is computed from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lightmill.errors import DataError
from lightmill.models import Model, RampModel, Region, UncalModel

__all__ = ["check_exposure"]

ROWS = 64  # looked at together


def check_exposure(model: Model) -> None:
    """Refuse a ramp that holds nothing.

    Parameters
    ----------
    model : Model
        Other kinds of data are not looked at.

    Raises
    ------
    DataError
        If there is no integration, group, row or column, or no number in all of them.
    """
    if not isinstance(model, UncalModel | RampModel) or not model.has("data"):
        return
    data = model.array("data")
    place = f"{model.path or model.meta.get('filename') or model.model_type}[SCI]"
    if 0 in data.shape:
        raise DataError(
            "the ramp is empty",
            place=place,
            found=" x ".join(str(n) for n in data.shape),
            expected="at least one integration, group, row and column",
            remedy="fetch the file again; its exposure may have failed",
        )
    if data.dtype.kind == "f" and not any(np.isfinite(part).any() for part in _parts(data)):
        raise DataError(
            "the ramp holds no number",
            place=place,
            found="NaN in every pixel of every group",
            expected="counts",
            remedy="fetch the file again; its exposure may have failed",
        )


def _parts(data: Any) -> Any:
    """Yield an array by a few rows of all its planes."""
    ny, nx = data.shape[-2:]
    for y0 in range(0, ny, ROWS):
        y1 = min(y0 + ROWS, ny)
        if isinstance(data, np.ndarray):
            yield data[..., y0:y1, :]
        else:
            yield data.read(Region(y0, y1, 0, nx))
