"""What resampling and outlier detection do to the light of stars that fill hardly a pixel."""

import numpy as np

from lightmill.imaging.outliers import find_outliers


def peaked(share):
    """A star whose peak pixel has some share of its light, as different dithers show it."""
    image = np.zeros((21, 21), np.float32)
    image[10, 10] = share
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        image[10 + dy, 10 + dx] = (1 - share) / 4
    return image * 1000


def test_the_core_of_an_undersampled_star_is_no_cosmic_ray():
    # physics: this exposure caught the star centred on a pixel, the median is over all phases
    exposure, median = peaked(0.8), peaked(0.45)
    error = np.ones_like(median)

    found = find_outliers(exposure, error, median, snr=(5, 4), scale=(4, 3), sky_noise=1.0)

    assert not found.any()


def test_a_ray_on_blank_sky_is_found_though_the_median_is_noisy():
    rng = np.random.default_rng(4)
    error = np.ones((64, 64), np.float32)
    # physics: the median of eight exposures has 0.44 of the noise of one
    median = rng.normal(0, 0.44, error.shape).astype(np.float32)
    exposure = np.zeros_like(median)
    y, x = np.meshgrid(np.arange(4, 64, 8), np.arange(4, 64, 8), indexing="ij")
    exposure[y, x] = 8.0

    found = find_outliers(exposure, error, median, snr=(5, 4), scale=(4, 3), sky_noise=0.89)
    tolerant = find_outliers(exposure, error, median, snr=(5, 4), scale=(4, 3))

    assert found[y, x].mean() > 0.95
    assert tolerant[y, x].mean() < 0.6  # noise taken for structure hides half of them
