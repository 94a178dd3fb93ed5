"""From raw exposures of a known field to a mosaic and a catalog, held to the truth."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("gwcs", reason="imaging needs the extra `imaging`")
pytest.importorskip("drizzle", reason="imaging needs the extra `imaging`")

from astropy.io import fits
from astropy.wcs import WCS

from lightmill import app, models
from lightmill.cli import main
from lightmill.cli.report.sky import alignment, match, read_mosaic, read_sky

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Every product of the small field, made by the demo."""
    folder = tmp_path_factory.mktemp("field") / "demo"
    with pytest.raises(SystemExit) as ended:
        main(["demo", str(folder), "--scene", "imaging-tiny", "--quiet"])
    assert ended.value.code == 0
    return folder


@pytest.fixture(scope="module")
def residuals(demo):
    (path,) = (demo / "products").glob("*_t001_*_i2d.fits")
    (sky,) = (demo / "raw").glob("*_sky.fits")
    mosaic = read_mosaic(path, path.with_name(path.name.replace("_i2d.fits", "_cat.ecsv")))
    return match(mosaic, read_sky(sky)["SOURCES"])


def test_the_demo_leaves_products_of_every_stage_and_a_report(demo):
    kinds = {path.stem.rpartition("_")[2] for path in (demo / "products").iterdir()}

    assert {"rate", "rateints", "cal", "crf", "i2d", "cat", "segm", "asn"} <= kinds
    page = (demo / "report.html").read_text()
    assert "Mosaic F200W" in page
    assert "left after alignment" in page


def test_stars_have_the_flux_they_were_given(residuals):
    bright = residuals.bright_stars

    # physics: 15 or more stars, each known to better than 2 %, and their aperture correction
    assert bright.sum() >= 15
    assert abs(np.median(residuals.difference[bright])) < 0.02


def test_exposures_are_aligned_to_a_fraction_of_a_pixel(residuals):
    # physics: pointings were off by 120 mas; a centroid of S/N 50 is good to 3 mas
    assert alignment(residuals)[2] < 5


def test_bright_sources_are_found_and_few_others(residuals):
    bright = [found for low, _, number, found in residuals.bins if low < 21 and number >= 5]

    # physics: 100 times the noise; the others are blended, or behind a brighter one
    assert min(bright) > 0.85
    assert residuals.unmatched <= 0.03 * residuals.found


def test_a_source_is_at_the_same_place_in_the_mosaic_and_in_its_map(demo):
    (path,) = (demo / "products").glob("*_t001_*_i2d.fits")
    pixels = np.array([3.0, 200.0, 60.0]), np.array([7.0, 250.0, 40.0])

    places = []
    for suffix in ("i2d", "segm"):
        header = fits.getheader(path.with_name(path.name.replace("i2d", suffix)), "SCI")
        assert not any(keyword.startswith(("A_", "B_")) for keyword in header)
        places.append(WCS(header).pixel_to_world_values(*pixels))

    # physics: the mosaic has no distortion; what an exposure said of its own is not true of it
    np.testing.assert_allclose(places[0], places[1], rtol=0, atol=1e-12)


def test_a_member_missing_is_named_in_the_product(demo, tmp_path):
    (association,) = (demo / "products").glob("*_image3_*_asn.json")
    names = [m["expname"] for m in json.loads(association.read_text())["products"][0]["members"]]
    for name in (association.name, *names[1:]):
        shutil.copy(demo / "products" / name, tmp_path)

    (outcome,) = app.run(
        "calwebb_image3",
        [tmp_path / association.name],
        parameters={"missing_members": "leave_out"},
        output_dir=tmp_path / "out",
        crds_path=demo / "raw" / "crds",
    )

    mosaic = next(path for path in outcome.written if path.name.endswith("_i2d.fits"))
    assert [one["name"] for one in models.open(mosaic).record["left_out"]] == [names[0]]
