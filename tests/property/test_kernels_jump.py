"""The jump search equals its readable twin, also on bands, and finds what physics put there."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lightmill.errors import ShapeError, UnknownNameError
from lightmill.kernels import jump
from lightmill.kernels._reference import jump as plain


@st.composite
def ramps(draw, *, max_ints=3, max_groups=14):
    """Noisy ramps with cosmic rays, saturation, bad groups and pixels without gain."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    nints, ngroups, ny, nx = shape = (
        draw(st.integers(1, max_ints)),
        draw(st.integers(2, max_groups)),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 70)),
    )
    gain = rng.uniform(1, 4, (ny, nx)).astype(np.float32)
    gain[rng.random((ny, nx)) < 0.05] = np.nan
    readnoise = rng.uniform(2, 20, (ny, nx)).astype(np.float32)
    charge = rng.poisson(np.exp(rng.uniform(-2, 7, (ny, nx))), shape).astype(float)
    charge += (
        (rng.random(shape) < 0.05) * np.exp(rng.uniform(2, 9, shape)) * rng.choice([-1, 1], shape)
    )
    data = charge.cumsum(axis=1) / 2 + rng.normal(0, 8, shape)
    data[rng.random(shape) < draw(st.sampled_from([0, 0, 0.01]))] = np.nan
    onset = rng.integers(0, 8 * ngroups, (nints, 1, ny, nx))
    groupdq = np.where(np.arange(ngroups)[:, None, None] >= onset, 2, 0).astype(np.uint8)
    flagged = rng.random(shape) < draw(st.sampled_from([0, 0.02, 0.3]))
    groupdq |= np.where(flagged, rng.choice(np.uint8([1, 4, 5, 32, 129]), shape), 0)
    if draw(st.booleans()):
        groupdq[:, 0] |= 1  # for all pixels, as when a detector's first group is bad
    pixeldq = rng.choice(np.uint32([0, 0, 0, 1, 1024]), (ny, nx))
    return data.astype(np.float32), groupdq, pixeldq, gain, readnoise


parameters = st.fixed_dictionaries(
    {
        "nframes": st.sampled_from([1, 4]),
        "method": st.sampled_from(["signed", "peer"]),
        "min_diffs_single_pass": st.sampled_from([5, 10]),
        "min_jump_to_flag_neighbors": st.sampled_from([4.0, 10.0]),
        "after_jump_flag_dn1": st.just(10.0),
        "after_jump_flag_n1": st.integers(0, 2),
        "after_jump_flag_dn2": st.just(500.0),
        "after_jump_flag_n2": st.integers(0, 5),
    }
)


@given(ramps(), parameters, st.booleans())
def test_the_search_equals_its_readable_twin(case, options, uneven):
    data, groupdq, *maps = case
    if uneven:
        times = np.linspace(1, 2, data.shape[1] - 1)
        options = options | {"diff_times": times * 7, "group_time": 7.0}
    fast, slow = groupdq.copy(), groupdq.copy()

    found = jump.flag_jumps(data, fast, *maps, **options)
    if uneven:
        options["diff_times"] = times
    margins = []
    expected = plain.flag_jumps(data, slow, *maps, margins=margins, **options)

    assume(min(margins, default=1) > 1e-3)
    np.testing.assert_array_equal(fast, slow)
    assert found == expected


@given(ramps(max_ints=24, max_groups=4), st.booleans())
def test_clipping_over_integrations_equals_its_readable_twin(case, only_use_ints):
    data, groupdq, *maps = case
    options = {"nframes": 1, "minimum_sigclip_groups": 10, "only_use_ints": only_use_ints}
    fast, slow = groupdq.copy(), groupdq.copy()

    jump.flag_jumps(data, fast, *maps, **options)
    plain.flag_jumps(data, slow, *maps, **options)

    np.testing.assert_array_equal(fast, slow)


