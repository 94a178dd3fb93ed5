"""The archive heals itself: what is owed is done, once, and nothing else."""

import dataclasses
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.errors import ConfigurationError, DataError, ValidationError
from lightmill.observatories.hst.wfpc2 import events
from lightmill.observatories.hst.wfpc2.exposures import Exposure
from lightmill.observatories.hst.wfpc2.flags import Flags
from lightmill.observatories.hst.wfpc2.fold import fold
from lightmill.observatories.hst.wfpc2.maintenance import Archive, audit, maintain, would_change
from lightmill.observatories.hst.wfpc2.previews import POLICIES
from lightmill.observatories.hst.wfpc2.rules import Rules
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


@pytest.fixture
def archive(make_exposure, make_pointing):
    """Return an archive of three exposures in one place, all its work done, and who did it."""
    exposures = [make_exposure(n, exptime=300.0 - n) for n in (1, 2, 3)]
    workshop = Workshop({
        (f"{one.root}J", generation): make_pointing(one, generation=generation)
        for one in exposures
        for generation in GENERATIONS
    })  # fmt: skip
    found = Archive(State())
    for one in exposures:
        found.record(events.Described(one))
        arrive(found, one.dataset_name, GENERATIONS[0])
        arrive(found, f"{one.root}J", GENERATIONS[0])
    maintain(found, workshop, policies=POLICIES)
    return found, workshop


def flags(archive, root="UZ010102"):
    return "".join(archive.state.flags[root])


def test_first_everything_is_new(archive):
    found, workshop = archive

    assert list(found.state.associations) == ["UZ010101A"]
    assert {"".join(one) for one in found.state.flags.values()} == {"YY"}
    assert workshop.previews == ["UZ010101A"] * 3  # once by each policy


def test_a_round_with_nothing_owed_writes_nothing(archive):
    found, workshop = archive
    wrote = []
    found._write = wrote.append

    done = maintain(found, workshop, policies=POLICIES)

    assert wrote == []
    assert done.built == done.extracted == done.queued == []
    assert not any(done.previews.values())


def test_the_defect_of_1997(archive, make_exposure, make_pointing):
    # jitter files archived again move a member; the exposure is the same, and so are all dates
    found, workshop = archive
    moved = make_exposure(2, 0.3, exptime=298.0)
    workshop.pointings["UZ010102J", GENERATIONS[1]] = make_pointing(
        moved, generation=GENERATIONS[1]
    )
    before = found.state.associations["UZ010101A"]
    arrive(found, "UZ010102J", GENERATIONS[1])

    done = maintain(found, workshop, policies=POLICIES)

    after = found.state.associations["UZ010101A"]
    assert after.gen_date_str == before.gen_date_str
    assert after.content != before.content
    assert done.previews == {
        "gen_date_1997": [],
        "preview_field": ["UZ010101A"],
        "content_hash": ["UZ010101A"],
    }


def test_jitter_archived_again_with_the_same_numbers_owes_no_preview(archive):
    found, workshop = archive
    arrive(found, "UZ010102J", GENERATIONS[1])

    done = maintain(found, workshop, policies=POLICIES)

    assert done.extracted == ["UZ010102T"]
    assert done.previews["preview_field"] == ["UZ010101A"]
    assert done.previews["content_hash"] == []


def test_an_exposure_archived_again_is_put_on_the_list(archive):
    found, workshop = archive
    arrive(found, "UZ010102T", GENERATIONS[1])
    assert flags(found) == " Y"

    done = maintain(found, workshop, policies=POLICIES)

    assert done.queued == done.flagged == ["UZ010102T"]
    assert flags(found) == "YY"
    assert done.associations.gen_date_changed == ["UZ010101A"]


def test_a_new_name_of_the_target_owes_a_build_and_no_preview(archive):
    found, workshop = archive
    change = events.Changed("UZ010101T", "targname", "RENAMED")

    done = maintain(found, workshop, changes=[change], policies=POLICIES)

    assert done.built == [90001]
    assert found.state.associations["UZ010101A"].targname == "RENAMED"
    assert not any(done.previews.values())


