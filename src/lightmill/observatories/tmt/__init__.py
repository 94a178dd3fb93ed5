"""The Thirty Meter Telescope."""

from pathlib import Path

from lightmill.instrument import Observatory

OBSERVATORY = Observatory("TMT", Path(__file__).parent)
