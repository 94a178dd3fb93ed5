"""Stars that exposures share tell how they lie to each other; nothing else does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.imaging.affine import Affine, fit_affine
from lightmill.imaging.alignment import align, align_onto
from lightmill.imaging.overlap import TangentPlane, may_overlap
from lightmill.imaging.pairing import distinct, merged, offset_between, pair_up

ERROR = 0.001  # of a position [arcsec]


def turned(angle, shift, scale=1.0):
    """A pointing error: what was done to the positions."""
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return Affine(scale * np.array([[c, -s], [s, c]]), np.asarray(shift, float))


def back(affine):
    """The transformation that undoes one."""
    matrix = np.linalg.inv(affine.matrix)
    return Affine(matrix, -matrix @ affine.shift)


def exposures(n=4, *, stars=120, step=8.0, error=ERROR, seed=1, angle=0.01, scale=0.0, extra=20):
    """Stars of dithered exposures 40 arcsec wide, with pointing errors, and with spurious ones."""
    random = np.random.default_rng(seed)
    sky = random.uniform(-60, 60, (stars * 9, 2))
    positions, errors = [], []
    for k in range(n):
        centre = np.array([(k - (n - 1) / 2) * step, random.uniform(-3, 3)])
        wrong = turned(
            random.normal(0, angle), random.normal(0, 0.12, 2), 1 + random.normal(0, scale)
        )
        seen = sky[(np.abs(sky - centre) < 20).all(axis=1) & (random.random(len(sky)) < 0.8)]
        spurious = centre + random.uniform(-20, 20, (extra, 2))
        positions.append(
            np.concatenate([wrong(seen + random.normal(0, error, seen.shape)), spurious])
        )
        errors.append(wrong)
    return positions, errors, sky


def residuals(positions, errors, found, extra=20):
    """How far corrected stars are from where they should be, all together moved to fit."""
    here = np.concatenate(
        [c(p[:-extra]) for c, p in zip(found.corrections, positions, strict=True)]
    )
    true = np.concatenate([back(e)(p[:-extra]) for e, p in zip(errors, positions, strict=True)])
    return fit_affine(here, true, "rshift")(here) - true


def test_pointing_errors_are_taken_away():
    positions, errors, _ = exposures()

    found = align(positions)

    assert found.parts == ((0, 1, 2, 3),)
    # physics: 1 mas a star, of which each correction has some eighty
    assert np.sqrt(np.mean(residuals(positions, errors, found) ** 2)) < 4 * ERROR / np.sqrt(80)
    # physics: scatter in x and y together, outliers clipped
    assert np.allclose(found.rms, np.sqrt(2) * ERROR, rtol=0.25)
    assert min(found.counts) > 60


def test_corrections_are_zero_on_average():
    # physics: nothing says which exposure points right
    positions, _errors, _ = exposures()

    found = align(positions)

    assert np.allclose(np.mean([c.shift for c in found.corrections], axis=0), 0, atol=1e-3)
    assert abs(np.mean([c.rotation for c in found.corrections])) < 1e-4


def test_the_first_exposure_stays_where_it_is_when_asked():
    positions, errors, _ = exposures()

    found = align(positions, keep_first=True)

    np.testing.assert_allclose(found.corrections[0].shift, 0, atol=1e-12)
    assert np.sqrt(np.mean(residuals(positions, errors, found) ** 2)) < 4 * ERROR / np.sqrt(80)


def test_the_order_of_exposures_does_not_matter():
    positions, _, _ = exposures()

    one, other = align(positions), align(positions[::-1])

    for a, b in zip(one.corrections, other.corrections[::-1], strict=True):
        np.testing.assert_allclose(a.shift, b.shift, atol=1e-5)  # clipping stops a little earlier
        np.testing.assert_allclose(a.matrix, b.matrix, atol=1e-7)


def test_a_row_of_exposures_does_not_drift():
    # physics: each exposure overlaps with the next two alone; errors of a chain would add up
    positions, errors, _ = exposures(9, step=14.0, stars=60)

    found = align(positions)

    assert len(found.parts[0]) == 9
    # physics: the ends of a row of nine are known from each other through eight steps, each
    # of which has 30 stars and an arm of 10 arcsec for its rotation
    assert np.abs(residuals(positions, errors, found)).max() < 0.006


@pytest.mark.parametrize(
    ("geometry", "angle", "scale"),
    [("shift", 0, 0), ("rshift", 0.05, 0), ("rscale", 0.05, 3e-4), ("general", 0.05, 3e-4)],
)
def test_each_geometry_takes_away_what_it_knows(geometry, angle, scale):
    positions, errors, _ = exposures(3, angle=angle, scale=scale)

    found = align(positions, geometry=geometry)

    here = np.concatenate([c(p[:-20]) for c, p in zip(found.corrections, positions, strict=True)])
    true = np.concatenate([back(e)(p[:-20]) for e, p in zip(errors, positions, strict=True)])
    left = fit_affine(here, true, "general")(here) - true
    assert np.sqrt(np.mean(left**2)) < 6 * ERROR / np.sqrt(80)
    assert np.isclose(np.mean([c.scale for c in found.corrections]), 1, atol=1e-4)


def test_an_exposure_of_another_field_is_not_aligned():
    positions, _, _ = exposures(3)
    positions[2] = np.random.default_rng(9).uniform(-20, 20, (150, 2))

    found = align(positions)

    assert found.corrections[2] is None
    assert found.parts == ((0, 1),)
    assert np.isnan(found.rms[2])


def test_fields_apart_are_aligned_each_in_itself():
    one, _errors_one, _ = exposures(2, seed=1)
    other, _errors_other, _ = exposures(3, seed=2)

    found = align(one + [xy + 500 for xy in other])

    assert sorted(found.parts) == [(0, 1), (2, 3, 4)]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_stars_align_nothing(count):
    stars = np.random.default_rng(1).uniform(-20, 20, (count, 2))

    found = align([stars, stars + 0.1])

    assert found.corrections == (None, None)


@pytest.mark.parametrize("count", [2, 3])
def test_the_same_exposure_again_needs_no_correction(count):
    positions, _, _ = exposures(1)

    found = align(positions * count)

    for correction in found.corrections:
        np.testing.assert_allclose(correction.shift, 0, atol=1e-9)


def test_chance_is_not_taken_for_an_offset():
    random = np.random.default_rng(5)

    found = [
        offset_between(*random.uniform(-60, 60, (2, 300, 2)), radius=2.0, tolerance=0.7)
        for _ in range(60)
    ]

    assert not any(found)


@given(
    angle=st.floats(-180, 180),
    dx=st.floats(-50, 50),
    dy=st.floats(-50, 50),
    scale=st.floats(0.9, 1.1),
)
def test_a_fit_finds_the_transformation_that_was_applied(angle, dx, dy, scale):
    xy = np.random.default_rng(1).uniform(-30, 30, (7, 2))
    applied = turned(angle, (dx, dy), scale)

    for geometry in ("rscale", "general"):
        found = fit_affine(xy, applied(xy), geometry)

        np.testing.assert_allclose(found(xy), applied(xy), atol=1e-9)


def test_weights_decide_where_pairs_disagree():
    xy = np.array([[0.0, 0], [10, 0]])
    there = np.array([[1.0, 0], [13, 0]])

    found = fit_affine(xy, there, "shift", np.array([3.0, 1.0]))

    np.testing.assert_allclose(found.shift, [1.5, 0])


def test_outliers_of_a_catalog_are_left_out():
    # physics: stars moved by (3, -2) arcsec, a fifth of the catalog's positions wrong by 0.3
    random = np.random.default_rng(3)
    sky = random.uniform(-60, 60, (200, 2))
    catalog = turned(0, (3, -2))(sky) + random.normal(0, ERROR, sky.shape)
    catalog[:40] += random.normal(0, 0.3, (40, 2))

    correction, count, rms = align_onto(sky, catalog)

    np.testing.assert_allclose(correction(sky) - sky, [[3, -2]] * 200, atol=4 * ERROR)
    assert 150 <= count <= 162
    assert rms < 2 * ERROR


def test_a_catalog_of_elsewhere_matches_nothing():
    random = np.random.default_rng(3)

    assert align_onto(*random.uniform(-60, 60, (2, 200, 2))) is None


def test_of_close_stars_the_first_counts():
    xy = np.array([[0.0, 0], [0.5, 0], [0.9, 0], [5, 5]])

    # physics: the third is near the second alone, which does not count
    assert distinct(xy, 0.6).tolist() == [True, False, True, True]


def test_pairs_are_nearest_from_both_sides():
    pairs = pair_up(np.array([[0.0, 0], [0.4, 0], [9, 9]]), np.array([[0.3, 0], [50, 50]]), 0.7)

    assert pairs.tolist() == [[1, 0]]


def test_merging_averages_what_is_the_same():
    stars = merged([np.array([[0.0, 0], [5, 5]]), np.array([[0.01, 0], [9, 9]])], 0.1)

    assert sorted(map(tuple, np.round(stars, 6))) == [(0.005, 0), (5, 5), (9, 9)]


@given(
    ra=st.floats(0, 359.999),
    dec=st.sampled_from([-90.0, -89.999, -45.0, 0.0, 30.0, 89.9999, 90.0]),
)
def test_the_plane_knows_neither_poles_nor_the_end_of_right_ascension(ra, dec):
    plane = TangentPlane(ra, dec)
    xy = np.random.default_rng(1).uniform(-300, 300, (20, 2))

    sky = plane.deproject(xy)

    np.testing.assert_allclose(plane.project(*sky), xy, atol=1e-7)
    middle = TangentPlane.of(*sky)
    assert np.hypot(*plane.project([middle.ra], [middle.dec])[0]) < 300


def test_outlines_far_apart_do_not_overlap():
    square = np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]])

    assert may_overlap([square], [square + 9])
    assert not may_overlap([square], [square + 11])
    assert may_overlap([square], [square + 11], margin=2)