def test_a_deeper_exposure_takes_the_lead_and_the_old_name_still_leads_there(archive):
    found, workshop = archive
    change = events.Changed("UZ010103T", "exptime", "500.0")

    done = maintain(found, workshop, changes=[change], policies=POLICIES)

    assert done.associations.new == ["UZ010103A"]
    assert done.associations.retired == ["UZ010101A"]
    tombstone = found.state.retired["UZ010101A"]
    assert tombstone.successor == "UZ010103A"
    assert "UZ010101T is a member of UZ010103A" in tombstone.reason
    assert found.state.resolve("UZ010101A") == "UZ010103A"
    assert found.state.resolve("UZ019999A") is None


def test_a_member_that_leaves_changes_the_content_though_no_date_moves(archive):
    found, workshop = archive
    change = events.Changed("UZ010102T", "filtnam1", "F814W")

    done = maintain(found, workshop, changes=[change], policies=POLICIES)

    assert done.previews["gen_date_1997"] == []
    assert done.previews["preview_field"] == []
    assert done.previews["content_hash"] == ["UZ010101A"]


def test_duplicates_and_older_generations_are_free(archive):
    found, workshop = archive
    arrive(found, "UZ010102T", GENERATIONS[0])
    arrive(found, "UZ010102J", GENERATIONS[0])
    arrive(found, "UZ010102T", "199712310000")
    arrive(found, "UZ010102J", "199712310000")

    done = maintain(found, workshop, policies=POLICIES)

    assert flags(found) == "YY"
    assert done.built == done.extracted == []


def test_a_pair_that_cannot_be_read_stays_visible_and_stops_nobody(archive):
    found, workshop = archive
    workshop.broken = {("UZ010102J", GENERATIONS[1])}
    arrive(found, "UZ010102J", GENERATIONS[1], "damaged")
    arrive(found, "UZ010103J", GENERATIONS[1])

    done = maintain(found, workshop)
    again = maintain(found, workshop)
    asked = maintain(found, workshop, again=True)

    assert (done.unreadable, done.extracted) == (["UZ010102T"], ["UZ010103T"])
    assert flags(found) == "Y "
    assert again.unreadable == []  # the same bytes are not tried again by themselves
    assert asked.unreadable == ["UZ010102T"]
    content, attempts, story, _ = found.state.unreadable["UZ010102", GENERATIONS[1]]
    assert (content, attempts) == ("damaged", 2)
    assert "cannot be read" in story
    # what was known before is still used
    assert found.state.pointings["UZ010102"].gen_date_str == GENERATIONS[0]
    assert len(found.state.associations["UZ010101A"].members) == 3


def test_two_deliveries_of_one_generation_that_differ_are_for_a_person(archive):
    found, workshop = archive
    arrive(found, "UZ010102J", GENERATIONS[1], "one")
    maintain(found, workshop)
    arrive(found, "UZ010102J", GENERATIONS[1], "other")

    done = maintain(found, workshop)

    assert done.extracted == []
    assert found.state.received["UZ010102", "OMS"].generations[GENERATIONS[1]].content == "one"
    assert "UZ010102J OMS" in found.state.alarms[0]


def test_what_could_not_be_read_may_be_replaced_by_what_can(archive):
    found, workshop = archive
    workshop.broken = {("UZ010102J", GENERATIONS[1])}
    arrive(found, "UZ010102J", GENERATIONS[1], "damaged")
    maintain(found, workshop)
    workshop.broken = set()
    arrive(found, "UZ010102J", GENERATIONS[1], "whole")

    done = maintain(found, workshop)

    assert done.extracted == ["UZ010102T"]
    assert flags(found) == "YY"


def test_a_newer_exposure_that_comes_while_building_is_not_taken_as_built(archive):
    found, workshop = archive
    state = found.state
    arrive(found, "UZ010102T", GENERATIONS[1])
    found.record(events.Queued("UZ010102T"))
    read = tuple((f"{root}T", state.generation(root)) for root in state.inputs(90001))
    upto, inputs = state.changes[90001], state.digest_of_inputs(90001)
    arrive(found, "UZ010102T", GENERATIONS[2])  # while the builder runs
    built = tuple(state.associations.values())

    found.record(events.Built(90001, read, upto, inputs, built))

    assert flags(found) == " Y"
    done = maintain(found, workshop)
    assert done.built == [90001]
    assert state.associations["UZ010101A"].gen_date_str == GENERATIONS[2]


