import numpy as np
import pytest

from lightmill.errors import (
    ConfigurationError,
    DataError,
    LightmillError,
    NothingSelectedError,
    UnknownNameError,
)
from lightmill.models import RampModel, RateModel
from lightmill.pipeline import Options, Skipped, Status, Step, run
from lightmill.testing import make_ramp, make_reference, make_uncal

# -- parameters -----------------------------------------------------------------------------


def test_a_misspelled_parameter_is_refused_when_the_step_is_made(kit):
    with pytest.raises(UnknownNameError, match="did you mean 'amount'"):
        kit.Add(amuont=3.0)


def test_a_misspelled_parameter_is_refused_when_it_is_assigned(kit):
    step = kit.Add()

    with pytest.raises(UnknownNameError, match="did you mean 'amount'"):
        step.amuont = 3.0


def test_a_misspelled_parameter_is_refused_when_the_step_runs(kit, ramp):
    with pytest.raises(UnknownNameError, match="did you mean 'amount'"):
        kit.Add().run(ramp, amuont=3.0)


def test_a_value_out_of_range_is_refused_and_leaves_the_old_one(kit):
    step = kit.Add(amount=3.0)

    with pytest.raises(ConfigurationError, match="100"):
        step.amount = 1000.0

    assert step.amount == 3.0
    assert step.origins == {"amount": "python"}


def test_settings_are_taken_all_or_none(kit):
    step = kit.Add()

    with pytest.raises(UnknownNameError):
        step.configure({"skip": True, "amuont": 3.0}, "file")

    assert step.skip is False
    assert not step.origins


def test_a_parameter_given_for_one_run_is_forgotten_after_it(kit, ramp):
    step = kit.Add()

    given = step.run(ramp, amount=5.0).model
    usual = step.run(ramp).model

    assert given.data[0, 0, 0, 0] == 15
    assert usual.data[0, 0, 0, 0] == 11
    assert step.amount == 1.0


def test_the_callers_options_stay_as_they_are(kit, ramp):
    options = Options(threads=1)
    before = dict(vars(options))

    run(kit.DivideByGain(), ramp, options, override_gain=make_reference("gain", ramp, 2.0))
    kit.Add().run(ramp, options=options, threads=2)

    assert vars(options) == before


def test_a_later_setting_wins_and_says_whose_it_is(kit):
    step = kit.Add(amount=2.0)

    step.configure({"amount": 3.0}, "parameter file")
    step.configure({"amount": "4"}, "command line")

    assert step.amount == 4.0
    assert step.origins["amount"] == "command line"


# -- the caller's model ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Add", "Multiply", "DivideByGain", "Decline", "LastGroup"])
def test_the_callers_model_is_not_changed(kit, ramp, name):
    before, meta = ramp.copy(), ramp.meta.flat()

    gain = {"override_gain": make_reference("gain", ramp, 2.0)} if name == "DivideByGain" else {}

    getattr(kit, name)().run(ramp, **gain)

    for array in ("data", "groupdq", "pixeldq"):
        np.testing.assert_array_equal(getattr(ramp, array), getattr(before, array))
    assert ramp.meta.flat() == meta


def test_a_step_that_writes_into_what_it_was_lent_is_told_so(ramp):
    class Careless(Step):
        """Write into the caller's array."""

        name = "careless"

        def apply(self, model):
            model.data += 1
            return model

    before = ramp.data.copy()

    with pytest.raises(LightmillError, match="not its own"):
        Careless().run(ramp)
    np.testing.assert_array_equal(ramp.data, before)


def test_a_step_that_does_nothing_copies_nothing(ramp):
    class Nothing(Step):
        """Return what came."""

        name = "nothing"

        def apply(self, model):
            return model

    model = Nothing().run(ramp).model

    assert model.data is ramp.data
    assert model.data.flags.writeable


# -- skips ----------------------------------------------------------------------------------


def test_a_step_told_to_skip_returns_the_arrays_as_they_were_and_the_reason(kit, ramp):
    outcome = kit.Add(skip=True).run(ramp)

    assert outcome.status is Status.SKIPPED
    assert outcome.reason == "asked for"
    assert outcome.model.data is ramp.data
    assert outcome.record["steps"][0]["status"] == "SKIPPED"
    assert ramp.meta.get("cal_step.add") is None


def test_a_step_with_nothing_to_do_says_why(kit, ramp):
    outcome = kit.Decline().run(ramp)

    assert outcome.status is Status.SKIPPED
    assert outcome.reason == "nothing to do here"
    np.testing.assert_array_equal(outcome.model.data, ramp.data)


