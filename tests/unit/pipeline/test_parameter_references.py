"""Parameters that rules choose: for which steps, how they are read, and what is refused."""

from types import SimpleNamespace

import pytest

from lightmill.errors import ConfigurationError, CorruptFileError, NothingSelectedError
from lightmill.pipeline import Step, parameter_files
from lightmill.pipeline.parameter_references import parameter_references, types_of
from lightmill.pipeline.settings import is_users_own, merge
from lightmill.testing import make_ramp

ALIASES = {"obs.add.AddStep": "add", "obs.pipe.LinearPipeline": "linear"}


class Rules:
    """Rules that name files of parameters."""

    def __init__(self, known=True, **answers):
        self.known, self.answers, self.asked = known, answers, []

    def knows(self, model):  # noqa: ARG002
        return self.known

    def types(self, model):  # noqa: ARG002
        if not self.known:
            raise ConfigurationError("nobody knows")
        return ["dark", *(f"pars-{name}" for name in self.answers)]

    def choose(self, model, types):  # noqa: ARG002
        self.asked.append(list(types))
        return {kind: self._answer(self.answers[kind.removeprefix("pars-")]) for kind in types}

    @staticmethod
    def _answer(given):
        if isinstance(given, Exception):
            return given
        path = None if given == "N/A" else given
        name = given if path is None else given.name
        told = SimpleNamespace(mapping="obs_pars_0007.rmap", row="line 3: (N/A)", use_after=None)
        return SimpleNamespace(path=path, name=name, context="obs_0042.pmap", explanation=told)


@pytest.fixture
def ramp():
    return make_ramp(shape=(6, 8))


@pytest.fixture
def add_file(kit, tmp_path):
    path = tmp_path / "obs_pars-addstep_0001.asdf"
    return parameter_files.write(path, kit.Add(amount=7), aliases=ALIASES)


def test_types_are_called_after_the_classes_parameter_files_name(kit):
    assert types_of(kit.Add(), ALIASES) == ["pars-addstep"]
    assert types_of(kit.Linear(), ALIASES) == ["pars-linearpipeline"]


def test_a_step_nobody_else_knows_is_called_after_its_own_class():
    class SubtractSky(Step):
        name = "t_sky"

    assert types_of(SubtractSky(), ALIASES) == ["pars-subtractsky"]


def test_the_parameters_of_a_step_reach_it_in_a_pipeline(kit, ramp, add_file):
    found = parameter_references(kit.Linear(), ramp, Rules(addstep=add_file), ALIASES)

    setting = merge(*found.layers).step("add")["amount"]
    assert setting.value == 7
    assert setting.origin == "reference obs_pars-addstep_0001.asdf"


def test_they_are_not_the_users_own_words(kit, ramp, add_file):
    found = parameter_references(kit.Add(), ramp, Rules(addstep=add_file), ALIASES)

    setting = merge(*found.layers)["amount"]
    assert not setting.trusted
    assert not is_users_own(setting.origin)


def test_what_a_file_takes_in_is_not_the_users_own_words_either(kit, ramp, tmp_path, add_file):
    outer = tmp_path / "obs_pars-addstep_0002.cfg"
    outer.write_text(f"class = obs.add.AddStep\nconfig_file = {add_file.name}\n")

    found = parameter_references(kit.Add(), ramp, Rules(addstep=outer), ALIASES)

    origins = {s.origin for s in merge(*found.layers).history["amount"]}
    assert origins == {"reference obs_pars-addstep_0002.cfg"}


def test_a_pipelines_file_goes_before_those_of_its_steps(kit, ramp, tmp_path, add_file):
    whole = tmp_path / "obs_pars-linearpipeline_0001.asdf"
    pipeline = kit.Linear(steps={"add": {"amount": 9}})
    parameter_files.write(whole, pipeline, aliases=ALIASES)
    rules = Rules(addstep=add_file, linearpipeline=whole)

    found = parameter_references(kit.Linear(), ramp, rules, ALIASES)

    assert merge(*found.layers).step("add").value("amount") == 9
    assert rules.asked == [["pars-addstep", "pars-linearpipeline"]]


def test_the_files_taken_are_named_for_the_record(kit, ramp, add_file):
    found = parameter_references(kit.Add(), ramp, Rules(addstep=add_file), ALIASES)

    (fact,) = found.facts
    assert (fact["type"], fact["name"]) == ("pars-addstep", "obs_pars-addstep_0001.asdf")
    assert fact["context"] == "obs_0042.pmap"
    assert fact["rule"] == "obs_pars_0007.rmap line 3: (N/A)"
    assert len(fact["sha256"]) == 64


@pytest.mark.parametrize("answer", ["N/A", NothingSelectedError("no row matches")])
def test_data_without_parameters_of_their_own_take_the_defaults(kit, ramp, answer):
    found = parameter_references(kit.Add(), ramp, Rules(addstep=answer), ALIASES)

    assert found.layers == found.facts == ()


def test_rules_of_another_observatory_have_none(kit, ramp):
    found = parameter_references(kit.Add(), ramp, Rules(known=False), ALIASES)

    assert found.layers == ()


def test_a_file_that_is_not_to_be_had_is_an_error(kit, ramp):
    damaged = CorruptFileError("the file in the cache is damaged")

    with pytest.raises(CorruptFileError, match="damaged"):
        parameter_references(kit.Add(), ramp, Rules(addstep=damaged), ALIASES)


def test_the_parameters_of_another_step_are_refused(kit, ramp, add_file):
    rules = Rules(linearpipeline=add_file)

    with pytest.raises(ConfigurationError, match="something else") as caught:
        parameter_references(kit.Linear(), ramp, rules, ALIASES)

    assert "--no-parameter-references" in caught.value.remedy
