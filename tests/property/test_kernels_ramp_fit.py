"""The ramp fits equal their readable twins, also on bands, and know the rates that made the ramps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.errors import ShapeError, UnknownNameError, UsageError
from lightmill.kernels import ramp_fit
from lightmill.kernels._reference import ramp_fit as plain

PLANES = ("slope", "err", "dq", "var_poisson", "var_rnoise")


@st.composite
def exposures(draw, *, max_groups=14, min_groups=1):
    """Ramps with jumps, saturation, charge migration, bad groups, bad gains and no noise."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    nints, ngroups, ny, nx = shape = (
        draw(st.integers(1, 3)),
        draw(st.integers(min_groups, max_groups)),
        draw(st.integers(1, 4)),
        draw(st.integers(1, 70)),
    )
    gain = rng.uniform(1, 4, (ny, nx)).astype(np.float32)
    gain[rng.random((ny, nx)) < 0.05] = rng.choice([np.nan, 0, -1])
    readnoise = rng.uniform(5, 20, (ny, nx)).astype(np.float32)
    readnoise[rng.random((ny, nx)) < 0.03] = 0
    charge = rng.poisson(np.exp(rng.uniform(-2, 7, (ny, nx))), shape).astype(float)
    charge += (rng.random(shape) < 0.05) * np.exp(rng.uniform(2, 9, shape))
    data = charge.cumsum(axis=1) / 2 + rng.normal(0, 8, shape)
    data[rng.random(shape) < draw(st.sampled_from([0, 0, 0.01]))] = np.nan
    group = np.arange(ngroups)[:, None, None]
    onset = rng.integers(0, 6 * ngroups, (nints, 1, ny, nx))
    groupdq = np.where(group >= onset, 2, 0).astype(np.uint8)
    onset = rng.integers(0, 10 * ngroups, (nints, 1, ny, nx))
    groupdq |= np.where(group >= onset, np.uint8(129), 0)
    flagged = rng.random(shape) < draw(st.sampled_from([0, 0.02, 0.3]))
    groupdq |= np.where(flagged, rng.choice(np.uint8([1, 4, 4, 5, 32]), shape), 0)
    if draw(st.booleans()):
        groupdq[:, : ngroups // 4] |= 1  # for all pixels, as when the first groups are bad
    pixeldq = rng.choice(np.uint32([0, 0, 0, 1, 1024]), (ny, nx))
    dark = rng.uniform(0, 0.1, (ny, nx)).astype(np.float32)
    return data.astype(np.float32), groupdq, pixeldq, gain, readnoise, dark


@st.composite
def read_patterns(draw, ngroups):
    """Times of one to four reads in each group, with gaps of none to three reads between."""
    times, now = [], 0.0
    for _ in range(ngroups):
        reads = now + 2.0 * np.arange(1, 1 + draw(st.integers(1, 4)))
        times.append(reads)
        now = reads[-1] + 2.0 * draw(st.integers(0, 3))
    return times


@st.composite
def ols_options(draw, ngroups):
    first = draw(st.integers(0, ngroups - 1))
    return {
        "group_time": 10.0,
        "frame_time": 2.0,
        "nframes": draw(st.sampled_from([1, 4])),
        "suppress_one_group": draw(st.booleans()),
        "weighting": draw(st.sampled_from(["optimal", "uniform"])),
        "variances": draw(st.sampled_from(["bound", "estimate"])),
        "dark_in": draw(st.sampled_from(["e", "dn"])),
        "first_group": draw(st.sampled_from([0, first])),
        "last_group": draw(st.sampled_from([None, draw(st.integers(first, ngroups - 1))])),
        "group_times": draw(st.sampled_from([None, np.cumsum(np.linspace(5, 15, ngroups))])),
    }


def assert_same(fit, expected, planes=PLANES, rtol=2e-5):
    for prefix in ("", "int_"):
        np.testing.assert_array_equal(getattr(fit, prefix + "dq"), expected[prefix + "dq"])
        atol = 1e-6 + 2e-5 * expected[prefix + "err"]
        for name in set(planes) - {"dq"}:
            a, b = getattr(fit, prefix + name).astype(float), expected[prefix + name].astype(float)
            np.testing.assert_array_equal(np.isnan(a), np.isnan(b), err_msg=prefix + name)
            close = np.abs(a - b) <= rtol * np.abs(b) + (atol if name == "slope" else 0)
            assert (close | np.isnan(a)).all(), (prefix + name, a[~close], b[~close])


@given(exposures(), st.data())
def test_least_squares_equals_its_readable_twin(case, choice):
    options = choice.draw(ols_options(case[0].shape[1]))
    if choice.draw(st.booleans()):
        shape = (case[0].shape[0], *case[0].shape[2:])
        options["zeroframe"] = np.full(shape, 17, np.float32) * (np.arange(shape[-1]) % 3 > 0)
        options["zeroframe"] = options["zeroframe"].astype(np.float32)

    fit = ramp_fit.fit_ramps(*case, **options)
    expected = plain.fit_ramps(*case, **options)

    # a pixel whose signal to noise ratio rounds to the edge of a class of weights may differ
    assert_same(fit, expected)


@given(exposures(), st.data())
def test_a_band_gives_the_bits_of_the_frame(case, choice):
    data, groupdq, *maps = case
    options = choice.draw(ols_options(data.shape[1]))
    first = choice.draw(st.integers(0, data.shape[2] - 1))
    rows = slice(first, choice.draw(st.integers(first + 1, data.shape[2])))

    whole = ramp_fit.fit_ramps(*case, **options)
    out = ramp_fit.empty_fit(data.shape[0], *data.shape[2:])
    cut = ramp_fit.RampFit(*(None if a is None else a[..., rows, :] for a in out))
    ramp_fit.fit_ramps(
        data[:, :, rows], groupdq[:, :, rows], *(m[rows] for m in maps), out=cut, **options
    )

    for a, b in zip(cut[:10], whole[:10], strict=True):
        np.testing.assert_array_equal(a.view(np.uint32), b[..., rows, :].view(np.uint32))


@given(exposures(), st.booleans())
def test_a_rate_is_missing_exactly_where_it_must_not_be_used(case, likelihood):
    if likelihood and case[0].shape[1] < 2:
        return
    fit = (ramp_fit.fit_ramps_likelihood if likelihood else ramp_fit.fit_ramps)(
        *case, group_time=3.0
    )

    for slope, err, dq in ((fit.slope, fit.err, fit.dq), (fit.int_slope, fit.int_err, fit.int_dq)):
        np.testing.assert_array_equal(np.isnan(slope), (dq & 1) != 0)
        assert (err[np.isnan(slope)] == 0).all()
        assert (err >= 0).all()


@given(exposures(min_groups=2, max_groups=9), st.data())
def test_the_likelihood_fit_equals_its_dense_twin(case, choice):
    options = {
        "read_times": choice.draw(read_patterns(case[0].shape[1])),
        "jump_masks": choice.draw(st.sampled_from(["auto", "both"])),
        "dark_in": choice.draw(st.sampled_from(["e", "dn"])),
    }

    fit = ramp_fit.fit_ramps_likelihood(*case, **options)
    expected = plain.fit_ramps_likelihood(*case, **options)

    assert_same(fit, expected, rtol=1e-4)
    np.testing.assert_allclose(fit.chisq, expected["chisq"], rtol=1e-4, atol=1e-3)


def steady(rate, *, ngroups=8, npixels=4096, noise=10.0, gain=2.0, seed=1, reads=1):
    rng = np.random.default_rng(seed)
    electrons = rng.poisson(
        rate * gain * 10.0 / reads, (1, ngroups * reads, 16, npixels // 16)
    ).cumsum(axis=1)
    values = electrons / gain + rng.normal(0, noise / 2**0.5, electrons.shape)
    data = values.reshape(1, ngroups, reads, 16, -1).mean(axis=2).astype(np.float32)
    one = np.ones(data.shape[2:], np.float32)
    return data, np.zeros(data.shape, np.uint8), one.astype(np.uint32) * 0, gain * one, noise * one


@pytest.mark.parametrize("rate", [0.0, 0.5, 5.0, 200.0])
@pytest.mark.parametrize("likelihood", [False, True])
def test_the_error_is_the_scatter_of_the_rates(rate, likelihood):
    # physics: 4096 pixels see the same light; the scatter of their rates is what the error claims
    case = steady(rate)

    if likelihood:
        fit = ramp_fit.fit_ramps_likelihood(*case, group_time=10.0)
    else:
        fit = ramp_fit.fit_ramps(*case, group_time=10.0, variances="estimate")

    assert abs(fit.slope.mean() - rate) < 4 * fit.slope.std() / 64 + 0.03 * fit.err.mean()
    assert np.sqrt(np.mean(fit.err**2)) == pytest.approx(fit.slope.std(), rel=0.06)


def test_the_likelihood_fit_has_the_chi_squared_of_its_degrees_of_freedom():
    for reads in (1, 4):
        fit = ramp_fit.fit_ramps_likelihood(
            *steady(20.0, reads=reads), group_time=10.0, nframes=reads
        )

        # physics: 7 differences, one rate
        assert fit.chisq.mean() == pytest.approx(6.0, rel=0.06)


def test_no_fit_of_a_steady_ramp_is_better_than_the_likelihood_fit():
    for rate in (0.2, 5.0, 100.0):
        case = steady(rate)
        likely = ramp_fit.fit_ramps_likelihood(*case, group_time=10.0).slope.std()
        weighted = ramp_fit.fit_ramps(*case, group_time=10.0).slope.std()
        uniform = ramp_fit.fit_ramps(*case, group_time=10.0, weighting="uniform").slope.std()

        assert likely < 1.01 * min(weighted, uniform)


def test_a_jump_is_left_out_and_flagged_where_it_happened():
    data, groupdq, *maps = steady(5.0)
    data[0, 5:] += 2000

    fit = ramp_fit.fit_ramps_likelihood(data, groupdq, *maps, group_time=10.0, flag_groups=True)

    assert (groupdq[0, 5] & 4).all()
    assert (fit.dq == 4).all()
    assert fit.slope.mean() == pytest.approx(5.0, abs=0.05)


@given(st.integers(3, 12), st.integers(1, 11), st.floats(-50, 5000))
def test_a_line_gives_its_slope_whatever_jumps_lie_between(ngroups, jump, rate):
    # physics: no noise, one step of charge
    jump = min(jump, ngroups - 1)
    data = (rate * 10.0 * np.arange(1, ngroups + 1)).astype(np.float32)
    data = data.reshape(1, ngroups, 1, 1)
    data[0, jump:] += 777
    groupdq = np.zeros(data.shape, np.uint8)
    groupdq[0, jump] = 4
    one = np.ones((1, 1), np.float32)

    for fit_ramps in (ramp_fit.fit_ramps, ramp_fit.fit_ramps_likelihood):
        fit = fit_ramps(data, groupdq, np.zeros((1, 1), np.uint32), one, 10 * one, group_time=10.0)

        assert fit.slope[0, 0] == pytest.approx(rate, rel=1e-4, abs=0.01)


@given(exposures(), st.data())
def test_asking_for_segments_changes_no_bit_of_the_rates(case, choice):
    options = choice.draw(ols_options(case[0].shape[1]))

    plain_fit = ramp_fit.fit_ramps(*case, **options)
    fit = ramp_fit.fit_ramps(*case, segments=True, **options)

    for a, b in zip(fit[:10], plain_fit[:10], strict=True):
        np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


def test_segments_report_the_step_and_the_lines_on_its_sides():
    data = (100 + 30.0 * np.arange(8)).astype(np.float32).reshape(1, 8, 1, 1)
    data[0, 5:] += 1000
    groupdq = np.zeros(data.shape, np.uint8)
    groupdq[0, 5] = 4
    one = np.ones((1, 1), np.float32)

    segments = ramp_fit.fit_ramps(
        data, groupdq, np.zeros((1, 1), np.uint32), one, 10 * one, group_time=10.0, segments=True
    ).segments

    np.testing.assert_allclose(segments.slope[0, :, 0, 0], [3, 3], rtol=1e-5)
    np.testing.assert_allclose(segments.yint[0, :, 0, 0], [100, 1100], rtol=1e-4)
    assert segments.crmag[0, 0, 0, 0] == 1030
    assert segments.pedestal[0, 0, 0] == pytest.approx(70)


def test_what_cannot_be_is_refused():
    data, groupdq, *maps = steady(5.0, npixels=16)
    for arguments in ({"weighting": "guess"}, {"variances": "guess"}, {"dark_in": "guess"}):
        with pytest.raises(UnknownNameError):
            ramp_fit.fit_ramps(data, groupdq, *maps, group_time=1.0, **arguments)
    with pytest.raises(ShapeError):
        ramp_fit.fit_ramps(data, groupdq, *maps, group_time=1.0, group_times=[1.0])
    with pytest.raises(ShapeError):
        ramp_fit.fit_ramps(data, groupdq, maps[0][1:], *maps[1:], group_time=1.0)
    with pytest.raises(UsageError):
        ramp_fit.fit_ramps(data, groupdq, *maps, group_time=0.0)
    with pytest.raises(UsageError):
        ramp_fit.fit_ramps(data, groupdq, *maps, group_time=1.0, first_group=8)
    with pytest.raises(UsageError):
        ramp_fit.fit_ramps_likelihood(data, groupdq, *maps)
    with pytest.raises(UsageError):
        ramp_fit.fit_ramps_likelihood(data, groupdq, *maps, read_times=[[1.0]] * 8)
    with pytest.raises(ShapeError):
        ramp_fit.fit_ramps_likelihood(data, groupdq, *maps, read_times=[[1.0], [2.0]])
