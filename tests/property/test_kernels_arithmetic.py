"""The arithmetic kernels equal their readable twins, bit by bit, also on bands."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lightmill.kernels import arithmetic
from lightmill.kernels._reference import arithmetic as plain


@st.composite
def ramps(draw):
    """A generator, counts, and a band of rows."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(draw(st.integers(1, n)) for n in (3, 5, 9, 40))
    y0 = draw(st.integers(0, shape[2] - 1))
    rows = slice(y0, draw(st.integers(y0 + 1, shape[2])))
    return rng, rng.normal(1000, 300, shape).astype(np.float32), rows


@given(ramps(), st.integers(2, 4), st.booleans())
def test_subtracting_a_reference_equals_its_readable_twin(case, ndim, by_index):
    rng, data, rows = case
    ngroups, ny, nx = data.shape[1:]
    planes = (rng.integers(1, 4), ngroups + 2, ny, nx)[4 - ndim :]
    reference = rng.normal(100, 10, planes).astype(np.float32)
    reference[rng.random(planes) < 0.1] = np.nan
    index = rng.integers(-1, 1 if ndim == 2 else ngroups + 2, ngroups) if by_index else None
    whole, banded = data.copy(), data.copy()

    arithmetic.subtract(whole, reference, index_of_group=index)
    arithmetic.subtract(banded[:, :, rows], reference[..., rows, :], index_of_group=index)
    plain.subtract(data, reference, index_of_group=index)

    np.testing.assert_array_equal(whole, data)
    np.testing.assert_array_equal(banded[:, :, rows], data[:, :, rows])
    assert np.isfinite(data).all()


@given(ramps(), st.sampled_from(["x", "y", "both"]), st.sampled_from("xy"), st.integers(0, 2))
def test_subtracting_profiles_equals_its_readable_twin(case, which, first, start):
    rng, data, rows = case
    nints, ngroups, ny, nx = data.shape
    phases = rng.integers(1, 4)
    along_x = rng.normal(0, 9, (nints, ngroups, phases, nx)).astype(np.float32)
    along_y = rng.normal(0, 9, (nints, ngroups, ny)).astype(np.float32)
    along_x = None if which == "y" else along_x[:, :, 0] if phases == 1 else along_x
    along_y = None if which == "x" else along_y
    whole, banded = data.copy(), data.copy()
    order = {"start_group": start, "first": first}

    arithmetic.subtract_cross(whole, along_y, along_x, **order)
    arithmetic.subtract_cross(
        banded[:, :, rows],
        along_y if along_y is None else along_y[:, :, rows],
        along_x,
        row_phase=rows.start,
        **order,
    )
    plain.subtract_cross(data, along_y, along_x, **order)

    np.testing.assert_array_equal(whole, data)
    np.testing.assert_array_equal(banded[:, :, rows], data[:, :, rows])


@given(ramps(), st.floats(0.25, 4, width=32))
def test_scaling_equals_its_readable_twin(case, factor):
    _, data, rows = case
    banded = data.copy()

    arithmetic.scale(banded[:, :, rows], factor)
    plain.scale(data, factor)

    np.testing.assert_array_equal(banded[:, :, rows], data[:, :, rows])


@given(ramps(), st.slices(5))
def test_joining_flags_equals_its_readable_twin(case, groups):
    rng, data, _ = case
    groups = slice(groups.start, groups.stop, abs(groups.step or 1))
    groupdq = rng.integers(0, 256, data.shape, np.uint8)
    mask = rng.integers(0, 256, data.shape[2:], np.uint8)
    pixeldq, dq = (rng.integers(0, 2**32, data.shape[2:], np.uint32) for _ in range(2))
    whole, joined = groupdq.copy(), pixeldq.copy()

    arithmetic.group_or(whole, mask, groups)
    arithmetic.flag_or(joined, dq)
    plain.group_or(groupdq, mask, groups)
    plain.flag_or(pixeldq, dq)

    np.testing.assert_array_equal(whole, groupdq)
    np.testing.assert_array_equal(joined, pixeldq)
