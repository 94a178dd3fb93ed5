"""The maintenance by operations: deliveries in a folder, tasks and jobs, and the same in the end."""

import contextlib
import json
import os
import random
import shutil
import traceback

import pytest

pytest.importorskip("alembic", reason="operations need the extra `operations`")
pytest.importorskip("fastapi", reason="the dashboard needs the extra `server`")

from click.testing import CliRunner
from sqlalchemy import select

from lightmill.cli.main import app
from lightmill.dashboard import export
from lightmill.errors import ConfigurationError, LightmillError, ValidationError
from lightmill.observatories.hst.wfpc2 import INSTRUMENT, events
from lightmill.observatories.hst.wfpc2.handover import hand_over
from lightmill.observatories.hst.wfpc2.instance import Instance
from lightmill.observatories.hst.wfpc2.log import EventLog
from lightmill.observatories.hst.wfpc2.maintenance import audit
from lightmill.observatories.hst.wfpc2.pieces import stem_of
from lightmill.observatories.hst.wfpc2.replay import replay
from lightmill.observatories.hst.wfpc2.simulate import jitter_table, write_jitter
from lightmill.observatories.hst.wfpc2.site import state_of_site
from lightmill.operations import planner_at
from lightmill.workflow.arrivals import Gate
from lightmill.workflow.conditions import Expectations
from lightmill.workflow.engines import Ended, Output, Room
from lightmill.workflow.machine import Retry
from lightmill.workflow.outputs import listed
from lightmill.workflow.service import Service
from lightmill.workflow.store import Store, create_store
from lightmill.workflow.store import tables as t


class AtOnce:
    """An engine that runs a job when it is submitted, in this process, without waiting."""

    name = "at once"

    def __init__(self):
        self.done = []
        self.ran = []  # words of each job

    def room(self):
        return Room(8, 1e6)

    def submit(self, work):
        words = json.loads((work.folder / "job.json").read_text())["command"][3:]
        self.ran.append(words[1])
        with contextlib.chdir(work.folder):
            answer = CliRunner().invoke(app, words)
        told, status = answer.output, answer.exit_code
        if isinstance(answer.exception, LightmillError):
            told, status = answer.exception.story(), answer.exception.exit_status
        elif answer.exception is not None:
            told = "".join(traceback.format_exception(answer.exception))
        (work.folder / "log.txt").write_text(told)
        outputs, _ = listed(work.folder, "out")
        made = tuple(Output(**one) for one in outputs) if status == 0 else ()
        self.done.append(Ended(work.job_id, status, outputs=made))
        return str(work.job_id)

    def adopt(self, work, handle):
        del work, handle
        return False

    def ended(self):
        found, self.done = self.done, []
        return found

    def cancel(self, handle):
        pass

    def close(self, *, kill=False):
        pass


class Site:
    """An archive that operations keep."""

    def __init__(self, root, place=None):
        self.root, self.inbox = root / "site", root / "inbox"
        self.inbox.mkdir(parents=True)
        self.place = place or self.root
        create_store(self.place)
        self.now = 1e9  # s; quiet times end when the test says so
        self.engine = AtOnce()
        self.service = self.opened()

    def opened(self):
        return Service(
            self.root, Store(self.place, clock=lambda: self.now), self.engine,
            planner_at(INSTRUMENT.home), gate=Gate(self.inbox, settle=0.0),
            expectations=Expectations(quiet=30.0), reserve_mb=0.0,
        )  # fmt: skip

    def settle(self):
        """Turn the service's loop until there is nothing to do; return the pieces that ran."""
        before = len(self.engine.ran)
        for _ in range(1000):
            if self.service.tick():
                continue
            if self.service.is_idle():
                return self.engine.ran[before:]
            self.now += 60.0
        raise AssertionError("it does not settle")

    def take(self, instance, delivery):
        handed = hand_over(instance, delivery, self.inbox)
        ran = self.settle()
        for change in handed.corrections:
            name = f"{change.dataset.lower()}_exposure.json"
            self.service.store.describe(name, {change.column: change.value})
        return ran + self.settle()

    def state(self):
        return state_of_site(self.service.store.engine)

    def tasks(self, state):
        with self.service.store.reading() as connection:
            rows = connection.execute(select(t.tasks).where(t.tasks.c.state == state))
            return {row.name: row for row in rows}

    def kept(self, ending):
        """Names of current products."""
        d = t.datasets.c
        with self.service.store.reading() as connection:
            rows = connection.execute(select(d.name).where(d.state == "CURRENT"))
            return {name for name in rows.scalars() if name.endswith(ending)}


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # 2000 times: nobody is killed here
    found = Site(tmp_path)
    yield found
    found.service.close()


