"""From the reads of a ramp to one frame: correlated double sampling, Fowler, up the ramp.

For detectors whose headers say how they were read, and what gain and read noise they have: no
reference file is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from lightmill.detector.groups import group_time_of
from lightmill.errors import DataError
from lightmill.kernels import jump, ramp_fit
from lightmill.models import RampModel, RateModel
from lightmill.models.dq import PIXEL
from lightmill.models.lineage import descend
from lightmill.pipeline import Skipped, Step, param

__all__ = ["FlagJumpsInReads", "SampleReads", "fowler", "fowler_variances"]

DO_NOT_USE = np.uint32(PIXEL["DO_NOT_USE"])
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
            np.full(shape, noise.gain, np.float32),
            np.full(shape, noise.read * np.sqrt(2.0), np.float32),
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
        if mode == "utr":
            frame = self._slopes(ramp, times, noise)
        else:
            frame = fowler(
                ramp.data, ramp.groupdq, ramp.pixeldq, times, coadds,
                gain=noise.gain, read_noise=noise.read,
            )  # fmt: skip
        if parameters.output == "counts":
            span = self._span(times, coadds if mode != "utr" else 1) * len(ramp.data)
            for name in frame.keys() - {"dq"}:
                frame[name] *= np.float32(span**2 if name.startswith("var_") else span)
        model = RateModel(meta=ramp.meta, **frame)
        descend(model, ramp)
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

    def _slopes(self, ramp: RampModel, times: np.ndarray, noise: _Noise) -> dict[str, np.ndarray]:
        shape = ramp.data.shape[-2:]
        fit = ramp_fit.fit_ramps(
            ramp.data,
            ramp.groupdq,
            ramp.pixeldq,
            np.full(shape, noise.gain, np.float32),
            np.full(shape, noise.read * np.sqrt(2.0), np.float32),
            group_time=float(np.mean(np.diff(times))) if len(times) > 1 else float(times[0]),
            group_times=None if _even(times) else times.tolist(),
            weighting=self.parameters.weighting,
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


def fowler(
    data: np.ndarray,
    groupdq: np.ndarray,
    pixeldq: np.ndarray,
    times: Sequence[float] | np.ndarray,
    coadds: int,
    *,
    gain: float,
    read_noise: float,
) -> dict[str, np.ndarray]:
    """Return the rates that the first and the last reads of ramps give [1]_.

    Parameters
    ----------
    data : (nints, nreads, ny, nx) ndarray of float32
        Signal [DN].
    groupdq : (nints, nreads, ny, nx) ndarray of uint8
        Flags of reads: a ramp with a flag in one of the reads that count, or with a jump between
        them, is left out.
    pixeldq : (ny, nx) ndarray of uint32
        Flags of pixels.
    times : (nreads,) sequence of float
        Times of the reads since the reset [s].
    coadds : int
        Reads averaged at either end.
    gain : float
        [electron/DN].
    read_noise : float
        Of one read [DN].

    Returns
    -------
    frame : dict
        ``data``, ``err`` [DN/s], ``var_poisson``, ``var_rnoise`` [(DN/s)²] float32 and ``dq``
        uint32, (ny, nx): mean of the ramps that count. NaN, and DO_NOT_USE, where none does.

    References
    ----------
    .. [1] Fowler, A. M. & Gatley, I. 1990, ApJ, 353, L33.
    """
    nints, nreads = data.shape[:2]
    ends = np.r_[:coadds, nreads - coadds : nreads]
    spoiled = groupdq[:, ends].any(axis=1)
    spoiled |= ((groupdq[:, 1:] & PIXEL["JUMP_DET"]) != 0).any(axis=1)
    spoiled |= (pixeldq & DO_NOT_USE) != 0
    times = np.asarray(times, np.float64)
    span = times[-coadds:].mean() - times[:coadds].mean()
    rates = data[:, -coadds:].mean(axis=1, dtype=np.float64)
    rates -= data[:, :coadds].mean(axis=1, dtype=np.float64)
    rates /= span
    spoiled |= ~np.isfinite(rates)
    count = nints - spoiled.sum(axis=0)
    none = count == 0
    few = np.maximum(count, 1)
    rate = np.where(spoiled, 0.0, rates).sum(axis=0) / few
    per_rate, read = fowler_variances(times, coadds, gain=gain, read_noise=read_noise)
    var_poisson = np.where(none, 0.0, per_rate * np.maximum(rate, 0.0) / few)
    var_rnoise = np.where(none, 0.0, read / few)
    flags = np.bitwise_or.reduce(groupdq.reshape(-1, *rate.shape), axis=0).astype(np.uint32)
    dq = pixeldq | np.where(none, flags | DO_NOT_USE, flags & ~DO_NOT_USE)
    return {
        "data": np.where(none, np.nan, rate).astype(np.float32),
        "err": np.sqrt(var_poisson + var_rnoise).astype(np.float32),
        "dq": dq.astype(np.uint32),
        "var_poisson": var_poisson.astype(np.float32),
        "var_rnoise": var_rnoise.astype(np.float32),
    }


def fowler_variances(
    times: Sequence[float] | np.ndarray, coadds: int, *, gain: float, read_noise: float
) -> tuple[float, float]:
    """Return the variances of a rate from the first and the last reads of a ramp.

    The electrons of a read are among those of all later ones, so that reads i and j share the
    variance of the earlier: λ min(t_i, t_j) / gain for a rate λ.

    Parameters
    ----------
    times : sequence of float
        Times of the reads since the reset [s].
    coadds : int
        Reads averaged at either end.
    gain : float
        [electron/DN].
    read_noise : float
        Of one read [DN].

    Returns
    -------
    poisson : float
        Variance due to photons of a rate of 1 DN/s [(DN/s)²].
    read : float
        Variance due to read noise [(DN/s)²].
    """
    times = np.asarray(times, np.float64)
    weights = np.zeros(len(times))
    weights[:coadds] -= 1.0 / coadds
    weights[-coadds:] += 1.0 / coadds
    span = float(weights @ times)
    shared = np.minimum.outer(times, times)
    poisson = float(weights @ shared @ weights) / gain / span**2
    return poisson, float(weights @ weights) * read_noise**2 / span**2


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
