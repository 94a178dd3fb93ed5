"""The linearity kernel equals its readable twin, bit by bit, also on bands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.kernels import linearity
from lightmill.kernels._reference import linearity as plain

NO_LIN_CORR = 1 << 20


@st.composite
def ramps(draw):
    """Counts, flags, coefficients with holes, their flags, and a band of rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(draw(st.integers(1, n)) for n in (2, 4, 9, 40))
    yx = shape[2:]
    n = draw(st.integers(2, 9))
    data = rng.uniform(-50, 60000, shape).astype(np.float32)
    data[rng.random(shape) < 0.05] = 0
    groupdq = rng.choice(np.uint8([0, 0, 1, 2, 3, 64]), shape)
    powers = np.arange(n).reshape(-1, 1, 1)
    coeffs = rng.normal(0, 1, (n, *yx)) * 1e-5 ** np.abs(powers - 1) + (powers == 1)
    coeffs[rng.random(coeffs.shape) < 0.02] = np.nan
    coeffs[1][rng.random(yx) < 0.05] = 0
    dq = np.where(rng.random(yx) < 0.1, NO_LIN_CORR, 1).astype(np.uint32)
    y0 = draw(st.integers(0, yx[0] - 1))
    rows = slice(y0, draw(st.integers(y0 + 1, yx[0])))
    return data, groupdq, coeffs.astype(np.float32), dq, rows


@given(ramps(), st.booleans(), st.booleans())
def test_the_kernel_equals_its_readable_twin(case, has_flags, keep_zero):
    data, groupdq, coeffs, dq, rows = case
    fast, slow, banded = data.copy(), data.copy(), data.copy()
    pixeldq = [np.full(dq.shape, 8, np.uint32) for _ in range(2)]
    groupdq = groupdq if has_flags else None

    linearity.correct_linearity(
        fast, groupdq, coeffs, reference_dq=dq, pixeldq=pixeldq[0], keep_zero=keep_zero
    )
    linearity.correct_linearity(
        banded[:, :, rows],
        None if groupdq is None else groupdq[:, :, rows],
        coeffs[:, rows],
        reference_dq=dq[rows],
        keep_zero=keep_zero,
    )
    plain.correct_linearity(
        slow, groupdq, coeffs, reference_dq=dq, pixeldq=pixeldq[1], keep_zero=keep_zero
    )

    np.testing.assert_array_equal(fast, slow)
    np.testing.assert_array_equal(banded[:, :, rows], slow[:, :, rows])
    np.testing.assert_array_equal(*pixeldq)


@given(ramps())
def test_preparing_beforehand_gives_the_same(case):
    data, groupdq, coeffs, dq, rows = case
    on_the_way = data.copy()

    usable, flags = linearity.prepare(coeffs[:, rows], dq[rows])
    expected, expected_flags = plain.prepare(coeffs[:, rows], dq[rows])
    linearity.correct_linearity(on_the_way, groupdq, coeffs, reference_dq=dq)
    linearity.correct_linearity(data[:, :, rows], groupdq[:, :, rows], usable)

    np.testing.assert_array_equal(usable, expected)
    np.testing.assert_array_equal(flags, expected_flags)
    np.testing.assert_array_equal(data[:, :, rows], on_the_way[:, :, rows])


@given(ramps(), st.lists(st.integers(1, 5), min_size=4, max_size=4), st.booleans(), st.booleans())
def test_correcting_read_by_read_equals_its_readable_twin(case, n_reads, prepared, is_capped):
    data, groupdq, coeffs, dq, rows = case
    ends = np.cumsum(n_reads)[: data.shape[1]]
    times = [np.arange(end - n, end) + 1.0 for n, end in zip(n_reads, ends, strict=False)]
    inverse = coeffs[:3].copy()
    inverse[-1] *= -1
    cap = np.full(dq.shape, 40000, np.float32) if is_capped else None
    if prepared:
        coeffs, inverse, dq = (*(plain.prepare(c, dq)[0] for c in (coeffs, inverse)), None)
    fast, slow, banded = data.copy(), data.copy(), data.copy()
    pixeldq = [np.full(data.shape[2:], 8, np.uint32) for _ in range(2)]

    linearity.correct_linearity_reads(
        fast, groupdq, coeffs, inverse, times, reference_dq=dq, pixeldq=pixeldq[0], saturation=cap
    )
    linearity.correct_linearity_reads(
        banded[:, :, rows],
        groupdq[:, :, rows],
        coeffs[:, rows],
        inverse[:, rows],
        times,
        reference_dq=None if dq is None else dq[rows],
        saturation=None if cap is None else cap[rows],
    )
    with np.errstate(all="ignore"):  # polynomials of random coefficients may run away
        plain.correct_linearity_reads(
            slow,
            groupdq,
            coeffs,
            inverse,
            times,
            reference_dq=dq,
            pixeldq=pixeldq[1],
            saturation=cap,
        )

    np.testing.assert_array_equal(fast, slow)
    np.testing.assert_array_equal(banded[:, :, rows], slow[:, :, rows])
    np.testing.assert_array_equal(*pixeldq)


def test_a_mean_of_reads_is_corrected_like_its_reads():
    # physics: a steady source on a detector whose response bends by a few per cent; four reads
    # are averaged in each group. The polynomial of the mean would miss by 20 DN.
    times = np.arange(1.0, 25.0).reshape(6, 4)
    linear = 2500.0 * times
    bend, cubic = 1e-6, 5e-13
    counts = linear - bend * linear**2 + cubic * linear**3
    data = np.broadcast_to(
        counts.mean(axis=1, dtype=float).astype(np.float32)[None, :, None, None], (1, 6, 2, 3)
    ).copy()
    # the inverse of the series, and of that one, to the order that matters here
    inverse = np.float32([0, 1, -bend, cubic])[:, None, None] * np.ones((2, 3), np.float32)
    forward = np.polynomial.Polynomial.fit(counts.ravel(), linear.ravel(), 5).convert().coef
    coeffs = np.float32(forward)[:, None, None] * np.ones((2, 3), np.float32)
    mean = data.copy()

    linearity.correct_linearity_reads(data, np.zeros(data.shape, np.uint8), coeffs, inverse, times)
    linearity.correct_linearity(mean, None, coeffs)

    error = np.abs(data[0, :, 0, 0] - linear.mean(axis=1)).max()
    assert error < 0.2  # DN: the fit of the forward polynomial, and float32 at 6e4
    assert error < 0.1 * np.abs(mean[0, :, 0, 0] - linear.mean(axis=1)).max()


@pytest.mark.parametrize("n", [2, 5, 9])
def test_the_identity_changes_nothing(n):
    data = np.linspace(-10, 65535, 60, dtype=np.float32).reshape(1, 3, 4, 5)
    before = data.copy()

    linearity.correct_linearity(data, None, np.eye(n)[1][:, None, None] * np.ones((4, 5)))

    np.testing.assert_array_equal(data, before)
