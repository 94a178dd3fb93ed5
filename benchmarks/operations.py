"""How fast an observatory takes exposures in, and whether that depends on how many it has.

    python -m benchmarks operations                     1,000, 10,000 and 100,000 tiny files
    python -m benchmarks operations --exposures 20000

Files are delivered a thousand at a time into the folder that is watched; they are taken into the
archive, recorded, put into candidates, and their first stage becomes READY; when a candidate has
been quiet, its associations are made. No job runs.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

from benchmarks.measure import table
from lightmill.workflow.arrivals import Gate
from lightmill.workflow.conditions import Expectations
from lightmill.workflow.engines import Room
from lightmill.workflow.service import Service
from lightmill.workflow.store import Arrival, Store, create_store
from tests.end_to_end.stand_in import StandIn

ASKED = 200  # exposures a second into READY
BATCH = 1000
PER_CANDIDATE = 50
SHOWN = (1_000, 10_000, 100_000)
PROBES = 200  # single arrivals whose cost is measured at each size


class NoRoom:
    """An engine that never has room."""

    name = "none"

    def room(self) -> Room:
        """Return no room."""
        return Room(0, 0.0)

    def ended(self) -> list:
        """Return nothing."""
        return []


def name_of(number: int) -> str:
    """Return the name of an exposure: candidates of 50, programs of 20 candidates."""
    candidate = number // PER_CANDIDATE
    return f"p{candidate // 20}-c{candidate % 20}-{number}"


def probed(store: Store, start: int) -> float:
    """Return the median time of a single arrival that an association waits for [ms]."""
    times = []
    for number in range(PROBES):
        one = Arrival(
            f"{name_of(start * 7919 % 1000 + number)}_rate.txt", f"{start + number:064d}", 10, "g1",
            "p/x", "product", program="p0",
        )  # fmt: skip
        begin = time.perf_counter()
        store.ingest([one])
        times.append(time.perf_counter() - begin)
    return sorted(times)[PROBES // 2] * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks operations", description=__doc__)
    parser.add_argument("--exposures", type=int, default=SHOWN[-1])
    parser.add_argument("--store", default="", help="URL of a PostgreSQL store; else a file")
    options = parser.parse_args()
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory(prefix="lightmill-operations-") as folder:
        root, inbox = Path(folder, "site"), Path(folder, "inbox")
        inbox.mkdir()
        create_store(options.store or root)
        store = Store(options.store or root)
        service = Service(
            root,
            store,
            NoRoom(),
            StandIn(),
            gate=Gate(inbox, settle=0.0),
            expectations=Expectations(0.0, 0.0),
        )
        spent, done = 0.0, 0
        while done < options.exposures:
            for number in range(done, min(done + BATCH, options.exposures)):
                name = name_of(number)
                (inbox / f"{name}_uncal.txt").write_text(f"g1 {name}")
            begin = time.perf_counter()
            service.tick()
            step = time.perf_counter() - begin
            spent += step
            done = min(done + BATCH, options.exposures)
            if done in SHOWN or done == options.exposures:
                begin = time.perf_counter()
                store.startable()
                queue = (time.perf_counter() - begin) * 1e3
                begin = time.perf_counter()
                store.status()
                status = (time.perf_counter() - begin) * 1e3
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                rows.append(
                    [
                        f"{done:,}",
                        done / spent,
                        BATCH / step,
                        probed(store, done),
                        queue,
                        status,
                        peak,
                    ]
                )
                print(f"{done:,} after {spent:.0f} s", flush=True)
        counts = store.status()
        store.close()
    head = ["exposures", "a second, so far", "the last 1000", "one arrival ms", "next jobs ms",
            "status ms", "peak MB"]  # fmt: skip
    print(table(head, rows))
    print({name: sum(states.values()) for name, states in counts.items()})
    return 0 if done / spent >= ASKED else 1
