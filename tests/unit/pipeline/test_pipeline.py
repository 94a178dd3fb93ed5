import numpy as np
import pytest

import lightmill.detector  # noqa: F401 - the steps that flows name
from lightmill import app
from lightmill.errors import ConfigurationError, UnknownNameError
from lightmill.models import RampModel, RateModel
from lightmill.pipeline import Pipeline, Products, Status, Step
from lightmill.pipeline.pipeline import pipeline_class
from lightmill.testing import make_ramp, make_reference


def value(outcome):
    """The first pixel of the first group."""
    return float(outcome.model.data.flat[0])


@pytest.fixture
def gain(ramp):
    return make_reference("gain", ramp, 2.0)


def statuses(outcome):
    return {note["name"]: note["status"] for note in outcome.record["steps"]}


# -- linear flows ---------------------------------------------------------------------------


def test_the_steps_run_in_the_order_of_the_flow(kit, ramp, gain):
    outcome = kit.Linear().run(ramp, override_gain=gain)

    assert value(outcome) == (10 + 1) * 2 / 2
    assert list(statuses(outcome)) == ["add", "multiply", "decline", "divide_by_gain"]
    assert statuses(outcome)["decline"] == "SKIPPED"
    assert outcome.status is Status.DONE


def test_parameters_of_steps_are_given_by_name(kit, ramp, gain):
    pipeline = kit.Linear(steps={"add": {"amount": 5.0}})
    pipeline.multiply.factor = 3.0

    assert value(pipeline.run(ramp, override_gain=gain)) == (10 + 5) * 3 / 2


def test_a_misspelled_step_is_refused_with_a_suggestion(kit):
    with pytest.raises(UnknownNameError, match="did you mean 'multiply'"):
        kit.Linear(steps={"multipy": {"factor": 3.0}})


def test_a_misspelled_parameter_of_a_step_is_refused(kit):
    with pytest.raises(UnknownNameError, match="did you mean 'factor'"):
        kit.Linear(steps={"multiply": {"fcator": 3.0}})


@pytest.mark.parametrize("option", ["start_at", "stop_after"])
def test_a_misspelled_place_in_the_flow_is_refused(kit, ramp, option):
    with pytest.raises(UnknownNameError, match="did you mean 'multiply'"):
        kit.Linear().run(ramp, **{option: "multipy"})


def test_a_misspelled_step_to_skip_is_refused(kit, ramp):
    with pytest.raises(UnknownNameError, match="did you mean 'multiply'"):
        kit.Linear().run(ramp, skip=["multipy"])


def test_a_misspelled_reference_type_is_refused(kit, ramp):
    with pytest.raises(UnknownNameError, match="did you mean 'gain'"):
        kit.Linear().run(ramp, override_gian="gain.fits")


def test_skipped_steps_leave_the_model_alone(kit, ramp, gain):
    outcome = kit.Linear().run(ramp, override_gain=gain, skip=["multiply"])

    assert value(outcome) == 11 / 2
    assert statuses(outcome)["multiply"] == "SKIPPED"


def test_a_pipeline_with_nothing_to_do_shares_the_callers_arrays(kit, ramp):
    outcome = kit.Linear().run(ramp, skip=["add", "multiply", "decline", "divide_by_gain"])

    assert outcome.model.data is ramp.data
    assert outcome.model is not ramp
    assert ramp.meta.get("cal_step.add") is None


def test_a_pipeline_told_to_skip_does_nothing(kit, ramp, calls):
    outcome = kit.Linear(skip=True).run(ramp)

    assert outcome.status is Status.SKIPPED
    assert not calls


def test_ten_steps_that_do_nothing_copy_nothing():
    class LeaveAlone(Step):
        """Return the model as it is."""

        name = "leave_alone"
        reads, writes = RateModel, RateModel

        def apply(self, model):
            return model

    names = [f"leave_alone_{i}" for i in range(10)]
    nothing = type(
        "Nothing",
        (Pipeline,),
        {"name": "nothing", "steps": dict.fromkeys(names, LeaveAlone), "flow": tuple(names)},
    )
    plane = np.zeros((16, 16), np.float32)

    outcome = nothing().run(RateModel(data=plane))

    assert outcome.model.data is plane
    assert list(statuses(outcome)) == names


def test_a_step_that_cannot_read_what_comes_before_it_is_refused(kit, ramp):
    pipeline = kit.Linear()
    pipeline.insert(kit.LastGroup(), before="add")

    with pytest.raises(ConfigurationError, match="cannot follow"):
        pipeline.run(ramp, override_gain=2)


