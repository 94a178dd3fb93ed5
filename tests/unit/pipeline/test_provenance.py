import hashlib
import json

import pytest

from lightmill import models
from lightmill.pipeline.provenance import Record
from lightmill.testing import make_reference


@pytest.fixture
def gain(ramp, tmp_path):
    return make_reference("gain", ramp, 2.0).save(tmp_path / "gain.fits")


@pytest.fixture
def product(kit, file, gain, tmp_path):
    pipeline = kit.Linear(steps={"add": {"amount": 5.0}})
    pipeline.step("multiply").configure({"factor": "3"}, "command line")
    outcome = pipeline.run(file, override_gain=gain, output_dir=tmp_path / "out", save_results=True)
    return outcome.written[0]


def note(record, name):
    return next(n for n in record["steps"] if n["name"] == name)


def test_a_product_says_what_was_done_with_which_parameters_and_who_set_them(product):
    record = models.open(product).record

    assert record["pipeline"] == "linear"
    assert note(record, "add")["parameters"]["amount"] == {"value": 5.0, "origin": "python"}
    assert note(record, "multiply")["parameters"]["factor"] == {
        "value": 3.0,
        "origin": "command line",
    }
    assert note(record, "multiply")["parameters"]["note"]["origin"] == "default"
    assert note(record, "decline")["status"] == "SKIPPED"
    assert note(record, "decline")["reason"] == "nothing to do here"


def test_a_product_says_what_it_was_made_of(product, file, gain):
    record = models.open(product).record

    (made_of,) = record["inputs"]
    assert made_of["name"] == file.name
    assert made_of["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    reference = note(record, "divide_by_gain")["references"]["gain"]
    assert reference["sha256"] == hashlib.sha256(gain.read_bytes()).hexdigest()


def test_a_product_says_which_software_made_it(product):
    software = models.open(product).record["software"]

    assert {"lightmill", "python", "numpy"} <= set(software)


def test_what_differs_from_run_to_run_is_beside_the_product_only(product):
    inside = models.open(product).record
    beside = json.loads(product.with_name("lantern001_run.json").read_text())

    assert not {"started", "finished", "wall_s", "peak_mb"} & set(inside)
    assert not any({"cpu_s", "wall_s"} & set(n) for n in inside["steps"])
    assert {"started", "finished", "wall_s", "peak_mb"} <= set(beside)
    assert note(beside, "add")["cpu_s"] >= 0


def test_the_same_run_gives_the_same_bytes(kit, file, gain, tmp_path):
    for folder in ("a", "b"):
        kit.Linear().run(file, override_gain=gain, output_dir=tmp_path / folder, save_results=True)

    first, second = (tmp_path / f / "lantern001_linear.fits" for f in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_statuses_and_references_are_keywords_of_the_product(kit, file, gain):
    outcome = kit.Linear().run(file, override_gain=gain)

    meta = outcome.model.meta
    assert meta.get("cal_step.add") == "COMPLETE"
    assert meta.get("cal_step.decline") == "SKIPPED"
    assert str(meta.get("ref_file.gain.name")).endswith("gain.fits")
    assert meta.get("calibration_software_version").startswith("lightmill ")


def test_a_step_that_was_not_reached_leaves_no_trace(kit, file, gain, tmp_path):
    outcome = kit.Linear().run(file, override_gain=gain, output_dir=tmp_path, stop_after="add")

    assert [n["name"] for n in outcome.record["steps"]] == ["add"]
    assert outcome.model.meta.get("ref_file.gain.name") is None


def test_a_step_skipped_on_request_says_so(kit, file, gain):
    outcome = kit.Linear().run(file, override_gain=gain, skip=["multiply"])

    assert note(outcome.record, "multiply") | {"parameters": None} == {
        "name": "multiply",
        "status": "SKIPPED",
        "reason": "asked for",
        "version": "1",
        "parameters": None,
    }


def test_notes_taken_over_do_not_undo_what_is_known():
    record = Record()
    record.skipped("late", "asked for")

    record.restore(
        {
            "steps": [{"name": "early", "status": "COMPLETE"}, {"name": "other", "status": "X"}],
            "references": {"early": {"gain": {"name": "g.fits"}}, "other": {}},
        },
        ["early"],
    )

    assert [n["name"] for n in record.as_dict()["steps"]] == ["late", "early"]
    assert record.statuses == {"late": "SKIPPED", "early": "COMPLETE"}
    assert record.references == {"early": {"gain": {"name": "g.fits"}}}
