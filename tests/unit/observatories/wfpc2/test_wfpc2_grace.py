"""Associations by headers, of exposures whose time to be joined by jitter files is over (type B)."""

import dataclasses
import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from lightmill.cli.main import app
from lightmill.errors import ConfigurationError
from lightmill.observatories.hst.wfpc2 import events
from lightmill.observatories.hst.wfpc2.asn import asn_text
from lightmill.observatories.hst.wfpc2.explain import explain_association, explain_exposure
from lightmill.observatories.hst.wfpc2.fold import fold
from lightmill.observatories.hst.wfpc2.instance import Instance
from lightmill.observatories.hst.wfpc2.log import EventLog
from lightmill.observatories.hst.wfpc2.maintenance import Archive, audit, maintain, would_change
from lightmill.observatories.hst.wfpc2.previews import POLICIES
from lightmill.observatories.hst.wfpc2.replay import by_headers, replay
from lightmill.observatories.hst.wfpc2.rules import Rules
from lightmill.observatories.hst.wfpc2.snapshot import ShelvedState
from lightmill.observatories.hst.wfpc2.state import State
from lightmill.observatories.hst.wfpc2.tables import tables
from tests.unit.observatories.wfpc2.histories import (
    GENERATIONS,
    LAW,
    Told,
    Workshop,
    arrive,
    histories,
)

DAY = 86400.0
MARCH = 857_174_400.0  # 1997-03-01T00:00 [s since 1970]
GRACE = Rules(grace=30.0)


@pytest.fixture
def archive(make_exposure):
    """Return an archive of three exposures without any jitter files, five days apart."""
    log = []
    found = Archive(State(), log.append)
    found.record(events.Adopted(GRACE))
    for n in (1, 2, 3):
        exposure = make_exposure(n, exptime=300.0 - n, start_time=f"1997-03-{5 * n:02d}T01:00:00")
        found.record(events.Described(exposure))
        arrive(found, exposure.dataset_name, GENERATIONS[0])
    return found, Workshop({}), log


def at(day):
    return MARCH + (day - 0.5) * DAY  # noon


def test_no_exposure_is_associated_by_its_header_before_its_grace_time_is_over(archive):
    found, workshop, _ = archive

    made = {}
    for day in (20, 34, 35, 39, 41, 46, 60):
        maintain(found, workshop, now=at(day))
        made[day] = [one.names for one in found.state.associations.values()]

    # exposures of 5, 10 and 15 March; of one alone nothing is made
    two, three = ("UZ010101T", "UZ010102T"), ("UZ010101T", "UZ010102T", "UZ010103T")
    assert made == {20: [], 34: [], 35: [], 39: [], 41: [two], 46: [three], 60: [three]}
    assert list(found.state.associations) == ["UZ010101B"]


def test_without_a_grace_time_there_are_none(archive):
    found, workshop, _ = archive
    maintain(found, workshop, now=at(60))
    assert found.state.associations

    found.record(events.Adopted(Rules()))
    done = maintain(found, workshop, now=at(60))

    assert done.associations.retired == ["UZ010101B"]
    assert not found.state.associations


def test_a_day_with_which_no_grace_time_ends_writes_nothing(archive):
    found, workshop, log = archive
    maintain(found, workshop, now=at(60))
    before = len(log)

    for day in (61, 62, 90):
        assert maintain(found, workshop, now=at(day)).built == []

    assert len(log) == before


def test_jitter_files_that_come_late_make_type_a_beside_it(archive, make_pointing):
    found, workshop, _ = archive
    maintain(found, workshop, now=at(60))
    for root in ("UZ010101", "UZ010102"):
        pointing = make_pointing(found.state.exposures[root], generation=GENERATIONS[0])
        workshop.pointings[f"{root}J", GENERATIONS[0]] = pointing
        arrive(found, f"{root}J", GENERATIONS[0])

    done = maintain(found, workshop, now=at(61))

    state = found.state
    assert done.associations.new == ["UZ010101A"]
    assert done.associations.content_changed == ["UZ010101B"]  # qualities were I, now P
    assert [m.quality for m in state.associations["UZ010101B"].members] == ["P", "P", "I"]
    assert state.member_of == {
        "UZ010101T": "UZ010101A", "UZ010102T": "UZ010101A", "UZ010103T": "UZ010101B"
    }  # fmt: skip
    assert {row["ass_type"] for row in tables(state)["hst_associations"]} == {1, 2}
    assert "dx_WF4" in asn_text(state.associations["UZ010101B"])


def test_a_value_corrected_in_the_database_counts_for_both_types(archive):
    found, workshop, _ = archive
    maintain(found, workshop, now=at(60))
    change = events.Changed("UZ010103T", "exptime", "500.0")

    done = maintain(found, workshop, changes=[change], now=at(60))

    assert done.associations.retired == ["UZ010101B"]
    assert found.state.retired["UZ010101B"].successor == "UZ010103B"


def test_what_a_grace_time_would_do_is_told_before_it_is_adopted(archive):
    found, workshop, _ = archive
    found.record(events.Adopted(Rules()))
    maintain(found, workshop, now=at(60))

    early = would_change(found.state, GRACE, "1997-03-20")
    late = would_change(found.state, GRACE, "1997-05-01")

    assert early.new == []
    assert late.new == ["UZ010101B"]


