"""Whatever order files arrive in, and whatever happens between, a night ends the same.

A field with a direct image and spectra that wait for its catalog: first stages, second stages and
stacks, the chain of slitless spectroscopy. Jobs are done by hand here: a product's content is made
of its pipeline's name and its inputs' contents, so that equal content means equal history.
"""

import hashlib
import os
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from lightmill.workflow.machine import Policy, Reprocess
from lightmill.workflow.states import TaskState
from lightmill.workflow.store import Arrival, Outcome, Store, TaskPlan
from lightmill.workflow.store import tables as t

DIRECT, SPECTRA = ("d1", "d2", "d3"), ("s1", "s2")
OF_DIRECT = ("i2d", "cat", "segm")
QUIET = 100.0
EXAMPLES = int(os.environ.get("LIGHTMILL_EXAMPLES", "20"))  # a second each; 200 were run


def content(*parts):
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def exposure(name, generation):
    candidate = "o001" if name in DIRECT else "o002"
    return Arrival(
        f"{name}_uncal", content(name, str(generation)), 10, f"g{generation}", f"p/{name}",
        program="p1", candidates={candidate: None},
    )  # fmt: skip


def first_stage(one):
    name = one.name.removesuffix("_uncal")
    return TaskPlan(f"exposure|{name}", name, "exposure", 1, "stage1", {one.name: "science"}, "p1",
                    next(iter(one.candidates)))  # fmt: skip


def plans_of(candidate, names):
    """The associations of a candidate, as rules would make them."""
    found = []
    for name in names:
        awaits = {f"{name}_rate": "science"}
        if candidate == "o002":
            awaits |= {f"direct_{suffix}": "support" for suffix in OF_DIRECT}
        found.append(TaskPlan(f"{candidate}|2|{name}", f"{name}_2", "two", 2, "stage2", awaits, "p1",
                              candidate, document={"members": sorted(awaits)}))  # fmt: skip
    if names:
        awaits = {f"{name}_cal": "science" for name in names}
        product = "direct" if candidate == "o001" else "spectra"
        found.append(TaskPlan(f"{candidate}|3", product, "three", 3, "stage3", awaits, "p1",
                              candidate, document={"members": sorted(awaits)}))  # fmt: skip
    return found


def products_of(job, inputs):
    made = content(job.pipeline, job.name, *sorted(f"{one.name}={one.sha256}" for one in inputs))
    newest = max(one.generation for one in inputs)
    endings = {"stage1": ("rate",), "stage2": ("cal",), "stage3": OF_DIRECT}[job.pipeline]
    name = job.name.removesuffix("_2")
    return tuple(
        Arrival(f"{name}_{ending}", content(made, ending), 10, newest, f"p/{made[:8]}",
                kind="product", program="p1")
        for ending in endings
    )  # fmt: skip


