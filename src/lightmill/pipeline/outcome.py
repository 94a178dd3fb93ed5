"""How to run, and what became of it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightmill.errors import LightmillError
from lightmill.pipeline.step import Step
from lightmill.reference import References

if TYPE_CHECKING:
    from lightmill.reference.rulebook import RuleBook

__all__ = ["Options", "Outcome", "Status"]


class Status(enum.StrEnum):
    """How a run, or a step of it, ended."""

    DONE = "DONE"
    """Computed; the result is in the outcome."""
    SKIPPED = "SKIPPED"
    """Nothing was done; the outcome says why, and holds the input as it was."""
    CACHED = "CACHED"
    """The result was found under its identity and not computed again."""
    FAILED = "FAILED"
    """An error stopped it. What was saved before on the way is whole; nothing else was written."""


@dataclass
class Options:
    """How to run, beside the parameters of the steps."""

    references: References = field(default_factory=References)
    crds_path: Path | str | None = None  # cache of rules and references; None: CRDS_PATH
    context: str | None = None  # rules in force; None: CRDS_CONTEXT, or what the cache says
    lock: Path | str | None = None  # file that pins rules and references
    rules: RuleBook | None = None  # rules at hand, instead of those of a cache
    parameter_references: tuple[dict[str, Any], ...] = ()  # those taken, for the record
    overrides: dict[str, Any] = field(default_factory=dict)
    skip: frozenset[str] = frozenset()
    start_at: str | None = None
    stop_after: str | None = None
    resume: bool = False
    cache_dir: Path | None = None
    output_dir: Path | None = None
    scratch_dir: Path | None = None
    save_results: bool = False
    threads: int = 0  # 0: as many as there are processors
    progress: Callable[[str, int, int], None] | None = None

    def leaves_out(self, name: str, step: Step) -> bool:
        """Say whether the user asked to skip a step, here or in its own options."""
        return bool(step.options["skip"]) or name in self.skip


@dataclass
class Outcome:
    """What became of one input.

    Attributes
    ----------
    status : Status
    model : Model or None
        The result; the first of them when there are several.
    models : dict
        Suffix → model, every result.
    reason : str or None
        Why it was skipped.
    error : LightmillError or None
        What stopped it.
    written : list of Path
        The products saved.
    record : dict
        The run record, as `lightmill explain` shows it.
    input : str
        What it was made of, as the user calls it.
    """

    status: Status
    model: Any = None
    models: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    error: LightmillError | None = None
    written: list[Path] = field(default_factory=list)
    record: dict[str, Any] = field(default_factory=dict)
    input: str = ""
