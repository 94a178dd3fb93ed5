"""The Lantern: an observatory that does not exist, to test what every observatory gets."""

from pathlib import Path

from lightmill.instrument import Observatory

__all__ = ["OBSERVATORY"]

OBSERVATORY = Observatory("LANTERN", Path(__file__).parent)
