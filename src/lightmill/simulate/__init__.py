"""Simulate raw exposures from a known scene, with the references that undo them and the truth.

Written from the physics and without any of the calibration code, so that an
error of sign or order in one cannot hide behind the same error in the other.
"""

from lightmill.simulate.cache import SimulatedCache, write_cache
from lightmill.simulate.exposure import exposure, observe
from lightmill.simulate.facts import InstrumentFacts
from lightmill.simulate.made import CLASS_BITS, LEVELS, SimulatedExposure
from lightmill.simulate.scene import SCENES, Effects, Scene

__all__ = [
    "CLASS_BITS",
    "LEVELS",
    "SCENES",
    "Effects",
    "InstrumentFacts",
    "Scene",
    "SimulatedCache",
    "SimulatedExposure",
    "exposure",
    "observe",
    "write_cache",
]
