"""An archive store, and what goes into it."""

import pytest

from lightmill.workflow.store import Arrival, Store


class Clock:
    """A clock that stands still until told."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(place, clock):
    opened = Store(place, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def arrival():
    """Make an arrival; its content is a letter."""

    def make(name, content="a", generation="2026-01-01", program="p1", **more):
        return Arrival(
            name, content * 64, 1000, generation, f"{program}/{content}/{name}",
            program=program, **more,
        )  # fmt: skip

    return make
