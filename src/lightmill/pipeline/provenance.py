"""What is known of how a product was made, and where it is written.

The part that follows from the inputs (software, parameters with their origin,
references and inputs with their SHA-256) is stored in the product itself, so
that the same run gives the same bytes. What differs from run to run (times,
memory, the machine) is kept beside it, in the run log.
"""

from __future__ import annotations

import datetime as dt
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightmill.errors import DataError
from lightmill.models.exposures import Exposures
from lightmill.models.lineage import force
from lightmill.pipeline.cache import file_digest
from lightmill.pipeline.hooks import describe
from lightmill.pipeline.parameters import declared

if TYPE_CHECKING:
    from lightmill.models import Model
    from lightmill.pipeline.bands import Stage
    from lightmill.pipeline.step import Step

__all__ = ["VERSION", "Record", "check_same_detector", "values"]

VERSION = "0.1.0"  # a test holds it to pyproject.toml: reading it there costs time at every start
SEVERAL = "MULTIPLE"  # the field's word where exposures differ
_ANY = {"", "ANY", "N/A", "GENERIC", SEVERAL, "ALL"}
_VOLATILE = ("started", "finished", "wall_s", "platform", "peak_mb")
_VOLATILE_STEP = ("cpu_s", "wall_s")


def python_version() -> str:
    """Return the version of Python in use; `platform` says the same, and takes 3 ms to import."""
    return ".".join(str(number) for number in sys.version_info[:3])


def machine() -> str:
    """Return the kind of system and processor, for instance ``Linux x86_64``."""
    system = os.uname()
    return f"{system.sysname} {system.machine}"


def values(step: Step) -> dict[str, Any]:
    """Return the values of a step's own parameters."""
    return {d.name: getattr(step.parameters, d.name) for d in declared(type(step))}


def check_same_detector(model: Model, reference: Model, reftype: str) -> None:
    """Refuse a reference file made for another instrument or detector."""
    for path, keyword in (("instrument.name", "INSTRUME"), ("instrument.detector", "DETECTOR")):
        ours, theirs = model.meta.get(path), reference.meta.get(path)
        if ours is None or theirs is None or str(theirs).upper() in _ANY:
            continue
        if str(ours).upper() == SEVERAL:  # a mosaic of several detectors
            continue
        if str(ours).upper() != str(theirs).upper():
            raise DataError(
                f"the {reftype} reference is for another {path.split('.')[1].replace('name', 'instrument')}",
                place=f"{reference.path or reftype}[PRIMARY/{keyword}]",
                found=theirs,
                expected=f"{ours}, as in {model.path}",
                remedy=f"give the reference of {ours}",
            )


