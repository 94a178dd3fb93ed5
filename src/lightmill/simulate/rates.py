"""Count rates without ramps: what the first stage of calibration would make of an exposure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.simulate.detector import Detector
from lightmill.simulate.facts import InstrumentFacts, Window
from lightmill.simulate.fits_stream import FitsStream
from lightmill.simulate.focal_plane import View
from lightmill.simulate.layout import Visit, metadata_tree, primary_keywords
from lightmill.simulate.radiation import draw_events
from lightmill.simulate.readout import Pattern
from lightmill.simulate.scene import Effects, stream

__all__ = ["FLAGS", "CountRates", "draw_rates", "write_rate"]

FLAGS = {  # bits of the observatory's products (JWST pipeline documentation, "Data quality flags")
    "DO_NOT_USE": 1,
    "SATURATED": 2,
    "JUMP_DET": 4,
    "DEAD": 1 << 10,
    "HOT": 1 << 11,
    "LOW_QE": 1 << 13,
    "NO_LIN_CORR": 1 << 20,
    "NO_SAT_CHECK": 1 << 21,
    "NO_GAIN_VALUE": 1 << 19,
    "REFERENCE_PIXEL": 1 << 31,
}
_RAY_COLUMNS = [("y", "i4"), ("x", "i4"), ("rate", "f4"), ("flagged", "i2")]
_RESIDUE = 0.005  # part of a flagged ray's charge that stays, as neighbours of the groups left out
_STEPS = {
    "DQINIT": "COMPLETE",
    "SATURA": "COMPLETE",
    "REFPIX": "COMPLETE",
    "LINEAR": "COMPLETE",
    "DARK": "COMPLETE",
    "JUMP": "COMPLETE",
    "RAMP": "COMPLETE",
    "GANSCL": "SKIPPED",
}


@dataclass
class CountRates:
    """An image of count rates, arrays (ny, nx).

    Attributes
    ----------
    rate, err : ndarray of float32
        [DN / s]; NaN where nothing was measured.
    dq : ndarray of uint32
        See `FLAGS`.
    var_poisson, var_rnoise : ndarray of float32
        [DN^2 / s^2].
    rays : structured array
        y, x, rate (what a particle added) [DN / s], and whether it is flagged.
    """

    rate: np.ndarray
    err: np.ndarray
    dq: np.ndarray
    var_poisson: np.ndarray
    var_rnoise: np.ndarray
    rays: np.ndarray


def draw_rates(
    facts: InstrumentFacts,
    detector: Detector,
    effects: Effects,
    light: np.ndarray,
    pattern: Pattern,
    *,
    missed: float,
    seed: int,
) -> CountRates:
    """Draw the count rates of an exposure.

    The noise is that of a straight line fitted to each ramp: photons collected from the first
    group to the last, and read noise of ``12 s^2 / ((n^3 - n) t^2)``. The variances are those
    of the true rates, so that errors over their standard errors have unit width. A bright pixel
    is fitted up to the group in which it fills its well.

    Parameters
    ----------
    light : (ny, nx) ndarray of float32
        Photo-electrons per second that a pixel detects.
    pattern : Pattern
        How long, in how many groups.
    missed : float
        Fraction of the particles that nobody has flagged.
    seed : int
        Decides the noise.

    Returns
    -------
    rates : CountRates
        With errors, flags, and the particles that hit.

    References
    ----------
    .. [1] Robberto, M. 2009, JWST-STScI-001853: variances of slopes.
    """
    rng = stream(seed, "rates")
    d, groups = detector, pattern.ngroups
    shape = light.shape
    active = ~d.is_reference
    mean = light + d.dark
    # groups before the well is full, in each integration
    well = np.maximum(d.full_well * d.gain, 1)
    with np.errstate(divide="ignore"):
        until_full = np.floor(well / np.maximum(mean, 1e-6) / np.float32(pattern.group_time))
    used = np.clip(until_full, 0, groups)
    saturated = (used < min(2, groups)) & active
    used = np.maximum(used, min(2, groups))
    seconds = np.maximum(used - 1, 1) * np.float32(pattern.group_time * pattern.nints)
    rays, flagged = _rays(facts, d, effects, pattern, seconds, missed, seed)
    # a ramp with a jump in it is two shorter ones: less of everything
    share = np.where(flagged, np.float32(0.6), np.float32(1))
    frames = pattern.nframes
    if groups > 1:
        levers = (used**3 - used) * np.float32(pattern.group_time**2 * pattern.nints)
        var_rnoise = np.float32(12 / frames) * d.read_noise**2 / levers
    else:
        var_rnoise = d.read_noise**2 / (seconds * np.float32(pattern.group_time))
    var_rnoise = var_rnoise.astype(np.float32) / share**3
    var_poisson = np.where(active, mean / seconds / share, np.float32(0))  # electron^2 / s^2
    rate = light.copy()
    if effects.photon_noise:
        counts = mean * seconds * share
        rate += (_poisson(rng, counts) - counts) / (seconds * share)
    if effects.read_noise:
        noise = rng.standard_normal(shape, dtype=np.float32)
        rate += noise * np.sqrt(var_rnoise) * d.gain
    rate /= d.gain
    var_poisson = (var_poisson / d.gain**2).astype(np.float32)
    rate[rays["y"], rays["x"]] += rays["rate"] * np.where(rays["flagged"], _RESIDUE, 1)
    dq = _flags(d, saturated, flagged)
    unmeasured = (dq & FLAGS["DO_NOT_USE"]) != 0
    err = np.sqrt(var_poisson + var_rnoise)
    rate[d.is_reference] = var_poisson[d.is_reference] = 0
    for array in (rate, err, var_poisson, var_rnoise):
        array[unmeasured] = np.nan
    return CountRates(rate, err, dq, var_poisson, var_rnoise, rays)


def _rays(facts, d, effects, pattern, seconds, missed, seed) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels that particles hit, and which of them are flagged."""
    events = draw_events(
        facts,
        d,
        effects,
        frame_time=pattern.frame_time,
        nints=pattern.nints,
        ngroups=pattern.ngroups,
        nframes=pattern.nframes,
        groupgap=pattern.groupgap,
        seed=seed,
    ).jumps
    # a particle's pixels stand beside each other in time and place; what came together is missed together
    rng = stream(seed, "missed particles")
    tile = (events["integ"] * 997 + events["group"]) * 1_000_003
    tile = tile + (events["y"] // 8) * 4099 + events["x"] // 8
    _, which = np.unique(tile, return_inverse=True)
    is_missed = rng.random(which.max() + 1 if len(which) else 0) < missed
    charge = np.zeros(seconds.shape, np.float32)
    lost = np.zeros(seconds.shape, bool)
    np.add.at(charge, (events["y"], events["x"]), events["charge_e"])
    lost[events["y"], events["x"]] |= is_missed[which] & (events["kind"] < 2)
    y, x = np.nonzero(charge)
    rays = np.zeros(len(y), _RAY_COLUMNS)
    rays["y"], rays["x"] = y, x
    rays["rate"] = charge[y, x] / seconds[y, x] / d.gain[y, x]
    rays["flagged"] = ~lost[y, x]
    return rays, (charge > 0) & ~lost


def _poisson(rng: np.random.Generator, mean: np.ndarray) -> np.ndarray:
    """Return Poisson deviates; where many are expected, the normal ones that they are."""
    out = rng.standard_normal(mean.shape, dtype=np.float32)
    out *= np.sqrt(mean)
    out += mean
    few = mean < 50.0
    out[few] = rng.poisson(mean[few])
    return out


def _flags(d: Detector, saturated: np.ndarray, flagged: np.ndarray) -> np.ndarray:
    dq = np.zeros(saturated.shape, np.uint32)
    marks: dict[str, Any] = {
        "JUMP_DET": flagged,
        "SATURATED": saturated,
        "DEAD": d.marks["dead"],
        "HOT": d.marks["hot"],
        "LOW_QE": d.marks["low_qe"],
        "NO_LIN_CORR": d.marks["no_linearity"],
        "NO_SAT_CHECK": d.marks["no_saturation"],
        "NO_GAIN_VALUE": d.marks["bad_gain"],
        "REFERENCE_PIXEL": d.is_reference,
        "DO_NOT_USE": d.marks["unusable"] | saturated | d.marks["bad_gain"],
    }
    for name, mark in marks.items():
        dq[mark] |= np.uint32(FLAGS[name])
    return dq


def write_rate(
    path: Path,
    facts: InstrumentFacts,
    window: Window,
    pattern: Pattern,
    view: View,
    visit: Visit,
    rates: CountRates,
    *,
    history: list[str],
) -> Path:
    """Write count rates in the layout of the observatory's archive (FITS level 2a)."""
    primary = primary_keywords(path, facts, window, pattern, visit)
    primary["DATAMODL"] = "ImageModel"
    primary |= {f"S_{step}": state for step, state in _STEPS.items()}
    science = view.header(window.shape)
    with FitsStream(path, primary | {"HISTORY": history}) as file:
        file.image("SCI", rates.rate, {"BUNIT": "DN/s"} | science)
        file.image("ERR", rates.err, {"BUNIT": "DN/s"})
        file.image("DQ", rates.dq)
        file.image("VAR_POISSON", rates.var_poisson, {"BUNIT": "DN2 / s2"})
        file.image("VAR_RNOISE", rates.var_rnoise, {"BUNIT": "DN2 / s2"})
        file.table("ASDF", metadata_tree(primary | science, facts.metadata))
    return path
