"""What the observatory's pipeline of 2021 made of the same frames, references and maps.

Differences of meaning, before anything is compared:

- a pixel without a flat field, or DO_NOT_USE, keeps its value there; here it is NaN and DO_NOT_USE;
- its errors are those of the science frame alone: of the flat and of backgrounds it has none;
- a pixel of a flat that the dark says is unusable keeps its value; here it has no flat field;
- three pixels have the flag 2 of a background whose flags are not among the vectors: they are
  put into the background by hand.
"""

import json
import shutil

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from lightmill import app, models
from lightmill.detector import SampleReads
from lightmill.errors import DataError, LightmillError
from lightmill.models import (
    CalModel,
    DarkImageModel,
    Exposures,
    FlatModel,
    Member,
    RampModel,
    RateModel,
    ReferenceModel,
)
from lightmill.models.dq import PIXEL
from lightmill.observatories.tmt.iris.models import IrisImageModel
from lightmill.observatories.tmt.iris.steps import (
    CorrectNonlinearity,
    MergeSubarrays,
    ParseSubarrayMap,
)
from lightmill.observatories.tmt.iris.steps.subarrays import rectangles
from lightmill.pipeline.runner import run
from lightmill.reference.cache import Cache
from lightmill.reference.library import Library

NO_FLAT = PIXEL["NO_FLAT_FIELD"]
META = {"telescope": "TMT", "instrument.name": "IRIS", "instrument.detector": "IRIS1"}
TYPES = ("dark", "dflat", "drizpars", "flat", "mask", "nonlincoeff")


@pytest.fixture(scope="module")
def vectors(cases):
    found = {}
    for name in ("refs", "frames", "result", "misc"):
        with np.load(cases / "iris2021" / f"{name}_256.npz") as file:
            found |= {key: file[key].astype(file[key].dtype.newbyteorder("=")) for key in file}
    return found


@pytest.fixture(scope="module")
def references(vectors):
    return {
        "dark": DarkImageModel(data=vectors["dark"], dq=vectors["dark_dq"]),
        "flat": FlatModel(data=vectors["flat"], dq=vectors["flat_dq"]),
    }


def frame(data, dq=None, err=None):
    dq = np.zeros(data.shape, np.uint32) if dq is None else dq
    err = np.zeros(data.shape, np.float32) if err is None else err
    return RateModel(meta=META, data=data, dq=dq, err=err)


def test_the_reduced_frame_is_the_same(vectors, references, pipeline):
    planted = np.zeros((256, 256), np.uint32)
    planted[70:73, 70] = 2
    skies = [
        frame(one, planted if n == 0 else None) for n, one in enumerate(vectors["backgrounds"])
    ]
    science = frame(
        vectors["science"], vectors["science_dq"], np.sqrt(np.maximum(vectors["science"], 0))
    )
    members = [Member(science, "science", "s.fits")]
    members += [Member(one, "background", f"b{n}.fits") for n, one in enumerate(skies)]
    steps = pipeline("iris_image2_2021")
    steps.bkg_subtract.flagged = True  # as it was: flags of backgrounds are passed on,
    steps.bkg_subtract.errors = False  # errors are not

    cal = run(steps, Exposures(tuple(members)), overrides=references, save_results=False).model

    none = (vectors["l2_dq"] & (NO_FLAT | 1)) != 0
    assert np.count_nonzero(none) == 4  # three without a flat field, one that the dark flags
    assert_array_equal(np.isnan(cal.data), none)
    # tolerance: the peer's own; measured: 0 for values, 1 unit in the last place for errors
    assert_allclose(cal.data[~none], vectors["l2"][~none], rtol=1e-6)
    assert_allclose(cal.err[~none], vectors["l2_err"][~none], rtol=1e-6)
    assert_array_equal(cal.dq & ~np.uint32(1), vectors["l2_dq"] & ~np.uint32(1))
    assert_array_equal(cal.dq[~none], vectors["l2_dq"][~none])


