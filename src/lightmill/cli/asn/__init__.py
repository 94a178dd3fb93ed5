"""``lightmill asn``: pools of exposures, and what must be processed together."""

from __future__ import annotations

import click

from lightmill.cli.commands import Commands

__all__ = ["asn"]

COMMANDS: dict[str, str] = {}


@click.group("asn", cls=Commands, places=COMMANDS, no_args_is_help=True)
def asn() -> None:
    """Make pools of exposures, and associations of what must be processed together."""
