"""IRIS of the Thirty Meter Telescope: an imager of four detectors and a spectrograph."""

from pathlib import Path

from lightmill.instrument import Instrument
from lightmill.observatories.tmt import OBSERVATORY

INSTRUMENT = Instrument("IRIS", OBSERVATORY, Path(__file__).parent)
