import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lightmill import models
from lightmill.detector import CleanFlickerNoise
from lightmill.detector.cleaning import stripes
from lightmill.detector.sky import background_mask, clipped_statistics, histogram_statistics
from lightmill.errors import ConfigurationError, ShapeError
from lightmill.models import Model
from lightmill.pipeline import Status
from lightmill.testing import make_ramp


@pytest.fixture
def striped():
    """Read noise of 6 DN, and lines that each have a level of their own in each group."""
    ramp = make_ramp(rate=1.0, n_groups=5, shape=(40, 600), seed=1, read_noise=6.0, gain=50.0)
    lines = np.random.default_rng(2).normal(0, 3, (1, 5, 40, 1)).astype(np.float32)
    ramp.data += lines
    return ramp


def clean(ramp, **parameters):
    return CleanFlickerNoise(skip=False, **parameters).run(ramp)


def line_scatter(data):
    """Scatter of the levels of lines in the differences of groups."""
    return np.diff(data, axis=1).mean(axis=-1).std()


def test_the_stripes_are_gone_and_the_sky_stays(striped):
    model = clean(striped).model

    before, after = line_scatter(striped.data), line_scatter(model.data)
    # a median of 600 pixels of noise 6 sqrt(2) DN is known to 0.44 DN
    assert before > 4
    assert after < 0.7
    assert_allclose(
        np.median(np.diff(model.data, axis=1)), np.median(np.diff(striped.data, axis=1)), atol=1.0
    )


def test_stripes_lie_along_the_fast_axis():
    ramp = make_ramp(rate=1.0, n_groups=5, shape=(600, 40), seed=1, read_noise=6.0, gain=50.0)
    ramp.meta.subarray.fastaxis, ramp.meta.subarray.slowaxis = 2, 1
    ramp.data += np.random.default_rng(2).normal(0, 3, (1, 5, 1, 40)).astype(np.float32)

    model = clean(ramp).model

    assert line_scatter(model.data.swapaxes(2, 3)) < 0.7


def test_a_source_is_not_taken_for_noise(striped):
    striped.data[:, :, 10:14, 20:30] += 300.0 * np.arange(1, 6)[:, None, None].astype(np.float32)
    plain = make_ramp(rate=1.0, n_groups=5, shape=(40, 600), seed=1, read_noise=6.0, gain=50.0)

    cleaned = np.diff(clean(striped).model.data, axis=1)[0, :, 10:14, 20:30].mean()

    assert_allclose(cleaned, 300.0 + np.diff(plain.data, axis=1).mean(), rtol=0.02)


def test_the_first_group_stays(striped):
    assert_array_equal(clean(striped).model.data[:, 0], striped.data[:, 0])


def test_the_ramp_given_is_not_changed(striped):
    before = striped.data.copy()

    clean(striped)

    assert_array_equal(striped.data, before)


def test_it_is_left_out_unless_asked_for(striped):
    outcome = CleanFlickerNoise().run(striped)

    assert outcome.status is Status.SKIPPED
    assert outcome.model.data is striped.data


def test_without_a_readout_direction_nothing_is_done(striped):
    striped.meta.subarray.slowaxis = None

    outcome = clean(striped)

    assert outcome.status is Status.SKIPPED
    assert "SLOWAXIS" in outcome.reason


def test_a_mask_of_the_user_says_where_the_sky_is(striped, tmp_path):
    mask = np.zeros((40, 600), np.float32)
    mask[:, :300] = 1
    striped.data[:, :, :, 300:] += 40.0 * np.arange(1, 6)[:, None, None].astype(np.float32)
    path = Model(data=mask).save(tmp_path / "mask.fits")

    model = clean(striped, user_mask=str(path)).model

    assert line_scatter(model.data[..., :300]) < 1.0


def test_a_mask_must_fit(striped, tmp_path):
    path = Model(data=np.ones((3, 3), np.float32)).save(tmp_path / "mask.fits")

    with pytest.raises(ShapeError, match="does not fit"):
        clean(striped, user_mask=str(path))


@pytest.mark.parametrize(
    "parameters",
    [
        {"fit_method": "fft"},
        {"background_method": "median_image"},
        {"autoparam": True},
    ],
)
def test_what_is_not_there_yet_is_refused(striped, parameters):
    with pytest.raises(ConfigurationError, match="not available yet"):
        clean(striped, **parameters)


# -- what is saved beside -------------------------------------------------------------------


def saved(ramp, folder, **parameters):
    outcome = CleanFlickerNoise(skip=False, **parameters).run(ramp, output_dir=folder)
    found = {path.stem.partition("_")[2]: models.open(path) for path in outcome.written}
    return found, outcome.model


