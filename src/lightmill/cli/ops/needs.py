"""``lightmill ops memory``: what jobs had, beside what they asked for and the size of their inputs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lightmill.cli.commands import command
from lightmill.cli.ops.place import root_option, site_of

__all__ = ["memory"]

COLUMNS = ("pipeline", "jobs", "inputs MB", "used MB", "asked MB", "most used / asked")


@command("memory")
@root_option
@click.option("-n", "--number", default=1000, show_default=True, type=click.IntRange(1),
              metavar="N", help="Jobs that are looked at, the last that ended well.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON, job by job.")
def memory(root: Path, number: int, as_json: bool) -> None:
    """Compare the memory that jobs used with what they asked for.

    What a pipeline asks for is said in the observatory's operations.yaml: `memory`.
    """
    from lightmill.workflow.store.memory import memory_of_jobs

    store = site_of(root).opened()
    jobs = memory_of_jobs(store, number)
    store.close()
    if as_json:
        print(json.dumps(jobs, indent=1))
        return
    pipelines: dict[str, list[dict[str, Any]]] = {}
    for job in jobs:
        pipelines.setdefault(job["pipeline"], []).append(job)
    rows = [COLUMNS, *(_row(name, some) for name, some in sorted(pipelines.items()))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def _row(pipeline: str, jobs: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    ratio = max(job["used_mb"] / job["asked_mb"] for job in jobs)
    spans = (_span([job[name] for job in jobs]) for name in ("inputs_mb", "used_mb", "asked_mb"))
    return pipeline, str(len(jobs)), *spans, f"{ratio:.0%}"


def _span(values: Sequence[float]) -> str:
    least, most = f"{min(values):.0f}", f"{max(values):.0f}"
    return least if least == most else f"{least}-{most}"
