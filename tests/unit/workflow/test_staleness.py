"""What has to be redone: the archive of 1997, its flags and its defect, on the store of today.

Two kinds of files arrive: exposures (CAL) and what is known of their pointing (OMS). One task
extracts the pointing (JEP), one builds the association (AB), one makes its preview. The flags of
1997 are read off the states of the tasks; its scripts are what operators approve.
"""

import contextlib
import hashlib
import json
from pathlib import Path

import pytest
from sqlalchemy import func, select

from lightmill.errors import UnknownNameError
from lightmill.workflow.machine import Hold, Policy, Release, Reprocess, Retry
from lightmill.workflow.states import TaskState as S
from lightmill.workflow.store import Arrival, Outcome, Store, TaskPlan, Verdict
from lightmill.workflow.store import tables as t

TRUTH = Path(__file__).parents[4] / "shared" / "cases" / "wfpc2" / "transitions.json"
KNOWN = json.loads(TRUTH.read_text()) if TRUTH.exists() else None
CAL, OMS, JIT, ASN, PREVIEW = "u1t_c0m", "u1j_jit", "u1t_member", "u1a_asn", "u1a_preview"
OTHER = "u2t_c0m"
USED = {"exptime", "filter", "targname"}  # what is written into associations
SEEN = {"exptime", "filter"}  # what makes their data; the rest describes them
FLAGS = {S.READY: "R", S.RUNNING: "R", S.STALE: " ", S.WAITING: " ", S.DONE: "Y"}


def digest(*parts):
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()


