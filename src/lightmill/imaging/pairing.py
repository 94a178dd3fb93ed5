"""Pair the stars of two images: the offset at which most of them meet, and who meets whom.

Positions are (x, y) in one tangent plane [arcsec].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Offset", "distinct", "merged", "offset_between", "pair_up", "scatter_of"]

CHANCE = 1e-4  # that sky without common stars shows a peak like this


@dataclass(frozen=True)
class Offset:
    """How two sets of positions lie to each other.

    Attributes
    ----------
    shift : (2,) ndarray
        To be added to the first to meet the second [arcsec].
    count : int
        Positions that meet there.
    """

    shift: np.ndarray
    count: int


def distinct(xy: np.ndarray, separation: float) -> np.ndarray:
    """Say which positions, most important first, have no more important one nearby.

    Parameters
    ----------
    xy : (n, 2) ndarray
        Positions [arcsec].
    separation : float
        How near is nearby [arcsec].
    """
    from scipy.spatial import cKDTree

    keep = np.ones(len(xy), bool)
    if len(xy) < 2 or not separation > 0:
        return keep
    pairs = cKDTree(xy).query_pairs(separation, output_type="ndarray")
    for first, second in pairs[np.argsort(pairs[:, 0], kind="stable")]:
        if keep[first]:
            keep[second] = False
    return keep


def offset_between(
    xy: np.ndarray,
    reference: np.ndarray,
    *,
    radius: float,
    tolerance: float,
    guess: Sequence[float] = (0.0, 0.0),
) -> Offset | None:
    """Find the offset at which most positions of two sets meet.

    The two-dimensional histogram of all differences has a peak there; chance gives the other
    bins a Poisson distribution, by which the peak is judged (compare Kaiser et al. 1999,
    astro-ph/9907229, for the method).

    Parameters
    ----------
    xy, reference : (n, 2), (m, 2) ndarray
        Positions [arcsec].
    radius : float
        Largest offset from the guess [arcsec].
    tolerance : float
        How far positions that are the same may be from each other after the shift, because of
        rotation and scale [arcsec].
    guess : (float, float)
        Where to look [arcsec].

    Returns
    -------
    offset : Offset or None
        None where no offset stands out.
    """
    from scipy.spatial import cKDTree
    from scipy.special import gammainc

    if not len(xy) or not len(reference):
        return None
    pairs = cKDTree(xy + np.asarray(guess, np.float64)).sparse_distance_matrix(
        cKDTree(reference), radius, output_type="ndarray"
    )
    if not len(pairs):
        return None
    differences = reference[pairs["j"]] - xy[pairs["i"]]
    tree = cKDTree(differences)
    searched = np.pi * radius**2
    best: tuple[float, int, np.ndarray] | None = None
    for reach in (tolerance / 6, tolerance / 3, tolerance):  # sharp peaks, and blunt ones
        centres = _densest(differences, reach)
        counts = tree.query_ball_point(centres, reach, return_length=True)
        middle = centres[int(np.argmax(counts))]
        met = np.hypot(*(differences - middle).T) <= reach
        if not met.any():
            continue
        # one star can only meet one: chance is not helped by close pairs
        count = min(len(np.unique(pairs["i"][met])), len(np.unique(pairs["j"][met])))
        expected = max(len(pairs) - count, 1) * min(1.0, np.pi * reach**2 / searched)
        chance = float(gammainc(count, expected)) * max(1.0, searched / (np.pi * reach**2))
        if best is None or chance < best[0]:
            best = chance, count, np.median(differences[met], axis=0)
    if best is None or best[0] > CHANCE:
        return None
    return Offset(best[2], best[1])


def pair_up(xy: np.ndarray, reference: np.ndarray, tolerance: float) -> np.ndarray:
    """Pair positions that are nearest to each other, from both sides.

    Parameters
    ----------
    xy, reference : (n, 2), (m, 2) ndarray
        Positions [arcsec].
    tolerance : float
        Largest distance of a pair [arcsec].

    Returns
    -------
    pairs : (k, 2) ndarray of int
        Which of the first, which of the second.
    """
    from scipy.spatial import cKDTree

    if not len(xy) or not len(reference):
        return np.zeros((0, 2), int)
    distance, there = cKDTree(reference).query(xy, distance_upper_bound=tolerance)
    _, back = cKDTree(xy).query(reference, distance_upper_bound=tolerance)
    here = np.flatnonzero(np.isfinite(distance))
    here = here[back[there[here]] == here]
    return np.stack([here, there[here]], axis=1)


def merged(positions: Sequence[np.ndarray], reach: float) -> np.ndarray:
    """Return the stars of aligned exposures, each once, at its mean position.

    Parameters
    ----------
    positions : sequence of (n, 2) ndarray
        Corrected positions [arcsec].
    reach : float
        How far positions of one star may be from each other [arcsec].
    """
    total, count = np.zeros((0, 2)), np.zeros(0)
    for xy in positions:
        pairs = pair_up(xy, total / count[:, None], reach)
        total[pairs[:, 1]] += xy[pairs[:, 0]]
        count[pairs[:, 1]] += 1
        new = np.setdiff1d(np.arange(len(xy)), pairs[:, 0])
        total = np.concatenate([total, xy[new]])
        count = np.concatenate([count, np.ones(len(new))])
    return total / count[:, None]


def scatter_of(distances: np.ndarray) -> float:
    """Return the standard deviation of each coordinate from distances, few outliers ignored.

    The median of a Rayleigh distribution is sqrt(2 ln 2) sigma.
    """
    return float(np.median(distances) / np.sqrt(2 * np.log(2))) if len(distances) else 0.0


def _densest(differences: np.ndarray, size: float, most: int = 30) -> np.ndarray:
    """Return mean differences in the fullest bins of their histogram."""
    bins = np.floor(differences / size).astype(np.int64)
    _, which, counts = np.unique(bins, axis=0, return_inverse=True, return_counts=True)
    which = which.ravel()
    sums = np.stack([np.bincount(which, differences[:, axis]) for axis in (0, 1)], axis=1)
    full = np.argsort(-counts, kind="stable")[:most]
    return np.asarray(sums[full] / counts[full, None])
