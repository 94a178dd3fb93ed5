import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from lightmill.errors import DataError
from lightmill.imaging.sip import fit_sip, tangent_plane

SCALE = 0.065 / 3600  # degrees per pixel
BOX = ((-0.5, 1023.5), (-0.5, 767.5))


def header(**keywords):
    cards = {name.upper(): value for name, value in keywords.items()}
    return fits.Header({"NAXIS": 2, "NAXIS1": 1024, "NAXIS2": 768, **cards})


def system(ra=150.0, dec=30.0, roll=20.0, bend=1.0):
    """A world coordinate system of keywords: distorted by `bend` pixels half-way to the edge."""
    cosine, sine = np.cos(np.deg2rad(roll)), np.sin(np.deg2rad(roll))
    told = header(
        crpix1=512.0, crpix2=384.0, crval1=ra, crval2=dec, ctype1="RA---TAN-SIP", ctype2="DEC--TAN-SIP",
        cunit1="deg", cunit2="deg", cd1_1=-SCALE * cosine, cd1_2=SCALE * sine, cd2_1=SCALE * sine,
        cd2_2=SCALE * cosine, a_order=3, b_order=3, a_2_0=bend / 256**2, a_1_2=-bend / 256**3,
        b_1_1=bend / 256**2, b_0_3=bend / 256**3,
    )  # fmt: skip
    wcs = WCS(told)
    return lambda x, y: tuple(wcs.all_pix2world(x, y, 0))


def between(sky, sip, x, y):
    """Distances of two systems [pixel]."""
    theirs = SkyCoord(*WCS(header(**sip.keywords)).all_pix2world(x, y, 0), unit="deg")
    return theirs.separation(SkyCoord(*sky(x, y), unit="deg")).deg / SCALE


@settings(max_examples=15, deadline=None)
@given(
    ra=st.floats(0, 359.99),
    dec=st.floats(-90, 90),
    roll=st.floats(0, 360),
    bend=st.floats(0.1, 4),
)
def test_keywords_stand_for_the_system_anywhere_on_the_sky(ra, dec, roll, bend):
    sky = system(ra, dec, roll, bend)
    x, y = np.meshgrid(np.linspace(-0.5, 1023.5, 30), np.linspace(-0.5, 767.5, 30))

    sip = fit_sip(sky, BOX)

    error = between(sky, sip, x, y).max()
    assert error <= 0.01
    # at a pole, right ascension itself is rounded to 1e-14 of a turn: nothing against a pixel
    assert_allclose(error, sip.error, atol=2e-3)


def test_the_lowest_degree_that_is_close_enough_is_taken():
    coarse, fine = (
        fit_sip(system(), BOX, crpix=(512.0, 384.0), max_error=error) for error in (20.0, 1e-6)
    )

    assert "a_order" not in coarse.keywords
    assert coarse.keywords["ctype1"] == "RA---TAN"
    assert fine.keywords["a_order"] == 3
    assert_allclose(fine.keywords["a_2_0"], 1 / 256**2, rtol=1e-6)


def test_the_degree_asked_for_is_taken():
    sip = fit_sip(system(), BOX, degree=2, inverse_degree=4)

    assert (sip.keywords["a_order"], sip.keywords["ap_order"]) == (2, 4)
    assert sip.error > 0.1


def test_the_polynomials_of_the_way_back_lead_back():
    sky = system()
    x, y = np.meshgrid(np.linspace(-0.5, 1023.5, 20), np.linspace(-0.5, 767.5, 20))
    sip = fit_sip(sky, BOX, max_inverse_error=0.01)

    told = sip.keywords
    straight = WCS(header(**told)).wcs_world2pix(*sky(x, y), 1)  # without the polynomials
    u, v = straight[0] - told["crpix1"], straight[1] - told["crpix2"]
    back = [
        sum(
            value * u ** int(name[3]) * v ** int(name[5])
            for name, value in told.items()
            if name.startswith(letters) and name[3].isdigit()
        )
        for letters in ("ap_", "bp_")
    ]

    assert np.hypot(straight[0] + back[0] - 1 - x, straight[1] + back[1] - 1 - y).max() <= 0.01
    assert sip.inverse_error <= 0.01


def test_no_way_back_where_none_is_wanted():
    sip = fit_sip(system(), BOX, max_inverse_error=None)

    assert sip.inverse_error is None
    assert not any(name.startswith("ap") for name in sip.keywords)


def test_an_image_that_leaves_the_sky_is_an_error():
    def nowhere(x, y):
        return np.asarray(x) * 0.0 + 10.0, np.where(
            np.asarray(y) > 700, np.nan, np.asarray(y) / 1e5
        )

    with pytest.raises(DataError, match="nowhere on the sky"):
        fit_sip(nowhere, BOX)


def test_an_image_without_pixels_is_an_error():
    with pytest.raises(DataError, match="too small"):
        fit_sip(system(), ((-0.5, -0.5), (-0.5, 10.5)))


def test_the_tangent_plane_keeps_small_distances_exactly():
    # a milliarcsecond east and north of the centre, near the pole and at the wrap of right ascension
    for ra, dec in ((0.0, 89.999), (359.9999999, 0.0), (10.0, -60.0)):
        step = 1 / 3.6e6
        xi, eta = tangent_plane(ra + step / np.cos(np.deg2rad(dec)), dec + step, (ra, dec))

        # 3.6 arcsec from the pole, meridians converge by 1/3600 over a milliarcsecond
        assert_allclose([xi, eta], step, rtol=3e-4)


def test_the_far_side_of_the_sky_has_no_place_in_the_plane():
    assert np.isnan(tangent_plane(180.0, 0.0, (0.0, 0.0))).all()
