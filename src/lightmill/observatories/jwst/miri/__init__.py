"""MIRI of the James Webb Space Telescope."""

from pathlib import Path

from lightmill.instrument import Instrument
from lightmill.observatories.jwst import OBSERVATORY

INSTRUMENT = Instrument("MIRI", OBSERVATORY, Path(__file__).parent, kind="mir")
