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
