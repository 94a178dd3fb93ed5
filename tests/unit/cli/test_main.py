import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from lightmill import app
from lightmill.cli import main
from lightmill.errors import ConfigurationError, DataError, NothingSelectedError


def ended(capsys, *typed):
    with pytest.raises(SystemExit) as caught:
        main(list(typed))
    said = capsys.readouterr()
    return caught.value.code, said.out, said.err


def test_help_imports_nothing_heavy():
    program = (
        "import sys\nfrom lightmill.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit as end: assert not end.code\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert "run " in done.stdout
    heavy = (
        "numpy",
        "rich",
        "typer",
        "yaml",
        "astropy",
        "scipy",
        "asdf",
        "configobj",
        "jsonschema",
    )
    assert not [name for name in heavy if f"'{name}'" in done.stderr]


def test_a_command_imports_no_other_command():
    program = (
        "import sys\nfrom lightmill.cli import main\n"
        "try: main(['info', '--help'])\nexcept SystemExit as end: assert not end.code\n"
        "print(sorted(m for m in sys.modules if m.startswith('lightmill.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert "'lightmill.cli.products'" in done.stdout
    for other in ("process", "catalog", "difference", "night"):
        assert f"'lightmill.cli.{other}'" not in done.stdout


@pytest.mark.parametrize("command", ["run", "steps", "info", "explain", "diff", "demo", "simulate"])
def test_help_says_what_arguments_are(capsys, command):
    status, out, _ = ended(capsys, command, "--help")

    assert status == 0
    assert out.index("\nArguments:\n") < out.index("\nOptions:\n")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_can_be_shown_and_installed(capsys, monkeypatch, tmp_path, shell):
    monkeypatch.setenv("SHELL", f"/bin/{shell}")
    monkeypatch.setenv("HOME", str(tmp_path))

    shown = ended(capsys, "--show-completion")
    installed = ended(capsys, "--install-completion")

    assert (shown[0], installed[0]) == (0, 0)
    assert "_LIGHTMILL_COMPLETE" in shown[1]
    (written,) = (path for path in tmp_path.rglob("*lightmill*") if path.is_file())
    assert written.read_text() == shown[1]


def test_an_unknown_shell_is_a_usage_error(capsys, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/tcsh")

    assert ended(capsys, "--show-completion")[0] == 2


def test_a_shell_completes_the_names_of_steps(capsys, monkeypatch):
    monkeypatch.setenv("_LIGHTMILL_COMPLETE", "zsh_complete")
    monkeypatch.setenv("COMP_WORDS", "lightmill run jum")
    monkeypatch.setenv("COMP_CWORD", "2")

    _, out, _ = ended(capsys)

    assert out.splitlines()[1] == "jump"


def test_help_lists_every_command(capsys):
    status, out, _ = ended(capsys, "--help")

    assert status == 0
    for command in ("run", "steps", "info", "explain", "diff", "demo", "simulate"):
        assert f"\n  {command} " in out


@pytest.mark.parametrize("typed", [["rnu"], ["run"], ["steps", "--nonsense"]])
def test_a_command_line_that_makes_no_sense_ends_with_2(capsys, typed):
    status, _, err = ended(capsys, *typed)

    assert status == 2
    assert "Error" in err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DataError("too bright", place="a.fits[SCI]"), 3),
        (NothingSelectedError("no dark"), 4),
        (ConfigurationError("bad bound", found=3), 5),
    ],
)
def test_an_error_is_one_screen_and_its_exit_status(capsys, monkeypatch, error, status):
    def fail():
        raise error

    monkeypatch.setattr(app, "steps", fail)

    plain = ended(capsys, "steps")
    machine = ended(capsys, "steps", "--json")

    assert plain == (status, "", f"{error.story()}\n")
    assert machine[0] == status
    assert json.loads(machine[1])["error"] == error.as_dict()


def test_a_bug_is_called_a_bug_and_its_traceback_kept(capsys, monkeypatch, tmp_path):
    def fail():
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(app, "steps", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    status, _, err = ended(capsys, "steps")

    assert status == 70
    assert "Traceback" not in err
    assert "bug of Lightmill" in err
    (kept,) = Path(tmp_path).glob("lightmill-bug-*.txt")
    assert str(kept) in err
    assert "ZeroDivisionError: of all things" in kept.read_text()


def test_an_interrupt_is_no_bug(capsys, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "steps", stop)

    assert ended(capsys, "steps")[0] == 130


def test_the_version_names_software(capsys):
    status, out, _ = ended(capsys, "--version")

    assert status == 0
    assert "numpy" in out


def test_steps_are_listed_and_described(capsys):
    _, listed, _ = ended(capsys, "steps")
    _, page, _ = ended(capsys, "steps", "jump")
    _, machine, _ = ended(capsys, "steps", "jump", "--json")

    assert "calwebb_detector1" in listed
    assert "rejection_threshold" in page
    names = [parameter["name"] for parameter in json.loads(machine)["parameters"]]
    assert "rejection_threshold" in names


def test_a_misspelled_step_gets_a_suggestion(capsys):
    status, _, err = ended(capsys, "steps", "jmp")

    assert status == 5
    assert "did you mean 'jump'?" in err


def test_the_schema_of_a_pipeline_checks_its_parameter_files(capsys):
    _, out, _ = ended(capsys, "steps", "calwebb_detector1", "--schema")

    validator = jsonschema.Draft202012Validator(json.loads(out))

    good = {"run": "calwebb_detector1", "steps": {"jump": {"rejection_threshold": 5.0}}}
    assert validator.is_valid(good)
    for wrong in ({"jump": {"rejection_threshold": -1}}, {"jump": {"x": 1}}, {"jmp": {}}):
        assert not validator.is_valid({**good, "steps": wrong})
