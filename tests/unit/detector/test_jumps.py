import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_array_equal

from lightmill import models
from lightmill.detector import DetectJumps
from lightmill.errors import DataError
from lightmill.models.dq import PIXEL
from lightmill.pipeline import Status
from lightmill.pipeline.bands import Stage, through_bands
from lightmill.testing import make_ramp, make_reference, ramps

DNU, SAT, JUMP = PIXEL["DO_NOT_USE"], PIXEL["SATURATED"], PIXEL["JUMP_DET"]


def search(ramp, gain=1.5, readnoise=7.0, **parameters):
    return DetectJumps(**parameters).run(
        ramp,
        override_gain=make_reference("gain", ramp, gain),
        override_readnoise=make_reference("readnoise", ramp, readnoise),
    )


def jumps(outcome):
    return (outcome.model.groupdq & JUMP) != 0


@pytest.mark.parametrize("n_groups", [4, 5, 8, 20])
def test_a_cosmic_ray_is_found_in_the_group_it_came(n_groups):
    ramp = make_ramp(rate=2.0, n_groups=n_groups, jumps=[(0, 2, 3, 4, 60.0)])

    found = jumps(search(ramp))

    assert_array_equal(np.argwhere(found), [[0, 2, 3, 4]])


def test_a_steady_source_has_no_jumps():
    assert not jumps(search(make_ramp(rate=500.0, n_ints=2))).any()


def test_noise_gives_as_many_false_alarms_as_the_threshold_says():
    ramp = make_ramp(rate=5.0, n_groups=10, shape=(150, 150), seed=1, read_noise=5.0)

    share = jumps(search(ramp, readnoise=5 * np.sqrt(2), flag_4_neighbors=False)).mean()

    # one-sided four sigma is 3e-5; the median among nine adds to the scatter
    assert share < 1e-3


def test_a_bright_jump_takes_its_four_neighbours_along():
    ramp = make_ramp(rate=1.0, jumps=[(0, 4, 3, 4, 500.0)])

    found = jumps(search(ramp))[0, 4]

    assert_array_equal(np.argwhere(found), [[2, 4], [3, 3], [3, 4], [3, 5], [4, 4]])


def test_neighbours_stay_on_request():
    ramp = make_ramp(rate=1.0, jumps=[(0, 4, 3, 4, 500.0)])

    assert jumps(search(ramp, flag_4_neighbors=False)).sum() == 1


def test_the_groups_after_a_large_jump_are_flagged_for_the_time_asked():
    ramp = make_ramp(rate=1.0, n_groups=12, group_time=10.0, jumps=[(0, 3, 3, 4, 2000.0)])

    found = jumps(search(ramp, after_jump_flag_dn1=1000.0, after_jump_flag_time1=25.0))

    assert_array_equal(np.flatnonzero(found[0, :, 3, 4]), [3, 4, 5])


def test_two_jumps_of_one_ramp_are_both_found():
    ramp = make_ramp(rate=1.0, n_groups=12, jumps=[(0, 3, 1, 1, 300.0), (0, 8, 1, 1, 200.0)])

    found = jumps(search(ramp, flag_4_neighbors=False))

    assert_array_equal(np.flatnonzero(found[0, :, 1, 1]), [3, 8])


def test_a_higher_threshold_never_finds_more():
    ramp = make_ramp(rate=5.0, shape=(30, 30), seed=2)

    counts = [
        jumps(search(ramp, rejection_threshold=limit, flag_4_neighbors=False)).sum()
        for limit in (1.0, 2.0, 4.0, 8.0)
    ]

    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_a_jump_in_a_full_group_is_not_looked_for():
    ramp = make_ramp(rate=1.0, jumps=[(0, 4, 3, 4, 500.0)])
    ramp.groupdq[0, 4:, 3, 4] = SAT

    assert not jumps(search(ramp))[0, :, 3, 4].any()


def test_a_pixel_without_gain_is_flagged_and_not_searched():
    ramp = make_ramp(rate=1.0, jumps=[(0, 4, 3, 4, 500.0)])
    gain = np.full((6, 8), 1.5)
    gain[3, 4] = np.nan

    outcome = search(ramp, gain=gain)

    assert outcome.model.pixeldq[3, 4] & PIXEL["NO_GAIN_VALUE"]
    assert not jumps(outcome)[0, :, 3, 4].any()


@pytest.mark.parametrize("n_groups", [1, 2])
def test_a_ramp_too_short_is_not_searched(n_groups):
    outcome = search(make_ramp(n_groups=n_groups))

    assert outcome.status is Status.SKIPPED
    assert "two groups or fewer" in outcome.reason


def test_too_few_groups_of_use_are_not_searched():
    ramp = make_ramp(n_groups=4)
    ramp.groupdq[:, [0, 3]] = DNU

    outcome = search(ramp)

    assert outcome.status is Status.SKIPPED
    assert "2 groups of use" in outcome.reason


@pytest.mark.parametrize("time", [None, 0.0])
def test_a_time_between_groups_that_cannot_be_is_an_error(time):
    ramp = make_ramp()
    ramp.meta.exposure.group_time = time

    with pytest.raises(DataError, match="TGROUP"):
        search(ramp)


@given(ramps())
def test_only_flags_are_changed_and_none_is_taken_away(ramp):
    before = ramp.copy()

    outcome = search(ramp)

    assert_array_equal(outcome.model.data, before.data)
    # a group that is full or not usable has no jump: that flag alone may go, and only there
    good = (before.groupdq & (DNU | SAT)) == 0
    kept = outcome.model.groupdq & before.groupdq
    assert_array_equal(kept[good], before.groupdq[good])
    assert_array_equal(kept | JUMP, before.groupdq | JUMP)
    assert_array_equal(ramp.groupdq, before.groupdq)


