"""Steps that take away what the detector and its electronics added to the signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.detector.frames import reference_borders
from lightmill.errors import DataError
from lightmill.kernels import arithmetic
from lightmill.kernels import linearity as polynomial
from lightmill.kernels.ipc import convolve_ipc
from lightmill.models import (
    DarkModel,
    IpcModel,
    LinearityModel,
    RampModel,
    ResetModel,
    SaturationModel,
    SuperbiasModel,
)
from lightmill.models.lineage import descend, force
from lightmill.pipeline import Beside, SideProduct, Skipped, Step, param

__all__ = [
    "CorrectLinearity",
    "DeconvolveIpc",
    "ScaleGroups",
    "SubtractDark",
    "SubtractReset",
    "SubtractSuperbias",
]


class ScaleGroups(Step):
    """Undo an on-board average that divided by a power of two instead of the number of frames."""

    name = "group_scale"
    reads, writes = RampModel, RampModel
    rows = True
    flags_groups = True  # the scale decides what is saturated

    def apply(self, ramp: RampModel) -> RampModel | Skipped:
        """Multiply by FRMDIVSR / NFRAMES."""
        nframes = ramp.meta.exposure.nframes or 1
        divisor = ramp.meta.exposure.frame_divisor
        if divisor is None:
            if nframes & (nframes - 1) == 0:
                return Skipped(ramp, "the number of averaged frames is a power of two")
            raise DataError(
                "the divisor of the on-board average is not known",
                place=f"{ramp.path}[PRIMARY/FRMDIVSR]",
                expected=f"a power of two, for {nframes} averaged frames",
                remedy="add the keyword FRMDIVSR",
            )
        if divisor == nframes:
            return Skipped(ramp, "the on-board average needs no correction")
        arithmetic.scale(ramp.data, divisor / nframes)
        if ramp.has("zeroframe"):
            ramp = ramp.evolve(zeroframe=ramp.zeroframe)
        return ramp


class DeconvolveIpc(Step):
    """Put back the charge that inter-pixel capacitance shows in the neighbouring pixels."""

    name = "ipc"
    reads, writes = RampModel, RampModel
    references = {"ipc": IpcModel}
    rows = True

    def halo_rows(self, model: Any, *, ipc: IpcModel) -> int:  # noqa: ARG002
        """Half the width of the kernel."""
        return max(ipc.array("data").shape[:2]) // 2

    def apply(self, ramp: RampModel, *, ipc: IpcModel) -> RampModel:
        """Convolve each group with the deconvolution kernel, science pixels only."""
        region = ramp.region
        y0, y1, x0, x1 = reference_borders(ramp).science
        valid = (
            max(y0 - region.y0, 0),
            min(y1, region.y1) - region.y0,
            max(x0 - region.x0, 0),
            min(x1, region.x1) - region.x0,
        )
        if valid[0] < valid[1] and valid[2] < valid[3]:
            convolve_ipc(ramp.data, ipc.data, valid=valid)
        return ramp


class SubtractSuperbias(Step):
    """Subtract the level each pixel starts from."""

    name = "superbias"
    reads, writes = RampModel, RampModel
    references = {"superbias": SuperbiasModel}
    rows = True

    def apply(self, ramp: RampModel, *, superbias: SuperbiasModel) -> RampModel:
        """Subtract the same frame from every group; unmeasured pixels (NaN) count as zero."""
        arithmetic.subtract(ramp.data, superbias.data)
        if superbias.has("dq"):
            arithmetic.flag_or(ramp.pixeldq, superbias.dq)
        if ramp.has("zeroframe"):
            zero = ramp.zeroframe
            bias = np.nan_to_num(superbias.data, nan=0.0)
            ramp = ramp.evolve(zeroframe=np.where(zero != 0, zero - bias, zero))
        return ramp


class CorrectLinearity(Step):
    """Make the signal proportional to the charge collected."""

    name = "linearity"
    reads, writes = RampModel, RampModel
    references = {"linearity": LinearityModel, "saturation": SaturationModel}
    optional = frozenset({"saturation"})
    extensions = frozenset({"override_saturation"})
    rows = True

    def apply(
        self, ramp: RampModel, *, linearity: LinearityModel, saturation: SaturationModel | None
    ) -> RampModel:
        """Evaluate the polynomial in every group below saturation."""
        coefficients = linearity.coeffs
        nframes = ramp.meta.exposure.nframes or 1
        if linearity.has("inv_coeffs") and nframes > 1:
            polynomial.correct_linearity_reads(
                ramp.data,
                ramp.groupdq,
                coefficients,
                linearity.inv_coeffs,
                read_times(ramp),
                reference_dq=linearity.dq,
                pixeldq=ramp.pixeldq,
                saturation=None if saturation is None else saturation.data,
            )
        else:
            polynomial.correct_linearity(
                ramp.data,
                ramp.groupdq,
                coefficients,
                reference_dq=linearity.dq,
                pixeldq=ramp.pixeldq,
            )
        if ramp.has("zeroframe"):
            zero = np.array(ramp.zeroframe, np.float32)
            polynomial.correct_linearity(
                zero[:, None], None, coefficients, reference_dq=linearity.dq, keep_zero=True
            )
            ramp = ramp.evolve(zeroframe=zero)
        return ramp


def read_times(ramp: RampModel) -> list[list[float]]:
    """Return the times of the reads averaged in each group, in reads since the reset."""
    exposure = ramp.meta.exposure
    nframes = exposure.nframes or 1
    step = nframes + (exposure.groupgap or 0)
    return [
        [float(group * step + read + 1) for read in range(nframes)]
        for group in range(ramp.array("data").shape[1])
    ]


class SubtractDark(Step):
    """Remove the signal a detector collects with no light on it."""

    name = "dark_current"
    reads, writes = RampModel, RampModel
    references = {"dark": DarkModel}
    rows = True

    @dataclass(frozen=True)
    class Parameters:
        dark_output: str | None = param(None, "save the dark as it was subtracted in this file")
        average_dark_current: float | None = param(
            None, "dark current that adds to the Poisson noise, all pixels alike", ge=0, unit="e-/s"
        )

    def side_products(self) -> tuple[SideProduct, ...]:
        """Return the dark as it was subtracted, if a file is named for it."""
        file = self.parameters.dark_output
        return (SideProduct("dark", file, exact=True),) if file else ()

    def apply(self, ramp: RampModel, *, dark: DarkModel) -> RampModel | Skipped | Beside:
        """Subtract group by group, from as many dark frames as the exposure averaged."""
        exposure = ramp.meta.exposure
        nframes, gap = exposure.nframes or 1, exposure.groupgap or 0
        dark_nframes = dark.meta.get("exposure.nframes") or 1
        dark_gap = dark.meta.get("exposure.groupgap") or 0
        if dark_nframes > nframes or dark_gap > gap:
            return Skipped(
                ramp,
                f"the dark averages {dark_nframes} frames and drops {dark_gap}, "
                f"the exposure {nframes} and {gap}",
            )
        ramp = ramp.evolve(average_dark_current=self._average(ramp, dark))
        nints, ngroups = ramp.data.shape[:2]
        first = exposure.integration_start or 1
        subtracted = []
        for number, dark_integration in dark_of_integrations(dark, nints, first):
            signal = dark_groups(
                dark_integration,
                ngroups,
                nframes,
                gap,
                same=(dark_nframes, dark_gap) == (nframes, gap),
            )
            arithmetic.subtract(ramp.data[number], signal)
            subtracted.append(signal)
        if dark.has("dq"):
            flags = dark.dq
            if flags.ndim > 2:
                flags = np.bitwise_or.reduce(flags.reshape(-1, *flags.shape[-2:]), axis=0)
            arithmetic.flag_or(ramp.pixeldq, np.ascontiguousarray(flags, dtype=np.uint32))
        if not self.side_products():
            return ramp
        return Beside(ramp, {"dark": _dark_as_subtracted(ramp, dark, subtracted)})

    def _average(self, ramp: RampModel, dark: DarkModel) -> np.ndarray:
        value: Any = self.parameters.average_dark_current
        if value is None and dark.has("average_dark_current"):
            value = np.nan_to_num(dark.average_dark_current)
        if value is None:
            value = dark.meta.get("exposure.average_dark_current") or 0.0
        return np.array(np.broadcast_to(value, ramp.data.shape[-2:]), np.float32)


def _dark_as_subtracted(
    ramp: RampModel, dark: DarkModel, subtracted: list[np.ndarray]
) -> DarkModel:
    """Return what was subtracted as a dark of the exposure's own frames, groups and subarray."""
    groups = [np.nan_to_num(signal, nan=0.0) for signal in subtracted]
    changes: dict[str, Any] = {"data": groups[0]}
    if dark.data.ndim == 4:
        changes["data"] = np.stack(groups)
        if dark.has("dq") and dark.dq.ndim == 4:
            later = (ramp.meta.exposure.integration_start or 1) != 1
            changes["dq"] = dark.dq[-1:] if later else dark.dq[: len(groups)]
    taken = {
        path: value
        for path, value in ramp.meta.flat().items()
        if path.startswith("subarray.")
        or path in {"exposure.nframes", "exposure.groupgap", "exposure.ngroups"}
    }
    model: DarkModel = dark.evolve(**changes)
    for path, value in taken.items():
        force(model, path, value)
    descend(model, ramp)
    return model


