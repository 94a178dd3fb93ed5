"""What an instrument's own demonstration is given, and what it tells.

A leaf with a module ``demo`` has a scene of its name: ``lightmill demo --scene <folder>``. The module
defines ``play(tools, directory) -> Story``; what it tells is made a page by whoever called it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Chapter", "Plate", "Story", "Tools"]


@dataclass(frozen=True)
class Tools:
    """What a demonstration works with.

    Attributes
    ----------
    run : callable
        Given a `SimulatedCache` or None, returns what runs a pipeline:
        ``(pipeline, path, folder, **parameters)`` → suffix → path, and ``record``.
    associate : callable
        Given raw exposures and a folder, writes their associations there, by the observatory's
        rules, and returns the paths.
    tell : callable
        Told (what is done, steps done, steps in all).
    seed : int
        Decides everything drawn at random.
    """

    run: Callable[..., Callable[..., Mapping[str, Any]]]
    associate: Callable[[Sequence[Path], Path], list[Path]]
    tell: Callable[[str, int, int], None]
    seed: int


@dataclass(frozen=True)
class Plate:
    """A picture of a story: (ny, nx) values, the first row at the bottom; NaN is nothing.

    `low` and `high` are shown darkest and brightest, by default the 1st and the 99.7th percentile;
    `contrast` brings out what is faint, 0 is linear.
    """

    data: np.ndarray
    title: str
    text: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    contrast: float = 0.0
    palette: str = "sky"


@dataclass(frozen=True)
class Chapter:
    """A part of a story: pictures, and a table with a header row."""

    title: str
    text: str
    plates: Sequence[Plate] = ()
    table: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Story:
    """What came out of a demonstration.

    ``figures`` are (value, what it is, note); ``records`` product → its run record; ``product`` is
    what people may want to look at.
    """

    title: str
    lead: str
    figures: Sequence[tuple[str, str, str]]
    chapters: Sequence[Chapter]
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    product: Path | None = None
