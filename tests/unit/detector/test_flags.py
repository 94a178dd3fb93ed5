import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lightmill.detector import (
    FlagChargeMigration,
    FlagFirstFrame,
    FlagFirstGroups,
    FlagLastFrame,
    FlagSaturation,
    InitializeDq,
)
from lightmill.errors import ConfigurationError, ShapeError
from lightmill.models import MaskModel
from lightmill.models.dq import PIXEL
from lightmill.pipeline import Status
from lightmill.testing import make_ramp, make_reference

DNU, SAT = PIXEL["DO_NOT_USE"], PIXEL["SATURATED"]


def flagged(model, bit):
    return (model.groupdq & bit) != 0


# -- dq_init --------------------------------------------------------------------------------


@pytest.fixture
def mask():
    values = np.zeros((6, 8), np.uint32)
    values[1, 2] = PIXEL["HOT"]
    values[3, 4] = DNU | PIXEL["DEAD"]
    return values


def test_what_is_known_of_the_detector_becomes_the_pixels_flags(mask):
    ramp = make_ramp()
    ramp.pixeldq[0, 0] = PIXEL["LOW_QE"]

    model = InitializeDq().run(ramp, override_mask=make_reference("mask", ramp, mask)).model

    assert model.pixeldq[1, 2] == PIXEL["HOT"]
    assert model.pixeldq[0, 0] == PIXEL["LOW_QE"]
    assert flagged(model, DNU)[..., 3, 4].all()
    assert flagged(model, DNU).sum() == model.groupdq[:, :, 0, 0].size
    assert not ramp.groupdq.any()


def test_flagging_twice_is_flagging_once(mask):
    ramp = make_ramp()
    reference = make_reference("mask", ramp, mask)

    once = InitializeDq().run(ramp, override_mask=reference).model
    twice = InitializeDq().run(once, override_mask=reference).model

    assert_array_equal(once.pixeldq, twice.pixeldq)
    assert_array_equal(once.groupdq, twice.groupdq)


def test_the_users_own_flags_are_added(tmp_path):
    ramp = make_ramp(shape=(20, 8))
    own = np.zeros((20, 8), np.uint32)
    own[17, 6] = DNU
    path = MaskModel(meta={"reftype": "MASK"}, dq=own).save(tmp_path / "own.fits")

    model = (
        InitializeDq(user_supplied_dq=str(path))
        .run(ramp, override_mask=make_reference("mask", ramp))
        .model
    )

    assert model.pixeldq[17, 6] == DNU
    assert flagged(model, DNU)[..., 17, 6].all()
    assert np.count_nonzero(model.pixeldq) == 1


def test_the_users_own_flags_must_fit(tmp_path):
    ramp = make_ramp()
    path = MaskModel(meta={"reftype": "MASK"}, dq=np.zeros((3, 3), np.uint32)).save(
        tmp_path / "own.fits"
    )

    with pytest.raises(ShapeError, match="do not fit"):
        InitializeDq(user_supplied_dq=str(path)).run(
            ramp, override_mask=make_reference("mask", ramp)
        )


def test_the_users_own_file_must_hold_flags(tmp_path):
    ramp = make_ramp()
    path = make_reference("gain", ramp).save(tmp_path / "gain.fits")

    with pytest.raises(ConfigurationError, match="no DQ image"):
        InitializeDq(user_supplied_dq=str(path)).run(
            ramp, override_mask=make_reference("mask", ramp)
        )


# -- saturation -----------------------------------------------------------------------------


@pytest.fixture
def bright():
    """One pixel that is full from the fourth group on."""
    rate = np.full((7, 9), 1.0)
    rate[3, 4] = 1000.0
    return make_ramp(rate, shape=(7, 9), n_groups=6)


def test_a_full_pixel_is_flagged_from_then_on(bright):
    limit = make_reference("saturation", bright, 35000.0)

    model = FlagSaturation(n_pix_grow_sat=0).run(bright, override_saturation=limit).model

    full = flagged(model, SAT)
    assert_array_equal(full[0, :, 3, 4], bright.data[0, :, 3, 4] >= 35000)
    assert full.sum() == full[0, :, 3, 4].sum() == 3


@pytest.mark.parametrize("grow", [1, 2])
def test_a_full_pixel_spills_into_those_around_it(bright, grow):
    limit = make_reference("saturation", bright, 35000.0)

    model = FlagSaturation(n_pix_grow_sat=grow).run(bright, override_saturation=limit).model

    assert flagged(model, SAT)[0, -1].sum() == (2 * grow + 1) ** 2


def test_a_pixel_whose_limit_is_not_known_is_never_full(bright):
    limit = make_reference("saturation", bright, 35000.0)
    limit.dq[3, 4] = PIXEL["NO_SAT_CHECK"]

    model = FlagSaturation().run(bright, override_saturation=limit).model

    assert not flagged(model, SAT).any()
    assert model.pixeldq[3, 4] & PIXEL["NO_SAT_CHECK"]


def test_a_ramp_that_is_not_full_has_no_flags():
    ramp = make_ramp(rate=1.0)

    model = FlagSaturation().run(ramp, override_saturation=make_reference("saturation", ramp)).model

    assert not model.groupdq.any()