@pytest.fixture(scope="module")
def small(cases):
    instance = Instance(cases / "small")
    yield instance
    instance.close()


@pytest.fixture(scope="module")
def steps(small, lasting):
    """What `lightmill wfpc2` has after each delivery: tables, and associations whose product was owed."""
    return {
        step.delivery: (
            lasting(step.archive.state),
            dict(step.archive.state.associations),
            step.done.previews["content_hash"],
        )
        for step in replay(small)
    }


@pytest.mark.slow
def test_each_delivery_ends_in_the_same_tables_by_the_same_work(site, small, steps, lasting):
    for delivery in small.deliveries:
        ran = site.take(small, delivery)
        wanted, associations, owed = steps[delivery]

        state = site.state()

        assert lasting(state) == wanted, delivery
        assert state.associations == associations
        assert audit(state) == {"extract": [], "build": []}
        # products are made where their content changed: what the truth owes by content
        assert ran.count("product") == len(owed)
        assert site.kept(".asn") == {f"{one.lower()}.asn" for one in associations}
    assert ran == []  # the last delivery is the one before once more
    broken = {name for name, row in site.tasks("FAILED").items() if "ends too early" in row.reason}
    assert broken == {"uz051300j_199801050600"}


@pytest.mark.slow
def test_deliveries_in_any_order_end_in_the_same_tables(site, small, steps, lasting):
    draw, files = random.Random(3), {}
    aside = site.root.parent / "aside"
    for delivery in small.deliveries:
        handed = hand_over(small, delivery, aside / str(delivery))
        files |= {path.name: path for path in handed.files}
    names = sorted(files)
    draw.shuffle(names)
    for first in range(0, len(names), 110):  # a part; what runs between sees halves of pairs
        for name in names[first : first + 110]:
            shutil.copy(files[name], site.inbox / name)
        site.settle()
        site.service.close()  # whoever looks after it ends, and another goes on
        site.service = site.opened()
    site.settle()
    for delivery in small.deliveries:
        for change in small.changes(delivery):
            name = f"{change.dataset.lower()}_exposure.json"
            site.service.store.describe(name, {change.column: change.value})
    site.settle()

    wanted, associations, _ = steps[small.deliveries[-1]]
    state = site.state()
    assert lasting(state) == wanted
    assert state.associations == associations
    assert site.kept(".asn") == {f"{one.lower()}.asn" for one in associations}


# -- one association -----------------------------------------------------------------------------

MEMBERS = ("UZ010100", "UZ010101", "UZ010102")


def put(site, small, names=MEMBERS):
    """Deliver exposures and their pairs, as the first delivery has them; return what ran."""
    aside = site.root.parent / "aside"
    for path in hand_over(small, 0, aside).files:
        root = path.name[:8].upper()
        if root in names:
            shutil.copy(path, site.inbox / path.name)
    return site.settle()


def test_pairs_lead_to_pointings_associations_and_products(small, place, tmp_path):
    site = Site(tmp_path, place)  # on either database

    ran = put(site, small)

    assert ran == ["measure"] * 3 + ["build", "product"]
    assert site.kept(".asn") == {"uz010100a.asn"}
    assert [one.names for one in site.state().associations.values()] == [
        ("UZ010100T", "UZ010101T", "UZ010102T")
    ]
    site.service.close()


