"""The exposures of an observation: which filter, where the telescope points, where it says it does."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lightmill.simulate.focal_plane import Attitude
from lightmill.simulate.scene import Scene, stream

__all__ = ["Pose", "draw_poses"]

_START = 60735.0  # MJD, 2025-03-01
_BETWEEN = 120.0  # seconds from the end of an exposure to the start of the next
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Pose:
    """One exposure of the telescope, which all detectors take part in.

    Attributes
    ----------
    filter_name : str
        The filter.
    index : int
        Number of the dither, from 0.
    number, count : int
        Number of the exposure in its visit and filter, from 1, and how many there are.
    visit : int
        Number of the visit, from 1.
    activity : str
        Two characters that count the filters of a visit.
    true, said : Attitude
        Where the telescope points, and where headers say it does.
    start : float
        [MJD].
    """

    filter_name: str
    index: int
    number: int
    count: int
    visit: int
    activity: str
    true: Attitude
    said: Attitude
    start: float


def draw_poses(
    scene: Scene,
    filters: Sequence[str],
    *,
    references: Sequence[tuple[float, float]],
    turn: np.ndarray,
    seconds: float,
    seed: int,
) -> Iterator[Pose]:
    """Draw the exposures of a scene, in order of time: visit, filter, dither.

    Parameters
    ----------
    scene : Scene
        Its dithers, rolls and errors.
    filters : sequence of str
        Their names.
    references : sequence of (v2, v3)
        What each detector looks with [arcsec]; the mean of them is pointed at the target.
    turn : (2, 2) ndarray
        From offsets along pixels to offsets along V2, V3.
    seconds : float
        Length of an exposure.
    seed : int
        Decides the errors.

    Yields
    ------
    Pose
        One for each dither and filter.
    """
    rolls = scene.rolls or (0.0,) * len(scene.dithers)
    visits = np.cumsum([1, *(a != b for a, b in itertools.pairwise(rolls))])
    v2, v3 = np.mean(references, axis=0)
    order = sorted((int(visits[i]), k, i) for k in range(len(filters)) for i in range(len(rolls)))
    for count, (visit, k, i) in enumerate(order):
        said = Attitude(scene.ra, scene.dec, (scene.roll + rolls[i]) % 360, v2, v3)
        # the telescope moves along the pixel axes
        step = turn @ np.array(scene.dithers[i])
        ra, dec = said.sky(v2 + step[0], v3 + step[1])
        said = dataclasses.replace(said, ra=float(ra), dec=float(dec))
        rng = stream(seed, f"pointing {filters[k]} {i}")
        east, north = rng.normal(0, scene.pointing_error / np.sqrt(2), 2)
        off = rng.normal(0, scene.roll_error)
        same = [j for j in range(len(rolls)) if visits[j] == visit]
        yield Pose(
            filters[k],
            i,
            same.index(i) + 1,
            len(same),
            visit,
            _activity(k),
            said.moved(east, north, off) if scene.pointing_error or scene.roll_error else said,
            said,
            _START + count * (seconds + _BETWEEN) / 86400,
        )


def _activity(k: int) -> str:
    number = 2 * k + 1
    return _DIGITS[number // 36] + _DIGITS[number % 36]
