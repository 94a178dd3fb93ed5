"""The kind of frame only IRIS has: one that says which pixels are read as subarrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from lightmill.models import CalModel, define

if TYPE_CHECKING:
    import numpy as np

__all__ = ["IrisImageModel"]


@define
class IrisImageModel(CalModel):
    """A frame with a map of its subarrays: ``subarr_map`` uint16 (y, x), 0 where there is none."""

    schema: ClassVar[str] = "iris-image-1.0.0"
    model_type: ClassVar[str] = "IrisImageModel"

    if TYPE_CHECKING:
        subarr_map: np.ndarray
