import json

import numpy as np
import pytest

from lightmill.cli import main
from lightmill.cli.difference import compare
from lightmill.cli.products import step_lines
from lightmill.models import RateModel

RECORD = {
    "software": {"lightmill": "1.0", "numpy": "2.0"},
    "pipeline": "calwebb_detector1",
    "inputs": [{"name": "a_uncal.fits", "sha256": "ab" * 32, "size": 84_000_000}],
    "steps": [
        {"name": "ipc", "status": "SKIPPED", "reason": "asked for"},
        {
            "name": "jump",
            "version": "1",
            "status": "COMPLETE",
            "parameters": {
                "rejection_threshold": {"value": 5.0, "origin": "command line"},
                "minimum_groups": {"value": 3, "origin": "default"},
            },
            "references": {"gain": {"name": "gain.fits", "sha256": "cd" * 32}},
        },
    ],
}


def rate(**changes):
    shape = (4, 5)
    model = RateModel(
        data=np.ones(shape, np.float32),
        err=np.full(shape, 0.1, np.float32),
        dq=np.zeros(shape, np.uint32),
        meta={"exposure.ngroups": 5},
    )
    return model.evolve(**changes)


def ended(capsys, *typed):
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in typed])
    said = capsys.readouterr()
    return caught.value.code, said.out, said.err


def test_info_tells_arrays_and_flags(capsys, tmp_path):
    dq = np.zeros((4, 5), np.uint32)
    dq[0, :2] = 4
    path = rate(dq=dq).save(tmp_path / "a_rate.fits")

    status, out, _ = ended(capsys, "info", path)
    _, machine, _ = ended(capsys, "info", path, "--json")

    assert status == 0
    assert "4 × 5" in out
    assert "JUMP_DET" in out
    assert json.loads(machine)["flags"]["dq"]["set"] == {"JUMP_DET": 2}


def test_explain_tells_how_a_product_was_made(capsys, tmp_path):
    path = rate().save(tmp_path / "a_rate.fits", record=RECORD)

    status, out, _ = ended(capsys, "explain", path)
    _, everything, _ = ended(capsys, "explain", path, "--all")
    _, machine, _ = ended(capsys, "explain", path, "--json")

    assert status == 0
    assert "rejection_threshold  5.0  (command line)" in out
    assert "minimum_groups" not in out
    assert "minimum_groups" in everything
    assert "ipc                    SKIPPED (asked for)" in out
    assert "gain.fits" in out
    assert json.loads(machine)["steps"][1]["references"]["gain"]["sha256"] == "cd" * 32


def test_explain_names_the_exposures_a_step_was_skipped_for():
    note = {"name": "tweakreg", "status": "COMPLETE"}

    lines = step_lines(note | {"skipped_exposures": {"a_cal.fits": "0 stars"}})

    assert lines[1].strip() == "skipped a_cal.fits (0 stars)"


def test_a_file_without_a_record_is_bad_data(capsys, tmp_path):
    path = rate().save(tmp_path / "a_rate.fits")

    status, _, err = ended(capsys, "explain", path)

    assert status == 3
    assert "lightmill info" in err


def test_two_writings_of_one_product_do_not_differ(capsys, tmp_path):
    one, two = rate().save(tmp_path / "a.fits"), rate().save(tmp_path / "b.fits")

    assert ended(capsys, "diff", one, two)[:2] == (0, "the products do not differ\n")


def test_a_difference_is_told_in_errors_flags_and_causes(capsys, tmp_path):
    data = np.ones((4, 5), np.float32)
    data[1, 1], data[2, 2] = 1.2, np.nan
    dq = np.zeros((4, 5), np.uint32)
    dq[2, 2] = 1
    other = json.loads(json.dumps(RECORD))
    other["steps"][1]["parameters"]["rejection_threshold"]["value"] = 6.0
    one = rate().save(tmp_path / "a.fits", record=RECORD)
    two = rate(data=data, dq=dq, meta={"exposure.ngroups": 6}).save(
        tmp_path / "b.fits", record=other
    )

    status, out, _ = ended(capsys, "diff", one, two)
    _, machine, _ = ended(capsys, "diff", one, two, "--json")

    found = json.loads(machine)
    assert status == 1
    assert found["arrays"]["data"]["differ"] == 2
    assert found["arrays"]["data"]["not_both_finite"] == 1
    assert found["arrays"]["data"]["largest_in_errors"] == pytest.approx(2.0, rel=1e-5)
    assert found["flags"]["dq"]["only_in"] == {"DO_NOT_USE": {"A": 0, "B": 1}}
    assert found["meta"] == {"exposure.ngroups": [5, 6]}
    assert found["record"] == {"jump.rejection_threshold": [5.0, 6.0]}
    assert "standard errors" in out


def test_a_tolerance_lets_small_differences_pass():
    other = rate(data=np.full((4, 5), 1.001, np.float32))

    assert not compare(rate(), other)["same"]
    assert compare(rate(), other, rtol=0.01)["same"]


def test_shapes_and_missing_arrays_are_differences():
    small = RateModel(data=np.ones((2, 2), np.float32))

    found = compare(rate(), small)

    assert found["arrays"]["data"] == {"shapes": [[4, 5], [2, 2]]}
    assert found["arrays"]["err"] == {"only_in": "A"}
