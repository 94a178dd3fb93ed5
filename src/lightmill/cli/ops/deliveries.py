"""When deliveries count, and all of an observation is there: what commands are told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lightmill.operations import Observing
    from lightmill.workflow.conditions import Conditions, Expectations

__all__ = ["deliveries_of", "delivery_options"]

CONDITIONS = {
    "complete": "complete",
    "settle": "settle",
    "sentinel": "sentinel",
    "watching": "watch",
}
EXPECTATIONS = {"quiet_time": "quiet", "patience": "patience", "late": "late"}
OPTIONS = (
    click.option("--complete", type=click.Choice(["settled", "renamed", "sentinel"]),
                 help="A file counts when it has stood still, when it has its name, or when a "
                      "sentinel is beside it; default: as the observatory's operations.yaml says."),
    click.option("--settle", type=click.FloatRange(0), metavar="SECONDS",
                 help="settled: how long it must have stood still."),
    click.option("--sentinel", metavar="ENDING",
                 help="sentinel: what the name of the file beside it ends in, as .done."),
    click.option("--watching", type=click.Choice(["auto", "inotify", "polling"]),
                 help="Be told of deliveries by the kernel, or look for them; auto: look where "
                      "other machines may write."),
    click.option("--quiet-time", type=click.FloatRange(0), metavar="SECONDS",
                 help="A candidate of which no header says how many exposures it has is taken as "
                      "it is when nothing came for so long."),
    click.option("--patience", type=click.FloatRange(0), metavar="SECONDS",
                 help="One that lacks announced exposures is late when nothing came for so long."),
    click.option("--late", type=click.Choice(["partial", "wait", "give up"]),
                 help="What becomes of it then: it is taken as it is, waits on, or is given up."),
)  # fmt: skip


def delivery_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say when deliveries count; `deliveries_of` takes them all."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def deliveries_of(
    observing: Observing, given: Mapping[str, Any]
) -> tuple[Conditions, Expectations, dict[str, Any]]:
    """Return what an observatory says of deliveries, and options before it.

    Parameters
    ----------
    observing : Observing
    given : mapping
        Options by their names; None where one was not given.

    Returns
    -------
    conditions : Conditions
        When a file has arrived.
    expectations : Expectations
        When all exposures of a candidate are there.
    rest : dict
        Options that are about something else.
    """
    told = {name: value for name, value in given.items() if value is not None}
    if told.get("sentinel"):
        told.setdefault("complete", "sentinel")
    elif "settle" in told:
        told.setdefault("complete", "settled")
    when = {field: told[name] for name, field in CONDITIONS.items() if name in told}
    what = {field: told[name] for name, field in EXPECTATIONS.items() if name in told}
    rest = {name: value for name, value in given.items() if name not in CONDITIONS | EXPECTATIONS}
    return replace(observing.conditions, **when), replace(observing.expectations, **what), rest