def dark_of_integrations(dark: DarkModel, nints: int, first: int) -> list[tuple[slice, np.ndarray]]:
    """Pair slices of the integrations with the dark they take, (ngroups, ny, nx) each.

    A dark with its own integrations gives each to the integration of the same
    number, its last to all later ones; in a later segment of an exposure its
    last to all.
    """
    data = dark.data
    if data.ndim == 3:
        return [(slice(0, nints), data)]
    if first != 1:
        return [(slice(0, nints), data[-1])]
    alone = min(len(data) - 1, nints)
    pairs = [(slice(i, i + 1), data[i]) for i in range(alone)]
    if alone < nints:
        pairs.append((slice(alone, nints), data[-1]))
    return pairs


def dark_groups(
    dark: np.ndarray, ngroups: int, nframes: int, groupgap: int, *, same: bool
) -> np.ndarray:
    """Return the dark signal of each group of an exposure.

    Parameters
    ----------
    dark : (nframes_dark, ny, nx) ndarray of float32
        Dark signal, group by group [DN].
    ngroups, nframes, groupgap : int
        Groups of the exposure, frames averaged in one, frames dropped between two.
    same : bool
        The dark was taken with the same frames and gap: no averaging is needed.

    Returns
    -------
    signal : (ngroups, ny, nx) ndarray of float32
        A dark too short is continued in a straight line from its last two groups.
    """
    step = 1 if same else nframes + groupgap
    frames = 1 if same else nframes
    needed = (ngroups - 1) * step + frames
    if needed > len(dark):
        slope = dark[-1] - dark[-2] if len(dark) > 1 else np.zeros_like(dark[-1])
        extra = np.arange(1, needed - len(dark) + 1, dtype=np.float32)[:, None, None]
        dark = np.concatenate([dark, dark[-1] + extra * slope])
    if frames == 1:
        return dark[:needed:step] if step > 1 else dark[:ngroups]
    starts = range(0, ngroups * step, step)
    return np.stack([dark[s : s + frames].mean(axis=0, dtype=np.float32) for s in starts])


class SubtractReset(Step):
    """Remove the transient that follows a reset."""

    name = "reset"
    reads, writes = RampModel, RampModel
    references = {"reset": ResetModel}
    rows = True

    def apply(self, ramp: RampModel, *, reset: ResetModel) -> RampModel:
        """Subtract the reference's groups from as many first groups of each integration."""
        anomaly = reset.data
        if anomaly.ndim == 3:
            anomaly = anomaly[None]
        nints, ngroups = ramp.data.shape[:2]
        count = min(ngroups, anomaly.shape[1])
        for i in range(nints):
            arithmetic.subtract(
                ramp.data[i : i + 1, :count], anomaly[min(i, len(anomaly) - 1), :count]
            )
        if reset.has("dq"):
            arithmetic.flag_or(ramp.pixeldq, reset.dq)
        return ramp
