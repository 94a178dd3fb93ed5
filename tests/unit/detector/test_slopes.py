import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lightmill import models
from lightmill.detector import FitRamps, ScaleGain
from lightmill.errors import DataError
from lightmill.kernels import ramp_fit
from lightmill.models import FitOptModel, RateIntsModel, RateModel
from lightmill.models.dq import PIXEL
from lightmill.pipeline import Status
from lightmill.pipeline.bands import Stage, through_bands
from lightmill.testing import make_ramp, make_reference, ramps

DNU, SAT, JUMP = PIXEL["DO_NOT_USE"], PIXEL["SATURATED"], PIXEL["JUMP_DET"]


def fit(ramp, gain=1.5, readnoise=7.0, **parameters):
    return FitRamps(**parameters).run(
        ramp,
        override_gain=make_reference("gain", ramp, gain),
        override_readnoise=make_reference("readnoise", ramp, readnoise),
    )


@pytest.mark.parametrize("algorithm", ["OLS_C", "LIKELY"])
def test_a_steady_source_gives_its_own_count_rate(algorithm):
    ramp = make_ramp(rate=12.0, n_groups=8, group_time=10.0, n_ints=2, pedestal=500.0)

    outcome = fit(ramp, algorithm=algorithm)

    # 500 DN of pedestal leave 24 bits of 1500 DN: 1e-5 of the rate
    assert_allclose(outcome.models["rate"].data, 12.0, rtol=1e-4)
    assert_allclose(outcome.models["rateints"].data, 12.0, rtol=1e-4)
    assert outcome.models["rateints"].data.shape == (2, 6, 8)
    assert isinstance(outcome.models["rate"], RateModel)
    assert isinstance(outcome.models["rateints"], RateIntsModel)
    assert not outcome.models["rate"].dq.any()


def test_read_noise_alone_gives_the_error_of_a_straight_line():
    # theory: var(slope) = 12 sigma^2 / (n (n^2 - 1) t^2), sigma of one read (Fowler & Gatley 1990)
    ramp = make_ramp(rate=0.0, n_groups=8, group_time=10.0)

    rate = fit(ramp, readnoise=7.0).models["rate"]

    assert_allclose(rate.var_rnoise, 12 * (7.0**2 / 2) / (8 * 63 * 100), rtol=1e-3)
    assert_allclose(rate.var_poisson, 0.0, atol=1e-6)


def test_photon_noise_alone_gives_the_error_of_two_points():
    # theory: without read noise only the first and last group count: var = rate / (gain T)
    ramp = make_ramp(rate=100.0, n_groups=8, group_time=10.0)

    rate = fit(ramp, gain=2.0, readnoise=0.01).models["rate"]

    assert_allclose(rate.var_poisson, 100.0 / (2.0 * 70.0), rtol=0.02)


def test_variances_add_up():
    ramp = make_ramp(rate=50.0, seed=3, shape=(20, 20))

    rate = fit(ramp).models["rate"]

    assert_allclose(rate.err**2, rate.var_poisson + rate.var_rnoise, rtol=1e-5)


@pytest.mark.parametrize("algorithm", ["OLS_C", "LIKELY"])
def test_the_errors_are_those_that_the_rates_scatter_with(algorithm):
    ramp = make_ramp(rate=20.0, n_groups=10, shape=(120, 120), read_noise=5.0, gain=1.5, seed=5)

    rate = fit(ramp, gain=1.5, readnoise=5.0 * np.sqrt(2), algorithm=algorithm).models["rate"]

    pulls = (rate.data - 20.0) / rate.err
    # 14400 pulls: mean known to 0.008, scatter to 0.006; the errors themselves scatter by a few %
    assert abs(pulls.mean()) < 0.05
    assert abs(pulls.std() - 1) < 0.05


@pytest.mark.parametrize("algorithm", ["OLS_C", "LIKELY"])
def test_a_jump_that_was_found_does_not_bias_the_rate(algorithm):
    ramp = make_ramp(rate=5.0, n_groups=10, jumps=[(0, 4, 2, 3, 5000.0)])
    ramp.groupdq[0, 4, 2, 3] = JUMP

    rate = fit(ramp, algorithm=algorithm).models["rate"]

    assert_allclose(rate.data[2, 3], 5.0, rtol=1e-3)
    assert rate.dq[2, 3] & JUMP
    assert rate.err[2, 3] > rate.err[0, 0]


