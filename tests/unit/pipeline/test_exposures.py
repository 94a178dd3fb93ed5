"""Steps that work on several exposures together, from an association to products."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lightmill import app, models
from lightmill.errors import CorruptFileError, DataError, LightmillError, OutputError
from lightmill.models import CalModel, Exposures, Member, ResampledModel
from lightmill.pipeline import Beside, Pipeline, Save, SideProduct, Skipped, Status, Step, param
from lightmill.pipeline.inputs import Source, sources_of
from lightmill.pipeline.runner import run


class ShiftLevel(Step):
    """Add the same level to every exposure."""

    name = "toy_shift"
    reads = writes = Exposures

    @dataclass(frozen=True)
    class Parameters:
        level: float = param(1.0, "what is added")

    def apply(self, exposures):
        return exposures.evolve(
            exposures.each(
                lambda m: m.evolve(data=np.asarray(m.array("data")) + self.parameters.level),
                "shift",
            )
        )


class AddUp(Step):
    """Average exposures."""

    name = "toy_add"
    reads, writes = Exposures, ResampledModel

    def apply(self, exposures):
        mean = sum(np.asarray(m.array("data")) for m in exposures) / len(exposures)
        return Beside(ResampledModel(meta=exposures.meta, data=mean), {"toyc": exposures})

    def side_products(self):
        return (SideProduct("toyc"),)


class Stack(Pipeline):
    """Shift, then average."""

    name = "toy_stack"
    steps = {"toy_shift": ShiftLevel, "toy_add": AddUp}
    flow = ("toy_shift", "toy_add")
    reads = Exposures
    inputs = ("cal",)
    checkpoints = frozenset({"toy_shift"})

    @dataclass(frozen=True)
    class Parameters:
        missing_members: str = param("fail", "what to do", choices=("fail", "leave_out"))


def image(level, **meta):
    return CalModel(
        meta={"instrument.name": "TOY", "bunit_data": "MJy/sr", **meta},
        data=np.full((64, 80), level, np.float32),
    )


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """A folder of its own; the observatories say which suffixes there are."""
    monkeypatch.chdir(tmp_path)
    app.discover()


@pytest.fixture
def night(tmp_path):
    """An association of three exposures, with levels 1, 2 and 6, and its folder."""
    members = []
    for number, level in enumerate((1, 2, 6)):
        name = f"x{number}_cal.fits"
        image(level).save(tmp_path / name)
        members.append({"expname": name, "exptype": "science"})
    return write(tmp_path, members)


def write(folder, *products, **more):
    document = {
        "asn_id": "a3001",
        "products": [
            {"name": f"stack{n}" if n else "stack", "members": members}
            for n, members in enumerate(products)
        ],
        **more,
    }
    path = folder / "toy_asn.json"
    path.write_text(json.dumps(document))
    return path


def test_members_of_an_association_are_put_together(night, tmp_path):
    outcome = run(Stack, night, save_results=True, output_dir=tmp_path / "out")

    assert outcome.status is Status.DONE
    assert np.all(outcome.model.data == 4)  # the mean of 1, 2 and 6, and 1
    assert sorted(p.name for p in outcome.written) == [
        "stack_toy_stack.fits",
        *(f"x{n}_a3001_toyc.fits" for n in range(3)),
    ]
    assert np.all(models.open(tmp_path / "out/x2_a3001_toyc.fits").data == 7)
    assert [one["name"] for one in outcome.record["inputs"]] == [
        "toy_asn.json",
        *(f"x{n}_cal.fits" for n in range(3)),
    ]


class BrightOnly(Step):
    """Halve exposures that are bright."""

    name = "toy_bright"
    reads = writes = Exposures

    def apply(self, exposures):
        names = exposures.names
        faint = {n: "faint" for n, m in zip(names, exposures, strict=True) if m.data.max() < 5}
        halved = [
            model if name in faint else model.evolve(data=model.data / 2)
            for name, model in zip(names, exposures, strict=True)
        ]
        return Beside(exposures.evolve(halved), skipped=faint)


class Chosen(Pipeline):
    """Halve what is bright, then average."""

    name = "toy_chosen"
    steps = {"toy_bright": BrightOnly, "toy_add": AddUp}
    flow = ("toy_bright", "toy_add")
    reads = Exposures
    inputs = ("cal",)
    checkpoints = frozenset({"toy_bright"})


def test_a_step_may_be_skipped_for_some_of_the_exposures(night, tmp_path):
    outcome = run(BrightOnly, night, save_results=True, output_dir=tmp_path / "out")

    said = [models.open(path).meta.cal_step.toy_bright for path in outcome.written]
    assert said == ["SKIPPED", "SKIPPED", "COMPLETE"]
    (step,) = models.open(outcome.written[2]).record["steps"]
    assert step["status"] == "COMPLETE"
    assert step["skipped_exposures"] == {"x0_cal.fits": "faint", "x1_cal.fits": "faint"}
    # without saving, too
    result = run(BrightOnly, night).model
    assert [one.meta.cal_step.toy_bright for one in result.science] == said


def test_what_a_step_was_skipped_for_is_kept_with_its_result(night, tmp_path):
    options = {"save_results": True, "output_dir": tmp_path / "out"}
    run(Chosen, night, stop_after="toy_bright", **options)

    outcome = run(Chosen, night, resume=True, **options)

    note = next(step for step in outcome.record["steps"] if step["name"] == "toy_bright")
    assert list(note["skipped_exposures"]) == ["x0_cal.fits", "x1_cal.fits"]
    beside = [models.open(tmp_path / f"out/x{n}_a3001_toyc.fits").meta for n in (1, 2)]
    assert [meta.cal_step.toy_bright for meta in beside] == ["SKIPPED", "COMPLETE"]


def test_why_a_step_was_skipped_is_in_the_log(night, caplog):
    class Idle(Step):
        """Find nothing to do."""

        name = "toy_idle"
        reads = writes = Exposures

        def apply(self, exposures):
            return Skipped(exposures, "nothing to do")

    with caplog.at_level("INFO", "lightmill"):
        run(Idle, night)

    assert "toy_idle: skipped: nothing to do" in caplog.text


def test_what_a_flow_saves_on_its_way_is_a_product_of_the_run(night, tmp_path):
    class Saving(Stack):
        """Keep the shifted exposures as well."""

        name = "toy_saving"
        flow = ("toy_shift", Save("toys"), "toy_add")

    outcome = run(Saving, night, save_results=True, output_dir=tmp_path / "out")

    assert list(outcome.models) == ["toys", "toy_saving"]
    assert (tmp_path / "out/x1_a3001_toys.fits") in outcome.written
    assert list(run(Saving, night).models) == ["toys", "toy_saving"]


def test_models_of_the_caller_stay_as_they_are(tmp_path):
    mine = [image(1), image(3)]

    outcome = run(Stack, mine, output_dir=tmp_path)

    assert np.all(outcome.model.data == 3)
    assert np.all(mine[0].data == 1)


def test_a_step_may_not_write_into_a_member(tmp_path):
    class Careless(Step):
        """Change what is not its own."""

        name = "toy_careless"
        reads = writes = Exposures

        def apply(self, exposures):
            exposures.science[0].array("data")[:] = 0
            return exposures

    with pytest.raises(LightmillError, match="not its own"):
        run(Careless, [image(1), image(2)], output_dir=tmp_path)


def test_arrays_stay_in_the_files(night):
    opened = Exposures.open(night)

    shifted = ShiftLevel().apply(opened)

    assert not isinstance(opened.science[0].array("data"), np.ndarray)
    assert np.all(shifted.science[0].data == 2)


def test_every_product_of_an_association_is_a_run(night):
    members = json.loads(night.read_text())["products"][0]["members"]
    write(night.parent, members[:2], members[1:])

    sources = sources_of([night], Stack)

    assert [source.label for source in sources] == ["stack", "stack1"]
    assert sources[1].open().names == ("x1_cal.fits", "x2_cal.fits")
    with pytest.raises(DataError, match="several products"):
        models.open(night)


def test_files_are_one_run_and_a_folder_is_put_together_by_filter(tmp_path):
    for number, band in enumerate("ABA"):
        image(number, **{"instrument.filter": band}).save(tmp_path / f"y{number}_cal.fits")
    image(0).save(tmp_path / "y0_rate.fits")
    files = sorted(tmp_path.glob("*_cal.fits"))

    (together,) = sources_of(files, Stack)
    of_folder = {source.label: source.open() for source in sources_of([tmp_path], Stack)}

    assert len(together.open()) == 3
    assert together.label == "y0"
    assert {label: one.names for label, one in of_folder.items()} == {
        f"{tmp_path.name}_toy-a": ("y0_cal.fits", "y2_cal.fits"),
        f"{tmp_path.name}_toy-b": ("y1_cal.fits",),
    }


def test_a_folder_without_the_right_files_is_refused(tmp_path):
    image(0).save(tmp_path / "y0_rate.fits")

    with pytest.raises(DataError, match="no input") as caught:
        sources_of([tmp_path], Stack)

    assert "*_cal.fits" in str(caught.value.expected)


@pytest.mark.parametrize(
    "name", ["../x0_cal.fits", "/etc/passwd", "a/../../x0_cal.fits", "", "x\0_cal.fits"]
)
def test_a_member_outside_the_folder_is_refused(night, name):
    path = write(night.parent, [{"expname": name, "exptype": "science"}])

    with pytest.raises(DataError, match="outside"):
        Exposures.open(path)


def test_a_missing_member_is_named(night):
    (night.parent / "x1_cal.fits").unlink()

    with pytest.raises(DataError, match="missing") as caught:
        run(Stack, night)

    assert caught.value.found == "x1_cal.fits"


def test_a_missing_member_is_left_out_where_the_user_says_so(night, tmp_path):
    (night.parent / "x1_cal.fits").unlink()

    outcome = run(Stack(missing_members="leave_out"), night, output_dir=tmp_path / "out")

    assert np.all(outcome.model.data == 4.5)
    (left_out,) = outcome.record["left_out"]
    assert left_out["name"] == "x1_cal.fits"


def damage_when_read(monkeypatch, name):
    """Let the values of one file be unreadable, though its header is fine."""
    from lightmill.models.lazy import FileBytes

    whole = FileBytes.read_from

    def read(self, descriptor, buffer, offset):
        if self.path.name == name and offset > 2880:
            raise CorruptFileError("the file cannot be read", place=self.path, found="I/O error")
        return whole(self, descriptor, buffer, offset)

    monkeypatch.setattr(FileBytes, "read_from", read)


def test_a_member_damaged_inside_ends_the_run_by_name(night, monkeypatch, tmp_path):
    damage_when_read(monkeypatch, "x1_cal.fits")

    with pytest.raises(CorruptFileError, match=r"x1_cal\.fits"):
        run(Stack, night, save_results=True, output_dir=tmp_path / "out")

    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_a_member_damaged_inside_is_left_out_where_the_user_says_so(night, monkeypatch, tmp_path):
    damage_when_read(monkeypatch, "x1_cal.fits")

    outcome = run(
        Stack(missing_members="leave_out"), night, save_results=True, output_dir=tmp_path / "out"
    )

    assert np.all(outcome.model.data == 4.5)
    product = models.open(tmp_path / "out/stack_toy_stack.fits")
    assert [one["name"] for one in product.record["left_out"]] == ["x1_cal.fits"]
    assert "toyc" not in "".join(p.name for p in outcome.written if "x1" in p.name)


def test_a_member_twice_is_refused(night):
    twice = {"expname": "x0_cal.fits", "exptype": "science"}
    path = write(night.parent, [twice, twice])

    with pytest.raises(DataError, match="twice"):
        Exposures.open(path)


def test_no_science_member_is_refused(night):
    path = write(night.parent, [{"expname": "x0_cal.fits", "exptype": "background"}])

    with pytest.raises(DataError, match="no science"):
        Exposures.open(path)


def test_two_members_of_the_same_name_do_not_overwrite_each_other(night):
    folder = night.parent
    (folder / "deeper").mkdir()
    image(9).save(folder / "deeper/x0_cal.fits")
    members = [
        {"expname": name, "exptype": "science"} for name in ("x0_cal.fits", "deeper/x0_cal.fits")
    ]

    with pytest.raises(OutputError, match="the same product"):
        run(Stack, write(folder, members), save_results=True, output_dir=folder / "out")


def test_a_stopped_run_goes_on_from_what_it_kept(night, tmp_path):
    options = {"output_dir": tmp_path / "out", "cache_dir": tmp_path / "kept"}
    run(Stack, night, stop_after="toy_shift", **options)

    outcome = run(Stack, night, resume=True, **options)

    assert np.all(outcome.model.data == 4)
    kept = [note["name"] for note in outcome.record["steps"]]
    assert kept == ["toy_shift", "toy_add"]


def test_a_changed_member_is_not_taken_from_what_was_kept(night, tmp_path):
    options = {"output_dir": tmp_path / "out", "cache_dir": tmp_path / "kept"}
    run(Stack, night, stop_after="toy_shift", **options)
    image(9).save(night.parent / "x2_cal.fits")

    outcome = run(Stack, night, resume=True, **options)

    assert np.all(outcome.model.data == 5)


def test_progress_is_told_for_each_exposure(night):
    told = []

    run(Stack, night, progress=lambda *facts: told.append(facts))

    assert [facts for facts in told if facts[0] == "shift"] == [("shift", n, 3) for n in (1, 2, 3)]


def test_detectors_exposed_together_are_one_group():
    def exposed(exposure):
        meta = {"observation.program_number": "1", "observation.exposure_number": exposure}
        model = image(1)
        for path, value in meta.items():
            models.lineage.force(model, path, value)
        return model

    numbers = ("1", "1", "2")
    exposures = Exposures(tuple(Member(exposed(n), name=f"{i}") for i, n in enumerate(numbers)))

    assert list(exposures.groups().values()) == [[0, 1], [2]]


def test_a_source_is_called_by_its_name():
    assert Source(Path("a/b_cal.fits")).label == "b_cal.fits"
