"""What one exposure alone shows is found; what the sky shows is not."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightmill.imaging.flagged import Flagged
from lightmill.imaging.outliers import (
    find_outliers,
    find_outliers_unshifted,
    median_of,
    steepness,
    weight_threshold,
)
from lightmill.models import Region

SNR, RAMP = (5.0, 4.0), (1.2, 0.7)
VALUES = st.one_of(st.just(np.nan), st.floats(-8, 8, width=32))


@given(arrays(np.float32, (5, 3, 4), elements=VALUES))
@settings(max_examples=60)
def test_the_median_is_that_of_what_is_there(cube):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing is there
        expected = np.nanmedian(cube.copy(), axis=0)

    found = median_of(cube)

    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-37)


def test_a_cosmic_ray_is_found_with_its_faint_rim():
    noise = np.random.default_rng(1).normal(0, 1, (40, 40))
    data = 10 + noise
    data[20, 20] = 10 + 100  # the hit
    data[21, 21] = 10 + 4.5  # its rim: too faint for a seed, next to one
    data[5, 5] = 10 + 4.5  # the same alone: noise, perhaps

    found = find_outliers(
        data.astype(np.float32), np.ones((40, 40), np.float32), np.full((40, 40), 10, np.float32),
        snr=SNR, scale=RAMP,
    )  # fmt: skip

    assert found[20, 20]
    assert found[21, 21]
    assert not found[5, 5]
    # physics: 1600 pixels of Gaussian noise hold 1e-3 beyond 5 standard errors
    assert found.sum() <= 3


def test_a_star_that_interpolation_smoothed_is_no_outlier():
    y, x = np.indices((21, 21)) - 10
    star = 1000 * np.exp(-(x**2 + y**2) / 2 / 0.9**2)
    smooth = 850 * np.exp(-(x**2 + y**2) / 2 / 1.0**2)

    found = find_outliers(
        star.astype(np.float32), np.full((21, 21), 1, np.float32), smooth.astype(np.float32),
        snr=SNR, scale=RAMP,
    )  # fmt: skip

    assert not found.any()


def test_a_pixel_nobody_knows_is_no_outlier():
    data = np.zeros((9, 9), np.float32)
    data[4, 4], error = np.nan, np.ones((9, 9), np.float32)
    sky = np.zeros((9, 9), np.float32)
    sky[2, 2] = np.nan
    data[2, 2] = 1e6

    assert not find_outliers(data, error, sky, snr=SNR, scale=RAMP).any()
    assert not find_outliers_unshifted(data, error, sky, snr=5.0).any()


def test_a_sky_level_that_is_still_in_the_data_is_allowed_for():
    data = np.full((9, 9), 50.0, np.float32)
    sky, error = np.zeros((9, 9), np.float32), np.ones((9, 9), np.float32)

    with_level = find_outliers(data, error, sky, snr=SNR, scale=RAMP, level=50.0)

    assert not with_level.any()
    assert find_outliers(data, error, sky, snr=SNR, scale=RAMP).all()


def test_steepness_is_the_largest_step_to_a_neighbour():
    image = np.array([[0, 1, 5], [0, np.nan, 5], [0, 0, 9]], np.float32)

    expected = np.array([[1, 4, 4], [0, np.nan, 4], [0, 9, 9]], np.float32)
    np.testing.assert_array_equal(steepness(image), expected)


def test_the_threshold_is_a_share_of_the_usual_weight():
    weight = np.full((300, 300), 4.0, np.float32)
    weight[:100] = 0  # nothing fell there
    weight[150, :20] = 1e4  # a few freaks

    assert weight_threshold(weight, 0.7) == pytest.approx(2.8, rel=1e-6)
    assert weight_threshold(np.zeros((5, 5)), 0.7) == 0


@given(st.sets(st.integers(0, 6 * 7 - 1)), st.integers(0, 4), st.integers(1, 6))
@settings(max_examples=40)
def test_flags_of_few_pixels_read_like_an_array(pixels, y0, x1):
    base = np.arange(42, dtype=np.uint32).reshape(6, 7)
    whole = base.copy()
    flat = np.array(sorted(pixels), int)
    whole.reshape(-1)[flat] |= 1 << 10
    region = Region(y0, 6, 0, x1)

    flags = Flagged(base, flat, 1 << 10)

    np.testing.assert_array_equal(np.asarray(flags), whole)
    np.testing.assert_array_equal(np.concatenate(list(flags.chunks())), whole)
    np.testing.assert_array_equal(flags.read(region), whole[region.slices])
    np.testing.assert_array_equal(np.asarray(flags.cut(region)), whole[region.slices])
    np.testing.assert_array_equal(base, np.arange(42).reshape(6, 7))  # the flags as they were
