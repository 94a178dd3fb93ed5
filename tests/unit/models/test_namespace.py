"""Metadata is what the schema says, and says so."""

import pytest

from lightmill import models
from lightmill.errors import ValidationError


def test_what_is_known_but_unset_is_none(ramp):
    assert ramp.meta.exposure.groupgap is None
    assert ramp.meta.exposure.ngroups == 3


def test_a_mistyped_name_is_answered_with_the_right_one(ramp):
    with pytest.raises(AttributeError, match=r"exposure\.ngroups"):
        _ = ramp.meta.exposure.ngroup


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("exposure.ngroups", "three"),
        ("exposure.ngroups", -1),
        ("exposure.ngroups", True),
        ("exposure.ngroups", 2**70),
        ("exposure.frame_time", "long"),
        ("instrument.detector", "NISS"),
        ("cal_step.jump", "DONE"),
        ("exposure.zero_frame", 1),
        ("no.such.name", 1),
    ],
)
def test_a_wrong_value_is_refused_and_the_old_one_stays(ramp, path, value):
    before = ramp.meta.flat()

    with pytest.raises(ValidationError) as caught:
        ramp.meta[path] = value

    assert caught.value.place
    assert caught.value.remedy
    assert ramp.meta.flat() == before


def test_a_mistyped_choice_is_answered_with_the_right_one(ramp):
    with pytest.raises(ValidationError, match="did you mean 'NIS'"):
        ramp.meta.instrument.detector = "NISS"


def test_setting_none_unsets(ramp):
    ramp.meta.exposure.ngroups = None

    assert ramp.meta.exposure.ngroups is None
    assert "exposure.ngroups" not in ramp.meta.flat()


def test_a_branch_can_be_set_as_a_whole(ramp):
    ramp.meta.exposure = {"ngroups": 7, "readpatt": "NISRAPID"}

    assert ramp.meta["exposure.ngroups"] == 7
    assert ramp.meta.exposure.frame_time == 10.7


def test_paths_and_attributes_are_the_same(ramp):
    assert ramp.meta["exposure.ngroups"] == ramp.meta.exposure["ngroups"] == 3
    assert ramp.meta.get("exposure.gain_factor", 1.0) == 1.0
    assert "exposure.ngroups" in ramp.meta
    assert ramp.meta.exposure.to_dict()["ngroups"] == 3


def test_a_step_has_a_state_under_its_own_name(ramp):
    ramp.meta.cal_step.dark_current = "SKIPPED"

    assert ramp.meta.flat()["cal_step.dark_sub"] == "SKIPPED"


def test_numpy_values_become_plain_ones(ramp):
    import numpy as np

    ramp.meta.exposure.ngroups = np.int16(4)

    assert type(ramp.meta.exposure.ngroups) is int


def test_another_telescope_brings_its_own_keywords():
    plain = models.RampModel(meta={"telescope": "NONE"})

    with pytest.raises(AttributeError):
        _ = plain.meta.instrument.pupil
    plain.meta.telescope = "JWST"
    assert plain.meta.instrument.pupil is None


def test_evolve_leaves_the_old_metadata_alone(ramp):
    new = ramp.evolve(meta={"exposure.ngroups": 9})

    assert (ramp.meta.exposure.ngroups, new.meta.exposure.ngroups) == (3, 9)
