"""Stage 2 of imaging beside the reference pipeline (`jwst` 3.0.0), with the same references.

Exposures and references are made here, by neither of the two: rates with NaN, flags and sources;
distortions with an inverse of their own, filter offsets, subarrays, velocity aberration, pointings
at the pole and across 0 h; flats with pixels that have no value; tables with and without
subarrays, and a loss of throughput with time.

Where the two *mean* different things (docs/reference/peer-differences.md), a parameter takes the
peer's side: variances of the background are not added (`bkg_subtract.errors=false`), and its flagged
values are used (`bkg_subtract.flagged=true`). No parameter brings back what the peer does with an
exposure that no row of the photom table is for: nothing, and it says that it did.

What remains is rounding: both compute in float32, in the same order.
"""

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import asdf
import numpy as np
import pytest
from astropy.io import fits
from astropy.modeling import models as astropy_models
from numpy.testing import assert_allclose, assert_array_equal

from lightmill import app, models
from lightmill.models import AreaModel, FlatModel, PhotomModel, RateIntsModel, RateModel
from lightmill.models.dq import PIXEL
from lightmill.simulate import InstrumentFacts, observe

pytestmark = pytest.mark.peer

MAS = 1 / 3.6e6  # degree
FRAME = (90, 110)  # rows and columns of the references
TEXT = "S12"


@dataclass
class Case:
    """One exposure and what it needs; the rest is made of it."""

    instrument: str
    detector: str
    exp_type: str
    filter: str | None = None
    pupil: str | None = None
    start: tuple[int, int] = (1, 1)  # column and row of the first pixel, from 1
    shape: tuple[int, int] = FRAME
    pointing: tuple[float, float, float] = (80.1, -69.5, 35.0)
    aberration: float | None = None
    offsets: list[dict] | None = None
    columns: tuple[str, ...] = ()
    rows: list[tuple] = field(default_factory=lambda: [(0.375,)])
    loss: bool = False
    area: bool = False
    backgrounds: int = 0
    integrations: int = 0  # count rates of each, if any


CASES = {
    "plain": Case(
        "NIRISS", "NIS", "NIS_IMAGE", "CLEAR", "F200W", columns=("filter", "pupil"),
        rows=[("CLEAR", "F115W", 9.0), ("CLEAR", "F200W", 0.375)],
    ),
    "subarray-filter-aberration": Case(
        "NIRCAM", "NRCA1", "NRC_IMAGE", "F200W", "CLEAR", start=(21, 9), shape=(70, 80),
        aberration=1.00009, columns=("filter", "pupil"), rows=[("F200W", "CLEAR", 0.71)], area=True,
        offsets=[
            {"filter": "F090W", "pupil": "CLEAR", "column_offset": 5.0, "row_offset": 5.0},
            {"filter": "F200W", "pupil": "CLEAR", "column_offset": 0.37, "row_offset": -0.61},
        ],
    ),
    "generic-row-and-loss": Case(
        "MIRI", "MIRIMAGE", "MIR_IMAGE", "F770W", pointing=(0.00003, 12.0, 271.0),
        aberration=0.99993, columns=("subarray", "filter"), loss=True,
        rows=[("GENERIC", "F560W", 9.0), ("GENERIC", "F770W", 0.21)],
        offsets=[{"filter": "F770W", "column_offset": -0.25, "row_offset": 1.5}],
    ),
    "pole-without-filters": Case(
        "FGS", "GUIDER1", "FGS_IMAGE", pointing=(200.0, 89.99995, 77.0), start=(1, 5),
        shape=(60, 110),
    ),
    "backgrounds": Case(
        "NIRISS", "NIS", "NIS_IMAGE", "CLEAR", "F200W", columns=("filter", "pupil"),
        rows=[("CLEAR", "F200W", 0.375)], backgrounds=5,
    ),
    "integrations": Case(
        "NIRCAM", "NRCA1", "NRC_TSIMAGE", "F200W", "CLEAR", columns=("filter", "pupil"),
        rows=[("F200W", "CLEAR", 0.71)], area=True, integrations=3,
    ),
}  # fmt: skip

