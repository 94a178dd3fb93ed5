"""World coordinates of FITS keywords, of any projection, are those of the FITS standard."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_allclose

from lightmill import models
from lightmill.errors import DataError
from lightmill.imaging import AssignFitsWcs, Resample
from lightmill.models import CalModel, wcs_of

SHAPE = (64, 96)
LINEAR = {
    "CRPIX1": 40.0,
    "CRPIX2": 20.0,
    "CRVAL1": 150.1,
    "CRVAL2": 2.2,
    "CUNIT1": "deg",
    "CUNIT2": "deg",
}
SCALED = {"CDELT1": -2e-5, "CDELT2": 2e-5, "PC1_1": 0.8, "PC1_2": -0.6, "PC2_1": 0.6, "PC2_2": 0.8}
CD = {"CD1_1": -2e-5, "CD1_2": 1e-6, "CD2_1": 1e-6, "CD2_2": 2e-5}
SIP = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5, "B_1_1": 2e-5}


def axes(projection, name=("RA", "DEC")):
    return {
        "CTYPE1": name[0].ljust(5, "-") + projection,
        "CTYPE2": name[1].ljust(5, "-") + projection,
    }


KINDS = {
    "plain": axes("TAN") | LINEAR | SCALED,
    "CD": axes("TAN") | LINEAR | CD,
    "rotated": axes("TAN") | LINEAR | {"CDELT1": -2e-5, "CDELT2": 2e-5, "CROTA2": 30.0},
    "SIP": axes("TAN-SIP") | LINEAR | CD | SIP,
    "SIP, not said in CTYPE": axes("TAN") | LINEAR | CD | SIP,
    "TPV": axes("TPV") | LINEAR | CD | {"PV1_0": 0.0, "PV1_1": 1.0, "PV1_2": 0.0, "PV1_4": 0.01, "PV2_1": 1.0},
    "SIN": axes("SIN") | LINEAR | SCALED,
    "ZEA": axes("ZEA") | LINEAR | SCALED,
    "CAR": axes("CAR") | LINEAR | {"CRVAL2": 0.0} | SCALED,
    "turned pole": axes("TAN") | LINEAR | SCALED | {"LONPOLE": 100.0},
    "FK5": axes("TAN") | LINEAR | SCALED | {"RADESYS": "FK5", "EQUINOX": 2000.0},
}  # fmt: skip


def image(path, keywords, where):
    """Write an image whose keywords stand in the header of the image or of the file."""
    primary = fits.PrimaryHDU(
        header=fits.Header({"TELESCOP": "TMT", "INSTRUME": "IRIS", "EFFEXPTM": 9.0})
    )
    primary.header["DATAMODL"] = "CalModel"
    data = np.random.default_rng(1).normal(1, 0.1, SHAPE).astype(np.float32)
    sci = fits.ImageHDU(data, name="SCI")
    (primary if where == "PRIMARY" else sci).header.update(keywords)
    planes = [
        fits.ImageHDU(np.full(SHAPE, 0.01, np.float32), name=name) for name in ("ERR", "VAR_RNOISE")
    ]
    flags = fits.ImageHDU(np.zeros(SHAPE, np.uint32), name="DQ")
    fits.HDUList([primary, sci, *planes, flags]).writeto(path)
    model = models.open(path)
    return model if isinstance(model, CalModel) else models.lineage.as_class(model, CalModel)


@pytest.mark.parametrize("where", ["SCI", "PRIMARY"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_projection_leads_to_the_sky_of_the_standard(tmp_path, kind, where):
    said = KINDS[kind]
    truth = WCS(
        fits.Header(
            said
            | ({"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"} if "A_ORDER" in said else {})
        )
    )
    x, y = np.array([0.0, 95.0, 40.0, -0.5]), np.array([0.0, 5.0, 63.0, 63.5])
    expected = truth.all_pix2world(x, y, 0)

    outcome = AssignFitsWcs().run(image(tmp_path / "a_cal.fits", said, where), save_results=True,
                                  output_dir=tmp_path / "out")  # fmt: skip

    if outcome.error is not None:
        raise outcome.error
    again = models.open(outcome.written[0])
    by_keywords = WCS(fits.getheader(outcome.written[0], "SCI"))
    # 1e-11 deg is 2e-6 of these pixels: rounding of degrees in float64, and of the cards of a header
    for one in (wcs_of(outcome.model), wcs_of(again)):
        assert_allclose(one.pixel_to_world_values(x, y), expected, rtol=0, atol=1e-11)
    if "not said" not in kind:
        assert_allclose(by_keywords.all_pix2world(x, y, 0), expected, rtol=0, atol=1e-11)
    corners = np.array(again.meta.get("wcsinfo.s_region").split()[2:], float).reshape(4, 2)
    assert_allclose(corners[0], np.ravel(truth.all_pix2world(-0.5, -0.5, 0)), atol=1e-9)
    if kind == "FK5":
        assert wcs_of(again).pixel_to_world(0.0, 0.0).frame.name == "fk5"


def test_a_distorted_image_is_resampled_by_its_keywords(tmp_path):
    said = KINDS["SIP"]
    outcome = AssignFitsWcs().run(image(tmp_path / "a_cal.fits", said, "PRIMARY"), save_results=True,
                                  output_dir=tmp_path / "out")  # fmt: skip

    mosaic = Resample().apply(models.open(outcome.written[0]))

    assert np.isfinite(mosaic.data).mean() > 0.8
    assert np.nanmedian(mosaic.data) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (axes("CAR", ("GLON", "GLAT")) | LINEAR | SCALED, "another kind"),
        ({"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"} | LINEAR | SCALED, "another kind"),
        (axes("SIN") | LINEAR | SCALED | {"CDELT1": -5.0, "CDELT2": 5.0}, "nowhere on the sky"),
        (axes("TAN") | LINEAR | SCALED | {"CUNIT1": "arcsec"}, "not complete"),
    ],
)
def test_what_is_no_place_on_the_sky_is_refused(tmp_path, said, words):
    with pytest.raises(DataError, match=words):
        AssignFitsWcs().apply(image(tmp_path / "a_cal.fits", said, "SCI"))


def test_the_caller_s_image_is_not_changed(tmp_path):
    given = image(tmp_path / "a_cal.fits", KINDS["SIP"], "PRIMARY")
    before = dict(given.foreign.headers), given.meta.flat()

    AssignFitsWcs().apply(given)

    assert (dict(given.foreign.headers), given.meta.flat()) == before
