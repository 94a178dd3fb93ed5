"""What an observatory says of its tasks."""

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("sqlalchemy", reason="operations need the extra `operations`")

import lightmill.observatories.jwst as observatory
from lightmill.operations import Observing, _targets

TARGETS = {"x_00001_nis": "NGC 1365", "x_00002_nis": "M 51", "x_00003_nis": ""}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["x_00001_nis_rate.fits"], "NGC 1365"),
        (["x_00002_nis_cal.fits", "x_00001_nis_cal.fits", "x_00001_nis_cal.fits"],
         "M 51, NGC 1365"),
        (["x_00003_nis_cal.fits"], ""),
        (["x-o001_t001_i2d.fits"], ""),  # a product of another association
        ([], ""),
    ],
)  # fmt: skip
def test_a_task_is_about_the_targets_of_its_exposures(files, said):
    assert _targets([{"expname": name} for name in files], TARGETS) == said


def test_a_service_keeps_nothing_of_the_observations_it_has_associated():
    planner = Observing(Path(observatory.__file__).parent)

    made = [
        planner.associations("90001", [f"o{number:03d}"], exposures(number))
        for number in range(1, 4)
    ]

    assert all(made)
    rules = planner._rules.memory["compiled"]
    assert not any(rule.answers or rule.kinds or len(rule.states) > 1 for rule in rules)


def exposures(number):
    """Rows of the store: four dithered images of a field."""
    names = [f"jw90001{number:03d}001_02101_{at:05d}_nis_uncal.fits" for at in range(1, 5)]
    facts = {
        "program": "90001", "obs_num": str(number), "visit": "1", "pntgtype": "SCIENCE",
        "asn_candidate": f"[('o{number:03d}', 'OBSERVATION')]", "exp_type": "NIS_IMAGE",
        "instrume": "NIRISS", "detector": "NIS", "filter": "CLEAR", "pupil": "F200W",
        "targetid": str(number), "targname": f"FIELD-{number}", "subarray": "FULL",
        "visitype": "PRIME_TARGETED_FIXED", "patttype": "IMAGING", "bkgdtarg": "F",
        "nints": "1",
    }  # fmt: skip
    return [SimpleNamespace(name=name, facts=facts | {"filename": name}) for name in names]


def read(exposure, detector, *, visit="90001001001", announced="3", candidate="o001"):
    """A row of the store: what a detector read of an exposure."""
    facts = {
        "visit_id": visit, "nexposur": announced, "detector": detector, "visitgrp": "2",
        "seq_id": "1", "act_id": "01", "exposure": str(exposure),
        "asn_candidate": f"[('{candidate}', 'OBSERVATION')]",
    }  # fmt: skip
    return SimpleNamespace(facts=facts)


ACQUIRED = [read(1, "NRCA5"), *(read(n, one) for n in (2, 3) for one in ("NRCA1", "NRCA5"))]


@pytest.mark.parametrize(
    ("rows", "is_whole"),
    [
        (ACQUIRED, True),  # one detector pointed, two looked
        (ACQUIRED[:-2], False),  # the last exposure has not come
        (ACQUIRED[:-1], True),  # it has, from one
        ([*ACQUIRED, read(1, "NRCA1", visit="90001001002", announced="2")], False),  # other visit
        ([*ACQUIRED, read(1, "NRCA1", visit="x", announced="2", candidate="o002")], True),
        ([*ACQUIRED, read(4, "NRCA1", announced="null")], False),  # nobody knows
        ([*ACQUIRED, read("", "NRCA1")], False),
        ([], False),
    ],
)
def test_a_visit_is_whole_when_each_exposure_came_from_some_detector(rows, is_whole):
    planner = Observing(Path(observatory.__file__).parent)

    assert planner.is_whole("o001", rows) is is_whole
