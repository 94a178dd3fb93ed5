"""Rules that choose references, beside the official client, in one run on one machine.

    python -m benchmarks references --peer .peers/jwst

Loads a whole context of the Hubble archive with every rule in it (116 files, 14,576 references), from
text; asks each table with headers it was made for; asks for 100,000 headers and ten types at once. Each
program loads in a process of its own, as memory is part of the comparison.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import table

ROOT = Path(__file__).resolve().parents[1]
CASES = Path(os.environ.get("LIGHTMILL_CASES", ROOT.parent / "shared" / "cases")) / "references"
CONTEXT = "hst/hst_9001.pmap"
HELPER = Path(__file__).with_name("_peer_rules.py")


class Peer:
    """The official client in a process of its own."""

    def __init__(self, python: Path, cases: Path) -> None:
        environment = {
            **os.environ, "CRDS_PATH": str(cases), "CRDS_READONLY_CACHE": "1", "CRDS_MODE": "local",
            "CRDS_SERVER_URL": "https://crds-serverless-mode.stsci.edu",
        }  # fmt: skip
        environment.pop("PYTHONPATH", None)
        self.process = subprocess.Popen(
            [python, HELPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env=environment,
        )  # fmt: skip

    def __call__(self, **request: Any) -> Any:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        with self.process:
            self.process.stdin.close()


def load_ours(path: Path) -> dict[str, float]:
    """Return CPU seconds and memory of loading a whole context; run in a fresh process."""
    from lightmill.reference.rules import load

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    context = load(path)
    context.load_all()
    spent = time.process_time() - start
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    names = len(context.reference_names())  # every date of every row, taken apart
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total = time.process_time() - start
    return {
        "seconds": spent, "seconds_all": total, "mb_before": before / 1024, "mb": loaded / 1024,
        "mb_all": after / 1024, "references": names,
    }  # fmt: skip


def in_fresh_process(path: Path) -> dict[str, float]:
    code = f"import json; from benchmarks.references import load_ours; from pathlib import Path; print(json.dumps(load_ours(Path({str(path)!r}))))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return json.loads(found.stdout)


def headers_of(context: Any, count: int, dice: random.Random) -> list[tuple[Any, dict[str, str]]]:
    """Return rules and headers they choose a reference for."""
    from lightmill.errors import LightmillError
    from lightmill.testing.rule_headers import RandomHeaders

    kinds = [
        context.rules(i).rules(k)
        for i in context.instruments
        for k in context.rules(i).with_rules()
    ]
    makers = [RandomHeaders(rules, dice, odd=0.0) for rules in kinds]
    found: list[tuple[Any, dict[str, str]]] = []
    for _ in range(count * 20):
        maker = dice.choice(makers)
        header = maker.header()
        try:
            answer = maker.rules.select(header)
        except LightmillError:
            continue
        if answer not in {"N/A", "OMIT"}:
            found.append((maker.rules, header))
        if len(found) == count:
            break
    return found


def each_of(pairs: list[tuple[Any, dict[str, str]]], repeats: int = 5) -> list[float]:
    """Return the seconds of each selection, the quickest of some repeats."""
    spent = []
    for rules, header in pairs:
        best = float("inf")
        for _ in range(repeats):
            start = time.perf_counter()
            rules.select(header)
            best = min(best, time.perf_counter() - start)
        spent.append(best)
    return spent


def bulk(
    context: Any, count: int, dice: random.Random
) -> tuple[float, list[str], list[dict[str, str]]]:
    """Return the seconds of a bulk call for the types of one instrument, and what was asked."""
    from lightmill.testing.rule_headers import RandomHeaders

    rules = context.rules("acs")
    types = rules.with_rules()[:10]
    models = []
    for _ in range(1000):  # exposures of a thousand kinds, as archives hold
        header = {}
        for kind in dice.sample(types, len(types)):
            made = RandomHeaders.header(_maker(rules.rules(kind), dice))
            header = {**made, **header}
        models.append({**header, "INSTRUME": "ACS"})
    headers = [
        {
            **dice.choice(models),
            "DATE-OBS": f"{dice.randint(2002, 2013)}-{dice.randint(1, 12):02d}-{dice.randint(1, 28):02d}",
            "TIME-OBS": f"{dice.randint(0, 23):02d}:{dice.randint(0, 59):02d}:{dice.randint(0, 59):02d}",
        }
        for _ in range(count)
    ]
    start = time.perf_counter()
    context.select_many(headers, types)
    return time.perf_counter() - start, types, headers


_makers: dict[int, Any] = {}


def _maker(rules: Any, dice: random.Random) -> Any:
    from lightmill.testing.rule_headers import RandomHeaders

    if id(rules) not in _makers:
        _makers[id(rules)] = RandomHeaders(rules, dice, odd=0.0)
    return _makers[id(rules)]


def measured(cases: Path, peer: Path | None, count: int) -> list[list[Any]]:
    """Return the rows of the table: what, ours, the client's, how many times."""
    from lightmill.reference.rules import load

    path = cases / "mappings" / CONTEXT
    dice = random.Random(20261121)
    ours = [in_fresh_process(path) for _ in range(3)]
    context = load(path)
    pairs = headers_of(context, 600, dice)
    single = each_of(pairs)
    seconds, types, headers = bulk(context, count, dice)
    one = min(ours, key=lambda run: run["seconds"])
    theirs: dict[str, float] = {}
    if peer is not None:
        client = Peer(peer / "bin" / "python", cases)
        loaded = client(op="load", mapping=path.name)
        spent = client(op="time", pairs=[(rules.name, header) for rules, header in pairs])
        asked = [
            (context.rules("acs").types[kind], header) for header in headers[:100] for kind in types
        ]
        in_bulk = client(op="time", pairs=asked)
        client.close()
        theirs = {
            "load": loaded["seconds"], "mb": loaded["mb"], "median": statistics.median(spent) * 1e6,
            "mean": statistics.fmean(spent) * 1e6, "bulk": statistics.fmean(in_bulk) * count * len(types),
        }  # fmt: skip
    rows = [
        [
            "load the context, all rules [CPU ms]",
            one["seconds"] * 1e3,
            theirs.get("load", float("nan")) * 1e3,
        ],
        [
            "the same, and list every reference [CPU ms]",
            one["seconds_all"] * 1e3,
            theirs.get("load", float("nan")) * 1e3,
        ],
        ["memory of the process, loaded [MB]", one["mb"], theirs.get("mb")],
        ["memory, every row used [MB]", one["mb_all"], theirs.get("mb")],
        ["one selection, median [µs]", statistics.median(single) * 1e6, theirs.get("median")],
        ["one selection, mean [µs]", statistics.fmean(single) * 1e6, theirs.get("mean")],
        [f"{count} headers × {len(types)} types [s]", seconds, theirs.get("bulk")],
    ]
    return [[*row, row[2] / row[1] if row[2] else None] for row in rows]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer", type=Path, default=None, help="virtual environment of the peer")
    parser.add_argument("--cases", type=Path, default=CASES)
    parser.add_argument("--count", type=int, default=100_000)
    arguments = parser.parse_args()
    from lightmill.app import discover

    discover()
    rows = measured(arguments.cases, arguments.peer, arguments.count)
    print(table(["", "lightmill", "crds", "times"], rows))
    print(
        "\nThe client has no bulk call: its time is that of its selections, one by one, of 100 headers."
    )
    return 0
