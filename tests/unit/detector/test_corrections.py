import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lightmill import models
from lightmill.detector import (
    CorrectLinearity,
    DeconvolveIpc,
    ScaleGroups,
    SubtractDark,
    SubtractReset,
    SubtractSuperbias,
)
from lightmill.errors import DataError, NothingSelectedError, OutputError
from lightmill.models.dq import PIXEL
from lightmill.pipeline import Status
from lightmill.testing import make_ramp, make_reference

ALL = {
    "superbias": SubtractSuperbias,
    "ipc": DeconvolveIpc,
    "linearity": CorrectLinearity,
    "dark": SubtractDark,
    "reset": SubtractReset,
}


@pytest.mark.parametrize("reftype", ALL)
class TestEveryCorrection:
    def test_a_reference_that_says_nothing_changes_nothing(self, reftype):
        ramp = make_ramp(seed=1)
        value = 0.0 if reftype == "superbias" else None

        model = (
            ALL[reftype]()
            .run(ramp, **{f"override_{reftype}": make_reference(reftype, ramp, value)})
            .model
        )

        # one rounding to float32 of the polynomial is all that may differ
        assert_allclose(model.data, ramp.data, rtol=2e-7)

    def test_the_ramp_given_is_not_changed(self, reftype):
        ramp = make_ramp(rate=100.0, n_ints=2)
        before = ramp.data.copy()
        values = {
            "superbias": 7.0,
            "ipc": [[0, -0.01, 0], [-0.01, 1.04, -0.01], [0, -0.01, 0]],
            "linearity": [0, 1, 1e-5],
            "dark": 3.0,
            "reset": [[5.0, 2.0]],
        }

        outcome = ALL[reftype]().run(
            ramp, **{f"override_{reftype}": make_reference(reftype, ramp, values[reftype])}
        )

        assert_array_equal(ramp.data, before)
        assert not np.array_equal(outcome.model.data, before)

    def test_it_is_skipped_where_no_reference_applies(self, reftype):
        ramp = make_ramp()

        outcome = ALL[reftype]().run(ramp, **{f"override_{reftype}": "N/A"})

        assert outcome.status is Status.SKIPPED
        assert outcome.model.data is ramp.data

    def test_a_missing_reference_is_an_error(self, reftype):
        with pytest.raises(NothingSelectedError, match=f"--override-{reftype}"):
            ALL[reftype]().run(make_ramp())

    def test_a_reference_of_another_detector_is_an_error(self, reftype):
        ramp = make_ramp()
        other = make_reference(reftype, ramp, instrument__detector="LARGE")

        with pytest.raises(DataError, match="another detector"):
            ALL[reftype]().run(ramp, **{f"override_{reftype}": other})


# -- group_scale ----------------------------------------------------------------------------


def test_an_average_divided_by_too_little_is_put_right():
    # physics: three frames were averaged, but their sum was divided by four
    ramp = make_ramp(rate=12.0, n_frames=3)
    ramp.meta.exposure.frame_divisor = 4
    ramp.data *= np.float32(3 / 4)

    model = ScaleGroups().run(ramp).model

    assert_allclose(model.data[0, 0], 120.0, rtol=1e-6)


def test_an_average_of_a_power_of_two_needs_no_scaling():
    outcome = ScaleGroups().run(make_ramp(n_frames=4))

    assert outcome.status is Status.SKIPPED
    assert "power of two" in outcome.reason


def test_an_average_divided_rightly_needs_no_scaling():
    ramp = make_ramp(n_frames=3)
    ramp.meta.exposure.frame_divisor = 3

    assert ScaleGroups().run(ramp).status is Status.SKIPPED


def test_a_divisor_that_is_not_known_is_an_error():
    with pytest.raises(DataError, match="FRMDIVSR"):
        ScaleGroups().run(make_ramp(n_frames=3))


# -- superbias ------------------------------------------------------------------------------


def test_the_level_a_pixel_starts_from_is_gone():
    ramp = make_ramp(rate=3.0, pedestal=5000.0)
    bias = make_reference("superbias", ramp, 5000.0)

    model = SubtractSuperbias().run(ramp, override_superbias=bias).model

    assert_allclose(model.data[0, :, 0, 0], 30.0 * np.arange(1, 9), rtol=1e-6)


