"""``lightmill ops hold``, ``release``, ``retry`` …: what operators do to tasks."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Any

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.ops.place import root_option, site_of
from lightmill.errors import LightmillError, UnknownNameError, UsageError

__all__ = ["apply", "cancel", "hold", "priority", "release", "retry"]


def _action(name: str, about: str, *, has_reason: bool) -> Any:
    """Return the command that does one thing to tasks."""

    def act(
        tasks: tuple[int, ...], root: Path, state: str | None, program: str | None, reason: str = ""
    ) -> int:
        if bool(tasks) == (state is not None):
            raise UsageError(
                "which tasks is not clear", found=f"{len(tasks)} numbers, --state {state or ''}",
                expected="numbers of tasks, or --state STATE",
            )  # fmt: skip
        if program is not None and state is None:
            raise UsageError("--program goes with --state", found=program)
        chosen = tasks if state is None else _in_state(root, state, program)
        return apply(chosen, root, name, {"reason": reason} if has_reason else {})

    act.__doc__ = about
    decorated = root_option(act)
    if has_reason:
        decorated = click.option("--reason", default="", metavar="TEXT", help="Why.")(decorated)
    decorated = click.option("--program", metavar="NAME", help="With --state: only its tasks.")(
        decorated
    )
    decorated = click.option("--state", metavar="STATE",
                             help="Instead of numbers: all tasks in it.")(decorated)  # fmt: skip
    decorated = argument("tasks", nargs=-1, required=False, type=int, metavar="[TASK...]",
                         help="Numbers of tasks.")(decorated)  # fmt: skip
    return command(name)(decorated)


def _in_state(root: Path, state: str, program: str | None) -> tuple[int, ...]:
    """Return the numbers of the tasks in a state."""
    from sqlalchemy import select

    from lightmill.workflow.states import TaskState
    from lightmill.workflow.store import tables as t

    if state.upper() not in set(TaskState):
        raise UnknownNameError("state of a task", state, [known.lower() for known in TaskState])
    k = t.tasks.c
    query = select(k.id).where(k.state == state.upper()).order_by(k.id)
    if program is not None:
        query = query.where(k.program == program)
    store = site_of(root).opened()
    with store.reading() as connection:
        found = tuple(connection.execute(query).scalars())
    store.close()
    if not found:
        print(f"no task{'' if program is None else f' of {program}'} is {state.upper()}")
    return found


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
