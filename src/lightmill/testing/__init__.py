"""Builders, strategies and conformance suites for tests: ours, and those of plug-ins.

Nothing here needs a test framework to be imported; `ramps` needs Hypothesis
when it is called.
"""

from lightmill.testing.conformance import InstrumentSuite, problems_of_pipeline, problems_of_rules
from lightmill.testing.exposures import make_ramp, make_uncal
from lightmill.testing.files import Exposure, write_exposure
from lightmill.testing.references import make_reference, make_references
from lightmill.testing.strategies import ramps

__all__ = [
    "Exposure",
    "InstrumentSuite",
    "make_ramp",
    "make_reference",
    "make_references",
    "make_uncal",
    "problems_of_pipeline",
    "problems_of_rules",
    "ramps",
    "write_exposure",
]
