"""What ought to be done again because references, software or rules are others now."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lightmill import reprocessing
from lightmill.reference.rules.mapping import load
from lightmill.testing.contexts import small_context
from lightmill.workflow.machine import Policy
from lightmill.workflow.store import Arrival, Outcome, Store, TaskPlan
from lightmill.workflow.store import tables as t

FLAT = "jwst_niriss_flat_{:04}.fits"


@pytest.fixture
def store():
    made = Store("sqlite://", policy=Policy(), clock=lambda: 0.0)
    t.metadata.create_all(made.engine)
    yield made
    made.close()


@pytest.fixture
def archive(tmp_path):
    """A folder with the exposures of two detectors' dates."""
    for name, date in (("old", "2023-01-01"), ("new", "2025-01-01")):
        primary = fits.PrimaryHDU()
        primary.header.update(
            {"TELESCOP": "JWST", "INSTRUME": "NIRISS", "DETECTOR": "NIS", "DATE-OBS": date,
             "TIME-OBS": "00:00:00"}
        )  # fmt: skip
        image = fits.ImageHDU(np.ones((2, 2), "f4"), name="SCI")
        fits.HDUList([primary, image]).writeto(tmp_path / f"{name}_rate.fits")
    return tmp_path


def context(folder, number, *rows):
    """Rules in which flats serve from their dates on."""
    files = small_context(
        "jwst", "niriss", {"flat": {"NIS": [(date, FLAT.format(k)) for date, k in rows]}},
        number=number,
    )  # fmt: skip
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return load(folder / next(iter(files)))


def made_with(flat, version="1"):
    steps = {
        "flat_field": {"version": version, "status": "COMPLETE"},
        "photom": {"version": "1", "status": "SKIPPED", "reason": "asked for"},
    }
    return {"software": "0.1", "steps": steps, "references": {"flat": flat}}


def done(store, name, told):
    """Do a task of one exposure, and one of its product."""
    store.plan([
        TaskPlan(name, name, "image2", 2, "two", {f"{name}_rate.fits": "science"}, "p1"),
        TaskPlan(f"{name}3", f"{name}3", "image3", 3, "three", {f"{name}_cal": "science"}, "p1"),
    ])  # fmt: skip
    store.ingest([Arrival(f"{name}_rate.fits", digest(name), 1, "1", f"{name}_rate.fits")])
    for ending in ("_cal", "_i2d"):
        (job,) = store.startable()
        store.start(job.job_id, "hand", 1.0, [])
        product = Arrival(f"{name}{ending}", digest(name, ending), 1, "1", name, "product")
        store.finish(job.job_id, Outcome(True, products=(product,), made_with=told))


def digest(*parts):
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def names(owed):
    return [one.name for one in owed]


def test_only_exposures_of_the_changed_row_are_owed(store, archive):
    for name in ("old", "new"):
        done(store, name, made_with(FLAT.format(1)))
    first = context(archive, 1, ("2022-01-01 00:00:00", 1))
    second = context(archive, 2, ("2022-01-01 00:00:00", 1), ("2024-01-01 00:00:00", 2))

    found = reprocessing.by_references(store, archive, second, first)

    assert names(found.owed) == ["new"]
    assert "flat: jwst_niriss_flat_0001.fits → jwst_niriss_flat_0002.fits" in found.owed[0].why
    assert names(found.follows) == ["new3"]
    assert found.not_told == []


def test_without_the_old_rules_what_was_used_is_compared(store, archive):
    done(store, "old", made_with(FLAT.format(1)))
    rules = context(archive, 1, ("2022-01-01 00:00:00", 2))

    (owed, *_) = reprocessing.by_references(store, archive, rules).owed

    assert owed.why == f"flat: made with {FLAT.format(1)}, now {FLAT.format(2)}"


def test_what_was_made_with_the_new_reference_is_not_owed(store, archive):
    done(store, "new", made_with(FLAT.format(2)))
    first = context(archive, 1, ("2022-01-01 00:00:00", 1))
    second = context(archive, 2, ("2022-01-01 00:00:00", 2))

    assert reprocessing.by_references(store, archive, second, first).owed == []


