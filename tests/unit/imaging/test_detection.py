"""Sky level, noise and signal to noise of an image, as far as sources are found by them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lightmill.errors import ShapeError
from lightmill.imaging.background_mesh import (
    BackgroundMesh,
    clipped_statistics,
    measure_background,
)
from lightmill.imaging.detection import (
    FWHM_TO_SIGMA,
    NoiseExcess,
    coverage_mask,
    matched_kernel,
    signal_to_noise,
)


def noise(shape, sigma=1.0, seed=1):
    return np.random.default_rng(seed).normal(0, sigma, shape).astype(np.float32)


def flat_mesh(shape, level=0.0, rms=1.0):
    grid = np.ones((1, 1), np.float32)
    return BackgroundMesh(shape, level * grid, rms * grid)


def test_sources_do_not_raise_the_sky_level():
    # physics: one pixel in fifty holds a star of fifty times the noise
    image = noise((300, 300), sigma=2.0) + np.float32(10)
    image.ravel()[::50] += 100

    mesh = measure_background(image, 100)

    # physics: 10 and 2, to four standard errors of the median of 10^4 pixels (1.25 sigma / 100);
    # clipping at three sigma takes 1.3 % off the standard deviation of Gaussian noise
    assert_allclose(mesh.level, 10, atol=4 * 1.25 * 2 / 100)
    assert_allclose(mesh.rms, 2, rtol=0.04)


def test_a_sloping_sky_is_followed_between_the_boxes():
    y, x = np.mgrid[:200, :300]
    sky = (0.01 * x - 0.02 * y).astype(np.float32)

    mesh = measure_background(sky + noise(sky.shape, 0.01), 25)
    level = mesh.level_rows(50, 150)

    # away from the borders a cubic through equal steps is the straight line; the median of 625
    # pixels on a slope scatters by 1.25 x 0.17 / 25
    assert_allclose(level[:, 50:250], sky[50:150, 50:250], atol=4 * 1.25 * 0.17 / 25)


def test_level_and_noise_of_single_pixels_are_those_of_their_rows():
    image = noise((120, 90)) + np.linspace(0, 9, 90, dtype=np.float32)
    mesh = measure_background(image, 30)
    rows, columns = np.array([0, 3, 7]), np.array([1, 50, 89])

    level, rms = mesh.at(40, rows, columns)

    assert_allclose(level, mesh.level_rows(40, 50)[rows, columns], rtol=1e-5)  # rounding
    assert_allclose(rms, mesh.rms_rows(40, 50)[rows, columns], rtol=1e-5)


def test_a_box_without_coverage_takes_the_sky_of_its_neighbour():
    image = noise((200, 200)) + np.float32(5)
    image[:100, :100] = np.nan

    mesh = measure_background(image, 100, np.isnan(image))

    assert_allclose(mesh.level, 5, atol=4 * 1.25 / 100)


def test_an_image_without_a_single_value_has_no_sky():
    assert measure_background(np.full((20, 20), np.nan, np.float32), 10) is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2)])
def test_an_image_smaller_than_a_box_has_one_level(shape):
    mesh = measure_background(np.full(shape, 7, np.float32), 1000)

    assert_array_equal(mesh.level_rows(0, shape[0]), np.full(shape, 7))


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match="mask"):
        measure_background(noise((5, 5)), 5, np.zeros((4, 5), bool))


def test_statistics_of_values_all_alike_are_exact():
    assert clipped_statistics(np.full(9, 3.5, np.float32)) == (3.5, 0.0, 9)


def test_clipping_keeps_what_lies_within_three_deviations():
    # worked by hand: of -1, 0, 1 (ten times each) and 1000, the 1000 is clipped first
    values = np.array([-1, 0, 1] * 10 + [1000], np.float32)

    median, deviation, count = clipped_statistics(values)

    assert (median, count) == (0.0, 30)
    assert deviation == pytest.approx(np.sqrt(2 / 3))


def test_the_kernel_has_the_width_asked_for():
    profile = matched_kernel(5.0)
    offsets = np.arange(len(profile)) - len(profile) // 2

    assert profile.sum() == pytest.approx(1)
    # cut off at four standard deviations, 1e-4 of the variance is missing; sampling adds less
    assert np.sqrt((profile * offsets**2).sum()) == pytest.approx(5 * FWHM_TO_SIGMA, rel=2e-3)


def test_smoothing_keeps_the_flux_of_a_source():
    image = np.zeros((40, 40), np.float32)
    image[20, 17] = 50

    ratio = signal_to_noise(image, flat_mesh(image.shape, rms=2.0), np.zeros_like(image, bool), 2.0)

    assert ratio.sum() == pytest.approx(50 / 2, rel=1e-5)


def test_gaps_and_borders_do_not_dim_their_neighbours():
    # physics: a uniform glow is uniform beside a gap and at the border
    image = np.full((60, 50), 3, np.float32)
    mask = np.zeros(image.shape, bool)
    mask[20:30, 10:12] = mask[50, :] = True
    image[mask] = np.nan

    ratio = signal_to_noise(image, flat_mesh(image.shape, rms=1.0), mask, 2.5)

    assert_allclose(ratio[~mask], 3, rtol=1e-5)
    assert_array_equal(ratio[mask], 0)


def test_bands_of_rows_join_without_a_seam():
    # physics: the result of a wide image, worked on in bands of 16 rows, has no memory of them
    image = noise((70, 20_000))
    mesh, mask = flat_mesh(image.shape), np.zeros(image.shape, bool)
    tile = image[:, 300:400].copy()

    wide = signal_to_noise(image, mesh, mask, 2.0)[:, 320:380]
    narrow = signal_to_noise(tile, flat_mesh(tile.shape), np.zeros(tile.shape, bool), 2.0)

    assert_array_equal(wide, narrow[:, 20:80])


def test_an_image_without_noise_gives_finite_ratios():
    image = np.zeros((30, 30), np.float32)
    image[10, 10] = 5

    ratio = signal_to_noise(image, flat_mesh(image.shape, rms=0.0), np.zeros_like(image, bool), 2.0)

    assert np.isfinite(ratio).all()


def test_a_pixel_without_value_error_or_weight_is_masked():
    data, err, weight = (np.ones((1, 5), np.float32) for _ in range(3))
    data[0, 1], err[0, 2], weight[0, 3] = np.nan, np.nan, 0

    assert coverage_mask(data, err, weight)[0].tolist() == [False, True, True, True, False]


def test_noise_in_excess_is_that_of_rays_and_not_of_ordinary_pixels():
    rng = np.random.default_rng(4)
    variance = rng.uniform(0.8, 1.2, (300, 400)).astype(np.float32)  # of ordinary pixels
    variance[100:110, 50:60] *= 9  # a ray: three times the noise
    variance[0, :] = np.nan
    mask = np.zeros(variance.shape, bool)
    mask[:, :5] = True
    variance[:, :5] = 1e6  # says nothing of the others

    excess = NoiseExcess(lambda y0, y1: variance[y0:y1], mask)
    found = np.concatenate([excess.rows(0, 150), excess.rows(150, 300)])

    assert_allclose(excess.typical, 1, rtol=0.01)
    assert_allclose(found[100:110, 50:60], 3, rtol=0.12)
    found[100:110, 50:60] = 1
    assert (found[:, 5:] == 1).all()
