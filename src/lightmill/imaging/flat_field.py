"""Divide by the response of each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.errors import ConfigurationError
from lightmill.imaging.planes import blank_unusable, planes_of, row_slices
from lightmill.models import CalModel, FlatModel
from lightmill.models.dq import PIXEL
from lightmill.pipeline import Step, param

__all__ = ["CorrectFlatField", "divide_by_flat", "usable_flat"]

NO_FLAT = np.uint32(PIXEL["NO_FLAT_FIELD"])
DO_NOT_USE = np.uint32(PIXEL["DO_NOT_USE"])
_TO_DO_NOT_USE = np.uint32((int(NO_FLAT) // int(DO_NOT_USE)).bit_length() - 1)  # from bit to bit


class CorrectFlatField(Step):
    """Divide an image by the response of its pixels, and propagate the flat's own error."""

    name = "flat_field"
    reads, writes = CalModel, CalModel
    references = {"flat": FlatModel}
    rows = True

    @dataclass(frozen=True)
    class Parameters:
        save_interpolated_flat: bool = param(
            False, "save the flat of a spectrum: not available for images"
        )
        user_supplied_flat: str | None = param(
            None, "file of a flat to use instead of the reference; the same as override_flat"
        )
        inverse: bool = param(False, "multiply by the flat instead: undo the correction")

    def configure(self, values: Mapping[str, Any], origin: str) -> None:
        """Set parameters; the user's own flat stands for the reference, and is recorded as such."""
        super().configure(values, origin)
        if values.get("user_supplied_flat") is not None:
            super().configure({"override_flat": self.parameters.user_supplied_flat}, origin)

    def apply(self, image: CalModel, *, flat: FlatModel) -> CalModel:
        """Correct values, errors and variances; add the flags."""
        if self.parameters.save_interpolated_flat:
            raise ConfigurationError(
                "a flat that is one image is not interpolated",
                place=f"{self.name}.save_interpolated_flat",
                expected="false",
            )
        planes = planes_of(image)
        data = planes["data"]
        dq = image.dq if image.has("dq") else np.zeros(data.shape, np.uint32)
        for name in ("err", "var_flat"):
            planes.setdefault(name, np.zeros_like(data))
        flags = flat.dq if flat.has("dq") else None
        error = flat.err if flat.has("err") else None
        for rows in row_slices(data.shape):
            here = {name: plane[..., rows, :] for name, plane in planes.items()}
            response, flagged = usable_flat(flat.data[rows], None if flags is None else flags[rows])
            made = divide_by_flat(
                here,
                response,
                None if error is None else error[rows],
                inverse=self.parameters.inverse,
            )
            for name, plane in made.items():
                here[name][...] = plane
            here_dq = dq[..., rows, :]
            here_dq |= flagged
            blank_unusable(here, here_dq)
        result: CalModel = image.evolve(dq=dq, **planes)
        return result


def usable_flat(flat: np.ndarray, dq: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return a flat that can be divided by, and what to flag.

    Parameters
    ----------
    flat : (ny, nx) ndarray of float32
        Relative response.
    dq : (ny, nx) ndarray of uint32 or None
        Flags of the flat.

    Returns
    -------
    response : (ny, nx) ndarray of float32
        1 where the flat cannot be used: the pixel stays as it is.
    flags : (ny, nx) ndarray of uint32
        Those of the flat; NO_FLAT_FIELD and DO_NOT_USE where it is NaN or 0, DO_NOT_USE where it
        says NO_FLAT_FIELD.
    """
    flags = np.multiply(~(np.abs(flat) > 0), NO_FLAT, dtype=np.uint32)  # NaN is not more than 0
    if dq is not None:
        flags |= dq
    flags |= (flags & NO_FLAT) >> _TO_DO_NOT_USE
    response = np.array(flat, np.float32)
    np.copyto(response, 1, where=(flags & DO_NOT_USE) != 0)
    return response, flags


def divide_by_flat(
    planes: Mapping[str, np.ndarray],
    response: np.ndarray,
    error: np.ndarray | None,
    *,
    inverse: bool = False,
) -> dict[str, np.ndarray]:
    """Divide an image by a flat, in place.

    With the response f and its error s, a value v becomes v/f with the variance
    VAR_POISSON/f² + VAR_RNOISE/f² + VAR_FLAT, and VAR_FLAT = (v/f)² (s/f)².

    Parameters
    ----------
    planes : mapping
        ``data``; ``var_poisson`` and ``var_rnoise``, or else ``err``: arrays (ny, nx) or (n, ny, nx)
        of float32, changed in place.
    response : (ny, nx) ndarray of float32
        The flat, without zeros.
    error : (ny, nx) ndarray of float32 or None
        Its standard error; none is no error.
    inverse : bool
        Multiply instead; the flat's error is then not added.

    Returns
    -------
    made : dict
        ``var_flat`` and ``err``, new arrays.
    """
    data = planes["data"]
    square = response * response
    change: Any = np.multiply if inverse else np.divide
    change(data, response, out=data)
    var_flat = np.zeros_like(data)
    if error is not None and not inverse:
        np.multiply(data, data, out=var_flat)
        var_flat /= square
        var_flat *= error * error
    parts = [planes[name] for name in ("var_poisson", "var_rnoise") if name in planes]
    for part in parts:
        change(part, square, out=part)
    if not parts and "err" in planes:  # nobody said what the error is made of
        err = change(planes["err"], response)
        parts = [err * err]
    total = sum(parts) + var_flat if parts else var_flat
    return {"var_flat": var_flat, "err": np.sqrt(total)}
