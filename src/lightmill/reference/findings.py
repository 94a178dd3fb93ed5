"""What a check found: how bad, where, what, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lightmill.errors import LightmillError

__all__ = ["ERROR", "NOTE", "WARNING", "Finding", "from_error", "worst"]

ERROR, WARNING, NOTE = "error", "warning", "note"
_ORDER = {ERROR: 0, WARNING: 1, NOTE: 2}


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Parameters
    ----------
    severity : str
        ``error``: it does not work, or does what nobody meant; ``warning``: it works, but
        look at it; ``note``: good to know.
    code : str
        Short name of the check, which never changes.
    place : str
        The file.
    line : int or None
        Where in it.
    fact : str
        What is the matter.
    remedy : str
        What to do.
    """

    severity: str
    code: str
    place: str
    line: int | None
    fact: str
    remedy: str = ""

    @property
    def where(self) -> str:
        """File and line."""
        return self.place if self.line is None else f"{self.place}:{self.line}"

    def as_dict(self) -> dict[str, Any]:
        """Return the same for machines."""
        return {
            "severity": self.severity,
            "code": self.code,
            "place": self.place,
            "line": self.line,
            "fact": self.fact,
            "remedy": self.remedy,
        }


def from_error(error: LightmillError, place: str) -> Finding:
    """Return an error met as a finding."""
    where, _, line = str(error.place or "").rpartition(":")
    known = line.isdigit() and bool(where)
    kind = getattr(error, "kind", None) or error.code
    found = "" if error.found is None else f" (found: {error.found})"
    return Finding(
        ERROR, str(kind), place, int(line) if known else None, f"{error.fact}{found}", error.remedy or ""
    )  # fmt: skip


def worst(findings: Iterable[Finding]) -> str | None:
    """Return the worst severity found, None where nothing was."""
    return min((one.severity for one in findings), key=_ORDER.__getitem__, default=None)