class Record:
    """The run record: filled while a run goes on."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {
            "software": {
                "lightmill": VERSION,
                "python": python_version(),
                "numpy": np.__version__,
            }
        }
        self.steps: list[dict[str, Any]] = []
        self.references: dict[str, dict[str, dict[str, Any]]] = {}
        self.statuses: dict[str, str] = {}
        self._order: dict[str, int] = {}

    def start(self, target: Step, source: Model | Exposures, order: list[str]) -> None:
        """Note what runs, in which order, and on what."""
        self._order = {name: number for number, name in enumerate(order)}
        self.facts["pipeline"] = target.name
        self.facts["parameters"] = self._parameters(target)
        self.facts["inputs"] = _inputs(source)
        if getattr(source, "left_out", ()):
            self.facts["left_out"] = [
                {"name": name, "reason": reason} for name, reason in source.left_out
            ]
        self.facts["started"] = _now()
        self.facts["platform"] = machine()

    def restart(self, target: Step, source: Model | Exposures, order: list[str]) -> None:
        """Forget what ran: it begins again on another input."""
        self.steps, self.references, self.statuses = [], {}, {}
        self.start(target, source, order)

    def finish(self, wall_s: float) -> None:
        """Note the end."""
        self.facts["finished"] = _now()
        self.facts["wall_s"] = wall_s
        self.facts["peak_mb"] = peak_mb()

    def reference(
        self, step: str, reftype: str, model: Model | str, chosen: Mapping[str, str] | None = None
    ) -> None:
        """Note a reference file in use, and what rules said of it if they chose it."""
        facts = {"name": model} if isinstance(model, str) else _file(model)
        self.references.setdefault(step, {})[reftype] = facts | dict(chosen or {})

    def take_parameters(self, references: Sequence[Mapping[str, Any]]) -> None:
        """Note the parameter references in use; each parameter's origin names its own."""
        if references:
            self.facts["parameter_references"] = [dict(facts) for facts in references]
            self.facts["context"] = references[0]["context"]

    def step(self, stage: Stage) -> None:
        """Note a step that ran."""
        self._note(stage.name, stage.status or "COMPLETE", stage.reason, stage.step)
        if stage.skipped:
            self.steps[-1]["skipped_exposures"] = dict(stage.skipped)
        self.steps[-1].update(cpu_s=stage.cpu_s, wall_s=stage.wall_s)

    def add_time(self, name: str, cpu_s: float, wall_s: float) -> None:
        """Add to the time a step took."""
        for note in self.steps:
            if note["name"] == name:
                note["cpu_s"] = note.get("cpu_s", 0.0) + cpu_s
                note["wall_s"] = note.get("wall_s", 0.0) + wall_s

    def planned(self, name: str, step: Step) -> None:
        """Note a step that would run."""
        self._note(name, "PLANNED", None, step)

    def skipped(self, name: str, reason: str, step: Step | None = None) -> None:
        """Note a step that did not run, and why."""
        self._note(name, "SKIPPED", reason, step)

    def notes(self) -> dict[str, Any]:
        """Return what must be known of the steps so far to go on later."""
        return {"steps": self.steps, "references": self.references}

    def restore(self, notes: dict[str, Any], names: list[str]) -> None:
        """Take over the notes of a kept result about some of the steps."""
        taken = [dict(note) for note in notes["steps"] if note["name"] in names]
        again = {note["name"] for note in taken}
        self.steps = [note for note in self.steps if note["name"] not in again] + taken
        for step, references in notes["references"].items():
            if step in names:
                self.references.setdefault(step, {}).update(references)
        for note in taken:
            self.statuses[note["name"]] = note["status"]

    def as_dict(self, *, volatile: bool = True) -> dict[str, Any]:
        """Return the record; without what differs from run to run when it goes into a product."""
        steps = sorted(self.steps, key=lambda n: self._order.get(n["name"], len(self._order)))
        record = {**self.facts, "steps": [dict(note) for note in steps]}
        if not volatile:
            for key in _VOLATILE:
                record.pop(key, None)
            for note in record["steps"]:
                for key in _VOLATILE_STEP:
                    note.pop(key, None)
            record["inputs"] = [  # the same file elsewhere gives the same product
                {key: fact for key, fact in one.items() if key != "path"}
                for one in record.get("inputs", ())
            ]
        return record

    def stamp(self, model: Model, exposure: str | None = None) -> None:
        """Write statuses, references and version into a model's metadata.

        Parameters
        ----------
        model : Model
        exposure : str, optional
            Which of several exposures it is: a step may have left it as it was.
        """
        for name, status in self.statuses.items():
            force(model, f"cal_step.{name}", status)
        for note in self.steps:
            if exposure in note.get("skipped_exposures", ()):
                force(model, f"cal_step.{note['name']}", "SKIPPED")
        for references in self.references.values():
            for reftype, facts in references.items():
                force(model, f"ref_file.{reftype}.name", _address(facts))
        if "context" in self.facts:
            force(model, "ref_file.crds.context_used", self.facts["context"])
            force(model, "ref_file.crds.sw_version", f"lightmill {VERSION}")
        force(model, "calibration_software_version", f"lightmill {VERSION}")
        force(model, "calibration_software_revision", "RELEASE")

    def _note(self, name: str, status: str, reason: str | None, step: Step | None) -> None:
        note: dict[str, Any] = {"name": name, "status": status}
        if reason:
            note["reason"] = reason
        if step is not None:
            note["version"] = step.version
            note["parameters"] = self._parameters(step)
            if self.references.get(name) and status != "SKIPPED":
                note["references"] = {
                    reftype: {k: v for k, v in facts.items() if k != "path"}
                    for reftype, facts in self.references[name].items()
                }
        self.steps = [*(n for n in self.steps if n["name"] != name), note]
        self.statuses[name] = status

    @staticmethod
    def _parameters(step: Step) -> dict[str, dict[str, Any]]:
        found = {
            name: {"value": value, "origin": step.origins.get(name, "default")}
            for name, value in values(step).items()
        }
        for kind in ("pre_hooks", "post_hooks", "every_step"):
            if step.options[kind]:
                found[kind] = {
                    "value": [describe(hook) for hook in step.options[kind]],
                    "origin": step.origins.get(kind, "python"),
                }
        for name in ("skip", *(n for n in step.options if n.startswith("override_"))):
            if name in step.origins:
                found[name] = {"value": str(step.options[name]), "origin": step.origins[name]}
        return found


def peak_mb() -> float:
    """Return the largest memory this process had so far [MB]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def _address(facts: Mapping[str, Any]) -> str:
    """Return how a product names a reference: by its context's archive, or by its path."""
    if "context" in facts and facts["name"] != "N/A":
        return f"crds://{facts['name']}"
    return str(facts.get("path", facts["name"]))


def _inputs(source: Model | Exposures) -> list[dict[str, Any]]:
    """Return the facts of every file that is read, the association's first."""
    if not isinstance(source, Exposures):
        return [_file(source)]
    found = [] if source.path is None or not source.path.is_file() else [_facts(source.path)]
    return found + [_file(member.model) | {"role": member.role} for member in source.members]


def _file(model: Model) -> dict[str, Any]:
    if model.path is None:
        return {"name": str(model.meta.get("filename") or type(model).__name__)}
    return _facts(Path(model.path))


def _facts(path: Path) -> dict[str, Any]:
    return {
        "name": path.name,
        "path": str(path.absolute()),
        "sha256": file_digest(path),
        "size": path.stat().st_size,
    }


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
