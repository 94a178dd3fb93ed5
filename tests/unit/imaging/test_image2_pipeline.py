"""The pipeline of stage 2 as a whole, on an exposure with a star."""

import json

import asdf
import numpy as np
import pytest
from astropy.io import fits
from astropy.modeling import models as astropy_models
from numpy.testing import assert_allclose

from lightmill import app, models
from lightmill.models import CalIntsModel, FlatModel, PhotomModel, RateIntsModel, RateModel
from lightmill.models.dq import PIXEL

SHAPE = (48, 56)
STAR = (20, 30)  # row, column
FLUX = 500.0  # DN/s
SKY = 2.0  # DN/s
FACTOR = 0.25  # MJy/sr per DN/s


@pytest.fixture
def response():
    app.discover()  # the observatory's keywords
    return np.random.default_rng(1).uniform(0.8, 1.2, SHAPE).astype(np.float32)


@pytest.fixture
def make(response):
    def make(path, *, star=True, exp_type="NIS_IMAGE"):
        y, x = np.indices(SHAPE)
        light = np.exp(-((x - STAR[1]) ** 2 + (y - STAR[0]) ** 2) / (2 * 1.2**2))
        signal = SKY + star * FLUX * light / light.sum()
        rate = RateModel(
            meta={"telescope": "JWST"},
            data=(signal * response).astype(np.float32),
            err=np.full(SHAPE, 0.5, np.float32),
            dq=np.zeros(SHAPE, np.uint32),
            var_poisson=np.full(SHAPE, 0.2, np.float32),
            var_rnoise=np.full(SHAPE, 0.05, np.float32),
        )
        told = {
            "instrument.name": "NIRISS", "instrument.detector": "NIS", "instrument.filter": "CLEAR",
            "instrument.pupil": "F200W", "exposure.type": exp_type, "exposure.exposure_time": 100.0,
            "subarray.xstart": 1, "subarray.ystart": 1, "subarray.xsize": SHAPE[1],
            "subarray.ysize": SHAPE[0], "wcsinfo.v2_ref": -290.0, "wcsinfo.v3_ref": -697.0,
            "wcsinfo.ra_ref": 10.0, "wcsinfo.dec_ref": -5.0, "wcsinfo.roll_ref": 30.0,
            "wcsinfo.vparity": -1, "wcsinfo.v3yangle": -0.57,
        }  # fmt: skip
        rate.meta.update(told)
        return rate.save(path)

    return make


@pytest.fixture
def references(tmp_path, response):
    told = {"telescope": "JWST", "instrument.name": "NIRISS", "instrument.detector": "NIS"}
    shift, scale = astropy_models.Shift, astropy_models.Scale
    transform = (
        shift(-STAR[1]) & shift(-STAR[0]) | scale(0.065) & scale(0.065) | shift(-290) & shift(-697)
    )
    path = tmp_path / "distortion.asdf"
    asdf.AsdfFile({"meta": {"reftype": "distortion"}, "model": transform}).write_to(path)
    flags = np.zeros(SHAPE, np.uint32)
    flags[3, 4] = PIXEL["NO_FLAT_FIELD"]
    flat = FlatModel(meta=told | {"reftype": "FLAT"}, data=response, err=0.001 * response, dq=flags)
    table = np.array(
        [("CLEAR", "F200W", FACTOR, 0.01)],
        [("filter", "S12"), ("pupil", "S12"), ("photmjsr", "f4"), ("uncertainty", "f4")],
    )
    area = {"photometry.pixelarea_steradians": (0.065 / 206264.806) ** 2}
    photom = PhotomModel(meta=told | {"reftype": "PHOTOM"} | area, phot_table=table)
    return {
        "distortion": str(path),
        "filteroffset": "N/A",
        "flat": str(flat.save(tmp_path / "flat.fits")),
        "photom": str(photom.save(tmp_path / "photom.fits")),
        "area": "N/A",
    }


@pytest.fixture
def run(tmp_path, references):
    def run(given, **options):
        (outcome,) = app.run(
            "calwebb_image2", [given], overrides=references, output_dir=tmp_path / "out", **options
        )
        if outcome.error is not None:
            raise outcome.error
        made = sorted((tmp_path / "out").glob("*.fits"))
        return {path.stem.rpartition("_")[2]: models.open(path) for path in made}

    return run


def test_a_star_comes_out_where_it_is_and_as_bright_as_it_is(make, run, tmp_path):
    products = run(make(tmp_path / "star_rate.fits"))

    cal = products["cal"]
    assert_allclose(np.nansum(cal.data - SKY * FACTOR), FLUX * FACTOR, rtol=1e-4)
    assert np.unravel_index(np.nanargmax(cal.data), SHAPE) == STAR
    assert_allclose(models.wcs_of(cal).pixel_to_world_values(*STAR[::-1]), [10.0, -5.0], atol=1e-9)
    assert np.isnan(cal.data[3, 4])
    assert np.isnan(cal.data).sum() == 1
    assert cal.meta.bunit_data == "MJy/sr"