# -- replaced and inserted steps ------------------------------------------------------------


class Zero(Step):
    """Set everything to zero."""

    name = "zero"
    reads, writes = RampModel, RampModel

    def apply(self, ramp):
        return ramp.evolve(data=np.zeros_like(ramp.data))


def test_a_step_can_be_replaced(kit, ramp, gain):
    pipeline = kit.Linear(steps={"multiply": Zero()})

    outcome = pipeline.run(ramp, override_gain=gain)

    assert value(outcome) == 0
    assert statuses(outcome)["multiply"] == "COMPLETE"  # its name is its place's


def test_a_step_can_be_inserted(kit, ramp, gain):
    pipeline = kit.Linear()
    pipeline.insert(Zero(), after="add")

    assert value(pipeline.run(ramp, override_gain=gain)) == 0
    assert pipeline.order == ("add", "zero", "multiply", "decline", "divide_by_gain")
    assert kit.Linear().order == ("add", "multiply", "decline", "divide_by_gain")


def test_a_step_of_the_same_name_is_not_inserted_twice(kit):
    with pytest.raises(ConfigurationError, match="already"):
        kit.Linear().insert(kit.Add(), after="multiply")


def test_nothing_is_inserted_where_the_order_is_python(kit):
    with pytest.raises(ConfigurationError, match="linear"):
        kit.Branching().insert(Zero(), after="add")


def test_an_installed_step_takes_the_place_of_ours(monkeypatch):
    class BetterJump(Step):
        """Somebody else's."""

        name = "jump"

    class Point:
        group, name, value, dist = "lightmill.steps", "jump", "better:BetterJump", None

        @staticmethod
        def load():
            return BetterJump

    app.discover()
    monkeypatch.setattr(
        app, "_entry_points", lambda group: [Point] if group == "lightmill.steps" else []
    )
    app._steps.cache_clear()
    app._pipeline.cache_clear()
    try:
        assert app._steps()["jump"] is BetterJump
        for _, path in app.pipelines()["calwebb_detector1"]:
            assert app._pipeline(path).steps["jump"] is BetterJump
    finally:
        app._steps.cache_clear()
        app._pipeline.cache_clear()


# -- other orders, nested pipelines ---------------------------------------------------------


def test_an_order_that_is_python_runs_branches(kit, ramp, gain):
    outcome = kit.Branching().run(ramp, override_gain=gain)

    assert outcome.models["first"].data.flat[0] == (10 + 1) * 2
    assert outcome.models["second"].data.flat[0] == (10 + 1 + 1) * 2 / 2


def test_a_branch_is_not_changed_by_the_other(kit, ramp):
    class Twice(kit.Branching):
        """Give the same ramp to two steps."""

        name = "twice"

        def process(self, ramp):
            return Products(one=self.add(ramp), two=self.again(ramp))

    outcome = Twice(steps={"again": {"amount": 5.0}}).run(ramp)

    assert outcome.models["one"].data.flat[0] == 11
    assert outcome.models["two"].data.flat[0] == 15


def test_steps_of_a_nested_pipeline_keep_their_parameters(kit, ramp, gain):
    pipeline = kit.Branching()
    pipeline.step("inner").step("multiply").factor = 10.0

    outcome = pipeline.run(ramp, override_gain=gain)

    assert outcome.models["second"].data.flat[0] == (10 + 1 + 1) * 10 / 2


# -- files ----------------------------------------------------------------------------------


def test_a_flow_can_be_a_file(tmp_path):
    path = tmp_path / "short.yaml"
    path.write_text(
        "name: short\ntitle: A short one\nflow: [firstframe, lastframe]\n"
        "parameters:\n  wanted: {type: bool, default: false, help: nothing}\n"
    )

    pipeline = pipeline_class(path)(wanted=True)

    assert pipeline.order == ("firstframe", "lastframe")
    assert pipeline.parameters.wanted is True
    ramp = make_ramp(n_groups=5)
    assert pipeline.run(ramp).model.groupdq[0, -1].all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nflow: [lastfraem]\n", "did you mean 'lastframe'"),
        ("flow: [lastframe]\n", "not a pipeline"),
        ("- lastframe\n", "not a pipeline"),
        ("name: [\n", "cannot be understood"),
    ],
)
def test_a_file_that_is_no_pipeline_is_an_error(tmp_path, text, said):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=said):
        pipeline_class(path)