def test_a_bias_that_was_not_measured_subtracts_nothing_and_its_flags_stay():
    ramp = make_ramp()
    bias = make_reference("superbias", ramp, np.nan)
    bias.dq[2, 3] = PIXEL["UNRELIABLE_BIAS"]

    model = SubtractSuperbias().run(ramp, override_superbias=bias).model

    assert_array_equal(model.data, ramp.data)
    assert model.pixeldq[2, 3] == PIXEL["UNRELIABLE_BIAS"]


def test_the_zeroth_frame_loses_its_bias_too_but_not_where_it_is_empty():
    ramp = make_ramp()
    zero = np.full((1, 6, 8), 5010.0, np.float32)
    zero[0, 0, 0] = 0.0
    ramp.zeroframe = zero

    model = (
        SubtractSuperbias().run(ramp, override_superbias=make_reference("superbias", ramp)).model
    )

    assert model.zeroframe[0, 0, 0] == 0
    assert np.all(model.zeroframe[0, 1:] == 10)


# -- ipc ------------------------------------------------------------------------------------


def test_charge_seen_in_the_neighbours_is_put_back():
    alpha = 0.005
    truth = np.zeros((9, 9))
    truth[4, 4] = 10000.0
    ramp = make_ramp(rate=0.0, shape=(9, 9), n_groups=1)
    seen = truth * (1 - 4 * alpha)
    seen[[3, 5, 4, 4], [4, 4, 3, 5]] = alpha * truth[4, 4]
    ramp.data[0, 0] = seen
    kernel = [[0, -alpha, 0], [-alpha, 1 + 4 * alpha, -alpha], [0, -alpha, 0]]

    model = DeconvolveIpc().run(ramp, override_ipc=make_reference("ipc", ramp, kernel)).model

    # the kernel is the first-order inverse: what remains is of order alpha squared
    assert_allclose(model.data[0, 0], truth, atol=30 * alpha**2 * truth.max())
    assert_allclose(model.data.sum(), truth.sum(), rtol=1e-5)


@given(st.integers(0, 100))
def test_deconvolution_keeps_the_flux_of_a_flat_image(seed):
    level = np.random.default_rng(seed).uniform(1, 1e4)
    ramp = make_ramp(rate=level, n_groups=1, shape=(12, 12))
    kernel = [[0, -0.01, 0], [-0.01, 1.04, -0.01], [0, -0.01, 0]]

    model = DeconvolveIpc().run(ramp, override_ipc=make_reference("ipc", ramp, kernel)).model

    assert_allclose(model.data[0, 0, 1:-1, 1:-1], ramp.data[0, 0, 1:-1, 1:-1], rtol=1e-5)


def test_reference_pixels_give_no_charge_back():
    ramp = make_ramp(rate=0.0, n_groups=1, shape=(32, 32))
    ramp.data[0, 0, 10, 4] = 1000.0  # the first column that sees light
    kernel = [[0, -0.01, 0], [-0.01, 1.04, -0.01], [0, -0.01, 0]]

    model = DeconvolveIpc().run(ramp, override_ipc=make_reference("ipc", ramp, kernel)).model

    assert model.data[0, 0, 10, 3] == 0
    assert_allclose(model.data[0, 0, 10, 5], -10.0, rtol=1e-5)


# -- linearity ------------------------------------------------------------------------------


def test_a_signal_that_bends_becomes_straight():
    # physics: the counts follow t - t^2/4e5 of the charge; the polynomial undoes it
    charge = make_ramp(rate=1000.0, n_groups=6)
    bent = charge.evolve(data=(charge.data - charge.data**2 / 4e5).astype(np.float32))
    exact = [0.0, 1.0, 1 / 4e5, 2 / 4e5**2, 5 / 4e5**3, 14 / 4e5**4, 42 / 4e5**5, 132 / 4e5**6]

    model = (
        CorrectLinearity()
        .run(bent, override_linearity=make_reference("linearity", bent, exact))
        .model
    )

    # 60000 DN is 15 % of 4e5: the first term left out is 429 * 0.15^7
    assert_allclose(model.data, charge.data, rtol=2e-3)
    assert_allclose(model.data[:, :3], charge.data[:, :3], rtol=2e-5)


def test_what_is_saturated_is_left_as_it_is():
    ramp = make_ramp(rate=1000.0, saturate=45000.0)
    bend = make_reference("linearity", ramp, [0.0, 1.0, 1e-6])

    model = CorrectLinearity().run(ramp, override_linearity=bend).model

    full = ramp.groupdq != 0
    assert full.any()
    assert_array_equal(model.data[full], ramp.data[full])
    assert np.all(model.data[~full] > ramp.data[~full])


