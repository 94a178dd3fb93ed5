from dataclasses import dataclass
from typing import Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.errors import ConfigurationError, UnknownNameError
from lightmill.pipeline.parameters import (
    BASE,
    Declaration,
    Text,
    accepted,
    build,
    convert,
    declared,
    from_data,
    json_schema,
    param,
)
from lightmill.pipeline.settings import DEFAULT, Setting, Settings, merge, resolve


class FindJumps:
    name = "jump"
    references = {"gain": object, "readnoise": object}

    @dataclass(frozen=True)
    class Parameters:
        threshold: float = param(4.0, "limit of a jump", gt=0, unit="sigma")
        neighbours: bool = param(True, "flag the neighbours too")
        times: list[float] = param([1.0, 2.0], "times after a jump", ge=0, unit="s")
        cores: Literal["none", "half"] = param("none", "how many processors")
        groups: int | None = param(None, "how many groups", ge=1)
        shape: Literal[3, 5] = param(3, "size of the box")
        note: str = param("", "anything")
        even: int = param(2, "an even number", check=lambda n: "an even number" if n % 2 else None)


class FindMoreJumps(FindJumps):
    name = "more_jumps"

    @dataclass(frozen=True)
    class Parameters(FindJumps.Parameters):
        threshold: float = param(5.0, "limit of a jump", gt=0)
        twice: bool = param(False, "look twice")


def of(name):
    return next(d for d in declared(FindJumps) if d.name == name)


def test_a_declaration_says_type_unit_bounds_and_help():
    declaration = of("threshold")

    assert (declaration.type, declaration.unit, declaration.default) == ("float", "sigma", 4.0)
    assert declaration.bounds == "> 0 sigma"
    assert of("times").type == "list[float]"
    assert of("groups").type == "int | None"
    assert of("cores").bounds == "one of 'none', 'half'"


def test_a_derived_step_inherits_parameters_and_may_change_a_default():
    names = [d.name for d in declared(FindMoreJumps)]

    assert names[0] == "threshold"
    assert names[-1] == "twice"
    assert build(FindMoreJumps, {}).threshold == 5.0


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("threshold", "5", 5.0),
        ("threshold", " 1e1 ", 10.0),
        ("neighbours", "TRUE", True),
        ("neighbours", "off", False),
        ("neighbours", "No", False),
        ("neighbours", "1", True),
        ("times", "1, 2.5", [1.0, 2.5]),
        ("times", "[3]", [3.0]),
        ("times", "3,", [3.0]),
        ("times", "", []),
        ("cores", "'half'", "half"),
        ("cores", "none", "none"),
        ("groups", "None", None),
        ("groups", "", None),
        ("groups", "7", 7),
        ("shape", "5", 5),
        ("note", '"a, b"', "a, b"),
        ("note", "None", "None"),
        ("even", "-4", -4),
    ],
)
def test_text_is_read_as_people_write_it(name, text, value):
    converted = convert(of(name), Text(text), f"jump.{name}")

    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", 0.0),
        ("threshold", float("nan")),
        ("threshold", True),
        ("threshold", None),
        ("neighbours", "maybe"),
        ("neighbours", 2),
        ("times", [1.0, -1.0]),
        ("times", ["x"]),
        ("cores", "haf"),
        ("groups", 0),
        ("groups", 1.5),
        ("groups", True),
        ("shape", 4),
        ("note", 3),
        ("even", 3),
    ],
)
def test_a_wrong_value_is_refused_with_place_and_expectation(name, value):
    with pytest.raises(ConfigurationError) as caught:
        build(FindJumps, {name: value})

    assert caught.value.place == f"jump.{name}"
    assert caught.value.expected
    assert caught.value.exit_status == 5


def test_a_misspelled_name_is_refused_with_a_suggestion():
    with pytest.raises(UnknownNameError) as caught:
        build(FindJumps, {"treshold": 3})

    assert caught.value.remedy == "did you mean 'threshold'?"