def test_the_flat_is_the_same(vectors, references, pipeline):
    flat = run(
        pipeline("iris_flat"), Exposures.of([frame(vectors["flat_raw"])]),
        overrides={"dark": references["dark"]}, save_results=False,
    ).model  # fmt: skip

    unusable = (vectors["flat_l2_dq"] & 1) != 0
    assert isinstance(flat, FlatModel)
    assert np.count_nonzero(unusable) == 1
    # tolerance: the peer's own
    assert_allclose(flat.data[~unusable], vectors["flat_l2"][~unusable], rtol=1e-6)
    assert_array_equal(flat.dq[~unusable], vectors["flat_l2_dq"][~unusable])
    assert (flat.dq[unusable] & NO_FLAT).all()


@pytest.mark.parametrize("method", ["median", "mean", "mode"])
def test_frames_are_normalised_the_same(vectors, method):
    from lightmill.imaging import NormalizeImage

    image = frame(vectors["norm_in"], vectors["norm_dq"])

    made = NormalizeImage(method=method).apply(image)

    assert_allclose(made.data, vectors[f"norm_{method}"], rtol=1e-6)  # the peer's own


def test_a_map_of_subarrays_is_read_the_same(vectors):
    dq = np.zeros((256, 256), np.uint32)
    dq[26, 26] = 1  # was known before
    frame = IrisImageModel(
        meta=META, data=np.zeros((256, 256), np.float32), dq=dq, subarr_map=vectors["parse_map"]
    )

    made = ParseSubarrayMap(flag="OUTLIER").apply(frame)

    places = [{k: v for k, v in one.items() if k != "id"} for one in made.meta.get("subarray_map")]
    assert places == [
        {"xstart": 80, "ystart": 70, "xsize": 10, "ysize": 10},
        {"xstart": 10, "ystart": 20, "xsize": 20, "ysize": 20},
    ]
    assert_array_equal(made.dq, vectors["parse_dq"])


def test_what_it_read_wrongly_is_read_or_refused():
    number = np.zeros((20, 20), np.uint16)
    number[5:10, 5:10], number[12:15, 2:9] = 1, 3

    # theirs ends at the first number that is missing
    assert [one["id"] for one in rectangles(number)] == [1, 3]

    number[5:8, 10] = 1  # an L is no rectangle; theirs has a size for it
    with pytest.raises(DataError, match="subarray 1"):
        rectangles(number)


def test_merged_subarrays_are_the_same_in_any_order(vectors):
    size = vectors["merge_in"].shape
    full = IrisImageModel(
        meta={**META, "subarray.id": 0}, data=vectors["merge_in"], subarr_map=vectors["parse_map"],
        err=np.zeros(size, np.float32), dq=np.zeros(size, np.uint32),
    )  # fmt: skip
    parts = {}
    for one in rectangles(vectors["parse_map"]):
        box = np.s_[one["ystart"] - 1 :, one["xstart"] - 1 :]
        y, x = slice(0, one["ysize"]), slice(0, one["xsize"])
        parts[one["id"]] = CalModel(
            meta={**META, "subarray.id": one["id"]},
            data=vectors["merge_out"][box][y, x], err=vectors["merge_err"][box][y, x],
            dq=vectors["merge_dq"][box][y, x],
        )  # fmt: skip

    merged = MergeSubarrays().apply(Exposures.of([parts[2], full, parts[1]]))

    assert_array_equal(merged.data, vectors["merge_out"])
    inside = vectors["parse_map"] != 0
    assert_array_equal(merged.dq[inside], vectors["merge_dq"][inside])


def ramp_of(reads):
    return RampModel(
        meta={**META, "exposure.group_time": 4.0}, data=reads.astype(np.float32),
        groupdq=np.zeros(reads.shape, np.uint8), pixeldq=np.zeros(reads.shape[-2:], np.uint32),
    )  # fmt: skip


def coefficients(corner, shape):
    return ReferenceModel(data=np.ascontiguousarray(corner[:, : shape[0], : shape[1]]))


