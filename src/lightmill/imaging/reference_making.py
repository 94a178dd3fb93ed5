"""Make reference files of exposures: darks and flats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.imaging.planes import planes_of
from lightmill.models import DarkImageModel, FlatModel, RateModel
from lightmill.models.dq import PIXEL
from lightmill.pipeline import Step, param

__all__ = ["MakeDark", "MakeFlat"]

DO_NOT_USE = np.uint32(PIXEL["DO_NOT_USE"])
NO_FLAT = np.uint32(PIXEL["NO_FLAT_FIELD"])
UNRELIABLE_DARK = np.uint32(PIXEL["UNRELIABLE_DARK"])
BEGINNING = "1900-01-01T00:00:00"  # of exposures without a date


class MakeDark(Step):
    """Turn a frame taken without light into a dark reference for exposures from its date on."""

    name = "make_dark"
    reads, writes = RateModel, DarkImageModel

    @dataclass(frozen=True)
    class Parameters:
        author: str = param("", "who made it, for the file's header")
        pedigree: str = param("GROUND", "what it was made from, for the file's header")

    def apply(self, frame: RateModel) -> DarkImageModel:
        """Take values, errors and flags; a pixel that cannot be used is UNRELIABLE_DARK."""
        planes, dq = planes_of(frame), _flags(frame)
        bad = ((dq & DO_NOT_USE) != 0) | ~np.isfinite(planes["data"])
        return DarkImageModel(
            meta=_meta(frame, "DARK", "Dark signal", self.parameters),
            data=np.where(bad, np.float32(np.nan), planes["data"]),
            err=np.where(bad, np.float32(0), _errors(planes)),
            dq=np.where(bad, UNRELIABLE_DARK | DO_NOT_USE, dq & ~DO_NOT_USE).astype(np.uint32),
        )


class MakeFlat(Step):
    """Turn an image of even light, scaled to one, into a flat for exposures from its date on."""

    name = "make_flat"
    reads, writes = RateModel, FlatModel

    @dataclass(frozen=True)
    class Parameters:
        author: str = param("", "who made it, for the file's header")
        pedigree: str = param("GROUND", "what it was made from, for the file's header")
        lowest: float = param(
            0.0, "pixels that respond less than this have no flat field", ge=0, lt=1
        )

    def apply(self, image: RateModel) -> FlatModel:
        """Take values, errors and flags; a pixel that cannot be divided by is NO_FLAT_FIELD."""
        planes, dq = planes_of(image), _flags(image)
        with np.errstate(invalid="ignore"):
            good = (planes["data"] > self.parameters.lowest) & ((dq & DO_NOT_USE) == 0)
        return FlatModel(
            meta=_meta(image, "FLAT", "Response to even light", self.parameters),
            data=planes["data"],
            err=_errors(planes),
            dq=np.where(good, dq, dq | NO_FLAT | DO_NOT_USE).astype(np.uint32),
        )


def _flags(frame: RateModel) -> np.ndarray:
    return frame.dq if frame.has("dq") else np.zeros(frame.data.shape, np.uint32)


def _errors(planes: dict[str, np.ndarray]) -> np.ndarray:
    return planes["err"] if "err" in planes else np.zeros_like(planes["data"])


def _meta(frame: RateModel, reftype: str, description: str, parameters: Any) -> dict[str, Any]:
    """Return what the header of a reference says, from that of the exposures it is made of."""
    date, time = frame.meta.get("observation.date"), frame.meta.get("observation.time")
    said = {
        path: value
        for path, value in frame.meta.flat().items()
        if path.startswith(("telescope", "instrument.", "subarray.", "date")) and value is not None
    }
    ny, nx = frame.data.shape
    return {
        **said,
        "reftype": reftype,
        "description": f"{description}, {frame.meta.get('filename') or 'made of exposures'}",
        "author": parameters.author or "unknown",
        "pedigree": parameters.pedigree,
        "useafter": f"{date}T{time or '00:00:00'}" if date else BEGINNING,
        "subarray.xstart": frame.meta.subarray.xstart or 1,
        "subarray.ystart": frame.meta.subarray.ystart or 1,
        "subarray.xsize": nx,
        "subarray.ysize": ny,
    }