RUN = """
import json, os, sys
from jwst.pipeline import Image2Pipeline
for name, case in json.load(open(sys.argv[1])).items():
    steps = {step: {f"override_{kind}": path for kind, path in kinds.items()}
             for step, kinds in case["overrides"].items()}
    steps["resample"] = {"skip": True}
    os.chdir(os.path.dirname(case["input"]))  # members of associations are looked for there
    Image2Pipeline(steps=steps, save_results=True, output_dir=case["theirs"]).run(case["input"])
"""

PLACES = """
import json, sys
import numpy as np
from stdatamodels.jwst import datamodels
told = {}
for path in sys.argv[1:]:
    with datamodels.open(path) as model:
        wcs = model.meta.wcs
        ny, nx = model.data.shape[-2:]
        x, y = np.meshgrid(np.linspace(0, nx - 1, 9), np.linspace(0, ny - 1, 9))
        ra, dec = wcs(x, y)
        back = wcs.backward_transform(ra, dec)
        told[path] = {"class": type(model).__name__, "frames": wcs.available_frames,
            "bounds": list(wcs.bounding_box.bounding_box(order="F")),
            "sky": [ra.tolist(), dec.tolist()], "back": [b.tolist() for b in back]}
print(json.dumps(told))
"""

STAGE3 = """
import json, sys
from stdatamodels.jwst import datamodels
from jwst.tweakreg import TweakRegStep
from jwst.skymatch import SkyMatchStep
from jwst.resample import ResampleStep
from jwst.datamodels import ModelLibrary
library = ModelLibrary(sys.argv[1])
library = TweakRegStep.call(library, abs_refcat="", save_catalogs=False)
with library:
    states = []
    for model in library:
        states.append([model.meta.cal_step.tweakreg, model.meta.wcs.available_frames])
        library.shelve(model, modify=False)
library = SkyMatchStep.call(library)
result = ResampleStep.call(library)
print(json.dumps({"tweakreg": states, "shape": result.data.shape, "unit": result.meta.bunit_data,
    "pointings": result.meta.resample.pointings, "good": int((result.wht > 0).sum())}))
"""

ELSEWHERE = {  # reference types of other kinds of exposures, which the peer asks for all the same
    "assign_wcs": (
        "specwcs", "regions", "wavelengthrange", "camera", "chromcorr", "collimator", "disperser",
        "fore", "fpa", "msa", "ote", "ifupost", "ifufore", "ifuslicer",
    ),
    "flat_field": ("fflat", "sflat", "dflat"),
    "bkg_subtract": ("bkg", "wavelengthrange"),
}  # fmt: skip


