"""Counts as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable

from lightmill.dashboard.queries import STATES, Questions
from lightmill.dashboard.rates import EDGES, histogram

__all__ = ["text"]


def text(questions: Questions) -> str:
    """Return the counts of a store in the text format of Prometheus."""
    lines: list[str] = []
    for name, counts in questions.counts().items():
        one = name.removesuffix("s")
        # A state nothing is in is told, too: an alarm needs a zero to begin with.
        known = dict.fromkeys(map(str, STATES[name]), 0) | counts  # type: ignore[call-overload]  # enums
        lines += _family(
            f"lightmill_{name}", "gauge", f"How many {name} are in each state of a {one}.",
            (f'{{state="{_label(state)}"}} {count}' for state, count in known.items()),
        )  # fmt: skip
    lines += _family(
        "lightmill_events_total", "counter", "Number of the last event.",
        [f" {questions.last_event()}"],
    )  # fmt: skip
    oldest = questions.waiting(1)
    since = oldest[0]["since_at"] if oldest else 0
    lines += _family(
        "lightmill_waiting_since_seconds", "gauge",
        "When the task that waits longest began to wait, seconds since 1970; 0 if none does.",
        [f" {since:.3f}"],
    )  # fmt: skip
    found = histogram(questions)
    below, told = 0, []
    for edge, count in zip([*map("{:g}".format, EDGES), "+Inf"], found["counts"], strict=True):
        below += count
        told.append(f'_bucket{{le="{edge}"}} {below}')
    told += [f"_sum {found['sum']:.3f}", f"_count {below}"]
    lines += _family("lightmill_job_seconds", "histogram", "How long jobs took.", told)
    return "\n".join(lines) + "\n"


def _family(name: str, kind: str, about: str, samples: Iterable[str]) -> list[str]:
    head = [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
    return head + [name + sample for sample in samples]


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
