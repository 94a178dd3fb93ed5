"""Rules of the house that no linter knows."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import lightmill

PACKAGE = Path(lightmill.__file__).parent
LEAVES = ("observatories", "simulate")
NAMES = re.compile(
    r"(?<![a-z])(nircam|niriss|nirspec|miri|fgs|wfpc2|iris|nrc[ab]|mirimage|nrs[12])(?![a-z])",
    re.IGNORECASE,
)
HEAVY = ("astropy", "scipy", "asdf", "jsonschema", "matplotlib", "rich", "configobj", "jinja2")
SHARED = [
    path
    for path in sorted(PACKAGE.rglob("*"))
    if path.suffix in {".py", ".yaml", ".html", ".css", ".js"}
    and path.relative_to(PACKAGE).parts[0] not in LEAVES
]
MODULES = sorted(PACKAGE.rglob("*.py"))
LIBRARY = [  # all but the command line, which talks to the terminal and has an exit status
    path for path in MODULES if path.relative_to(PACKAGE).parts[0] not in {"cli", "__main__.py"}
]


def modules_loaded_after(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter that ran `code`."""
    code = f"{code}\nimport sys, json\nprint(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout.splitlines()[-1]))


@pytest.mark.parametrize("path", SHARED, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_leaves_and_scenes_name_an_instrument(path):
    lines = path.read_text(encoding="utf-8").splitlines()

    found = [
        f"{number}: {line.strip()}" for number, line in enumerate(lines, 1) if NAMES.search(line)
    ]

    assert not found, f"{path.relative_to(PACKAGE)} names an instrument:\n" + "\n".join(found)


def test_importing_lightmill_imports_nothing_heavy():
    loaded = modules_loaded_after("import lightmill")

    assert not loaded & set(HEAVY)


@pytest.mark.parametrize(
    "name", ["lightmill.models", "lightmill.pipeline", "lightmill.detector", "lightmill.app"]
)
def test_importing_a_capability_imports_nothing_heavy(name):
    loaded = modules_loaded_after(f"import {name}")

    assert not loaded & set(HEAVY)


def test_every_module_can_be_imported_alone_first():
    # Import cycles show only for some orders: each top-level package is asked in a fresh interpreter.
    for folder in sorted(p for p in PACKAGE.iterdir() if (p / "__init__.py").exists()):
        modules_loaded_after(f"import lightmill.{folder.name}")


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_library_does_not_print(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))

    calls = [
        n.lineno
        for n in ast.walk(tree)
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "print"
    ]

    assert not calls, f"print() in lines {calls}"


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_library_does_not_end_the_interpreter(path):
    text = path.read_text(encoding="utf-8")

    assert not re.search(r"\bsys\.exit\(|\bos\._exit\(|raise SystemExit", text)


def test_every_import_at_the_top_of_a_module_is_light():
    # The linter does not ask: a heavy library belongs inside the function that needs it.
    found = []
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            found += [
                f"{path.relative_to(PACKAGE)}:{node.lineno}: {n}"
                for n in names
                if n.partition(".")[0] in HEAVY
            ]

    assert not found, "\n".join(found)


def test_no_module_has_a_name_that_says_nothing():
    empty = {"utils", "util", "common", "helpers", "helper", "manager", "misc", "base"}

    assert not [
        p.relative_to(PACKAGE) for p in MODULES if p.stem in empty or p.parent.name in empty
    ]


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.yaml")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_every_data_file_can_be_read(path):
    assert yaml.safe_load(path.read_text(encoding="utf-8")) is not None


@pytest.fixture(scope="module")
def generated(tmp_path_factory, root):
    """Folder of the reference pages, written from the code now."""
    sys.path.insert(0, str(root / "docs" / "reference"))
    try:
        generate = importlib.import_module("generate")
    finally:
        sys.path.pop(0)
    folder = tmp_path_factory.mktemp("reference")
    generate.write(folder)
    return folder, generate


def test_every_step_and_parameter_has_its_entry(generated):
    from lightmill.pipeline.parameters import declared

    folder, generate = generated
    steps = generate.all_steps()
    assert len(steps) >= 15
    for name, step in steps.items():
        page = (folder / "steps" / f"{name}.md").read_text()
        assert (step.__doc__ or "").splitlines()[0] in page, f"{name}: no summary"
        for declaration in declared(step):
            assert f"`{declaration.name}`" in page
            assert declaration.help, f"{name}.{declaration.name} does not say what it is for"


def test_every_error_code_has_its_entry(generated):
    from lightmill.errors import LightmillError

    folder, generate = generated
    page = (folder / "errors.md").read_text()

    kinds = list(generate.all_errors(LightmillError))

    assert len({k.code for k in kinds}) == len(kinds), "two kinds of error share a code"
    for kind in kinds:
        assert f"`{kind.code}`" in page
        assert kind.exit_status in {2, 3, 4, 5, 70, 75}


def test_every_command_and_option_has_its_entry(generated):
    folder, generate = generated
    page = (folder / "command-line.md").read_text()
    commands = dict(generate.all_commands())
    assert len(commands) > 15
    for name, command in commands.items():
        assert f"## `{name}`" in page
        assert command.help, f"{name} does not say what it does"
        for parameter in command.params:
            if not getattr(parameter, "hidden", False):
                assert getattr(parameter, "help", None), f"{name} {parameter.name}: no help"
                assert generate.spelled(parameter) in page


def test_every_quality_flag_has_its_entry(generated):
    from lightmill.models import dq

    folder, _ = generated
    page = (folder / "dq.md").read_text()

    assert all(name in page for name in dq.PIXEL)


def test_every_schema_has_its_page(generated):
    folder, _ = generated
    count = len(list(PACKAGE.rglob("schemas/*.yaml")))

    assert len(list((folder / "schemas").glob("*.md"))) == count + 1  # and the index


def test_the_table_of_differences_names_parameters_that_exist(root, generated):
    from lightmill.pipeline.parameters import declared

    _, generate = generated
    steps = generate.all_steps()
    text = (root / "docs" / "reference" / "peer-differences.md").read_text()
    named = set(re.findall(r"`(?:--steps\.)?([a-z_0-9]+)\.([a-z_0-9]+)=", text))

    assert named
    for step, parameter in named:
        assert parameter in {d.name for d in declared(steps[step])}, f"{step}.{parameter}"


def test_the_profile_of_the_peer_and_the_table_of_differences_agree(root):
    text = (root / "docs" / "reference" / "peer-differences.md").read_text()
    (profile,) = PACKAGE.glob("observatories/*/profiles/jwst-3.0.yaml")
    chosen = {
        (step, name): str(value).lower() if isinstance(value, bool) else str(value)
        for step, values in yaml.safe_load(profile.read_text()).items()
        for name, value in values.items()
    }
    printed = {
        (step, name): value
        for step, name, value in re.findall(r"`([a-z_0-9]+)\.([a-z_0-9]+)=([^`]+)`", text)
    }

    def plain(value):
        return float(value) if re.fullmatch(r"[\d.]+", value) else value

    assert {key: plain(v) for key, v in printed.items()} == {
        key: plain(v) for key, v in chosen.items()
    }
