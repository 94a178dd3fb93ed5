"""The grid of a mosaic covers its exposures, wherever they are, or says why it cannot."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from lightmill.errors import ConfigurationError, DataError
from lightmill.imaging.mosaic_frame import (
    Orientation,
    corners_of,
    cover,
    given_frame,
    keywords_of,
    outline,
    pixel_area,
)
from tests.unit.imaging.sky_exposures import SCALE, distorted_wcs

SHAPE = (120, 100)


def frame_of(*systems, **choices):
    return cover([corners_of(w, SHAPE) for w in systems], systems[0], SHAPE, **choices)


@pytest.mark.parametrize(
    ("ra", "dec"), [(53.1, -27.8), (0.0, 0.0), (359.9995, 45.0), (10.0, 90.0), (200.0, -89.9999)]
)
@pytest.mark.parametrize("roll", [0.0, 77.0])
def test_every_corner_of_every_exposure_lies_on_the_mosaic(ra, dec, roll):
    systems = [
        distorted_wcs(SHAPE, ra=ra, dec=dec, roll=roll),
        distorted_wcs(SHAPE, ra=ra, dec=dec - 5e-4, roll=roll + 4),
    ]

    frame = frame_of(*systems)

    ny, nx = frame.shape
    for wcs in systems:
        x, y = frame.wcs.invert(*corners_of(wcs, SHAPE).T, with_bounding_box=False)
        # half a pixel is cut off at the far edges, as the field has it
        assert (x > -0.5).all()
        assert (x < nx + 0.5).all()
        assert (y > -0.5).all()
        assert (y < ny + 0.5).all()
    assert nx * ny < 4 * 120 * 100  # and it is no larger than it must be


def test_the_pixels_have_the_scale_of_the_first_exposure():
    frame = frame_of(distorted_wcs(SHAPE, distortion=0.0))

    assert frame.scale == pytest.approx(SCALE, rel=1e-6)
    assert frame.steradians == pytest.approx(pixel_area(frame.wcs, frame.shape), rel=1e-6)


def test_pixel_scale_and_ratio_are_two_ways_to_say_the_same():
    wcs = distorted_wcs(SHAPE, distortion=0.0)

    finer, same = frame_of(wcs, pixel_scale_ratio=0.5), frame_of(wcs, pixel_scale=SCALE / 2)

    assert finer.scale == pytest.approx(same.scale, rel=1e-6)
    assert finer.ratio == pytest.approx(same.ratio, rel=1e-6) == 0.5
    assert finer.shape == same.shape


@pytest.mark.parametrize("rotation", [0.0, 30.0, 200.0])
def test_the_y_axis_points_to_the_position_angle_asked_for(rotation):
    frame = frame_of(distorted_wcs(SHAPE, roll=12.0), rotation=rotation)

    ra, dec = frame.wcs.pixel_to_world_values(np.array([50.0, 50.0]), np.array([50.0, 51.0]))
    here, up = SkyCoord(ra, dec, unit="deg")
    difference = here.position_angle(up).deg - rotation
    assert (difference + 180) % 360 - 180 == pytest.approx(0, abs=1e-3)


def test_axes_follow_the_first_exposure_whether_it_says_how_it_lies_or_not():
    wcs = distorted_wcs(SHAPE, roll=12.0, distortion=0.0)

    told = frame_of(wcs, orientation=Orientation(np.deg2rad(10.0), np.deg2rad(2.0), -1))
    found = frame_of(wcs)

    assert keywords_of(told)["pc1_2"] == pytest.approx(np.sin(np.deg2rad(12.0)), abs=1e-9)
    assert keywords_of(found)["pc1_2"] == pytest.approx(np.sin(np.deg2rad(12.0)), abs=1e-6)
    assert keywords_of(found)["pc1_1"] < 0  # right ascension grows to the left


def test_the_place_of_the_tangent_point_and_the_size_can_be_chosen():
    frame = frame_of(
        distorted_wcs(SHAPE), crval=[53.1001, -27.8001], crpix=[20.0, 30.0], output_shape=[60, 80]
    )

    assert frame.shape == (80, 60)
    assert frame.wcs.pixel_to_world_values(20.0, 30.0) == pytest.approx((53.1001, -27.8001))


def test_keywords_say_what_the_generalised_system_says():
    frame = frame_of(distorted_wcs(SHAPE, roll=33.0))
    words = keywords_of(frame)
    fits = WCS(naxis=2)
    fits.wcs.ctype = [words["ctype1"], words["ctype2"]]
    fits.wcs.crpix = [words["crpix1"], words["crpix2"]]
    fits.wcs.crval = [words["crval1"], words["crval2"]]
    fits.wcs.cdelt = [words["cdelt1"], words["cdelt2"]]
    fits.wcs.pc = [[words[f"pc{i}_{j}"] for j in (1, 2)] for i in (1, 2)]

    there = fits.pixel_to_world_values(7.0, 81.0)

    assert there == pytest.approx(frame.wcs.pixel_to_world_values(7.0, 81.0), abs=1e-10)


def test_a_given_system_is_taken_as_it_is():
    wcs = distorted_wcs(SHAPE, scale=0.03, distortion=0.0)
    reference = distorted_wcs(SHAPE, distortion=0.0)

    frame = given_frame(wcs, reference, SHAPE)

    assert frame.shape == SHAPE
    assert frame.scale == pytest.approx(0.03, rel=1e-6)
    assert frame.ratio == pytest.approx(0.03 / SCALE, rel=1e-6)


def test_a_given_system_without_a_size_is_refused():
    wcs = distorted_wcs(SHAPE)
    wcs.bounding_box = None

    with pytest.raises(ConfigurationError, match="output_shape"):
        given_frame(wcs, wcs, SHAPE)


@pytest.mark.parametrize(
    ("second", "fact"),
    [((55.0, -26.0), "too large"), ((153.1, 40.0), "too large"), ((233.1, 27.0), "too far apart")],
)
def test_exposures_of_different_fields_make_no_mosaic(second, fact):
    systems = [distorted_wcs(SHAPE), distorted_wcs(SHAPE, ra=second[0], dec=second[1])]

    with pytest.raises(DataError, match=fact) as failure:
        frame_of(*systems, place="a_cal.fits and 1 more")

    assert failure.value.place == "a_cal.fits and 1 more"
    assert "mosaic of each field" in failure.value.remedy


def test_a_mosaic_without_pixels_is_refused():
    with pytest.raises(ConfigurationError, match="no pixels"):
        frame_of(distorted_wcs(SHAPE), pixel_scale=60.0)


def test_the_outline_of_several_exposures_goes_around_all_of_them():
    systems = [distorted_wcs(SHAPE), distorted_wcs(SHAPE, ra=53.101)]

    text = outline([corners_of(w, SHAPE) for w in systems])

    words = text.split()
    assert words[:2] == ["POLYGON", "ICRS"]
    ra = [float(word) for word in words[2::2]]
    assert max(ra) - min(ra) == pytest.approx(
        0.001 + 100 * SCALE / 3600 / np.cos(np.deg2rad(27.8)), rel=1e-3
    )
