"""An observatory at work: who knows its rules, pipelines and instruments, for the service.

The composition root of operations: `lightmill.workflow` knows none of them, and asks here.
"""

from __future__ import annotations

import functools
import importlib
import json
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError, DataError, LightmillError
from lightmill.workflow.arrivals import Delivered
from lightmill.workflow.conditions import Conditions, Expectations
from lightmill.workflow.store import Arrival, Startable, TaskPlan
from lightmill.yaml_files import read_yaml

__all__ = ["Observing", "planner_at"]

OF_CANDIDATE = re.compile(r"\('([^']+)',\s*'[^']*'\)")
NEED = {"start": 400, "times": 4}  # MB, and a factor: of a pipeline nobody has measured
RECORD = "record.json"  # in the folder of a job: what ran, also of a job that failed
DISCOVERED = "a3001"  # what the field calls associations that no candidate asked for


def planner_at(home: Path, options: Sequence[str] = ()) -> Any:
    """Return who answers for the folder of an observatory or of an instrument.

    Parameters
    ----------
    home : Path
        With ``operations.yaml``. A module ``operations`` beside it answers with its `planner`;
        else the rules of association do, and ``operations.yaml`` alone.
    options : sequence of str
        Words for what runs.

    Returns
    -------
    planner : Planner
        With ``facts``, ``conditions`` and ``expectations``.
    """
    package = Path(__file__).parent
    if (home / "operations.py").exists() and home.is_relative_to(package):
        name = ".".join((package.name, *home.relative_to(package).parts, "operations"))
        return importlib.import_module(name).planner(home, options)
    return Observing(home, options)