def test_one_proposal_that_cannot_be_built_stops_no_other(archive, make_exposure, make_pointing):
    found, workshop = archive
    good, bad = (
        [make_exposure(n, field=(10.0, 5.0, 0.0), pep_id=pep) for n in (base, base + 1)]
        for pep, base in ((90002, 20), (90003, 30))
    )
    for one in (*good, *bad):
        found.record(events.Described(one))
        workshop.pointings[f"{one.root}J", GENERATIONS[0]] = make_pointing(
            one, generation=GENERATIONS[0]
        )
        arrive(found, one.dataset_name, GENERATIONS[0])
        arrive(found, f"{one.root}J", GENERATIONS[0])

    import lightmill.observatories.hst.wfpc2.maintenance as module

    associate = module.associate

    def failing(exposures, *rest, **settings_):
        if any(one.pep_id == 90003 for one in exposures):
            raise ValidationError("cannot be built", place="90003")
        return associate(exposures, *rest, **settings_)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "associate", failing)
        done = maintain(found, workshop)

    assert (done.built, done.failed) == ([90002], [90003])
    assert found.state.failures[90003][0] == 1
    healed = maintain(found, workshop)
    assert healed.built == [90003]
    assert 90003 not in found.state.failures


def test_a_preview_that_fails_is_owed_still(archive):
    found, workshop = archive
    arrive(found, "UZ010102T", GENERATIONS[1])

    class Failing(Workshop):
        def preview(self, association):
            raise DataError("disk is full", place=association.assoc_id)

    failing = Failing(workshop.pointings)
    assert maintain(found, failing).previews["content_hash"] == []
    assert found.state.failures["content_hash", "UZ010101A"][0] == 1

    assert maintain(found, workshop).previews["content_hash"] == ["UZ010101A"]


def test_the_audit_sees_what_was_built_wrong(archive):
    found, _ = archive
    assert audit(found.state) == {"extract": [], "build": []}

    one = found.state.associations["UZ010101A"]
    found.state.associations["UZ010101A"] = dataclasses.replace(one, max_distance=7)

    assert audit(found.state) == {"extract": [], "build": [90001]}


def test_other_tolerances_are_tried_before_they_are_adopted(archive, make_exposure, make_pointing):
    found, workshop = archive
    apart = make_exposure(3, 8.0, exptime=297.0)
    workshop.pointings["UZ010103J", GENERATIONS[1]] = make_pointing(
        apart, generation=GENERATIONS[1]
    )
    arrive(found, "UZ010103J", GENERATIONS[1])
    maintain(found, workshop)
    rules = Rules(radius=5.0)

    tried = would_change(found.state, rules)
    nothing = maintain(found, workshop)
    found.record(events.Adopted(rules))
    adopted = maintain(found, workshop)

    assert tried.content_changed == ["UZ010101A"]
    assert nothing.built == []
    assert adopted.built == [90001]
    assert adopted.associations == tried
    assert found.state.associations["UZ010101A"].names == ("UZ010101T", "UZ010102T")
    assert audit(found.state) == {"extract": [], "build": []}


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_refused(value):
    with pytest.raises(ConfigurationError, match="not negative"):
        Rules(radius=value)


def test_every_event_survives_its_way_through_json(archive):
    found, workshop = archive
    wrote = []
    found._write = wrote.append
    workshop.broken = {("UZ010103J", GENERATIONS[2])}
    arrive(found, "UZ010102T", GENERATIONS[1])
    arrive(found, "UZ010103J", GENERATIONS[2], "damaged")
    arrive(found, "UZ010101J", GENERATIONS[1])
    found.record(events.Described(found.state.exposures["UZ010101"]))
    found.record(events.Delivered(1))
    found.record(events.Refused("story"))
    found.record(events.Adopted(Rules(radius=12.0)))
    found.record(events.BuildFailed(90001, "story"))
    found.record(events.PreviewFailed("content_hash", "UZ010101A", "story"))
    found.record(events.Requested(1, (("UZ010101J", GENERATIONS[0]),)))
    found.record(events.Closed(1))
    found.record(events.Dated("1997-04-01"))
    maintain(found, workshop)
    found.record(events.Released("UZ010103J", GENERATIONS[2]))
    maintain(found, workshop, changes=[events.Changed("UZ010101T", "exptime", "50.0")])

    assert {type(one) for one in wrote} == set(events._KINDS.values())
    for one in wrote:
        assert events.event_of(json.loads(json.dumps(events.record_of(one)))) == one


