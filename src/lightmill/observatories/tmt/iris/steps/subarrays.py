"""Subarrays: parts of a detector that are read by themselves, faster than the frame around them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lightmill.errors import DataError
from lightmill.models import Exposures, RateModel
from lightmill.models.dq import PIXEL
from lightmill.models.lineage import force
from lightmill.pipeline import Skipped, Step, param

__all__ = ["MAXIMUM", "MergeSubarrays", "ParseSubarrayMap", "rectangles"]

MAXIMUM = 10  # subarrays of a detector
PLANES = ("data", "err", "var_poisson", "var_rnoise", "var_flat", "dq")


class ParseSubarrayMap(Step):
    """Find the subarrays of a full frame in its map, and flag their pixels."""

    name = "parse_subarray_map"
    reads, writes = RateModel, RateModel

    @dataclass(frozen=True)
    class Parameters:
        flag: Literal["NON_SCIENCE", "OUTLIER"] = param(
            "NON_SCIENCE", "flag of pixels that subarrays read; the pipeline of 2021 had OUTLIER"
        )

    def apply(self, frame: RateModel) -> RateModel | Skipped:
        """Note the rectangles in the metadata."""
        if not frame.has("subarr_map"):
            return Skipped(frame, "the frame has no map of subarrays")
        number = np.asarray(frame.array("subarr_map"))
        found = rectangles(number, frame.path or frame.meta.filename)
        dq = np.asarray(frame.array("dq")) if frame.has("dq") else np.uint32(0)
        flag = np.where(number != 0, np.uint32(PIXEL[self.parameters.flag]), np.uint32(0))
        result: RateModel = frame.evolve(dq=dq | flag)
        force(result, "subarray_map", found)
        return result


def rectangles(number: np.ndarray, place: object = None) -> list[dict[str, int]]:
    """Return where the subarrays of a map are.

    Parameters
    ----------
    number : (ny, nx) ndarray of uint16
        Number of the subarray of each pixel, 0 where there is none. Numbers may be missing.
    place : object, optional
        Of the map, for errors.

    Returns
    -------
    found : list of dict
        ``id``, ``xstart``, ``ystart`` (from 1), ``xsize``, ``ysize``, by number.

    Raises
    ------
    DataError
        If a number is too large, or its pixels are no rectangle.
    """
    found = []
    for one in np.unique(number[number != 0]).tolist():
        y, x = np.nonzero(number == one)
        y0, x0 = int(y.min()), int(x.min())
        ysize, xsize = int(y.max()) - y0 + 1, int(x.max()) - x0 + 1
        if one > MAXIMUM or y.size != ysize * xsize:
            raise DataError(
                f"subarray {one} of the map is none",
                place=f"{place}[SUBARR_MAP]",
                found=f"{y.size} pixels in {xsize} x {ysize}, number {one}",
                expected=f"a filled rectangle, numbers up to {MAXIMUM}",
                remedy="correct the map, or leave the step out: --skip parse_subarray_map",
            )
        found.append(
            {"id": one, "xstart": x0 + 1, "ystart": y0 + 1, "xsize": xsize, "ysize": ysize}
        )
    return found


class MergeSubarrays(Step):
    """Put subarrays, reduced by themselves, into the full frame of the same exposure.

    Members of the association may come in any order: each says by SUBARRID which it is. Values
    are rates, so that nothing is scaled.
    """

    name = "merge_subarrays"
    reads, writes = Exposures, RateModel

    def apply(self, exposures: Exposures) -> RateModel:
        """Write values, errors, variances and flags of the subarrays into the frame."""
        frames: dict[int, RateModel] = {}
        for model, name in zip(exposures.science, exposures.names, strict=True):
            number = model.meta.get("subarray.id") or 0
            if number in frames:
                raise DataError(
                    "two members are the same subarray",
                    place=exposures.path or exposures.product,
                    found=f"{name}: SUBARRID {number}",
                    expected="each number once, 0 for the full frame",
                )
            frames[number] = model
        full = frames.pop(0, None)
        if full is None or not full.has("subarr_map"):
            raise DataError(
                "there is no full frame with a map of subarrays",
                place=exposures.path or exposures.product,
                expected="a member with SUBARRID 0 and the extension SUBARR_MAP",
            )
        number = np.asarray(full.array("subarr_map"))
        wanted = {one["id"]: one for one in rectangles(number, full.path)}
        _check(wanted, frames, exposures)
        planes = {name: np.array(full.array(name)) for name in PLANES if full.has(name)}
        for one, where in wanted.items():
            y0, x0 = where["ystart"] - 1, where["xstart"] - 1
            box = np.s_[y0 : y0 + where["ysize"], x0 : x0 + where["xsize"]]
            for name, plane in planes.items():
                plane[box] = _plane(frames[one], name, plane[box].shape, full)
        result: RateModel = full.evolve(**planes)
        return result


def _check(
    wanted: dict[int, dict[str, int]], frames: dict[int, RateModel], exposures: Exposures
) -> None:
    """Refuse subarrays that are missing, or that the map does not know."""
    if set(wanted) != set(frames):
        raise DataError(
            "the subarrays are not those of the map",
            place=exposures.path or exposures.product,
            found=f"subarrays {sorted(frames)}",
            expected=f"subarrays {sorted(wanted)}",
            remedy="add the missing members to the association, or remove the others",
        )


def _plane(frame: RateModel, name: str, shape: tuple[int, ...], full: RateModel) -> Any:
    """Return a plane of a subarray; what it lacks is zero."""
    plane = np.asarray(frame.array(name)) if frame.has(name) else np.zeros(shape, np.float32)
    units = [model.meta.get("bunit_data") or model.unit("data") for model in (frame, full)]
    if plane.shape != shape or units[0] != units[1]:
        raise DataError(
            "a subarray does not fit its place in the frame",
            place=frame.path or frame.meta.filename,
            found=f"{plane.shape[1]} x {plane.shape[0]} pixels in {units[0]}",
            expected=f"{shape[1]} x {shape[0]} pixels in {units[1]}",
            remedy="reduce the subarray as the frame, with the map of the same exposure",
        )
    return plane
