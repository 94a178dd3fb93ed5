"""Subtract the dark signal of frames that are one image each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lightmill.models import CalModel, DarkImageModel, Exposures, RateModel, Region
from lightmill.models.lineage import frame_of
from lightmill.pipeline import Step, param
from lightmill.pipeline.opening import fit

__all__ = ["SubtractDarkImage", "without_dark"]


class SubtractDarkImage(Step):
    """Subtract the dark signal from frames: from each member of an association, science or not.

    The dark is one image in the unit of the frames: the exposure's ramps became a frame before
    it, with the same times.
    """

    name = "dark_image"
    reads, writes = (Exposures, CalModel), CalModel
    references = {"dark": DarkImageModel}
    rows = True

    @dataclass(frozen=True)
    class Parameters:
        errors: bool = param(True, "add the error of the dark to that of the frame")

    def applies_by_rows(self, model: Any) -> bool:
        """One frame goes through in bands; several are worked on one after the other."""
        return not isinstance(model, Exposures)

    def apply(self, frames: Any, *, dark: DarkImageModel) -> Any:
        """Subtract the part of the dark that each frame covers."""
        if not isinstance(frames, Exposures):
            return without_dark(frames, dark, errors=self.parameters.errors)
        members = tuple(
            replace(member, model=self._whole(member.model, dark)) for member in frames.members
        )
        return replace(frames, members=members)

    def _whole(self, frame: RateModel, dark: DarkImageModel) -> RateModel:
        dy, dx = fit(frame, dark, "dark")
        ny, nx = frame_of(frame)
        part = dark.cut(Region(dy, dy + ny, dx, dx + nx))
        return without_dark(frame, part, errors=self.parameters.errors)


def without_dark(frame: RateModel, dark: DarkImageModel, *, errors: bool = True) -> RateModel:
    """Return a frame without its dark signal.

    Parameters
    ----------
    frame : RateModel
        Values and errors (y, x); not changed.
    dark : DarkImageModel
        The dark of the same pixels, in the same unit. A value that is NaN was not measured and
        counts as 0.
    errors : bool
        Add the squares of the errors.

    Returns
    -------
    frame : RateModel
        With the flags of the dark.
    """
    changes: dict[str, Any] = {
        "data": np.asarray(frame.array("data")) - np.nan_to_num(np.asarray(dark.array("data")))
    }
    if errors and frame.has("err") and dark.has("err"):
        changes["err"] = np.hypot(
            np.asarray(frame.array("err")), np.nan_to_num(np.asarray(dark.array("err")))
        )
        if frame.has("var_rnoise"):  # as much a property of the detector as its read noise
            variance = np.nan_to_num(np.asarray(dark.array("err"))) ** 2
            changes["var_rnoise"] = np.asarray(frame.array("var_rnoise")) + variance
    if dark.has("dq"):
        flags = np.asarray(dark.array("dq"))
        changes["dq"] = np.asarray(frame.array("dq")) | flags if frame.has("dq") else flags
    result: RateModel = frame.evolve(**changes)
    return result
