"""Align exposures of one field by the stars they share.

Positions are (x, y) in one tangent plane, x towards east, y towards north [arcsec]. The stars of
each pair of exposures are paired by the offset at which most of them meet; one least-squares
solution over all pairs then gives the correction of every exposure at once, so that no error adds
up along a chain and no exposure's own pointing error becomes that of the mosaic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lightmill.imaging.affine import LEAST, Affine, Geometry, fit_affine
from lightmill.imaging.joint_fit import solve
from lightmill.imaging.pairing import Offset, offset_between, pair_up, scatter_of

__all__ = ["Alignment", "align", "align_onto", "fitted"]

SMALLEST = 1e-4  # residuals below this are rounding, not scatter [arcsec]


@dataclass(frozen=True)
class Alignment:
    """What `align` found.

    Attributes
    ----------
    corrections : tuple of Affine or None
        One for each exposure; None where it shares too few stars with others.
    parts : tuple of tuple of int
        Exposures that are aligned with one another.
    rms : tuple of float
        Scatter of the stars of each exposure about their mean positions, by weight, in x and y
        together [arcsec]; NaN where there is no correction.
    counts : tuple of int
        Stars each correction rests on.
    """

    corrections: tuple[Affine | None, ...]
    parts: tuple[tuple[int, ...], ...]
    rms: tuple[float, ...]
    counts: tuple[int, ...]


def fitted(
    xy: np.ndarray,
    reference: np.ndarray,
    *,
    geometry: Geometry,
    tolerance: float,
    nclip: int,
    sigma: float,
    start: Affine,
    weights: np.ndarray | None = None,
) -> tuple[Affine, np.ndarray, float]:
    """Fit positions to others that are not paired yet, pairs that do not fit left out.

    Parameters
    ----------
    xy, reference : (n, 2), (m, 2) ndarray
        Positions [arcsec].
    geometry : {'shift', 'rshift', 'rscale', 'general'}
        See `fit_affine`.
    tolerance : float
        Largest distance of a pair, after `start` [arcsec].
    nclip : int
        How many times pairs that do not fit are left out.
    sigma : float
        What does not fit, in robust standard deviations.
    start : Affine
        Where to begin.
    weights : (m,) ndarray, optional
        Of the reference.

    Returns
    -------
    affine : Affine
        The correction.
    pairs : (k, 2) ndarray of int
        Those the fit rests on.
    rms : float
        Their scatter, in x and y together [arcsec]; NaN without pairs.
    """
    affine, reach = start, tolerance
    pairs = np.zeros((0, 2), int)
    for again in range(3):
        pairs = pair_up(affine(xy), reference, reach)
        for turn in range(nclip + 1):
            if len(pairs) < LEAST[geometry]:
                return affine, pairs, float("nan")
            w = np.ones(len(pairs)) if weights is None else weights[pairs[:, 1]]
            here, there = xy[pairs[:, 0]], reference[pairs[:, 1]]
            for _ in range(6 if again == turn == 0 else 2):
                # what fits badly so far counts little: pairs by chance must not turn the field
                left = np.hypot(*(affine(here) - there).T)
                odd = left / max(3 * scatter_of(left), SMALLEST)
                affine = fit_affine(here, there, geometry, w / (1 + odd**2))
            left = np.hypot(*(affine(here) - there).T)
            keep = left <= max(sigma * scatter_of(left), SMALLEST)
            if turn == nclip or keep.all():
                break
            pairs = pairs[keep]
        reach = min(tolerance, max(5 * scatter_of(left), tolerance / 20))
    return affine, pairs, float(np.sqrt(np.mean(left**2)))


def align(
    positions: Sequence[np.ndarray],
    *,
    errors: Sequence[np.ndarray] | None = None,
    geometry: Geometry = "rshift",
    radius: float = 2.0,
    tolerance: float = 0.7,
    minobj: int = 6,
    nclip: int = 3,
    sigma: float = 3.0,
    guess: Sequence[float] | None = (0.0, 0.0),
    keep_first: bool = False,
) -> Alignment:
    """Find the corrections that make the stars of all exposures meet.

    Parameters
    ----------
    positions : sequence of (n, 2) ndarray
        Stars of each exposure, in one tangent plane [arcsec].
    errors : sequence of (n,) ndarray, optional
        Standard errors of each coordinate [arcsec]; the same for all by default.
    geometry : {'shift', 'rshift', 'rscale', 'general'}
        Kind of correction.
    radius, tolerance : float
        See `offset_between` [arcsec].
    minobj : int
        Fewest stars two exposures, or an exposure and all others, must share.
    nclip : int
        See `fitted`.
    sigma : float
        See `fitted`.
    guess : (float, float), optional
        Offset of all others from the first. None: exposures are paired where they are [arcsec].
    keep_first : bool
        The first exposure stays where it is. Otherwise the corrections are zero on average:
        the mosaic's pointing error is then that of an exposure over the root of their number.

    Returns
    -------
    alignment : Alignment
        The corrections, and which exposures belong together.
    """
    minobj = max(minobj, LEAST[geometry])
    offsets: dict[tuple[int, int], Offset] = {}
    for i in range(len(positions)):
        for j in range(i + 1, len(positions)):
            found = _pair_offset(positions, i, j, radius, tolerance, guess)
            if found is not None and found.count >= minobj:
                offsets[i, j] = found
    corrections: list[Affine | None] = [None] * len(positions)
    rms, counts = [float("nan")] * len(positions), [0] * len(positions)
    parts = []
    for part in _connected(offsets, len(positions)):
        start = _first_shifts(part, offsets, tolerance)
        joint = solve(
            [positions[g] for g in start],
            None if errors is None else [errors[g] for g in start],
            [Affine(shift=shift) for shift in start.values()],
            geometry=geometry, tolerance=tolerance, minobj=minobj, nclip=nclip, sigma=sigma,
            keep_first=keep_first and 0 in start,
        )  # fmt: skip
        aligned = []
        for group, affine, scatter, count in zip(start, *joint, strict=True):
            if affine is not None:
                corrections[group], rms[group], counts[group] = affine, scatter, count
                aligned.append(group)
        if aligned:
            parts.append(tuple(aligned))
    return Alignment(tuple(corrections), tuple(parts), tuple(rms), tuple(counts))


def align_onto(
    sky: np.ndarray,
    reference: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    geometry: Geometry = "rshift",
    radius: float | None = 6.0,
    tolerance: float = 0.7,
    minobj: int = 6,
    nclip: int = 3,
    sigma: float = 3.0,
) -> tuple[Affine, int, float] | None:
    """Find the correction that brings stars onto those of a catalog.

    Parameters
    ----------
    sky, reference : (n, 2), (m, 2) ndarray
        Positions; those of the catalog [arcsec].
    weights : (m,) ndarray, optional
        Of the catalog's stars.
    geometry : {'shift', 'rshift', 'rscale', 'general'}
        See `fit_affine`.
    radius : float, optional
        How far to search for the offset [arcsec]; None: stars are paired where they are.
    tolerance : float
        See `offset_between` [arcsec].
    minobj : int
        Fewest stars that must match.
    nclip : int
        See `fitted`.
    sigma : float
        See `fitted`.

    Returns
    -------
    correction, count, rms : Affine, int, float
        With the number of pairs and their scatter, in x and y together [arcsec]; None where no
        offset stands out or too few stars match.
    """
    start = Affine()
    if radius is not None:
        offset = offset_between(sky, reference, radius=radius, tolerance=tolerance)
        if offset is None:
            return None
        start = Affine(shift=offset.shift)
    affine, pairs, rms = fitted(
        sky, reference, geometry=geometry, tolerance=tolerance, nclip=nclip, sigma=sigma,
        start=start, weights=weights,
    )  # fmt: skip
    enough = len(pairs) >= max(minobj, LEAST[geometry])
    return (affine, len(pairs), rms) if enough else None


def _pair_offset(
    positions: Sequence[np.ndarray],
    i: int,
    j: int,
    radius: float,
    tolerance: float,
    guess: Sequence[float] | None,
) -> Offset | None:
    """Return the offset of the first of two exposures from the second."""
    if guess is None:
        return Offset(np.zeros(2), len(pair_up(positions[i], positions[j], tolerance)))
    expected = -np.asarray(guess) if i == 0 else np.zeros(2)
    return offset_between(
        positions[i], positions[j], radius=radius, tolerance=tolerance, guess=tuple(expected)
    )


def _connected(offsets: Mapping[tuple[int, int], Offset], n: int) -> list[list[int]]:
    """Return sets of exposures with a way between any two of them, the largest first."""
    label = list(range(n))
    for i, j in offsets:
        old, new = label[j], label[i]
        label = [new if one == old else one for one in label]
    sets = [[k for k in range(n) if label[k] == one] for one in dict.fromkeys(label)]
    return sorted((one for one in sets if len(one) > 1), key=len, reverse=True)


def _first_shifts(
    part: list[int], offsets: Mapping[tuple[int, int], Offset], tolerance: float
) -> dict[int, np.ndarray]:
    """Return shifts that fulfil the offsets of all pairs best; zero on average.

    A pair whose stars met by chance contradicts the others: while the worst contradiction is
    larger than the tolerance its offset is left out, if the exposures stay connected without.
    """
    edges = [pair for pair in offsets if pair[0] in part]
    place = {group: k for k, group in enumerate(part)}
    while True:
        design = np.zeros((len(edges) + 1, len(part)))
        right = np.zeros((len(edges) + 1, 2))
        for row, (i, j) in enumerate(edges):
            weight = np.sqrt(offsets[i, j].count)
            design[row, [place[i], place[j]]] = weight, -weight
            right[row] = weight * offsets[i, j].shift
        design[-1] = 1.0
        shifts = np.linalg.lstsq(design, right, rcond=None)[0]
        left = [
            np.hypot(*(shifts[place[i]] - shifts[place[j]] - offsets[i, j].shift)) for i, j in edges
        ]
        worst = int(np.argmax(left))
        fewer = edges[:worst] + edges[worst + 1 :]
        one_part = _connected({pair: offsets[pair] for pair in fewer}, max(part) + 1)
        if left[worst] <= tolerance or not one_part or len(one_part[0]) < len(part):
            return dict(zip(part, shifts, strict=True))
        edges = fewer
