import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lightmill.detector import CorrectReferencePixels
from lightmill.errors import ConfigurationError, DataError
from lightmill.models.dq import PIXEL
from lightmill.pipeline import Status
from lightmill.testing import make_ramp

REFERENCE = PIXEL["REFERENCE_PIXEL"]


@pytest.fixture
def frame():
    """A whole detector of 32 x 32 pixels: 24 x 24 see light, at 10 DN/s."""
    lit = np.zeros((32, 32))
    lit[4:-4, 4:-4] = 10.0
    ramp = make_ramp(lit, shape=(32, 32), n_groups=4, n_ints=2)
    border = lit == 0
    ramp.pixeldq[border] = REFERENCE
    return ramp


def signal(frame):
    return frame.data.copy()


def test_an_offset_that_all_pixels_share_is_gone(frame):
    wanted = signal(frame)
    offsets = np.random.default_rng(1).normal(0, 50, (2, 4, 1, 1))
    frame.data += offsets.astype(np.float32)

    model = CorrectReferencePixels().run(frame).model

    # rounding of values of some hundred DN
    assert_allclose(model.data, wanted, atol=1e-3)


def test_each_output_has_its_own_offset(frame):
    wanted = signal(frame)
    frame.data[..., :16] += 30.0
    frame.data[..., 16:] -= 20.0

    model = CorrectReferencePixels().run(frame).model

    assert_allclose(model.data, wanted, atol=1e-3)


def test_even_and_odd_columns_have_their_own_offset(frame):
    wanted = signal(frame)
    frame.data[..., ::2] += 30.0

    together = CorrectReferencePixels(odd_even_columns=False).run(frame).model
    apart = CorrectReferencePixels().run(frame).model

    assert_allclose(apart.data, wanted, atol=1e-3)
    assert not np.allclose(together.data, wanted, atol=1.0)


def test_a_slow_drift_from_row_to_row_is_followed_by_the_side_columns(frame):
    wanted = signal(frame)
    drift = 20 * np.sin(np.arange(32) / 32 * 2 * np.pi)
    frame.data += drift[:, None].astype(np.float32)

    left = CorrectReferencePixels(use_side_ref_pixels=False).run(frame).model
    gone = CorrectReferencePixels(side_smoothing_length=3).run(frame).model

    science = (..., slice(6, -6), slice(4, -4))
    # the running median lags by the curvature of the drift over three rows
    assert np.abs(gone.data - wanted)[science].max() < 5.0
    assert np.abs(left.data - wanted)[science].max() > 15.0


def test_a_part_of_the_side_signal_can_be_taken(frame):
    drift = np.where(np.arange(32) < 16, -8.0, 8.0)
    frame.data += drift[:, None].astype(np.float32)

    none, half, full = (
        CorrectReferencePixels(side_gain=gain, side_smoothing_length=1).run(frame).model.data
        for gain in (0.0, 0.5, 1.0)
    )

    assert_allclose(half, (none + full) / 2, atol=1e-3)


def test_bad_reference_pixels_are_not_used(frame):
    wanted = signal(frame)
    frame.data[..., 0, 5] = 1e6
    frame.pixeldq[0, 5] |= PIXEL["DO_NOT_USE"]

    model = CorrectReferencePixels().run(frame).model

    science = (..., slice(4, -4), slice(4, -4))
    assert_allclose(model.data[science], wanted[science], atol=1e-3)


def test_an_outlier_among_reference_pixels_is_clipped(frame):
    wanted = signal(frame)
    frame.data += np.random.default_rng(2).normal(0, 1, frame.data.shape).astype(np.float32)
    frame.data[..., 0, 5] = 1e6

    model = CorrectReferencePixels().run(frame).model

    science = (..., slice(4, -4), slice(4, -4))
    # noise of 1 DN in a pixel, 0.2 DN in the mean of some 32 reference pixels, median of 44
    assert np.abs((model.data - wanted)[science].mean()) < 0.3


def test_the_zeroth_frame_is_corrected_as_well(frame):
    zero = np.full((2, 32, 32), 40.0, np.float32)
    frame.zeroframe = zero
    frame.pixeldq[4:-4, 4:-4] = 0

    model = CorrectReferencePixels().run(frame).model

    assert_allclose(model.zeroframe, 0.0, atol=1e-3)


def test_the_axes_can_be_exchanged(frame):
    wanted = signal(frame)
    frame.data += np.random.default_rng(3).normal(0, 9, (1, 1, 1, 32)).astype(np.float32).round()
    turned = frame.evolve(
        data=np.ascontiguousarray(frame.data.swapaxes(2, 3)),
        meta={"subarray.fastaxis": 2, "subarray.slowaxis": 1},
    )

    straight = CorrectReferencePixels().run(frame).model.data
    across = CorrectReferencePixels().run(turned).model.data

    assert_allclose(across.swapaxes(2, 3), straight, atol=1e-3)
    assert straight.shape == wanted.shape


def test_a_window_without_reference_pixels_is_left_alone():
    ramp = make_ramp()

    outcome = CorrectReferencePixels().run(ramp)

    assert_allclose(outcome.model.data, ramp.data)


def test_an_unknown_detector_is_left_alone(frame):
    frame.meta.instrument.detector = "NEW"

    outcome = CorrectReferencePixels().run(frame)

    assert outcome.status is Status.SKIPPED
    assert "no reference pixels" in outcome.reason


def test_a_readout_direction_that_is_not_known_is_an_error(frame):
    frame.meta.subarray.fastaxis = None

    with pytest.raises(DataError, match="FASTAXIS"):
        CorrectReferencePixels().run(frame)


def test_an_algorithm_that_is_not_there_is_an_error(frame):
    with pytest.raises(ConfigurationError, match="sirs"):
        CorrectReferencePixels(refpix_algorithm="sirs").run(frame)


def test_a_frame_that_does_not_lie_on_its_detector_is_an_error():
    ramp = make_ramp(shape=(20, 20))
    ramp.meta.subarray.xstart = 20

    with pytest.raises(DataError, match="does not lie"):
        CorrectReferencePixels().run(ramp)


def test_the_ramp_given_is_not_changed(frame):
    before = frame.data.copy()
    frame.data += 5.0
    given = frame.data.copy()

    CorrectReferencePixels().run(frame)

    assert_array_equal(frame.data, given)
    assert not np.array_equal(given, before)