def test_a_skipped_step_runs_no_hooks(kit, ramp):
    seen = []

    kit.Add(skip=True, pre_hooks=[seen.append], post_hooks=[seen.append]).run(ramp)

    assert not seen


def test_a_reference_that_does_not_apply_skips_the_step_and_its_hooks(kit, ramp):
    seen = []

    outcome = kit.DivideByGain(post_hooks=[seen.append]).run(ramp, override_gain="N/A")

    assert outcome.status is Status.SKIPPED
    assert "N/A" in outcome.reason
    assert not seen


# -- hooks ----------------------------------------------------------------------------------


def test_hooks_see_the_model_before_and_after(kit, ramp):
    seen = []

    def look(model):
        seen.append(float(model.data[0, 0, 0, 0]))

    kit.Add(pre_hooks=[look], post_hooks=[look]).run(ramp)

    assert seen == [10.0, 11.0]


def test_what_a_hook_returns_takes_the_place_of_the_model(kit, ramp):
    def double(model):
        return model.evolve(data=model.data * 2)

    model = kit.Add(pre_hooks=[double], post_hooks=[double]).run(ramp).model

    assert model.data[0, 0, 0, 0] == 42


def test_a_hook_that_writes_in_place_does_not_reach_the_callers_model(kit, ramp):
    def spoil(model):
        model.data[:] = -1

    for step in (kit.Add(pre_hooks=[spoil]), kit.Decline(post_hooks=[spoil])):
        step.run(ramp)

    assert ramp.data.min() == 10


# -- references -----------------------------------------------------------------------------


def test_a_reference_is_recorded_under_its_type(kit, ramp):
    outcome = kit.DivideByGain().run(ramp, override_gain=make_reference("gain", ramp, 2.0))

    np.testing.assert_allclose(outcome.model.data, ramp.data / 2)
    assert "gain" in outcome.record["steps"][0]["references"]


def test_a_missing_reference_is_an_error_with_the_option_to_give(kit, ramp):
    with pytest.raises(NothingSelectedError, match="--override-gain"):
        kit.DivideByGain().run(ramp)


def test_a_reference_of_another_kind_is_refused(kit, ramp):
    with pytest.raises(DataError, match="another kind"):
        kit.DivideByGain().run(ramp, override_gain=make_reference("readnoise", ramp))


def test_a_reference_of_another_detector_is_refused(kit, ramp):
    gain = make_reference("gain", ramp, instrument__detector="LARGE")

    with pytest.raises(DataError, match="another detector"):
        kit.DivideByGain().run(ramp, override_gain=gain)


def test_a_reference_too_small_is_refused(kit, ramp):
    small = make_ramp(shape=(3, 4), n_groups=3)

    with pytest.raises(DataError, match="does not cover"):
        kit.DivideByGain().run(ramp, override_gain=make_reference("gain", small))


def test_a_reference_of_another_place_of_the_detector_is_refused(kit, ramp):
    elsewhere = make_reference("gain", ramp, subarray__xstart=11)

    with pytest.raises(DataError, match="does not cover"):
        kit.DivideByGain().run(ramp, override_gain=elsewhere)


def test_a_larger_reference_is_cut_to_the_frame(kit, ramp):
    whole = make_ramp(shape=(32, 32), n_groups=3)
    values = np.arange(1, 32 * 32 + 1, dtype=np.float32).reshape(32, 32)
    gain = make_reference("gain", whole, values)

    model = kit.DivideByGain().run(ramp, override_gain=gain).model

    np.testing.assert_allclose(model.data[0, 0], 10 / values[4:10, 4:12], rtol=1e-6)


# -- what a step reads ----------------------------------------------------------------------


def test_raw_counts_are_a_ramp_without_flags(kit):
    raw = make_uncal(rate=0.0, bias=100.0, n_groups=3)

    model = kit.Add().run(raw).model

    assert isinstance(model, RampModel)
    assert np.all(model.data == 101)
    assert not model.groupdq.any()


def test_a_model_of_another_kind_is_refused(kit, ramp):
    image = RateModel(meta=ramp.meta, data=ramp.data[0, 0].copy())

    with pytest.raises(DataError, match="cannot read this"):
        kit.Add().run(image)


def test_a_step_that_answers_differently_from_band_to_band_is_a_bug(monkeypatch):
    monkeypatch.setattr("lightmill.pipeline.bands.BAND_BYTES", 1)

    class Moody(Step):
        """Skip where the frame begins."""

        name = "moody"
        reads, writes = RampModel, RampModel
        rows = True

        def apply(self, ramp):
            return Skipped(ramp, "here") if ramp.region.y0 == 0 else ramp

    with pytest.raises(LightmillError, match="one band"):
        Moody().run(make_ramp(shape=(20, 4)))
