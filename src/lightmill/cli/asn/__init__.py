"""``lightmill asn``: pools of exposures, and what must be processed together."""

from __future__ import annotations

import click

from lightmill.cli.commands import Commands

__all__ = ["asn"]

COMMANDS = {
    "generate": "lightmill.cli.asn.generating:generate",
    "explain": "lightmill.cli.asn.explaining:explain",
    "pool": "lightmill.cli.asn.making:pool",
    "validate": "lightmill.cli.asn.checking:validate",
    "from-list": "lightmill.cli.asn.listing:from_list",
}


@click.group("asn", cls=Commands, places=COMMANDS, no_args_is_help=True)
def asn() -> None:
    """Make pools of exposures, and associations of what must be processed together."""
