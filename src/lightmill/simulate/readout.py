"""Expose and read a detector: light in, raw numbers out, one group at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lightmill.simulate.detector import Detector, convolve, measured_signal
from lightmill.simulate.electronics import Amplifiers, digitise
from lightmill.simulate.facts import InstrumentFacts, Window
from lightmill.simulate.radiation import Events
from lightmill.simulate.scene import Effects, stream

__all__ = ["Pattern", "Readout"]

_EXACT_BELOW = (
    50.0  # electrons; above, Poisson noise is drawn as a normal deviate (skewness < 0.15)
)
_CHUNK = 1 << 18


@dataclass(frozen=True)
class Pattern:
    """How an exposure is divided.

    Attributes
    ----------
    nints, ngroups : int
        Integrations, groups in each.
    nframes, groupgap : int
        Frames averaged to a group, frames dropped between groups.
    frame_time : float
        Seconds.
    """

    nints: int
    ngroups: int
    nframes: int
    groupgap: int
    frame_time: float

    @property
    def stride(self) -> int:
        """Return the frames from one group to the next."""
        return self.nframes + self.groupgap

    @property
    def group_time(self) -> float:
        """Return the time from one group to the next [s]."""
        return self.stride * self.frame_time

    @property
    def frames(self) -> int:
        """Return the frames of an integration, up to the last one kept."""
        return self.ngroups * self.stride - self.groupgap

    @property
    def integration_time(self) -> float:
        """Return the time in which photons are collected in an integration [s]."""
        return self.frames * self.frame_time

    @property
    def divisor(self) -> int:
        """Return what the sum of a group's frames is divided by on board: a power of two."""
        return 1 << (self.nframes - 1).bit_length()


class Readout:
    """An exposure of a detector, as an iterator over its raw groups.

    Charge is collected in electrons with Poisson noise, frame by frame; the
    non-linear pixel turns it into a signal which couples into its neighbours;
    the amplifiers add bias and noise; the converter rounds each read; a
    group is the sum of its reads divided by a power of two, and rounded.

    Parameters
    ----------
    facts : InstrumentFacts
        The instrument.
    window : Window
        The part of the detector that is read.
    detector : Detector
        The pixels of the window.
    effects : Effects
        What happens besides the light.
    rate : (ny, nx) ndarray of float32
        Photo-electrons per second.
    events : Events
        Particles.
    pattern : Pattern
    seed : int
    """

    def __init__(
        self,
        facts: InstrumentFacts,
        window: Window,
        detector: Detector,
        effects: Effects,
        rate: np.ndarray,
        events: Events,
        pattern: Pattern,
        seed: int,
    ) -> None:
        self.facts, self.detector, self.effects = facts, detector, effects
        self.rate, self.events, self.pattern, self.seed = rate, events, pattern, seed
        self.amplifiers = Amplifiers(facts, window, effects)
        self.shape = window.shape
        self.first_frame: np.ndarray | None = None

    def groups(self) -> Iterator[np.ndarray]:
        """Yield each group, (ny, nx) uint16, integration by integration.

        The array is used again for the next group. After the first group of
        an integration, `first_frame` holds its first frame.
        """
        p = self.pattern
        total = np.empty(self.shape, np.uint32)
        group = np.empty(self.shape, np.uint16)
        read = np.empty(self.shape, np.uint16)
        previous = None
        for integration in range(p.nints):
            rng = stream(self.seed, f"integration {integration}")
            charge = np.zeros(self.shape, np.float32)
            reset_noise = np.zeros(self.shape, np.float32)
            if self.effects.ktc:
                reset_noise = rng.standard_normal(self.shape, dtype=np.float32)
                reset_noise *= np.float32(self.facts.pixels.ktc)
            for index in range(p.ngroups):
                total[...] = 0
                for k in range(p.nframes):
                    frame = index * p.stride + k
                    self._expose(rng, charge, integration, frame, frame + 1)
                    voltage = self._voltage(charge, reset_noise, previous, frame)
                    signal_end = voltage[1]
                    digitise(self._read(rng, voltage[0]), read)
                    total += read
                    if frame == 0:
                        self.first_frame = read.copy()
                if p.groupgap and index < p.ngroups - 1:
                    self._expose(rng, charge, integration, frame + 1, frame + 1 + p.groupgap)
                if p.divisor > 1:  # to the nearest number
                    total += p.divisor // 2
                    total //= p.divisor
                np.copyto(group, total, casting="unsafe")
                yield group
            previous = signal_end

    def _expose(self, rng, charge, integration: int, first: int, end: int) -> None:
        """Collect the charge of frames first … end-1 of an integration, in place."""
        start, stop = first * self.pattern.frame_time, end * self.pattern.frame_time
        mean = self.rate * np.float32(stop - start)
        mean += self.detector.dark_charge(start, stop, integration)
        if self.effects.photon_noise:
            _add_poisson(rng, mean, charge)
        else:
            charge += mean
        for frame in range(first, end):
            hits, electrons = self.events.in_frame(integration, frame)
            # a pixel is hit at most once per event; two events may meet in one pixel
            np.add.at(charge, (hits["y"], hits["x"]), electrons)

    def _voltage(self, charge, reset_noise, previous, frame: int):
        """Return the signal at the amplifiers' inputs [DN], and the pixels' own part of it."""
        d, p = self.detector, self.facts.pixels
        signal = charge / d.gain
        measured_signal(signal, d.c2, d.c3, d.c4, d.full_well, out=signal)
        if self.effects.resets:
            amplitude, decay = p.reset_anomaly
            fraction, memory = p.rscd
            extra = np.float32(amplitude * np.exp(-(frame + 1) / decay)) * d.reset_shape
            if previous is not None and fraction:
                extra += np.float32(fraction * np.exp(-(frame + 1) / memory)) * previous
            if frame == self.pattern.frames - 1 and p.last_frame:
                extra[~d.is_reference] += np.float32(p.last_frame)
        else:
            extra = None
        node = signal + reset_noise
        voltage = convolve(node, d.kernel, d.active) if self.effects.ipc else node
        if extra is not None:
            voltage += extra
        voltage += d.bias
        return voltage, signal

    def _read(self, rng, voltage) -> np.ndarray:
        self.amplifiers.add_noise(rng, voltage)
        if self.effects.read_noise:
            noise = rng.standard_normal(self.shape, dtype=np.float32)
            noise *= self.detector.read_noise
            noise[self.detector.marks["bad_reference"]] *= 20
            voltage += noise
        return voltage


def _add_poisson(rng, mean, charge) -> None:
    """Add Poisson deviates to `charge`, a few at a time to bound memory."""
    flat_mean, flat_charge = mean.reshape(-1), charge.reshape(-1)
    for low in range(0, flat_mean.size, _CHUNK):
        m, q = flat_mean[low : low + _CHUNK], flat_charge[low : low + _CHUNK]
        many = np.flatnonzero(m >= _EXACT_BELOW)
        if many.size < m.size:
            few = np.flatnonzero(m < _EXACT_BELOW) if many.size else slice(None)
            q[few] += rng.poisson(m[few])
        if many.size:
            deviate = rng.standard_normal(many.size, dtype=np.float32)
            q[many] += np.rint(m[many] + np.sqrt(m[many]) * deviate)