class Archive:
    """A store, with hands that run the scripts of 1997."""

    def __init__(self, store):
        self.store = store
        store.policy = Policy(attempts=99, pause=0.0, redo="on approval")
        self.date = {CAL: 10, OMS: 10, OTHER: 10}
        self.runs = {"extract": 0, "build": 0, "preview": 0}
        self.plan([CAL])

    def plan(self, members):
        self.store.plan([
            TaskPlan("jep", "u1j", "extract", 1, "extract", {OMS: "jitter", CAL: "exposure"},
                     presences=frozenset([CAL])),
            TaskPlan("ab", ASN, "build", 2, "build",
                     {JIT: "pointing", **dict.fromkeys(members, "science")}, "p1", "o001"),
            TaskPlan("preview", ASN, "preview", 3, "preview", {ASN: "association"}, "p1", "o001"),
        ])  # fmt: skip

    # -- arrivals

    def arrives(self, name, date):
        facts = {"exptime": 100, "filter": "F555W", "targname": "A", "date": date}
        sha256 = digest(name, date)
        one = Arrival(name, sha256, 10, f"{date:012d}", name, program="p1", facts=facts,
                      candidates={"o001": None})  # fmt: skip
        return self.store.ingest([one])[0]

    def newer(self, name):
        self.date[name] += 10
        return self.arrives(name, self.date[name])

    # -- scripts

    def state(self, kind):
        with self.store.reading() as connection:
            k = t.tasks.c
            return connection.execute(
                select(k.id, k.state, k.changed).where(k.type == kind).order_by(k.id.desc())
            ).first()

    def begin(self, kind):
        """Start the job of a task, if there is one."""
        for job in self.store.startable():
            if job.type == kind and self.store.start(job.job_id, "hand", 1.0, []):
                return job
        return None

    def end(self, job):
        self.runs[job.type] += 1
        inputs = self.store.inputs_of(job.job_id)
        self.store.finish(job.job_id, Outcome(True, products=(self.product(job.type, inputs),)))

    def product(self, kind, inputs):
        seen = [one.content or one.sha256 for one in inputs]
        if kind == "extract":  # the name of the file says its date, the table of members too
            (oms,) = inputs
            return Arrival(JIT, digest(*seen, oms.generation), 1, oms.generation, JIT, "product")
        if kind == "preview":
            return Arrival(PREVIEW, digest(*seen), 1, inputs[0].generation, PREVIEW, "product")
        exposures = [one for one in inputs if one.name != JIT]
        values = [one.facts[key] for one in exposures for key in sorted(USED)]
        content = digest(*seen, *(one.facts[key] for one in exposures for key in sorted(SEEN)))
        newest = max(one.generation for one in exposures)  # as in 1997: the exposures' dates only
        sha256 = digest(*seen, *values)
        return Arrival(ASN, sha256, 1, newest, ASN, "product", program="p1", content=content)

    def run(self, kind, *, is_good=True):
        task = self.state(kind)
        if task.state == S.FAILED:
            self.store.apply(task.id, Retry())
        job = self.begin(kind)
        if job is None:
            return
        if is_good:
            self.end(job)
        else:
            self.store.finish(job.job_id, Outcome(False, "it failed", is_transient=True))

    def approve(self, kind):
        task = self.state(kind)
        if task.state == S.STALE:
            self.store.apply(task.id, Reprocess("approved"))

    def jep(self, *, is_good=True):
        self.approve("extract")
        self.run("extract", is_good=is_good)

    def chdb(self, **values):
        with contextlib.suppress(UnknownNameError):  # there may be no such exposure
            self.store.describe(CAL, values, used=USED)

    def do(self, event):
        actions = {
            "cal_arrives_newer": lambda: self.newer(CAL),
            "oms_arrives_newer": lambda: self.newer(OMS),
            "cal_arrives_duplicate": lambda: self.is_there(CAL) and self.arrives(CAL, self.date[CAL]),
            "oms_arrives_duplicate": lambda: self.is_there(OMS) and self.arrives(OMS, self.date[OMS]),
            "cal_arrives_older": lambda: self.arrives(CAL, 5),
            "oms_arrives_older": lambda: self.arrives(OMS, 5),
            "jep_ok": self.jep,
            "jep_fail": lambda: self.jep(is_good=False),
            "sql": lambda: self.approve("build"),
            "chdb": lambda: self.chdb(targname=f"B{self.runs}"),
            "ab_ok": lambda: self.run("build"),
            "ab_fail": lambda: self.run("build", is_good=False),
            "ab_ok_but_cal_arrived_meanwhile": self.ab_overtaken,
        }  # fmt: skip
        actions[event]()

    def ab_overtaken(self):
        job = self.begin("build")
        self.newer(CAL)
        self.end(job)

    # -- flags

    def is_there(self, name):
        with self.store.reading() as connection:
            d = t.datasets.c
            query = select(func.count()).where(d.name == name, d.state == "CURRENT")
            return bool(connection.execute(query).scalar_one())

    def flags(self):
        build, extract = self.state("build"), self.state("extract")
        cal = FLAGS[S(build.state)] if self.is_there(CAL) else "-"
        if S(build.state) is S.RUNNING and build.changed:
            cal = " "
        oms = "-" if not self.is_there(OMS) else "Y" if extract.state == S.DONE else " "
        return cal + oms

    def brought_to(self, flags):
        """Bring it to a pair of flags, by things that happen."""
        done = ("cal_arrives_newer", "oms_arrives_newer", "jep_ok", "ab_ok")
        ways = {
            "--": (), " -": done[:1], "- ": done[1:2], "  ": done[:2], "RY": done[:3], "YY": done,
            " Y": (*done, done[0]), "Y ": (*done, done[1]), "R ": (*done[:3], done[1]),
            "-Y": (*done, CAL), "Y-": (*done, OMS), "R-": (*done[:3], OMS),
        }  # fmt: skip
        for event in ways[flags]:
            if event in {CAL, OMS}:
                self.store.quarantine(event, "it cannot be read")
            else:
                self.do(event)
        assert self.flags() == flags


@pytest.fixture
def archive():
    """An archive in memory: the tables are the same, and there are many tests."""
    store = Store("sqlite://")
    t.metadata.create_all(store.engine)
    yield Archive(store)
    store.close()


@pytest.fixture
def archive_on_disk(place):
    store = Store(place)
    yield Archive(store)
    store.close()


def known(name):
    if KNOWN is None:
        return [pytest.param(None, marks=pytest.mark.skip(f"NO TRUTH: {TRUTH} is absent"))]
    return KNOWN[name]


@pytest.mark.parametrize("row", known("transitions"), ids=lambda r: r["id"] if r else "none")
def test_each_transition_of_1997(archive, row):
    before, after = ("".join((row[k]["cal"], row[k]["oms"])) for k in ("before", "after"))
    archive.brought_to(before)

    archive.do(row["event"])

    assert archive.flags() == after


@pytest.mark.parametrize("row", known("scenarios"), ids=lambda r: r["name"] if r else "none")
def test_each_scenario_of_1997(archive_on_disk, row):
    archive = archive_on_disk
    archive.brought_to(row["start"])
    archive.runs |= {"build": 0, "preview": 0}
    archive.run("preview")
    archive.runs |= {"preview": 0}

    trace = [row["start"]]
    for event in row["steps"]:
        archive.do(event)
        archive.run("preview")
        trace.append(archive.flags())

    assert trace == row["trace"]
    assert archive.runs["build"] == row["ab_runs"]
    assert archive.runs["preview"] == row["preview_runs"]


