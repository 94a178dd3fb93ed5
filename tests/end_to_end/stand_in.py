"""An observatory of small files: the real service, store and engine, and jobs of a few milliseconds.

Run as a program it is a process of an observatory, which tests kill:

    python stand_in.py ROOT STORE watcher|service|both [SECONDS IDLE]
"""

import hashlib
import signal
import sys
from pathlib import Path

from lightmill.errors import DataError
from lightmill.workflow.arrivals import Gate
from lightmill.workflow.conditions import Expectations
from lightmill.workflow.engines.local import LocalEngine
from lightmill.workflow.machine import Policy
from lightmill.workflow.service import Service
from lightmill.workflow.store import Arrival, Store, TaskPlan

ENDINGS = {"stage1": ("rate",), "stage2": ("cal",), "stage3": ("i2d", "cat")}
QUIET, PATIENCE = 0.5, 1.0  # s
JOB = """
import hashlib, pathlib, sys, time
name, pause, *endings = sys.argv[1:]
time.sleep(float(pause))
parts = [f"{p.name}={p.read_text()}" for p in sorted(pathlib.Path("in").iterdir())]
for ending in endings:
    text = hashlib.sha256("|".join([name, ending, *parts]).encode()).hexdigest()
    pathlib.Path("out", f"{name}_{ending}.txt").write_text(text)
"""


class StandIn:
    """Knows files by their names: ``p1-a-3_uncal.txt`` is the third of candidate a of program p1."""

    planned_from = ()

    def __init__(self, pause=0.02):
        self.pause = pause

    def arrivals(self, files):
        return [self._arrival(one) for one in files]

    def _arrival(self, one):
        program, dash, rest = one.path.stem.partition("-")
        if not dash or not one.path.stem.endswith("_uncal"):
            return DataError("the file is no exposure", place=one.path.name)
        generation = one.path.read_text().partition(" ")[0]
        return Arrival(one.path.name, one.sha256, one.size, generation, "", "exposure", "uncal",
                       program, candidates={rest.partition("-")[0]: None})  # fmt: skip

    def products(self, files, inputs):
        newest = max(one.generation for one in inputs)
        return [Arrival(one.path.name, one.sha256, one.size, newest, "", "product",
                        program=inputs[0].program) for one in files]  # fmt: skip

    def made_with(self, files):
        del files

    def first_stage(self, arrival):
        if arrival.kind != "exposure":
            return None
        name = arrival.name.removesuffix("_uncal.txt")
        return TaskPlan(f"exposure|{name}", name, "exposure", 1, "stage1",
                        {arrival.name: "science"}, arrival.program)  # fmt: skip

    def is_whole(self, candidate, rows):
        del candidate, rows
        return False  # all of an exposure is in one file

    def associations(self, program, candidates, rows):
        plans = []
        for candidate in candidates:
            names = [row.name.removesuffix("_uncal.txt") for row in rows]
            names = sorted(n for n in names if n.split("-")[1] == candidate)
            stack = f"{program}-{candidate}"
            plans += [self._plan(program, candidate, n, 2, [f"{n}_rate.txt"]) for n in names]
            plans.append(self._plan(program, candidate, stack, 3, [f"{n}_cal.txt" for n in names]))
        return plans

    def _plan(self, program, candidate, name, level, members):
        return TaskPlan(f"{program}|{candidate}|{level}|{name}", name, f"image{level}", level,
                        f"stage{level}", dict.fromkeys(members, "science"), program, candidate,
                        document={"members": members})  # fmt: skip

    def command(self, job, folder):
        (folder / "job.py").write_text(JOB)
        words = [sys.executable, "-S", "job.py", job.name, str(self.pause), *ENDINGS[job.pipeline]]
        return words, 10.0


def service_of(root, place=None, role="both", *, pause=0.02, reserve_mb=0.0):
    """Return a service; a watcher only takes in, and a service without one only looks after jobs."""
    store = Store(place or root, policy=Policy(attempts=10_000, pause=0.0))
    gate = None if role == "service" else Gate(root.parent / "inbox", settle=0.05)
    engine = None if role == "watcher" else LocalEngine(cores=2)
    return Service(
        root,
        store,
        engine,
        StandIn(pause),
        gate=gate,
        expectations=Expectations(quiet=QUIET, patience=PATIENCE),
        reserve_mb=reserve_mb,
    )


def delivered(inbox, name, generation=1):
    """Deliver an exposure, complete at once."""
    content = f"g{generation} {hashlib.sha256(f'{name}{generation}'.encode()).hexdigest()}"
    aside = inbox / f".{name}.{generation}"
    aside.write_text(content)
    aside.replace(inbox / f"{name}_uncal.txt")


def main(root, place, role, idle=None, reserve_mb="0"):
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    service = service_of(Path(root), place, role, reserve_mb=float(reserve_mb))
    service.run(
        until_idle=None if idle is None else float(idle), pause=0.02, is_over=lambda: bool(asked)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
