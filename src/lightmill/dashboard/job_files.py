"""What a job left in its folder: its log, and where it ran. Whatever a job wrote is only text here."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path

__all__ = ["JobFiles"]

TAIL = 64 << 10  # bytes at the end of a log that are shown
LARGEST = 16 << 20  # bytes of a log that are given away at once
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")  # as terminals understand them
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class JobFiles:
    """The folders of jobs.

    Parameters
    ----------
    folder : Path
        It holds one folder for each job, named by its number.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log(self, job_id: int, most: int = TAIL) -> str | None:
        """Return the end of a job's log, None if there is none.

        Parameters
        ----------
        job_id : int
        most : int
            Bytes; of a longer log the last whole lines are given.
        """
        found = self._read(job_id, "log.txt", min(most, LARGEST))
        if found is None:
            return None
        content, is_cut = found
        text = content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
        if is_cut:
            text = text.partition("\n")[2]
        return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", _COLOURS.sub("", text))

    def host(self, job_id: int) -> str:
        """Return the machine a job runs or ran on, empty if nobody wrote it down."""
        for name in ("result.json", "worker.json"):
            found = self._read(job_id, name, TAIL)
            if found is None or found[1]:
                continue
            try:
                told = json.loads(found[0])
            except ValueError:
                continue
            if isinstance(told, dict) and isinstance(told.get("host"), str):
                return told["host"][:200]
        return ""

    def again(self, job_id: int, words: Sequence[str] | None) -> str:
        """Return what to type to do the same as a job did; empty if it never had a command."""
        if not isinstance(words, list) or not all(isinstance(one, str) for one in words):
            return ""
        folder = self.folder / str(int(job_id))
        return f"cd {shlex.quote(str(folder))} && {shlex.join(words)}" if words else ""

    def _read(self, job_id: int, name: str, most: int) -> tuple[bytes, bool] | None:
        """Return the end of a file, and whether it is not all; a link is not followed."""
        path = self.folder / str(int(job_id)) / name
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                return None
            file.seek(max(0, facts.st_size - most))
            return file.read(most), facts.st_size > most