# -- previews and dates


def rebuild_nothing(archive):
    archive.store.apply(archive.state("build").id, Reprocess("to be sure"))


CHANGES = {
    "member_rebuilt_by_JEP": lambda a: (a.newer(OMS), a.jep()),
    "member_rebuilt_by_SQL": lambda a: (a.newer(CAL), a.approve("build")),
    "member_rebuilt_by_CHDB_description_only": lambda a: a.chdb(targname="B"),
    "member_rebuilt_by_CHDB_membership_or_exptime": lambda a: a.chdb(exptime=50),
    "other_member_left_or_joined": lambda a: (a.newer(OTHER), a.plan([CAL, OTHER])),
    "proposal_rebuilt_content_identical": rebuild_nothing,
}


@pytest.mark.parametrize(
    "row", known("preview_transitions"), ids=lambda r: r and f"{r['event']}:{r['before']}"
)
def test_each_preview_of_1997(archive, row):
    event = row["event"]
    if event == "association_created":
        assert archive.state("preview").state == S.WAITING
        archive.brought_to("YY")
        assert archive.state("preview").state == S.READY
        return
    archive.brought_to("YY")
    if row["before"] == "Y":
        archive.run("preview")
    archive.runs["preview"] = 0

    if event == "association_retired":
        retire_everything(archive)
        assert archive.state("preview").state == S.SUPERSEDED
        assert not archive.is_there(ASN)
        assert not archive.is_there(PREVIEW)
        return
    if event.startswith("preview_"):
        archive.run("preview", is_good=event == "preview_ok")
        assert FLAGS[S(archive.state("preview").state)].replace("R", " ") == row["after"]
        return
    before = events_of(archive, "preview")
    CHANGES[event](archive)
    archive.run("build")
    flag = FLAGS[S(archive.state("preview").state)].replace("R", " ")
    assert flag == row["after"]
    # The table says whether the event makes the preview run, not whether one is owed already.
    told = events_of(archive, "preview") - before
    assert (told > 0) == row["preview_runs"]


def events_of(archive, kind):
    with archive.store.reading() as connection:
        e, number = t.events.c, archive.state(kind).id
        return connection.execute(
            select(func.count()).where(
                e.subject == "task", e.subject_id == number, e.kind == "TaskInputChanged"
            )
        ).scalar_one()


def retire_everything(archive):
    """Let the rules make no association of the candidate any more."""
    rows = archive.store.due_candidates(-1)
    assert [row.name for row in rows] == ["o001"]
    archive.store.plan([], candidates=rows, program="p1")


def dates(archive):
    with archive.store.reading() as connection:
        d = t.datasets.c
        rows = connection.execute(
            select(d.name, d.generation).where(d.name.in_([JIT, ASN]), d.state == "CURRENT")
        ).all()
    return {name: int(generation) for name, generation in rows}


@pytest.mark.parametrize(
    ("column", "changes", "moved", "is_shown_again"),
    [
        (3, (OMS, CAL), {JIT, ASN}, True),
        (4, (OMS,), {JIT}, True),  # the defect: no date tells, and the preview is made again
        (5, (CAL,), {ASN}, True),
        (7, (), set(), False),
    ],
)
def test_dates_and_previews_are_those_of_the_table(archive, column, changes, moved, is_shown_again):
    archive.brought_to("YY")
    archive.run("preview")
    before, archive.runs["preview"] = dates(archive), 0

    for name in changes:
        archive.newer(name)
    if not changes:
        archive.chdb(targname="B")
    archive.jep()
    archive.approve("build")
    archive.run("build")
    archive.run("preview")

    after = dates(archive)
    assert {name for name in after if after[name] != before[name]} == moved
    assert archive.runs["preview"] == is_shown_again
    if KNOWN is not None:
        row = KNOWN["gen_date_table"][column - 1]
        assert row["preview_required"] == is_shown_again or not changes
        assert (row["jit_member"] == "New") == (JIT in moved) or row["jit_member"] == "any"
        assert (row["hst_associations"] == "New") == (ASN in moved)


# -- the same, for everyone


def arrived(store, name, content, date="2026-01-01", said=""):
    one = Arrival(name, digest(content), 1, date, name, content=said and digest(said))
    return store.ingest([one])[0]


