"""Readable twin of the jump kernel: one pixel at a time.

The absolute method, in float32, takes the kernel's decisions bit by bit; the signed method is written
with matrices in float64, and may differ where a deviation is within 1e-3 of its threshold.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["flag_jumps"]

_DO_NOT_USE, _SATURATED, _JUMP = 1, 2, 4
_UNUSABLE = _DO_NOT_USE | _SATURATED
_CLIP_ROUNDS = 5
_F = np.float32


def flag_jumps(
    data,
    groupdq,
    pixeldq,
    gain,
    readnoise,
    *,
    nframes,
    group_time=1.0,
    rejection_threshold=4.0,
    three_group_rejection_threshold=6.0,
    four_group_rejection_threshold=5.0,
    flag_4_neighbors=True,
    min_jump_to_flag_neighbors=10.0,
    max_jump_to_flag_neighbors=1000.0,
    after_jump_flag_dn1=0.0,
    after_jump_flag_n1=0,
    after_jump_flag_dn2=0.0,
    after_jump_flag_n2=0,
    median_gain=None,
    min_diffs_single_pass=10,
    only_use_ints=True,
    minimum_sigclip_groups=100,
    method="signed",
    diff_times=None,
    usable_groups=None,
    margins=None,
):
    """Flag jumps as `lightmill.kernels.jump.flag_jumps` does; return the number of primary jumps.

    `margins`, a list, is given how near each decision of the signed method was, relative to chi².
    """
    del group_time
    nints, ngroups, ny, nx = data.shape
    if usable_groups is None:
        usable_groups = int((~(groupdq & _DO_NOT_USE).astype(bool).all(axis=(0, 2, 3))).sum())
    if median_gain is None:
        with_gain = gain[np.isfinite(gain)]
        median_gain = float(np.median(with_gain)) if with_gain.size else 1.0
    thresholds = {2: three_group_rejection_threshold, 3: four_group_rejection_threshold}
    times = np.ones(ngroups - 1, _F) if diff_times is None else np.asarray(diff_times, _F)
    signed = method == "signed"
    sigma_clip = (nints if only_use_ints else usable_groups * nints) >= minimum_sigclip_groups
    single_pass = usable_groups - 1 >= min_diffs_single_pass

    primary = 0
    usable = (groupdq & _UNUSABLE) == 0
    flag = (groupdq & _JUMP) != 0
    spreading = []
    excess = np.full((nints, ngroups - 1, ny, nx), np.nan, _F)
    for y, x in np.ndindex(ny, nx):
        electrons = data[:, :, y, x] * gain[y, x]
        electrons[~usable[:, :, y, x]] = np.nan
        differences = np.diff(electrons, axis=1) / times
        differences[~np.isfinite(differences)] = np.nan
        if np.isnan(differences).all():
            continue
        read = readnoise[y, x] * gain[y, x]
        read_variance = read * read / _F(nframes)
        median = np.nanmedian(differences)
        excess[:, :, y, x] = differences - median
        if signed and pixeldq[y, x] & _DO_NOT_USE:
            continue
        if sigma_clip:
            hits = clipped_over_integrations(differences, rejection_threshold, only_use_ints)
        elif signed:
            scaled = {2: thresholds[2] * 3.83 / 6, 3: thresholds[3] * 4 / 5}
            hits = iterated_signed(
                differences, times, read_variance, rejection_threshold, scaled, margins
            )
        elif single_pass:
            hits = outliers(differences, times, read_variance, rejection_threshold)
        else:
            hits = iterated_absolute(
                differences, times, read_variance, rejection_threshold, thresholds
            )
        primary += len(hits)
        for i, k in hits:
            flag[i, k + 1, y, x] = True
            ratio2 = squared_ratio(excess[i, k, y, x], abs(median), read_variance, times[k])
            if _F(min_jump_to_flag_neighbors**2) < ratio2 < _F(max_jump_to_flag_neighbors**2):
                spreading.append((i, k + 1, y, x))

    if flag_4_neighbors:
        for i, g, y, x in spreading:
            for y2, x2 in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= y2 < ny and 0 <= x2 < nx:
                    flag[i, g, y2, x2] = True
    flag &= usable

    # neighbours glow as well: every group flagged so far is asked for its own excess
    for i, g, y, x in np.argwhere(flag[:, 1:]):
        charge = excess[i, g, y, x] * times[g]
        for dn, after in (
            (after_jump_flag_dn1, after_jump_flag_n1),
            (after_jump_flag_dn2, after_jump_flag_n2),
        ):
            if charge >= _F(dn * median_gain):
                flag[i, g + 1 : g + 2 + after, y, x] = True
    groupdq[flag] |= _JUMP
    groupdq[~usable] &= 255 - _JUMP
    return primary


def squared_ratio(deviation, poisson, read_variance, time):
    """Return (deviation / noise)², or NaN where there is no noise."""
    variance = poisson / time + read_variance / (time * time)
    return deviation * deviation / variance if variance > 0 else _F(math.nan)


def median_of(ordered):
    """Median of a sorted float32 array."""
    n = len(ordered)
    return ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) * _F(0.5)


def outliers(differences, times, read_variance, threshold):
    """Every difference too far from the median of all."""
    n = int(np.isfinite(differences).sum())
    if n < 2:
        return []
    median = median_of(np.sort(differences[np.isfinite(differences)]))
    return [
        (i, k)
        for i, k in np.ndindex(differences.shape)
        if squared_ratio(differences[i, k] - median, abs(median), read_variance, times[k])
        > _F(threshold**2)
    ]


def iterated_absolute(differences, times, read_variance, threshold, thresholds):
    """Remove the largest outlier of the absolute differences until none is left."""
    left = np.abs(differences)
    hits = []
    while (n := int(np.isfinite(left).sum())) >= 2:
        ordered = np.sort(left[np.isfinite(left)])
        median = median_of(ordered[:-1] if n >= 4 else ordered if n == 3 else ordered[:1])
        worst, worst_ratio2 = None, _F(thresholds.get(n, threshold) ** 2)
        for i, k in np.ndindex(left.shape):
            ratio2 = squared_ratio(left[i, k] - median, median, read_variance, times[k])
            if ratio2 > worst_ratio2:
                worst, worst_ratio2 = (i, k), ratio2
        if worst is None:
            break
        hits.append(worst)
        left[worst] = np.nan
    return hits


def iterated_signed(differences, times, read_variance, threshold, thresholds, margins=None):
    """Remove the difference whose own value lowers chi² most, until none does beyond the threshold."""
    nints, ndiffs = differences.shape
    order = [(i, k) for i, k in np.ndindex(nints, ndiffs) if np.isfinite(differences[i, k])]
    rate = max(float(np.median([differences[index] for index in order])), 0.0)
    covariance = np.zeros((nints, ndiffs, nints, ndiffs))
    for i, k in np.ndindex(nints, ndiffs):
        covariance[i, k, i, k] = rate / times[k] + read_variance / times[k] ** 2
        if k > 0:  # two differences share the read noise of the group between
            shared = -read_variance / 2 / (times[k - 1] * times[k])
            covariance[i, k, i, k - 1] = covariance[i, k - 1, i, k] = shared
    hits = []
    while (n := len(order)) >= 2:
        values = np.array([differences[index] for index in order], float)
        c = np.array([[covariance[a + b] for b in order] for a in order])
        if not c.any():
            break
        limit = thresholds.get(n, threshold) ** 2
        drops = [chi_squared(values, c) - chi_squared(values, c, without=k) for k in range(n)]
        worst = int(np.argmax(values)) if n == 2 else int(np.argmax(drops))
        if margins is not None:
            runners_up = np.sort(drops)[-2:] if n > 2 and max(drops) > limit else []
            margins += [abs(max(drops) / limit - 1), *(-np.diff(runners_up) / -max(drops))]
        if not drops[worst] > limit:
            break
        hits.append(order.pop(worst))
    return hits


def chi_squared(values, covariance, without=None):
    """chi² of the values about their best constant."""
    if without is not None:
        values = np.delete(values, without)
        covariance = np.delete(np.delete(covariance, without, 0), without, 1)
    inverse = np.linalg.inv(covariance)
    residual = values - (inverse @ values).sum() / inverse.sum()
    return float(residual @ inverse @ residual)


def clipped_over_integrations(differences, threshold, only_use_ints):
    """Differences beyond `threshold` standard deviations from the median of their like."""
    hits = []
    groups = range(differences.shape[1])
    for columns in ([k] for k in groups) if only_use_ints else [list(groups)]:
        kept = [(i, k) for i in range(len(differences)) for k in columns]
        kept = [index for index in kept if np.isfinite(differences[index])]
        for _ in range(_CLIP_ROUNDS):
            if not kept:
                break
            values = np.array([differences[index] for index in kept], float)
            out = np.abs(values - np.median(values)) > threshold * values.std()
            hits += [index for index, is_out in zip(kept, out, strict=True) if is_out]
            kept = [index for index, is_out in zip(kept, out, strict=True) if not is_out]
    return hits
