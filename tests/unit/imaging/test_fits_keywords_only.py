"""Exposures whose world coordinates are FITS keywords and nothing else, through all of stage 3."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from lightmill import models
from lightmill.errors import DataError
from lightmill.imaging import AlignExposures, DetectOutliers, MatchSky, Resample, SourceCatalog
from lightmill.imaging.overlap import TangentPlane
from lightmill.models import Exposures, RateModel, wcs_of
from lightmill.models.dq import PIXEL
from lightmill.testing.star_fields import make_exposure, make_stars

RA, DEC, SIZE = 53.16, -27.79, 256
SCALE = 0.065 / 3600
NOISE = 0.02
DITHERS = ((-1.1, -0.6, 20.0), (0.9, 0.7, 20.0), (-0.4, 1.0, 24.0), (0.5, -0.9, 24.0))
SKY = 0.05  # from one exposure to the next
RAYS = 12
PLANE = TangentPlane(RA, DEC)
MAS = 0.001


class Detector:
    """What the maker of star fields asks of the system of a detector."""

    def __init__(self, keywords):
        self._wcs = WCS(keywords)

    def invert(self, ra, dec, **_):
        return self._wcs.all_world2pix(ra, dec, 0)


def keywords(dx, dy, roll, kind):
    """World coordinates of a detector that looks (dx, dy) arcsec beside the field's middle."""
    (ra,), (dec,) = PLANE.deproject(np.array([[dx, dy]]))
    cosine, sine = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    header = {}
    distorted = kind != "no distortion"
    for axis, name, value in ((1, "RA---TAN", ra), (2, "DEC--TAN", dec)):
        header[f"CTYPE{axis}"] = name + "-SIP" * distorted
        header[f"CUNIT{axis}"] = "deg"
        header[f"CRVAL{axis}"] = value
        header[f"CRPIX{axis}"] = SIZE / 2 + 0.5
    if distorted:
        header |= {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5, "B_1_1": 2e-5}
    matrix = np.array([[-cosine, sine], [sine, cosine]])
    if kind == "CROTA2":
        return header | {"CDELT1": -SCALE, "CDELT2": SCALE, "CROTA2": roll}
    name = "CD" if kind == "CD" else "PC"
    if name == "PC":
        header |= {"CDELT1": SCALE, "CDELT2": SCALE}
    else:
        matrix = matrix * SCALE
    return header | {f"{name}{i + 1}_{j + 1}": matrix[i, j] for i in (0, 1) for j in (0, 1)}


def observe(folder, kind="PC", **more):
    """Write exposures as an instrument without any other system does; return paths and truth."""
    random = np.random.default_rng(7)
    stars = make_stars(90, RA, DEC)
    paths, truth, rays = [], [], []
    for number, (dx, dy, roll) in enumerate(DITHERS):
        wrong = random.normal(0, 0.12, 2)
        true = keywords(dx, dy, roll, kind)
        said = keywords(dx + wrong[0], dy + wrong[1], roll + random.normal(0, 0.003), kind)
        said |= {"BUNIT": "MJy/sr", **more}
        seen = make_exposure(stars, Detector(true), WCS(said), size=SIZE, seed=number, noise=NOISE)
        data = np.array(seen.data) + np.float32(SKY * number)
        y, x = random.integers(40, SIZE - 40, (2, RAYS))
        data[y, x] += 200 * NOISE
        planes = {
            "SCI": data,
            "ERR": np.full(data.shape, NOISE, np.float32),
            "DQ": np.zeros(data.shape, np.uint32),
            "VAR_RNOISE": np.full(data.shape, NOISE**2, np.float32),
        }
        primary = fits.PrimaryHDU(header=fits.Header({"EFFEXPTM": 100.0, "DATAMODL": "RateModel"}))
        images = [
            fits.ImageHDU(plane, header=fits.Header(said) if name == "SCI" else None, name=name)
            for name, plane in planes.items()
        ]
        paths.append(folder / f"e{number}_cal.fits")
        fits.HDUList([primary, *images]).writeto(paths[-1])
        truth.append(WCS(true))
        rays.append((y, x))
    return stars, paths, truth, rays


def residual(systems, truth):
    """How far systems are from the truth, the mean of all taken away [arcsec rms]."""
    x, y = (at.ravel() for at in np.meshgrid(*2 * [np.linspace(20, SIZE - 20, 6)]))
    said = np.array([PLANE.project(*wcs.pixel_to_world_values(x, y)) for wcs in systems])
    off = said - np.array([PLANE.project(*wcs.pixel_to_world_values(x, y)) for wcs in truth])
    return np.sqrt(np.mean((off - off.mean(axis=0)) ** 2))


