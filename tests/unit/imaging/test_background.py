import numpy as np
import pytest
from astropy.stats import sigma_clip
from numpy.testing import assert_allclose, assert_array_equal

from lightmill.errors import ConfigurationError, DataError
from lightmill.imaging import SubtractBackground, background
from lightmill.imaging.background import clipped_mean
from lightmill.models import Exposures, Member, RateIntsModel, RateModel
from lightmill.models.dq import PIXEL
from lightmill.pipeline import Status
from lightmill.testing import make_ramp

SHAPE = (12, 16)
HOT, DNU = PIXEL["HOT"], PIXEL["DO_NOT_USE"]


def make_rate(level=0.0, noise=0.0, seed=0, shape=SHAPE, var=(0.04, 0.01), **meta):
    dice = np.random.default_rng(seed)
    kind = RateIntsModel if len(shape) == 3 else RateModel

    def plane(number):
        return np.full(shape, number, np.float32)

    rate = kind(
        meta=make_ramp(shape=shape[-2:]).meta,
        data=(level + dice.normal(0, noise, shape)).astype(np.float32),
        err=plane(np.sqrt(sum(var))),
        dq=np.zeros(shape, np.uint32),
        var_poisson=plane(var[0]),
        var_rnoise=plane(var[1]),
    )
    rate.meta.update({"subarray.xstart": 1, "subarray.ystart": 1, "instrument.filter": "RED"})
    rate.meta.update(meta)
    return rate


def together(science, *backgrounds):
    members = [Member(science, "science", "science_rate.fits")]
    members += [Member(one, "background", f"sky{n}_rate.fits") for n, one in enumerate(backgrounds)]
    return Exposures(tuple(members), "science")


def subtracted(science, *backgrounds, **parameters):
    outcome = SubtractBackground(**parameters).run(together(science, *backgrounds))
    model = outcome.model
    return model.science[0] if isinstance(model, Exposures) else model


def test_the_sky_goes_and_the_source_stays():
    science = make_rate(5.0)
    science.data[4, 6] += 100.0

    result = subtracted(science, make_rate(4.0), make_rate(5.0), make_rate(6.0))

    assert_allclose(result.data[4, 6], 100.0)
    assert_allclose(np.delete(result.data, 4 * 16 + 6), 0.0, atol=1e-6)


def test_a_star_in_one_background_does_no_harm():
    backgrounds = [make_rate(5.0, 0.1, seed) for seed in range(14)]
    backgrounds[3].data[2, 2] += 1000.0

    result = subtracted(make_rate(5.0), *backgrounds)

    assert abs(result.data[2, 2]) < 5 * 0.1 / np.sqrt(13)  # five errors of the mean of the others


def test_the_noise_of_the_mean_adds_to_that_of_the_exposure():
    # physics: variances of 4 backgrounds of the same noise, a quarter of each remains
    result = subtracted(make_rate(5.0), *[make_rate(5.0, seed=n) for n in range(4)])

    assert_allclose(result.var_poisson, 0.04 * (1 + 1 / 4), rtol=1e-6)
    assert_allclose(result.var_rnoise, 0.01 * (1 + 1 / 4), rtol=1e-6)
    assert_allclose(result.err, np.sqrt(0.05 * 5 / 4), rtol=1e-6)


def test_errors_are_as_large_as_what_is_left():
    shape = (64, 64)
    noise = np.sqrt(0.05)
    backgrounds = [make_rate(5.0, noise, seed, shape) for seed in range(1, 4)]

    result = subtracted(make_rate(5.0, noise, 99, shape), *backgrounds)

    # the standard deviation of 4096 pulls is known to 1.1 %
    assert_allclose((result.data / result.err).std(), 1.0, atol=0.05)


def test_errors_stay_where_that_is_wanted():
    result = subtracted(make_rate(5.0), make_rate(5.0), errors=False)

    assert_allclose(result.var_poisson, 0.04)
    assert_allclose(result.err, np.sqrt(0.05), rtol=1e-6)


def test_flags_of_backgrounds_are_passed_on():
    first, second = make_rate(5.0), make_rate(5.0)
    first.dq[1, 1] = HOT
    science = make_rate(5.0)
    science.dq[2, 2] = PIXEL["JUMP_DET"]

    result = subtracted(science, first, second)

    assert result.dq[1, 1] == HOT
    assert result.dq[2, 2] == PIXEL["JUMP_DET"]
    assert np.count_nonzero(result.dq) == 2


def test_a_bad_pixel_of_one_background_is_left_out():
    first, second = make_rate(5.0), make_rate(7.0)
    second.dq[1, 1] = DNU
    second.data[1, 1] = 1e6

    result = subtracted(make_rate(5.0), first, second)

    assert result.dq[1, 1] == 0
    assert_allclose(result.data[1, 1], 0.0)
    assert_allclose(result.data[0, 0], -1.0)
    assert_allclose(result.var_rnoise[1, 1], 0.02, rtol=1e-6)


def test_a_bad_pixel_of_one_background_is_used_where_that_is_wanted():
    first, second = make_rate(5.0), make_rate(7.0)
    second.dq[1, 1] = DNU

    result = subtracted(make_rate(5.0), first, second, flagged=True)

    assert result.dq[1, 1] == DNU
    assert_allclose(result.data[1, 1], -1.0)


