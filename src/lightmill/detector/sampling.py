"""From the reads of a ramp to one frame: correlated double sampling, Fowler, up the ramp.

For detectors whose headers say how they were read, and what gain and read noise they have: no
reference file is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from lightmill.detector.groups import group_time_of
from lightmill.errors import DataError
from lightmill.kernels import jump, ramp_fit, readout
from lightmill.models import RampModel, RateModel
from lightmill.models.dq import PIXEL
from lightmill.models.lineage import descend
from lightmill.pipeline import Skipped, Step, param

__all__ = ["FlagJumpsInReads", "SampleReads"]

DO_NOT_USE = np.uint8(PIXEL["DO_NOT_USE"])
JUMP = np.uint8(PIXEL["JUMP_DET"])
MULTIPLE = ("MCDS", "MDS")  # what observatories call the difference of two means
FEWEST = 4  # reads, to tell a jump from noise


class _Noise(NamedTuple):
    """Gain [electron/DN] and noise of one read [DN] of a detector."""

    gain: float
    read: float


class FlagJumpsInReads(Step):
    """Flag the reads in which charge arrived at once, by the gain and noise the header states."""

    name = "read_jumps"
    reads, writes = RampModel, RampModel
    rows = True

    @dataclass(frozen=True)
    class Parameters:
        rejection_threshold: float = param(
            5.0, "differences this far from the others are jumps", gt=0, unit="sigma"
        )
        flag_4_neighbors: bool = param(True, "flag the four neighbours of a large jump too")
        gain: float | None = param(None, "gain, instead of the header's", gt=0, unit="electron/DN")
        read_noise: float | None = param(
            None, "noise of one read, instead of the header's", ge=0, unit="electron"
        )

    def halo_rows(self, model: Any, **references: Any) -> int:  # noqa: ARG002
        """Its four neighbours."""
        return 1

    def apply(self, ramp: RampModel) -> RampModel | Skipped:
        """Compare the differences of reads with their median [1]_.

        References
        ----------
        .. [1] Anderson, R. E. & Gordon, K. D. 2011, PASP, 123, 1237.
        """
        parameters = self.parameters
        if ramp.data.shape[1] < FEWEST:
            return Skipped(ramp, f"fewer than {FEWEST} reads")
        noise = _noise(ramp, parameters.gain, parameters.read_noise, self.name)
        shape = ramp.data.shape[-2:]
        times = _times(ramp, None, self.name)
        jump.flag_jumps(
            ramp.data,
            ramp.groupdq,
            ramp.pixeldq,
            *_planes(noise, shape),
            nframes=1,
            rejection_threshold=parameters.rejection_threshold,
            three_group_rejection_threshold=parameters.rejection_threshold,
            four_group_rejection_threshold=parameters.rejection_threshold,
            flag_4_neighbors=parameters.flag_4_neighbors,
            diff_times=None if _even(times) else np.diff(times).tolist(),
        )
        return ramp


class SampleReads(Step):
    """Make one frame of the reads of each ramp, with its error, and combine the ramps.

    Up the ramp, a straight line is fitted, in pieces where charge jumped. The difference of the
    means of the first and the last reads (one each: correlated double sampling) has no pieces: a
    pixel with a jump is not used.
    """

    name = "readout_sampling"
    reads, writes = RampModel, RateModel
    rows = True

    @dataclass(frozen=True)
    class Parameters:
        mode: Literal["header", "utr", "cds", "mcds"] = param(
            "header", "up the ramp, one or several reads at either end, or as the header says"
        )
        num_coadd: int | None = param(
            None, "reads averaged at either end (mcds); as the header says by default", ge=1
        )
        weighting: Literal["optimal", "uniform"] = param(
            "optimal", "weights of the reads up the ramp; uniform is the plain straight line"
        )
        output: Literal["rate", "counts"] = param(
            "rate", "counts per second, or counts from the first to the last read of all ramps"
        )
        gain: float | None = param(None, "gain, instead of the header's", gt=0, unit="electron/DN")
        read_noise: float | None = param(
            None, "noise of one read, instead of the header's", ge=0, unit="electron"
        )
        read_times: list[float] | None = param(
            None, "times of the reads since the reset, where they are not even", unit="s"
        )

    def apply(self, ramp: RampModel) -> RateModel:
        """Sample every ramp of the exposure."""
        parameters = self.parameters
        times = _times(ramp, parameters.read_times, self.name)
        noise = _noise(ramp, parameters.gain, parameters.read_noise, self.name)
        mode, coadds = self._mode(ramp, len(times))
        if mode == "utr" and parameters.weighting == "optimal":
            frame = self._weighted(ramp, times, noise)
        else:
            frame = _sampled(ramp, times, noise, "utr" if mode == "utr" else "mcds", coadds)
        span = self._span(times, coadds if mode != "utr" else 1) * len(ramp.data)
        if parameters.output == "counts":
            for name in frame.keys() - {"dq"}:
                frame[name] *= np.float32(span**2 if name.startswith("var_") else span)
        model = RateModel(meta=ramp.meta, **frame)
        descend(model, ramp)
        if ramp.meta.get("exposure.exposure_time") is None:
            model.meta.update({"exposure.exposure_time": span})
        if parameters.output == "counts":
            model.meta.update({"bunit_data": "DN", "bunit_err": "DN"})
        return model

    def _mode(self, ramp: RampModel, reads: int) -> tuple[str, int]:
        """Return the mode, and how many reads are averaged at either end."""
        mode = self.parameters.mode
        if mode == "header":
            said = str(ramp.meta.get("exposure.sampling") or "UTR").upper()
            mode = "mcds" if said in MULTIPLE else said.lower()
        if mode == "cds":
            return mode, 1
        coadds = self.parameters.num_coadd or ramp.meta.get("exposure.coadds") or 1
        if mode == "mcds" and 2 * coadds > reads:
            raise DataError(
                "the first and the last reads overlap",
                place=f"{ramp.path or ramp.meta.filename}: {self.name}.num_coadd",
                found=f"{coadds} reads at either end of {reads}",
                expected=f"at most {reads // 2}",
                remedy="average fewer reads, or sample up the ramp: --mode=utr",
            )
        return mode, coadds

    def _weighted(self, ramp: RampModel, times: np.ndarray, noise: _Noise) -> dict[str, np.ndarray]:
        shape = ramp.data.shape[-2:]
        fit = ramp_fit.fit_ramps(
            ramp.data,
            ramp.groupdq,
            ramp.pixeldq,
            *_planes(noise, shape),
            group_time=float(np.mean(np.diff(times))) if len(times) > 1 else float(times[0]),
            group_times=None if _even(times) else times.tolist(),
            variances="estimate",
            suppress_one_group=len(times) > 1,
            integrations=False,
        )
        return {
            "data": fit.slope, "err": fit.err, "dq": fit.dq,
            "var_poisson": fit.var_poisson, "var_rnoise": fit.var_rnoise,
        }  # fmt: skip

    def _span(self, times: np.ndarray, coadds: int) -> float:
        return float(times[-coadds:].mean() - times[:coadds].mean())


def _sampled(
    ramp: RampModel, times: np.ndarray, noise: _Noise, sampling: str, coadds: int
) -> dict[str, np.ndarray]:
    """Return the frame of all ramps: plain slopes, or differences of the first and last reads.

    A difference cannot be taken in pieces: a ramp is not used where charge jumped in it.
    """
    flags = ramp.groupdq
    if sampling == "mcds":
        jumped = ((flags[:, 1:] & JUMP) != 0).any(axis=1, keepdims=True)
        if jumped.any():
            flags = flags | np.where(jumped, DO_NOT_USE, np.uint8(0))
    frame = readout.sample_ramps(
        ramp.data,
        times,
        readdq=flags,
        sampling=sampling,
        nfowler=coadds,
        pixeldq=ramp.pixeldq,
        gain=noise.gain,
        readnoise=noise.read,
    )
    return {
        "data": frame.signal, "err": np.sqrt(frame.var_poisson + frame.var_rnoise),
        "dq": frame.dq, "var_poisson": frame.var_poisson, "var_rnoise": frame.var_rnoise,
    }  # fmt: skip


def _noise(ramp: RampModel, gain: float | None, read_noise: float | None, step: str) -> _Noise:
    """Return gain and noise of one read [DN], as given or as the header says."""
    found = {"gain": gain, "read_noise": read_noise}
    for name, keyword in (("gain", "GAIN"), ("read_noise", "READNOIS")):
        if found[name] is None:
            found[name] = ramp.meta.get(f"exposure.{name}")
        if found[name] is None:
            raise DataError(
                f"the {name.replace('_', ' ')} of the detector is not known",
                place=f"{ramp.path or ramp.meta.filename}[PRIMARY/{keyword}]",
                expected="electron/DN" if name == "gain" else "electron",
                remedy=f"add the keyword, or give {step}.{name}",
            )
    return _Noise(found["gain"], found["read_noise"] / found["gain"])


@functools.lru_cache(maxsize=4)  # bands are many, and of one or two sizes
def _planes(noise: _Noise, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return gain and noise of the difference of two reads as planes, which nobody may change."""
    planes = (
        np.full(shape, noise.gain, np.float32),
        np.full(shape, noise.read * np.sqrt(2.0), np.float32),
    )
    for plane in planes:
        plane.flags.writeable = False
    return planes


def _times(ramp: RampModel, given: Sequence[float] | None, step: str) -> np.ndarray:
    """Return the times of the reads since the reset [s], checked."""
    reads = ramp.data.shape[1]
    said = given if given is not None else ramp.meta.get("exposure.read_times")
    if said is None:
        return np.arange(1, reads + 1) * group_time_of(ramp, None, step)
    times = np.asarray(said, np.float64)
    if times.shape != (reads,) or not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise DataError(
            "the times of the reads do not fit the ramp",
            place=f"{ramp.path or ramp.meta.filename}: {step}.read_times",
            found=f"{len(times)} times" if times.shape != (reads,) else "times that go backwards",
            expected=f"{reads} times, each later than the one before",
            remedy="correct the times, or leave them out where reads are even",
        )
    return times


def _even(times: np.ndarray) -> bool:
    """Say whether reads follow each other evenly, to a millionth, from one step after the reset."""
    step = np.diff(times, prepend=0.0)
    return bool(np.all(np.abs(step - step[0]) <= 1e-6 * abs(step[0])))
