"""From raw ramps to count rates: the steps every up-the-ramp detector shares."""

from lightmill.detector.cleaning import CleanFlickerNoise
from lightmill.detector.corrections import (
    CorrectLinearity,
    DeconvolveIpc,
    ScaleGroups,
    SubtractDark,
    SubtractReset,
    SubtractSuperbias,
)
from lightmill.detector.flags import (
    FlagChargeMigration,
    FlagFirstFrame,
    FlagFirstGroups,
    FlagLastFrame,
    FlagSaturation,
    InitializeDq,
)
from lightmill.detector.jumps import DetectJumps
from lightmill.detector.reference_pixels import CorrectReferencePixels
from lightmill.detector.sampling import FlagJumpsInReads, SampleReads
from lightmill.detector.slopes import FitRamps, ScaleGain

__all__ = [
    "CleanFlickerNoise",
    "CorrectLinearity",
    "CorrectReferencePixels",
    "DeconvolveIpc",
    "DetectJumps",
    "FitRamps",
    "FlagChargeMigration",
    "FlagFirstFrame",
    "FlagFirstGroups",
    "FlagJumpsInReads",
    "FlagLastFrame",
    "FlagSaturation",
    "InitializeDq",
    "SampleReads",
    "ScaleGain",
    "ScaleGroups",
    "SubtractDark",
    "SubtractReset",
    "SubtractSuperbias",
]