@pytest.fixture(scope="module")
def ask(peer, tmp_path_factory):
    """Run code in the peer's environment, which asks no server; return what it printed last."""
    cache = tmp_path_factory.mktemp("crds")
    config = cache / "config" / "jwst"
    config.mkdir(parents=True)
    (config / "server_config").write_text(
        "{'observatory':'jwst','operational_context':'jwst_0000.pmap','last_synced':'never'}"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CRDS"))}
    environment |= {"CRDS_PATH": str(cache), "STPIPE_DISABLE_CRDS_STEPPARS": "true"}

    def ask(code, *arguments, folder=None):
        answer = subprocess.run(
            [str(peer), "-W", "ignore", "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            env=environment,
            cwd=folder,
        )
        assert answer.returncode == 0, answer.stderr[-3000:]
        return json.loads(answer.stdout.splitlines()[-1]) if answer.stdout.strip() else None

    return ask


def meta_of(case):
    told = {
        "telescope": "JWST",
        "instrument.name": case.instrument,
        "instrument.detector": case.detector,
        "instrument.filter": case.filter,
        "instrument.pupil": case.pupil,
        "exposure.type": case.exp_type,
        "exposure.mid_time": 60000.0,
        "exposure.nints": 1,
        "observation.date": "2023-02-25",
        "observation.time": "00:00:00.000",
        "subarray.name": "FULL" if case.start == (1, 1) else "SUB64",
        "subarray.xstart": case.start[0],
        "subarray.ystart": case.start[1],
        "subarray.xsize": case.shape[1],
        "subarray.ysize": case.shape[0],
        "subarray.fastaxis": 1,
        "subarray.slowaxis": 2,
        "wcsinfo.v2_ref": -290.0,
        "wcsinfo.v3_ref": -697.0,
        "wcsinfo.vparity": -1,
        "wcsinfo.v3yangle": -0.57,
        "wcsinfo.ra_ref": case.pointing[0],
        "wcsinfo.dec_ref": case.pointing[1],
        "wcsinfo.roll_ref": case.pointing[2],
        "velocity_aberration.scale_factor": case.aberration,
    }
    return {path: value for path, value in told.items() if value is not None}


def rate_of(case, seed):
    dice = np.random.default_rng(seed)
    noise = dice.uniform(0.05, 0.2, (2, *case.shape)).astype(np.float32)
    data = dice.normal(3.0, 0.3, case.shape).astype(np.float32)
    dq = np.zeros(case.shape, np.uint32)
    dq[dice.uniform(size=case.shape) < 0.01] = PIXEL["DO_NOT_USE"]
    dq[dice.uniform(size=case.shape) < 0.01] |= PIXEL["JUMP_DET"]
    data[5, 5] = np.nan
    dq[5, 5] = PIXEL["DO_NOT_USE"]
    data[6, 6] = np.nan  # nobody flagged it
    rate = RateModel(
        data=data,
        err=np.sqrt(noise.sum(axis=0)),
        dq=dq,
        var_poisson=noise[0],
        var_rnoise=noise[1],
        meta={"telescope": "JWST"},
    )
    rate.meta.update(meta_of(case))
    if not case.integrations:
        return rate
    planes = {name: np.stack([plane] * case.integrations) for name, plane in rate.arrays.items()}
    planes["data"] *= np.arange(1, case.integrations + 1, dtype=np.float32)[:, None, None]
    return RateIntsModel(meta=rate.meta, **planes)


def distortion():
    """Third-order polynomials and an inverse that is no better than those of reference files."""
    dice = np.random.default_rng(2)
    there, back = [], []
    for axis in (0, 1):
        for made, scale in ((there, 0.065), (back, 1 / 0.065)):
            one = astropy_models.Polynomial2D(3)
            for name in one.param_names:
                i, j = int(name[1]), int(name[3])
                size = (50.0 if made is there else 3.25) ** (1 - i - j)
                value = dice.normal(0, 0.003) * size if i + j > 1 else 0.0
                setattr(one, name, scale * (value + ((i, j) == (1 - axis, axis))))
            made.append(one)
    mapping, shift = astropy_models.Mapping((0, 1, 0, 1)), astropy_models.Shift
    whole = shift(-50.0) & shift(-45.0) | mapping | there[0] & there[1] | shift(-290) & shift(-697)
    whole.inverse = shift(290) & shift(697) | mapping | back[0] & back[1] | shift(50) & shift(45)
    return whole


def references_of(case, folder):
    """Write the references of a case; return their paths by step and type."""
    dice = np.random.default_rng(3)
    told = {
        "instrument": {"name": case.instrument, "detector": case.detector},
        "telescope": "JWST",
        "author": "test",
        "description": "made for a test",
        "pedigree": "DUMMY",
        "useafter": "2022-01-01T00:00:00",
        "exposure": {"type": case.exp_type},
    }
    units = {"input_units": "pixel", "output_units": "arcsec"}
    tree = {"meta": {**told, **units, "reftype": "distortion"}, "model": distortion()}
    asdf.AsdfFile(tree).write_to(folder / "distortion.asdf", all_array_storage="internal")
    paths = {"distortion": folder / "distortion.asdf"}
    if case.offsets is not None:
        tree = {"meta": {**told, "reftype": "filteroffset"}, "filters": case.offsets}
        asdf.AsdfFile(tree).write_to(folder / "filteroffset.asdf")
        paths["filteroffset"] = folder / "filteroffset.asdf"
    window = {
        "subarray": {"name": "FULL", "xstart": 1, "ystart": 1, "xsize": FRAME[1],
                     "ysize": FRAME[0], "fastaxis": 1, "slowaxis": 2}
    }  # fmt: skip
    response = dice.normal(1.0, 0.05, FRAME).astype(np.float32)
    response[20, 30], response[21, 31] = np.nan, 0.0
    flags = np.zeros(FRAME, np.uint32)
    flags[22, 32], flags[23, 33] = PIXEL["NO_FLAT_FIELD"], PIXEL["DO_NOT_USE"]
    flags[24, 34] = PIXEL["UNRELIABLE_FLAT"]
    error = dice.uniform(0.001, 0.01, FRAME).astype(np.float32)
    flat = FlatModel(meta={**told, **window, "reftype": "FLAT"}, data=response, err=error, dq=flags)
    paths["flat"] = flat.save(folder / "flat.fits")
    area = {"photometry.pixelarea_steradians": 1e-13, "photometry.pixelarea_arcsecsq": 0.0042}
    columns = [(name, TEXT) for name in case.columns]
    table = np.array(
        [(*row, 0.01) for row in case.rows],
        [*columns, ("photmjsr", "f4"), ("uncertainty", "f4")],
    )
    photom = PhotomModel(meta={**told, "reftype": "PHOTOM"} | area, phot_table=table)
    if case.loss:
        kinds = [*columns, ("t0", "f4"), ("lossperyear", "f4")]
        loss = [(*row[:-1], 59700.0, 0.03 * n) for n, row in enumerate(case.rows, 1)]
        photom = photom.evolve(timecoeff_linear=np.array(loss, kinds))
    paths["photom"] = photom.save(folder / "photom.fits")
    if case.area:
        relative = dice.normal(1.0, 0.01, FRAME).astype(np.float32)
        one = AreaModel(meta={**told, **window, "reftype": "AREA"} | area, data=relative)
        paths["area"] = one.save(folder / "area.fits")
    return paths


@pytest.fixture(scope="module")
def products(ask, tmp_path_factory):
    """Calibrated by both: case → (ours, theirs)."""
    app.discover()
    work = tmp_path_factory.mktemp("image2")
    asked, ours = {}, {}
    for number, (name, case) in enumerate(CASES.items()):
        folder = work / name
        folder.mkdir()
        kind = "ints" if case.integrations else ""
        given = rate_of(case, number).save(folder / f"{name}_rate{kind}.fits")
        paths = references_of(case, folder)
        if case.backgrounds:
            members = [{"expname": given.name, "exptype": "science"}]
            for n in range(case.backgrounds):
                sky = rate_of(case, 100 + n).save(folder / f"sky{n}_rate.fits")
                members.append({"expname": sky.name, "exptype": "background"})
            given = folder / "asn.json"
            given.write_text(
                json.dumps(
                    {
                        "asn_type": "image2", "asn_id": "a3001", "asn_pool": "pool",
                        "products": [{"name": name, "members": members}],
                    }
                )
            )  # fmt: skip
        (outcome,) = app.run(
            "calwebb_image2",
            [given],
            overrides={
                kind: str(paths.get(kind, "N/A"))
                for kind in ("distortion", "filteroffset", "flat", "photom", "area")
            },
            profile="jwst-3.0",
            skip=["resample"],
            output_dir=folder / "ours",
        )
        if outcome.error is not None:
            raise outcome.error
        ours[name] = next((folder / "ours").glob(f"*_cal{kind}.fits"))
        taken = {
            "assign_wcs": ("distortion", "filteroffset"),
            "flat_field": ("flat",),
            "photom": ("photom", "area"),
        }
        overrides = {
            step: {kind: str(paths.get(kind, "N/A")) for kind in (*kinds, *ELSEWHERE.get(step, ()))}
            for step, kinds in ({"bkg_subtract": ()} | taken).items()
        }
        (folder / "theirs").mkdir()
        asked[name] = {
            "input": str(given), "theirs": str(folder / "theirs"), "overrides": overrides,
        }  # fmt: skip
    (work / "cases.json").write_text(json.dumps(asked))
    ask(RUN, work / "cases.json", folder=work)
    return {
        name: (ours[name], next(Path(one["theirs"]).glob("*_cal*.fits")))
        for name, one in asked.items()
    }


@pytest.fixture(scope="module")
def places(ask, products):
    """What the peer says of the world coordinates of all products."""
    return ask(PLACES, *(path for pair in products.values() for path in pair))


@pytest.mark.parametrize("name", CASES)
def test_values_errors_variances_and_flags_are_those_of_the_peer(products, name):
    ours, theirs = products[name]

    with fits.open(ours) as a, fits.open(theirs) as b:
        assert {hdu.name for hdu in a} == {hdu.name for hdu in b}
        for hdu in b:
            if hdu.name in {"PRIMARY", "ASDF"}:
                continue
            found, expected = a[hdu.name].data, hdu.data
            if hdu.name == "DQ":
                assert_array_equal(found, expected)
            else:
                # a few roundings of float32
                assert_allclose(found, expected, rtol=5e-7, err_msg=hdu.name)


@pytest.mark.parametrize("name", CASES)
def test_the_world_coordinates_are_those_of_the_peer_both_ways(products, places, name):
    ours, theirs = (places[str(path)] for path in products[name])

    assert ours["frames"] == theirs["frames"]
    assert ours["bounds"] == theirs["bounds"]
    (ra, dec), (ra2, dec2) = (np.array(one["sky"]) for one in (ours, theirs))
    across = ((ra - ra2 + 180) % 360 - 180) * np.cos(np.deg2rad(dec2))
    assert np.hypot(across, dec - dec2).max() < 0.1 * MAS
    assert_allclose(ours["back"], theirs["back"], atol=1e-6)  # 0.1 mas is 1.5e-3 pixels


@pytest.mark.parametrize("name", CASES)
def test_our_own_reading_of_the_product_is_that_of_the_peer(products, places, name):
    path = products[name][0]
    ny, nx = models.open(path).data.shape[-2:]
    x, y = np.meshgrid(np.linspace(0, nx - 1, 9), np.linspace(0, ny - 1, 9))

    sky = models.wcs_of(models.open(path)).pixel_to_world_values(x, y)

    assert_allclose(sky, places[str(path)]["sky"], atol=0.1 * MAS)


@pytest.mark.parametrize("name", CASES)
def test_keywords_are_those_of_the_peer(products, name):
    ours, theirs = (fits.getheader(path, "SCI") for path in products[name])

    def numbers(header):
        wanted = ("CRPIX", "CRVAL", "CD1_", "CD2_", "A_", "B_", "PHOT", "PIXAR")
        return {k: v for k, v in header.items() if k.startswith(wanted) and not isinstance(v, str)}

    found, expected = numbers(ours), numbers(theirs)
    assert set(found) == set(expected)
    for keyword, value in expected.items():
        # polynomials: what differs by less than 1e-7 pixels at the edge is the same
        order = sum(int(c) for c in keyword if c.isdigit()) if keyword[1] == "_" else 0
        near = 1e-7 / 100.0**order if order else 0.0
        assert_allclose(found[keyword], value, rtol=1e-7, atol=near, err_msg=keyword)
    for keyword in ("S_REGION", "CTYPE1", "CTYPE2", "CUNIT1", "BUNIT"):
        assert ours[keyword] == theirs[keyword]


def test_the_peer_aligns_and_resamples_what_we_calibrated(ask, tmp_path):
    """Four simulated exposures of one field, calibrated here, through the peer's stage 3."""
    folder = Path(app.__file__).parent / "observatories" / "jwst" / "niriss"
    facts = InstrumentFacts.from_yaml(folder / "simulate.yaml")
    exposures = observe(facts, "imaging-tiny", seed=3, directory=tmp_path, level="rate")
    members = []
    for one in exposures:
        (outcome,) = app.run(
            "calwebb_image2",
            [one.uncal],
            overrides={
                kind: str(one.references.get(kind, "N/A"))
                for kind in ("distortion", "filteroffset", "flat", "photom", "area")
            },
            skip=["resample"],
            output_dir=tmp_path,
        )
        if outcome.error is not None:
            raise outcome.error
        members.append({"expname": outcome.written[0].name, "exptype": "science"})
    product = {"name": "mosaic", "members": members}
    (tmp_path / "asn.json").write_text(
        json.dumps(
            {"asn_type": "image3", "asn_id": "a3001", "asn_pool": "p", "products": [product]}
        )
    )

    told = ask(STAGE3, tmp_path / "asn.json", folder=tmp_path)

    assert all(state == "COMPLETE" for state, _ in told["tweakreg"])
    assert told["pointings"] == 4
    assert told["unit"] == "MJy/sr"
    assert told["good"] > 200**2