def test_the_noise_saved_is_what_was_subtracted(striped, tmp_path):
    found, cleaned = saved(striped, tmp_path, save_noise=True)

    assert list(found) == ["flicker_noise"]
    # 24 bits of what is subtracted from, at most 100 DN
    assert_allclose(cleaned.data + found["flicker_noise"].data, striped.data, atol=2e-5)
    assert not found["flicker_noise"].data[:, 0].any()


def test_the_sky_saved_is_that_of_each_group(tmp_path):
    # physics: 3 DN/s of sky for ten seconds a group; the first group is not looked at
    ramp = make_ramp(rate=3.0, n_groups=4, n_ints=2, shape=(40, 60), group_time=10.0)

    found, _ = saved(ramp, tmp_path, save_background=True)

    assert_allclose(found["flicker_bkg"].data[:, 1:], 30.0, rtol=1e-5)
    assert not found["flicker_bkg"].data[:, 0].any()


@pytest.mark.parametrize(("single", "shape"), [(True, (40, 600)), (False, (1, 40, 600))])
def test_the_mask_saved_leaves_sources_out_and_can_be_given_again(striped, tmp_path, single, shape):
    striped.data[:, :, 10:14, 20:30] += 300.0 * np.arange(1, 6)[:, None, None].astype(np.float32)

    found, cleaned = saved(striped, tmp_path, save_mask=True, single_mask=single)
    mask = found["mask"]

    assert mask.shape == shape
    assert set(np.unique(mask.data)) == {0, 1}
    assert not mask.data[..., 10:14, 20:30].any()
    again = clean(striped, user_mask=str(mask.path))
    assert_array_equal(again.model.data, cleaned.data)


def test_nothing_is_saved_unless_it_is_asked_for(striped, tmp_path):
    assert not saved(striped, tmp_path)[0]


# -- the functions --------------------------------------------------------------------------


def test_the_level_of_a_line_is_the_median_of_its_good_pixels():
    image = np.tile(np.array([[1.0], [2.0], [3.0]], np.float32), (1, 5))
    image[1, 0] = 100.0
    good = np.ones(image.shape, bool)
    good[2] = False

    noise = stripes(image, good, line_axis=0)

    assert_array_equal(noise[:, 0], [1, 2, 0])
    assert_array_equal(stripes(image.T, good.T, line_axis=1), noise.T)


def test_each_output_has_its_own_level():
    image = np.repeat([[1.0, 5.0]], 4, axis=0).repeat(3, axis=1).astype(np.float32)

    noise = stripes(image, np.ones(image.shape, bool), 0, channel=3)

    assert_array_equal(noise, image)


def test_sources_are_not_sky():
    image = np.random.default_rng(1).normal(10, 1, (50, 50))
    image[20:25, 20:25] += 100

    sky = background_mask(image, np.ones(image.shape, bool), 2.0)

    assert not sky[20:25, 20:25].any()
    assert sky.mean() > 0.9


def test_statistics_leave_outliers_out():
    values = np.concatenate([np.random.default_rng(1).normal(5, 2, 10000), np.full(100, 1e4)])

    median, sigma = clipped_statistics(values)

    assert median == pytest.approx(5, abs=0.1)
    assert sigma == pytest.approx(2, rel=0.05)  # three sigma clipped leave 1.97


def test_a_histogram_gives_the_sky_below_many_sources():
    # physics: sky of 5 +- 2, and a fifth of the pixels with a star's wing, up to 6 brighter
    dice = np.random.default_rng(1)
    values = dice.normal(5, 2, 50000)
    values[:10000] += dice.uniform(0, 6, 10000)

    centre, sigma = histogram_statistics(values)
    median, scatter = clipped_statistics(values)

    assert abs(centre - 5) < abs(median - 5)
    assert abs(sigma - 2) < abs(scatter - 2)
    assert centre == pytest.approx(5, abs=0.4)


@pytest.mark.parametrize("values", [np.ones(10), np.ones(1)])
def test_values_without_a_histogram_have_plain_statistics(values):
    assert histogram_statistics(values) == pytest.approx(clipped_statistics(values))


def test_a_mask_can_be_made_from_the_histogram(striped):
    assert line_scatter(clean(striped, fit_histogram=True).model.data) < 0.7


def test_a_flat_is_asked_for_only_where_it_is_divided_by():
    assert not CleanFlickerNoise().uses("flat")
    assert CleanFlickerNoise(apply_flat_field=True).uses("flat")
