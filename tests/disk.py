"""A disk of a few megabytes that a test may fill."""

import contextlib
import shutil
import subprocess

import pytest

BLOCK = 4096


def filled(path):
    """Write a file until no block is free."""
    with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0" * BLOCK)


class SmallDisk:
    """A file system in memory, mounted on a folder; it skips, loudly, where that is not allowed."""

    def __init__(self, folder, megabytes):
        self.folder, self.ballast = folder, folder / ".ballast"
        folder.mkdir(parents=True, exist_ok=True)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if mounted.returncode:
            pytest.skip(f"NO DISK TO FILL: {mounted.stderr.strip() or 'mount is not allowed'}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "--lazy", self.folder], check=True, capture_output=True)

    def fill(self):
        filled(self.ballast)

    def free(self):
        self.ballast.unlink(missing_ok=True)

    def is_full(self):
        return shutil.disk_usage(self.folder).free < BLOCK
