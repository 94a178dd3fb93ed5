"""What steps make beside their results."""

from dataclasses import dataclass

import numpy as np
import pytest
from astropy.io import fits

from lightmill import models
from lightmill.errors import OutputError
from lightmill.models import Model, RampModel, RateModel
from lightmill.models.lineage import descend
from lightmill.pipeline import Beside, Pipeline, SideProduct, Step, param, run
from lightmill.pipeline.bands import Stage, through_bands
from lightmill.pipeline.beside import Growing
from lightmill.pipeline.pipeline import Save
from lightmill.testing import make_reference


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def peak():
    class Peak(Step):
        """Double the signal; save the highest of it where that is asked for."""

        name = "peak"
        reads, writes = RampModel, RampModel
        references = {"gain": Model}
        optional = frozenset({"gain"})
        rows = True
        counts = True

        @dataclass(frozen=True)
        class Parameters:
            save_peak: bool = param(True, "save the highest signal")
            file: str | None = param(None, "its file")

        def side_products(self):
            if not self.parameters.save_peak:
                return ()
            return (SideProduct("highest", self.parameters.file, exact=True),)

        def apply(self, ramp, *, gain, own):  # noqa: ARG002
            ramp.data *= 2
            image = RateModel(meta=ramp.meta, data=ramp.data.max(axis=(0, 1)))
            descend(image, ramp)
            found = {"highest": image} if self.parameters.save_peak else {}
            return Beside(ramp, found, {"pixels": own.shape[0] * own.shape[1]})

        def tell(self, counts, model):  # noqa: ARG002
            return {"exposure.integration_time": float(counts["pixels"])}

    return Peak


@pytest.fixture
def whole_frame(peak):
    class Whole(peak):
        """The same, of the whole frame."""

        name = "whole"
        rows = False

        def apply(self, ramp, *, gain):
            ramp = ramp.evolve(data=ramp.data.copy())
            return super().apply(ramp, gain=gain, own=models.Region(0, 6, 0, 8))

    return Whole


def names(folder):
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("kind", ["peak", "whole_frame"])
@pytest.mark.parametrize("save_results", [True, False])
def test_what_is_asked_for_is_saved_with_the_results_or_without(
    request, kind, save_results, file, out
):
    step = request.getfixturevalue(kind)()

    outcome = step.run(file, output_dir=out, save_results=save_results)

    found = models.open(out / "lantern001_highest.fits")
    assert (found.data == 60).all()
    assert found.record["steps"][0]["name"] == step.name
    assert out / "lantern001_highest.fits" in outcome.written
    assert "highest" not in outcome.models


def test_what_is_not_asked_for_is_not_saved(peak, file, out):
    peak(save_peak=False).run(file, output_dir=out)

    assert not names(out)


@pytest.mark.parametrize("kind", ["peak", "whole_frame"])
@pytest.mark.parametrize("save_results", [True, False])
def test_counts_are_told_in_the_result(request, kind, save_results, file, out):
    step = request.getfixturevalue(kind)(save_peak=False)

    outcome = step.run(file, output_dir=out, save_results=save_results)

    assert outcome.model.meta.exposure.integration_time == 48.0
    for path in outcome.written:
        assert models.open(path).meta.exposure.integration_time == 48.0
        assert fits.getval(path, "EFFINTTM") == 48.0


def test_what_is_saved_beside_does_not_name_the_run_log(peak, file, out):
    peak(file="mine.fits").run(file, output_dir=out, save_results=True)

    assert names(out) == ["lantern001_peak.fits", "lantern001_run.json", "mine.fits"]


def test_it_is_the_same_however_the_frame_is_cut(peak, ramp):
    def made(height, threads):
        stage = Stage(peak(), "peak", {"gain": None})
        through_bands(ramp, [stage], height=height, threads=threads)
        return np.asarray(stage.beside["highest"].data), stage.counts

    whole, count = made(6, 1)
    parts, counts = made(1, 3)
    np.testing.assert_array_equal(whole, parts)
    assert count == counts == {"pixels": 48}


def test_bands_may_bring_different_numbers_of_layers():
    array = Growing(np.zeros((2, 1, 1, 3), np.float32), (4, 3))
    array.write(0, np.full((2, 1, 2, 3), 1, np.float32))
    array.write(2, np.full((2, 3, 1, 3), 2, np.float32))
    array.write(3, np.full((2, 0, 1, 3), 3, np.float32))

    planes = np.stack(list(array.chunks())).reshape(array.shape)

    assert array.shape == (2, 3, 4, 3)
    assert planes[:, :, :, 0].tolist() == [[[1, 1, 2, 0], [0, 0, 2, 0], [0, 0, 2, 0]]] * 2


@pytest.fixture
def flow(kit, peak):
    class Flow(Pipeline):
        """Add, take the peak, divide."""

        name = "flow"
        steps = {"add": kit.Add, "peak": peak, "again": kit.Multiply}
        flow = ("add", "peak", "again")
        checkpoints = frozenset({"add", "peak", "again"})

    return Flow


def test_a_kept_result_does_not_stand_in_for_what_is_asked_for(flow, file, out, calls):
    flow().run(file, output_dir=out, resume=True)
    (out / "lantern001_highest.fits").unlink()
    calls.clear()

    flow().run(file, output_dir=out, resume=True)

    assert "lantern001_highest.fits" in names(out)
    assert calls == ["multiply"]  # the result before the peak is taken, the later ones are not


def test_inside_a_pipeline_the_saved_band_is_that_of_its_step(flow, file, out):
    flow(steps={"add": {"amount": 5}}).run(file, output_dir=out)

    assert (models.open(out / "lantern001_highest.fits").data == 70).all()


def test_a_dry_run_lists_what_will_be_saved_beside(flow, file, out):
    from lightmill.pipeline.runner import Options, Run

    outcome = Run(flow(), Options(output_dir=out)).plan(file)

    assert out / "lantern001_highest.fits" in outcome.written
    assert not names(out)


def test_a_skipped_step_saves_nothing_beside(flow, file, out):
    flow().run(file, output_dir=out, skip={"peak"})

    assert not names(out)


def test_a_file_that_is_read_is_not_written_over(peak, ramp, file, tmp_path):
    gain = make_reference("gain", ramp, 2.0).save(tmp_path / "gain.fits")

    for name in ("gain.fits", "in/lantern001_ramp.fits"):
        with pytest.raises(OutputError, match="a file that is read"):
            peak(file=name).run(file, output_dir=tmp_path, override_gain=gain)
    assert models.open(gain).data[0, 0] == 2


def test_nothing_is_saved_beside_outside_the_output_folder(peak, file, out):
    with pytest.raises(OutputError, match="outside"):
        run(peak(file="../mine.fits"), file, output_dir=out)


def test_a_save_point_writes_counts_too(kit, peak, file, out):
    class Saving(Pipeline):
        name = "saving"
        steps = {"peak": peak, "again": kit.Multiply}
        flow = ("peak", Save("half"), "again")

    Saving(steps={"peak": {"save_peak": False}}).run(file, output_dir=out, save_results=True)

    assert fits.getval(out / "lantern001_half.fits", "EFFINTTM") == 48.0


def test_a_product_is_not_saved_under_the_name_of_the_result(peak, file, out):
    with pytest.raises(OutputError, match="another product"):
        peak(file="lantern001_peak.fits").run(file, output_dir=out, save_results=True)
