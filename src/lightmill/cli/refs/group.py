"""The commands of ``lightmill refs``; each is imported when it is asked for."""

from __future__ import annotations

import click

from lightmill.cli.commands import Commands

__all__ = ["COMMANDS", "refs"]

_HOME = "lightmill.cli.refs"
COMMANDS = {
    "select": f"{_HOME}.select:select",
    "bestrefs": f"{_HOME}.bestrefs:bestrefs",
    "list": f"{_HOME}.holdings:holdings",
    "sync": f"{_HOME}.sync:sync",
    "verify": f"{_HOME}.sync:verify",
    "bundle": f"{_HOME}.bundling:bundle",
    "unbundle": f"{_HOME}.bundling:unbundle",
    "lock": f"{_HOME}.bundling:lock",
}


@click.group("refs", cls=Commands, places=COMMANDS, no_args_is_help=True)
def refs() -> None:
    """Choose, keep, check and serve reference files."""
