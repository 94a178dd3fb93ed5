"""Positions interpolated between exact points are the exact positions."""

import numpy as np
import pytest
from astropy.wcs import WCS

from lightmill.errors import DataError
from lightmill.imaging.pixel_map import TOLERANCE, PixelMap
from tests.unit.imaging.sky_exposures import distorted_wcs

SHAPE = (200, 160)


def plane(ra=53.1, dec=-27.8, scale=0.065):
    """A tangent plane as FITS keywords say it."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, dec], [80.0, 100.0]
    wcs.wcs.cdelt = [-scale / 3600, scale / 3600]
    wcs.wcs.set()
    return wcs


@pytest.mark.parametrize("distortion", [0.0, 1e-6, 1e-4])  # the last is 1 % at the edge
def test_a_map_through_a_distortion_is_exact_to_its_tolerance(distortion):
    source, target = distorted_wcs(SHAPE, roll=31.0, distortion=distortion), plane()
    there = PixelMap(source, target, SHAPE)
    y, x = np.indices(SHAPE)

    block = there.block(0, SHAPE[0], 0, SHAPE[1])

    exact = target.world_to_pixel_values(*source.pixel_to_world_values(x, y))
    assert there.degree is not None
    # tolerance: what the map promises at the points it was measured at; twice that in between
    np.testing.assert_allclose(block[..., 0], exact[0], atol=2 * TOLERANCE, rtol=0)
    np.testing.assert_allclose(block[..., 1], exact[1], atol=2 * TOLERANCE, rtol=0)


def test_a_part_of_a_map_is_a_part_of_the_whole():
    there = PixelMap(distorted_wcs(SHAPE, distortion=1e-5), plane(), SHAPE)

    part = there.block(50, 61, 20, 47)

    np.testing.assert_allclose(part, there.block(0, 200, 0, 160)[50:61, 20:47], rtol=1e-12)


class Bumpy:
    """A system with a step in it, as a badly stitched distortion has."""

    def __init__(self, wcs):
        self._wcs = wcs

    def pixel_to_world_values(self, x, y):
        return self._wcs.pixel_to_world_values(np.asarray(x) + 0.3 * (np.asarray(x) > 71), y)


def test_a_map_that_is_not_smooth_is_evaluated_at_every_pixel():
    there = PixelMap(Bumpy(plane()), plane(), SHAPE)

    block = there.block(0, 3, 0, 160)

    assert there.degree is None
    x = np.arange(160)
    np.testing.assert_allclose(block[1, :, 0], x + 0.3 * (x > 71), atol=1e-7)


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 10.0), (359.9999, -30.0), (123.0, 90.0)])
def test_a_map_does_not_mind_the_pole_and_the_end_of_right_ascension(ra, dec):
    source = distorted_wcs(SHAPE, ra=ra, dec=dec, distortion=1e-6)
    y, x = np.array([0.0, 100.0, 199.0]), np.array([0.0, 80.0, 159.0])

    there = PixelMap(source, distorted_wcs(SHAPE, ra=ra, dec=dec, distortion=0.0), SHAPE)

    # physics: distortion of 1e-6 a pixel moves the corner, 100 pixels away, by 0.02 pixel
    moved = there.points(x, y) - np.stack([x, y])
    assert np.abs(moved).max() < 0.05


def test_an_image_that_is_not_on_the_sky_is_refused():
    class Nowhere:
        def pixel_to_world_values(self, x, y):
            return np.full_like(x, np.nan), np.full_like(y, np.nan)

    with pytest.raises(DataError, match="no pixel of the image"):
        PixelMap(Nowhere(), plane(), SHAPE)
