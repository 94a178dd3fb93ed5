"""``lightmill ops export``, ``run-step`` and ``import``: batch campaigns, run by others."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import click

from lightmill.cli.commands import Commands, argument, command
from lightmill.cli.ops.place import Site, root_option, site_of
from lightmill.errors import UsageError

__all__ = ["export", "import_", "run_step", "snakemake"]

SHOWN = 10  # tasks that are left out


@click.group(
    "export", cls=Commands, places={"snakemake": f"{__name__}:snakemake"}, no_args_is_help=True
)
def export() -> None:
    """Write what there is to be done for a workflow manager to run."""


@command("snakemake")
@argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
          help="Folder to make; it must be seen from where jobs run.")  # fmt: skip
@root_option
@click.option("--program", "programs", multiple=True, metavar="NAME",
              help="Only what belongs to this program; repeatable.")  # fmt: skip
@click.option("--type", "types", multiple=True, metavar="TYPE",
              help="Only associations of this type, and what they need; repeatable.")  # fmt: skip
@click.option("--task", "tasks", multiple=True, type=int, metavar="TASK",
              help="Only this task, and what it needs; repeatable.")  # fmt: skip
@click.option("--again", "is_again", is_flag=True,
              help="Also what is done, stale or failed.")  # fmt: skip
@click.option("--quiet-time", default=0.0, show_default=True, type=click.FloatRange(0),
              metavar="SECONDS",
              help="A candidate is taken as it is when nothing came for so long.")  # fmt: skip
@click.option("--partition", default="", metavar="NAME", help="Of Slurm; default: its own.")
@click.option("--account", default="", metavar="NAME", help="Of Slurm; default: none.")
@click.option("--runtime", default=60, show_default=True, type=click.IntRange(1), metavar="MINUTES",
              help="Limit of a job of Slurm.")  # fmt: skip
@click.option("--together", default=1, show_default=True, type=click.IntRange(1), metavar="N",
              help="Steps in a job of Slurm, one after the other.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def snakemake(
    directory: Path,
    root: Path,
    programs: tuple[str, ...],
    types: tuple[str, ...],
    tasks: tuple[int, ...],
    is_again: bool,
    quiet_time: float,
    as_json: bool,
    **slurm: Any,
) -> None:
    """Write a workflow of Snakemake that does what there is to be done.

    Take what it has made into the archive with `lightmill ops import DIR`, at the end or before.
    """
    from lightmill.cli.ops.running import planner_of, service_of
    from lightmill.workflow.campaign import Campaign, planned, write_workflow
    from lightmill.workflow.conditions import Expectations

    if directory.exists() and any(directory.iterdir()):
        raise UsageError(
            "there is something in the folder", place=directory, remedy="name one that is new"
        )
    site = site_of(root)
    service = service_of(site, expectations=Expectations(quiet_time, quiet_time))
    try:
        service.associate()
        steps, left_out = planned(
            service.store, planner_of(site), programs=programs, types=types, tasks=tasks,
            is_again=is_again,
        )  # fmt: skip
    finally:
        service.close()
    directory.mkdir(parents=True, exist_ok=True)
    campaign = Campaign(
        directory.resolve(), uuid.uuid4().hex, site.root / "archive", site.observatory, site.run,
        is_again, {one.number: one.rule for one in steps},
    )  # fmt: skip
    write_workflow(campaign, **slurm)
    campaign.write(steps)
    counts = Counter(one.pipeline for one in steps)
    if as_json:
        reasons = {one.number: one.reason for one in left_out}
        print(json.dumps({"steps": counts, "left_out": reasons}, indent=1))
        return
    for one in left_out[:SHOWN]:
        print(f"left out: task {one.number}, {one.name}: {one.reason}")
    if len(left_out) > SHOWN:
        print(f"left out: {len(left_out) - SHOWN} more")
    told = ", ".join(f"{count} {pipeline}" for pipeline, count in counts.items())
    print(f"{directory}: {told or 'nothing to do'}")
    if steps:
        print(f"cd {directory} && snakemake --profile profiles/local    (or profiles/slurm)")
        print(f"lightmill ops import {directory} --root {root}")


@command("run-step")
@argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
          help="Folder of a campaign.")  # fmt: skip
@argument("step", type=int, metavar="STEP", help="Number of the step.")
@click.option("-j", "--cores", default=1, show_default=True, type=click.IntRange(1), metavar="N",
              help="Cores that it may use.")  # fmt: skip
@click.option("--attempt", default=1, show_default=True, type=click.IntRange(1), metavar="N",
              help="How often it is tried now; above 1, bad data are not tried again.")  # fmt: skip
def run_step(directory: Path, step: int, cores: int, attempt: int) -> None:
    """Do one step of a campaign; workflow managers call this where the step is to run."""
    from lightmill.workflow import campaign as campaigns

    campaign = campaigns.read_campaign(directory)
    planner = _planner(campaign.observatory, tuple(campaign.run))
    done = campaigns.run_step(campaign, step, planner, cores=cores, attempt=attempt)
    print(f"step {step}: {', '.join(sorted(done.outputs))}")


@command("import")
@argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
          help="Folder of a campaign; it may still run.")  # fmt: skip
@root_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def import_(directory: Path, root: Path, as_json: bool) -> None:
    """Take into the archive what a campaign has made; again, after more of it, does no harm."""
    from lightmill.workflow import campaign as campaigns

    site = site_of(root)
    campaign = campaigns.read_campaign(directory)
    if campaign.archive.resolve() != (site.root / "archive").resolve():
        raise UsageError(
            "the campaign is of another observatory", place=directory, found=campaign.archive,
            expected=site.root / "archive", remedy="name the folder of that one with --root",
        )  # fmt: skip
    store = site.opened()
    try:
        planner = _planner(site.observatory, site.run)
        taken = campaigns.take_in(campaign, store, site.root, planner)
    finally:
        store.close()
    if as_json:
        print(json.dumps({"steps": taken.counts, "passed_over": taken.passed_over}, indent=1))
        return
    for number, why in taken.passed_over.items():
        print(f"step {number} is passed over: {why}")
    print(", ".join(f"{count} {name}" for name, count in sorted(taken.counts.items())) or "nothing")


def _planner(observatory: str, run: tuple[str, ...]) -> Any:
    from lightmill.cli.ops.running import planner_of

    return planner_of(Site(Path(), observatory=observatory, run=run))
