"""Levels of reference pixels: the kernels equal their readable twins."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lightmill.kernels import refpix
from lightmill.kernels._reference import refpix as plain

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(seeds, st.integers(1, 4), st.integers(1, 200), st.sampled_from([1.5, 3.0]))
def test_the_clipped_mean_equals_its_readable_twin(rng, sets, n, limit):
    values = rng.normal(1000, 5, (sets, n)).astype(np.float32)
    values[rng.random(values.shape) < 0.05] += 4000
    values[rng.random(values.shape) < 0.05] = np.nan
    good = rng.random(values.shape) < rng.choice([0.0, 0.1, 0.9])

    fast = refpix.clipped_mean(values, good, limit)

    # rounding: sums of at most 200 doubles in another order
    slow = [plain.clipped_mean(v, g, limit) for v, g in zip(values, good, strict=True)]
    np.testing.assert_allclose(fast, slow, rtol=1e-13)
    np.testing.assert_array_equal(refpix.clipped_mean(values[0], good[0], limit), fast[0])


def test_equal_values_are_their_own_mean():
    # physics: a dead amplifier reads one number; rounding must not clip all of them away
    assert refpix.clipped_mean(np.full(1000, 0.1, np.float32)) == np.float32(0.1)


@given(seeds, st.integers(1, 3), st.integers(1, 4), st.integers(0, 7))
def test_the_running_median_equals_its_readable_twin(rng, nplanes, k, half):
    nrows = half + 1 + rng.integers(0, 40)
    columns = rng.integers(0, 30, (nplanes, nrows, k)).astype(np.float32) / 7
    columns[rng.random(columns.shape) < 0.05] = np.nan
    good = rng.random((nrows, k)) < rng.choice([0.1, 0.9])

    fast = refpix.side_median(columns, good, 2 * half + 1)

    np.testing.assert_array_equal(fast, plain.side_median(columns, good, 2 * half + 1))
