import json
import textwrap
from dataclasses import dataclass
from typing import ClassVar

import pytest
import yaml

from lightmill import app
from lightmill.errors import ConfigurationError, OutputError, UnknownNameError
from lightmill.pipeline import parameter_files
from lightmill.pipeline.hooks import find
from lightmill.pipeline.parameters import param
from lightmill.pipeline.pipeline import Pipeline
from lightmill.pipeline.step import Step

ALIASES = {"jwst.pipeline.Detector1Pipeline": "calwebb_detector1", "jwst.step.JumpStep": "jump"}


class FindBumps(Step):
    """Find bumps."""

    name = "bumps_of_a_test"
    references: ClassVar = {"gain": object}
    extensions = frozenset({"ours"})

    @dataclass(frozen=True)
    class Parameters:
        threshold: float = param(4.0, "limit")
        times: list[float] = param([1.0], "times")
        label: str | None = param(None, "a text")
        ours: str = param("signed", "something other software does not know")


class Bumpy(Pipeline):
    """Find bumps twice."""

    name = "bumpy_of_a_test"
    steps: ClassVar = {"first": FindBumps, "second": FindBumps}
    flow = ("first", "second")

    @dataclass(frozen=True)
    class Parameters:
        keep: bool = param(False, "keep it")


def written(path, text):
    path.write_text(textwrap.dedent(text).lstrip())
    return path


def asdf(body):
    return (
        "#ASDF 1.0.0\n#ASDF_STANDARD 1.5.0\n%YAML 1.1\n%TAG ! tag:stsci.edu:asdf/\n"
        f"--- !core/asdf-1.1.0\n{textwrap.dedent(body).strip()}\n...\n"
    )


def read(path, **options):
    return parameter_files.read(path, aliases=ALIASES, **options)


OURS_YAML = """
    run: calwebb_detector1
    parameters: {save_calibrated_ramp: true}
    steps:
      jump: {rejection_threshold: 5.0, skip: false}
    """
OURS_TOML = """
    run = "calwebb_detector1"
    [parameters]
    save_calibrated_ramp = true
    [steps.jump]
    rejection_threshold = 5.0
    skip = false
    """
INI = """
    name = "Detector1Pipeline"
    class = "jwst.pipeline.Detector1Pipeline"
    save_calibrated_ramp = True
    [steps]
      [[jump]]
        rejection_threshold = 5.0
        skip = False
    """
NEW_ASDF = """
    asdf_library: !core/software-1.0.0 {name: asdf, version: 5.4.0}
    class: jwst.pipeline.calwebb_detector1.Detector1Pipeline
    name: Detector1Pipeline
    parameters: {save_calibrated_ramp: true}
    steps:
    - class: jwst.jump.jump_step.JumpStep
      name: jump
      parameters: {rejection_threshold: 5.0, skip: false}
    """
OLD_ASDF = """
    meta: {author: someone, date: 2020-06-01T12:00:00}
    parameters:
      class: jwst.pipeline.Detector1Pipeline
      name: Detector1Pipeline
      save_calibrated_ramp: true
      steps:
        jump: {rejection_threshold: 5.0, skip: false}
    """


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.yaml", OURS_YAML),
        ("p.toml", OURS_TOML),
        ("p.cfg", INI),
        ("p.asdf", asdf(NEW_ASDF)),
        ("old.asdf", asdf(OLD_ASDF)),
        ("renamed.txt", asdf(NEW_ASDF)),
    ],
)
def test_every_format_says_the_same(tmp_path, name, text):
    path = written(tmp_path / name, text)

    file = read(path)

    assert file.target == "calwebb_detector1"
    flat = {key: setting.value for key, setting in file.settings.flat().items()}
    assert {key: str(value).lower() for key, value in flat.items()} == {
        "save_calibrated_ramp": "true",
        "steps.jump.rejection_threshold": "5.0",
        "steps.jump.skip": "false",
    }
    (setting,) = file.settings.explain("jump", "skip")
    assert setting.origin == f"file {path}"


def test_a_step_file_has_no_steps(tmp_path):
    path = written(tmp_path / "jump.asdf", asdf("class: jwst.jump.JumpStep\nparameters: {a: 1}"))

    file = read(path)

    assert (file.target, file.settings.as_dict()) == ("jump", {"a": 1})


def test_lists_and_quotes_of_ini_files(tmp_path):
    path = written(
        tmp_path / "x.cfg",
        """
        class = jump
        times = 1.0, 2.0
        label = "a, b"
        pre_hooks = "fitsverify {0}", other:function
        """,
    )

    values = read(path).settings.values()

    assert values["times"] == ["1.0", "2.0"]
    assert values["label"] == "a, b"
    assert values["pre_hooks"] == ["fitsverify {0}", "other:function"]


def test_an_included_step_file_gives_way_to_the_section_that_includes_it(tmp_path):
    (tmp_path / "sub").mkdir()
    written(tmp_path / "sub" / "jump.cfg", "name = jump\nclass = jwst.jump.JumpStep\na = 1\nb = 2")
    path = written(
        tmp_path / "pipe.cfg",
        """
        class = jwst.pipeline.Detector1Pipeline
        [steps]
          [[jump]]
            config_file = sub/jump.cfg
            b = 3
        """,
    )

    settings = read(path).settings

    assert settings.step("jump").values() == {"a": "1", "b": "3"}
    assert [s.origin for s in settings.explain("jump", "b")] == [
        f"file {path}",
        f"file {tmp_path / 'sub' / 'jump.cfg'}",
    ]