def test_counts_are_made_linear_as_its_library_means_it(cases):
    # coefficients that are the same transposed: its library reads them by column
    with np.load(cases / "nonlin_square_symcoef.npz") as file:
        reads, corner, wanted = file["ramp"], file["coeffs_corner128"], file["output"]

    ramp = ramp_of(reads[None])
    made = CorrectNonlinearity().apply(ramp, nonlincoeff=coefficients(corner, reads.shape[-2:]))

    assert_allclose(made.data[0], wanted, rtol=5e-7)  # float32; 1.4e-7 is theirs


@pytest.mark.parametrize(("mode", "vector"), [("mcds", "mcds2_sum"), ("utr", "utr_sum")])
def test_reads_are_sampled_the_same(cases, mode, vector):
    # theirs: linear counts, sampled, and summed over three ramps
    with np.load(cases / "rop_chain_3int.npz") as file:
        reads, linear, wanted = file["ramps"], file["linearised_int32"], file[vector]
        corner = file["coeffs_corner128"]
    step = SampleReads(
        mode=mode, num_coadd=2, output="counts", weighting="uniform", gain=1.0, read_noise=9.0
    )

    sampled = step.apply(ramp_of(linear))

    assert sampled.meta.bunit_data == "DN"
    assert_allclose(sampled.data, wanted, rtol=2e-6)  # float32 rates, times 20 s, three ramps

    # theirs cuts linear counts to whole ones, which moves each of three ramps by up to 2 counts
    ramp = ramp_of(reads)
    shape = reads.shape[-2:]
    made = step.apply(
        CorrectNonlinearity().apply(ramp, nonlincoeff=coefficients(corner.swapaxes(1, 2), shape))
    )
    assert_allclose(made.data, wanted, atol=6.0)


@pytest.mark.parametrize("merges", [True, False])
def test_the_same_references_are_chosen(cases, tmp_path, merges, monkeypatch):
    # the 60 headers that the observatory's own client of 2021 was asked with, 6 types each
    rules = tmp_path / "mappings" / "tmt"
    shutil.copytree(cases / "tmt_crds_mappings", rules)
    monkeypatch.setenv("CRDS_IGNORE_MAPPING_CHECKSUM", "1")
    if not merges:  # what clients of that time took for granted, and newer ones must be told
        dark = rules / "tmt_iris_dark_0001.rmap"
        words = "'mapping' : 'REFERENCE',"
        dark.write_text(dark.read_text().replace(words, f"{words} 'merge_overlaps' : 'False',"))
    library = Library(Cache(tmp_path), context="tmt_0001.pmap")
    asked = json.loads((cases / "iris2021" / "crds_bestrefs.json").read_text())
    assert len(asked) == 60

    differ = []
    for one in asked:
        header = {
            "META.INSTRUMENT.NAME": "IRIS", "META.INSTRUMENT.DETECTOR": "IRIS1",
            "META.INSTRUMENT.FILTER": one["filter"], "META.INSTRUMENT.PUPIL": one["pupil"],
            "META.SUBARRAY.NAME": one["subarray"], "META.OBSERVATION.DATE": one["date"],
            "META.OBSERVATION.TIME": "00:00:00",
        }  # fmt: skip
        found = library.choose(header, "tmt", TYPES)
        for kind in TYPES:
            answer = found[kind]
            missing = isinstance(answer, LightmillError) or not answer.is_file
            said = "NOT FOUND" if missing else answer.name
            if said != one[kind] and not (missing and one[kind].startswith("NOT FOUND")):
                differ.append((kind, one["subarray"], said, one[kind]))

    # two rows that fit alike and name one file are one answer to newer clients, and to us (decision 0011)
    told = "NOT FOUND More than one match clause matched."
    joined = ("dark", "N/A", "tmt_iris_dark_0001.fits", told)
    assert differ == ([joined] * 15 if merges else [])


def test_its_files_are_opened_as_what_they_are(cases, tmp_path):
    ramp = models.open(cases / "sample_ramp.fits")
    assert ramp.array("data").ndim >= 3

    path = IrisImageModel(
        meta=META, data=np.zeros((8, 8), np.float32), subarr_map=np.ones((8, 8), np.uint16)
    ).save(tmp_path / "frame.fits")

    app.discover()
    assert isinstance(models.open(path), IrisImageModel)
    assert models.read_header(path).primary.header.text("DATAMODL") == "IRISImageModel"


