"""What a simulation leaves on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CLASS_BITS", "LEVELS", "Progress", "SimulatedExposure"]

LEVELS = ("uncal", "rate")
"""States in which exposures are made: raw, and as the first stage of calibration leaves them."""

CLASS_BITS = {
    "reference": 1,
    "dead": 2,
    "hot": 4,
    "no_linearity": 8,
    "no_saturation": 16,
    "bad_gain": 32,
    "bright": 64,
    "large_event": 128,
}

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SimulatedExposure:
    """What one simulated exposure left on disk.

    Attributes
    ----------
    uncal : Path
        The raw exposure, or the count rates if these were asked for.
    references : dict of str to Path
        Reference type to file.
    truth : Path
        FITS with RATE and DARK [DN / s], CLASS (`CLASS_BITS`), the maps of the
        detector, and the tables JUMPS, SNOWBALL, SHOWER and CATALOG.
    title : str
        One line for a report.
    sky : Path or None
        FITS with the tables SOURCES and POINTING of the whole observation, if it is one
        of a field on the sky.
    """

    uncal: Path
    references: dict[str, Path]
    truth: Path
    title: str = ""
    sky: Path | None = None
