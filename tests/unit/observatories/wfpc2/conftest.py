"""Where the cases of the maintenance are, and archives made of them."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cases(root) -> Path:
    """Folder of the cases; skips, loudly, where there is none."""
    found = root.parent / "shared" / "cases" / "wfpc2"
    if not found.is_dir():
        pytest.skip(f"NO CASES at {found}: what is true of these archives is not known here")
    return found


@pytest.fixture(scope="session")
def make_archive(cases, tmp_path_factory):
    """Return a function that makes an archive of random proposals, and its truth."""

    def make(seed: int, proposals: int = 25, *options: str) -> Path:
        folder = tmp_path_factory.mktemp("archive") / f"seed-{seed}"
        command = [sys.executable, cases / "make_archive.py", folder, "--seed", seed]
        command += ["--proposals", proposals, "--fits", "none", *options]
        subprocess.run([str(one) for one in command], check=True, capture_output=True)
        return folder

    return make
