"""Instruments to simulate, and an empty field."""

from pathlib import Path

import pytest

import lightmill
from lightmill.simulate import InstrumentFacts, Scene

LEAVES = Path(lightmill.__file__).parent / "observatories"
EMPTY = Scene("empty", "nothing but an even sky", stars=0, galaxies=0, saturated=0, showpieces=0,
              gradient=(0.0, 0.0), size=32, ngroups=4)  # fmt: skip


def facts_of(leaf: str) -> InstrumentFacts:
    return InstrumentFacts.from_yaml(LEAVES / leaf / "simulate.yaml")


@pytest.fixture(scope="session")
def facts_named():
    """What finds the facts of an instrument by its folder."""
    return facts_of


@pytest.fixture(
    params=sorted(str(p.parent.relative_to(LEAVES)) for p in LEAVES.glob("*/*/simulate.yaml"))
)
def facts(request) -> InstrumentFacts:
    return facts_of(request.param)


@pytest.fixture
def near_infrared() -> InstrumentFacts:
    return facts_of("jwst/niriss")


@pytest.fixture
def mid_infrared() -> InstrumentFacts:
    return facts_of("jwst/miri")


@pytest.fixture
def averaging() -> InstrumentFacts:
    return facts_of("jwst/nircam")


@pytest.fixture
def empty() -> Scene:
    return EMPTY
