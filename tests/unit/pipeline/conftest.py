"""Steps and pipelines whose results a reader can work out in the head."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from lightmill.models import GainModel, RampModel, RateModel
from lightmill.pipeline import Pipeline, Products, Skipped, Step, param
from lightmill.pipeline.step import known_steps
from lightmill.testing import make_ramp


@pytest.fixture(autouse=True)
def _own_digests(tmp_path_factory, monkeypatch):
    """Keep the table of file digests of these tests apart from the user's."""
    monkeypatch.setattr("lightmill.pipeline.cache._memory", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def _own_steps(monkeypatch):
    """Forget the steps a test defines."""
    monkeypatch.setattr("lightmill.pipeline.step._known", dict(known_steps()))


@pytest.fixture
def calls():
    """Names of the steps that computed, in order."""
    return []


@pytest.fixture
def kit(calls):
    """A set of steps that note when they compute."""

    class Add(Step):
        """Add a number."""

        name = "add"
        reads, writes = RampModel, RampModel
        rows = True

        @dataclass(frozen=True)
        class Parameters:
            amount: float = param(1.0, "what is added", ge=-100, le=100, unit="DN")

        def survey(self, rows, **references):  # noqa: ARG002
            calls.append("add")

        def apply(self, ramp):
            ramp.data += np.float32(self.parameters.amount)
            return ramp

    class Multiply(Step):
        """Multiply by a number; looks at the whole frame."""

        name = "multiply"
        reads, writes = RampModel, RampModel

        @dataclass(frozen=True)
        class Parameters:
            factor: float = param(2.0, "what it is multiplied with")
            note: str = param("", "for the record")

        def apply(self, ramp):
            calls.append("multiply")
            return ramp.evolve(data=ramp.data * np.float32(self.parameters.factor))

    class DivideByGain(Step):
        """Divide by the gain."""

        name = "divide_by_gain"
        reads, writes = RampModel, RampModel
        references = {"gain": GainModel}
        rows = True

        def survey(self, rows, **references):  # noqa: ARG002
            calls.append("divide_by_gain")

        def apply(self, ramp, *, gain):
            ramp.data /= gain.data
            return ramp

    class Decline(Step):
        """Never do anything, and say why."""

        name = "decline"
        reads, writes = RampModel, RampModel
        rows = True

        def apply(self, ramp):
            return Skipped(ramp, "nothing to do here")

    class LastGroup(Step):
        """Take the last group of the first integration for an image."""

        name = "last_group"
        reads, writes = RampModel, RateModel
        rows = True

        def survey(self, rows, **references):  # noqa: ARG002
            calls.append("last_group")

        def apply(self, ramp):
            image = RateModel(meta=ramp.meta, data=ramp.data[0, -1].copy())
            object.__setattr__(image, "_region", ramp.region)
            object.__setattr__(image, "_whole", ramp.__dict__.get("_whole"))
            object.__setattr__(image, "_path", ramp.path)
            return image

    class Linear(Pipeline):
        """Add, multiply, decline, divide."""

        name = "linear"
        steps = {
            "add": Add,
            "multiply": Multiply,
            "decline": Decline,
            "divide_by_gain": DivideByGain,
        }
        flow = ("add", "multiply", "decline", "divide_by_gain")
        checkpoints = frozenset({"add", "multiply"})

    class Branching(Pipeline):
        """An order that is not a list: twice one way, once another, then both."""

        name = "branching"
        steps = {"add": Add, "multiply": Multiply, "again": Add, "inner": Linear}

        @dataclass(frozen=True)
        class Parameters:
            both: bool = param(True, "compute the second branch as well")

        def process(self, ramp):
            first = self.multiply(self.add(ramp))
            if not self.parameters.both:
                return first
            second = self.inner(self.again(ramp))
            return Products(first=first, second=second)

    return SimpleNamespace(
        Add=Add,
        Multiply=Multiply,
        DivideByGain=DivideByGain,
        Decline=Decline,
        LastGroup=LastGroup,
        Linear=Linear,
        Branching=Branching,
    )


@pytest.fixture
def ramp():
    """Three groups of 10, 20 and 30 DN."""
    return make_ramp(rate=1.0, n_groups=3, group_time=10.0, shape=(6, 8))


@pytest.fixture
def file(ramp, tmp_path):
    """The same in a file."""
    (tmp_path / "in").mkdir()
    return ramp.save(tmp_path / "in" / "lantern001_ramp.fits")
