"""The program: its commands, and what a person reads when one fails."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import click

from lightmill.cli.commands import Commands
from lightmill.cli.completion import install_completion, show_completion
from lightmill.cli.failures import report, show_version

__all__ = ["app", "main"]

COMMANDS = {
    "run": "lightmill.cli.process:run",
    "steps": "lightmill.cli.catalog:steps",
    "info": "lightmill.cli.products:info",
    "explain": "lightmill.cli.products:explain",
    "diff": "lightmill.cli.difference:diff",
    "view": "lightmill.cli.view.command:view",
    "demo": "lightmill.cli.night:demo",
    "simulate": "lightmill.cli.night:simulate",
    "refs": "lightmill.cli.refs:refs",
    "asn": "lightmill.cli.asn:asn",
    "ops": "lightmill.cli.ops:ops",
}


def added_by_instruments() -> dict[str, str]:
    """Return where the commands are that instruments' folders add: those with a ``commands.py``.

    The group is called as the folder is, and ``commands`` in that module.
    """
    home = Path(__file__).parents[1] / "observatories"
    found = sorted(path.parent for path in home.glob("*/*/commands.py"))
    return {
        one.name: f"lightmill.observatories.{one.parent.name}.{one.name}.commands:commands"
        for one in found
    }


_RARELY = (50_000, 20, 100)  # as often as Python's own collection runs, it takes a tenth of a run
_ALONE: dict[str, Any] = {"is_flag": True, "is_eager": True, "expose_value": False}


@click.group(
    "lightmill",
    cls=Commands,
    places={**COMMANDS, **added_by_instruments()},
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--version", callback=show_version, help="Print versions and stop.", **_ALONE)
@click.option(
    "--install-completion",
    callback=install_completion,
    help="Install completion for the current shell.",
    **_ALONE,
)
@click.option(
    "--show-completion",
    callback=show_completion,
    help="Show completion for the current shell, to copy it or customize the installation.",
    **_ALONE,
)
def app() -> None:
    """From an observatory's raw readouts to calibrated science products."""


def main(arguments: list[str] | None = None) -> None:
    """Run the program and leave with its exit status.

    Parameters
    ----------
    arguments : list of str, optional
        What was typed after ``lightmill``; by default ``sys.argv``.
    """
    gc.set_threshold(*_RARELY)
    typed = sys.argv[1:] if arguments is None else arguments
    try:
        status = app.main(typed, prog_name="lightmill", standalone_mode=False)
    except BaseException as error:  # noqa: BLE001 - nothing may end in a traceback
        sys.exit(report(error, typed))
    gc.freeze()  # the process ends: nothing need be looked through once more
    sys.exit(status if isinstance(status, int) else 0)
