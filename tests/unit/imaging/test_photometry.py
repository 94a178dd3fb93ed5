"""Fluxes, magnitudes, shapes: known light comes back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lightmill.imaging.background_mesh import BackgroundMesh
from lightmill.imaging.morphology import (
    ellipses,
    measure_segments,
    nearest_neighbours,
    sharpness_and_roundness,
)
from lightmill.imaging.photometry import (
    ab_magnitudes,
    circular_fluxes,
    kron_fluxes,
    local_backgrounds,
    rectangular_backgrounds,
)

SHAPE = (61, 71)


def gaussian(x, y, flux=1000.0, major=3.0, minor=3.0, angle=0.0, shape=SHAPE):
    """An elliptical source; the pixel is far smaller than it."""
    yy, xx = np.indices(shape)
    turn = np.radians(angle)
    u = (xx - x) * np.cos(turn) + (yy - y) * np.sin(turn)
    v = -(xx - x) * np.sin(turn) + (yy - y) * np.cos(turn)
    light = (
        flux / (2 * np.pi * major * minor) * np.exp(-0.5 * ((u / major) ** 2 + (v / minor) ** 2))
    )
    return light.astype(np.float32)


def mesh(level=0.0, shape=SHAPE):
    grid = np.ones((1, 1), np.float32)
    return BackgroundMesh(shape, level * grid, grid)


def measured(light, labels=None, level=0.0, error=0.1):
    labels = np.ones(light.shape, np.int32) if labels is None else labels
    err = np.full(light.shape, error, np.float32)
    sky = mesh(level, light.shape)
    return measure_segments(
        labels, int(labels.max()), light, light + np.float32(level), err, sky
    )  # fmt: skip


def at(*places):
    x, y = np.array(places, float).T
    return x, y


def test_a_uniform_glow_gives_its_brightness_times_the_area():
    image = np.full(SHAPE, 2, np.float32)

    flux, error = circular_fluxes(image, 0.5 * image, *at((30.3, 28.8)), 4.2)

    area = np.pi * 4.2**2
    assert_allclose(flux, 2 * area, rtol=1e-6)
    assert_allclose(error, np.sqrt(area), rtol=1e-6)  # of independent pixels, error 1 each


def test_a_circle_that_is_not_all_on_the_image_has_no_flux():
    image = np.ones(SHAPE, np.float32)
    image[40, 40] = np.nan

    flux, error = circular_fluxes(image, image, *at((2, 30), (40, 42), (30, 30), (np.nan, 1)), 5.0)

    assert np.isnan(flux).tolist() == [True, True, False, True]
    assert np.isnan(error).tolist() == [True, True, False, True]


def test_the_ring_sees_the_sky_and_not_the_stars_in_it():
    rng = np.random.default_rng(4)
    image = (7 + rng.normal(0, 0.3, SHAPE)).astype(np.float32)
    image[30, 45], image[41, 30] = 900, 500  # stars in the ring
    image[20, 30] = np.nan

    level, error = local_backgrounds(image, *at((30.2, 30.4)), 8, 16)

    # about 600 pixels: the median scatters by 1.25 x 0.3 / sqrt(600), as its error says
    assert_allclose(level, 7, atol=4 * error[0])
    assert_allclose(error, 1.25 * 0.3 / np.sqrt(603), rtol=0.1)


def test_a_ring_that_sees_nothing_has_no_sky():
    image = np.full(SHAPE, np.nan, np.float32)

    level, error = local_backgrounds(image, *at((30, 30), (np.nan, 4)), 5, 8)

    assert np.isnan(level).all()
    assert np.isnan(error).all()


@given(
    st.floats(-90, 90),
    st.floats(1.5, 5),
    st.floats(0.3, 0.95),
    st.floats(29, 31),
    st.floats(34, 36),
)
def test_place_and_shape_of_a_source_come_back(angle, major, ratio, y, x):
    minor = max(major * ratio, 1.2)
    light = gaussian(x, y, major=major, minor=minor, angle=angle)

    found = measured(light)
    shapes = ellipses(found)

    # sampling a Gaussian of sigma > 1 at pixel centres is exact to 1e-6, float32 to 1e-5; the
    # image cuts a Gaussian of sigma 5 at six sigma
    assert_allclose([found.x[0], found.y[0]], [x, y], atol=1e-3)
    assert_allclose([shapes.semimajor[0], shapes.semiminor[0]], [major, minor], rtol=1e-3)
    assert shapes.ellipticity[0] == pytest.approx(1 - minor / major, abs=2e-3)
    if major > 1.05 * minor:
        turned = (shapes.orientation[0] - angle + 90) % 180 - 90
        assert abs(turned) < 0.5  # 1e-3 of the axes, over their difference of 5 %


def test_the_isophotal_flux_is_the_light_above_the_sky():
    light = gaussian(30, 30)

    found = measured(light, level=5.0, error=0.2)

    assert found.flux[0] == pytest.approx(1000, rel=1e-4)  # float32 sum of 4331 pixels
    assert found.flux_err[0] == pytest.approx(0.2 * np.sqrt(light.size))
    assert found.area[0] == light.size


def test_boxes_hold_their_segments():
    labels = np.zeros(SHAPE, np.int32)
    labels[5:9, 10:20] = 1
    labels[30, 40] = 2

    found = measured(np.ones(SHAPE, np.float32), labels)

    assert found.xmin.tolist() == [10, 40]
    assert found.xmax.tolist() == [19, 40]
    assert found.ymin.tolist() == [5, 30]
    assert found.ymax.tolist() == [8, 30]


def test_a_source_of_one_pixel_is_as_large_as_a_pixel():
    labels = np.zeros(SHAPE, np.int32)
    labels[30, 40] = 1

    shapes = ellipses(measured(np.ones(SHAPE, np.float32), labels))

    assert shapes.semimajor[0] == pytest.approx(np.sqrt(1 / 12))  # of a uniform square
    assert shapes.ellipticity[0] == pytest.approx(0)


def kron(light, labels, mask=None, **settings):
    found = measured(light, labels)
    err = np.full(light.shape, 0.1, np.float32)
    mask = np.zeros(light.shape, bool) if mask is None else mask
    return kron_fluxes(light, err, mask, labels, found, ellipses(found), **settings)


def test_a_kron_ellipse_holds_the_light_of_an_elliptical_source():
    light = gaussian(35, 30, major=4, minor=2, angle=30)
    labels = (light > light.max() / 100).astype(np.int32)

    flux, error, radius = kron(light, labels, least=0.0)

    # The mean radius of a Gaussian is sqrt(pi / 2) sigma: 2.5 of them hold 1 - exp(-4.9) = 99.3 %,
    # a little less as the moments of the segment end at three sigma.
    assert flux[0] == pytest.approx(1000, rel=0.02)
    assert radius[0] == pytest.approx(np.sqrt(np.pi / 2), rel=0.1)
    assert 0 < error[0] < 0.1 * np.sqrt(light.size)


@pytest.mark.parametrize(
    ("neighbours", "most"), [("correct", 1020), ("mask", 1020), ("none", 4001)]
)
def test_a_neighbour_in_the_ellipse_counts_only_if_asked(neighbours, most):
    light = gaussian(30, 30) + gaussian(42, 30, flux=3000, major=2, minor=2)
    labels = np.zeros(SHAPE, np.int32)
    labels[22:39, 22:36], labels[22:39, 36:50] = 1, 2

    flux, _, _ = kron(light, labels, neighbours=neighbours)

    # its own light, less what the border between the two cuts off (2 sigma: some percent), plus
    # what the neighbour sends across it
    assert 900 < flux[0] < most
    if neighbours == "none":
        assert flux[0] > 1020


def test_a_hole_in_the_ellipse_is_filled_from_the_other_side():
    light = gaussian(30, 30)
    labels = (light > light.max() / 100).astype(np.int32)
    whole, error, _ = kron(light, labels)
    mask = np.zeros(SHAPE, bool)
    mask[28:33, 33:36] = True  # a fifth of the light
    light[mask] = 0
    labels[mask] = 0
    found = measured(light, labels)
    shift = found.x[0] - 30  # the centroid itself leans away from the hole

    holed, holed_error, _ = kron(light, labels, mask)

    assert abs(shift) < 0.5
    assert_allclose(holed, whole, rtol=0.08)
    assert_allclose(holed_error, error, rtol=0.15)  # by the size of the ellipse


def test_a_circle_is_the_smallest_ellipse():
    light = np.ones(SHAPE, np.float32)
    labels = np.zeros(SHAPE, np.int32)
    labels[30, 30] = 1

    flux, _, _ = kron(light, labels, least_circle=6.0)

    assert_allclose(flux, np.pi * 36, rtol=1e-5)


def test_what_is_left_of_the_sky_around_a_source_is_seen():
    signal = np.full(SHAPE, 0.25, np.float32)
    labels = np.zeros(SHAPE, np.int32)
    labels[25:35, 25:35] = 1
    signal[labels > 0] = 50
    found = measured(signal, labels)

    level = rectangular_backgrounds(signal, np.zeros(SHAPE, bool), labels, found, 4)

    assert_allclose(level, 0.25)


def test_a_source_that_fills_the_image_keeps_the_sky_it_has():
    signal = np.ones((5, 5), np.float32)
    labels = np.ones((5, 5), np.int32)

    level = rectangular_backgrounds(
        signal, np.zeros((5, 5), bool), labels, measured(signal, labels), 3
    )

    assert_array_equal(level, 0)


def test_magnitudes_are_those_of_the_ab_system():
    # Oke & Gunn 1983: 3631 Jy is magnitude zero, to the digits of 48.60
    magnitude, error = ab_magnitudes(np.array([3630.78, 1.0, 1e-6]), np.array([0, 0.01, 1e-7]))

    assert_allclose(magnitude, [0, 8.9, 23.9], atol=1e-5)
    assert_allclose(error, [0, 2.5 * np.log10(1.01), 2.5 * np.log10(1.1)])


def test_a_flux_that_is_not_positive_has_no_magnitude():
    magnitude, error = ab_magnitudes(np.array([-1.0, 0.0, np.nan]), np.ones(3))

    assert np.isnan(magnitude).all()
    assert np.isnan(error).all()


def test_a_star_is_round_and_sharper_than_a_galaxy():
    image = gaussian(20, 20, major=1, minor=1) + gaussian(50, 40, major=4, minor=1.2)

    sharpness, roundness = sharpness_and_roundness(image, *at((20, 20), (50, 40)), 2.4)

    assert abs(roundness[0]) < 1e-5  # by symmetry, to rounding
    assert abs(roundness[1]) > 0.1
    assert 0.2 < sharpness[0] < 1  # Stetson 1987: stars


def test_the_sky_does_not_change_sharpness_and_roundness():
    image = gaussian(30, 30, major=2, minor=1.5)
    place = at((30, 30))

    plain = sharpness_and_roundness(image, *place, 2.4)
    glowing = sharpness_and_roundness(image + np.float32(100), *place, 2.4)

    assert_allclose(glowing, plain, atol=1e-4)  # float32 of 100 against a peak of 50


def test_a_source_at_the_border_or_nowhere_is_no_failure():
    image = gaussian(0, 0)

    sharpness, roundness = sharpness_and_roundness(image, *at((0, 0), (np.nan, 2), (70, 60)), 2.0)

    assert np.isfinite(sharpness[0])
    assert np.isnan([sharpness[1], roundness[1]]).all()


def test_the_nearest_source_is_the_nearest():
    index, distance = nearest_neighbours(*at((0, 0), (3, 4), (3, 5), (np.nan, 0)))

    assert index.tolist() == [1, 2, 1, -1]
    assert_allclose(distance, [5, 1, 1, np.nan])


def test_two_sources_at_one_place_are_each_others_nearest():
    index, distance = nearest_neighbours(*at((1, 1), (1, 1), (9, 9)))

    assert index[:2].tolist() == [1, 0]
    assert_array_equal(distance[:2], 0)


def test_a_source_alone_has_no_neighbour():
    index, distance = nearest_neighbours(*at((5, 5)))

    assert index.tolist() == [-1]
    assert np.isnan(distance).all()
