"""Which reference serves: who is asked first, for which steps, and what is said of all that miss."""

from types import SimpleNamespace

import numpy as np
import pytest

from lightmill import models
from lightmill.errors import (
    ConfigurationError,
    DataError,
    IncompleteReferencesError,
    NothingSelectedError,
)
from lightmill.models import GainModel, Model, RampModel, RateModel, ReadnoiseModel
from lightmill.pipeline import Pipeline, Step
from lightmill.pipeline.outcome import Options, Status
from lightmill.pipeline.selection import needs_of
from lightmill.reference import References
from lightmill.testing import make_ramp, make_reference


class Rules:
    """Rules that have one file of each type named, and count how often they are asked."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []

    def choose(self, model, types):  # noqa: ARG002
        self.asked.append(sorted(types))
        nothing = NothingSelectedError("no row matches", place="obs_dark_0007.rmap")
        return {
            kind: answer
            if isinstance(answer := self.answers.get(kind, nothing), Exception)
            else SimpleNamespace(
                path=None if answer == "N/A" else answer,
                name=getattr(answer, "name", answer),
                context="obs_0042.pmap",
                explanation=SimpleNamespace(
                    mapping=f"/cache/obs_{kind}_0007.rmap", row="line 3: (LAMP)", use_after="1999"
                ),
            )
            for kind in types
        }


class Gain(Step):
    """Divide by the gain."""

    reads, writes = RampModel, RampModel
    name = "t_gain"
    references = {"gain": GainModel}

    def apply(self, ramp, *, gain):
        return ramp.evolve(data=ramp.data / gain.data)


class Noise(Step):
    """Look at gain and noise, and change nothing."""

    reads, writes = RampModel, RampModel
    name = "t_noise"
    references = {"gain": GainModel, "readnoise": ReadnoiseModel, "flat": Model}
    optional = frozenset({"flat"})
    wants_flat = True

    def uses(self, reftype):  # noqa: ARG002
        return self.wants_flat

    def apply(self, ramp, *, gain, readnoise, flat):  # noqa: ARG002
        return ramp


class Both(Pipeline):
    """Gain, then noise."""

    name = "t_both"
    steps = {"t_gain": Gain, "t_noise": Noise}
    flow = ("t_gain", "t_noise")


class Nested(Pipeline):
    """A pipeline in a pipeline."""

    name = "t_nested"
    steps = {"t_both": Both}
    flow = ("t_both",)


class Branching(Pipeline):
    """Calls one of its steps, as a method decides."""

    name = "t_branching"
    steps = {"t_gain": Gain, "t_noise": Noise}

    def process(self, model):
        return self.t_gain(model)


@pytest.fixture
def ramp():
    return make_ramp(shape=(6, 8))


@pytest.fixture
def files(ramp, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    kinds = ("gain", "readnoise")
    return {k: make_reference(k, ramp, 2.0).save(folder / f"obs_{k}_0001.fits") for k in kinds}


def types_of(needs, *, certain):
    return [(need.name, need.reftype) for need in needs if need.certain is certain]


# -- what is needed -------------------------------------------------------------------------


def test_the_steps_of_pipelines_in_pipelines_count():
    needs = needs_of(Nested(), Options())

    assert types_of(needs, certain=True) == [
        ("t_gain", "gain"),
        ("t_noise", "gain"),
        ("t_noise", "readnoise"),
    ]


def test_a_step_left_out_needs_nothing():
    asked_for = needs_of(Both(), Options(skip=frozenset({"t_noise"})))
    own = needs_of(Both(steps={"t_noise": {"skip": True}}), Options())

    assert [need.name for need in asked_for] == [need.name for need in own] == ["t_gain"]


def test_a_step_after_the_last_one_needs_nothing():
    needs = needs_of(Both(), Options(stop_after="t_gain"))

    assert [need.name for need in needs] == ["t_gain"]


def test_what_a_step_before_the_first_one_takes_may_miss():
    needs = needs_of(Both(), Options(start_at="t_noise"))

    assert {need.name for need in needs if need.certain} == {"t_noise"}


def test_what_a_step_can_do_without_may_miss():
    assert types_of(needs_of(Noise(), Options()), certain=False) == [("t_noise", "flat")]


def test_a_reference_that_parameters_make_useless_is_not_asked_for(monkeypatch):
    monkeypatch.setattr(Noise, "wants_flat", False)

    assert "flat" not in {need.reftype for need in needs_of(Noise(), Options())}
    given = needs_of(Noise(), Options(overrides={"flat": "1"}))
    assert "flat" in {need.reftype for need in given}


def test_steps_a_method_calls_may_not_run():
    assert not types_of(needs_of(Branching(), Options()), certain=True)


# -- who is asked ---------------------------------------------------------------------------


def test_rules_are_asked_once_for_all_steps(ramp, files):
    rules = Rules(**files)

    outcome = Both().run(ramp, rules=rules)

    assert outcome.status is Status.DONE
    assert rules.asked == [["flat", "gain", "readnoise"]]


def test_overrides_go_first_and_the_folder_goes_before_rules(ramp, files, tmp_path):
    rules = Rules()
    folder = tmp_path / "folder"
    folder.mkdir()
    make_reference("gain", ramp, 4.0).save(folder / "any.fits")

    outcome = Both().run(
        ramp, rules=rules, references=folder, override_readnoise=files["readnoise"]
    )

    assert rules.asked == [["flat"]]
    assert outcome.model.data.max() == ramp.data.max() / 4


def test_rules_are_not_looked_for_when_all_is_given(ramp, files, monkeypatch, tmp_path):
    monkeypatch.setattr("lightmill.reference.rulebook.RuleBook.at", None)

    outcome = Gain().run(ramp, override_gain=files["gain"], crds_path=tmp_path / "nowhere")

    assert outcome.status is Status.DONE


def test_a_step_whose_reference_does_not_apply_by_the_rules_is_skipped(ramp, files):
    outcome = Both().run(ramp, rules=Rules(gain="N/A", readnoise=files["readnoise"]))

    notes = {note["name"]: note for note in outcome.record["steps"]}
    assert notes["t_gain"]["status"] == notes["t_noise"]["status"] == "SKIPPED"
    assert "N/A" in notes["t_gain"]["reason"]


# -- what is recorded -----------------------------------------------------------------------


def test_the_context_and_the_rule_are_recorded(ramp, files):
    outcome = Gain().run(ramp, rules=Rules(**files))

    (note,) = outcome.record["steps"]
    noted = note["references"]["gain"]
    assert noted["name"] == "obs_gain_0001.fits"
    assert noted["context"] == "obs_0042.pmap"
    assert noted["rule"] == "obs_gain_0007.rmap line 3: (LAMP), from 1999"
    assert len(noted["sha256"]) == 64
    assert outcome.record["context"] == "obs_0042.pmap"


def test_a_product_names_the_reference_as_the_fields_archive_does(ramp, files):
    model = Gain().run(ramp, rules=Rules(**files)).model

    assert model.meta.get("ref_file.gain.name") == "crds://obs_gain_0001.fits"
    assert model.meta.get("ref_file.crds.context_used") == "obs_0042.pmap"


def test_an_override_is_named_by_its_path_and_no_context_is_claimed(ramp, files):
    model = Gain().run(ramp, override_gain=files["gain"]).model

    assert model.meta.get("ref_file.gain.name") == str(files["gain"])
    assert model.meta.get("ref_file.crds.context_used") is None


# -- what is missing ------------------------------------------------------------------------


def test_all_that_is_missing_is_told_at_once_before_anything_runs(ramp):
    with pytest.raises(IncompleteReferencesError) as caught:
        Nested().run(ramp, rules=Rules())

    error = caught.value
    assert [(one["type"], one["steps"]) for one in error.missing] == [
        ("gain", ["t_gain", "t_noise"]),
        ("readnoise", ["t_noise"]),
    ]
    assert all("no row matches (obs_dark_0007.rmap)" in one["reason"] for one in error.missing)
    assert "--override-TYPE=FILE" in error.remedy
    assert "--skip t_gain --skip t_noise" in error.remedy
    assert error.exit_status == 4
    assert "readnoise  for t_noise" in error.story()


def test_without_any_source_the_remedy_names_all_there_are(ramp, monkeypatch):
    monkeypatch.delenv("CRDS_PATH", raising=False)

    with pytest.raises(IncompleteReferencesError) as caught:
        Gain().run(ramp)

    for way in ("--override-gain=FILE", "--references DIR", "--crds-path DIR", "--skip t_gain"):
        assert way in caught.value.story()


def test_a_step_that_is_not_called_misses_nothing(ramp, files):
    outcome = Branching().run(ramp, rules=Rules(gain=files["gain"]))

    assert outcome.status is Status.DONE


def test_a_step_that_is_called_says_what_it_misses(ramp, files):
    with pytest.raises(IncompleteReferencesError, match="--skip t_gain"):
        Branching().run(ramp, rules=Rules(readnoise=files["readnoise"]))


def test_a_dry_run_says_what_is_missing(ramp):
    from lightmill.pipeline.runner import Run

    with pytest.raises(IncompleteReferencesError):
        Run(Both(), Options(rules=Rules())).plan(ramp)


def test_what_is_wrong_with_a_cache_is_told_of_optional_references_too(ramp, files):
    broken = ConfigurationError("the file is not in the cache", remedy="lightmill refs sync")

    with pytest.raises(IncompleteReferencesError, match=r"flat.*\n.*not in the cache") as caught:
        Noise().run(ramp, rules=Rules(**files, flat=broken))

    assert caught.value.missing[0]["remedy"] == "lightmill refs sync"


def test_the_error_travels_between_processes(ramp):
    import pickle

    with pytest.raises(IncompleteReferencesError) as caught:
        Gain().run(ramp, rules=Rules())

    again = pickle.loads(pickle.dumps(caught.value))
    assert again.story() == caught.value.story()
    assert again.as_dict()["missing"][0]["type"] == "gain"


class Fit(Step):
    """Make a rate of a ramp."""

    reads, writes = RampModel, RateModel
    name = "t_fit"
    references = {"gain": GainModel}

    def apply(self, ramp, *, gain):  # noqa: ARG002
        raise AssertionError


class Scale(Step):
    """Read rates."""

    reads, writes = RateModel, RateModel
    name = "t_scale"

    def apply(self, rate):
        return rate


class Rows(Step):
    """Read ramps, band by band."""

    reads, writes = RampModel, RampModel
    name = "t_rows"
    rows = True

    def apply(self, ramp):
        return ramp


class Fitting(Pipeline):
    """A fit, and what needs it."""

    name = "t_fitting"
    steps = {"t_rows": Rows, "t_fit": Fit, "t_scale": Scale}
    flow = ("t_rows", "t_fit", "t_scale")


@pytest.mark.parametrize("skip", [(), ("t_rows",)])
def test_a_step_left_out_is_named_by_the_one_that_needs_its_result(ramp, skip):
    with pytest.raises(ConfigurationError) as caught:
        Fitting().run(ramp, override_gain="N/A", skip=skip)

    assert "'t_fit'" in caught.value.fact
    assert "no gain reference applies (N/A)" in caught.value.fact
    assert "--skip t_scale" in caught.value.remedy


def test_an_override_that_is_not_there_is_named_before_anything_runs(ramp, caplog):
    with pytest.raises(DataError) as caught:
        Both().run(ramp, override_gain="nothere.fits")

    assert caught.value.place == "--override-gain"
    assert caught.value.found == "nothere.fits"
    assert "begins" not in caplog.text


def test_an_override_of_one_step_is_named_with_its_step(ramp):
    with pytest.raises(DataError) as caught:
        Gain(override_gain="nothere.fits").run(ramp)

    assert caught.value.place == "t_gain.override_gain"


def test_a_folder_gives_the_reference_of_the_data_s_filter(tmp_path):
    for band in ("RED", "BLUE"):
        flat = models.FlatModel(
            meta={"reftype": "FLAT", "instrument": {"name": "X", "filter": band}},
            data=np.ones((4, 4), np.float32),
        )
        flat.save(tmp_path / f"{band}.fits")
    image = models.RateModel(
        meta={"instrument": {"name": "X", "filter": "BLUE"}}, data=np.ones((4, 4), np.float32)
    )

    found = References(tmp_path).find("flat", image)

    assert found.path.name == "BLUE.fits"


def test_data_of_several_detectors_take_the_reference_of_one_of_them(tmp_path, caplog):
    plane = np.ones((4, 4), np.float32)
    for name in ("A1", "A2"):
        told = {"reftype": "FLAT", "instrument": {"name": "X", "detector": name}}
        models.FlatModel(meta=told, data=plane).save(tmp_path / f"{name}.fits")
    mosaic, image = (
        models.RateModel(meta={"instrument": {"name": "X", "detector": name}}, data=plane)
        for name in ("MULTIPLE", "A2")
    )
    folder = References(tmp_path)

    with caplog.at_level("INFO", logger="lightmill.reference"):
        found = folder.find("flat", mosaic)

    assert found.path.name == "A1.fits"
    assert "several detectors" in caplog.text
    assert folder.find("flat", image).path.name == "A2.fits"


def test_headers_of_a_folder_are_read_once_and_again_when_a_file_is_another(tmp_path, monkeypatch):
    plane = np.ones((4, 4), np.float32)

    def put(band):
        told = {"reftype": "FLAT", "instrument": {"name": "X", "filter": band}}
        models.FlatModel(meta=told, data=plane).save(tmp_path / "flat.fits")

    image = models.RateModel(meta={"instrument": {"name": "X", "filter": "RED"}}, data=plane)
    image.save(tmp_path / "rate.fits")  # no reference
    (tmp_path / "gone.fits").symlink_to(tmp_path / "nowhere.fits")
    put("RED")
    first = References(tmp_path).find("flat", image)
    opened = []
    monkeypatch.setattr(
        "lightmill.reference.local.models.open",
        lambda path, real=models.open: opened.append(path.name) or real(path),
    )

    again = References(tmp_path)
    found = [again.find("flat", image) for _ in range(2)]

    assert opened == ["flat.fits"]  # its arrays; not its header to choose it, nor other files
    assert found[0] is found[1]
    assert (found[0].path, found[0].meta.reftype) == (first.path, "FLAT")
    put("BLUE")
    assert References(tmp_path).find("flat", image) is None