class Observing:
    """Answers what the service asks (`lightmill.workflow.service.Planner`).

    Parameters
    ----------
    home : Path
        Folder of the observatory's leaf, with ``operations.yaml`` and ``associations``.
    options : sequence of str
        Words for every ``lightmill run``: where references are, for instance.
    """

    def __init__(self, home: Path, options: Sequence[str] = ()) -> None:
        path = home / "operations.yaml"
        if not path.exists():
            raise ConfigurationError(
                "the observatory does not say what runs when data arrive",
                place=path,
                expected="exposures, associations, keep",
                remedy="write the file; the folder of another observatory shows how",
            )
        self.home, self.options = home, list(options)
        self.facts: dict[str, Any] = read_yaml(path)
        self.planned_from: Collection[str] = tuple(self.facts.get("planned_from", ()))

    @functools.cached_property
    def _columns(self) -> Any:
        from lightmill.association.pool_columns import read_columns

        return {self.home.name.upper(): read_columns(self.home / "associations" / "pool.yaml")}

    @functools.cached_property
    def _rules(self) -> Any:
        from lightmill.association.language import read_rules

        return read_rules(self.home / "associations")

    @functools.cached_property
    def conditions(self) -> Conditions:
        """When a file that is delivered counts as arrived."""
        return Conditions.of(self.facts.get("arrivals"), self._place("arrivals"))

    @functools.cached_property
    def expectations(self) -> Expectations:
        """When all exposures of an observation are there."""
        return Expectations.of(self.facts.get("candidates"), self._place("candidates"))

    def _place(self, name: str) -> str:
        return f"{self.home / 'operations.yaml'}[{name}]"

    # -- files -----------------------------------------------------------------------------------

    def arrivals(self, files: Sequence[Delivered]) -> list[Arrival | LightmillError]:
        """Say what files are, by their headers."""
        from lightmill.association.pool_maker import make_pool

        exposures = [one for one in files if suffix_of(one.path) in self.facts["exposures"]]
        made = make_pool([one.path for one in exposures], self._columns)
        skipped = {one.path: one.reason for one in made.skipped}
        rows = iter(range(len(made.pool)))
        found: dict[Path, Arrival | LightmillError] = {}
        for one in exposures:
            if one.path in skipped:
                found[one.path] = DataError(
                    "the file is no exposure", place=one.path.name, found=skipped[one.path]
                )
                continue
            row = next(rows)
            cells = {name: made.pool.column(name)[row] for name in made.pool.columns}
            found[one.path] = replace(
                _exposure(one, cells), content=self._content(one.path),
                announced=self._announced(cells),
            )  # fmt: skip
        return [
            _damage(one.path, kind) or kind
            for one in files
            for kind in [found.get(one.path) or self._companion(one)]
        ]

    def _companion(self, one: Delivered) -> Arrival:
        content = self._content(one.path)
        return replace(_companion(one), content=content)

    def _content(self, path: Path) -> str:
        """Return the checksum of what a file says, without how it was made."""
        from lightmill.models.substance import substance_of

        return substance_of(path, self.facts.get("provenance", ()))

    def _announced(self, cells: Mapping[str, str]) -> dict[str, int]:
        """Return how many exposures a header announces, of which groups."""
        found = {}
        for one in self.facts.get("announced", ()):
            group = [cells.get(name, "") for name in one["of"]]
            number = cells.get(one["number"], "")
            if all(group) and number.isdecimal() and int(number) > 0:
                found["/".join(group)] = int(number)
        return found

    def is_whole(self, candidate: str, rows: Sequence[Any]) -> bool:
        """Say whether each exposure that headers announce has come, from some detector or other.

        Parameters
        ----------
        candidate : str
        rows : sequence
            Of the store: exposures of the program; those of other candidates count for nothing.

        Returns
        -------
        is_whole : bool
            False where nobody knows which files are of one exposure.
        """
        cells = [row.facts for row in rows if candidate in _candidates(row.facts)]
        rules = [one for one in self.facts.get("announced", ()) if "exposure" in one]
        found: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        wanted: dict[tuple[str, ...], int] = {}
        for facts in cells:
            for one in rules:
                number = facts.get(one["number"], "")
                group = tuple(facts.get(name, "") for name in one["within"])
                exposure = tuple(facts.get(name, "") for name in one["exposure"])
                if not (number.isdecimal() and int(number) > 0 and all(group) and all(exposure)):
                    return False
                wanted[group] = max(wanted.get(group, 0), int(number))
                found.setdefault(group, set()).add(exposure)
        return bool(wanted) and all(len(found[group]) >= n for group, n in wanted.items())

    def products(
        self, files: Sequence[Delivered], inputs: Sequence[Arrival]
    ) -> list[Arrival | None]:
        """Say what products of a job are: as new as the newest of its inputs."""
        newest = max((one.generation for one in inputs), default="")
        program = next(iter(sorted({one.program for one in inputs if one.program})), "")
        target = ", ".join(sorted({one.target for one in inputs if one.target}))[:120]
        kept = set(self.facts["keep"])
        return [
            replace(
                self._companion(one),
                kind="product",
                generation=newest,
                program=program,
                target=target,
            )
            if suffix_of(one.path) in kept
            else None
            for one in files
        ]

    def made_with(self, files: Sequence[Delivered]) -> Mapping[str, Any] | None:
        """Say what products were made with, as the record says that they carry.

        Returns
        -------
        made_with : mapping or None
            ``software``: version; ``context``: of the references; ``steps``: name → version,
            status, reason; ``references``: type → name. None where no product has a record.
        """
        from lightmill import models

        for one in files:
            if one.path.suffix not in {".fits", ".asdf"}:
                continue
            try:
                record = models.open(one.path).record
            except LightmillError:
                continue
            if record is not None:
                return _made_with(record)
        return None

    # -- tasks -----------------------------------------------------------------------------------

    def first_stage(self, arrival: Arrival) -> TaskPlan | None:
        """Return the task that begins with an exposure by itself."""
        pipeline = self.facts["exposures"].get(arrival.suffix)
        if arrival.kind != "exposure" or pipeline is None:
            return None
        return TaskPlan(
            f"exposure|{arrival.name}", arrival.name, "exposure", 1, pipeline,
            {arrival.name: "science"}, arrival.program,
            next(iter(arrival.candidates), ""), arrival.target,
        )  # fmt: skip

    def associations(
        self, program: str, candidates: Sequence[str], rows: Sequence[Any]
    ) -> list[TaskPlan]:
        """Return the tasks of candidates, by the rules of association."""
        from lightmill.association.engine import Options, associate, forget
        from lightmill.association.output import as_document, file_name
        from lightmill.association.pool import Pool
        from lightmill.association.pool_check import check_pool

        whole = Pool.from_rows([row.facts for row in rows], name=f"{program}_pool.csv")
        pool, _ = check_pool(
            whole.folded(self._rules.as_written)
        )  # without rows whose names would lead elsewhere
        made = associate(pool, self._rules, Options(ids=tuple(candidates)))
        forget(self._rules)  # the next candidates have other values
        pattern = self._rules.shared.get("file_name")
        targets = {row.name.rpartition("_")[0]: _target(row.facts) for row in rows}
        plans = []
        for one in made:
            pipeline = self.facts["associations"].get(one.type)
            if pipeline is None:
                continue
            document = as_document(one)
            members = [m for product in document["products"] for m in product["members"]]
            names = "+".join(product["name"] for product in document["products"])
            plans.append(
                TaskPlan(
                    f"{program}|{one.candidate}|{one.rule}|{names}",
                    file_name(one, **({"pattern": pattern} if pattern else {})),
                    one.type, one.level, pipeline,
                    {m["expname"]: m["exptype"] for m in members},
                    program, one.candidate, _targets(members, targets) or one.target, document,
                    description=frozenset(self.facts.get("description", ())),
                )
            )  # fmt: skip
        return plans

    # -- jobs ------------------------------------------------------------------------------------

    def command(self, job: Startable, folder: Path) -> tuple[list[str], float]:
        """Write the association of a job beside its inputs; return what runs it."""
        if job.document is None:
            (given,) = (str(Path("in", name)) for name in job.inputs)
        else:
            given = str(Path("in", job.name))
            (folder / given).write_text(json.dumps(job.document, indent=2))
        words = [sys.executable, "-m", "lightmill", "run", job.pipeline, given]
        words += ["--output-dir", "out", "--record", RECORD, "--quiet", *self.options]
        return words, self._need(job.pipeline, job.size / 1e6)

    def _need(self, pipeline: str, size: float) -> float:
        """Return the memory that a job needs, from the size of its inputs, both in MB."""
        told = self.facts.get("memory", {}).get(pipeline, NEED)
        try:
            return float(told["start"]) + float(told["times"]) * size
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(
                "the observatory does not say what memory a pipeline needs",
                place=self._place(f"memory.{pipeline}"),
                found=told,
                expected="start [MB], times (the size of the inputs)",
            ) from error

    def makes(self, pipeline: str, name: str, document: Mapping[str, Any] | None) -> set[str]:
        """Return what a task makes that others may wait for: names of files, without endings.

        Raises
        ------
        ConfigurationError
            If the observatory does not say what the pipeline makes.
        """
        suffixes = self.facts.get("makes", {}).get(pipeline)
        if suffixes is None:
            raise ConfigurationError(
                "the observatory does not say what a pipeline makes",
                place=self.home / "operations.yaml",
                expected=f"{pipeline} in `makes`",
            )
        if document is None:
            stems = [Path(name).stem.rpartition("_")[0]]
        else:
            stems = [product["name"] for product in document["products"]]
        return {f"{stem}_{suffix}" for stem in stems for suffix in suffixes}


