"""``lightmill wfpc2``: associations of WFPC2 exposures, and what they follow from."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lightmill.commands import Commands, argument, command

__all__ = ["commands"]

_HERE = __name__
_DIFFERS = 3  # exit status, as of other bad data


@click.group(
    "wfpc2",
    cls=Commands,
    places={"check": f"{_HERE}:check_command"},
    no_args_is_help=True,
)
def commands() -> None:
    """Keep associations of WFPC2 exposures true to a changing archive."""


@command("check")
@argument("folder", type=click.Path(path_type=Path), help="Archive: archive.sqlite, jitter files.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option(
    "--result",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write all that was made, in the form of truth.json.",
)
def check_command(folder: Path, as_json: bool, result: Path | None) -> int:
    """Replay the deliveries of an archive, and compare with what is known of it.

    Leaves with 3 if anything differs.
    """
    from lightmill.observatories.hst.wfpc2.check import check

    found = check(folder, keep=result is not None)
    if result is not None:
        result.write_text(json.dumps(found.result), encoding="utf-8")
    record = found.as_dict()
    if as_json:
        click.echo(json.dumps(record, indent=2))
    else:
        click.echo(
            f"{record['exposures']} exposures of {record['proposals']} proposals, "
            f"{record['associations']} associations with {record['members']} members"
        )
        for one in found.deliveries:
            previews = ", ".join(f"{n} by {policy}" for policy, n in one["previews"].items())
            click.echo(
                f"delivery {one['delivery']}: {one['jep_ok']} pointings extracted, "
                f"{one['jep_failed']} unreadable, {one['ab_pep_ids']} proposals built, "
                f"{one['content_changed'] + one['new']} associations new or changed, "
                f"{one['retired']} retired; previews: {previews}"
            )
        for line in record["differences"]:
            click.echo(line)
        click.echo(f"{record['mismatches']} mismatches")
    return _DIFFERS if found.differences else 0
