"""The maintenance as tasks of operations: pointings, proposals, products, each when its content asks.

A pair of jitter files is a task of its own, and what it makes, a pointing, is a product. Of the
exposures and pointings that a program has, whatever is still missing or failed, its proposals are
planned: a task whose document is what the builder reads. Each association that it makes is a product,
and of each of them one more task makes table, images and picture. Products decide by their content
what follows (decision 0024), which are the three decisions of `maintain`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError, LightmillError, ValidationError
from lightmill.observatories.hst.wfpc2.exposures import Exposure, root_of
from lightmill.observatories.hst.wfpc2.pieces import association_of, read_json, stem_of
from lightmill.observatories.hst.wfpc2.rules import Rules
from lightmill.workflow.arrivals import Delivered
from lightmill.workflow.conditions import Conditions, Expectations
from lightmill.workflow.store import Arrival, Startable, TaskPlan
from lightmill.yaml_files import read_yaml

__all__ = ["Keeping", "planner", "proposals_of"]

log = logging.getLogger("lightmill.workflow")

EXPOSURE, POINTING, ASN = "exposure", "pointing", "asn"  # suffixes of what tasks are planned from
JITTER = {"jit": "table", "jif": "statistics"}  # suffix of a file of a pair → its role
OF_GEIS = {"cmi": "jit", "cmh": "jif", "jih": "jif"}  # what was converted from GEIS stands for
MEASURE, BUILD, PRODUCT = "wfpc2_pointing", "wfpc2_build", "wfpc2_product"
NEED = {"start": 400, "times": 4}


def planner(home: Path, options: Sequence[str] = ()) -> Keeping:
    """Return who answers what the service asks about this instrument.

    Parameters
    ----------
    home : path
        Folder of the instrument, with ``operations.yaml``.
    options : sequence of str
        Words for the task that makes products: ``--frames=DIR``.
    """
    return Keeping(home, options)


class Keeping:
    """Answers what the service asks (`lightmill.workflow.service.Planner`).

    Parameters
    ----------
    home : path
        Folder of the instrument, with ``operations.yaml``.
    options : sequence of str
        Words for the task that makes products.
    """

    def __init__(self, home: Path, options: Sequence[str] = ()) -> None:
        self.home, self.options = home, list(options)
        self.facts: dict[str, Any] = read_yaml(home / "operations.yaml")
        self.planned_from: Collection[str] = tuple(self.facts["planned_from"])
        self.conditions = Conditions.of(self.facts.get("arrivals"), home / "operations.yaml")
        self.expectations = Expectations.of(self.facts.get("candidates"), home / "operations.yaml")

    # -- files -----------------------------------------------------------------------------------

    def arrivals(self, files: Sequence[Delivered]) -> list[Arrival | LightmillError]:
        """Say what files are: by their names, and of exposures by what the database says in them."""
        found: list[Arrival | LightmillError] = []
        for one in files:
            try:
                found.append(_arrival(one))
            except LightmillError as error:
                found.append(error)
        return found

    def products(
        self, files: Sequence[Delivered], inputs: Sequence[Arrival]
    ) -> list[Arrival | None]:
        """Say what products of a job are; those that tasks are planned from hold all they say."""
        newest = max((one.generation for one in inputs), default="")
        program = next(iter(sorted({one.program for one in inputs if one.program})), "")
        return [_product(one, newest, program) for one in files]

    def made_with(self, files: Sequence[Delivered]) -> Mapping[str, Any] | None:
        """Return None: products say themselves which builder made them."""
        del files
        return None

    # -- tasks -----------------------------------------------------------------------------------

    def first_stage(self, arrival: Arrival) -> TaskPlan | None:
        """Return the task that measures a pointing, of which either file of a pair has come."""
        if arrival.suffix not in JITTER:
            return None
        stem = arrival.name.rpartition("_")[0]
        pair = {f"{stem}_{one}.fits": role for one, role in JITTER.items()}
        return TaskPlan(
            f"pointing|{stem}", stem, POINTING, 1, MEASURE, pair, arrival.program, arrival.program
        )

    def associations(
        self, program: str, candidates: Sequence[str], rows: Sequence[Any]
    ) -> list[TaskPlan]:
        """Return the tasks of a program: to build its proposals, and to make products."""
        del candidates  # a program is one
        plans = list(proposals_of(program, rows).values())
        for row in rows:
            if row.suffix == ASN:
                assoc_id = row.facts["association"]["assoc_id"]
                plans.append(
                    TaskPlan(
                        f"product|{assoc_id}", assoc_id, "product", 3, PRODUCT,
                        {row.name: "association"}, program, program,
                        str(row.facts["association"]["targname"]),
                    )
                )  # fmt: skip
        return plans

    def is_whole(self, candidate: str, rows: Sequence[Any]) -> bool:
        """Say that nobody knows: no header announces exposures."""
        del candidate, rows
        return False

    # -- jobs ------------------------------------------------------------------------------------

    def command(self, job: Startable, folder: Path) -> tuple[list[str], float]:
        """Write what a proposal is made of beside its pointings; return what runs a job."""
        words = [sys.executable, "-m", "lightmill", "wfpc2"]
        given = sorted(f"in/{name}" for name in job.inputs)
        if job.pipeline == MEASURE:
            words += ["measure", *sorted(given, key=lambda name: name.endswith("_jif.fits"))]
        elif job.pipeline == BUILD:
            document = f"in/{job.name}.json"
            (folder / document).write_text(json.dumps(job.document))
            words += ["build", document, "--pointings", "in"]
        else:
            words += ["product", *given, *self.options]
        return [*words, "--output-dir", "out"], self._need(job)

    def _need(self, job: Startable) -> float:
        told = self.facts.get("memory", {}).get(job.pipeline, NEED)
        return float(told["start"]) + float(told["times"]) * job.size / 1e6

    def makes(self, pipeline: str, name: str, document: Mapping[str, Any] | None) -> set[str]:
        """Return what a task makes that others may wait for: names of files, without endings."""
        del document
        if pipeline == BUILD:
            raise ConfigurationError(
                "which associations a proposal has is known when it is built",
                place=name,
                remedy="let `lightmill ops watch` do it",
            )
        return {f"{name}_pointing"} if pipeline == MEASURE else set()


def proposals_of(program: str, rows: Sequence[Any]) -> dict[int, TaskPlan]:
    """Return the tasks that build the proposals of a program, of what there is now.

    Parameters
    ----------
    program : str
        Second to fourth character of the names of its exposures.
    rows : sequence
        Its exposures and pointings: name, suffix, facts.

    Returns
    -------
    plans : dict
        Proposal → task; a proposal without any pointing has none. Of an exposure's pointings the
        newest that could be measured counts.
    """
    pointings: dict[str, tuple[str, str]] = {}  # first eight characters → generation, name
    for row in rows:
        if row.suffix == POINTING:
            told = row.facts["pointing"]
            root = root_of(told["dataset"])
            pointings[root] = max(pointings.get(root, ("", "")), (told["gen_date_str"], row.name))
    exposures: dict[int, list[tuple[str, dict[str, Any]]]] = {}
    for row in rows:
        if row.suffix != EXPOSURE:
            continue
        try:
            exposure = Exposure.from_row(row.facts)
        except LightmillError as error:  # somebody set what cannot be
            log.warning("%s is left out: %s", row.name, error)
            continue
        if exposure.root in pointings:
            described = {**_plain(exposure), "gen_date_str": str(row.facts["gen_date_str"])}
            exposures.setdefault(exposure.pep_id, []).append((row.name, described))
    return {
        pep_id: _proposal(program, pep_id, some, pointings)
        for pep_id, some in sorted(exposures.items())
    }


def _proposal(
    program: str,
    pep_id: int,
    exposures: list[tuple[str, dict[str, Any]]],
    pointings: Mapping[str, tuple[str, str]],
) -> TaskPlan:
    names = [name for name, _ in exposures]
    measured = [pointings[root_of(one["dataset_name"])][1] for _, one in exposures]
    document = {
        "pep_id": pep_id, "rules": asdict(Rules()), "exposures": [one for _, one in exposures]
    }  # fmt: skip
    return TaskPlan(
        f"build|{pep_id}", str(pep_id), "build", 2, BUILD,
        {**dict.fromkeys(measured, POINTING), **dict.fromkeys(names, EXPOSURE)},
        program, program, document=document,
        presences=frozenset(names),  # what they say is in the document
    )  # fmt: skip


def _plain(exposure: Exposure) -> dict[str, Any]:
    """Return what is known of an exposure as JSON has it: a pointing that is missing is null."""
    return {k: None if v != v else v for k, v in asdict(exposure).items()}  # noqa: PLR0124 - NaN only


def _arrival(one: Delivered) -> Arrival:
    """Say what a delivered file is."""
    suffix = one.path.stem.rpartition("_")[2].lower()
    suffix = OF_GEIS.get(suffix, suffix)
    if suffix in JITTER and one.path.suffix.lower() == ".fits":
        stem = stem_of(one.path.name)
        return Arrival(
            f"{stem.dataset.lower()}_{stem.generation}_{suffix}.fits", one.sha256, one.size,
            stem.generation, "", "companion", suffix, _program(stem.dataset),
            facts={"dataset": stem.dataset, "file": one.path.name},
        )  # fmt: skip
    if suffix == EXPOSURE and one.path.suffix == ".json":
        return _exposure(one)
    raise ValidationError(
        "nobody knows what this file is",
        place=one.path.name,
        found=one.path.name,
        expected="a pair _jit.fits and _jif.fits, or what the database says, _exposure.json",
    )


def _exposure(one: Delivered) -> Arrival:
    told = read_json(one.path)
    exposure = Exposure.from_row(told)
    generation = told.get("gen_date_str")
    if not (isinstance(generation, str) and len(generation) == 12 and generation.isdecimal()):
        raise ValidationError(
            "this is no generation", place=one.path.name, found=generation,
            expected="gen_date_str: YYYYMMDDHHMM",
        )  # fmt: skip
    program = _program(exposure.dataset_name)
    return Arrival(
        f"{exposure.dataset_name.lower()}_exposure.json", one.sha256, one.size, generation, "",
        "exposure", EXPOSURE, program, exposure.targname,
        {**_plain(exposure), "gen_date_str": generation}, {program: None},
    )  # fmt: skip


def _program(dataset: str) -> str:
    """Return what a name says of the program: PPP of IPPPSSOOT."""
    return root_of(dataset)[1:4]


def _product(one: Delivered, newest: str, program: str) -> Arrival:
    """Say what a product is; one that tasks are planned from belongs to the program's candidate."""
    facts: dict[str, Any] = {}
    suffix, content, target = one.path.stem.rpartition("_")[2], "", ""
    if suffix == POINTING:
        facts = {"pointing": read_json(one.path)}
    elif suffix == ASN:
        told = read_json(one.path)
        facts, target = {"association": told}, str(told["targname"])
        content = association_of(told).content  # a new name of the target makes no new product
    elif one.path.suffix == ".asn":
        suffix = "table"
    elif one.path.suffix == ".png":
        suffix = "preview"
    return Arrival(
        one.path.name, one.sha256, one.size, newest, "", "product", suffix, program, target, facts,
        {program: None} if facts else {}, content=content,
    )  # fmt: skip
