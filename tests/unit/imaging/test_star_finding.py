"""Stars are found where they are, to a hundredth of a pixel; what is not a star is left out."""

import numpy as np
import pytest
from scipy.special import erf, j1

from lightmill.imaging.star_finding import find_stars, fit_positions, smooth_sky
from lightmill.imaging.starfinders import find_stars_with_photutils

NOISE = 0.02
SETTINGS = {
    "snr_threshold": 10.0, "kernel_fwhm": 2.5, "box": 400, "brightest": 200, "peakmax": None,
    "minsep_fwhm": 0.0, "sigma_radius": 1.5, "sharpness": (0.2, 2.0), "roundness": (-1.0, 1.0),
    "npixels": 5, "connectivity": 8, "nlevels": 32, "contrast": 0.001, "deblend": True,
    "multithresh_mode": "exponential", "localbkg_width": 0, "apermask_method": "correct",
    "kron_params": None,
}  # fmt: skip


def star(x, y, flux, shape, sigma):
    """A Gaussian integrated over pixels."""
    profile = [
        np.diff(erf((np.arange(n + 1) - 0.5 - at) / (sigma * np.sqrt(2)))) / 2
        for n, at in ((shape[0], y), (shape[1], x))
    ]
    return flux * np.outer(*profile)


def field(fwhm=1.6, ratio=100.0, size=200, seed=1, noise=NOISE):
    """A grid of stars of one signal to noise at random places within pixels."""
    random = np.random.default_rng(seed)
    sigma = fwhm / 2.355
    x, y = np.meshgrid(np.arange(12, size - 12, 16.0), np.arange(12, size - 12, 16.0))
    x, y = (at.ravel() + random.uniform(-0.5, 0.5, at.size) for at in (x, y))
    image = 1.0 + random.normal(0, noise, (size, size))
    flux = ratio * NOISE * 2 * np.sqrt(np.pi) * np.hypot(sigma, 0.3)
    for one_x, one_y in zip(x, y, strict=True):
        row, column = int(one_y) - 7, int(one_x) - 7
        part = image[row : row + 15, column : column + 15]
        part += star(one_x - column, one_y - row, flux, part.shape, sigma)
    return image.astype(np.float32), x, y


def nearest(stars, x, y):
    """For each true position, how far in x and y the nearest star found is."""
    apart = np.hypot(stars.x[:, None] - x, stars.y[:, None] - y)
    which = apart.argmin(axis=0)
    return np.stack([stars.x[which] - x, stars.y[which] - y], axis=1)


@pytest.mark.parametrize("fwhm", [1.0, 1.6, 2.5])
def test_positions_are_right_to_two_hundredths_of_a_pixel(fwhm):
    # physics: stars of signal to noise 100, undersampled ones among them
    image, x, y = field(fwhm=fwhm)

    stars = find_stars(image, np.zeros(image.shape, bool))

    # physics: all are found; noise alone moves them by sigma / 100, 0.011 pixel for the widest
    off = nearest(stars, x, y)
    assert len(stars) == len(x)
    assert np.sqrt(np.mean(off**2)) < 0.02
    assert np.abs(off.mean(axis=0)).max() < 4 * 0.011 / np.sqrt(len(x))


