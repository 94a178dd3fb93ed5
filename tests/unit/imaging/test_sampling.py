"""What drizzling does to noise and stars, worked out, is what it does to simulated ones."""

import numpy as np
import pytest
import sep
from numpy.testing import assert_allclose
from scipy.special import erf

from lightmill import models
from lightmill.imaging.apertures import Apertures, Circle
from lightmill.imaging.flux_errors import contributing, sharing_of, with_all_errors
from lightmill.imaging.sampling import Sharing, StarProfile, fitted_profile
from lightmill.models import ResampledModel

WIDE = 24  # pixels of an exposure along one axis
MIDDLE = WIDE / 2


def shares(starts, side, ratio, n_out):
    """Return how pixels of an exposure, along one axis, are shared by pixels of the mosaic.

    `starts` is where the left edge of the exposure lies in the mosaic [pixel of the mosaic].
    """
    place = starts + (np.arange(WIDE) + 0.5) / ratio
    edges = np.arange(n_out + 1)
    low = np.maximum(place[None, :] - side / 2, edges[:-1, None])
    high = np.minimum(place[None, :] + side / 2, edges[1:, None])
    return np.maximum(high - low, 0) / side


def mosaic(exposure, starts, pixfrac, ratio):
    """Drizzle one exposure: the weighted mean of the drops."""
    n_out = int(WIDE / ratio)
    across, up = (shares(start, pixfrac / ratio, ratio, n_out) for start in starts)
    return up @ exposure @ across.T / np.outer(up.sum(axis=1), across.sum(axis=1)).clip(1e-9)


@pytest.mark.parametrize(("pixfrac", "ratio"), [(1.0, 1.0), (0.6, 1.0), (1.0, 0.5)])
@pytest.mark.parametrize("radius", [1.0, 1.6, 4.0])
def test_the_noise_of_circles_is_that_of_simulated_mosaics(pixfrac, ratio, radius):
    rng = np.random.default_rng(1)
    sums = []
    n_out = int(WIDE / ratio)
    for _ in range(1500):
        noise = rng.normal(0, 1, (WIDE, WIDE))
        # whole pixels of the mosaic are reached, wherever the exposure begins
        drizzled = mosaic(noise, rng.uniform(0, 1, 2), pixfrac, ratio)
        total, _, _ = sep.sum_circle(drizzled, [n_out / 2], [n_out / 2], radius, subpix=0)
        sums.append(total[0])

    area = np.pi * radius**2
    error = 1 / ratio  # of a pixel, as `drizzling.combine` has it (test_drizzling)
    expected = Sharing(pixfrac, ratio).noise_factors(area) * error * np.sqrt(area)

    # a deviation of 1500 values is known to 1.8 %; the circle of the table is about a pixel's
    # centre, this one about a corner, which tells in small ones
    assert_allclose(np.std(sums), expected, rtol=0.12 if radius < 1.2 else 0.07)


def test_pixels_that_share_nothing_are_independent():
    assert_allclose(Sharing(1e-3, 1.0).hidden_noise(), 1, rtol=0.01)
    assert_allclose(Sharing(1.0, 1.0).hidden_noise(), 1.5, rtol=1e-4)  # Fruchter & Hook 2002, eq. 9
    assert_allclose(Sharing(0.6, 1.0).hidden_noise(), 1 / (1 - 0.2), rtol=1e-3)
    assert_allclose(Sharing(1.0, 1.0).relation().sum(), 1)


def test_a_drop_of_a_pixels_size_is_blurred_by_its_place():
    # t (1 - t) for t even from 0 to 1: variance 1/30 - 1/36
    assert_allclose(Sharing(1.0, 1.0).blur_scatter(), np.sqrt(1 / 180), rtol=1e-4)


def test_a_profile_has_the_curve_of_growth_it_was_fitted_to():
    star = StarProfile(np.array([0.7, 0.3]), np.array([0.5, 4.0]))
    radii = np.array([0.6, 1.0, 1.5, 2.0, 3.0])

    found = fitted_profile([star.energy(r) for r in radii], radii)

    assert_allclose([found.energy(r) for r in (0.8, 1.7)], [star.energy(r) for r in (0.8, 1.7)],
                    atol=1e-3)  # fmt: skip
    step = 1e-4
    wider = StarProfile(star.fractions, star.variances + step)
    assert_allclose(star.blur_slope(1.5), (wider.energy(1.5) - star.energy(1.5)) / step, rtol=1e-3)