def test_it_is_explained(archive):
    found, workshop, _ = archive
    maintain(found, workshop, now=at(41))

    old = explain_exposure(found.state, "UZ010101T").text()
    young = explain_exposure(found.state, "UZ010103T").text()
    association = explain_association(found.state, "UZ010101B").text()

    assert "by header: UZ010101B" in old
    assert "by header: not yet, 30 days of grace have not passed" in young
    assert "+ UZ010102T" in association


@pytest.mark.parametrize("grace", [-1.0, float("nan"), float("inf")])
def test_a_grace_time_that_is_none_is_refused(grace):
    with pytest.raises(ConfigurationError, match="not negative"):
        Rules(grace=grace)


def test_no_grace_time_is_longer_than_the_calendar(archive):
    found, workshop, _ = archive
    found.record(events.Adopted(Rules(grace=1e12)))

    maintain(found, workshop, now=at(60))

    assert not found.state.associations


def test_long_after_all_exposures_it_is_what_the_truth_says(cases):
    # truth.json has all exposures by their headers; the maintenance gets there by its own way
    instance = Instance(cases / "small")
    first = next(replay(instance))
    wanted = by_headers(first.archive.state).associations

    first.archive.record(events.Adopted(dataclasses.replace(instance.rules, grace=30.0)))
    maintain(first.archive, instance, now=MARCH + 400 * DAY, policies=POLICIES)

    state = first.archive.state
    assert {k: v for k, v in state.associations.items() if k.endswith("B")} == wanted
    assert audit(state) == {"extract": [], "build": []}
    instance.close()


def test_the_commands_try_adopt_and_end_it(cases, tmp_path):
    def lightmill(*words):
        return CliRunner().invoke(app, ["wfpc2", *map(str, words)], catch_exceptions=False).output

    store, products = tmp_path / "store", tmp_path / "products"
    lightmill("submit", store, cases / "small", "--delivery", "0")
    lightmill("run", store, cases / "small")

    tried = lightmill("rules", store, "--grace", "30", "--json")
    lightmill("rules", store, "--grace", "30", "--adopt")
    lightmill("run", store, cases / "small", "--products", products)
    made = {path.name for path in products.iterdir() if path.stem.endswith("b")}
    told = lightmill("rules", store)
    lightmill("rules", store, "--no-grace", "--adopt")
    ended = json.loads(lightmill("run", store, cases / "small", "--products", products, "--json"))[
        "associations"
    ]

    new = json.loads(tried)["would_change"]["new"]
    assert made == {f"{one.lower()}.asn" for one in new}
    assert "grace: 30" in told
    assert ended["retired"] == new
    assert not [path for path in products.iterdir() if path.stem.endswith("b")]


def test_a_snapshot_knows_days_failures_and_requests(archive, tmp_path):
    found, workshop, written = archive
    arrive(found, "UZ010103J", GENERATIONS[0], "damaged")
    workshop.broken = {("UZ010103J", GENERATIONS[0])}
    maintain(found, workshop, now=at(60))
    found.record(events.Requested(1, (("UZ010103J", GENERATIONS[0]),)))
    log = EventLog(tmp_path, create=True)
    for event in written:
        log.append(event)
    log.flush()
    log.keep(log.state(), at_least=1)
    log.close()

    log = EventLog(tmp_path)
    state = log.state()
    log.close()

    assert isinstance(state, ShelvedState)
    for name in ("unreadable", "requests", "n_requests", "days", "today", "rules", "associations"):
        assert getattr(state, name) == getattr(found.state, name), name
    assert state.last_day() == "1997-03-30"


@LAW
@given(histories(), st.lists(st.integers(0, 45), min_size=6, max_size=6))
def test_any_order_of_arrivals_and_days_ends_in_one_state(
    make_exposure, make_pointing, lasting, history, days
):
    told = Told(history, make_exposure, make_pointing, apart=3)
    last = at(41)  # of some exposures the grace time is over, of others not

    as_sorted = told.play(sorted(told.items), [], rules=GRACE, times=[last])
    log = []
    times = [*(at(min(day, 41)) for day in sorted(days)), last]
    as_it_came = told.play(told.order, told.cuts, log.append, rules=GRACE, times=times)

    assert lasting(as_it_came) == lasting(as_sorted)
    assert as_it_came.associations == as_sorted.associations
    assert audit(as_it_came) == {"extract": [], "build": []}
    again = fold(log)
    assert tables(again) == tables(as_it_came)
    for name in ("versions", "retired", "owed", "unreadable", "flags", "built", "today"):
        assert getattr(again, name) == getattr(as_it_came, name), name


@LAW
@given(histories(), st.integers(0, 1000))
def test_a_round_killed_on_any_day_is_finished_by_the_next(
    make_exposure, make_pointing, lasting, history, moment
):
    told = Told(history, make_exposure, make_pointing, apart=3)
    log = []
    times = [at(day) for day in (33, 37, 41)]
    undisturbed = told.play(told.order, told.cuts, log.append, rules=GRACE, times=times)

    survived = log[: max(len(told.exposures) + 1, moment % (len(log) + 1))]
    found = Archive(fold(survived))
    for kind in ("arrival", "change"):
        told.deliver(found, [one for one in told.order if one[0] == kind])
    for _ in range(2):
        maintain(found, told.workshop, policies=POLICIES, now=at(41))

    assert lasting(found.state) == lasting(undisturbed)
    assert audit(found.state) == {"extract": [], "build": []}
