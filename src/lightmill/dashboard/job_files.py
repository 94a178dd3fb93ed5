"""What a job left in its folder: its log, and where it ran. Whatever a job wrote is only text here."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["JobFiles"]

TAIL = 64 << 10  # bytes at the end of a log that are shown
LARGEST = 16 << 20  # bytes of a log that are given away at once
RECORD = 4 << 20  # bytes of the record of a run that are looked at
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

    def record(self, job_id: int) -> dict[str, Any] | None:
        """Return what ran in a job and with what, None if it left no record.

        Returns
        -------
        record : dict or None
            ``pipeline``, ``context``, ``software`` (text); ``steps``: for each ``name``, ``status``,
            ``reason``, ``wall_s`` [s] or None, ``chosen`` and ``usual`` (parameters that somebody
            set, and that have their default: name, value and origin as text) and ``references``
            (type and name).
        """
        found = self._read(job_id, "record.json", RECORD)
        try:
            told: Any = None if found is None or found[1] else json.loads(found[0])
            (outcome,) = told["outcomes"] if told is not None else ({},)
            record = outcome.get("record") or {}
            steps = [_step(one) for one in record.get("steps", ())]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None  # whatever a job wrote there
        if not steps:
            return None
        software = record.get("software")
        version = software.get("lightmill") if isinstance(software, dict) else None
        return {
            "pipeline": _text(record.get("pipeline")), "context": _text(record.get("context")),
            "software": f"lightmill {_text(version)}" if version else "", "steps": steps,
        }  # fmt: skip

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


def _step(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step of a record as text."""
    rows = [
        (_text(name), _text(given.get("value")), _text(given.get("origin")))
        for name, given in (told.get("parameters") or {}).items()
    ]
    wall = told.get("wall_s")
    return {
        "name": _text(told.get("name")), "status": _text(told.get("status")).lower(),
        "reason": _text(told.get("reason")),
        "wall_s": float(wall) if isinstance(wall, int | float) else None,
        "chosen": [row for row in rows if row[2] != "default"],
        "usual": [row for row in rows if row[2] == "default"],
        "references": [
            (_text(kind), _text(given.get("name")))
            for kind, given in (told.get("references") or {}).items()
        ],
    }  # fmt: skip


def _text(value: Any) -> str:
    """Return what a record says as text of a line."""
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text.replace("\n", " "))[:400]