def test_two_radii_are_no_profile():
    assert fitted_profile([0.3, 0.5], [0.7, 1.0]) is None
    assert fitted_profile([0.3, 0.5, 1.2], [0.7, 1.0, 2.0]) is None


def drizzled_star(rng, exposures, sigma):
    """Return the mosaic of exposures that lie anywhere, and the star's place in it."""
    star = MIDDLE + rng.uniform(-0.5, 0.5, 2)  # in the mosaic
    total = 0
    for _ in range(exposures):
        starts = rng.uniform(0, 1, 2)
        axes = [np.diff(erf((np.arange(WIDE + 1) - (at - start)) / sigma / np.sqrt(2))) / 2
                for at, start in zip(star, starts, strict=True)]  # fmt: skip
        total = total + mosaic(np.outer(axes[1], axes[0]), starts, 1.0, 1.0)
    return np.ascontiguousarray(total / exposures), star - 0.5


@pytest.mark.parametrize(("pixfrac", "ratio"), [(1.0, 1.0), (0.7, 1.0), (1.0, 0.5)])
def test_the_noise_of_a_star_s_own_light_is_that_of_simulated_stars(pixfrac, ratio):
    rng, sigma, radius = np.random.default_rng(4), 0.5 / ratio, 1.7 / ratio
    n_out, sums, variances = int(WIDE / ratio), [], []
    for _ in range(1500):
        star, starts = n_out / 2 + rng.uniform(-0.5, 0.5, 2), rng.uniform(0, 1, 2)
        axes = [np.diff(erf((np.arange(WIDE + 1) / ratio - (at - start)) / sigma / np.sqrt(2))) / 2
                for at, start in zip(star, starts, strict=True)]  # fmt: skip
        photons = np.sqrt(np.outer(axes[1], axes[0]))  # standard error of each pixel
        noise = mosaic(photons * rng.normal(0, 1, photons.shape), starts, pixfrac, ratio)
        error = mosaic(photons, starts, pixfrac, ratio) / ratio  # as `drizzling.combine` has it
        x, y = star - 0.5
        total, _, _ = sep.sum_circle(noise, [x], [y], radius, subpix=0)
        _, expected, _ = sep.sum_circle(noise, [x], [y], radius, err=error, subpix=0)
        sums.append(total[0])
        variances.append(expected[0] ** 2)
    # with the squares that a mosaic and a circle add to it
    profile = StarProfile(np.array([1.0, 0.0]), sigma**2 + np.array([4, 9]) / 12 / ratio**2)

    found = profile.own_noise(radius, Sharing(pixfrac, ratio))

    # a deviation of 1500 values is known to 1.8 %; the factor of a sky is 0.82 to 0.88
    assert_allclose(np.std(sums) / np.sqrt(np.mean(variances)), found, rtol=0.05)


@pytest.mark.parametrize("exposures", [1, 4])
def test_stars_scatter_as_their_sampling_lets_expect(exposures):
    rng, sigma, radius = np.random.default_rng(2), 0.45, 1.6
    radii = np.array([0.7, 1.0, 1.3, 1.6, 2.0, 2.5])
    sums = []
    for _ in range(600):
        image, (x, y) = drizzled_star(rng, exposures, sigma)
        sums.append([sep.sum_circle(image, [x], [y], r, subpix=0)[0][0] for r in radii])
    growth = np.mean(sums, axis=0)
    there = radii.tolist().index(radius)

    profile = fitted_profile(growth, radii)
    expected = profile.sampling_errors(radius, np.array([exposures]), Sharing())

    found = np.std(sums, axis=0)[there] / growth[there]
    # a deviation of 600 values is known to 3 %; the blur is taken to act linearly
    assert_allclose(found, expected[0], rtol=0.2)


