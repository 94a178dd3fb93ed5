"""Where a frame lies on its detector: reference pixels, read-out axes, outputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lightmill.errors import DataError
from lightmill.instrument import Detector, instrument_of
from lightmill.models import Region
from lightmill.models.lineage import frame_of

if TYPE_CHECKING:
    from lightmill.models import Model

__all__ = ["Borders", "detector_of", "reference_borders"]


@dataclass(frozen=True)
class Borders:
    """The light-sensitive part of a frame, in pixels of the frame."""

    science: Region
    bottom: int  # rows of reference pixels below it
    top: int
    left: int  # columns of reference pixels left of it
    right: int


def detector_of(model: Model) -> Detector | None:
    """Return what is known of this model's detector: as its header says, else its observatory."""
    instrument = instrument_of(model.meta)
    if instrument is None:
        return None
    detector = instrument.detector(model.meta.instrument.detector)
    columns, rows = (model.meta.get(f"subarray.det{axis}size") for axis in "xy")
    if detector is None or not (columns and rows):
        return detector
    outputs = model.meta.get("exposure.noutputs") or detector.outputs
    return replace(detector, columns=columns, rows=rows, outputs=outputs)


def reference_borders(model: Model) -> Borders:
    """Return which rows and columns of a frame are reference pixels."""
    ny, nx = frame_of(model)
    facts = detector_of(model)
    if facts is None:
        return Borders(Region(0, ny, 0, nx), 0, 0, 0, 0)
    rows, columns = facts.rows, facts.columns
    y0 = (model.meta.subarray.ystart or 1) - 1
    x0 = (model.meta.subarray.xstart or 1) - 1
    if y0 + ny > rows or x0 + nx > columns or y0 < 0 or x0 < 0:
        raise DataError(
            "the frame does not lie on its detector",
            place=f"{model.path}[PRIMARY/SUBSTRT1, SUBSTRT2]",
            found=f"{nx} x {ny} pixels from column {x0 + 1}, row {y0 + 1}",
            expected=f"inside {columns} x {rows} pixels",
            remedy="correct the subarray keywords",
        )
    bottom = max(0, facts.reference_bottom - y0)
    left = max(0, facts.reference_left - x0)
    top = max(0, y0 + ny - (rows - facts.reference_top))
    right = max(0, x0 + nx - (columns - facts.reference_right))
    return Borders(Region(bottom, ny - top, left, nx - right), bottom, top, left, right)
