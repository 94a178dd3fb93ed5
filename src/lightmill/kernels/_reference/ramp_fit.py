"""Readable twin of the ramp-fit kernels: one pixel at a time, in float64."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

__all__ = ["fit_ramps", "fit_ramps_likelihood", "segments_of", "weighted_coefficients"]

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
    weight: float  # inverse read-noise variance, up to a factor a noiseless pixel lacks


def fit_ramps(
    data,
    groupdq,
    pixeldq,
    gain,
    readnoise,
    average_dark=None,
    *,
    group_time,
    frame_time=None,
    nframes=1,
    suppress_one_group=True,
    zeroframe=None,
    weighting="optimal",
    variances="bound",
    dark_in="e",
    first_group=0,
    last_group=None,
    group_times=None,
):
    """Return what `lightmill.kernels.ramp_fit.fit_ramps` returns, as a dict."""
    nints, ngroups, ny, nx = data.shape
    frame_time = group_time / nframes if frame_time is None else frame_time
    groups = slice(first_group, ngroups if last_group is None else last_group + 1)
    data, groupdq = data[:, groups].astype(float), groupdq[:, groups].astype(int)
    groupdq[~np.isfinite(data)] |= _DO_NOT_USE
    if first_group > 0:
        groupdq[:, 0] &= ~_JUMP  # what it jumped from was cut off
    times = np.arange(ngroups) if group_times is None else np.asarray(group_times) / group_time
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
            times=times[groups],
            weighting=weighting,
            exact=variances == "estimate",
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
    times: np.ndarray  # of the groups, in units of group_time
    weighting: str
    exact: bool
    suppress: bool


def fit_pixel(data, groupdq, pixeldq, pixel, zeroframe):
    """Return (slope, err, dq, var_poisson, var_rnoise) of the exposure, and of each integration."""
    nints = len(data)
    groupdq = groupdq.copy()
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
    first_reads = [False] * nints
    for i in range(nints):
        if zeroframe is not None and (groupdq[i] & _SATURATED).all() and zeroframe[i] != 0:
            data[i, 0], good[i, 0], usable[i, 0] = zeroframe[i], True, True
            times[i], first_reads[i] = pixel.frame_time, True
        elif good[i, 0] and good[i].sum() == 1:
            times[i] = pixel.one_group_time

    rates = [
        median_rate(data[i], groupdq[i], usable[i], pixel.times, times[i]) for i in range(nints)
    ]
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
        if segments and not first_reads[i] and (groupdq[i] & _CHARGELOSS).any():
            kept = np.where(
                groupdq[i] & _CHARGELOSS, groupdq[i] & ~(_CHARGELOSS | _DO_NOT_USE), groupdq[i]
            )
            runs = segments_of(kept, (kept & ~_PERSISTENCE) == 0)
            read = [read_variance(*run, pixel, times[i]) for run in runs]
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


def median_rate(data, groupdq, usable, times, time):
    """Rate the Poisson variance is computed from [DN/s]; 0 where there is none."""
    differences = [
        (data[k + 1] - data[k]) / (times[k + 1] - times[k])
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


def weighted_coefficients(times, power):
    """Return c with slope = Σ c[i] d[i]: least squares on `times` with weights |(i−m)/m|^power."""
    n = len(times)
    middle = (n - 1) / 2
    weight = np.ones(n) if n < 3 else np.abs((np.arange(n) - middle) / middle) ** power
    centre = (weight * times).sum() / weight.sum()
    return weight * (times - centre) / (weight * (times - centre) ** 2).sum()


def fit_segments(data, groupdq, good, pixel, poisson_rate, time):
    """Fit every segment of one integration."""
    segments = []
    for start, n in segments_of(groupdq, good):
        d, times = data[start : start + n], pixel.times[start : start + n]
        power = 0.0
        if n > 2 and pixel.weighting == "optimal":
            signal = (d[-1] - d[0]) * pixel.gain
            radicand = pixel.read**2 + signal
            snr = signal / math.sqrt(radicand) if radicand > 0 else 0.0
            power = next(p for limit, p in _POWERS if max(snr, 0.0) < limit)
        if n == 1:
            slope, spread, var_rnoise = d[0], 1.0, read_variance(start, n, pixel, time)
        else:
            c = weighted_coefficients(times, power)
            slope, spread = float(c @ (d - d[0])), 1 / (times[-1] - times[0])
            var_rnoise = read_variance(start, n, pixel, time, power if pixel.exact else 0.0)
            if pixel.exact:  # each interval's charge is in all later groups
                tails = np.cumsum(c[::-1])[::-1][1:]
                spread = float(tails**2 @ np.diff(times))
        var_poisson = poisson_rate / (time * pixel.gain) * spread
        weight = time**2 / read_variance(start, n, pixel._replace(read=1.0, gain=1.0), 1.0)
        segments.append(Segment(start, n, slope / time, var_poisson, var_rnoise, weight))
    return segments


def read_variance(start, n, pixel, time, power=0.0):
    """Read-noise variance of the slope of `n` groups, or of two for one [(DN/s)²]."""
    times = pixel.times[start : start + n] if n > 1 else np.arange(2)
    c = weighted_coefficients(times, power)
    return float((c**2).sum()) * (pixel.read / (time * pixel.gain)) ** 2


def combine(segments, read_variances, dq):
    """Combine segments with read-noise weights into (slope, err, dq, var_poisson, var_rnoise)."""
    if dq & _DO_NOT_USE or not segments:
        return math.nan, 0.0, dq, 0.0, 0.0
    slope = sum(s.weight * s.slope for s in segments) / sum(s.weight for s in segments)
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


def fit_ramps_likelihood(
    data,
    groupdq,
    pixeldq,
    gain,
    readnoise,
    average_dark=None,
    *,
    read_times,
    detect_jumps=True,
    one_omit=20.25,
    two_omit=23.8,
    jump_masks="auto",
    dark_in="e",
):
    """Return what `lightmill.kernels.ramp_fit.fit_ramps_likelihood` returns, as a dict."""
    nints, _, ny, nx = data.shape
    names = ("slope", "err", "dq", "var_poisson", "var_rnoise", "chisq")
    out = {}
    for prefix, shape in (("", (ny, nx)), ("int_", (nints, ny, nx))):
        for name in names:
            out[prefix + name] = np.zeros(shape, np.uint32 if name == "dq" else np.float32)
    steps, poisson, read = covariance_parts(read_times)
    several = np.array([len(times) > 1 for times in read_times])
    for y, x in np.ndindex(ny, nx):
        dq = int(pixeldq[y, x])
        g = float(gain[y, x])
        if not g > 0:
            dq |= _NO_GAIN | _DO_NOT_USE
            g = 1.0
        dark = 0.0 if average_dark is None else float(average_dark[y, x])
        dark = dark / g if dark_in == "e" else dark
        noise = max(float(readnoise[y, x]) ** 2 / 2, 1e-12)
        results = []
        for i in range(nints):
            flags = groupdq[i, :, y, x].astype(int)
            differences = np.diff(data[i, :, y, x].astype(float)) / steps
            mask = usable_differences(flags, several, jump_masks) & np.isfinite(differences)
            differences[~mask] = 0.0
            any_flag = int(np.bitwise_or.reduce(flags)) & (_SATURATED | _JUMP | _PERSISTENCE)
            guess = max(float(np.median(differences[mask])), 0.0) if mask.any() else 0.0

            def omit(kept, rate, differences=differences, g=g, noise=noise):
                c = poisson * rate / g + read * noise
                return likelihood(differences[kept], c[np.ix_(kept, kept)])

            found = (
                search_jumps(omit, mask, guess, several, one_omit, two_omit)
                if detect_jumps
                else mask
            )
            if (found != mask).any():
                any_flag |= _JUMP
            if not found.any():
                results.append(None)
            else:
                slope, _, _ = omit(found, guess)
                rate = max(slope, 0.0) + dark
                slope, weights, chisq = omit(found, rate)
                per_rate = weights @ poisson[np.ix_(found, found)] @ weights / g
                var_read = weights @ read[np.ix_(found, found)] @ weights * noise
                results.append((slope, per_rate, var_read, chisq, rate))
            _write(out, "int_", (i, y, x), results[-1], dq | any_flag)
            results[-1] = (results[-1], any_flag)
        flags = dq
        for _, any_flag in results:
            flags |= any_flag
        fits = [fit for fit, _ in results if fit is not None]
        total = fits[0] if nints == 1 and fits else combine_likelihood(fits, dark)
        _write(out, "", (y, x), total, flags)
    return out


def _write(out, prefix, at, fit, dq):
    usable = fit is not None and not dq & _DO_NOT_USE
    slope, per_rate, var_read, chisq, rate = fit if usable else (math.nan, 0, 0, math.nan, 0)
    var_poisson, var_read = np.float32(per_rate * rate), np.float32(var_read)
    values = (slope, np.sqrt(var_poisson + var_read), dq | (0 if usable else _DO_NOT_USE))
    names = ("slope", "err", "dq", "var_poisson", "var_rnoise", "chisq")
    for name, value in zip(names, (*values, var_poisson, var_read, chisq), strict=True):
        out[prefix + name][at] = value


def covariance_parts(read_times):
    """Return (steps, Poisson part for 1 DN/s at gain 1, read part for 1 DN²) of the differences."""
    counts = np.array([len(times) for times in read_times], float)
    means = np.array([np.mean(times) for times in read_times])
    # covariance of the charge at two moments is that of the earlier: Brandt's τ for one group
    taus = np.array([np.minimum.outer(times, times).mean() for times in read_times])
    n = len(read_times)
    poisson_of_groups = np.array(
        [[taus[a] if a == b else means[min(a, b)] for a in range(n)] for b in range(n)]
    )
    steps = np.diff(means)
    take = (np.eye(n, k=1) - np.eye(n))[:-1] / steps[:, None]
    return steps, take @ poisson_of_groups @ take.T, take @ np.diag(1 / counts) @ take.T


def usable_differences(flags, several, jump_masks):
    """Return which differences no flag spoils."""
    others = flags & ~_PERSISTENCE
    forgiven = np.where(several | (jump_masks == "both"), others, others & ~_JUMP)
    return (others[1:] == 0) & (forgiven[:-1] == 0)


def likelihood(differences, covariance):
    """Return (slope, weights of the differences, chi²) of the best constant."""
    inverse = np.linalg.inv(covariance)
    weights = inverse.sum(axis=1) / inverse.sum()
    slope = float(weights @ differences)
    residual = differences - slope
    return slope, weights, float(residual @ inverse @ residual)


def search_jumps(omit, mask, guess, several, one_omit, two_omit):
    """Leave out the worst difference or pair until no drop of chi² is beyond its limit."""
    mask = mask.copy()
    while mask.sum() >= 3:
        _, _, chisq = omit(mask, guess)
        best, worst = 0.0, None
        for k in np.flatnonzero(mask)[::-1]:
            candidates = [([k], one_omit)]
            if mask.sum() >= 4 and mask[k : k + 2].sum() == 2 and several[k + 1]:
                candidates.append(([k, k + 1], two_omit))
            for without, limit in candidates:
                kept = mask.copy()
                kept[without] = False
                drop = chisq - omit(kept, guess)[2] - limit
                if drop > best:
                    best, worst = drop, without
        if worst is None:
            break
        mask[worst] = False
    return mask


def combine_likelihood(fits, dark):
    """Combine integrations, each weighted for the rate they have in common."""
    if not fits:
        return None
    rate = sum(fit[0] for fit in fits) / len(fits)
    for _ in range(2):
        expected = max(rate, 0.0) + dark
        weights = np.array([1 / (fit[1] * expected + fit[2]) for fit in fits])
        weights /= weights.sum()
        rate = float(sum(w * fit[0] for w, fit in zip(weights, fits, strict=True)))
    per_rate, var_read = (
        float(sum(w * w * fit[k] for w, fit in zip(weights, fits, strict=True))) for k in (1, 2)
    )
    return rate, per_rate, var_read, sum(fit[3] for fit in fits), expected
