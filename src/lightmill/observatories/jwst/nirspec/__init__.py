"""NIRSPEC of the James Webb Space Telescope."""

from pathlib import Path

from lightmill.instrument import Instrument
from lightmill.observatories.jwst import OBSERVATORY

INSTRUMENT = Instrument("NIRSPEC", OBSERVATORY, Path(__file__).parent, kind="nir")