def test_groups_that_are_full_do_not_bias_the_rate():
    rate = np.full((6, 8), 1.0)
    rate[2, 3] = 1200.0
    ramp = make_ramp(rate, saturate=50000.0)

    image = fit(ramp).models["rate"]

    assert_allclose(image.data[2, 3], 1200.0, rtol=1e-4)
    assert image.dq[2, 3] & SAT


def test_a_pixel_full_from_the_start_has_no_rate():
    ramp = make_ramp(rate=1.0)
    ramp.groupdq[:, :, 1, 1] = SAT

    image = fit(ramp).models["rate"]

    assert np.isnan(image.data[1, 1])
    assert image.dq[1, 1] & DNU


def test_a_gain_that_is_no_positive_number_leaves_a_flag():
    ramp = make_ramp()
    gain = np.full((6, 8), 1.5)
    gain[0, 0], gain[0, 1] = np.nan, -1.0

    image = fit(ramp, gain=gain).models["rate"]

    wanted = PIXEL["NO_GAIN_VALUE"] | DNU
    assert np.all((image.dq[0, :2] & wanted) == wanted)
    assert not image.dq[1:].any()


def test_groups_can_be_left_out_by_the_user():
    ramp = make_ramp(rate=5.0, n_groups=10)
    ramp.data[:, 0] += 1000.0
    ramp.data[:, 8:] += 700.0

    image = fit(ramp, firstgroup=1, lastgroup=7).models["rate"]

    assert_allclose(image.data, 5.0, rtol=1e-4)


def test_the_time_between_groups_can_be_given():
    ramp = make_ramp(rate=5.0, group_time=10.0)
    ramp.meta.exposure.group_time = None

    image = fit(ramp, group_time=20.0).models["rate"]

    assert_allclose(image.data, 2.5, rtol=1e-4)


@pytest.mark.parametrize("time", [None, 0.0, -3.0, np.inf])
def test_a_time_between_groups_that_cannot_be_is_an_error(time):
    ramp = make_ramp()
    ramp.meta.exposure.group_time = time

    with pytest.raises(DataError, match="TGROUP"):
        fit(ramp)


def test_a_ramp_without_two_usable_groups_anywhere_is_an_error():
    ramp = make_ramp(n_groups=4)
    ramp.groupdq[:, :3] = DNU

    with pytest.raises(DataError, match="fewer than two groups"):
        fit(ramp)


def test_one_group_alone_gives_a_rate():
    ramp = make_ramp(rate=5.0, n_groups=1, group_time=10.0)

    image = fit(ramp, suppress_one_group=False).models["rate"]

    assert_allclose(image.data, 5.0, rtol=1e-5)


def test_the_ramp_given_is_not_changed():
    ramp = make_ramp(seed=2)
    ramp.groupdq[:, 3] = JUMP
    before = ramp.copy()

    fit(ramp, firstgroup=1)

    assert_array_equal(ramp.data, before.data)
    assert_array_equal(ramp.groupdq, before.groupdq)
    assert_array_equal(ramp.pixeldq, before.pixeldq)


@given(ramps(flagged=False), st.floats(0.5, 20.0))
def test_a_brighter_pedestal_changes_nothing(ramp, level):
    if ramp.data.shape[1] < 2:
        return
    higher = ramp.evolve(data=ramp.data + np.float32(level))

    low, high = fit(ramp).models["rate"], fit(higher).models["rate"]

    # rounding to float32 of the ramp, over its length
    scale = 4e-7 * np.abs(ramp.data).max() / ramp.meta.exposure.group_time + 1e-5
    finite = np.isfinite(low.data)
    assert_allclose(high.data[finite], low.data[finite], rtol=2e-3, atol=20 * scale)