def test_half_a_pair_waits_for_the_other(site, small):
    put(site, small)
    jit, jif = (
        next((site.root.parent / "aside").glob(f"uz010103j*_{kind}.fits"))
        for kind in ("jit", "jif")
    )
    shutil.copy(jif, site.inbox)

    before = site.settle()
    waiting = site.tasks("WAITING")
    shutil.copy(jit, site.inbox)
    after = site.settle()

    assert before == []
    (task,) = waiting.values()
    assert task.missing == 1
    assert after == ["measure"]  # its exposure is not there: nothing is built of it


def test_a_damaged_pair_fails_alone_and_an_operator_has_it_tried_again(site, small):
    aside = site.root.parent / "aside"
    hand_over(small, 0, aside)
    whole = next(aside.glob("uz010101j*_jit.fits"))
    put(site, small, ("UZ010100", "UZ010102"))
    for path in aside.glob("uz010101*"):
        shutil.copy(path, site.inbox)
    (site.inbox / whole.name).write_bytes(whole.read_bytes()[:-3000])

    site.settle()
    (failed,) = site.tasks("FAILED").values()
    told = site.state().unreadable
    pages = site.root.parent / "pages"
    export(site.root, pages, archive=site.root / "archive")
    site.service.store.apply(failed.id, Retry())
    again = site.settle()

    assert "ends too early" in failed.reason
    assert [one.story for one in told.values()] == [failed.reason]
    assert [one.names for one in site.state().associations.values()] == [("UZ010100T", "UZ010102T")]
    assert again == ["measure"]
    shown = (pages / "tasks" / f"{failed.id}.html").read_text()
    assert "uz010101j" in shown
    assert "ends too early" in shown


def test_a_damaged_pair_is_replaced_by_a_whole_one_of_its_generation(site, small):
    put(site, small)
    aside = site.root.parent / "aside"
    for path in aside.glob("uz010103*"):
        shutil.copy(path, site.inbox)
    (jit,) = site.inbox.glob("uz010103j*_jit.fits")
    whole = jit.read_bytes()
    jit.write_bytes(whole[:-3000])
    damaged = site.settle()
    jit.write_bytes(whole)

    ran = site.settle()

    assert damaged == ["measure"]
    assert ran[:2] == ["measure", "build"]
    assert site.tasks("FAILED") == {}
    assert "UZ010103" in site.state().pointings


def test_a_new_name_of_the_target_builds_and_makes_no_product(site, small):
    put(site, small)

    site.service.store.describe("uz010100t_exposure.json", {"targname": "RENAMED"})
    ran = site.settle()

    assert ran == ["build"]
    (association,) = site.state().associations.values()
    assert association.targname == "RENAMED"
    assert site.state().owed["content_hash"] == set()


def test_a_deeper_exposure_retires_the_old_name_and_its_product(site, small):
    put(site, small)

    site.service.store.describe("uz010102t_exposure.json", {"exptime": "900.0"})
    ran = site.settle()

    assert ran == ["build", "product"]
    assert site.kept(".asn") == {"uz010102a.asn"}
    assert list(site.state().associations) == ["UZ010102A"]


def test_a_value_that_cannot_be_leaves_the_exposure_out_and_the_service_alive(site, small):
    put(site, small)

    site.service.store.describe("uz010102t_exposure.json", {"exptime": "long"})
    site.settle()
    site.service.store.describe("uz010102t_exposure.json", {"exptime": "200.0"})
    site.settle()

    (association,) = site.state().associations.values()
    assert len(association.members) == 3


@pytest.mark.parametrize(("era", "names"), [("cmh", ("cmi", "cmh")), ("jih", ("jit", "jih"))])
def test_what_was_converted_from_geis_is_a_pair_too(site, tmp_path, era, names):
    table = jitter_table(150.0, 2.0, 100.0, exptime=100.0)
    pair = write_jitter(tmp_path, "UZ010100J", "199412010000", table, converted=era)
    for path, kind in zip(pair, names, strict=True):
        path.rename(site.inbox / f"uz010100j_199412010000_{kind}.fits")

    assert site.settle() == ["measure"]

    assert site.kept("pointing.json") == {"uz010100j_199412010000_pointing.json"}