def test_a_higher_limit_never_flags_more(bright):
    counts = [
        flagged(
            FlagSaturation()
            .run(bright, override_saturation=make_reference("saturation", bright, limit))
            .model,
            SAT,
        ).sum()
        for limit in (5000.0, 20000.0, 50000.0, 80000.0, 1e6)
    ]

    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 0


# -- firstframe, lastframe ------------------------------------------------------------------


def test_the_first_group_is_left_out():
    ramp = make_ramp(n_ints=2)

    model = FlagFirstFrame(skip=False).run(ramp).model

    assert flagged(model, DNU)[:, 0].all()
    assert not flagged(model, DNU)[:, 1:].any()


def test_the_first_group_stays_where_the_source_is_bright():
    rate = np.full((6, 8), 1.0)
    rate[2, 2] = 3000.0
    ramp = make_ramp(rate, saturate=50000.0)

    model = FlagFirstFrame(skip=False).run(ramp).model

    first = flagged(model, DNU)[0, 0]
    assert not first[2, 2]
    assert first.sum() == first.size - 1
    assert model.pixeldq[2, 2] & PIXEL["FLUX_ESTIMATED"]


def test_the_first_group_goes_everywhere_on_request():
    ramp = make_ramp(rate=3000.0, saturate=50000.0)

    model = FlagFirstFrame(skip=False, bright_use_group1=False).run(ramp).model

    assert flagged(model, DNU)[:, 0].all()


def test_the_last_group_is_left_out():
    model = FlagLastFrame().run(make_ramp(n_ints=2)).model

    assert flagged(model, DNU)[:, -1].all()
    assert not flagged(model, DNU)[:, :-1].any()


@pytest.mark.parametrize(
    ("step", "groups"),
    [(FlagFirstFrame(skip=False), 3), (FlagLastFrame(), 2), (FlagChargeMigration(skip=False), 2)],
)
def test_a_ramp_too_short_keeps_its_groups(step, groups):
    outcome = step.run(make_ramp(n_groups=groups))

    assert outcome.status is Status.SKIPPED
    assert not outcome.model.groupdq.any()


# -- rscd -----------------------------------------------------------------------------------


def test_the_groups_after_a_reset_are_left_out():
    ramp = make_ramp(n_groups=10, n_ints=3)
    table = make_reference("rscd", ramp, (2, 4))

    model = FlagFirstGroups().run(ramp, override_rscd=table).model

    assert_array_equal(flagged(model, DNU)[:, :, 0, 0].sum(axis=1), [2, 4, 4])
    assert flagged(model, DNU)[0, :2].all()


def test_a_later_segment_begins_with_a_later_integration():
    ramp = make_ramp(n_groups=10, n_ints=2)
    ramp.meta.exposure.integration_start = 5
    table = make_reference("rscd", ramp, (2, 4))

    model = FlagFirstGroups().run(ramp, override_rscd=table).model

    assert_array_equal(flagged(model, DNU)[:, :, 0, 0].sum(axis=1), [4, 4])


def test_three_groups_remain_at_least():
    ramp = make_ramp(n_groups=7)
    table = make_reference("rscd", ramp, (6, 6))

    model = FlagFirstGroups().run(ramp, override_rscd=table).model

    assert_array_equal(flagged(model, DNU)[0, :, 0, 0], [1, 1, 1, 1, 0, 0, 0])


def test_a_pixel_that_saturates_soon_keeps_its_groups():
    rate = np.full((6, 8), 1.0)
    rate[1, 1] = 2000.0
    ramp = make_ramp(rate, n_groups=10, saturate=50000.0)
    table = make_reference("rscd", ramp, (4, 4))

    model = FlagFirstGroups().run(ramp, override_rscd=table).model

    usable = (model.groupdq[0] & (DNU | SAT)) == 0
    assert usable[:, 1, 1].sum() > 0
    assert usable[:, 0, 0].sum() == 6


def test_a_table_without_this_read_pattern_says_so():
    ramp = make_ramp(n_groups=10)
    table = make_reference("rscd", ramp, (2, 4))
    ramp.meta.exposure.readpatt = "OTHER"

    outcome = FlagFirstGroups().run(ramp, override_rscd=table)

    assert outcome.status is Status.SKIPPED
    assert "no row" in outcome.reason


# -- charge migration -----------------------------------------------------------------------


def test_groups_in_which_charge_migrates_are_left_out_of_the_pixel_and_its_four_neighbours():
    rate = np.full((7, 9), 1.0)
    rate[3, 4] = 500.0
    ramp = make_ramp(rate, shape=(7, 9), n_groups=8)  # 25000 DN in the fifth group

    model = FlagChargeMigration(skip=False, signal_threshold=22000.0).run(ramp).model

    out = flagged(model, DNU)[0]
    assert_array_equal(out[:, 3, 4], ramp.data[0, :, 3, 4] > 22000)
    for y, x in ((2, 4), (4, 4), (3, 3), (3, 5)):
        assert_array_equal(out[:, y, x], out[:, 3, 4])
    assert out.sum() == 5 * out[:, 3, 4].sum()


def test_faint_ramps_keep_all_groups():
    model = FlagChargeMigration(skip=False).run(make_ramp(rate=1.0)).model

    assert not model.groupdq.any()
