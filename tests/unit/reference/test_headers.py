"""What rules learn from a header: paths and keywords both ways, as text, without the arrays."""

import numpy as np
import pytest

from lightmill import app, models
from lightmill.reference.headers import header_of, path_of


@pytest.fixture(autouse=True)
def _known_observatories():
    app.discover()


@pytest.fixture
def ramp():
    return models.RampModel(
        data=np.zeros((1, 2, 3, 4), np.float32),
        pixeldq=np.zeros((3, 4), np.uint32),
        groupdq=np.zeros((1, 2, 3, 4), np.uint8),
        meta={
            "telescope": "JWST",
            "instrument.name": "NIRISS",
            "instrument.detector": "NIS",
            "observation.date": "2025-03-01",
            "exposure.ngroups": 2,
            "exposure.frame_time": 0.5,
            "visit.tsovisit": True,
        },
    )


def test_paths_of_rules_are_answered_from_metadata(ramp):
    keys = ["META.INSTRUMENT.DETECTOR", "META.OBSERVATION.DATE", "META.EXPOSURE.NGROUPS"]

    assert header_of(ramp, keys) == dict(zip(keys, ["NIS", "2025-03-01", "2"], strict=True))


def test_keywords_of_rules_are_answered_from_the_same_metadata(ramp):
    assert header_of(ramp, ["DETECTOR", "DATE-OBS", "TFRAME"]) == {
        "DETECTOR": "NIS",
        "DATE-OBS": "2025-03-01",
        "TFRAME": "0.5",
    }


def test_a_logical_value_is_the_letter_rules_know(ramp):
    assert header_of(ramp, ["META.VISIT.TSOVISIT", "TSOVISIT"]) == {
        "META.VISIT.TSOVISIT": "T",
        "TSOVISIT": "T",
    }


def test_what_the_header_does_not_say_is_left_out(ramp):
    assert header_of(ramp, ["META.INSTRUMENT.FILTER", "META.NO.SUCH", "NOSUCHKW"]) == {}


def test_a_key_is_answered_as_it_was_spelled(ramp):
    assert header_of(ramp, ["meta.instrument.detector"]) == {"meta.instrument.detector": "NIS"}


@pytest.mark.parametrize("suffix", ["fits", "asdf"])
def test_a_file_answers_as_the_model_in_it_did(ramp, tmp_path, suffix):
    keys = ["META.INSTRUMENT.DETECTOR", "DETECTOR", "META.VISIT.TSOVISIT", "NGROUPS"]
    path = ramp.save(tmp_path / f"ramp.{suffix}")

    assert header_of(path, keys) == header_of(ramp, keys)


def test_a_keyword_no_schema_knows_is_found_in_the_file(tmp_path):
    from astropy.io import fits

    path = tmp_path / "other.fits"
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"] = "OTHER"
    primary.header["MYFILTER"] = " F1 "
    fits.HDUList([primary, fits.ImageHDU(np.zeros((3, 4)), name="SCI")]).writeto(path)

    assert header_of(path, ["MYFILTER", "INSTRUME"]) == {"MYFILTER": "F1"}


def test_only_headers_are_read(ramp, tmp_path):
    path = ramp.save(tmp_path / "ramp.fits")
    whole = path.read_bytes()
    headers = whole.find(b"END") // 2880 * 2880 + 2880
    model = models.open(path)
    path.write_bytes(whole[:headers])

    assert header_of(model, ["DETECTOR"]) == {"DETECTOR": "NIS"}


def test_a_prefix_before_the_metadata_is_passed_over():
    assert path_of("ROMAN.META.INSTRUMENT.NAME") == "instrument.name"
    assert path_of("READPATT", "JWST") == "exposure.readpatt"
    assert path_of("NOSUCHKW", "JWST") is None
