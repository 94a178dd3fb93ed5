import json

import numpy as np
import pytest

from lightmill import models
from lightmill.errors import ConfigurationError, DataError, OutputError
from lightmill.pipeline import Products, Status
from lightmill.testing import make_reference


@pytest.fixture
def gain(ramp, tmp_path):
    """A gain of two in a file."""
    return make_reference("gain", ramp, 2.0).save(tmp_path / "gain.fits")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def names(folder):
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


# -- names ----------------------------------------------------------------------------------


def test_the_product_of_a_pipeline_is_called_after_its_input_and_the_pipeline(kit, file, gain, out):
    outcome = kit.Linear().run(file, override_gain=gain, output_dir=out, save_results=True)

    assert names(out) == ["lantern001_linear.fits", "lantern001_run.json"]
    assert outcome.written == [out / "lantern001_linear.fits"]


def test_products_are_called_after_their_suffix(kit, file, gain, out):
    kit.Branching().run(file, override_gain=gain, output_dir=out, save_results=True)

    assert names(out) == ["lantern001_first.fits", "lantern001_run.json", "lantern001_second.fits"]


def test_the_suffix_can_be_chosen(kit, file, out):
    kit.Add(suffix="brighter").run(file, output_dir=out, save_results=True)

    assert "lantern001_brighter.fits" in names(out)


def test_a_step_inside_a_pipeline_saves_its_result_too(kit, file, gain, out):
    pipeline = kit.Linear(steps={"add": {"save_results": True}})

    pipeline.run(file, override_gain=gain, output_dir=out, save_results=True)

    assert names(out) == ["lantern001_add.fits", "lantern001_linear.fits", "lantern001_run.json"]
    assert models.open(out / "lantern001_add.fits").data.flat[0] == 11


