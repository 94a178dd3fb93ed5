"""What a user installs: one wheel with everything the package needs in it."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, root):
    """A wheel built from the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = (
        importlib.util.find_spec("scikit_build_core") is not None
        and shutil.which("cmake") is not None
        and (shutil.which("ninja") or shutil.which("make")) is not None
    )
    answer = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            str(root),
            "--no-deps",
            "-q",
            "-w",
            str(folder),
            *(["--no-build-isolation"] if offline else []),
            f"-Cbuild-dir={folder / 'build'}",
        ],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_one_wheel_serves_every_python(wheel):
    assert "-py3-none-" in wheel.name


def test_the_program_for_readouts_is_in_the_wheel_and_needs_no_other_file_of_it(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".data/scripts/lm-readout")]
        program = Path(archive.extract(name, tmp_path))
    program.chmod(0o755)

    answer = subprocess.run([program, "--version"], capture_output=True, text=True)

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("lm-readout ")


def test_every_schema_rule_and_asset_is_in_the_wheel(wheel, root):
    source = root / "src"
    wanted = {
        str(path.relative_to(source))
        for path in (source / "lightmill").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.parent.name != "_lib"
    }

    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())

        assert not sorted(wanted - held)
        for name in sorted(held):
            if name.endswith(".yaml"):
                assert yaml.safe_load(archive.read(name)) is not None, name


def test_the_native_library_is_in_the_wheel_and_no_rubbish(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    libraries = [n for n in names if n.startswith("lightmill/kernels/_lib/liblightmill.")]
    assert len(libraries) == 1
    rubbish = (".c", ".h", ".o", ".pyc", ".stale", ".new")
    assert not [n for n in names if n.endswith(rubbish) or "/tests/" in n]


def test_the_wheel_works_where_nothing_else_of_ours_is(wheel, tmp_path):
    # physics: none; a user's machine has the wheel and its requirements, and no source tree
    place = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "PYTHONPATH": str(place)
    }
    code = (
        "import lightmill, lightmill.detector; from lightmill.pipeline.step import known_steps;"
        "print(lightmill.__file__); print(sorted(known_steps()))"
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path
    )

    assert answer.returncode == 0, answer.stderr
    assert Path(answer.stdout.splitlines()[0]).is_relative_to(place)
    assert "ramp_fit" in answer.stdout


def test_the_command_answers_from_the_wheel(wheel, tmp_path):
    place = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "PYTHONPATH": str(place)
    }

    answer = subprocess.run(
        [sys.executable, "-c", "from lightmill.cli import main; main()", "--help"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )

    assert answer.returncode == 0, answer.stderr
    assert "run" in answer.stdout
