"""``lightmill refs``: the calibration references, their rules and their cache."""

from __future__ import annotations

import click

from lightmill.cli.commands import Commands

__all__ = ["refs"]

COMMANDS = {
    "select": "lightmill.cli.refs.choosing:select",
    "bestrefs": "lightmill.cli.refs.choosing:bestrefs",
    "list": "lightmill.cli.refs.holdings:holdings",
    "sync": "lightmill.cli.refs.sync:sync",
    "verify": "lightmill.cli.refs.sync:verify",
    "bundle": "lightmill.cli.refs.bundling:bundle",
    "unbundle": "lightmill.cli.refs.bundling:unbundle",
    "lock": "lightmill.cli.refs.bundling:lock",
    "serve": "lightmill.cli.refs.serve:serve",
    "diff": "lightmill.cli.refs.diff:diff",
    "certify": "lightmill.cli.refs.certify:certify",
    "submit": "lightmill.cli.refs.submit:submit",
    "affected": "lightmill.cli.refs.affected:affected",
    "convert": "lightmill.cli.refs.convert:convert",
    "index": "lightmill.cli.refs.index:index",
    "checksum": "lightmill.cli.refs.checksum:checksum",
}


@click.group("refs", cls=Commands, places=COMMANDS, no_args_is_help=True)
def refs() -> None:
    """Choose, fetch and look after calibration references."""
