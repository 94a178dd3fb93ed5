"""Deliveries of a night: in any order, with members that never come, and spectra that wait for a catalog.

LIGHTMILL_ORDERS says in how many orders a night is delivered.
"""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("alembic", reason="operations need the extra `operations`")

from sqlalchemy import select

from lightmill.workflow.conditions import Expectations
from lightmill.workflow.engines.local import LocalEngine
from lightmill.workflow.machine import Policy
from lightmill.workflow.service import Service
from lightmill.workflow.store import Store, TaskPlan, create_store
from lightmill.workflow.store import tables as t
from tests.end_to_end.night import Night, check_events, deliveries_of, exposures, waited
from tests.end_to_end.stand_in import ENDINGS, StandIn, delivered

ORDERS = int(os.environ.get("LIGHTMILL_ORDERS", "5"))
NAMES = exposures(2)[:4]  # of two candidates
CREATING = threading.Lock()  # tables are made by one thread at a time

pytestmark = pytest.mark.slow


def delivered_in_some_order(folder, seed):
    """Deliver everything, a third also in an older generation, some again, the last ones late."""
    draw = random.Random(seed)
    deliveries = deliveries_of(NAMES, draw)
    generations = len(set(deliveries))
    late = [deliveries.pop() for _ in range(3)]
    with CREATING:
        night = Night(folder, roles=("both",))
    try:
        for some in (deliveries, late):
            while some:
                night.deliver(some, draw)
                waited(draw.uniform(0, 0.1))
            night.wait()  # everything is associated and done: the rest comes late
        night.stop()
        assert check_events(night) == generations
        return night.result()
    finally:
        night.close()


def test_whatever_the_order_the_night_ends_the_same(tmp_path):
    with ThreadPoolExecutor(max_workers=3) as pool:
        results = list(
            pool.map(
                lambda seed: delivered_in_some_order(tmp_path / str(seed), seed), range(ORDERS)
            )
        )

    first = results[0]
    assert {state for _, _, state, _ in first[1]} == {"DONE"}
    assert all(result == first for result in results[1:])


class Chain(StandIn):
    """Spectra (candidate s) wait for the catalog and the segmentation map of the direct images (d).

    Their pipelines are placeholders: what a product holds says what it was made of.
    """

    def __init__(self, announced=None):
        super().__init__()
        self.announced = announced or {}

    def arrivals(self, files):
        from dataclasses import replace

        return [
            replace(one, announced=dict.fromkeys(one.candidates, number))
            if (number := self.announced.get(next(iter(one.candidates))))
            else one
            for one in super().arrivals(files)
            for candidate in [next(iter(one.candidates))]
        ]

    def associations(self, program, candidates, rows):
        plans = super().associations(program, candidates, rows)
        of_direct = dict.fromkeys((f"{program}-d_i2d.txt", f"{program}-d_cat.txt"), "support")
        return [
            TaskPlan(plan.identity, plan.name, plan.type.replace("image", "spec"), plan.level,
                     plan.pipeline, {**plan.awaits, **of_direct}, program, plan.candidate,
                     document={"members": [*plan.awaits, *of_direct]})
            if plan.candidate == "s" and plan.level == 2
            else plan
            for plan in plans
        ]  # fmt: skip


def service_in(folder, planner, expectations):
    inbox = folder / "inbox"
    inbox.mkdir()
    create_store(folder / "site")
    store = Store(folder / "site", policy=Policy(pause=0.0))
    return inbox, Service(
        folder / "site", store, LocalEngine(cores=2), planner, expectations=expectations,
        reserve_mb=0,
    )  # fmt: skip


def taken(service, inbox, *names):
    for name in names:
        delivered(inbox, name)
    service.ingest(sorted(inbox.glob("*_uncal.txt")), keep=False)
    service.run(until_idle=0.4, pause=0.02)


def order_of_jobs(store):
    """Return what ran, in the order in which it started."""
    with store.reading() as connection:
        return list(
            connection.execute(
                select(t.tasks.c.type, t.tasks.c.candidate, t.tasks.c.name, t.jobs.c.started_at,
                       t.jobs.c.ended_at)
                .join(t.jobs, t.jobs.c.task_id == t.tasks.c.id)
                .where(t.jobs.c.state == "DONE")
                .order_by(t.jobs.c.started_at)
            ).all()
        )  # fmt: skip


def test_spectra_wait_for_the_catalog_of_their_direct_image(tmp_path):
    inbox, service = service_in(tmp_path, Chain(), Expectations(0.1))
    taken(service, inbox, "p1-s-0", "p1-s-1")  # the spectra come first
    counts = service.store.status()["tasks"]
    assert counts == {"DONE": 2, "WAITING": 3}  # their first stages; their second, and the third

    taken(service, inbox, "p1-d-0", "p1-d-1")

    jobs = order_of_jobs(service.store)
    assert service.store.status()["tasks"] == {"DONE": 10}
    (direct,) = [job for job in jobs if (job.type, job.candidate) == ("image3", "d")]
    dispersed = [job for job in jobs if job.type == "spec2"]
    (stack,) = [job for job in jobs if (job.type, job.candidate) == ("image3", "s")]
    assert len(dispersed) == 2
    assert all(direct.ended_at <= job.started_at for job in dispersed)
    assert all(job.ended_at <= stack.started_at for job in dispersed)

    # A newer direct image has its stack and all spectra made again, and nothing of the other one.
    delivered(inbox, "p1-d-0", generation=2)
    taken(service, inbox)
    again = order_of_jobs(service.store)[len(jobs) :]
    assert sorted(job.type for job in again) == [
        "exposure", "image2", "image3", "image3", "spec2", "spec2"
    ]  # fmt: skip
    service.close()


@pytest.mark.parametrize("late", ["partial", "wait", "give up"])
def test_a_member_that_never_comes_is_told_and_dealt_with(tmp_path, late, capsys):
    expectations = Expectations(quiet=0.1, patience=1000.0, late=late)
    inbox, service = service_in(tmp_path, Chain({"d": 3}), expectations)
    taken(service, inbox, "p1-d-0", "p1-d-1")
    (short,) = service.store.short_candidates()
    assert (short.present, short.expected) == (2, 3)
    assert service.store.status()["tasks"] == {"DONE": 2}  # first stages only, so far

    service.store.clock = lambda: time.time() + 1001.0
    taken(service, inbox)

    counts = service.store.status()
    state = {"partial": "PARTIAL", "wait": "FORMING", "give up": "GIVEN_UP"}[late]
    assert counts["candidates"] == {state: 1}
    assert counts["tasks"] == {"DONE": 5 if late == "partial" else 2}
    (tmp_path / "site" / "observatory.yaml").write_text("observatory: JWST\n")
    told_by_status(tmp_path / "site", f"p1/d: {state}, 2 of 3 exposures", capsys)

    taken(service, inbox, "p1-d-2")  # it comes after all

    assert service.store.status()["candidates"] == {"COMPLETE": 1}
    assert service.store.status()["tasks"].get("DONE") == 7
    assert len(order_of_jobs(service.store)) == (8 if late == "partial" else 7)
    service.close()


def told_by_status(site, words, capsys):
    from lightmill.cli.main import main

    for command in (["status"], ["why", "1"]):
        with pytest.raises(SystemExit):
            main(["ops", *command, "--root", str(site)])
    said = capsys.readouterr().out
    assert words in said
    assert "d 2 of 3" in said


assert set(ENDINGS["stage3"]) == {"i2d", "cat"}  # what the chain waits for