@given(ramps(), parameters, st.data())
def test_a_band_with_a_halo_gives_the_bits_of_the_frame(case, options, choice):
    data, groupdq, *maps = case
    ny = data.shape[2]
    first = choice.draw(st.integers(0, ny - 1))
    end = choice.draw(st.integers(first + 1, ny))
    halo = slice(max(first - 1, 0), end + 1)
    options |= {"median_gain": 2.0, "usable_groups": jump.count_usable_groups(groupdq)}
    whole, band = groupdq.copy(), groupdq.copy()

    jump.flag_jumps(data, whole, *maps, **options)
    found = jump.flag_jumps(
        data[:, :, halo],
        band[:, :, halo],
        *(m[halo] for m in maps),
        count_rows=(first - halo.start, end - halo.start),
        **options,
    )

    np.testing.assert_array_equal(band[:, :, first:end], whole[:, :, first:end])
    alone = groupdq.copy()[:, :, first:end]
    rows = slice(first, end)
    assert found == jump.flag_jumps(data[:, :, rows], alone, *(m[rows] for m in maps), **options)


def flat_ramps(ngroups, npixels, seed, *, rate=20.0, noise=8.0):
    rng = np.random.default_rng(seed)
    data = rng.poisson(rate, (1, ngroups, 8, npixels // 8)).cumsum(axis=1)
    data = (data + rng.normal(0, noise, data.shape)).astype(np.float32)
    one = np.ones(data.shape[2:], np.float32)
    return (
        data,
        np.zeros(data.shape, np.uint8),
        one.astype(np.uint32) * 0,
        one,
        one * noise * 2**0.5,
    )


@pytest.mark.parametrize("ngroups", [3, 4, 5, 6, 8, 10, 12, 20])
@pytest.mark.parametrize("noise", [0.5, 30.0])
def test_without_cosmic_rays_the_false_alarm_rate_is_four_sigma(ngroups, noise):
    # physics: steady light, Poisson or read noise dominated, no jump anywhere
    data, groupdq, *maps = flat_ramps(ngroups, 120_000, ngroups, rate=400.0, noise=noise)

    found = jump.flag_jumps(data, groupdq, *maps, nframes=1, flag_4_neighbors=False)

    # physics: 6.3e-5 of the differences lie beyond four sigma; σ is known from a few differences
    # only, and 15 to 140 alarms scatter
    rate = found / (ngroups - 1) / 120_000
    assert 6.3e-5 / 2 < rate < 6.3e-5 * 2


@given(st.integers(4, 12), st.integers(0, 2**32 - 1))
def test_a_jump_of_twenty_sigma_is_found_in_its_group(ngroups, seed):
    data, groupdq, *maps = flat_ramps(ngroups, 64, seed)
    rng = np.random.default_rng(seed)
    hit = rng.integers(1, ngroups, data.shape[2:])
    noise = np.sqrt(20 + 2 * 8.0**2)
    data += np.where(np.arange(ngroups)[:, None, None] >= hit, 20 * noise, 0).astype(np.float32)

    jump.flag_jumps(data, groupdq, *maps, nframes=1, flag_4_neighbors=False)

    assert (np.take_along_axis(groupdq[0], hit[None], axis=0) & 4).all()


def test_a_large_jump_flags_its_four_neighbours_but_not_the_saturated():
    data = np.zeros((1, 6, 3, 3), np.float32)
    data[0, 3:, 1, 1] = 500
    groupdq = np.zeros(data.shape, np.uint8)
    groupdq[0, 3:, 0, 1] = 2
    one = np.ones((3, 3), np.float32)

    jump.flag_jumps(data, groupdq, np.zeros((3, 3), np.uint32), one, 10 * one, nframes=1)

    expected = [[0, 2, 0], [4, 4, 4], [0, 4, 0]]
    np.testing.assert_array_equal(groupdq[0, 3], expected)
    assert not (groupdq[0, [0, 1, 2, 4, 5]] & 4).any()


def test_what_cannot_be_is_refused():
    data, groupdq, *maps = flat_ramps(5, 8, 1)
    with pytest.raises(UnknownNameError):
        jump.flag_jumps(data, groupdq, *maps, nframes=1, method="guess")
    with pytest.raises(ShapeError):
        jump.flag_jumps(data, groupdq[:, 1:], *maps, nframes=1)
    with pytest.raises(ShapeError):
        jump.flag_jumps(data, groupdq, *maps, nframes=1, diff_times=[1, 2])
    with pytest.raises(ShapeError):
        jump.flag_jumps(data[:, :1], groupdq[:, :1], *maps, nframes=1)
