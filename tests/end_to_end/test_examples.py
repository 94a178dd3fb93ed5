"""Every example runs as it is printed in the documentation."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_the_example_runs_and_says_something(path, tmp_path):
    answer = subprocess.run(
        [sys.executable, "-W", "error", str(path)], capture_output=True, text=True, cwd=tmp_path
    )

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.strip()


def test_the_warm_dark_leaves_nothing(tmp_path, root):
    answer = subprocess.run(
        [sys.executable, str(root / "examples" / "warm_dark.py")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    assert answer.stdout.strip() == "DONE: 12.00 DN before, 0.00 DN after"