def test_what_is_no_delivery_is_refused_and_stays(site, small):
    put(site, small)
    (site.inbox / "notes_exposure.json").write_text("[]")
    (site.inbox / "passwd").write_text("root")
    (site.inbox / "uz010100t_1_exposure.json").write_text(
        json.dumps({"dataset_name": "../../UZ01", "gen_date_str": "199703010000"})
    )
    (site.inbox / "u26k2s02j_jit.fits").write_bytes(b"no generation")
    for _ in range(3):
        site.service.tick()

    left = sorted(path.name for path in site.inbox.iterdir())
    assert left == [
        "notes_exposure.json",
        "passwd",
        "u26k2s02j_jit.fits",
        "uz010100t_1_exposure.json",
    ]


def test_the_leafs_commands_look_at_it_and_do_not_write(site, small):
    put(site, small)

    def lightmill(*words):
        return CliRunner().invoke(app, ["wfpc2", *map(str, words)])

    told = lightmill("status", site.root)
    why = lightmill("why", site.root, "UZ010101T")
    refused = lightmill("rules", site.root, "--radius", "5", "--adopt")
    ran = lightmill("run", site.root, small.folder)
    log = EventLog(site.root)
    log.append(events.Refused("as if `lightmill wfpc2` had written here"))
    log.close()
    both = lightmill("status", site.root)

    assert "3 exposures, 1 associations of 3 members" in told.output
    assert "member of UZ010100A" in why.output
    assert isinstance(refused.exception, ConfigurationError)
    assert "operations keep this archive" in str(refused.exception)
    assert "operations keep this archive" in str(ran.exception)
    assert "two keep this archive" in str(both.exception)


def test_a_delivery_of_a_copy_is_put_where_operations_look(cases, tmp_path):
    words = ["wfpc2", "deliver", cases / "small", tmp_path / "inbox", "--delivery", "1"]

    told = CliRunner().invoke(app, list(map(str, words)))

    assert "# delivery 1: 18 files" in told.output  # four exposures, seven pairs
    assert "lightmill ops set uz050602t_exposure.json exptime=260.0" in told.output
    exposure = json.loads(next((tmp_path / "inbox").glob("uz051100t_*")).read_text())
    assert exposure["targname"] == "M11-RENAMED"


@pytest.mark.parametrize("name", ["u26k2s02j_jit.fits", "../u26k2s02j_199703130951_jit.fits", "x"])
def test_names_that_tell_no_generation_are_refused(name):
    with pytest.raises(ValidationError):
        stem_of(name)


@pytest.mark.slow
def test_operators_see_it_all_with_the_commands_of_operations(small, tmp_path):
    # real processes: watch, jobs, status, tasks, why
    site, inbox = tmp_path / "site", tmp_path / "inbox"

    def ops(*words):
        answer = CliRunner().invoke(app, ["ops", *map(str, words), "--root", str(site)])
        assert answer.exit_code == 0, answer.output
        return answer.output

    ops("init", "--observatory", "WFPC2")
    for path in hand_over(small, 0, tmp_path / "aside").files:
        if path.name[:8].upper() in MEMBERS[:2]:
            inbox.mkdir(exist_ok=True)
            shutil.copy(path, inbox / path.name)
    (jit,) = inbox.glob("uz010101j*_jit.fits")
    whole = jit.read_bytes()
    jit.write_bytes(whole[:-3000])
    ops("watch", inbox, "--until-idle", "0.2", "--settle", "0", "--quiet-time", "0", "--quiet",
        "--cores", min(2, os.cpu_count()))  # fmt: skip

    counts = json.loads(ops("status", "--json"))
    tasks = json.loads(ops("tasks", "--json"))
    failed = next(one for one in tasks if one["state"] == "FAILED")
    why = ops("why", failed["id"])

    assert counts["tasks"] == {"DONE": 2, "FAILED": 1}  # a pointing, a proposal of one; a bad pair
    assert failed["type"] == "pointing"
    assert "ends too early" in why
    assert "lightmill wfpc2 measure in/uz010101j" in why
    assert "there   uz010101j_199703131022_jit.fits (table)" in why
