import numpy as np
from numpy.testing import assert_allclose

from lightmill.imaging.footprint import corners, region_text

BOX = ((-0.5, 9.5), (-0.5, 4.5))


def test_corners_go_round_the_image_and_right_ascension_stays_positive():
    def sky(x, y):
        return np.asarray(x) * 0.1 - 0.5, np.asarray(y) * 0.1

    found = corners(sky, BOX)

    assert_allclose(found, [[359.45, -0.05], [359.45, 0.45], [0.45, 0.45], [0.45, -0.05]])


def test_the_text_has_nine_decimals():
    text = region_text(np.array([[1.0, -2.0], [1.0, 2.0], [3.123456789123, 2.0], [3.0, -2.0]]))

    assert text == (
        "POLYGON ICRS  1.000000000 -2.000000000 1.000000000 2.000000000 "
        "3.123456789 2.000000000 3.000000000 -2.000000000"
    )


def test_an_outline_that_leaves_the_sky_is_none():
    assert region_text(np.array([[1.0, np.nan], [1.0, 2.0], [3.0, 2.0], [3.0, 1.0]])) is None