@given(ramps(flagged=False))
def test_a_pedestal_changes_nothing(ramp):
    higher = ramp.evolve(data=ramp.data + np.float32(64.0))  # exact in float32

    assert jumps(search(ramp)).sum() == pytest.approx(jumps(search(higher)).sum(), abs=1)


# -- large events ---------------------------------------------------------------------------


@pytest.fixture
def snowball():
    """A round event: core full, halo of jumps."""
    ny = nx = 80
    y, x = np.mgrid[:ny, :nx]
    radius = np.hypot(y - 40, x - 40)
    ramp = make_ramp(rate=1.0, n_groups=8, n_ints=2, shape=(ny, nx))
    event = np.where(radius < 5, 60000.0, np.where(radius < 9, 2000.0 * np.exp(-(radius - 5)), 0.0))
    ramp.data[0, 3:] += event
    ramp.groupdq[0, 3:, radius < 5] |= SAT
    return ramp, radius


def test_the_halo_of_a_snowball_is_flagged_beyond_what_the_search_sees(snowball):
    ramp, radius = snowball

    plain = jumps(search(ramp))[0, 3]
    expanded = jumps(search(ramp, expand_large_events=True))[0, 3]

    ring = (radius > 11) & (radius < 15)
    assert not plain[ring].any()
    assert expanded[ring].all()
    assert not expanded[radius > 30].any()


def test_the_core_of_a_snowball_grows_and_is_left_out_of_the_next_integration(snowball):
    ramp, radius = snowball

    model = search(ramp, expand_large_events=True, snowball_time_masked_next_int=25).model

    assert ((model.groupdq[0, 3:] & SAT) != 0)[:, radius < 6].all()
    assert ((model.groupdq[1] & JUMP) != 0)[1, radius < 4].all()
    assert not ((model.groupdq[1] & JUMP) != 0)[4:, radius < 4].any()


def test_a_snowball_needs_a_full_core(snowball):
    ramp, radius = snowball
    ramp.groupdq[:] = 0

    found = jumps(search(ramp, expand_large_events=True))[0, 3]

    assert not found[(radius > 15) & (radius < 18)].any()


def test_a_shower_is_found_where_no_pixel_alone_is_bright_enough():
    shape = (60, 60)
    ramp = make_ramp(rate=2.0, n_groups=12, shape=shape, seed=3, read_noise=5.0)
    ramp.data[0, 6:, 20:40, 20:40] += 12.0  # under two sigma in a pixel

    alone = jumps(search(ramp, readnoise=7.0))[0, 6, 22:38, 22:38].mean()
    found = jumps(search(ramp, readnoise=7.0, find_showers=True, time_masked_after_shower=0.0))[
        0, 6, 22:38, 22:38
    ].mean()

    assert alone < 0.2
    assert found > 0.7


# -- how many -------------------------------------------------------------------------------


def test_cosmic_rays_are_counted_per_pixel_and_time():
    # physics: two rays in 6 x 8 pixels, seven times ten seconds
    ramp = make_ramp(rate=2.0, jumps=[(0, 2, 3, 4, 60.0), (0, 5, 1, 1, 60.0)])

    outcome = search(ramp)

    rate = outcome.model.meta.get("exposure.primary_cosmic_rays")
    assert rate == pytest.approx(1000 * 2 / (7 * 10.0 * 48))


def test_neighbours_are_not_counted():
    ramp = make_ramp(rate=1.0, jumps=[(0, 4, 3, 4, 500.0)])

    outcome = search(ramp)

    assert jumps(outcome).sum() == 5
    rate = outcome.model.meta.get("exposure.primary_cosmic_rays")
    assert rate == pytest.approx(1000 / (7 * 10.0 * 48))


def test_every_cosmic_ray_is_counted_once_however_the_frame_is_cut():
    ramp = make_ramp(rate=2.0, shape=(40, 8), jumps=[(0, 2, y, 4, 60.0) for y in range(0, 40, 3)])
    counts = []
    for height in (40, 7, 3):
        step = DetectJumps()
        stage = Stage(step, "jump", {n: make_reference(n, ramp, 2.0) for n in step.references})

        through_bands(ramp, [stage], height=height, threads=2)

        counts.append(stage.counts)

    assert counts == [{"jumps": 14, "differences": 7 * 320}] * 3


def test_large_events_are_counted_where_they_are_looked_for():
    ramp = make_ramp(rate=2.0, shape=(64, 64))
    y, x = np.mgrid[:64, :64]
    ramp.groupdq[0, 3][np.hypot(y - 32, x - 32) < 6] |= JUMP
    ramp.groupdq[0, 3:, 31:34, 31:34] = SAT

    plain = search(ramp).model.meta
    found = search(ramp, expand_large_events=True).model.meta

    assert plain.get("exposure.extended_emission_events") is None
    events = found.get("exposure.extended_emission_events")
    assert events == pytest.approx(1e6 / (7 * 10.0 * 64 * 64))
    assert found.get("exposure.primary_cosmic_rays") == plain.get("exposure.primary_cosmic_rays")


def test_the_count_is_in_products_written_while_they_are_computed(tmp_path):
    ramp = make_ramp(rate=2.0, jumps=[(0, 2, 3, 4, 60.0), (0, 5, 1, 1, 60.0)])

    outcome = DetectJumps().run(
        ramp.save(tmp_path / "a_ramp.fits"),
        override_gain=make_reference("gain", ramp, 1.5),
        override_readnoise=make_reference("readnoise", ramp, 7.0),
        output_dir=tmp_path,
        save_results=True,
    )

    written = models.open(outcome.written[0])
    rate = written.meta.get("exposure.primary_cosmic_rays")
    assert rate == pytest.approx(1000 * 2 / (7 * 10.0 * 48))