def test_its_resampled_image_is_beside_it_and_has_the_same_flux(make, run, tmp_path):
    products = run(make(tmp_path / "star_rate.fits"))

    flux = np.nansum(products["i2d"].data - SKY * FACTOR)
    # surface brightness times area: the pixels of both are equal to 1e-3
    assert_allclose(flux, FLUX * FACTOR, rtol=3e-3)


def test_the_product_says_what_was_done(make, run, tmp_path):
    run(make(tmp_path / "star_rate.fits"), skip=["resample"])

    header = fits.getheader(tmp_path / "out" / "star_cal.fits")

    done = [header[key] for key in ("S_BKDSUB", "S_WCS", "S_FLAT", "S_PHOTOM")]
    assert done == ["SKIPPED", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert header["R_FLAT"].endswith("flat.fits")
    assert header["R_DISTOR"].endswith("distortion.asdf")


def test_an_exposure_that_is_no_picture_is_not_resampled(make, run, tmp_path):
    products = run(make(tmp_path / "star_rate.fits", exp_type="NIS_FOCUS"))

    assert set(products) == {"cal"}


def test_backgrounds_of_an_association_are_subtracted(make, run, tmp_path):
    make(tmp_path / "star_rate.fits")
    members = [{"expname": "star_rate.fits", "exptype": "science"}]
    for name in ("sky1_rate.fits", "sky2_rate.fits"):
        make(tmp_path / name, star=False)
        members.append({"expname": name, "exptype": "background"})
    asn = tmp_path / "asn.json"
    asn.write_text(json.dumps({"products": [{"name": "star", "members": members}]}))

    products = run(asn, skip=["resample"], parameters={"save_bsub": True})

    assert set(products) == {"bsub", "cal"}
    assert_allclose(np.nansum(products["cal"].data), FLUX * FACTOR, rtol=1e-4)
    # the variance of the mean of two is half of one's
    assert_allclose(np.nanmedian(products["bsub"].var_rnoise), 0.05 * 1.5, rtol=1e-5)


def each_integration(path, *, by):
    """Write the rates of three integrations: those of an exposure, brighter by some factors."""
    rate = models.open(path)
    planes = {name: np.stack([np.asarray(rate.array(name))] * 3) for name in rate.arrays}
    planes["data"] = planes["data"] * np.array(by, np.float32)[:, None, None]
    ints = RateIntsModel(meta=rate.meta, **planes)
    return ints.save(path.with_name(path.name.replace("_rate", "_rateints")))


def test_every_integration_is_calibrated_as_an_exposure_is(make, run, tmp_path):
    rate = make(tmp_path / "star_rate.fits")
    cal = run(rate, skip=["resample"])["cal"]

    products = run(each_integration(rate, by=(1.0, 2.0, 3.0)))

    # integrations are not put together: no i2d, and the exposure's own product stays
    assert set(products) == {"cal", "calints"}
    ints = products["calints"]
    assert isinstance(ints, CalIntsModel)
    assert ints.data.shape == (3, *SHAPE)
    for name in ("data", "err", "dq", "var_poisson", "var_rnoise", "var_flat"):
        np.testing.assert_array_equal(getattr(ints, name)[0], getattr(cal, name), err_msg=name)
    assert_allclose(ints.data[2], 3 * cal.data, rtol=1e-6)
    assert ints.meta.bunit_data == "MJy/sr"
    assert fits.getheader(ints.path)["DATAMODL"] == "CubeModel"
    here, there = (models.wcs_of(one).pixel_to_world_values(7, 9) for one in (ints, cal))
    assert_allclose(here, there, atol=1e-12)


def test_backgrounds_are_subtracted_from_every_integration(make, run, tmp_path):
    rate = make(tmp_path / "star_rate.fits")
    given = each_integration(rate, by=(1.0, 1.0, 1.0))
    members = [{"expname": given.name, "exptype": "science"}]
    make(tmp_path / "sky_rate.fits", star=False)
    members.append({"expname": "sky_rate.fits", "exptype": "background"})
    asn = tmp_path / "asn.json"
    asn.write_text(json.dumps({"products": [{"name": "star", "members": members}]}))

    products = run(asn, parameters={"save_bsub": True})

    assert set(products) == {"bsubints", "calints"}
    assert_allclose(np.nansum(products["calints"].data, axis=(1, 2)), FLUX * FACTOR, rtol=1e-4)
