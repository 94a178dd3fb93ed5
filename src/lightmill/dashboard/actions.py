"""What operators may do to tasks and files, and in which states it makes sense."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import HTTPException, Request
from starlette.concurrency import run_in_threadpool

from lightmill.dashboard.asking import checked_form, form_of, number_of
from lightmill.dashboard.guard import visitor_of
from lightmill.errors import LightmillError
from lightmill.workflow import machine
from lightmill.workflow.states import DatasetState, TaskState

__all__ = ["ACTIONS", "FILE_ACTIONS", "Act", "allowed", "allowed_of_file", "done", "status_of"]

# Told: number of the task or dataset, name of the action, which is of one of the two only, its facts
# (reason, priority), who asks for it.
Act = Callable[[int, str, dict[str, Any], str], None]

ACTIONS: Mapping[str, tuple[type[machine.Event], str]] = {
    "retry": (machine.Retry, ""),
    "release": (machine.Release, ""),
    "reprocess": (machine.Reprocess, "reason"),
    "hold": (machine.Hold, "reason"),
    "priority": (machine.Prioritise, "priority"),
    "cancel": (machine.Cancel, "reason"),
}
FILE_ACTIONS: Mapping[str, tuple[frozenset[DatasetState], str]] = {
    "accept": (frozenset({DatasetState.CONFLICT, DatasetState.QUARANTINED}), ""),
    "quarantine": (frozenset({DatasetState.CURRENT}), "reason"),
}
_STATUS = {"not-now": 409, "unknown-name": 404, "usage": 400, "data": 400,
           "unavailable": 503}  # fmt: skip


def allowed(state: str) -> list[str]:
    """Return the actions that a task in a state can be asked for."""
    if state not in list(TaskState):
        return []
    return [
        name
        for name, (event, _) in ACTIONS.items()
        if (TaskState(state), event) in machine.TRANSITIONS
    ]


def allowed_of_file(state: str) -> list[str]:
    """Return the actions that a generation of a file in a state can be asked for."""
    return [name for name, (states, _) in FILE_ACTIONS.items() if state in states]


async def done(
    request: Request, thing: str, action: str, actions: Mapping[str, tuple[Any, str]] = ACTIONS
) -> int:
    """Do what an operator asks for; return the number of the task or dataset.

    Parameters
    ----------
    request : Request
        With a form: ``csrf`` and what the action needs.
    thing, action : str
        As the address has them.
    actions : mapping
        Those there are for it.

    Raises
    ------
    HTTPException
        404 without such a thing or action, 401 or 403 if it is not allowed, 409 if its state does
        not allow it, 503 if nobody here can do it.
    """
    number = number_of(thing, "task" if actions is ACTIONS else "dataset")
    if action not in actions:
        raise HTTPException(404, f"there is no action {action[:40]!r}")
    visitor, state = visitor_of(request), request.app.state
    if visitor.role is None:
        raise HTTPException(401, "log in to act", {"WWW-Authenticate": "Bearer"})
    form = await form_of(request)
    checked_form(request, form, state.sessions)
    if not visitor.may_operate:
        raise HTTPException(403, f"the role {visitor.role} may look, not act")
    if state.act is None:
        raise HTTPException(503, "this dashboard shows a store that it cannot write")
    told = _told(actions[action][1], form)
    try:
        await run_in_threadpool(state.act, number, action, told, visitor.name)
    except LightmillError as error:
        raise HTTPException(status_of(error), error.story()) from error
    return number


def status_of(error: LightmillError) -> int:
    """Return the status of an answer that tells an error."""
    return _STATUS.get(error.code, 500)


def _told(fact: str, form: Mapping[str, str]) -> dict[str, Any]:
    if fact == "reason":
        return {"reason": form.get("reason", "").replace("\0", "").strip()[:500]}
    if fact == "priority":
        try:
            priority = int(form.get("priority", ""))
        except ValueError as error:
            raise HTTPException(400, "the priority is no whole number") from error
        if not -1_000_000 <= priority <= 1_000_000:
            raise HTTPException(400, "the priority is beyond a million")
        return {"priority": priority}
    return {}
