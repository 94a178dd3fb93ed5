"""The Lantern's camera: two detectors that do not exist."""

from pathlib import Path

from lightmill.instrument import Instrument
from lightmill.testing.observatory import OBSERVATORY

__all__ = ["INSTRUMENT"]

INSTRUMENT = Instrument("GLOWCAM", OBSERVATORY, Path(__file__).parent)
