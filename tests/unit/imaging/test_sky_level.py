"""The level of the sky is that of the sky, whatever is on it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.errors import UnknownNameError
from lightmill.imaging.sky_level import (
    Clipping,
    bad_bits,
    cells_of,
    differences,
    level,
    levels,
    pixel_noise,
    sample,
)
from lightmill.models.dq import PIXEL

NOISE = 0.02


def crowded(size=256, sources=300, seed=1, sky=1.0, offset=(0.0, 0.0), noise=NOISE):
    """The same crowded field, seen a little aside, with noise of its own."""
    random = np.random.default_rng(99)
    image = np.full((size, size), sky)
    y, x = np.mgrid[:size, :size]
    for _ in range(sources):
        at = random.uniform(-10, size + 10, 2) + offset
        width, height = random.uniform(0.7, 3.0), NOISE * np.exp(random.uniform(0, 7))
        near = (
            slice(max(0, int(at[1]) - 20), max(0, int(at[1]) + 21)),
            slice(max(0, int(at[0]) - 20), max(0, int(at[0]) + 21)),
        )
        r2 = (x[near] - at[0]) ** 2 + (y[near] - at[1]) ** 2
        image[near] += height * np.exp(-r2 / (2 * width**2))
    image += np.random.default_rng(seed).normal(0, noise, image.shape)
    return image.astype(np.float32)


def cells(image, offset=(0.0, 0.0), scale=0.065, noise=None, bad=None):
    """Cells of an image whose pixels are squares in the plane."""
    size = len(image)
    x, y = (at.ravel() for at in np.meshgrid(*2 * [np.linspace(0, size - 1, 9)]))
    pixels = np.stack([x, y], axis=1)
    bad = np.zeros(image.shape, bool) if bad is None else bad
    return cells_of(image, bad, pixels, (pixels - offset) * scale, noise=noise)


@pytest.mark.parametrize("statistic", ["median", "midpt", "mean", "mode"])
def test_the_level_of_noise_is_its_middle(statistic):
    values = np.random.default_rng(1).normal(5.0, NOISE, 100_000)

    middle, sigma = level(values, statistic)

    # physics: the error of the mean of 100 000 values; that of the mode is up to twice as large
    assert abs(middle - 5.0) < 8 * NOISE / np.sqrt(1e5)
    assert np.isclose(sigma, NOISE, rtol=0.02)


def test_the_mode_is_least_biased_by_sources():
    # physics: a tenth of the pixels have light of sources, most of it faint
    random = np.random.default_rng(2)
    values = random.normal(5.0, NOISE, 200_000)
    values[:20_000] += random.exponential(3 * NOISE, 20_000)

    bias = {name: level(values, name)[0] - 5.0 for name in ("mode", "median", "mean")}

    assert 0 < bias["mode"] < bias["median"] < bias["mean"]
    assert bias["mode"] < 0.06 * NOISE


def test_limits_and_clipping_leave_values_out():
    values = np.concatenate([np.random.default_rng(1).normal(5, 0.1, 10_000), np.full(500, 9.0)])

    assert abs(level(values, "mean", Clipping(nclip=0))[0] - 5.19) < 0.01
    assert abs(level(values, "mean", Clipping(nclip=5))[0] - 5) < 0.01
    assert abs(level(values, "mean", Clipping(upper=8.0, nclip=0))[0] - 5) < 0.01
    assert level(values, "mean", Clipping(lower=8.0, nclip=0))[0] == 9.0


@pytest.mark.parametrize("values", [[], [np.nan, np.nan]])
def test_nothing_has_no_level(values):
    assert np.isnan(level(np.array(values))).all()


def test_one_value_everywhere_is_the_level():
    for statistic in ("mode", "median", "mean"):
        assert level(np.full(1000, 3.0), statistic) == (3.0, 0.0)


def test_a_sample_has_its_part_of_every_column():
    image = np.tile(np.arange(64.0), (64, 1))

    values = sample(image, np.zeros(image.shape, bool), 512)

    assert set(values) == set(range(64))
    assert 400 < len(values) <= 600


@pytest.mark.parametrize("offset", [(0.0, 0.0), (7.3, -4.6), (120.4, 0.2)])
def test_the_difference_of_two_skies_is_right_to_its_noise(offset):
    # physics: skies 1.0 and 1.003 under the same 300 sources, a fraction of a cell aside
    a = cells(crowded(seed=1))
    b = cells(crowded(seed=2, sky=1.003, offset=offset), offset)

    difference, error, count = differences([b], [a])

    ideal = NOISE * np.sqrt(2 / (256 - abs(offset[0])) / (256 - abs(offset[1])))
    assert ideal < error < 3 * ideal
    assert abs(difference - 0.003) < 4 * error
    assert count > 1000


def test_differences_are_not_biased_by_sources_or_unequal_noise():
    # physics: twelve pairs of the same field, the second of twice the noise
    found = []
    for k in range(12):
        a = cells(crowded(seed=2 * k), noise=2 * NOISE)
        b = crowded(seed=2 * k + 1, offset=(3.4, 5.7), noise=2 * NOISE)
        b = cells(b, (3.4, 5.7), noise=2 * NOISE)
        found.append(differences([b], [a])[:2])
    values, errors = np.array(found).T

    # physics: the mean of twelve is zero to the error of one over root 12
    assert abs(values.mean()) < 4 * errors.mean() / np.sqrt(12)
    assert values.std() < 1.6 * errors.mean()


def test_the_noise_of_pixels_knows_neither_sky_nor_sources():
    image = crowded(sources=40) + np.linspace(0, 50 * NOISE, 256, dtype=np.float32)

    found = pixel_noise([(image, np.zeros(image.shape, bool))])

    assert np.isclose(found, NOISE, rtol=0.1)  # sources reach into a tenth of the pixels
    assert np.isnan(pixel_noise([(image, np.ones(image.shape, bool))]))


def test_the_order_of_two_turns_the_sign():
    a, b = cells(crowded(seed=1)), cells(crowded(seed=2, sky=1.1, offset=(3.3, 2.2)), (3.3, 2.2))

    assert np.isclose(differences([a], [b])[0], -differences([b], [a])[0], atol=1e-12)


def test_images_without_common_sky_have_no_difference():
    difference, error, count = differences(
        [cells(crowded())], [cells(crowded(), offset=(1000.0, 0.0))]
    )

    assert np.isnan(difference)
    assert np.isnan(error)
    assert count == 0


def test_bad_pixels_do_not_count():
    image = crowded()
    bad = np.random.default_rng(3).random(image.shape) < 0.2
    image[bad] = 1e6

    found, *_ = differences([cells(image, bad=bad)], [cells(crowded(seed=5))])

    assert abs(found) < 5 * NOISE / 256 * 1.5


def test_an_image_of_nothing_but_bad_pixels_has_no_cells():
    image = np.full((64, 64), np.nan, np.float32)

    made = cells(image, bad=np.ones(image.shape, bool))

    assert np.isnan(made.means).all()


@pytest.mark.parametrize("shape", [(8, 8), (5, 40), (64, 96)])
def test_small_images_have_cells_too(shape):
    image = np.ones(shape, np.float32)
    x, y = (at.ravel() for at in np.meshgrid(*(np.linspace(0, n - 1, 9) for n in shape[::-1])))
    pixels = np.stack([x, y], axis=1)
    whole = cells_of(image, np.zeros(shape, bool), pixels, pixels * 0.065)
    more = cells_of(image + 1, np.zeros(shape, bool), pixels, pixels * 0.065)

    assert differences([more], [whole])[0] == pytest.approx(1.0, abs=1e-6)


@given(st.lists(st.floats(0, 10), min_size=2, max_size=6), st.booleans())
def test_levels_are_those_that_give_the_differences(skies, lowest):
    n = len(skies)
    pairs = {(i, j): (skies[i] - skies[j], 0.1) for i in range(n) for j in range(i + 1, n)}

    found, sets = levels(n, pairs, lowest=lowest)

    expected = np.array(skies) - (min(skies) if lowest else max(skies))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert len(sets) == 1


def test_what_does_not_overlap_is_levelled_in_sets():
    found, sets = levels(6, {(0, 1): (1.0, 0.1), (2, 3): (-2.0, 0.1), (3, 4): (0.5, 0.1)})

    np.testing.assert_allclose(found, [1.0, 0.0, 0.0, 2.0, 1.5, np.nan], atol=1e-12)
    assert sets == [[2, 3, 4], [0, 1]]


def test_a_certain_difference_counts_more_than_an_uncertain_one():
    # physics: 0 - 1 and 1 - 2 are known well; 0 - 2, from a small overlap, contradicts them
    found, _ = levels(3, {(0, 1): (1.0, 0.01), (1, 2): (1.0, 0.01), (0, 2): (5.0, 1.0)})

    np.testing.assert_allclose(found, [2.0, 1.0, 0.0], atol=0.01)


def test_flags_are_named_as_the_field_does():
    both = PIXEL["DO_NOT_USE"] | PIXEL["NON_SCIENCE"]

    assert bad_bits("~DO_NOT_USE+NON_SCIENCE") == both
    assert bad_bits("~DO_NOT_USE, NON_SCIENCE") == both
    assert bad_bits(f"~{both}") == both
    assert bad_bits("JUMP_DET+4096") == 0xFFFFFFFF & ~(PIXEL["JUMP_DET"] | 4096)
    assert bad_bits(None) == bad_bits("") == bad_bits("None") == 0
    with pytest.raises(UnknownNameError):
        bad_bits("~DO_NOT_USES")