def test_a_file_that_cannot_be_read_is_told(store, archive):
    done(store, "old", made_with(FLAT.format(1)))
    (archive / "old_rate.fits").write_bytes(b"nothing")

    found = reprocessing.by_references(store, archive, context(archive, 1, ("2022-01-01", 2)))

    assert found.owed == []
    assert "old" in found.not_told[0]


def test_steps_of_other_versions_are_owed_and_skipped_ones_are_not(store):
    done(store, "old", made_with("", version="1"))

    found = reprocessing.by_software(store, current={"flat_field": "2", "photom": "2"})
    same = reprocessing.by_software(store, current={"flat_field": "1", "photom": "2"})

    assert names(found.owed) == ["old", "old3"]
    assert found.owed[0].why == "flat_field was version 1, is 2"
    assert same.owed == []


def test_software_of_one_version_is_found(store):
    done(store, "old", made_with(""))

    assert names(reprocessing.by_software(store, "0.1").owed) == ["old", "old3"]
    assert reprocessing.by_software(store, "0.2").owed == []


def test_what_says_nothing_of_its_making_is_told(store):
    done(store, "old", None)

    found = reprocessing.by_software(store, current={})

    assert found.looked_at == 0
    assert len(found.not_told) == 2


class Rules:
    """Rules that make what they are told to."""

    planned_from = ()

    def __init__(self, *plans):
        self.plans = list(plans)

    def associations(self, program, candidates, rows):
        assert (program, candidates) == ("p1", ["o001"])
        assert [row.name for row in rows] == ["a"]
        return self.plans


def association(name, members, notes="", pipeline="two"):
    document = {"products": [{"name": name, "members": [{"expname": m} for m in members]}]}
    return TaskPlan(
        name, name, "image2", 2, pipeline, dict.fromkeys(members, "science"), "p1", "o001",
        document=document | {"notes": notes}, description=frozenset(["notes"]),
    )  # fmt: skip


def test_rules_tell_data_from_description_and_new_from_gone(store):
    store.ingest([Arrival("a", digest("a"), 1, "1", "a", program="p1", candidates={"o001": None})])
    store.plan([association(name, ["a"]) for name in ("same", "words", "members", "gone")])

    found = reprocessing.by_rules(
        store,
        Rules(
            association("same", ["a"]), association("words", ["a"], notes="better"),
            association("members", ["a", "b"]), association("new", ["b"]),
        ),
    )  # fmt: skip

    told = {one.name: (one.scope, one.why) for one in found.owed}
    assert told == {
        "words": ("description", "other words: notes"),
        "members": ("data", "with b"),
        "new": ("new", "no such association was made"),
        "gone": ("gone", "no rule makes it any more"),
    }
    assert found.looked_at == 4


def test_what_waits_for_approval_is_listed_and_done(store):
    store.policy = Policy(redo="on approval")
    done(store, "old", made_with(""))
    store.ingest([Arrival("old_rate.fits", digest("x"), 1, "2", "x")])

    found = reprocessing.by_approval(store)
    refused = reprocessing.redo(store, found, "stale", who="eve")

    assert names(found.owed) == ["old"]
    assert names(found.follows) == ["old3"]
    assert refused == []
    assert [job.name for job in store.startable()] == ["old"]


def test_all_levels_that_are_owed_are_done_once_each(store):
    done(store, "old", made_with(""))
    found = reprocessing.by_software(store, "0.1")

    reprocessing.redo(store, found, "software", who="eve")

    assert [job.name for job in store.startable()] == ["old"]  # the other waits for its product
    (job,) = store.startable()
    store.start(job.job_id, "hand", 1.0, [])
    same = Arrival("old_cal", digest("old", "_cal"), 1, "1", "old", "product")
    store.finish(job.job_id, Outcome(True, products=(same,)))
    assert [job.name for job in store.startable()] == ["old3"]
    assert Path(store.startable()[0].inputs["old_cal"]).name == "old"