def test_a_pixel_whose_curve_is_not_known_is_left_and_flagged():
    ramp = make_ramp(rate=1000.0)
    bend = make_reference("linearity", ramp, [0.0, 1.0, 1e-6])
    bend.dq[1, 1] = PIXEL["NO_LIN_CORR"]

    model = CorrectLinearity().run(ramp, override_linearity=bend).model

    assert_array_equal(model.data[..., 1, 1], ramp.data[..., 1, 1])
    assert model.pixeldq[1, 1] & PIXEL["NO_LIN_CORR"]
    assert np.all(model.data[..., 0, 0] > ramp.data[..., 0, 0])


# -- dark -----------------------------------------------------------------------------------


def test_the_signal_of_the_dark_is_gone():
    ramp = make_ramp(rate=3.0, n_groups=4)
    dark = make_reference("dark", ramp, 20.0)  # 20 DN a group

    model = SubtractDark().run(ramp, override_dark=dark).model

    assert_allclose(model.data[0, :, 0, 0], [10, 20, 30, 40])


def test_an_exposure_takes_as_many_frames_of_the_dark_as_it_averaged():
    # physics: the dark's frames are 1, 2, 3 … DN; a group averages two frames and one is dropped
    ramp = make_ramp(rate=0.0, n_groups=3, n_frames=2, group_gap=1)
    dark = make_reference("dark", ramp, exposure__nframes=1, exposure__groupgap=0)
    frames = np.arange(1, 10, dtype=np.float32)[:, None, None] * np.ones((6, 8), np.float32)
    dark = dark.evolve(data=frames)

    model = SubtractDark().run(ramp, override_dark=dark).model

    assert_allclose(-model.data[0, :, 0, 0], [1.5, 4.5, 7.5])


def test_a_dark_too_short_goes_on_in_a_straight_line():
    ramp = make_ramp(rate=0.0, n_groups=5)
    dark = make_reference("dark", make_ramp(n_groups=3), 2.0)

    model = SubtractDark().run(ramp, override_dark=dark).model

    assert_allclose(-model.data[0, :, 0, 0], [2, 4, 6, 8, 10])


def test_each_integration_takes_its_own_dark_and_later_ones_the_last():
    ramp = make_ramp(rate=0.0, n_groups=2, n_ints=3)
    data = np.stack([np.full((2, 6, 8), 1.0), np.full((2, 6, 8), 7.0)]).astype(np.float32)
    dark = make_reference("dark", ramp).evolve(data=data)

    model = SubtractDark().run(ramp, override_dark=dark).model

    assert_array_equal(-model.data[:, 0, 0, 0], [1, 7, 7])


def test_a_later_segment_of_an_exposure_takes_the_last_dark():
    ramp = make_ramp(rate=0.0, n_groups=2, n_ints=2)
    ramp.meta.exposure.integration_start = 3
    data = np.stack([np.full((2, 6, 8), 1.0), np.full((2, 6, 8), 7.0)]).astype(np.float32)
    dark = make_reference("dark", ramp).evolve(data=data)

    model = SubtractDark().run(ramp, override_dark=dark).model

    assert_array_equal(-model.data[:, 0, 0, 0], [7, 7])


def test_a_dark_of_longer_averages_than_the_exposure_cannot_be_used():
    ramp = make_ramp()
    dark = make_reference("dark", ramp, exposure__nframes=4)

    outcome = SubtractDark().run(ramp, override_dark=dark)

    assert outcome.status is Status.SKIPPED
    assert "averages 4 frames" in outcome.reason


def test_unmeasured_dark_subtracts_nothing_and_its_flags_stay():
    ramp = make_ramp(n_groups=2)
    dark = make_reference("dark", ramp, np.full((2, 6, 8), np.nan))
    dark.dq[1, 1] = PIXEL["HOT"]

    model = SubtractDark().run(ramp, override_dark=dark).model

    assert_array_equal(model.data, ramp.data)
    assert model.pixeldq[1, 1] == PIXEL["HOT"]


