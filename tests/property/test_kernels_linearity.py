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


@pytest.mark.parametrize("n", [2, 5, 9])
def test_the_identity_changes_nothing(n):
    data = np.linspace(-10, 65535, 60, dtype=np.float32).reshape(1, 3, 4, 5)
    before = data.copy()

    linearity.correct_linearity(data, None, np.eye(n)[1][:, None, None] * np.ones((4, 5)))

    np.testing.assert_array_equal(data, before)
