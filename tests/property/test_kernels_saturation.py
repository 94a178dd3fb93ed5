"""The saturation kernel equals its readable twin, bit by bit, and does not care about bands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.kernels import saturation
from lightmill.kernels._reference import saturation as plain

NO_SAT_CHECK = 1 << 21


@st.composite
def exposures(draw, rows=(1, 12)):
    """Raw ramps on whole numbers, so that values equal to the threshold happen."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (
        draw(st.integers(1, 3)),
        draw(st.integers(1, 6)),
        draw(st.integers(*rows)),
        draw(st.integers(1, 40)),
    )
    yx = shape[2:]
    rate = rng.integers(1, 60, (shape[0], 1, *yx)) * (rng.random((shape[0], 1, *yx)) < 0.2) + 1
    data = np.cumsum(rng.integers(0, 8, shape) * rate, axis=1).astype(np.float32)
    data[rng.random(shape) < 0.02] = rng.choice(np.float32([0, -3, np.nan]))
    threshold = rng.integers(300, 600, yx).astype(np.float32)
    threshold[rng.random(yx) < 0.05] = np.nan
    reference_dq = np.where(rng.random(yx) < 0.05, NO_SAT_CHECK, 1).astype(np.uint32)
    nframes = draw(st.sampled_from([1, 2, 4]))
    first = np.arange(shape[1]) * nframes + 1
    tests = {"grow": draw(st.integers(0, 3))}
    if draw(st.booleans()):
        tests["dilution"] = (first + (nframes - 1) / 2) / (first + nframes - 1)
    if draw(st.booleans()):
        tests |= {
            "read_means": first + (nframes - 1) / 2,
            "read_lasts": first + nframes - 1,
            "nframes": nframes,
            "bias": rng.integers(0, 20, yx).astype(np.float32) if draw(st.booleans()) else None,
        }
    groupdq = (rng.random(shape) < 0.05).astype(np.uint8)
    return data, groupdq, threshold, reference_dq, tests


def flagged(function, data, groupdq, threshold, reference_dq, tests, rows=slice(None)):
    groupdq, pixeldq = groupdq.copy(), np.full(threshold.shape, 4, np.uint32)
    function(
        data[:, :, rows],
        groupdq[:, :, rows],
        pixeldq[rows],
        threshold[rows],
        reference_dq[rows],
        **{k: v[rows] if k == "bias" and v is not None else v for k, v in tests.items()},
    )
    return groupdq, pixeldq


@given(exposures())
def test_the_kernel_equals_its_readable_twin(exposure):
    fast = flagged(saturation.flag_saturation, *exposure)
    slow = flagged(plain.flag_saturation, *exposure)

    np.testing.assert_array_equal(fast[0], slow[0])
    np.testing.assert_array_equal(fast[1], slow[1])


@given(exposures(rows=(8, 24)), st.data())
def test_a_band_is_flagged_like_the_whole_frame(exposure, choice):
    tests, ny = exposure[-1], exposure[0].shape[2]
    halo = saturation.halo_rows(tests["grow"], has_dilution="dilution" in tests)
    y0 = choice.draw(st.integers(0, ny - 1))
    y1 = choice.draw(st.integers(y0 + 1, ny))

    whole, _ = flagged(saturation.flag_saturation, *exposure)
    around = slice(max(y0 - halo, 0), min(y1 + halo, ny))
    band, _ = flagged(saturation.flag_saturation, *exposure, rows=around)

    np.testing.assert_array_equal(band[:, :, y0:y1], whole[:, :, y0:y1])


@given(exposures())
def test_what_saturates_stays_saturated(exposure):
    groupdq, _ = flagged(saturation.flag_saturation, *exposure)

    reached = np.logical_or.accumulate(
        exposure[0] >= plain.usable_threshold(*exposure[2:4])[0], axis=1
    )
    assert np.all(groupdq[reached] & 2)


@given(exposures(), st.integers(0, 3))
def test_the_zero_frame_equals_its_readable_twin(exposure, grow):
    data, _, threshold, reference_dq, _ = exposure
    fast, slow = data[:, 0].copy(), data[:, 0].copy()

    saturation.flag_zeroframe(fast, threshold, grow, reference_dq=reference_dq)
    plain.flag_zeroframe(slow, plain.usable_threshold(threshold, reference_dq)[0], grow)

    np.testing.assert_array_equal(fast, slow)


@pytest.mark.parametrize("grow", [0, 1, 2])
def test_charge_spills_over_a_square_of_its_own_group(grow):
    # physics: one pixel fills up in group 1; its charge reaches the pixels around it in group 1,
    # and in group 2, where the pixel is still full
    data = np.full((1, 3, 7, 7), 100, np.float32)
    data[0, 1, 3, 3] = 1000
    groupdq, pixeldq = np.zeros(data.shape, np.uint8), np.zeros((7, 7), np.uint32)

    saturation.flag_saturation(
        data, groupdq, pixeldq, np.full((7, 7), 500), np.zeros((7, 7), np.uint32), grow=grow
    )

    square = np.zeros((7, 7), np.uint8)
    square[3 - grow : 4 + grow, 3 - grow : 4 + grow] = 2
    np.testing.assert_array_equal(groupdq[0], [np.zeros((7, 7)), square, square])
