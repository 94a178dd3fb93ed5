"""One least-squares solution for the corrections of all exposures, and the places of all stars.

What is asked for are the corrections A_g of the exposures and the true positions X_s of the stars
for which the weighted sum of |A_g(p_gs) - X_s|^2 over all measurements p_gs is least. The
positions are eliminated: what is left are equations for the corrections alone, as in block
adjustment (Eichhorn, H. 1960, Astron. Nachr. 285, 233).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lightmill.imaging.affine import LEAST, Affine, Geometry
from lightmill.imaging.pairing import scatter_of

__all__ = ["solve"]

ODD = 3.0  # standard deviations from which on a measurement counts little
SMALLEST = 1e-4  # residuals below this are rounding, not scatter [arcsec]
TERMS = {"shift": 2, "rshift": 3, "rscale": 4, "general": 6}  # unknowns of a correction


@dataclass(frozen=True)
class _Measured:
    """Measurements of stars that more than one exposure saw.

    Attributes
    ----------
    group, star, track : (n,) ndarray of int
        Which exposure, which of its stars, which star on the sky.
    """

    group: np.ndarray
    star: np.ndarray
    track: np.ndarray

    def take(self, which: np.ndarray) -> _Measured:
        """Return some of them, tracks seen once left out, tracks numbered anew."""
        group, star, track = self.group[which], self.star[which], self.track[which]
        several = np.bincount(track, minlength=1)[track] > 1 if len(track) else which[:0] > 0
        group, star, track = group[several], star[several], track[several]
        return _Measured(group, star, np.unique(track, return_inverse=True)[1].ravel())

    def __len__(self) -> int:
        return len(self.group)


def solve(
    positions: Sequence[np.ndarray],
    errors: Sequence[np.ndarray] | None,
    starts: Sequence[Affine],
    *,
    geometry: Geometry,
    tolerance: float,
    minobj: int,
    nclip: int,
    sigma: float,
    keep_first: bool,
) -> tuple[list[Affine | None], list[float], list[int]]:
    """Return the corrections of exposures that share stars.

    Parameters
    ----------
    positions : sequence of (n, 2) ndarray
        Stars of each exposure [arcsec].
    errors : sequence of (n,) ndarray, optional
        Standard errors of each coordinate [arcsec].
    starts : sequence of Affine
        Corrections to begin with, good to the tolerance.
    geometry : {'shift', 'rshift', 'rscale', 'general'}
        Kind of correction.
    tolerance : float
        Largest distance of stars that are the same, to begin with [arcsec].
    minobj : int
        Fewest stars an exposure must share with the others.
    nclip : int
        How many times measurements that do not fit are left out.
    sigma : float
        What does not fit, in robust standard deviations.
    keep_first : bool
        The first exposure stays where it is.

    Returns
    -------
    corrections : list of Affine or None
        None where an exposure shares fewer than `minobj` stars with the others.
    rms : list of float
        Scatter of each exposure's stars about their places, by weight, in x and y together
        [arcsec].
    counts : list of int
        Stars each correction rests on.
    """
    n = len(positions)
    weights = [np.ones(len(p)) for p in positions]
    if errors is not None:
        weights = [1 / np.maximum(e, SMALLEST) ** 2 for e in errors]
    alive = np.ones(n, bool)
    if keep_first:
        starts = [Affine(one.matrix, one.shift - starts[0].shift) for one in starts]
    while True:
        affines, reach = list(starts), tolerance
        for again in range(3):
            placed = [affine(p) for affine, p in zip(affines, positions, strict=True)]
            seen = _seen_together(placed, reach, alive)
            for turn in range(nclip + 1):
                turns = 2 if again or turn else 6
                affines = _adjusted(
                    positions, weights, affines, seen, geometry, turns, keep_first=keep_first
                )
                left, misfit = _left(positions, weights, affines, seen)
                keep = misfit <= sigma * scatter_of(misfit)
                keep |= left <= SMALLEST
                if turn == nclip or keep.all():
                    break
                seen, left = seen.take(keep), left[keep]
            reach = min(tolerance, max(5 * scatter_of(left), tolerance / 20))
        left, _ = _left(positions, weights, affines, seen)
        counts = np.bincount(seen.group, minlength=n) if len(seen) else np.zeros(n, int)
        poor = alive & (counts < minobj)
        if not poor.any():
            break
        alive &= ~poor  # the stars of the others are judged without these
        if alive.sum() < 2:
            alive[:] = False
            break
    _, w = _measurements(positions, weights, affines, seen)
    rms = [
        float(np.sqrt(np.average(left[here] ** 2, weights=w[here]))) if here.any() else np.nan
        for here in (seen.group == (g if good else -1) for g, good in enumerate(alive))
    ]
    return (
        [affine if good else None for affine, good in zip(affines, alive, strict=True)],
        rms,
        [int(count) if good else 0 for count, good in zip(counts, alive, strict=True)],
    )


def _seen_together(placed: Sequence[np.ndarray], reach: float, alive: np.ndarray) -> _Measured:
    """Find the stars that several exposures saw: chains of nearest neighbours.

    A chain in which an exposure occurs twice is not one star, and left out.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    groups = [g for g in range(len(placed)) if alive[g] and len(placed[g])]
    first = np.concatenate([[0], np.cumsum([len(p) for p in placed])])
    trees = {g: cKDTree(placed[g]) for g in groups}
    links = []
    for k, a in enumerate(groups):
        for b in groups[k + 1 :]:
            if not _near(trees[a], trees[b], reach):
                continue
            distance, there = trees[b].query(placed[a], distance_upper_bound=reach)
            _, back = trees[a].query(placed[b], distance_upper_bound=reach)
            here = np.flatnonzero(np.isfinite(distance))
            here = here[back[there[here]] == here]
            links.append(np.stack([first[a] + here, first[b] + there[here]]))
    ends = np.concatenate(links, axis=1) if links else np.zeros((2, 0), int)
    size = int(first[-1])
    _, track = connected_components(
        coo_array((np.ones(ends.shape[1]), (ends[0], ends[1])), shape=(size, size)), directed=False
    )
    group = np.repeat(np.arange(len(placed)), np.diff(first))
    star = np.arange(size) - first[group]
    twice = np.unique(track * len(placed) + group, return_counts=True)
    torn = np.isin(track, twice[0][twice[1] > 1] // len(placed))
    return _Measured(group, star, track).take(~torn)


def _near(a: object, b: object, reach: float) -> bool:
    """Say whether the boxes around two trees of positions come within reach."""
    apart = np.maximum(a.mins - b.maxes, b.mins - a.maxes)  # type: ignore[attr-defined]  # scipy has no types
    return bool((apart <= reach).all())


def _adjusted(
    positions: Sequence[np.ndarray],
    weights: Sequence[np.ndarray],
    affines: Sequence[Affine],
    seen: _Measured,
    geometry: Geometry,
    turns: int,
    *,
    keep_first: bool,
) -> list[Affine]:
    """Return corrections nearer to the solution.

    What fits badly so far counts little, by the weights of a Cauchy distribution: stars paired by
    chance would turn an exposure that shares few with others so far that the right pairs look
    wrong.

    The equations do not say where all exposures together are, and would be fulfilled best by a
    scale of nothing: so the corrections are zero on average, or that of the first exposure is.
    """
    from scipy.sparse import coo_array, diags_array

    if len(seen) < LEAST[geometry]:
        return list(affines)
    terms, n = TERMS[geometry], len(positions)
    for _ in range(turns):
        xy, w = _measurements(positions, weights, affines, seen)
        _, misfit = _left(positions, weights, affines, seen)
        least = SMALLEST * float(np.sqrt(np.median(w)))
        w = w / (1 + (misfit / max(ODD * scatter_of(misfit), least)) ** 2)
        size = max(1.0, float(np.sqrt(np.mean(xy**2))))
        design = np.zeros((len(seen), 2, terms))
        design[:, 0, 0] = design[:, 1, 1] = 1.0
        u, v = (xy / size).T
        if geometry in {"rshift", "rscale"}:
            design[:, 0, 2], design[:, 1, 2] = -v, u
        if geometry == "rscale":
            design[:, 0, 3], design[:, 1, 3] = u, v
        if geometry == "general":
            design[:, 0, 2], design[:, 0, 3], design[:, 1, 4], design[:, 1, 5] = u, v, u, v
        columns = seen.group[:, None, None] * terms + np.arange(terms)
        rows = np.arange(2 * len(seen)).reshape(-1, 2, 1)
        places = tuple(np.broadcast_to(one, design.shape).ravel() for one in (rows, columns))
        whole = coo_array((design.ravel(), places), shape=(2 * len(seen), n * terms)).tocsr()
        both = np.repeat(w, 2)
        track = (2 * seen.track[:, None] + np.arange(2)).ravel()
        member = coo_array((both, (np.arange(2 * len(seen)), track))).tocsr()
        shared = member.T @ whole  # weighted sums of the equations of each star
        total = diags_array(1 / np.asarray(member.sum(axis=0)).ravel())
        normal = (whole.T @ (diags_array(both) @ whole) - shared.T @ (total @ shared)).toarray()
        residual = (xy - _means(xy, w, seen)).ravel()
        right = -(whole.T @ (both * residual))
        step = _constrained(normal, right, _held(seen, n, terms, keep_first))
        affines = [
            _step(geometry, one, size).after(affine)
            for one, affine in zip(step.reshape(n, terms), affines, strict=True)
        ]
    return list(affines)


def _held(seen: _Measured, n: int, terms: int, keep_first: bool) -> np.ndarray:
    """Return the sums of unknowns that are to be zero, one a row."""
    groups = np.unique(seen.group)
    held = groups[:1] if keep_first else groups
    rows = np.zeros((terms, n, terms))
    for group in held:
        rows[:, group] = np.eye(terms)
    return rows.reshape(terms, n * terms)


def _constrained(normal: np.ndarray, right: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return the solution of normal equations for which some sums are zero.

    Where they still leave something open (an exposure without stars), the shortest.
    """
    scale = float(np.abs(normal).max()) or 1.0
    size = len(held)
    whole = np.block([[normal / scale, held.T], [held, np.zeros((size, size))]])
    answer = np.linalg.lstsq(whole, np.append(right / scale, np.zeros(size)), rcond=1e-10)[0]
    return np.asarray(answer[: len(normal)])


def _step(geometry: Geometry, step: np.ndarray, size: float) -> Affine:
    matrix = np.eye(2)
    if geometry in {"rshift", "rscale"}:
        angle = step[2] / size
        cosine, sine = np.cos(angle), np.sin(angle)
        matrix = np.array([[cosine, -sine], [sine, cosine]])
    if geometry == "rscale":
        matrix = matrix * (1 + step[3] / size)
    if geometry == "general":
        matrix = matrix + step[2:].reshape(2, 2) / size
    return Affine(matrix, step[:2].copy())


def _measurements(
    positions: Sequence[np.ndarray],
    weights: Sequence[np.ndarray],
    affines: Sequence[Affine],
    seen: _Measured,
) -> tuple[np.ndarray, np.ndarray]:
    """Return corrected positions (n, 2) and weights (n,) of the measurements."""
    xy, w = np.empty((len(seen), 2)), np.empty(len(seen))
    for group in np.unique(seen.group):
        here = seen.group == group
        xy[here] = affines[group](positions[group][seen.star[here]])
        w[here] = weights[group][seen.star[here]]
    return xy, w


def _means(xy: np.ndarray, w: np.ndarray, seen: _Measured) -> np.ndarray:
    """Return, for each measurement, where its star is on average."""
    total = np.bincount(seen.track, w)
    mean = [np.bincount(seen.track, w * xy[:, axis]) / total for axis in (0, 1)]
    return np.stack(mean, axis=1)[seen.track]


def _left(
    positions: Sequence[np.ndarray],
    weights: Sequence[np.ndarray],
    affines: Sequence[Affine],
    seen: _Measured,
) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each measurement is from the mean of its star: in arcsec, and in errors.

    Enlarged by what a measurement pulls the mean towards itself.
    """
    if not len(seen):
        return np.zeros(0), np.zeros(0)
    xy, w = _measurements(positions, weights, affines, seen)
    share = w / np.bincount(seen.track, w)[seen.track]
    distance = np.hypot(*(xy - _means(xy, w, seen)).T)
    distance = distance / np.sqrt(np.maximum(1 - share, 0.05))
    return distance, distance * np.sqrt(w)
