"""One detector: what each of its pixels is like, and what it makes of light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.simulate.facts import InstrumentFacts, Window
from lightmill.simulate.scene import Effects, stream

__all__ = ["Detector", "convolve", "inverse_kernel", "measured_signal"]

_ROWS = 128  # rows worked on at a time: a few planes of them stay in the processor's cache


@dataclass
class Detector:
    """Maps of a window of a detector, shape (ny, nx), float32 unless said.

    Attributes
    ----------
    gain : electron / DN.
    read_noise : of one read [DN].
    bias : [DN].
    c2, c3 : ndarray
        Non-linearity; `c4` is one number.
    full_well : measured signal above bias at which the pixel is full [DN].
    dark : [electron / s].
    settling : ndarray
        Dark charge that arrives with `settling_time` [electron].
    efficiency : relative response to light.
    reset_shape : ndarray
        Relative strength of the reset anomaly.
    is_reference : (ny, nx) ndarray of bool
        Pixels that see no light.
    marks : dict of (ny, nx) ndarray of bool
        What a mask says of the pixels: dead, hot, low_qe, no_linearity,
        no_saturation, bad_gain, bad_reference; `unusable` is the verdict.
    kernel : (3, 3) ndarray of float64
        Where a pixel's signal appears: ``out = kernel (*) in``.
    active : (slice, slice)
        Rows and columns that see light.
    """

    gain: np.ndarray
    read_noise: np.ndarray
    bias: np.ndarray
    c2: np.ndarray
    c3: np.ndarray
    c4: float
    full_well: np.ndarray
    dark: np.ndarray
    settling: np.ndarray
    settling_time: float
    efficiency: np.ndarray
    reset_shape: np.ndarray
    is_reference: np.ndarray
    marks: dict[str, np.ndarray]
    kernel: np.ndarray
    active: tuple[slice, slice]

    @classmethod
    def draw(cls, facts: InstrumentFacts, window: Window, effects: Effects, seed: int) -> Detector:
        """Draw the pixels of a window; the same seed gives the same detector."""
        p, shape = facts.pixels, window.shape
        rng = stream(seed, f"detector {window.name} {window.x} {window.y}")

        def scatter(amount: float) -> Any:
            return np.float32(amount) * rng.standard_normal(shape, dtype=np.float32)

        reference = _reference_pixels(facts, window)
        gain = p.gain * (1 + scatter(p.gain_scatter * effects.gain_pattern))
        bias = p.bias + scatter(p.bias_scatter * effects.bias_pattern)
        read_noise = p.read_noise * np.exp(scatter(p.read_noise_scatter * effects.gain_pattern))
        linear = float(effects.nonlinearity)
        c2 = linear * p.nonlinearity[0] * (1 + scatter(p.nonlinearity_scatter))
        c3 = linear * p.nonlinearity[1] * (1 + scatter(p.nonlinearity_scatter))
        full_well = p.full_well * (1 + scatter(p.full_well_scatter * effects.gain_pattern))
        dark = float(effects.dark) * p.dark * np.exp(scatter(p.dark_scatter))
        nothing = np.broadcast_to(np.float32(0), shape)  # takes no memory
        settling: np.ndarray = nothing
        reset_shape: np.ndarray = nothing
        if p.dark_settling[0]:
            settling = float(effects.dark) * p.dark_settling[0] * (1 + scatter(0.1))
        if p.reset_anomaly[0]:
            reset_shape = 1 + scatter(0.1)
        marks = _bad_pixels(rng, facts, reference, effects)
        hot = marks["hot"]
        dark[hot] = p.dark + facts.optics.sky * rng.uniform(2, 60, hot.sum())
        efficiency = np.ones(shape, np.float32)
        efficiency[marks["low_qe"]] = 0.5
        efficiency[marks["dead"] | reference] = 0
        # a pixel whose response nobody could measure has one all the same
        c2[marks["no_linearity"]] *= -3
        for image in (dark, settling, reset_shape):
            if image is not nothing:
                image[reference | marks["dead"]] = 0
        maps = (gain, read_noise, bias, c2, c3, full_well, dark, settling, reset_shape)
        gain, read_noise, bias, c2, c3, full_well, dark, settling, reset_shape = (
            np.asarray(m, np.float32) for m in maps
        )
        rows = np.flatnonzero(~reference.all(axis=1))
        columns = np.flatnonzero(~reference.all(axis=0))
        return cls(
            gain=gain,
            read_noise=read_noise,
            bias=bias,
            c2=c2,
            c3=c3,
            c4=linear * p.nonlinearity[2],
            full_well=full_well,
            dark=dark,
            settling=settling,
            settling_time=p.dark_settling[1],
            efficiency=efficiency,
            reset_shape=reset_shape,
            is_reference=reference,
            marks=marks,
            kernel=_coupling(p.ipc if effects.ipc else (0.0,) * 4),
            active=(slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)),
        )

    def dark_charge(self, start: float, end: float, integration: int = 0) -> np.ndarray:
        """Return the mean dark charge that arrives between two times after a reset [electron].

        The settling part is halved in every integration but the first: the
        detector has then been read for a while.
        """
        rise = np.exp(-start / self.settling_time) - np.exp(-end / self.settling_time)
        part = np.float32(rise * (1.0 if integration == 0 else 0.5))
        return self.dark * np.float32(end - start) + self.settling * part


def measured_signal(linear, c2, c3, c4, full_well, out):
    """Measured signal of a non-linear pixel, cut at its full well [DN].

    Solves ``G + c2 G^2 + c3 G^3 + c4 G^4 = linear`` for G by Newton's method
    on a few rows at a time. All arrays (ny, nx) float32; `out` may be `linear`.
    """
    c4 = np.float32(c4)
    for top in range(0, len(linear), _ROWS):
        rows = slice(top, top + _ROWS)
        a2, a3, full = c2[rows], c3[rows], full_well[rows]
        highest = full * (1 + full * (a2 + full * (a3 + full * c4)))
        wanted = np.minimum(linear[rows], highest)
        g = wanted / (1 + wanted * a2)
        for _ in range(3):
            value = g * (1 + g * (a2 + g * (a3 + g * c4)))
            slope = 1 + g * (2 * a2 + g * (3 * a3 + g * (4 * c4)))
            value -= wanted
            value /= slope
            g -= value
        np.minimum(g, full, out=out[rows])
    return out


def convolve(image, kernel, active, out=None):
    """Convolve the active part of an image with a small kernel; nothing outside takes part.

    Parameters
    ----------
    image : (ny, nx) ndarray of float32
    kernel : (k, k) ndarray
        ``out[y, x] = sum_ji kernel[j, i] image[y + k//2 - j, x + k//2 - i]``.
    active : (slice, slice)

    Returns
    -------
    out : (ny, nx) ndarray of float32
        The image itself outside the active part.
    """
    out = np.empty_like(image) if out is None else out
    out[...] = image
    source, target = image[active], out[active]
    ny, nx = source.shape
    h = kernel.shape[0] // 2
    target[...] = 0
    for j in range(kernel.shape[0]):
        for i in range(kernel.shape[1]):
            if kernel[j, i] == 0:
                continue
            dy, dx = j - h, i - h
            to = (slice(max(0, dy), ny + min(0, dy)), slice(max(0, dx), nx + min(0, dx)))
            of = (slice(max(0, -dy), ny + min(0, -dy)), slice(max(0, -dx), nx + min(0, -dx)))
            target[to] += np.float32(kernel[j, i]) * source[of]
    return out


def inverse_kernel(kernel, size: int = 3) -> np.ndarray:
    """Kernel that undoes `kernel`, cut to (size, size) and to unit sum."""
    n = 64
    field = np.zeros((n, n))
    k = kernel.shape[0]
    field[:k, :k] = kernel
    field = np.roll(field, (-(k // 2), -(k // 2)), axis=(0, 1))
    inverse = np.fft.ifft2(1 / np.fft.fft2(field)).real
    h = size // 2
    inverse = np.roll(inverse, (h, h), axis=(0, 1))[:size, :size]
    return inverse / inverse.sum()


def _coupling(fractions) -> np.ndarray:
    left, right, below, above = fractions
    return np.array([[0, below, 0], [left, 1 - sum(fractions), right], [0, above, 0]])


def _reference_pixels(facts: InstrumentFacts, window: Window) -> np.ndarray:
    left, right, bottom, top = facts.geometry.reference_border
    y = np.arange(window.y - 1, window.y - 1 + window.rows)
    x = np.arange(window.x - 1, window.x - 1 + window.columns)
    in_rows = (y < bottom) | (y >= facts.geometry.rows - top)
    in_columns = (x < left) | (x >= facts.geometry.columns - right)
    return in_rows[:, None] | in_columns[None, :]


def _bad_pixels(rng, facts, reference, effects) -> dict[str, np.ndarray]:
    """Draw the pixels that something is wrong with; no pixel has two faults."""
    shape, n = reference.shape, reference.size
    free = ~reference
    some = max(3, n // 400_000)
    wanted = {
        "dead": round(facts.pixels.dead * n),
        "hot": round(facts.pixels.hot * n),
        "low_qe": round(facts.pixels.low_qe * n),
        "no_linearity": 2 * some,
        "no_saturation": 2 * some,
        "bad_gain": some,
    }
    marks = {}
    for name, count in wanted.items():
        mark = np.zeros(shape, bool)
        drawn = max(2, count) if effects.bad_pixels else 0
        mark.flat[rng.choice(np.flatnonzero(free), drawn, replace=False)] = True
        free &= ~mark
        marks[name] = mark
    bad_reference = np.zeros(shape, bool)
    places = np.flatnonzero(reference)
    if effects.bad_pixels and places.size:
        bad_reference.flat[rng.choice(places, max(1, places.size // 1000), replace=False)] = True
    marks["bad_reference"] = bad_reference
    half_of_the_hot = marks["hot"] & (rng.random(shape) < 0.5)
    marks["unusable"] = marks["dead"] | half_of_the_hot | bad_reference
    return marks