@given(ramps())
def test_the_order_of_integrations_does_not_matter(ramp):
    if ramp.data.shape[1] < 2:
        return
    turned = ramp.evolve(data=ramp.data[::-1].copy(), groupdq=ramp.groupdq[::-1].copy())
    try:
        straight = fit(ramp).models
    except DataError:
        return

    reverse = fit(turned).models

    assert_array_equal(reverse["rateints"].data, straight["rateints"].data[::-1])
    # the sum over integrations is rounded in another order
    assert_allclose(reverse["rate"].data, straight["rate"].data, rtol=1e-4, atol=1e-6)


@given(ramps())
def test_every_rate_has_an_error_and_what_has_none_is_flagged(ramp):
    try:
        image = fit(ramp).models["rate"]
    except DataError:
        return

    known = np.isfinite(image.data)
    assert np.all(image.dq[~known] & DNU)
    assert np.all(image.err[known] >= 0)


# -- gain_scale -----------------------------------------------------------------------------


@pytest.fixture
def image():
    return fit(make_ramp(rate=4.0)).models["rate"]


def test_rates_are_scaled_by_the_factor_and_variances_by_its_square(image):
    image.meta.exposure.gain_factor = 2.0

    scaled = ScaleGain().run(image).model

    assert_allclose(scaled.data, 2 * image.data)
    assert_allclose(scaled.err, 2 * image.err)
    assert_allclose(scaled.var_poisson, 4 * image.var_poisson)
    assert_allclose(scaled.var_rnoise, 4 * image.var_rnoise)


def test_without_a_factor_nothing_is_done(image):
    outcome = ScaleGain().run(image)

    assert outcome.status is Status.SKIPPED
    assert_array_equal(outcome.model.data, image.data)


@pytest.fixture
def segments(tmp_path):
    """The fit of the segments of a ramp, saved and opened."""

    def segments(ramp, name="fitopt", **parameters):
        outcome = fit(ramp, save_opt=True, output_dir=tmp_path, **parameters)
        (path,) = outcome.written
        assert path.name.endswith(f"_{name}.fits")
        return models.open(path), outcome

    return segments


def test_the_line_of_each_segment_is_saved(segments):
    # physics: 10 DN/s, and 500 DN from a cosmic ray before group 4 of one pixel
    ramp = make_ramp(rate=10.0, n_ints=2, pedestal=100.0, jumps=[(1, 4, 2, 3, 500.0)])
    ramp.groupdq[1, 4, 2, 3] |= JUMP

    fitted, _ = segments(ramp)

    assert isinstance(fitted, FitOptModel)
    assert fitted.slope.shape == (2, 2, 6, 8)
    assert_allclose(fitted.slope[1, :, 2, 3], 10.0, rtol=1e-4)
    assert_allclose(fitted.yint[1, :, 2, 3], [200, 700], rtol=1e-4)
    assert_allclose(fitted.pedestal, 100.0, rtol=1e-4)
    assert fitted.crmag[1, 0, 2, 3] == pytest.approx(600)  # the ray, and what fell in a group
    others = np.ones((2, 6, 8), bool)
    others[1, 2, 3] = False
    assert not fitted.slope[:, 1][others].any()
    assert not fitted.crmag[:, 0][others].any()


def test_the_segments_make_the_rate_of_their_integration(segments):
    ramp = make_ramp(rate=10.0, seed=5, jumps=[(0, 4, 2, 3, 500.0)])
    ramp.groupdq[0, 4, 2, 3] |= JUMP

    fitted, outcome = segments(ramp)

    weights, slopes = fitted.weights[0].astype(float), fitted.slope[0].astype(float)
    mean = (weights * slopes).sum(axis=0) / weights.sum(axis=0)
    assert_allclose(outcome.models["rateints"].data[0], mean, rtol=1e-4)


def test_the_errors_of_a_segment_are_what_read_noise_does_to_its_line(segments):
    # theory: of unweighted least squares of n points, sigma in the slope and at the first point
    ramp = make_ramp(rate=0.0, n_groups=8, group_time=10.0)

    fitted, _ = segments(ramp, readnoise=7.0)

    sigma, n = 7.0 / np.sqrt(2), 8
    assert_allclose(fitted.sigslope, sigma / 10.0 * np.sqrt(12 / (n**3 - n)), rtol=1e-5)
    assert_allclose(fitted.sigyint, sigma * np.sqrt((4 * n - 2) / (n * (n + 1))), rtol=1e-5)