@pytest.mark.parametrize("value", [np.nan, 5.0])
def test_a_pixel_without_background_must_not_be_used(value):
    sky = make_rate(5.0)
    sky.data[3, 3] = value
    sky.dq[3, 3] = 0 if np.isnan(value) else DNU

    result = subtracted(make_rate(5.0), sky)

    assert result.dq[3, 3] == DNU
    assert_allclose(result.data[3, 3], 5.0)


def test_integrations_of_a_background_are_one_exposure():
    cube = make_rate(5.0, shape=(5, *SHAPE))
    cube.data[2, 1, 1] = (
        5e3  # clipped only if many are compared, so here it is left out by its flag
    )
    cube.dq[2, 1, 1] = DNU

    result = subtracted(make_rate(5.0), cube, make_rate(7.0))

    assert_allclose(result.data, -1.0, rtol=1e-6)
    # 0.01/5 of the mean of five integrations and 0.01 of the other, both by 4, and the exposure's own
    assert_allclose(result.var_rnoise[0, 0], 0.01 + (0.01 / 5 + 0.01) / 4, rtol=1e-6)


def test_integrations_of_the_exposure_lose_the_same_background():
    result = subtracted(make_rate(5.0, shape=(3, *SHAPE)), make_rate(4.0))

    assert result.data.shape == (3, *SHAPE)
    assert_allclose(result.data, 1.0)


def test_a_subarray_takes_its_part_of_full_backgrounds():
    full = make_rate(0.0)
    full.data[:] = np.arange(full.data.size).reshape(SHAPE)
    window = make_rate(0.0, shape=(4, 6), **{"subarray.xstart": 4, "subarray.ystart": 3})

    result = subtracted(window, full)

    assert_array_equal(result.data, -full.data[2:6, 3:9])


def test_tiles_give_what_the_whole_gives(monkeypatch):
    science = make_rate(5.0, 0.3, 50)
    backgrounds = [make_rate(5.0, 0.2, seed) for seed in range(6)]
    whole = subtracted(science, *backgrounds)

    monkeypatch.setattr(background, "TILE_BYTES", 8 * 16 * 6 * 5)
    tiled = subtracted(science, *backgrounds)

    assert_array_equal(tiled.data, whole.data)
    assert_array_equal(tiled.err, whole.err)


def test_without_backgrounds_nothing_happens():
    outcome = SubtractBackground().run(make_rate(5.0))

    assert outcome.status is Status.SKIPPED
    assert_allclose(outcome.model.data, 5.0)


def test_backgrounds_named_by_the_user_are_taken(tmp_path):
    path = make_rate(4.0).save(tmp_path / "sky_rate.fits")

    result = SubtractBackground(bkg_list=[str(path)]).run(make_rate(5.0)).model

    assert_allclose(getattr(result, "science", [result])[0].data, 1.0)


def test_the_mean_is_saved_where_that_is_wanted(tmp_path):
    SubtractBackground(save_combined_background=True).run(
        together(make_rate(5.0), make_rate(3.0), make_rate(4.0)), output_dir=tmp_path
    )

    from lightmill import models

    saved = models.open(next(tmp_path.glob("*combinedbackground.fits")))
    assert_allclose(saved.data, 3.5)
    assert_allclose(saved.err, np.sqrt(0.05 / 2), rtol=1e-6)


@pytest.mark.parametrize(
    ("path", "value"), [("instrument.filter", "BLUE"), ("instrument.detector", "LARGE")]
)
def test_a_background_of_something_else_is_refused(path, value):
    with pytest.raises(DataError, match="another instrument, detector or filter") as caught:
        subtracted(make_rate(5.0), make_rate(5.0, **{path: value}))

    assert value in str(caught.value)


def test_a_background_that_does_not_cover_the_exposure_is_refused():
    with pytest.raises(DataError, match="does not cover"):
        subtracted(make_rate(5.0), make_rate(5.0, shape=(12, 15)))


def test_backgrounds_of_spectra_are_not_to_be_had():
    with pytest.raises(ConfigurationError, match="not available"):
        subtracted(make_rate(5.0), make_rate(5.0), wfss_maxiter=9)


def test_the_given_exposures_stay_as_they_were():
    science, sky = make_rate(5.0), make_rate(4.0)

    subtracted(science, sky)

    assert_allclose(science.data, 5.0)
    assert_allclose(sky.data, 4.0)
    assert not science.dq.any()


@pytest.mark.parametrize("iterations", [None, 1, 2])
@pytest.mark.parametrize("count", [1, 2, 5, 12, 13])
def test_values_are_clipped_as_astropy_clips_them(count, iterations):
    dice = np.random.default_rng(count)
    values = dice.normal(0, 1, (count, 20, 20))
    values[dice.uniform(size=values.shape) < 0.1] += 30.0
    values[:, 0, 0] = np.nan
    values[0, 1, 1] = np.nan
    masked = np.ma.masked_invalid(values)
    expected = sigma_clip(masked, sigma=3.0, maxiters=iterations, axis=0)

    mean, kept = clipped_mean(values, 3.0, iterations)

    assert_array_equal(kept, ~np.ma.getmaskarray(expected))
    assert_allclose(mean, expected.mean(axis=0).filled(np.nan), rtol=1e-12, equal_nan=True)