@pytest.mark.parametrize("record", [{}, {"event": "Exploded"}, {"event": "Queued"}])
def test_a_record_that_is_no_event_is_refused(record):
    with pytest.raises(ValidationError):
        events.event_of(record)


@pytest.mark.parametrize(
    ("column", "value"), [("pep_id", "1"), ("nonsense", "1"), ("exptime", "long")]
)
def test_a_change_that_makes_no_sense_is_refused(make_exposure, column, value):
    with pytest.raises(ValidationError):
        make_exposure(1).changed(column, value)


@pytest.mark.parametrize(
    ("dataset", "kind", "generation"),
    [
        *((name, "CAL", GENERATIONS[0]) for name in (
            "../../etc/p", "U/010101T", "UZ010101", "uz010101t", "UZ010101T\n", None, 7)),
        ("UZ010101T", "RAW", GENERATIONS[0]),
        ("UZ010101T", "OMS", GENERATIONS[0]),  # an exposure is not its own jitter
        ("UZ010101J", "CAL", GENERATIONS[0]),
        ("UZ010101T", "CAL", "1998"),
        ("UZ010101T", "CAL", None),
    ],
)  # fmt: skip
def test_an_arrival_that_makes_no_sense_is_an_alarm_and_nothing_else(
    archive, dataset, kind, generation
):
    found, workshop = archive
    before = tables(found.state)

    found.record(events.Arrived(dataset, kind, generation))
    done = maintain(found, workshop)

    assert len(found.state.alarms) == 1
    assert tables(found.state) == before
    assert done.built == []


@pytest.mark.parametrize(
    ("dataset", "column", "value"),
    [("UZ019999T", "targname", "X"), ("UZ010101T", "exptime", "inf"), ("UZ010101J", "targname", "X"), ("UZ010101T", "exptime", "long"),
     ("UZ010101T", "pep_id", "1"), ("../..", "targname", "X")],
)  # fmt: skip
def test_a_correction_that_makes_no_sense_is_an_alarm(archive, dataset, column, value):
    found, workshop = archive

    done = maintain(found, workshop, changes=[events.Changed(dataset, column, value)])

    assert len(found.state.alarms) == 1
    assert done.corrected == done.built == []


@pytest.mark.parametrize(
    "row",
    [{}, {"dataset_name": "../../etc/x"}, {"dataset_name": "UZ010101T"},
     {"dataset_name": "UZ010101T", "pep_id": "many", "exptime": 1.0, "start_time": ""},
     {"dataset_name": "UZ010101T", "pep_id": 1, "exptime": "long", "start_time": ""}],
)  # fmt: skip
def test_a_row_that_describes_no_exposure_is_refused(row):
    with pytest.raises(ValidationError):
        Exposure.from_row(row)


def test_a_row_without_a_pointing_describes_an_exposure_without_one():
    row = {"dataset_name": "UZ010101T", "pep_id": 1, "exptime": 1, "start_time": "", "ra_hdr": None}

    exposure = Exposure.from_row(row)

    assert exposure.ra_hdr != exposure.ra_hdr  # NaN
    assert exposure.imagetyp == "EXT"


# ------------------------------------------------------------- scenarios, on the whole machinery


def test_the_scenarios_of_1997_leave_their_flags(cases, make_exposure, make_pointing):
    found = json.loads((cases / "transitions.json").read_text())["scenarios"]
    assert len(found) == 17
    for scenario in found:
        actor = Actor(Flags(*scenario["start"]), make_exposure(1), make_pointing)

        trace = [actor.flags, *(actor.act(step) for step in scenario["steps"])]

        assert trace == scenario["trace"], scenario["name"]
        assert actor.builds == scenario["ab_runs"], scenario["name"]