def test_a_misspelled_choice_gets_a_suggestion():
    with pytest.raises(ConfigurationError) as caught:
        build(FindJumps, {"cores": "haf"})

    assert caught.value.remedy == "did you mean 'half'?"


def test_a_rule_across_parameters_is_a_configuration_error():
    class Between:
        name = "between"

        @dataclass(frozen=True)
        class Parameters:
            low: float = param(0.0, "lower")
            high: float = param(1.0, "upper")

            def __post_init__(self):
                if self.low >= self.high:
                    raise ValueError("low must be below high")

    with pytest.raises(ConfigurationError, match="low must be below high"):
        build(Between, {"low": 2.0})


def test_lists_are_not_shared_between_instances():
    first, second = build(FindJumps, {}), build(FindJumps, {})

    first.times.append(9.0)

    assert second.times == [1.0, 2.0]


def test_a_step_accepts_its_own_the_common_and_the_override_parameters():
    names = {d.name for d in accepted(FindJumps)}

    assert {d.name for d in BASE} <= names
    assert {"threshold", "override_gain", "override_readnoise"} <= names


def test_the_schema_accepts_the_defaults_and_refuses_the_rest():
    schema = json_schema(FindJumps)
    defaults = {d.name: d.default for d in accepted(FindJumps)}

    jsonschema.validate(defaults, schema)
    for wrong in ({"threshold": 0}, {"cores": "all"}, {"tresh": 1}, {"groups": 0}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_a_pipeline_file_can_declare_a_parameter():
    declaration = from_data("save", {"type": "bool", "default": False, "help": "save it"})

    assert convert(declaration, Text("yes"), "p.save") is True
    with pytest.raises(UnknownNameError, match="did you mean 'help'"):
        from_data("save", {"type": "bool", "hlep": "save it"})
    with pytest.raises(ConfigurationError):
        from_data("save", {"type": "int", "default": "x"})


@given(st.lists(st.text(st.characters(exclude_characters="'\"", codec="utf-8")), max_size=4))
def test_quoted_items_come_back_whole(items):
    declaration = Declaration("names", ("str",), is_list=True)

    typed = Text(",".join(f'"{item}"' for item in items))

    assert convert(declaration, typed, "x") == items


@given(st.floats(allow_nan=False, min_value=1e-300))
def test_every_number_survives_being_typed(number):
    assert convert(of("threshold"), Text(repr(number)), "x") == number


def test_the_strongest_layer_counts_and_the_others_are_remembered():
    observatory = Settings.of({"steps": {"jump": {"threshold": 5.0}}}, "observatory")
    file = Settings.of({"steps": {"jump": {"threshold": 6.0, "skip": True}}}, "file x.yaml")
    command_line = Settings.of({"steps.jump.threshold": Text("7")}, "command line", trusted=True)

    merged = merge(observatory, file, command_line)

    story = merged.explain("jump", "threshold")
    assert [s.origin for s in story] == ["command line", "file x.yaml", "observatory"]
    resolved = resolve(FindJumps, merged.step("jump"))
    assert resolved["threshold"] == Setting(7.0, "command line", trusted=True)
    assert resolved["skip"] == Setting(True, "file x.yaml")
    assert resolved["neighbours"] == Setting(True, DEFAULT)
    assert len(file) == 2
    assert merged.flat()["steps.jump.threshold"].value == "7"


def test_an_unknown_setting_names_who_gave_it():
    settings = Settings.of({"treshold": 1}, "file x.cfg")

    with pytest.raises(UnknownNameError) as caught:
        resolve(FindJumps, settings)

    assert caught.value.place == "jump (file x.cfg)"


def test_a_dotted_name_without_steps_is_explained():
    with pytest.raises(ConfigurationError) as caught:
        Settings.of({"jump.threshold": 3}, "command line")

    assert caught.value.remedy == "write steps.jump.threshold"
