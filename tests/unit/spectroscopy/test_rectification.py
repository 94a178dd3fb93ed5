"""Spectra of elements whose light overlaps, taken apart and brought to common channels."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import erf

from lightmill.errors import DataError
from lightmill.spectroscopy.rectification import Spectra, extract, rebinned, signal_of

HEIGHT, COLUMNS = 9, 20


def profiles(elements=6, spacing=1.7, sigma=0.9, tilt=0.08):
    """Gaussian profiles of tilted traces that overlap."""
    rows = 6 + spacing * np.arange(elements)[:, None] + tilt * np.arange(COLUMNS)
    first = np.rint(rows).astype(int) - HEIGHT // 2
    sides = first[:, None, :] + np.arange(HEIGHT + 1)[:, None] - 0.5
    weights = np.diff(erf((sides - rows[:, None, :]) / (sigma * np.sqrt(2))), axis=1) / 2
    return weights, first


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_overlapping_spectra_come_apart_exactly(rng):
    weights, rows = profiles()
    flux = rng.uniform(10, 1000, (6, COLUMNS))
    frame = signal_of(flux, weights, rows, (30, COLUMNS))

    made = extract(frame, np.ones(frame.shape), np.ones(frame.shape, bool), weights, rows)

    assert_allclose(made.flux, flux, rtol=1e-9)


def test_variances_are_those_of_the_whole_matrix(rng):
    weights, rows = profiles(spacing=1.2)
    variance = rng.uniform(0.5, 4.0, (30, COLUMNS))

    made = extract(np.zeros((30, COLUMNS)), variance, np.ones((30, COLUMNS), bool), weights, rows)

    for x in (0, 7, COLUMNS - 1):
        matrix = np.zeros((30, 6))
        for e in range(6):
            matrix[rows[e, x] : rows[e, x] + HEIGHT, e] = weights[e, :, x]
        normal = matrix.T @ (matrix / variance[:, x, None])
        assert_allclose(made.variance[:, x], np.diag(np.linalg.inv(normal)), rtol=1e-8)


def test_columns_do_not_depend_on_how_many_are_done_at_once(rng, monkeypatch):
    # profiles in float32, as references have them; traces whose distance in rows changes along them
    weights, rows = profiles(elements=7, spacing=1.4, tilt=0.33)
    weights = weights.astype(np.float32)
    wide = [np.tile(one, 8) for one in (weights, rows)]
    data = rng.normal(100, 10, (30, 8 * COLUMNS))
    variance, good = rng.uniform(0.5, 4.0, data.shape), rng.random(data.shape) > 0.02

    whole = extract(data, variance, good, *wide)
    fluxes = extract(data, variance, good, *wide, with_variance=False)
    monkeypatch.setattr("lightmill.spectroscopy.rectification.AT_ONCE", 64)
    parts = extract(data, variance, good, *wide)

    assert_allclose(parts.flux, whole.flux, rtol=1e-12)
    assert_allclose(parts.variance, whole.variance, rtol=1e-12)
    np.testing.assert_array_equal(fluxes.flux, whole.flux)
    assert (fluxes.variance == 0).all()


def test_bad_pixels_cost_accuracy_not_truth(rng):
    weights, rows = profiles()
    flux = rng.uniform(10, 1000, (6, COLUMNS))
    frame = signal_of(flux, weights, rows, (30, COLUMNS))
    usable = rng.random(frame.shape) > 0.1
    frame[~usable] = 1e6

    made = extract(frame, np.ones(frame.shape), usable, weights, rows)
    clean = extract(frame, np.ones(frame.shape), np.ones(frame.shape, bool), weights, rows)

    assert_allclose(made.flux, flux, rtol=1e-6)
    assert (made.variance >= clean.variance * (1 - 1e-12)).all()


def test_an_element_nobody_saw_has_no_flux():
    weights, rows = profiles(elements=2, spacing=12.0)
    frame = signal_of(np.full((2, COLUMNS), 5.0), weights, rows, (34, COLUMNS))
    usable = np.ones(frame.shape, bool)
    usable[:13] = False

    made = extract(frame, np.ones(frame.shape), usable, weights, rows)

    assert np.isnan(made.flux[0]).all()
    assert (made.variance[0] == 0).all()
    assert_allclose(made.flux[1], 5.0)


def test_a_matrix_of_a_larger_frame_is_refused():
    weights, rows = profiles()

    with pytest.raises(DataError, match="leaves the frame"):
        extract(np.ones((12, COLUMNS)), np.ones((12, COLUMNS)), np.ones((12, COLUMNS), bool),
                weights, rows)  # fmt: skip


def gaussian(sides, centre, width):
    return np.diff(erf((sides - centre) / (width * np.sqrt(2)))) / 2


@pytest.mark.parametrize("falling", [False, True])
def test_a_narrow_line_keeps_flux_and_shape_in_other_channels(falling):
    # physics: a line of 1.5 columns, seen in columns that begin a third later than the channels
    wave = 2.0 + 1e-3 * (np.arange(60) + 1 / 3)
    sides = np.concatenate([wave - 0.5e-3, [wave[-1] + 0.5e-3]])
    flux = 100.0 * gaussian(sides, 2.03, 1.5e-3)[None]
    edges = 2.002 + 1e-3 * np.arange(56)
    if falling:
        wave, flux = wave[::-1], flux[:, ::-1]

    made, _ = rebinned(Spectra(flux, np.ones(flux.shape)), wave[None], edges)

    expected = 100.0 * gaussian(edges, 2.03, 1.5e-3)
    assert_allclose(made.flux[0].sum(), 100.0, rtol=1e-6)
    # a straight line through the flux of a column would be off by 1.7
    assert_allclose(made.flux[0], expected, atol=0.35)


def test_errors_of_sums_are_known():
    # physics: white noise in columns; a sum over all channels has the noise of all columns
    rng = np.random.default_rng(3)
    wave = np.tile(2.0 + 1e-3 * (np.arange(200) + 0.45), (400, 1))
    noise = rng.normal(0, 2.0, wave.shape)
    edges = 2.01 + 1e-3 * np.arange(170)

    made, factor = rebinned(Spectra(noise, np.full(wave.shape, 4.0)), wave, edges)

    # 68,000 channels and 400 sums
    assert_allclose(np.mean(made.flux**2 / made.variance), 1.0, atol=0.03)
    sums = made.flux.sum(axis=1) / (factor * np.sqrt(made.variance.sum(axis=1)))
    assert_allclose(np.mean(sums**2), 1.0, atol=0.2)


def test_a_channel_that_was_not_seen_wholly_is_none():
    wave = (2.0 + 1e-3 * np.arange(20))[None]
    flux = np.ones((1, 20))
    flux[0, 10] = np.nan
    edges = 1.998 + 1e-3 * np.arange(10)

    made, _ = rebinned(Spectra(flux, np.ones((1, 20))), wave, edges)

    assert np.isnan(made.flux[0, 0])
    assert np.isfinite(made.flux[0, 2:6]).all()