@pytest.mark.parametrize("kind", ["PC", "CD", "CROTA2", "no distortion"])
def test_a_correction_is_in_the_keywords_of_the_product(tmp_path, kind):
    _, paths, truth, _ = observe(tmp_path, kind)
    exposures = Exposures.of(paths, "field")

    outcome = AlignExposures().run(exposures, save_results=True, output_dir=tmp_path / "out")

    assert residual([wcs_of(one) for one in exposures], truth) > 40 * MAS
    again = [models.open(path) for path in outcome.written]
    assert all(model.meta.get("wcs") is None for model in again)
    by_keywords = [WCS(fits.getheader(path, "SCI")) for path in outcome.written]
    # physics: some 45 stars of S/N 40 and more, each good to 2 mas or better
    for systems in (
        [wcs_of(one) for one in outcome.model],
        [wcs_of(one) for one in again],
        by_keywords,
    ):
        assert residual(systems, truth) < 1.0 * MAS


def test_stage_3_goes_through(tmp_path):
    stars, paths, _, rays = observe(tmp_path)
    exposures = Exposures.of(paths, "field")
    for step in (AlignExposures(), MatchSky(), DetectOutliers()):
        outcome = step.run(exposures, save_results=True, output_dir=tmp_path / step.name)
        assert outcome.status == "DONE", outcome.reason
        exposures = Exposures.of(outcome.written, "field")  # as the next run finds them

    levels = [model.meta.background.level for model in exposures]
    np.testing.assert_allclose(np.subtract(levels, levels[0]), SKY * np.arange(4), atol=0.003)
    for model, (y, x) in zip(exposures, rays, strict=True):
        flagged = (np.asarray(model.array("dq")) & PIXEL["OUTLIER"]) != 0
        assert flagged[y, x].mean() > 0.9

    mosaic = Resample().run(exposures, save_results=True, output_dir=tmp_path).written[0]
    wcs = WCS(fits.getheader(mosaic, "SCI"))
    x, y = np.array([20.0, 250.0]), np.array([220.0, 40.0])
    exact = wcs_of(models.open(mosaic)).pixel_to_world_values(x, y)
    np.testing.assert_allclose(wcs.pixel_to_world_values(x, y), exact, atol=1e-10)

    outcome = SourceCatalog(aperture_radii=[1.0, 2.0, 3.0]).run(
        models.open(mosaic), save_results=True, output_dir=tmp_path
    )
    table = Table.read(next(path for path in outcome.written if path.suffix == ".ecsv"))
    found = SkyCoord(table["sky_centroid"])
    nearest, distance, _ = found.match_to_catalog_sky(SkyCoord(*stars[:, :2].T, unit="deg"))
    assert len(table) > 40
    off = PLANE.project(found.ra.deg, found.dec.deg) - PLANE.project(*stars[nearest, :2].T)
    # physics: relative alignment leaves the mean pointing error, the same for all
    scatter = np.std(off[distance.arcsec < 0.3], axis=0)
    assert (distance.arcsec < 0.3).mean() > 0.95
    assert scatter.max() < 4 * MAS


def test_a_mosaic_has_the_system_of_its_exposures(tmp_path):
    _, paths, _, _ = observe(tmp_path, RADESYS="FK5", EQUINOX=1975.0)

    mosaic = models.open(Resample().run(Exposures.of(paths), save_results=True,
                                        output_dir=tmp_path).written[0])  # fmt: skip

    sky = wcs_of(mosaic).pixel_to_world(100.0, 100.0)
    assert sky.frame.name == "fk5"
    assert sky.frame.equinox.jyear == 1975.0
    by_keywords = WCS(fits.getheader(mosaic.path, "SCI")).pixel_to_world(100.0, 100.0)
    assert sky.separation(by_keywords).mas < 1e-3


def test_coordinates_of_the_galaxy_are_refused(tmp_path):
    _, paths, _, _ = observe(tmp_path)
    for path in paths:
        with fits.open(path, mode="update") as file:
            file["SCI"].header["CTYPE1"] = "GLON-TAN-SIP"
            file["SCI"].header["CTYPE2"] = "GLAT-TAN-SIP"

    with pytest.raises(DataError, match="of another kind") as failure:
        Resample().apply(Exposures.of(paths))

    assert "e0_cal.fits[SCI/CTYPE1]" in failure.value.place


def test_count_rates_keep_their_keywords_of_the_sky_when_they_are_calibrated(tmp_path):
    _, paths, truth, _ = observe(tmp_path)
    rate = models.open(paths[0])
    assert type(rate) is RateModel

    cal = models.lineage.as_class(rate, models.CalModel)
    saved = cal.save(tmp_path / "again_cal.fits")

    assert cal.meta.wcsinfo.ctype1 == "RA---TAN-SIP"
    assert fits.getheader(saved, "SCI")["A_2_0"] == 1e-5
    before, after = wcs_of(rate), wcs_of(models.open(saved))
    assert residual([before], truth[:1]) == residual([after], truth[:1])
