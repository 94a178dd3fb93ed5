"""The first tutorial, command by command, as it is printed."""

import re
import shlex
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def blocks(text, language):
    """The code blocks of a page."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_every_command_of_the_first_tutorial_works(root, tmp_path):
    page = (root / "docs" / "tutorials" / "first-reduction.md").read_text()
    commands = [
        line
        for block in blocks(page, "bash")
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("lightmill ")
    ]
    assert len(commands) >= 6

    for command in commands:
        answer = subprocess.run(
            [
                sys.executable,
                "-c",
                "from lightmill.cli import main; main()",
                *shlex.split(command)[1:],
            ],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        # `diff` says with its status, as others of its name do, whether the two differ.
        assert answer.returncode in ({0, 1} if " diff " in command else {0}), (
            f"{command}\n{answer.stderr}"
        )
    code = "\n".join(blocks(page, "python"))
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )

    assert answer.returncode == 0, answer.stderr
    assert "DN/s" in answer.stdout
