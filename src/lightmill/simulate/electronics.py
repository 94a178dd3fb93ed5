"""Noise that the amplifiers and the converter add, in the order pixels are read."""

from __future__ import annotations

import numpy as np

from lightmill.simulate.facts import InstrumentFacts, Window
from lightmill.simulate.scene import Effects

__all__ = ["Amplifiers", "digitise", "flicker", "read_order"]


def read_order(image, fast_axis: int, slow_axis: int):
    """View of a stored image with rows in the order they are read, columns along a row.

    Parameters
    ----------
    image : (ny, nx) ndarray
        In the stored frame.
    fast_axis, slow_axis : int
        1 for x, 2 for y; negative if read towards lower indices.

    Returns
    -------
    view : (nslow, nfast) ndarray
        A view: writing into it writes into the image.
    """
    along = {1: image.T, 2: image}  # axis 0 of these runs along x, along y
    view = along[abs(slow_axis)]
    return view[:: _sign(slow_axis), :: _sign(fast_axis)]


def _sign(axis: int) -> int:
    return 1 if axis > 0 else -1


def flicker(rng, streams: int, samples: int, rms) -> np.ndarray:
    """Draw time series whose power falls as 1/frequency.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where chance comes from.
    streams, samples : int
        Independent series, and values in each.
    rms : float or (streams, 1) array_like
        Expected standard deviation [DN].

    Returns
    -------
    series : (streams, samples) ndarray of float32
        Noise of mean zero [DN].
    """
    n = samples // 2 + 1
    amplitude = np.zeros(n, np.float32)
    amplitude[1:] = 1 / np.sqrt(np.arange(1, n, dtype=np.float32))
    # irfft gives a variance of (2/N)^2 * sum(amplitude^2) for unit real and imaginary parts
    amplitude *= samples / 2 / np.sqrt(np.sum(amplitude.astype(float) ** 2))
    parts = rng.standard_normal((streams, n, 2), dtype=np.float32)
    spectrum = parts.view(np.complex64)[..., 0] * amplitude
    series = np.fft.irfft(spectrum, samples, axis=-1)
    return (np.asarray(rms, np.float32) * series).astype(np.float32, copy=False)


class Amplifiers:
    """The readout chain of a window.

    Parameters
    ----------
    facts : InstrumentFacts
    window : Window
    effects : Effects
    """

    def __init__(self, facts: InstrumentFacts, window: Window, effects: Effects) -> None:
        self.facts, self.window = facts, window
        e = facts.electronics
        factor = 1.0 if window.name == "FULL" else e.subarray_factor
        drifts = factor * effects.amplifier_offsets
        self.offset, self.odd_even = e.amplifier_offset * drifts, e.odd_even * drifts
        flickers = float(effects.one_over_f)
        self.common, self.own = e.common_1f * flickers, e.amplifier_1f * flickers
        self.interleaved = facts.geometry.amplifiers == "interleaved"

    def add_noise(self, rng, image) -> None:
        """Add one frame's drifts to a stored (ny, nx) float32 image, in place."""
        g = self.facts.geometry
        view = read_order(image, g.fast_axis, g.slow_axis)
        if self.interleaved:
            self._interleaved(rng, view)
        else:
            self._blocks(rng, view)

    def _interleaved(self, rng, view) -> None:
        n = self.window.outputs
        for output in range(n):
            level = self.offset * rng.standard_normal()
            rows = self.odd_even * rng.standard_normal(2)
            for parity in (0, 1):
                view[parity::2, output::n] += np.float32(level + rows[parity])

    def _blocks(self, rng, view) -> None:
        nslow, nfast = view.shape
        n = self.window.outputs
        width = nfast // n
        line = width + self.facts.geometry.row_overhead
        if self.common or self.own:
            rms = np.array([[self.common]] + [[self.own]] * n)
            series = flicker(rng, n + 1, nslow * line, rms).reshape(n + 1, nslow, line)
        for output in range(n):
            block = view[:, output * width : (output + 1) * width]
            # neighbouring amplifiers are read in opposite directions
            in_time = block if output % 2 == 0 else block[:, ::-1]
            if self.common or self.own:
                in_time += series[0, :, :width]
                in_time += series[output + 1, :, :width]
            level = self.offset * rng.standard_normal()
            columns = self.odd_even * rng.standard_normal(2)
            for parity in (0, 1):
                block[:, parity::2] += np.float32(level + columns[parity])


def digitise(voltage, out) -> None:
    """Round a (ny, nx) float32 image to what a 16-bit converter gives, into a uint16 array."""
    np.rint(voltage, out=voltage)
    np.clip(voltage, 0, 65535, out=voltage)
    np.copyto(out, voltage, casting="unsafe")