@given(rate=st.floats(0, 3000))
def test_the_error_of_a_weighted_slope_is_not_below_the_best_one(rate):
    ramp = make_ramp(rate=rate, n_groups=8, group_time=10.0, shape=(1, 1))
    arrays = (ramp.data, ramp.groupdq, ramp.pixeldq, *np.full((2, 1, 1), [[[1.5]], [[7.0]]], "f4"))

    found = ramp_fit.fit_ramps(*arrays, group_time=10.0, segments=True).segments

    # theory: equal weights are best against read noise (Gauss & Markov)
    assert found.sigslope[0, 0, 0, 0] >= np.sqrt(found.var_rnoise[0, 0, 0, 0]) * (1 - 1e-6)


def test_the_signal_at_the_reset_does_not_need_the_first_group(segments):
    ramp = make_ramp(rate=10.0, pedestal=300.0)
    ramp.groupdq[:, 0] |= DNU
    ramp.groupdq[:, 1, 2, 3] |= DNU

    fitted, _ = segments(ramp)

    assert_allclose(fitted.pedestal, 300.0, rtol=1e-4)


def test_segments_are_the_same_however_the_frame_is_cut():
    ramp = make_ramp(rate=10.0, shape=(40, 8), seed=2, jumps=[(0, 4, 33, 3, 500.0)])
    ramp.groupdq[0, 4, 33, 3] |= JUMP
    ramp.groupdq[0, 2, 5, 5] |= JUMP
    ramp.groupdq[0, 5, 5, 5] |= JUMP

    def fitted(height):
        step = FitRamps(save_opt=True)
        stage = Stage(step, "ramp_fit", {n: make_reference(n, ramp, 2.0) for n in step.references})
        through_bands(ramp, [stage], height=height, threads=2)
        return stage.beside["fitopt"].copy()

    whole, bands = fitted(40), fitted(7)
    for name in whole.arrays:
        assert_array_equal(getattr(whole, name), getattr(bands, name))
    assert whole.slope.shape == (1, 3, 40, 8)


def test_the_likelihood_fit_saves_how_well_lines_fit(segments):
    # physics: noise as it is said to be: chi squared of 7 differences less 1 parameter
    ramp = make_ramp(rate=50.0, seed=3, shape=(40, 40), gain=1.5, read_noise=7.0 / np.sqrt(2))

    fitted, _ = segments(ramp, "likely_chisq", algorithm="LIKELY")

    # 1600 pixels: the mean of chi squared is known to sqrt(2 * 6 / 1600) = 0.09
    assert fitted.data.mean() == pytest.approx(6.0, abs=0.3)
    assert not fitted.unit("data") or "BUNIT" not in fitted.foreign.headers[("SCI", 1)]


def test_with_too_few_groups_the_segments_are_saved_instead(segments):
    fitted, _ = segments(make_ramp(rate=10.0, n_groups=3), algorithm="LIKELY")

    assert_allclose(fitted.slope, 10.0, rtol=1e-4)


def test_the_product_of_segments_can_have_a_name_of_its_own(segments):
    _, outcome = segments(make_ramp(rate=10.0), opt_name="mine.fits")

    assert outcome.written[0].name == "mine_fitopt.fits"


def test_without_save_opt_nothing_is_saved_beside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert not fit(make_ramp(rate=10.0)).written
    assert not list(tmp_path.iterdir())


def test_a_ramp_of_one_group_gives_its_signal_over_the_time():
    # physics: 120 DN fell in the 10 s before the only group was read
    ramp = make_ramp(rate=12.0, n_groups=1, group_time=10.0, read_noise=0.0, pedestal=0.0)

    image = fit(ramp).models["rate"]

    # physics: there is nothing better than signal over time; one group is not "left over" here
    assert_allclose(np.median(image.data), 12.0, rtol=0.1)  # photon noise of 180 electrons: 7 %
