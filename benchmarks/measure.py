"""What a command costs, and how fast this machine's memory is."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Cost:
    """What one run of a whole process used, children included."""

    status: int
    wall: float  # s
    cpu: float  # s, user + system
    peak_mb: float  # MiB, largest resident set of one process
    load: float


def measured(command: list[str], log: Path, env: dict[str, str] | None = None) -> Cost:
    """Run `command` with its output in `log` and return what it cost."""
    log.parent.mkdir(parents=True, exist_ok=True)
    helper = Path(__file__).with_name("_wait.py")
    answer = subprocess.run(
        [sys.executable, "-I", "-S", str(helper), str(log), *map(str, command)],
        check=True,
        capture_output=True,
        text=True,
        env=env,
    )
    cost = Cost(**json.loads(answer.stdout))
    if cost.status:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise SystemExit(f"exit status {cost.status}: {' '.join(map(str, command))}\n{tail}")
    return cost


def middle(costs: list[Cost]) -> Cost:
    """Return the medians over repeated runs (the largest for memory)."""
    return Cost(
        status=max(c.status for c in costs),
        wall=statistics.median(c.wall for c in costs),
        cpu=statistics.median(c.cpu for c in costs),
        peak_mb=max(c.peak_mb for c in costs),
        load=statistics.median(c.load for c in costs),
    )


def best(costs: list[Cost]) -> Cost:
    """Return the smallest of each over repeated runs: the fair figure on a shared machine."""
    return Cost(
        status=max(c.status for c in costs),
        wall=min(c.wall for c in costs),
        cpu=min(c.cpu for c in costs),
        peak_mb=min(c.peak_mb for c in costs),
        load=min(c.load for c in costs),
    )


def memory_bandwidth(megabytes: int = 256, repeats: int = 5) -> float:
    """Return bytes/s of a copy between two arrays larger than any cache, counting both ways."""
    source = np.ones(megabytes << 20, dtype=np.uint8)
    target = np.zeros_like(source)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - began)
    return 2 * source.nbytes / min(times)


def table(head: list[str], rows: list[list[object]]) -> str:
    """Return a Markdown table; numbers are printed with three significant digits."""

    def text(cell: object) -> str:
        if isinstance(cell, float):
            if math.isnan(cell):
                return "–"
            return f"{cell:.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
        return "–" if cell is None else str(cell)

    cells = [head, *[[text(c) for c in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [
        "| "
        + " | ".join(
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in cells
    ]
    rule = (
        "|"
        + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths))
        + "|"
    )
    return "\n".join([lines[0], rule, *lines[1:]])
