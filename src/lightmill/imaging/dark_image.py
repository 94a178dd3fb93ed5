"""Subtract the dark signal of frames that are one image each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lightmill.models import CalModel, DarkImageModel, Exposures, RateModel, Region
from lightmill.models.lineage import as_class, frame_of
from lightmill.pipeline import Step, param
from lightmill.pipeline.opening import fit

__all__ = ["SubtractDarkImage", "without_dark"]

TILE_PIXELS = 1 << 19  # of a plane that are worked on at a time
CHANGED = ("data", "err", "var_rnoise", "dq")


class SubtractDarkImage(Step):
    """Subtract the dark signal from frames: from each member of an association, science or not.

    The dark is one image in the unit of the frames: the exposure's ramps became a frame before
    it, with the same times.
    """

    name = "dark_image"
    reads, writes = (Exposures, RateModel), CalModel
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
            frame: Any = as_class(frames, CalModel)  # a band of rates is no image yet
            return without_dark(frame or frames, dark, errors=self.parameters.errors)
        members = tuple(
            replace(member, model=self._whole(member.model, dark)) for member in frames.members
        )
        return replace(frames, members=members)

    def _whole(self, frame: RateModel, dark: DarkImageModel) -> RateModel:
        """Return a frame without its dark, which is read a few rows at a time."""
        dy, dx = fit(frame, dark, "dark")
        ny, nx = frame_of(frame)
        made: dict[str, np.ndarray] = {}
        height = max(TILE_PIXELS // nx, 1)
        for y0 in range(0, ny, height):
            y1 = min(y0 + height, ny)
            done = without_dark(
                frame.cut(Region(y0, y1, 0, nx)),
                dark.cut(Region(y0 + dy, y1 + dy, dx, dx + nx)),
                errors=self.parameters.errors,
            )
            for name in CHANGED:
                if done.has(name):
                    plane = done.array(name)
                    if name not in made:
                        made[name] = np.empty((ny, nx), plane.dtype)
                    made[name][y0:y1] = plane
        result: RateModel = frame.evolve(**made)
        return result


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
    signal = np.array(dark.array("data"))
    _zero_where_nan(signal)
    np.subtract(np.asarray(frame.array("data")), signal, out=signal)
    changes: dict[str, Any] = {"data": signal}
    if errors and frame.has("err") and dark.has("err"):
        variance = np.array(dark.array("err"))
        _zero_where_nan(variance)
        variance *= variance
        if frame.has("var_rnoise"):  # as much a property of the detector as its read noise
            changes["var_rnoise"] = np.asarray(frame.array("var_rnoise")) + variance
        own = np.asarray(frame.array("err"))
        variance += own * own
        changes["err"] = np.sqrt(variance, out=variance)
    if dark.has("dq"):
        flags = np.asarray(dark.array("dq"))
        changes["dq"] = np.asarray(frame.array("dq")) | flags if frame.has("dq") else flags
    result: RateModel = frame.evolve(**changes)
    return result


def _zero_where_nan(plane: np.ndarray) -> None:
    np.copyto(plane, np.float32(0), where=np.isnan(plane))
