"""How much went through, and how long it took: by minute or by hour."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Integer, case, cast, func, select

from lightmill.dashboard.queries import SLACK, Questions
from lightmill.workflow.states import JobState
from lightmill.workflow.store import tables as t

__all__ = ["EDGES", "SPANS", "histogram", "quantile", "rates"]

SPANS: Mapping[str, tuple[int, int]] = {  # seconds of a bin, number of bins
    "minute": (60, 120),
    "hour": (3600, 72),
}
# Latencies are counted in bins, so that a quantile of a million costs as much as one of ten. [s]
EDGES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 50_000)
OVER = (JobState.DONE, JobState.FAILED, JobState.LOST)


def rates(questions: Questions, by: str, now: float) -> dict[str, Any]:
    """Return throughput and latency of the recent past.

    Parameters
    ----------
    questions : Questions
    by : str
        ``minute`` or ``hour``.
    now : float
        Seconds since 1970.

    Returns
    -------
    rates : dict
        ``bins``: for each, ``at`` (its beginning), ``arrived``, ``done``, ``failed`` (jobs), and
        median and 90th percentile of what jobs waited (``wait_50``, ``wait_90``) and took
        (``run_50``, ``run_90``) [s], None where none ended; ``step`` [s].
    """
    step, number = SPANS[by]
    last = int(now // step)
    first = last - number + 1
    bins: dict[int, dict[str, Any]] = {
        n: {"at": n * step, "arrived": 0, "made": 0, "done": 0, "failed": 0}
        for n in range(first, last + 1)
    }
    d, j = t.datasets.c, t.jobs.c
    of_arrival = _whole(questions, d.arrived_at / step).label("bin")
    for row in questions.rows(
        select(of_arrival, d.kind, func.count().label("count"))
        .where(
            d.id >= questions.first_since(d.arrived_at, first * step),
            d.arrived_at >= first * step, d.arrived_at < (last + 1) * step,
        )
        .group_by(of_arrival, d.kind)
    ):  # fmt: skip
        bins[row["bin"]]["made" if row["kind"] == "product" else "arrived"] += row["count"]
    waits: dict[int, list[int]] = {}
    runs: dict[int, list[int]] = {}
    of_end = _whole(questions, j.ended_at / step).label("bin")
    wait = _bin_of(j.started_at - j.queued_at).label("wait")
    run = _bin_of(j.ended_at - j.started_at).label("run")
    for row in questions.rows(
        select(of_end, j.state, wait, run, func.count().label("count"))
        .where(
            j.ended_at >= first * step, j.ended_at < (last + 1) * step, j.state.in_(OVER),
            j.started_at.is_not(None),
        )
        .group_by(of_end, j.state, wait, run)
    ):  # fmt: skip
        one = row["bin"]
        bins[one]["done" if row["state"] == JobState.DONE else "failed"] += row["count"]
        for kept, name in ((waits, "wait"), (runs, "run")):
            kept.setdefault(one, [0] * (len(EDGES) + 1))[row[name]] += row["count"]
    for n, facts in bins.items():
        for name, kept in (("wait", waits), ("run", runs)):
            counts = kept.get(n, [])
            facts[f"{name}_50"], facts[f"{name}_90"] = quantile(counts, 0.5), quantile(counts, 0.9)
    return {"by": by, "step": step, "bins": list(bins.values())}


def histogram(questions: Questions) -> dict[str, Any]:
    """Return how long all jobs that ended well took: ``counts`` in bins of `EDGES`, ``sum`` [s].

    What is over stays as it is: jobs before the first that is not over are counted once.
    """
    j = t.jobs.c
    open_ones = select(func.min(j.id).label("id")).where(
        j.state.in_([JobState.QUEUED, JobState.RUNNING])
    )
    first_open = questions.rows(open_ones)[0]["id"]
    last = questions.rows(select(func.max(j.id).label("id")))[0]["id"] or 0
    # Another process may still write down a job whose number is a little smaller.
    until = max(0, min(last if first_open is None else first_open - 1, last - SLACK))
    known, counts, total = questions.kept.get("histogram", (0, [0] * (len(EDGES) + 1), 0.0))
    if until > known:
        counts, total = _durations(questions, known, until, counts, total)
        questions.kept["histogram"] = (until, counts, total)
        known = until
    counts, total = _durations(questions, known, last, counts, total)
    return {"counts": counts, "sum": total}


def _durations(
    questions: Questions, after: int, until: int, counts: list[int], total: float
) -> tuple[list[int], float]:
    """Return counts and sum with those of some jobs added."""
    j, counts = t.jobs.c, list(counts)
    run = _bin_of(j.ended_at - j.started_at).label("run")
    for row in questions.rows(
        select(
            run, func.count().label("count"), func.sum(j.ended_at - j.started_at).label("seconds")
        )
        .where(
            j.id > after, j.id <= until, j.state == JobState.DONE,
            j.started_at.is_not(None), j.ended_at.is_not(None),
        )
        .group_by(run)
    ):  # fmt: skip
        counts[row["run"]] += row["count"]
        total += row["seconds"] or 0.0
    return counts, total


def quantile(counts: list[int], part: float) -> float | None:
    """Return a quantile of what was counted in bins of `EDGES`, None of nothing [s].

    Within its bin it is interpolated on a logarithmic scale; the bins are a factor of two to 2.5
    wide, and so is the most it can be wrong by.
    """
    total = sum(counts)
    if not total:
        return None
    rank, below = part * total, 0
    for number, count in enumerate(counts):
        if count and below + count >= rank:
            low = EDGES[number - 1] if number else EDGES[0] / 2
            high = EDGES[min(number, len(EDGES) - 1)]
            inside = (rank - below) / count
            return math.exp(math.log(low) + inside * (math.log(max(high, low)) - math.log(low)))
        below += count
    return EDGES[-1]


def _whole(questions: Questions, value: Any) -> Any:
    """Return the whole part of a positive number; not every SQLite knows `floor`."""
    is_cut = questions.engine.dialect.name == "sqlite"  # by a cast; others round
    return cast(value if is_cut else func.floor(value), Integer)


def _bin_of(seconds: Any, low: int = 0, high: int = len(EDGES)) -> Any:
    """Return the number of the bin a duration is in: one comparison halves what is left."""
    if low == high:
        return low
    middle = (low + high) // 2
    return case(
        (seconds < EDGES[middle], _bin_of(seconds, low, middle)),
        else_=_bin_of(seconds, middle + 1, high),
    )