def test_without_being_asked_nothing_is_written(kit, file, gain, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = names(tmp_path)

    kit.Linear().run(file, override_gain=gain)

    assert names(tmp_path) == before


def test_what_is_written_is_what_was_computed(kit, file, gain, out):
    written = kit.Linear().run(file, override_gain=gain, output_dir=out, save_results=True)
    computed = kit.Linear().run(models.open(file), override_gain=gain)

    np.testing.assert_array_equal(models.open(written.written[0]).data, computed.model.data)


# -- start, stop, resume --------------------------------------------------------------------


def test_a_run_stops_after_a_step(kit, file, gain, out, calls):
    outcome = kit.Linear().run(file, override_gain=gain, output_dir=out, stop_after="add")

    assert calls == ["add"]
    assert outcome.model.data.flat[0] == 11


def test_a_run_starts_where_another_stopped(kit, file, gain, out, calls):
    kit.Linear().run(file, override_gain=gain, output_dir=out, stop_after="add")
    calls.clear()

    outcome = kit.Linear().run(file, override_gain=gain, output_dir=out, start_at="multiply")

    assert calls == ["multiply", "divide_by_gain"]
    assert outcome.model.data.flat[0] == 11


def test_a_run_cannot_start_where_none_stopped(kit, file, gain, out):
    raw = models.UncalModel(meta=models.open(file).meta, data=np.ones((1, 3, 6, 8), np.uint16))

    with pytest.raises(ConfigurationError, match="no result to start from"):
        kit.Linear().run(raw, override_gain=gain, output_dir=out, start_at="multiply")


def test_a_ramp_that_was_corrected_elsewhere_can_be_the_start(kit, file, gain, out, calls):
    outcome = kit.Linear().run(file, override_gain=gain, output_dir=out, start_at="multiply")

    assert calls == ["multiply", "divide_by_gain"]
    assert outcome.model.data.flat[0] == 10


def test_a_result_of_other_parameters_is_no_start(kit, file, gain, out, calls):
    kit.Linear().run(file, override_gain=gain, output_dir=out, resume=True)
    calls.clear()

    changed = kit.Linear(steps={"multiply": {"factor": 7.0}})
    outcome = changed.run(file, override_gain=gain, output_dir=out, resume=True)

    assert calls == ["multiply", "divide_by_gain"]  # the first step is taken from the cache
    assert outcome.model.data.flat[0] == 11 * 7 / 2


def test_stopping_where_a_kept_result_is_computes_nothing(kit, file, gain, out, calls):
    kit.Linear().run(file, override_gain=gain, output_dir=out, resume=True)
    calls.clear()

    outcome = kit.Linear().run(
        file, override_gain=gain, output_dir=out, resume=True, stop_after="multiply"
    )

    assert not calls
    assert outcome.status is Status.CACHED
    assert outcome.model.data.flat[0] == 22


def test_a_run_that_stops_does_not_go_past_it_with_what_was_kept(kit, file, gain, out):
    kit.Linear().run(file, override_gain=gain, output_dir=out, resume=True)

    outcome = kit.Linear().run(
        file, override_gain=gain, output_dir=out, resume=True, stop_after="add"
    )

    assert outcome.model.data.flat[0] == 11


def test_a_reference_changed_in_place_is_not_taken_for_the_old_one(kit, file, gain, ramp, out):
    kit.Linear().run(file, override_gain=gain, output_dir=out, resume=True)
    make_reference("gain", ramp, 4.0).save(gain)

    outcome = kit.Linear().run(file, override_gain=gain, output_dir=out, resume=True)

    assert outcome.model.data.flat[0] == 11 * 2 / 4


def test_a_model_changed_in_place_is_not_taken_for_the_old_one(kit, ramp, gain, out):
    kit.Linear().run(ramp, override_gain=gain, output_dir=out, resume=True)
    ramp.data[:] = 100

    outcome = kit.Linear().run(ramp, override_gain=gain, output_dir=out, resume=True)

    assert outcome.model.data.flat[0] == 101


def test_a_header_changed_in_memory_is_not_taken_for_the_old_one(kit, file, gain, out):
    kit.Linear().run(file, override_gain=gain, output_dir=out, resume=True)
    model = models.open(file)
    model.meta.exposure.type = "OTHER"

    outcome = kit.Linear().run(model, override_gain=gain, output_dir=out, resume=True)

    assert outcome.model.meta.exposure.type == "OTHER"


def test_what_a_hook_did_is_part_of_a_kept_result(kit, file, gain, out):
    def double(model):
        return model.evolve(data=model.data * 2)

    def run():
        pipeline = kit.Linear(steps={"multiply": {"post_hooks": [double]}})
        return pipeline.run(file, override_gain=gain, output_dir=out, resume=True)

    first, second = run(), run()

    assert first.model.data.flat[0] == second.model.data.flat[0] == 11 * 2 * 2 / 2


def test_a_product_on_the_way_is_written_by_a_resumed_run_too(kit, file, gain, out, tmp_path):
    pipeline = kit.Linear(steps={"add": {"save_results": True}})
    cache = tmp_path / "cache"
    options = {"override_gain": gain, "resume": True, "cache_dir": cache, "save_results": True}

    pipeline.run(file, output_dir=out, **options)
    pipeline.run(file, output_dir=tmp_path / "again", **options)

    assert names(tmp_path / "again") == names(out)


def products(folder):
    return {p.name: p.read_bytes() for p in folder.glob("*.fits")}


def test_a_resumed_run_writes_the_same_bytes(kit, file, gain, tmp_path, calls):
    cache = tmp_path / "cache"
    options = {"override_gain": gain, "save_results": True}
    kit.Linear().run(file, output_dir=tmp_path / "a", **options)
    kit.Linear().run(file, output_dir=tmp_path / "b", cache_dir=cache, resume=True, **options)
    calls.clear()
    kit.Linear().run(file, output_dir=tmp_path / "c", cache_dir=cache, resume=True, **options)

    assert calls == ["divide_by_gain"]
    assert products(tmp_path / "a") == products(tmp_path / "b") == products(tmp_path / "c")


def test_an_order_that_is_python_resumes_too(kit, file, gain, tmp_path, calls):
    cache = tmp_path / "cache"
    options = {"override_gain": gain, "save_results": True, "cache_dir": cache, "resume": True}
    kit.Branching().run(file, output_dir=tmp_path / "a", **options)
    calls.clear()

    outcome = kit.Branching().run(file, output_dir=tmp_path / "b", **options)

    assert not calls
    assert outcome.status is Status.CACHED
    assert products(tmp_path / "a") == products(tmp_path / "b")
    assert len(products(tmp_path / "a")) == 2


def test_an_order_that_is_python_stops_and_starts_too(kit, file, gain, out, calls):
    options = {"override_gain": gain, "output_dir": out}
    stopped = kit.Branching().run(file, stop_after="multiply", **options)
    calls.clear()

    outcome = kit.Branching().run(file, start_at="again", **options)

    assert stopped.model.data.flat[0] == 22
    assert calls == ["add", "add", "multiply", "divide_by_gain"]
    assert outcome.models["second"].data.flat[0] == 12


def test_an_order_that_is_python_cannot_start_where_none_stopped(kit, file, gain, out):
    with pytest.raises(ConfigurationError, match="no result of 'add' to start from"):
        kit.Branching().run(file, override_gain=gain, output_dir=out, start_at="again")


def test_a_nested_parameter_changes_what_is_kept(kit, file, gain, out):
    options = {"override_gain": gain, "output_dir": out, "resume": True}
    kit.Branching().run(file, **options)
    pipeline = kit.Branching()
    pipeline.step("inner").step("multiply").factor = 10.0

    outcome = pipeline.run(file, **options)

    assert outcome.models["second"].data.flat[0] == 12 * 10 / 2


def test_a_step_skipped_once_is_not_kept_as_done(kit, file, gain, out):
    options = {"override_gain": gain, "output_dir": out, "resume": True}
    kit.Branching().run(file, skip=["multiply"], **options)

    outcome = kit.Branching().run(file, **options)

    assert outcome.models["first"].data.flat[0] == 22


def test_values_changed_in_between_are_not_taken_for_the_old_ones(kit, file, out):
    class Touching(kit.Branching):
        """Write into a result between two steps."""

        name = "touching"
        extra = 0.0

        def process(self, ramp):
            ramp = self.add(ramp)
            ramp.data[:] += type(self).extra
            return Products(only=self.multiply(ramp))

    first = Touching().run(file, output_dir=out, resume=True)
    Touching.extra = 100.0
    second = Touching().run(file, output_dir=out, resume=True)

    assert first.model.data.flat[0] == 22
    assert second.model.data.flat[0] == 222


# -- what is left behind --------------------------------------------------------------------


def test_a_failed_run_leaves_no_folder(kit, file, out, ramp):
    wrong = make_reference("gain", ramp, instrument__detector="LARGE")

    with pytest.raises(DataError):
        kit.Linear().run(file, override_gain=wrong, output_dir=out / "deep", save_results=True)

    assert not out.exists()


def test_a_failed_run_leaves_the_folder_that_was_there(kit, file, out, ramp):
    out.mkdir()
    (out / "lantern001_linear.fits").write_bytes(b"of yesterday")
    wrong = make_reference("gain", ramp, instrument__detector="LARGE")

    with pytest.raises(DataError):
        kit.Linear().run(file, override_gain=wrong, output_dir=out, save_results=True)

    assert products(out) == {"lantern001_linear.fits": b"of yesterday"}


def test_an_error_hook_hears_of_the_error(kit, file, ramp):
    heard = []
    wrong = make_reference("gain", ramp, instrument__detector="LARGE")

    with pytest.raises(DataError):
        kit.Linear(on_error=[heard.append]).run(file, override_gain=wrong)

    assert isinstance(heard[0], DataError)


def test_a_file_where_the_folder_should_be_is_an_error(kit, file, out):
    out.write_text("in the way")

    with pytest.raises(OutputError):
        kit.Add().run(file, output_dir=out, save_results=True)


def test_what_a_killed_run_left_is_removed_by_the_next(kit, file, out):
    out.mkdir()
    (out / ".lantern001_add.fits.12345.abcd.part").write_bytes(b"half")
    (out / "notes.txt").write_text("mine")

    kit.Add().run(file, output_dir=out, save_results=True)

    assert names(out) == ["lantern001_add.fits", "lantern001_run.json", "notes.txt"]


def test_what_another_run_is_writing_is_not_removed(kit, file, out):
    out.mkdir()
    with models.atomic(out / "other_rate.fits") as other:
        other.write(b"half of it")
        kit.Add().run(file, output_dir=out, save_results=True)
        other.write(b", and the other half")

    assert (out / "other_rate.fits").read_bytes() == b"half of it, and the other half"


# -- hooks of a pipeline --------------------------------------------------------------------


def test_every_step_hooks_hear_of_every_step_that_ran(kit, ramp, gain):
    seen = []

    kit.Linear(every_step=[lambda m: seen.append(float(m.data.flat[0]))]).run(
        ramp, override_gain=gain, skip=["decline"]
    )

    assert seen == [11, 22, 11]


def test_a_pipelines_hooks_see_the_input_and_the_result(kit, ramp, gain):
    seen = []

    def look(model):
        seen.append(float(model.data.flat[0]))

    kit.Linear(pre_hooks=[look], post_hooks=[look]).run(ramp, override_gain=gain)

    assert seen == [10, 11]


def test_a_saved_product_is_announced(kit, file, out):
    seen = []

    def look(_, context):
        seen.append((context.path.name, context.path.exists()))

    kit.Add(on_save=[look]).run(file, output_dir=out, save_results=True)

    assert seen == [("lantern001_add.fits", True)]


# -- the record -----------------------------------------------------------------------------


def test_the_record_beside_the_products_names_them_and_what_it_took(kit, file, gain, out):
    kit.Linear().run(file, override_gain=gain, output_dir=out, save_results=True)

    record = json.loads((out / "lantern001_run.json").read_text())

    assert record["outputs"] == ["lantern001_linear.fits"]
    assert {"started", "finished", "wall_s", "peak_mb", "platform"} <= set(record)
    assert record["steps"][0]["name"] == "add"


def test_progress_is_told_band_by_band(kit, ramp, gain):
    told = []

    kit.Linear().run(ramp, override_gain=gain, progress=lambda *what: told.append(what))

    assert told[-1][1] == told[-1][2]
    assert "divide_by_gain" in told[-1][0]
