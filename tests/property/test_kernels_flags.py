"""The flag kernels equal their readable twins, also on bands."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lightmill.kernels import flags
from lightmill.kernels._reference import flags as plain


@st.composite
def ramps(draw):
    """Rising counts, flags of which some saturate for good, and a band of rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(draw(st.integers(1, n)) for n in (3, 8, 9, 40))
    data = np.cumsum(rng.integers(0, 100, shape), axis=1).astype(np.float32)
    onset = rng.integers(0, shape[1] + 4, (shape[0], 1, *shape[2:]))
    groupdq = np.where(np.arange(shape[1])[:, None, None] >= onset, 2, 0).astype(np.uint8)
    groupdq |= rng.choice(np.uint8([0, 0, 0, 0, 1, 2, 4]), shape)
    y0 = draw(st.integers(0, shape[2] - 1))
    return data, groupdq, slice(y0, draw(st.integers(y0 + 1, shape[2])))


@given(ramps(), st.integers(0, 700))
def test_charge_migration_equals_its_readable_twin(case, threshold):
    data, groupdq, rows = case
    whole, banded = groupdq.copy(), groupdq.copy()
    around = slice(max(rows.start - 1, 0), rows.stop + 1)

    flags.flag_charge_migration(data, whole, threshold)
    flags.flag_charge_migration(data[:, :, around], banded[:, :, around], threshold)
    plain.flag_charge_migration(data, groupdq, threshold)

    np.testing.assert_array_equal(whole, groupdq)
    np.testing.assert_array_equal(banded[:, :, rows], groupdq[:, :, rows])


@given(ramps(), st.data())
def test_flagging_first_groups_equals_its_readable_twin(case, choice):
    _, groupdq, rows = case
    first, later = (choice.draw(st.integers(0, groupdq.shape[1])) for _ in range(2))
    fast, slow, banded = groupdq.copy(), groupdq.copy(), groupdq.copy()
    pixeldq = [np.full(groupdq.shape[2:], 4, np.uint32) for _ in range(3)]

    flags.flag_first_groups(fast, pixeldq[0], first, later)
    plain.flag_first_groups(slow, pixeldq[1], first, later)
    flags.flag_first_groups(banded[:, :, rows], pixeldq[2][rows], first, later)

    np.testing.assert_array_equal(fast, slow)
    np.testing.assert_array_equal(pixeldq[0], pixeldq[1])
    np.testing.assert_array_equal(banded[:, :, rows], slow[:, :, rows])
    np.testing.assert_array_equal(pixeldq[2][rows], pixeldq[0][rows])