def test_files_that_include_each_other_are_refused(tmp_path):
    written(tmp_path / "a.cfg", "class = x\nconfig_file = b.cfg")
    written(tmp_path / "b.cfg", "class = x\nconfig_file = a.cfg")

    with pytest.raises(ConfigurationError, match="circle"):
        read(tmp_path / "a.cfg")


@pytest.mark.parametrize(
    ("name", "text", "fact"),
    [
        ("a.yaml", "run: [x", "not YAML"),
        ("a.toml", "run = ", "not TOML"),
        ("a.cfg", "[steps\n", "not an INI"),
        ("a.cfg", "[stesp]\n[[jump]]\na=1\n", "stesp"),
        ("a.yaml", "run: jump\nthreshold: 3\n", "threshold"),
        ("a.yaml", "run: jump\nsteps: {jump: 3}\n", "table"),
        ("a.yaml", "run: jump\nsteps: 3\n", "neither"),
        ("a.yaml", "run: other.module.UnknownStep\n", "UnknownStep"),
        ("a.asdf", "#ASDF 1.0.0\n--- !core/asdf-1.1.0\nclass: x\n", "cut off"),
        ("a.asdf", asdf("data: 3"), "not a parameter file"),
        ("a.asdf", asdf("class: x\nparameters: {}\nsteps: [{parameters: {}}]"), "no name"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_file(tmp_path, name, text, fact):
    path = tmp_path / name
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=fact) as caught:
        read(path)

    assert str(path) in str(caught.value.place)


def test_an_absent_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError):
        read(tmp_path / "absent.asdf")


def test_no_tag_of_a_file_makes_an_object(tmp_path):
    proof = tmp_path / "proof"
    path = written(
        tmp_path / "evil.asdf",
        asdf(f"class: jump\nparameters: {{a: !!python/object/apply:os.mkdir ['{proof}']}}"),
    )

    file = read(path)

    assert file.settings.value("a") == [str(proof)]
    assert not proof.exists()


def test_commands_run_only_from_a_file_of_the_user(tmp_path):
    path = written(tmp_path / "p.yaml", "run: jump\nparameters: {pre_hooks: ['!ls']}")

    own = read(path, trusted=True).settings["pre_hooks"]
    foreign = read(path).settings["pre_hooks"]

    assert find(own.value[0], trusted=own.trusted) == "ls"
    with pytest.raises(ConfigurationError):
        find(foreign.value[0], trusted=foreign.trusted)


@pytest.mark.parametrize("ending", [".asdf", ".yaml"])
def test_saved_parameters_make_the_same_run(tmp_path, ending):
    pipeline = Bumpy(keep=True)
    pipeline.first.threshold = 7.5
    pipeline.first.ours = "absolute"
    pipeline.second.label = "1"
    pipeline.second.post_hooks = [json.dumps, "!ls {0}"]
    path = tmp_path / f"saved{ending}"

    parameter_files.write(path, pipeline, overrides={"gain": "g.fits"}, skip=["second"])
    file = parameter_files.read(path, trusted=True)
    again = Bumpy()
    app.apply_settings(again, file.settings)

    assert file.target == "bumpy_of_a_test"
    assert again.parameters == pipeline.parameters
    assert again.step("first").parameters == pipeline.step("first").parameters
    assert again.step("second").parameters.label == "1"
    assert again.step("second").options["skip"] is True
    assert again.step("first").options["override_gain"] == "g.fits"
    assert again.step("second").options["post_hooks"] == ["json.dumps", "!ls {0}"]


def test_a_saved_file_says_who_set_what_and_keeps_ours_apart(tmp_path):
    pipeline = Bumpy()
    pipeline.step("first").configure({"threshold": 6}, "command line")
    path = parameter_files.write(tmp_path / "p.yaml", pipeline)

    tree = yaml.safe_load(path.read_text())

    assert tree["lightmill"]["origins"]["steps"] == {"first": {"threshold": "command line"}}
    first = tree["steps"][0]["parameters"]
    assert first["threshold"] == 6.0
    assert not {"ours", "every_step", "on_error", "hook_timeout"} & set(first)
    assert tree["lightmill"]["steps"]["first"] == {"ours": "signed"}


def test_what_no_file_can_name_is_not_saved_silently(tmp_path):
    pipeline = Bumpy()
    pipeline.first.pre_hooks = [lambda model: model]

    with pytest.raises(ConfigurationError, match="module:function"):
        parameter_files.write(tmp_path / "p.asdf", pipeline)
    with pytest.raises(OutputError):
        parameter_files.write(tmp_path / "p.fits", Bumpy())
    assert not list(tmp_path.iterdir())


def test_a_class_nobody_knows_is_refused_but_a_plain_name_is_not():
    assert parameter_files.target_of("a.b.JumpStep", ALIASES) == "jump"
    assert parameter_files.target_of("my_step", ALIASES) == "my_step"
    with pytest.raises(UnknownNameError, match="did you mean 'JumpStep'"):
        parameter_files.target_of("a.JumpStpe", ALIASES)
