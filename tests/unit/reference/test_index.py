"""A folder of reference files becomes rules by what the files say."""

import numpy as np
import pytest
from click.testing import CliRunner

from lightmill.cli.refs import refs
from lightmill.errors import NothingSelectedError, OutputError
from lightmill.models import DarkModel, GainModel
from lightmill.reference.index import index_folder
from lightmill.reference.yaml_rules import rules_of


def header(detector="A", date="2030-06-01", **more):
    return {
        "META.INSTRUMENT.NAME": "CAM",
        "META.INSTRUMENT.DETECTOR": detector,
        "META.OBSERVATION.DATE": date,
        "META.OBSERVATION.TIME": "00:00:00",
        **more,
    }


def put(folder, name, model=DarkModel, **meta):
    known = {"telescope": "OBS", "instrument.name": "CAM", "reftype": "DARK",
             "useafter": "2029-01-01T00:00:00"}  # fmt: skip
    known |= {key.replace("__", "."): value for key, value in meta.items()}
    known = {key: value for key, value in known.items() if value is not None}
    shape = (2, 4, 5) if model is DarkModel else (4, 5)
    more = {"dq": np.zeros((4, 5), np.uint32)} if model is DarkModel else {}
    model(meta=known, data=np.zeros(shape, np.float32), **more).save(folder / name)


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "files"
    home.mkdir()
    put(home, "a1.fits", instrument__detector="A")
    put(home, "a2.fits", instrument__detector="A", useafter="2030-01-01T00:00:00")
    put(home, "b1.fits", instrument__detector="B")
    put(home, "g.fits", GainModel, reftype="GAIN")
    (home / "notes.txt").write_text("not a reference")
    return home


def test_the_rules_choose_each_file_for_its_data(folder, tmp_path):
    place = tmp_path / "obs" / "reference" / "rules.yaml"
    done = CliRunner().invoke(refs, ["index", str(folder), "-o", str(place)], standalone_mode=False)
    assert done.return_value == 0, done.output

    context = rules_of(tmp_path / "obs")
    assert context.observatory == "obs"
    assert context.best_references(header()) == {"dark": "a2.fits", "gain": "g.fits"}
    assert context.best_references(header(date="2029-06-01"))["dark"] == "a1.fits"
    assert context.best_references(header("B"))["dark"] == "b1.fits"


def test_what_files_say_nothing_of_is_not_matched(folder):
    dark, gain = index_folder(folder).rules
    assert dark.header["parkey"][0] == ("META.INSTRUMENT.DETECTOR",)
    assert gain.header["parkey"][0] == ()


def test_fields_can_be_named(folder):
    dark = index_folder(folder, ["instrument.detector", "FILTER"]).rules[0]
    assert dark.header["parkey"][0] == ("META.INSTRUMENT.DETECTOR", "FILTER")
    assert [key for key, _, _ in dark.selector.items] == [("A", "N/A"), ("B", "N/A")]


def test_two_files_that_say_the_same_are_found(folder):
    put(folder, "a3.fits", instrument__detector="A")
    index = index_folder(folder)
    assert [(one.severity, one.code) for one in index.findings] == [("error", "same-row")]
    done = CliRunner().invoke(refs, ["index", str(folder)], standalone_mode=False)
    assert done.return_value == 3


def test_a_damaged_file_is_told_and_the_others_are_used(folder):
    (folder / "bad.fits").write_bytes(b"SIMPLE")
    index = index_folder(folder)
    assert len(index.rules) == 2
    assert "bad.fits" in index.findings[0].where


def test_nothing_is_overwritten_and_an_empty_folder_is_an_error(folder, tmp_path):
    place = tmp_path / "rules.yaml"
    place.write_text("mine")
    done = CliRunner().invoke(refs, ["index", str(folder), "-o", str(place)], standalone_mode=False)
    assert isinstance(done.exception, OutputError)
    assert place.read_text() == "mine"
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(NothingSelectedError):
        index_folder(empty)
