"""Refraction of air by wavelength, and cubes that are moved back."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lightmill.spectroscopy.refraction import Air, moved_back, refractivity, shifts

MAUNA = Air(600.0 * 1.33322387415, 7.0, 8.0 * 1.33322387415)


def test_air_refracts_as_another_formula_says():
    # Ciddor 1996, Applied Optics 35, 1566, eq. 1: dry air at 15 deg_C and 1013.25 hPa
    s = np.array([0.5, 0.8, 1.2, 1.6, 2.2]) ** -2.0
    ciddor = (5792105.0 / (238.0185 - s) + 167917.0 / (57.362 - s)) * 1e-8

    assert_allclose(refractivity(s**-0.5, Air(1013.25, 15.0)), ciddor, rtol=2e-4)


@pytest.mark.parametrize("zenith", [20.0, 60.0])
def test_shifts_are_those_of_another_program(zenith):
    import erfa  # the routines of SOFA: refraction A tan z + B tan³ z of a layered atmosphere

    wavelength = np.array([0.4, 0.6, 0.8, 1.2, 1.6, 2.2])
    constants = np.array(
        [erfa.refco(MAUNA.pressure, MAUNA.temperature, 0.3, w) for w in wavelength]
    )
    tangent = np.tan(np.deg2rad(zenith))
    bent = np.rad2deg(constants @ [tangent, tangent**3]) * 3600

    east, north = shifts(wavelength, 1.2, MAUNA, zenith_distance=zenith, angle=0.0)

    # of up to 1.7 arcsec: 1.5 % between the formulas, the curvature of the Earth among it
    assert_allclose(north, bent - bent[3], rtol=0.015, atol=2e-3)
    assert_allclose(east, 0, atol=1e-12)


def test_blue_light_is_seen_nearer_to_the_zenith():
    east, north = shifts([0.9, 1.1], 1.0, MAUNA, zenith_distance=45.0, angle=90.0)

    assert east[0] > 0 > east[1]
    assert_allclose(north, 0, atol=1e-12)
    assert_allclose(shifts([0.9], 1.0, MAUNA, zenith_distance=0.0, angle=30.0), 0, atol=1e-12)


def star(x, y, shape=(15, 17), width=1.2):
    from scipy.special import erf

    sides = [np.diff(erf((np.arange(n + 1) - 0.5 - at) / (width * np.sqrt(2)))) / 2
             for n, at in zip(shape, (y, x), strict=True)]  # fmt: skip
    return np.outer(*sides)


def test_a_star_goes_back_to_its_place_with_all_its_light():
    dx, dy = np.array([0.0, 0.3, -1.4, 2.5]), np.array([0.0, -0.6, 0.25, 1.0])
    data = np.stack([star(8 + x, 7 + y) for x, y in zip(dx, dy, strict=True)])

    moved, err = moved_back(data, np.ones(data.shape), dx, dy)

    inner = (slice(None), slice(3, 12), slice(4, 13))
    # a star of 1.2 pixels: 1.1 % of its peak in each direction at most, where it moves by half a pixel
    assert np.abs(moved - star(8, 7))[inner].max() < 0.022 * star(8, 7).max()
    assert_allclose(moved[inner].sum(axis=(1, 2)), star(8, 7)[inner[1:]].sum(), rtol=4e-3)
    assert_allclose(moved[0], data[0], atol=1e-7)
    assert_allclose(err[0], 1.0)
    assert (err[inner][1:] < 1.0).any()


def test_what_is_not_known_does_not_move_anywhere_silently():
    data = np.ones((2, 9, 9))
    data[:, 4, 4] = np.nan

    moved, err = moved_back(data, np.ones(data.shape), np.array([0.4, 0.0]), np.zeros(2))

    lost = np.isnan(moved)
    assert lost[0, 4, 2:7].sum() == 5  # every element that needs it
    assert not lost[0, 3].all()
    assert lost[0, :, 8].all()  # beyond the field
    assert lost[1].sum() == 1
    assert (err[lost] == 0).all()
    assert_allclose(moved[~lost], 1.0, rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_errors_of_moved_elements_are_their_scatter(seed):
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 2.0, (400, 12, 12))

    moved, err = moved_back(
        noise, np.full(noise.shape, 2.0), np.full(400, 0.37), np.full(400, -0.2)
    )

    known = np.isfinite(moved)
    # 400 x 100 values, of which neighbours are not independent: known to 1 %
    assert np.std(moved[known] / err[known]) == pytest.approx(1.0, abs=0.03)