def test_what_says_the_same_in_other_bytes_is_current_and_redoes_nothing(store):
    store.plan([TaskPlan("s", "s", "two", 2, "two", {"a": "science"})])
    arrived(store, "a", "bytes", said="stars")
    finish_all(store)

    verdict = arrived(store, "a", "other bytes", "2026-02-01", said="stars")

    assert verdict is Verdict.RENEWED
    assert store.status()["tasks"] == {"DONE": 1}
    assert store.status()["datasets"] == {"CURRENT": 2, "SUPERSEDED": 1}


def test_where_generations_count_it_is_redone(store):
    store.policy = Policy(differs="generation")
    store.plan([TaskPlan("s", "s", "two", 2, "two", {"a": "science"})])
    arrived(store, "a", "bytes", said="stars")
    finish_all(store)

    assert arrived(store, "a", "other bytes", "2026-02-01", said="stars") is Verdict.NEWER
    assert store.status()["tasks"] == {"READY": 1}


def finish_all(store, made=("",)):
    """Do all jobs that there are; their content is that of their inputs and a word."""
    while jobs := store.startable():
        for job in jobs:
            assert store.start(job.job_id, "hand", 1.0, [])
            inputs = store.inputs_of(job.job_id)
            sha256 = digest(job.pipeline, *made, *(one.sha256 for one in inputs))
            name = f"{job.name}_out"
            one = Arrival(name, sha256, 1, max(one.generation for one in inputs), name, "product")
            store.finish(job.job_id, Outcome(True, products=(one,)))


CHAIN = [
    TaskPlan("1", "one", "one", 1, "one", {"a": "science"}),
    TaskPlan("2", "two", "two", 2, "two", {"one_out": "science", "b": "support"}),
]


def test_a_task_is_not_redone_before_what_it_is_made_of(store):
    store.plan(CHAIN)
    arrived(store, "a", "a")
    arrived(store, "b", "b")
    finish_all(store)

    arrived(store, "a", "newer", "2026-02-01")
    arrived(store, "b", "newer", "2026-02-01")

    assert [job.name for job in store.startable()] == ["one"]
    finish_all(store)
    assert store.status()["jobs"] == {"DONE": 4}  # each of them twice, not the second thrice


def test_what_was_put_off_is_redone_when_the_other_is_what_it_was(store):
    store.plan(CHAIN)
    arrived(store, "a", "a")
    arrived(store, "b", "b")
    finish_all(store)

    one = next(row for row in tasks(store) if row.name == "one")
    store.apply(one.id, Reprocess("to be sure"))
    arrived(store, "b", "newer", "2026-02-01")
    assert [job.name for job in store.startable()] == ["one"]

    (job,) = store.startable()
    store.start(job.job_id, "hand", 1.0, [])
    store.finish(job.job_id, Outcome(False, "bad data"))  # it will not be there again

    assert [job.name for job in store.startable()] == ["two"]


def test_what_was_put_off_is_redone_when_a_file_that_was_missed_is_back(store):
    store.plan(CHAIN)
    arrived(store, "a", "a")
    arrived(store, "b", "b")
    finish_all(store)
    two = next(row for row in tasks(store) if row.name == "two")
    store.quarantine("a", "doubtful")
    store.apply(two.id, Reprocess("to be sure"))
    assert store.startable() == []

    store.accept("a")

    assert [job.name for job in store.startable()] == ["two"]


def test_what_was_put_off_is_redone_after_a_release(store):
    store.plan(CHAIN)
    arrived(store, "a", "a")
    arrived(store, "b", "b")
    finish_all(store)
    one, two = tasks(store)
    store.apply(one.id, Reprocess("to be sure"))
    store.apply(two.id, Reprocess("to be sure"))
    store.apply(two.id, Hold("not yet"))
    finish_all(store)
    assert store.startable() == []

    store.apply(two.id, Release())

    assert [job.name for job in store.startable()] == ["two"]


def tasks(store):
    with store.reading() as connection:
        return list(connection.execute(select(t.tasks).order_by(t.tasks.c.id)).all())


def test_a_quarantined_file_is_missed_until_it_is_accepted(store):
    store.plan(CHAIN)
    arrived(store, "a", "a")
    store.quarantine("a", "the detector was off", who="eve")

    assert {row.name: (row.state, row.missing) for row in tasks(store)}["one"] == ("WAITING", 1)
    store.accept("a", who="eve")

    assert [job.name for job in store.startable()] == ["one"]
    with pytest.raises(UnknownNameError):
        store.accept("a")


