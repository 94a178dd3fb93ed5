"""WFPC2 of the Hubble Space Telescope: associations of exposures, kept true to the archive."""

from pathlib import Path

from lightmill.instrument import Instrument
from lightmill.observatories.hst import OBSERVATORY

INSTRUMENT = Instrument("WFPC2", OBSERVATORY, Path(__file__).parent)