class Actor:
    """One exposure that scenarios happen to."""

    def __init__(self, start, exposure, make_pointing):
        self.star, self.make_pointing = exposure, make_pointing
        self.found, self.clock = Archive(State()), itertools.count(1)
        self.state, self.last, self.builds = self.found.state, {}, 0
        self.found.record(events.Described(exposure))
        for letter, flag in (("T", start.cal), ("J", start.oms)):
            if flag != "-":
                self.arrives(letter, "newer")
        if start.oms == "Y":
            self.jep()
        if start.cal == "Y":
            self.build()
        self.builds = 0

    @property
    def flags(self):
        return "".join(self.state.flags[self.star.root])

    def arrives(self, letter, when):
        if when == "newer":
            self.last[letter] = f"{next(self.clock):012d}"
        generation = "000000000000" if when == "older" else self.last[letter]
        arrive(self.found, self.star.root + letter, generation)

    def jep(self):
        if (generation := self.state.next_to_extract(self.star.root)) is not None:
            pointing = self.make_pointing(self.star, generation=generation)
            self.found.record(events.Extracted(pointing))

    def sql(self):
        if self.star.root in self.state.to_queue:
            self.found.record(events.Queued(self.star.dataset_name))

    def chdb(self):
        if self.state.generation(self.star.root):
            name = f"N{next(self.clock)}"
            self.found.record(events.Changed(self.star.dataset_name, "targname", name))

    def build(self, meanwhile=False):
        if self.state.flags[self.star.root].cal != "R":
            return
        read = ((self.star.dataset_name, self.state.generation(self.star.root)),)
        upto, digest = self.state.changes[90001], self.state.digest_of_inputs(90001)
        if meanwhile:
            self.arrives("T", "newer")
        self.found.record(events.Built(90001, read, upto, digest, ()))
        self.builds += 1

    def act(self, step):
        acts = {
            "jep_ok": self.jep, "sql": self.sql, "chdb": self.chdb, "ab_ok": self.build,
            "ab_ok_but_cal_arrived_meanwhile": lambda: self.build(meanwhile=True),
            "jep_fail": lambda: None, "ab_fail": lambda: None,
        }  # fmt: skip
        if step in acts:
            acts[step]()
        else:
            self.arrives("T" if step.startswith("cal") else "J", step.rsplit("_", 1)[1])
        return self.flags


# ------------------------------------------------------------------------------------------ laws


@LAW
@given(histories())
def test_any_order_and_partition_end_in_one_state(make_exposure, make_pointing, lasting, history):
    told = Told(history, make_exposure, make_pointing)

    as_sorted = told.play(sorted(told.items), [])
    log = []
    as_it_came = told.play(told.order, told.cuts, log.append)

    assert lasting(as_it_came) == lasting(as_sorted)
    # incremental equals a full rebuild, byte for byte
    assert audit(as_it_came) == {"extract": [], "build": []}
    assert repr(sorted(as_it_came.associations.items())) == repr(
        sorted(as_sorted.associations.items())
    )
    # and the log adds up to the state that was alive
    again = fold(log)
    assert tables(again) == tables(as_it_came)
    for name in ("versions", "retired", "owed", "unreadable", "flags", "built"):
        assert getattr(again, name) == getattr(as_it_came, name), name


@LAW
@given(histories(), st.integers(0, 1000))
def test_a_round_killed_anywhere_is_finished_by_the_next(
    make_exposure, make_pointing, lasting, history, moment
):
    told = Told(history, make_exposure, make_pointing)
    log = []
    undisturbed = told.play(told.order, told.cuts, log.append)

    # what was written before the kill is all there is; the delivery is delivered again
    survived = log[: max(len(told.exposures), moment % (len(log) + 1))]
    found = Archive(fold(survived))
    told.deliver(found, [one for one in told.order if one[0] == "arrival"])
    told.deliver(found, [one for one in told.order if one[0] == "change"])
    maintain(found, told.workshop, policies=POLICIES)
    maintain(found, told.workshop, policies=POLICIES)

    assert lasting(found.state) == lasting(undisturbed)
