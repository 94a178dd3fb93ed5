"""The Hubble Space Telescope: what its rules need to choose references."""

from pathlib import Path

from lightmill.instrument import Observatory

OBSERVATORY = Observatory("HST", Path(__file__).parent)