class Night:
    """A store, and hands that do what a service would."""

    def __init__(self, redo="at once"):
        self.now = 0.0
        self.store = Store("sqlite://", policy=Policy(redo=redo), clock=lambda: self.now)
        t.metadata.create_all(self.store.engine)
        self.running = []
        self.kills = {}
        self.doubted = set()

    def deliver(self, name, generation):
        self.store.ingest([exposure(name, generation)], first_stage)

    def associate(self, quiet):
        due = self.store.due_candidates(quiet)
        if due:
            names = [row.name.removesuffix("_uncal") for row in self.store.exposures_of("p1")]
            plans = [
                plan
                for row in due
                for plan in plans_of(
                    row.name, [n for n in names if (n in DIRECT) == (row.name == "o001")]
                )
            ]
            self.store.plan(plans, candidates=due, program="p1")

    def start(self, draw):
        jobs = self.store.startable()
        if jobs:
            job = draw.choice(jobs)
            assert all(name in job.inputs for name in self.awaits(job.task_id))
            assert self.store.start(job.job_id, "hand", 1.0, [])
            self.running.append(job)

    def awaits(self, task_id):
        with self.store.reading() as connection:
            query = select(t.awaited.c.name).where(t.awaited.c.task_id == task_id)
            return set(connection.execute(query).scalars())

    def end(self, draw):
        if not self.running:
            return
        job = self.running.pop(draw.randrange(len(self.running)))
        # Killed, but not as often as the policy gives up.
        if draw.random() < 0.15 and self.kills.setdefault(job.task_id, 0) < 2:
            self.kills[job.task_id] += 1
            self.store.finish(job.job_id, Outcome(False, "killed", is_transient=True, is_lost=True))
            return
        made = products_of(job, self.store.inputs_of(job.job_id))
        self.store.finish(job.job_id, Outcome(True, products=made, exit_status=0))

    def approve(self):
        """Approve whatever waits for that; say whether anything did."""
        stale = self.tasks(TaskState.STALE)
        for task_id in stale:
            self.store.apply(task_id, Reprocess("approved"))
        return bool(stale)

    def tasks(self, state):
        with self.store.reading() as connection:
            k = t.tasks.c
            return list(
                connection.execute(select(k.id).where(k.state == state).order_by(k.id)).scalars()
            )

    def redo(self, draw):
        """Do something again, although nothing is known to differ."""
        done = self.tasks(TaskState.DONE)
        if done:
            self.store.apply(draw.choice(done), Reprocess("to be sure"))

    def doubt(self, draw):
        """Take a file out, and after some time in again."""
        name = f"{draw.choice([*DIRECT, *SPECTRA])}_uncal"
        if name in self.doubted:
            self.trust(name)
        elif self.has(name):
            self.store.quarantine(name, "doubtful")
            self.doubted.add(name)

    def has(self, name):
        return bool(self.generations(name, "CURRENT"))

    def generations(self, name, state):
        with self.store.reading() as connection:
            d = t.datasets.c
            query = select(d.generation).where(d.name == name, d.state == state)
            return list(connection.execute(query).scalars())

    def trust(self, name):
        """Take a file in again, unless a newer one has come meanwhile."""
        if self.generations(name, "QUARANTINED") > self.generations(name, "CURRENT"):
            self.store.accept(name)
        self.doubted.remove(name)

    def finish(self, draw):
        for name in sorted(self.doubted):
            self.trust(name)
        for _ in range(1000):
            self.now += QUIET + 1
            self.associate(QUIET)
            while self.store.startable():
                self.start(draw)
            self.end(draw)
            if not self.running and self.store.is_idle() and not self.approve():
                return
        raise AssertionError("the night does not end")

    def result(self):
        with self.store.reading() as connection:
            d, k = t.datasets.c, t.tasks.c
            files = connection.execute(
                select(d.name, d.sha256, d.generation).where(d.state == "CURRENT").order_by(d.name)
            ).all()
            tasks = connection.execute(
                select(k.identity, k.document, k.state, k.missing, k.changed)
                .where(k.state != TaskState.SUPERSEDED)
                .order_by(k.identity)
            ).all()
        return [tuple(row) for row in files], [(a, str(b), *rest) for a, b, *rest in tasks]


def undisturbed(generations):
    night, draw = Night(), random.Random(0)
    draw.random = lambda: 1.0  # nothing is killed
    for name, generation in generations.items():
        night.deliver(name, generation)
    night.finish(draw)
    return night.result()


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_order_of_arrivals_ends_in_the_same_store(data):
    generations = {name: data.draw(st.integers(1, 2), label=name) for name in (*DIRECT, *SPECTRA)}
    deliveries = [(name, g) for name, newest in generations.items() for g in range(1, newest + 1)]
    deliveries += data.draw(st.lists(st.sampled_from(deliveries), max_size=4), label="again")
    deliveries = data.draw(st.permutations(deliveries))
    night = Night(data.draw(st.sampled_from(["at once", "on approval"]), label="redo"))
    draw = random.Random(data.draw(st.integers(0, 2**32), label="seed"))
    for name, generation in deliveries:
        night.deliver(name, generation)
        for _ in range(draw.randrange(4)):
            night.now += draw.choice([0.0, 1.0, QUIET / 2])
            draw.choice([lambda: night.associate(QUIET / 4), lambda: night.start(draw),
                         lambda: night.end(draw), lambda: night.end(draw),
                         lambda: night.start(draw), night.approve, lambda: night.redo(draw),
                         lambda: night.doubt(draw)])()  # fmt: skip
    night.finish(draw)

    assert night.result() == undisturbed(generations)
    assert all(rest == [TaskState.DONE, 0, ""] for _, _, *rest in night.result()[1])