@pytest.mark.parametrize(
    ("policy", "blamed", "state"),
    [
        ("quarantine", "in/raw[SCI]", "QUARANTINED"),
        ("quarantine", "raw", "QUARANTINED"),
        ("quarantine", "/refs/flat.fits", "CURRENT"),  # the night is not to end with a reference
        ("quarantine", "in/raw2", "CURRENT"),
        ("quarantine", "", "CURRENT"),
        ("stop", "in/raw[SCI]", "CURRENT"),
    ],
)
def test_an_exposure_that_a_job_finds_to_be_bad_is_set_aside(store, policy, blamed, state):
    store.policy = Policy(bad_data=policy)
    store.plan([TaskPlan("1", "one", "one", 1, "one", {"raw": "science"})])
    arrived(store, "raw", "a")
    (job,) = store.startable()
    store.start(job.job_id, "local", 100.0, ["true"])

    store.finish(job.job_id, Outcome(False, "it is bad", blamed=blamed, exit_status=3))

    assert store.status()["datasets"] == {state: 1}
    assert store.status()["tasks"] == {"FAILED": 1}
    if state == "QUARANTINED":
        store.accept("raw")
        assert store.status()["tasks"] == {"READY": 1}


def test_a_product_that_a_job_finds_to_be_bad_is_not(store):
    store.plan(CHAIN)
    arrived(store, "b", "b")
    arrived(store, "a", "a")
    (first,) = store.startable()
    store.start(first.job_id, "local", 100.0, ["true"])
    made = Arrival("one_out", digest("made"), 1, "2026-01-01", "one_out", "product")
    store.finish(first.job_id, Outcome(True, products=(made,)))
    store.policy = Policy(bad_data="quarantine")
    (second,) = store.startable()
    store.start(second.job_id, "local", 100.0, ["true"])

    bad = Outcome(False, "it is bad", blamed="in/one_out[SCI]", exit_status=3)
    store.finish(second.job_id, bad)

    assert store.status()["datasets"] == {"CURRENT": 3}


def test_of_two_files_of_one_generation_the_operator_chooses(store):
    store.plan(CHAIN[:1])
    arrived(store, "a", "a")
    finish_all(store)
    assert arrived(store, "a", "other") is Verdict.CONFLICT
    assert store.startable() == []

    store.accept("a")

    (job,) = store.startable()
    assert store.status()["datasets"] == {"CURRENT": 2, "SUPERSEDED": 1}
    assert store.start(job.job_id, "hand", 1.0, [])
    assert store.inputs_of(job.job_id)[0].sha256 == digest("other")


def test_a_value_that_only_describes_redoes_nothing(store):
    store.plan(CHAIN[:1])
    arrived(store, "a", "a")
    finish_all(store)

    assert store.describe("a", {"title": "Stars"}, used={"exptime"}) == {"title": (None, "Stars")}
    assert store.startable() == []
    assert store.describe("a", {"exptime": 2.0}, used={"exptime"}) == {"exptime": (None, 2.0)}
    assert store.describe("a", {"exptime": 2.0}, used={"exptime"}) == {}
    assert [job.name for job in store.startable()] == ["one"]


def test_a_description_of_an_association_changes_without_a_new_version(store):
    def plan(text):
        document = {"members": ["a"], "notes": text}
        return TaskPlan("i", "n", "two", 2, "two", {"a": "science"}, document=document,
                        description=frozenset(["notes"]))  # fmt: skip

    assert len(store.plan([plan("first")])) == 1
    assert store.plan([plan("second")]) == []

    (row,) = tasks(store)
    assert row.document["notes"] == "second"


def test_products_of_what_is_gone_are_retired_and_another_maker_s_take_their_place(store):
    def plan(candidate):
        return TaskPlan(f"of {candidate}", "same", "two", 2, f"two of {candidate}", {"a": "science"},
                        "p1", candidate)  # fmt: skip

    store.ingest([
        Arrival("a", digest("a"), 1, "1", "a", program="p1", candidates={"o1": None, "c1": None})
    ])  # fmt: skip
    store.plan([plan("o1"), plan("c1")])
    store.plan([TaskPlan("3", "three", "three", 3, "three", {"same_out": "science"})])
    finish_all(store)
    assert store.status()["datasets"] == {"CURRENT": 3, "SUPERSEDED": 1}  # one name, two makers
    rows = store.due_candidates(-1)

    store.plan([plan("o1")], candidates=rows, program="p1")
    assert store.status()["datasets"]["RETIRED"] == 1
    (again,) = store.startable()
    assert again.name == "three"
    finish_all(store)

    store.plan([], candidates=store.due_candidates(-1) or rows, program="p1")
    assert store.status()["datasets"]["RETIRED"] == 2
    three = next(row for row in tasks(store) if row.name == "three")
    assert (three.state, three.missing) == ("DONE", 1)
