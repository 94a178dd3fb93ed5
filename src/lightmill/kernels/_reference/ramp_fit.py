"""Readable twin of the ramp-fit kernels: one pixel at a time, in float64."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

__all__ = ["fit_ramps", "segments_of", "weighted_coefficients"]

_DO_NOT_USE, _SATURATED, _JUMP, _PERSISTENCE, _CHARGELOSS = 1, 2, 4, 32, 128
_NO_GAIN = 1 << 19
_LARGE_VARIANCE = 1e6
_POWERS = ((5, 0.0), (10, 0.4), (20, 1.0), (50, 3.0), (100, 6.0), (math.inf, 10.0))


class Segment(NamedTuple):
    """One run of groups between jumps: its rate and the two parts of its variance."""

    start: int
    length: int
    slope: float
    var_poisson: float
    var_rnoise: float
    time: float


def fit_ramps(
    data,
    groupdq,
    pixeldq,
    gain,
    readnoise,
    average_dark,
    *,
    group_time,
    frame_time,
    nframes,
    suppress_one_group=True,
    zeroframe=None,
    weighting="optimal",
    dark_in="e",
    first_group=0,
    last_group=None,
):
    """Return what `lightmill.kernels.ramp_fit.fit_ramps` returns, as a dict."""
    nints, _, ny, nx = data.shape
    end = None if last_group is None else last_group + 1
    data, groupdq = data[:, first_group:end].astype(float), groupdq[:, first_group:end]
    planes = ("slope", "err", "dq", "var_poisson", "var_rnoise")
    out = {name: np.zeros((ny, nx), np.uint32 if name == "dq" else np.float32) for name in planes}
    for name in planes:
        out["int_" + name] = np.zeros((nints, ny, nx), out[name].dtype)
    for y, x in np.ndindex(ny, nx):
        pixel = _Pixel(
            gain=float(gain[y, x]),
            read=float(readnoise[y, x]) * float(gain[y, x]) / math.sqrt(2 * nframes),
            dark=0.0 if average_dark is None else float(average_dark[y, x]),
            group_time=group_time,
            one_group_time=(nframes + 1) * frame_time / 2,
            frame_time=frame_time,
            weighting=weighting,
            suppress=suppress_one_group,
        )
        if dark_in == "e" and pixel.gain > 0:
            pixel = pixel._replace(dark=pixel.dark / pixel.gain)
        zero = None if zeroframe is None else zeroframe[:, y, x].astype(float)
        exposure, integrations = fit_pixel(
            data[:, :, y, x].copy(), groupdq[:, :, y, x], int(pixeldq[y, x]), pixel, zero
        )
        for name, value in zip(planes, exposure, strict=True):
            out[name][y, x] = value
        for i, integration in enumerate(integrations):
            for name, value in zip(planes, integration, strict=True):
                out["int_" + name][i, y, x] = value
    return out


class _Pixel(NamedTuple):
    gain: float
    read: float  # electrons, one group
    dark: float  # DN/s
    group_time: float
    one_group_time: float
    frame_time: float
    weighting: str
    suppress: bool


def fit_pixel(data, groupdq, pixeldq, pixel, zeroframe):
    """Return (slope, err, dq, var_poisson, var_rnoise) of the exposure, and of each integration."""
    nints, ngroups = data.shape
    groupdq = groupdq.astype(int)
    if not pixel.gain > 0:
        pixeldq |= _NO_GAIN | _DO_NOT_USE
    good = (groupdq & ~_PERSISTENCE) == 0
    if pixel.suppress:
        alone = good.sum(axis=1) == 1
        groupdq[alone] |= _DO_NOT_USE
        good[alone] = False
    usable = (groupdq & (_DO_NOT_USE | _SATURATED)) == 0

    # An integration saturated from its start may still have its first read; one whose first group
    # alone is good was exposed for less than a group time. Both are ramps of one group.
    times = [pixel.group_time] * nints
    for i in range(nints):
        if zeroframe is not None and (groupdq[i] & _SATURATED).all() and zeroframe[i] != 0:
            data[i, 0], good[i, 0], usable[i, 0] = zeroframe[i], True, True
            times[i] = pixel.frame_time
        elif good[i, 0] and good[i].sum() == 1:
            times[i] = pixel.one_group_time

    rates = [median_rate(data[i], groupdq[i], usable[i], times[i]) for i in range(nints)]
    poisson_rate = max(sum(rates) / nints, 0.0) + pixel.dark

    results, every_segment, every_read = [], [], []
    for i in range(nints):
        dq = pixeldq
        for bit in (_SATURATED, _JUMP, _PERSISTENCE):
            dq |= bit if (groupdq[i] & bit).any() else 0
        segments = []
        if not pixeldq & _DO_NOT_USE and (usable[i, 0] or not groupdq[i, 0] & _SATURATED):
            segments = fit_segments(data[i], groupdq[i], good[i], pixel, poisson_rate, times[i])
        if not segments:
            dq |= _DO_NOT_USE
        read = [s.var_rnoise for s in segments]
        if segments and (groupdq[i] & _CHARGELOSS).any():
            kept = np.where(
                groupdq[i] & _CHARGELOSS, groupdq[i] & ~(_CHARGELOSS | _DO_NOT_USE), groupdq[i]
            )
            runs = segments_of(kept, (kept & ~_PERSISTENCE) == 0)
            read = [read_variance(n, pixel, times[i]) for _, n in runs]
        results.append(combine(segments, read, dq))
        every_segment += segments
        every_read += read
    dq = 0
    for result in results:
        dq |= result[2]
    if not all(result[2] & _DO_NOT_USE for result in results):
        dq &= ~_DO_NOT_USE
    slope, err, dq, var_poisson, var_rnoise = combine(every_segment, every_read, dq)
    if every_segment:
        err = math.sqrt(var_poisson + sum_in_parallel([s.var_rnoise for s in every_segment]))
    return (slope, err, dq, var_poisson, var_rnoise), results


def median_rate(data, groupdq, usable, time):
    """Rate the Poisson variance is computed from [DN/s]; 0 where there is none."""
    differences = [
        data[k + 1] - data[k]
        for k in range(len(data) - 1)
        if usable[k] and usable[k + 1] and not groupdq[k + 1] & _JUMP
    ]
    if differences:
        return float(np.median(differences)) / time
    return data[0] / time if usable[0] else 0.0


def segments_of(groupdq, good):
    """Return [(start, length)] of the runs of good groups; a run starts at the jump before it."""
    segments = []
    start = None
    for k, usable in enumerate([*good, False]):
        if usable and start is None:
            start = k - 1 if k > 0 and groupdq[k - 1] & ~_PERSISTENCE == _JUMP else k
        elif not usable and start is not None:
            segments.append((start, k - start))
            start = None
    longer = [s for s in segments if s[1] > 1]
    return longer or segments[:1]


def weighted_coefficients(n, power):
    """Return c with slope = Σ c[i] d[i] per group: least squares with weights |(i−ī)/ī|^power."""
    middle = (n - 1) / 2
    i = np.arange(n)
    weight = np.abs((i - middle) / middle) ** power
    centre = (weight * i).sum() / weight.sum()
    return weight * (i - centre) / (weight * (i - centre) ** 2).sum()


def fit_segments(data, groupdq, good, pixel, poisson_rate, time):
    """Fit every segment of one integration."""
    segments = []
    for start, n in segments_of(groupdq, good):
        d = data[start : start + n]
        if n == 1:
            slope = d[0] / time
        elif n == 2:
            slope = (d[1] - d[0]) / time
        else:
            signal = (d[-1] - d[0]) * pixel.gain
            radicand = pixel.read**2 + signal
            snr = signal / math.sqrt(radicand) if radicand > 0 else 0.0
            power = next(p for limit, p in _POWERS if max(snr, 0.0) < limit)
            if pixel.weighting != "optimal":
                power = 0.0
            slope = float((weighted_coefficients(n, power) * d).sum()) / time
        var_poisson = poisson_rate / (time * pixel.gain * max(n - 1, 1))
        segments.append(Segment(start, n, slope, var_poisson, read_variance(n, pixel, time), time))
    return segments


def read_variance(n, pixel, time):
    """Read-noise variance of the slope of `n` groups [(DN/s)²]."""
    n = max(n, 2)
    return 12 * pixel.read**2 / ((time * pixel.gain) ** 2 * (n**3 - n))


def combine(segments, read_variances, dq):
    """Combine segments with read-noise weights into (slope, err, dq, var_poisson, var_rnoise)."""
    if dq & _DO_NOT_USE or not segments:
        return math.nan, 0.0, dq, 0.0, 0.0
    # inverse read-noise variances, up to a factor that a pixel without read noise lacks
    weights = [(max(s.length, 2) ** 3 - max(s.length, 2)) * s.time**2 for s in segments]
    slope = sum(w * s.slope for w, s in zip(weights, segments, strict=True)) / sum(weights)
    var_rnoise = sum_in_parallel(read_variances)
    var_poisson = sum_in_parallel([s.var_poisson for s in segments])
    err = math.sqrt(sum_in_parallel([s.var_poisson + s.var_rnoise for s in segments]))
    var_poisson = var_poisson if var_poisson < _LARGE_VARIANCE else 0.0
    var_rnoise = var_rnoise if var_rnoise < _LARGE_VARIANCE else 0.0
    return slope, err, dq, var_poisson, var_rnoise


def sum_in_parallel(variances):
    """Variance of the inverse-variance mean; terms that are zero do not count."""
    inverse = sum(1 / v for v in variances if v > 0)
    return 1 / inverse if inverse > 0 else 0.0