def test_undersampled_diffraction_does_not_bias_positions():
    # physics: an Airy disc 1 pixel wide integrated over pixels, without noise, at many places
    over = 21
    at = (np.arange(-8 * over, 8 * over + 1)) / over
    r = np.hypot(*np.meshgrid(at, at)) * np.pi * 1.029 + 1e-9
    airy = (2 * j1(r) / r) ** 2
    box = np.ones(over) / over
    for axis in (0, 1):
        airy = np.apply_along_axis(np.convolve, axis, airy, box, "same")
    phases = np.random.default_rng(2).integers(-(over // 2), over // 2 + 1, (60, 2))
    pixels = (np.arange(-4, 5) * over) + 8 * over
    image = np.concatenate([np.pad(airy[np.ix_(pixels - dy, pixels - dx)], 2) for dx, dy in phases])
    rows = np.arange(len(phases)) * 13 + 6

    stars = fit_positions(
        image, np.zeros(image.shape, bool), rows, np.full(len(rows), 6), np.full(len(rows), 1e3)
    )

    # physics: what a Gaussian does not know of Airy's wings, 0.015 pixel
    off = np.stack([stars.x - 6, stars.y - rows], axis=1) - phases / over
    assert np.sqrt(np.mean(off**2)) < 0.02


def test_errors_are_those_said():
    # physics: faint stars, whose positions photons of the sky move
    image, x, y = field(ratio=25.0, size=420)

    stars = find_stars(image, np.zeros(image.shape, bool), brightest=None)

    pulls = nearest(stars, x, y) / np.median(stars.uncertainty())
    # physics: 700 stars tell the width of the pulls to 3 %; the filter is not quite the star's own width
    assert 0.8 < 1.48 * np.median(np.abs(pulls)) < 1.25


def test_saturated_and_flagged_stars_are_left_out():
    # physics: the first star is saturated, next to the second lies a dead pixel
    image, x, y = field()
    bad = np.zeros(image.shape, bool)
    bad[round(y[0]), round(x[0])] = bad[round(y[1]) + 1, round(x[1])] = True
    image[bad] = np.nan

    stars = find_stars(image, bad)

    found = np.hypot(*nearest(stars, x, y).T) < 1
    assert not found[:2].any()
    assert found[2:].all()


def test_hot_pixels_are_not_stars():
    image, x, _ = field()
    image[5::16, 5::16] += 3.0  # physics: single pixels, far from every star

    stars = find_stars(image, np.zeros(image.shape, bool))

    assert len(stars) == len(x)


def test_the_brightest_come_first_and_no_more_than_asked():
    image, _x, _y = field()
    image += star(100.3, 99.8, 50.0, image.shape, 0.7).astype(np.float32)

    stars = find_stars(image, np.zeros(image.shape, bool), brightest=5)

    assert len(stars) == 5
    assert np.hypot(stars.x[0] - 100.3, stars.y[0] - 99.8) < 0.1
    assert (np.diff(stars.flux) <= 0).all()


def test_stars_too_bright_or_too_near_are_left_out_when_asked():
    image, _x, _y = field(size=120)
    image += star(60.0, 52.0, 50.0, image.shape, 0.7).astype(np.float32)
    none = np.zeros(image.shape, bool)

    plain = find_stars(image, none)
    dim = find_stars(image, none, peakmax=5.0)
    apart = find_stars(image, none, min_separation=20.0)

    assert plain.peak[0] > 5.0
    assert len(dim) == len(plain) - 1
    assert len(apart) < len(plain)
    near = np.hypot(apart.x[:, None] - apart.x, apart.y[:, None] - apart.y)
    assert near[~np.eye(len(apart), dtype=bool)].min() > 20


def test_sky_that_varies_is_no_star():
    # physics: the sky doubles across the field
    image, x, y = field()
    image += np.linspace(0, 1, image.shape[1], dtype=np.float32)

    stars = find_stars(image, np.zeros(image.shape, bool), box=50)

    assert np.hypot(*nearest(stars, x, y).T).max() < 0.1
    assert len(stars) == len(x)


@pytest.mark.parametrize(
    "image",
    [
        np.full((64, 64), np.nan, np.float32),
        np.zeros((64, 64), np.float32),
        np.ones((3, 3), np.float32),
        np.random.default_rng(1).normal(0, 1, (64, 64)).astype(np.float32),
    ],
    ids=["no value", "nothing but zero", "tiny", "noise"],
)
def test_an_image_without_stars_has_none(image):
    stars = find_stars(image, np.zeros(image.shape, bool))

    assert len(stars) == 0


def test_the_smooth_sky_takes_empty_boxes_from_their_neighbours():
    image = np.ones((100, 100), np.float32)
    bad = np.zeros(image.shape, bool)
    bad[:50, :50] = True

    sky = smooth_sky(image, bad, 50)

    np.testing.assert_allclose(sky, 1.0, rtol=1e-6)  # rounding of float32


@pytest.mark.parametrize("finder", ["dao", "iraf", "segmentation"])
def test_the_finders_of_other_programs_find_the_same_stars(finder):
    image, x, y = field(fwhm=2.5, size=120)

    stars = find_stars_with_photutils(image, np.zeros(image.shape, bool), finder, SETTINGS)

    # physics: centroids of marginal sums, of moments and of segments are good to a tenth of a pixel
    assert np.hypot(*nearest(stars, x, y).T).max() < 0.35
    assert len(stars) >= len(x)