def test_the_context_tells_how_many_exposures_there_are(tmp_path):
    con = np.zeros((2, 6, 5), np.int32)
    con[0, 2, 3], con[1, 2, 3] = -1, 0b101  # all 32, and two more
    con[0, 4, 1] = 0b11
    image = ResampledModel(data=np.ones((6, 5), np.float32), con=con)
    path = image.save(tmp_path / "x_i2d.fits")

    for one in (image, models.open(path)):
        found = contributing(one, np.array([3.2, 1.0, 0.0]), np.array([1.9, 4.4, np.nan]))
        assert found.tolist() == [34, 2, 1]


def test_an_image_that_was_not_drizzled_says_nothing():
    image = ResampledModel(data=np.ones((6, 5), np.float32))

    assert sharing_of(image) is None
    assert contributing(image, np.array([1.0]), np.array([1.0])).tolist() == [1]


def test_every_error_has_its_parts():
    profile = StarProfile(np.array([1.0, 0.0]), np.array([0.5, 5.0]))
    circles = Apertures((30, 50, 70), (0.7, 1.0, 1.5), (3.3, 2.0, 1.4), 8.0, 12.0, profile)
    values = {
        "aper_bkg_flux_err": np.array([0.1, np.nan]),
        "aper70_flux_err": np.array([1.0, 1.0]),
        "aper_total_flux": np.array([1000.0, 0.0]),
        "aper_total_flux_err": np.array([1.4, 1.4]),
        "isophotal_flux_err": np.array([1.0, 1.0]),
        "isophotal_area": np.array([10, 10]),
    }
    sharing = Sharing()

    found = with_all_errors(values, circles, sharing, np.array([4, 4]))

    noise = sharing.noise_factors(np.pi * 1.5**2)
    sky = 0.1 * sharing.hidden_noise() * np.pi * 1.5**2  # all noise is the sky's
    assert_allclose(found["aper70_flux_err"], [np.hypot(noise, sky), noise])
    sampled = profile.sampling_errors(1.5, np.array([4]), sharing)[0] * 1000
    assert_allclose(
        found["aper_total_flux_err"], [np.hypot(1.4 * np.hypot(noise, sky), sampled), 1.4 * noise]
    )
    assert_allclose(found["isophotal_flux_err"], sharing.noise_factors(10.0))
    assert values["aper70_flux_err"].tolist() == [1, 1]  # what was given stays


def test_noise_that_the_sky_does_not_explain_is_the_star_s_own():
    profile = StarProfile(np.array([1.0, 0.0]), np.array([0.5, 5.0]))
    circles = Apertures((30, 50, 70), (0.7, 1.0, 1.5), (3.3, 2.0, 1.4), 8.0, 12.0, profile)
    area, sharing = np.pi * 1.5**2, Sharing()
    values = {
        "aper70_flux_err": np.array([1.0, 1.0]),
        "isophotal_flux_err": np.array([1.0, 1.0]),
        "isophotal_area": np.array([area, area]),
        "sky_noise": np.array([0.1, 1.0]),  # of a pixel
    }

    found = with_all_errors(values, circles, sharing, np.array([4, 4]))

    even, own = sharing.noise_factors(area), profile.own_noise(1.5, sharing)
    sky = 0.01 * area
    assert_allclose(found["aper70_flux_err"], [np.sqrt(even**2 * sky + own**2 * (1 - sky)), even])
    assert_allclose(found["isophotal_flux_err"], [np.sqrt(even**2 * sky + 1 - sky), even])


def test_errors_of_totals_are_those_of_their_own_circle():
    profile = StarProfile(np.array([1.0, 0.0]), np.array([0.5, 5.0]))
    circles = Apertures(
        (30, 50, 70), (0.7, 1.0, 1.5), (3.3, 2.0, 1.4), 8.0, 12.0, profile, Circle(80, 2.1, 1.25)
    )
    values = {"aper_total_flux": np.array([1000.0]), "aper_total_flux_err": np.array([2.0])}

    found = with_all_errors(values, circles, Sharing(), np.array([4]))

    sampled = profile.sampling_errors(2.1, np.array([4]), Sharing())[0] * 1000
    noise = 2.0 * Sharing().noise_factors(np.pi * 2.1**2)
    assert_allclose(found["aper_total_flux_err"], np.hypot(noise, sampled))
