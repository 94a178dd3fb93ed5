"""Sampling of reads, pixel by pixel and with all weights written out: see `lightmill.kernels.readout`."""

from __future__ import annotations

import numpy as np

DO_NOT_USE, SATURATED, JUMP_DET, NO_GAIN_VALUE = 1, 2, 4, 1 << 19


def linearize(reads, coeffs, *, form="polynomial"):
    """Evaluate the polynomial in float64."""
    counts = np.asarray(reads, np.float64)
    value = np.broadcast_to(np.float64(coeffs[-1]), counts.shape)
    for coefficient in np.asarray(coeffs[:-1], np.float64)[::-1]:
        value = value * counts + coefficient
    return value if form == "polynomial" else counts + counts * value


def sample_ramps(
    reads, times, *, readdq=None, sampling="utr", unit="rate", nfowler=1, saturation=None,
    coeffs=None, form="polynomial", pixeldq=None, gain=1.0, readnoise=0.0,
):  # fmt: skip
    """Return (signal, var_poisson, var_rnoise, dq), in float64, of (nramps, nreads, ny, nx) reads."""
    reads, times = np.asarray(reads), np.asarray(times, np.float64)
    nramps, nreads, ny, nx = reads.shape
    flags = np.zeros(reads.shape, np.uint8) if readdq is None else np.asarray(readdq, np.uint8)
    limit = np.nan if saturation is None else saturation
    full = reads.astype(np.float32) >= np.broadcast_to(np.float32(limit), (ny, nx))
    values = linearize(reads, coeffs, form=form) if coeffs is not None else reads.astype(float)
    gain, readnoise = (np.broadcast_to(np.float32(v), (ny, nx)) for v in (gain, readnoise))
    nominal = np.zeros((nreads, 1, 1), np.uint8)
    span = nramps * _span(times, nominal[:, 0, 0], sampling, nfowler)
    scale = span if unit == "counts" else 1.0

    signal, var_poisson, var_rnoise = (np.zeros((ny, nx)) for _ in range(3))
    dq = np.zeros((ny, nx), np.uint32) if pixeldq is None else np.array(pixeldq, np.uint32)
    for y, x in np.ndindex(ny, nx):
        numerator = weight = read = poisson = 0.0
        for ramp in range(nramps):
            at = ramp, slice(None), y, x
            kinds = flags[at] | np.where(full[at], SATURATED, 0).astype(np.uint8)
            kinds |= np.where(np.isfinite(values[at]), 0, DO_NOT_USE).astype(np.uint8)
            w, per, found = _weights(times, kinds, sampling, nfowler)
            dq[y, x] |= found
            if not per > 0:
                continue
            numerator += np.sum(w[w != 0] * values[at][w != 0])
            weight += per
            read += np.sum(w**2)
            earlier = np.minimum.outer(times - times[0], times - times[0])
            poisson += w @ earlier @ w
        if not weight > 0:
            empty = sampling != "utr" and _apart(nreads, sampling, nfowler) == 0
            signal[y, x] = 0.0 if empty and unit == "counts" else np.nan
            dq[y, x] |= 0 if empty and unit == "counts" else DO_NOT_USE
        else:
            rate = numerator / weight
            signal[y, x] = rate * scale
            var_rnoise[y, x] = float(readnoise[y, x]) ** 2 * read / weight**2 * scale**2
            var_poisson[y, x] = max(rate, 0.0) * poisson / weight**2 * scale**2
        if gain[y, x] > 0:
            var_poisson[y, x] /= gain[y, x]
        else:
            var_poisson[y, x] = np.nan
            dq[y, x] |= NO_GAIN_VALUE
    return signal, var_poisson, var_rnoise, dq


def _apart(nreads, sampling, nfowler):
    """Return how many reads of a Fowler group are not in the other one: those in both cancel."""
    k = 1 if sampling == "cds" else nfowler
    return min(k, nreads - k)


def _span(times, kinds, sampling, nfowler):
    """Return the time that makes counts of a rate."""
    if sampling == "utr":
        return times[-1] - times[0]
    apart = _apart(len(times), sampling, nfowler)
    k = 1 if sampling == "cds" else nfowler
    return _weights(times, kinds, sampling, nfowler)[1] * apart / k


def _weights(times, kinds, sampling, nfowler):
    """Return weights of the reads in the numerator, its denominator, and the flags met."""
    weights, found = np.zeros(len(times)), 0
    if sampling == "utr":
        segments, denominator = [[]], 0.0
        for k, kind in enumerate(kinds):
            if kind & SATURATED:
                found |= SATURATED
                break
            if kind & JUMP_DET:
                found |= JUMP_DET
                segments.append([])
            if not kind & DO_NOT_USE:
                segments[-1].append(k)
        for segment in segments:
            if segment:
                weights[segment] = times[segment] - times[segment].mean()
                denominator += np.sum(weights[segment] ** 2)
        return weights, denominator, found
    apart = _apart(len(times), sampling, nfowler)
    first, last, found = _groups(kinds, apart)
    if not (first and last):
        return weights, 0.0, found
    weights[first], weights[last] = -1 / len(first), 1 / len(last)
    return weights, times[last].mean() - times[first].mean(), found


def _groups(kinds, apart):
    """Return usable reads of the first and of the last Fowler group, and the flags met."""
    first, last, found = [], [], 0
    for k, kind in enumerate(kinds):
        is_first, is_last = k < apart, k >= len(kinds) - apart
        if kind & SATURATED and (is_first or is_last):
            return first, last if is_last else [], found | SATURATED
        if kind & JUMP_DET and not kind & SATURATED:
            found |= JUMP_DET
            if not is_first:
                return first, last, found
            first = []
        if not kind & (DO_NOT_USE | SATURATED):
            if is_first:
                first.append(k)
            elif is_last:
                last.append(k)
    return first, last, found
