"""``lightmill ops hold``, ``release``, ``retry`` …: what operators do to tasks."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Any

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.ops.place import root_option, site_of
from lightmill.errors import LightmillError

__all__ = ["apply", "cancel", "hold", "priority", "release", "retry"]


def _action(name: str, about: str, *, has_reason: bool) -> Any:
    """Return the command that does one thing to tasks."""

    def act(tasks: tuple[int, ...], root: Path, reason: str = "") -> int:
        return apply(tasks, root, name, {"reason": reason} if has_reason else {})

    act.__doc__ = about
    decorated = root_option(act)
    if has_reason:
        decorated = click.option("--reason", default="", metavar="TEXT", help="Why.")(decorated)
    decorated = argument("tasks", nargs=-1, required=True, type=int, metavar="TASK...",
                         help="Numbers of tasks.")(decorated)  # fmt: skip
    return command(name)(decorated)


hold = _action(
    "hold", "Stop tasks: nothing runs for them before they are released.", has_reason=True
)
release = _action("release", "Let held tasks go on.", has_reason=False)
retry = _action("retry", "Try failed tasks again.", has_reason=False)
cancel = _action("cancel", "Give tasks up.", has_reason=True)


@command("priority")
@argument("priority", type=int, metavar="PRIORITY", help="The higher, the sooner; 0 at first.")
@argument("tasks", nargs=-1, required=True, type=int, metavar="TASK...", help="Numbers of tasks.")
@root_option
def priority(tasks: tuple[int, ...], priority: int, root: Path) -> int:
    """Have tasks done sooner or later than others."""
    return apply(tasks, root, "prioritise", {"priority": priority})


def apply(tasks: tuple[int, ...], root: Path, name: str, told: dict[str, Any]) -> int:
    """Do one thing to tasks; return the exit status of the last that refused."""
    from lightmill.workflow import machine

    event = getattr(machine, name.capitalize())(**told)
    store = site_of(root).opened()
    status = 0
    for task in tasks:
        try:
            print(f"{task}: {store.apply(task, event, who=getpass.getuser())}")
        except LightmillError as error:
            print(error.story(), file=sys.stderr)
            status = error.exit_status
    store.close()
    return status