def test_the_dark_is_saved_as_it_was_subtracted(tmp_path):
    # physics: the dark's frames are 1, 2, 3 … DN; a group averages two frames and one is dropped
    ramp = make_ramp(n_groups=3, n_frames=2, group_gap=1, shape=(6, 8), n_ints=2)
    dark = make_reference("dark", ramp, exposure__nframes=1, exposure__groupgap=0)
    frames = np.arange(1, 10, dtype=np.float32)[:, None, None] * np.ones((6, 8), np.float32)
    dark = dark.evolve(data=frames)
    dark.data[:, 2, 3] = np.nan
    dark.dq[2, 3] = PIXEL["HOT"]

    outcome = SubtractDark(dark_output="mine.fits").run(
        ramp, override_dark=dark, output_dir=tmp_path
    )

    (path,) = outcome.written
    applied = models.open(path)
    assert path == tmp_path / "mine.fits"
    assert applied.model_type == "DarkModel"
    assert_allclose(applied.data, np.broadcast_to(ramp.data - outcome.model.data, (2, 3, 6, 8))[0])
    assert applied.data[:, 2, 3].tolist() == [0, 0, 0]
    assert applied.dq[2, 3] == PIXEL["HOT"]
    assert (applied.meta.exposure.nframes, applied.meta.exposure.groupgap) == (2, 1)
    again = SubtractDark().run(ramp, override_dark=path).model
    assert_array_equal(again.data, outcome.model.data)


def test_a_dark_of_each_integration_is_saved_for_each(tmp_path):
    ramp = make_ramp(n_ints=3)
    data = np.arange(2 * 8, dtype=np.float32).reshape(2, 8, 1, 1) * np.ones((6, 8), np.float32)
    dark = make_reference("dark", ramp).evolve(data=data)

    step = SubtractDark(dark_output="mine.fits")
    (path,) = step.run(ramp, override_dark=dark, output_dir=tmp_path).written

    assert_array_equal(models.open(path).data, data)


def test_the_dark_of_a_subarray_says_where_it_lies(tmp_path):
    whole = make_ramp(shape=(12, 16))
    whole.meta.subarray.xstart = whole.meta.subarray.ystart = 1
    ramp = make_ramp(shape=(6, 8))
    ramp.meta.subarray.xstart, ramp.meta.subarray.ystart = 5, 3

    step = SubtractDark(dark_output="mine.fits")
    outcome = step.run(ramp, override_dark=make_reference("dark", whole, 2.0), output_dir=tmp_path)

    applied = models.open(outcome.written[0])
    assert applied.shape == (8, 6, 8)
    assert (applied.meta.subarray.xstart, applied.meta.subarray.ystart) == (5, 3)


def test_the_dark_does_not_take_the_place_of_the_input(tmp_path):
    ramp = models.open(make_ramp().save(tmp_path / "mine.fits"))

    with pytest.raises(OutputError) as error:
        SubtractDark(dark_output="mine.fits").run(
            ramp, override_dark=make_reference("dark", ramp), output_dir=tmp_path
        )

    assert error.value.place == "dark_current: dark"


def test_the_dark_is_not_saved_outside_the_output_folder(tmp_path):
    with pytest.raises(OutputError, match="outside"):
        SubtractDark(dark_output="../mine.fits").run(
            make_ramp(), override_dark=make_reference("dark", make_ramp()), output_dir=tmp_path
        )


@given(st.floats(0, 50), st.floats(0, 50))
def test_two_darks_one_after_the_other_are_their_sum(first, second):
    ramp = make_ramp(rate=10.0, n_groups=3)
    step = SubtractDark()

    def without(model, value):
        return step.run(model, override_dark=make_reference("dark", ramp, value)).model

    both = without(without(ramp, first), second)

    # three roundings to float32 of values up to 300 DN
    assert_allclose(both.data, without(ramp, first + second).data, atol=1e-3)


# -- reset ----------------------------------------------------------------------------------


def test_the_transient_after_a_reset_is_gone_from_the_first_groups_only():
    ramp = make_ramp(rate=1.0, n_groups=4, n_ints=2)
    anomaly = make_reference("reset", ramp, [[8.0, 3.0], [5.0, 1.0]])

    model = SubtractReset().run(ramp, override_reset=anomaly).model

    assert_array_equal(ramp.data[0, :, 0, 0] - model.data[0, :, 0, 0], [8, 3, 0, 0])
    assert_array_equal(ramp.data[1, :, 0, 0] - model.data[1, :, 0, 0], [5, 1, 0, 0])