def _made_with(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decides whether a product would come out otherwise now."""
    steps = [one for one in record.get("steps", ()) if "name" in one]
    return {
        "software": str(record.get("software", {}).get("lightmill", "")),
        "context": str(record.get("context", "")),
        "steps": {
            str(one["name"]): {
                key: str(one[key]) for key in ("version", "status", "reason") if key in one
            }
            for one in steps
        },
        "references": {
            str(kind): str(facts.get("name", ""))
            for one in steps
            for kind, facts in one.get("references", {}).items()
        },
    }


def suffix_of(path: Path) -> str:
    """Return what kind of product a file is, by the end of its name."""
    return path.stem.rpartition("_")[2]


def _exposure(one: Delivered, cells: dict[str, str]) -> Arrival:
    return Arrival(
        one.path.name,
        one.sha256,
        one.size,
        _generation(one.path),
        "",
        "exposure",
        suffix_of(one.path),
        cells.get("program", ""),
        _target(cells),
        cells,
        dict.fromkeys(_candidates(cells)),
    )


def _candidates(cells: Mapping[str, str]) -> list[str]:
    """Return the names of the candidates of an exposure."""
    return OF_CANDIDATE.findall(cells.get("asn_candidate", ""))


def _target(cells: Mapping[str, str]) -> str:
    """Return what people call the target of an exposure; associations number them."""
    return cells.get("targname", cells.get("target", ""))


def _targets(members: Sequence[Mapping[str, str]], targets: Mapping[str, str]) -> str:
    """Return the targets of the exposures that members were made of."""
    found = {targets.get(member["expname"].rpartition("_")[0], "") for member in members}
    return ", ".join(sorted(found - {""}))[:120]


def _companion(one: Delivered) -> Arrival:
    return Arrival(
        one.path.name, one.sha256, one.size, "", "", "companion", suffix_of(one.path)
    )  # fmt: skip


def _damage(path: Path, kind: Arrival | LightmillError) -> LightmillError | None:
    """Return why a file of FITS cannot be read to its end; nobody could say what it says."""
    from lightmill.models.fits_reader import read_fits
    from lightmill.models.lazy import FileBytes

    if isinstance(kind, LightmillError) or kind.content or path.suffix != ".fits":
        return None
    try:
        read_fits(FileBytes(path))
    except LightmillError as error:
        return error
    return None


def _generation(path: Path) -> str:
    """Return the date a file was made: DATE of its header."""
    from lightmill.association.pool_maker import read_header

    try:
        return str(read_header(path).get("DATE") or "")
    except LightmillError:
        return ""
