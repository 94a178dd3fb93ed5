"""The program: its commands, and what a person reads when one fails."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lightmill.cli import catalog, difference, night, process, products
from lightmill.cli.failures import report, show_version

__all__ = ["app", "main"]

app = typer.Typer(
    name="lightmill",
    help="From an observatory's raw readouts to calibrated science products.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: importing rich takes longer than everything else
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Print versions and stop."
        ),
    ] = False,
) -> None:
    """From an observatory's raw readouts to calibrated science products."""


app.command(
    "run",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True},
    epilog=process.EPILOG,
)(process.run)
app.command("steps")(catalog.steps)
app.command("info")(products.info)
app.command("explain")(products.explain)
app.command("diff")(difference.diff)
app.command("demo")(night.demo)
app.command("simulate")(night.simulate)


def main(arguments: list[str] | None = None) -> None:
    """Run the program and leave with its exit status.

    Parameters
    ----------
    arguments : list of str, optional
        What was typed after ``lightmill``; by default ``sys.argv``.
    """
    typed = sys.argv[1:] if arguments is None else arguments
    try:
        status = app(typed, prog_name="lightmill", standalone_mode=False)
    except BaseException as error:  # noqa: BLE001 - nothing may end in a traceback
        sys.exit(report(error, typed))
    sys.exit(status if isinstance(status, int) else 0)