@pytest.fixture(scope="module")
def published(vectors, cases, tmp_path_factory):
    """The published example as files: frames, an association, the rules, references that they name."""
    folder = tmp_path_factory.mktemp("published")
    shutil.copytree(cases / "tmt_crds_mappings", folder / "crds" / "mappings" / "tmt")
    shelf = folder / "crds" / "references" / "tmt" / "iris"
    shelf.mkdir(parents=True)
    config = folder / "crds" / "config" / "tmt"
    config.mkdir(parents=True)
    (config / "ref_cache_subdir_mode").write_text("instrument")
    said = {"TELESCOP": "TMT", "INSTRUME": "IRIS", "DETECTOR": "IRIS1", "FILTER": "K",
            "PUPIL": "CLEAR", "SUBARRAY": "FULL", "SUBSTRT1": 1, "SUBSTRT2": 1,
            "SUBSIZE1": 256, "SUBSIZE2": 256}  # fmt: skip
    for kind, version in (("dark", "0001"), ("flat", "0003")):
        _write(
            shelf / f"tmt_iris_{kind}_{version}.fits",
            said | {"REFTYPE": kind.upper(), "USEAFTER": "1900-01-01T00:00:00"},
            SCI=vectors[kind], DQ=vectors[f"{kind}_dq"],
        )  # fmt: skip
    frames = {"science": vectors["science"]}
    frames |= {f"background{n}": one for n, one in enumerate(vectors["backgrounds"])}
    members = []
    for name, data in frames.items():
        dq = vectors["science_dq"] if name == "science" else np.zeros(data.shape, np.uint32)
        header = said | {"DATAMODL": "IRISImageModel", "EXP_TYPE": "IRIS_IMAGE",
                         "DATE-OBS": "2020-06-01", "TIME-OBS": "00:00:00"}  # fmt: skip
        err = np.sqrt(np.maximum(data, 0)) if name == "science" else np.zeros_like(data)
        _write(folder / f"{name}.fits", header, SCI=data, DQ=dq, ERR=err)
        members.append({"expname": f"{name}.fits", "exptype": name.rstrip("0123456789")})
    asn = json.loads((cases / "iris2021" / "asn_example.json").read_text())
    asn["products"][0]["members"] = members
    (folder / "association.json").write_text(json.dumps(asn))
    return folder


def _write(path, header, **planes):
    hdus = [fits.PrimaryHDU(header=fits.Header(header))]
    hdus += [fits.ImageHDU(data, name=name) for name, data in planes.items()]
    fits.HDUList(hdus).writeto(path)


def test_the_published_example_runs_as_it_is(published, vectors):
    (outcome,) = app.run(
        "ProcessImagerL2Pipeline", [published / "association.json"], crds_path=published / "crds",
        context="tmt_0001.pmap", output_dir=published / "products",
        parameters={"steps.bkg_subtract.flagged": True, "steps.bkg_subtract.errors": False},
    )  # fmt: skip

    assert outcome.error is None, outcome.error
    (product,) = outcome.written
    assert product.name == "test_iris_subtract_bg_flat_cal.fits"
    with fits.open(product) as file:
        header, data, err = file[0].header, file["SCI"].data, file["ERR"].data
    none = (vectors["l2_dq"] & (NO_FLAT | 1)) != 0
    assert_allclose(data[~none], vectors["l2"][~none], rtol=1e-6)
    assert_allclose(err[~none], vectors["l2_err"][~none], rtol=1e-6)
    assert [header[key] for key in ("S_BKDSUB", "S_DARK", "S_FLAT")] == ["COMPLETE"] * 3
    assert header["R_FLAT"] == "crds://tmt_iris_flat_0003.fits"
    assert header["R_DARK"] == "crds://tmt_iris_dark_0001.fits"
