"""``lightmill ops``: an observatory at work, day and night."""

from __future__ import annotations

import click

from lightmill.cli.commands import Commands

__all__ = ["ops"]

PLACE = "lightmill.cli.ops"
COMMANDS = {
    "init": f"{PLACE}.running:init",
    "watch": f"{PLACE}.running:watch",
    "ingest": f"{PLACE}.running:ingest",
    "status": f"{PLACE}.looking:status",
    "tasks": f"{PLACE}.looking:tasks",
    "why": f"{PLACE}.story:why",
    "memory": f"{PLACE}.needs:memory",
    "events": f"{PLACE}.looking:events",
    "hold": f"{PLACE}.acting:hold",
    "release": f"{PLACE}.acting:release",
    "retry": f"{PLACE}.acting:retry",
    "cancel": f"{PLACE}.acting:cancel",
    "reprocess": f"{PLACE}.redoing:reprocess",
    "set": f"{PLACE}.redoing:set_values",
    "quarantine": f"{PLACE}.redoing:quarantine",
    "accept": f"{PLACE}.redoing:accept",
    "priority": f"{PLACE}.acting:priority",
    "export": f"{PLACE}.campaigns:export",
    "import": f"{PLACE}.campaigns:import_",
    "run-step": f"{PLACE}.campaigns:run_step",
    "serve": f"{PLACE}.serving:serve",
    "token": f"{PLACE}.serving:token",
}


@click.group("ops", cls=Commands, places=COMMANDS, no_args_is_help=True)
def ops() -> None:
    """Take in what arrives, wait for what belongs together, process it, and look after it."""
