"""Which pixels make a source."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lightmill.errors import ConfigurationError
from lightmill.imaging.segmentation import _without_scraps, find_segments, in_reading_order


def star(image, x, y, peak, sigma=2.0):
    yy, xx = np.indices(image.shape)
    image += (peak * np.exp(-0.5 * ((xx - x) ** 2 + (yy - y) ** 2) / sigma**2)).astype(image.dtype)


def find(image, **changes):
    wanted = {"threshold": 3.0, "npixels": 5, **changes}
    return find_segments(image, **wanted)


@pytest.fixture
def blend():
    """Two stars whose images touch, one three times as bright."""
    image = np.zeros((40, 50), np.float32)
    star(image, 20, 20, 60)
    star(image, 29, 20, 20)
    return image


def test_a_source_is_every_pixel_above_the_threshold_around_its_peak():
    image = np.zeros((40, 40), np.float32)
    star(image, 12, 25, 50)

    labels, count = find(image)

    assert count == 1
    assert_array_equal(labels > 0, image > 3)


def test_fewer_pixels_than_asked_for_are_no_source():
    image = np.zeros((20, 20), np.float32)
    image[4:6, 4:8] = 10  # eight pixels

    assert find(image, npixels=8)[1] == 1
    assert find(image, npixels=9)[1] == 0


def test_a_pixel_at_the_threshold_is_not_above_it():
    image = np.full((6, 6), 3, np.float32)

    assert find(image)[1] == 0


def test_two_peaks_are_taken_apart(blend):
    labels, count = find(blend)

    assert count == 2
    assert labels[20, 20] != labels[20, 29]
    assert_array_equal(labels > 0, blend > 3)  # no pixel is lost


def test_a_blend_stays_whole_if_nobody_asks(blend):
    assert find(blend, deblend=False)[1] == 1


def test_no_piece_has_less_than_half_the_pixels_of_a_source():
    from scipy import ndimage

    rng = np.random.default_rng(1)
    image = np.zeros((200, 200), np.float32)
    places, peaks = rng.uniform(5, 195, (2, 120)), 10 ** rng.uniform(0.6, 2.5, 120)
    for x, y, peak, sigma in zip(*places, peaks, rng.uniform(1, 6, 120), strict=True):
        star(image, x, y, peak, sigma)
    image += ndimage.gaussian_filter(rng.normal(0, 6, image.shape), 1).astype(np.float32)

    labels, count = find(image, npixels=25)

    size = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    assert count > 50  # of which ten are left with five pixels or so by the finder
    assert size.min() >= 12


def test_scraps_go_to_the_piece_that_touches_them_most():
    labels = np.zeros((8, 12), np.int32)
    labels[1:7, 1:6] = 1
    labels[1:7, 6:11] = 3
    labels[3, 5:7] = 2  # touches the first with as many pixels, and more of the last below
    labels[2:5, 7] = 3
    labels[3, 5] = 1
    before = labels.copy()

    made, count = _without_scraps(labels, 3, 4)

    assert count == 2
    assert made[3, 6] == 2  # of the last, which has another number now
    assert_array_equal(made == 1, before == 1)
    assert_array_equal(made > 0, before > 0)


def test_a_scrap_that_touches_nothing_stays():
    labels = np.zeros((8, 12), np.int32)
    labels[1:6, 1:6] = 1
    labels[3, 9] = 2

    made, count = _without_scraps(labels.copy(), 2, 4)

    assert count == 2
    assert_array_equal(made, labels)


def test_a_part_with_too_little_of_the_light_is_none(blend):
    assert find(blend, contrast=0.5)[1] == 1


def test_touching_at_a_corner_connects_only_eight_neighbours():
    image = np.zeros((20, 20), np.float32)
    image[2:5, 2:5] = image[5:8, 5:8] = 10

    assert find(image, deblend=False, connectivity=8)[1] == 1
    assert find(image, deblend=False, connectivity=4)[1] == 2


def test_labels_go_by_the_first_pixel_row_by_row():
    image = np.zeros((60, 60), np.float32)
    for x, y in ((50, 40), (10, 10), (40, 10), (30, 25)):
        star(image, x, y, 50, sigma=1.5)

    labels, _ = find(image)

    assert [labels[y, x] for x, y in ((10, 10), (40, 10), (30, 25), (50, 40))] == [1, 2, 3, 4]


def test_the_same_image_gives_the_same_labels(blend):
    first, _ = find(blend)
    find(np.ascontiguousarray(blend[::-1]))  # something else in between
    again, _ = find(blend)

    assert_array_equal(first, again)


def test_a_crowded_image_is_no_failure():
    # every pixel belongs to one source: more than the 300 000 the finder provides for by itself
    image = np.full((560, 560), 5, np.float32)

    labels, count = find(image, deblend=False)

    assert count == 1
    assert labels.min() == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (2, 3)])
def test_a_tiny_image_has_no_source_but_no_failure_either(shape):
    labels, count = find(np.zeros(shape, np.float32))

    assert count == 0
    assert labels.shape == shape


def test_renumbering_keeps_the_segments():
    labels = np.array([[0, 3, 3], [1, 1, 0], [0, 2, 2]], np.int32)

    assert in_reading_order(labels, 3).tolist() == [[0, 1, 1], [2, 2, 0], [0, 3, 3]]


def test_what_needs_a_package_that_is_missing_says_so(blend, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    with pytest.raises(ConfigurationError, match="photutils") as caught:
        find(blend, mode="sinh")

    assert "pip install" in caught.value.remedy
