"""Throughput and latency: what is counted, and that what is over is counted once."""

import pytest
from numpy.testing import assert_allclose

pytest.importorskip("fastapi")

from lightmill.dashboard import queries, rates

NOW = 1_800_000_000.0


def test_each_minute_has_its_arrivals_and_jobs(fill, app):
    for seconds, kind in ((0, "exposure"), (1, "companion"), (70, "product"), (8000, "exposure")):
        fill.dataset(f"x{seconds}_rate.fits", kind=kind, arrived_at=NOW - seconds)
    task = fill.task()
    fill.job(task, 1, queued_at=NOW - 90, started_at=NOW - 86, ended_at=NOW - 66)
    fill.job(task, 2, state="FAILED", queued_at=NOW - 90, started_at=NOW - 86, ended_at=NOW - 5)
    fill.job(task, 3, state="RUNNING", ended_at=None)
    fill.job(task, 4, ended_at=NOW - 90_000)

    found = rates.rates(app.state.questions, "minute", NOW)

    bins = {round((NOW - row["at"]) // 60): row for row in found["bins"]}
    assert len(bins) == 120
    assert NOW % 60 == 0  # what happened before it is in the minute before
    now, last, before = bins[0], bins[1], bins[2]
    assert (now["arrived"], last["arrived"], before["made"]) == (1, 1, 1)
    assert (last["failed"], before["done"], before["failed"]) == (1, 1, 0)
    assert sum(row["arrived"] for row in bins.values()) == 2
    assert sum(row["done"] for row in bins.values()) == 1
    assert 2 <= before["wait_50"] <= 5
    assert 20 <= before["run_50"] <= 50
    assert now["run_50"] is None


def test_a_quantile_is_right_within_its_bin():
    counts = [0] * (len(rates.EDGES) + 1)
    counts[6] = 100  # from 5 to 10 s

    assert_allclose(rates.quantile(counts, 0.5), 50**0.5)
    assert_allclose(rates.quantile(counts, 1.0), 10)
    assert rates.quantile([], 0.5) is None
    assert rates.quantile([0] * len(counts), 0.5) is None
    assert_allclose(rates.quantile([0] * (len(counts) - 1) + [1], 0.5), rates.EDGES[-1])


def test_a_duration_is_counted_below_the_edge_it_has_not_reached(fill, app):
    task = fill.task()
    lengths = [0.0, *rates.EDGES, 1e9]
    for number, length in enumerate(lengths, 1):
        fill.job(task, number, started_at=0.0, ended_at=float(length))

    counts = rates.histogram(app.state.questions)["counts"]

    assert counts == [1] * (len(rates.EDGES)) + [2]


def test_jobs_are_counted_once_however_often_one_asks(fill, app, monkeypatch):
    monkeypatch.setattr(rates, "SLACK", 0)
    task, questions = fill.task(), app.state.questions
    for number in range(1, 4):
        fill.job(task, number)  # 30 s
    late = fill.job(task, 4, state="RUNNING", ended_at=None)
    fill.job(task, 5)
    for _ in range(3):
        found = rates.histogram(questions)
        assert (sum(found["counts"]), found["sum"]) == (4, 120.0)

    from sqlalchemy import update

    from lightmill.workflow.store import tables as t

    with fill.engine.begin() as connection:
        connection.execute(
            update(t.jobs).where(t.jobs.c.id == late).values(state="DONE", ended_at=NOW - 50)
        )
    for _ in range(2):
        found = rates.histogram(questions)
        assert (sum(found["counts"]), found["sum"]) == (5, 130.0)


def test_the_first_row_since_a_time_is_found(fill, app, monkeypatch):
    monkeypatch.setattr(queries, "SLACK", 2)
    made = [fill.dataset(f"x{n}_rate.fits", arrived_at=1000.0 + n) for n in range(40)]

    from lightmill.workflow.store import tables as t

    column = t.datasets.c.arrived_at
    for since, row in ((1020.0, made[20]), (0.0, made[0]), (5000.0, made[-1])):
        first = app.state.questions.first_since(column, since)
        assert row - 5 <= first <= row
