"""Exposures come to lie on each other, and on a catalog; what cannot be aligned says so."""

import logging

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from lightmill import models
from lightmill.errors import ConfigurationError, CorruptFileError, DataError, UnknownNameError
from lightmill.imaging import AlignExposures
from lightmill.imaging.affine import Affine
from lightmill.imaging.corrected_wcs import corrected, linear_keywords
from lightmill.imaging.overlap import TangentPlane
from lightmill.imaging.reference_stars import read_positions, read_reference
from lightmill.models import Exposures, wcs_of
from lightmill.pipeline import Beside, Skipped
from lightmill.testing.star_fields import make_exposure, make_stars, make_wcs

RA, DEC, SIZE = 53.16, -27.79, 256
ARCSEC = 1 / 3600
MAS = 0.001
DITHERS = ((-1.1, -0.6, 20.0), (0.9, 0.7, 20.0), (-0.4, 1.0, 24.0))


def pointing(dx, dy, roll, ra=RA, dec=DEC):
    """World coordinates of a detector that looks (dx, dy) arcsec beside a place."""
    (there,), (up,) = TangentPlane(ra, dec).deproject(np.array([[dx, dy]]))
    # the angle is counted from north, which is elsewhere at another right ascension
    turned = (there - ra + 180) % 360 - 180
    return make_wcs(there, up, roll + turned * np.sin(np.radians(up)), size=SIZE)


def observe(stars, dithers=DITHERS, error=0.12, *, ra=RA, dec=DEC, **meta):
    """Exposures whose headers are wrong by some 120 mas and 0.003 deg."""
    random = np.random.default_rng(7)
    made, truth = [], []
    for k, (dx, dy, roll) in enumerate(dithers):
        wrong = random.normal(0, error, 2)
        true = pointing(dx, dy, roll, ra, dec)
        said = pointing(dx + wrong[0], dy + wrong[1], roll + random.normal(0, 0.003), ra, dec)
        model = make_exposure(
            stars, true, said, size=SIZE, seed=k, roll=roll, filename=f"e{k}_cal.fits", **meta
        )
        made.append(model)
        truth.append(true)
    return Exposures.of(made, "field"), truth


def places(exposures, truth, ra=RA, dec=DEC):
    """Where exposures say that some of their pixels are, and where these are [arcsec]."""
    x, y = (at.ravel() for at in np.meshgrid(*2 * [np.linspace(20, SIZE - 20, 6)]))
    plane = TangentPlane(ra, dec)
    said = [plane.project(*wcs_of(m).pixel_to_world_values(x, y)) for m in exposures.science]
    return np.array(said), np.array([plane.project(*wcs(x, y)) for wcs in truth])


def relative(said, true):
    """Differences from the truth, the mean of all exposures taken away."""
    off = said - true
    return off - off.mean(axis=0)


@pytest.fixture(scope="module")
def stars():
    return make_stars(90, RA, DEC)


@pytest.fixture(scope="module")
def field(stars):
    return observe(stars)


@pytest.fixture(scope="module")
def catalog(stars, tmp_path_factory):
    """The stars as a table."""
    path = tmp_path_factory.mktemp("catalog") / "stars.ecsv"
    Table({"RA": stars[:, 0], "DEC": stars[:, 1]}).write(path)
    return path


def test_pointing_errors_of_120_mas_are_solved_to_3(field):
    exposures, truth = field

    aligned = AlignExposures().apply(exposures)

    assert np.abs(relative(*places(exposures, truth))).max() > 60 * MAS
    # physics: 50 stars of S/N 40 and more, each good to 2 mas or better
    assert np.sqrt(np.mean(relative(*places(aligned, truth)) ** 2)) < 1.5 * MAS


def test_the_result_says_what_was_done(field):
    exposures, _ = field

    aligned = AlignExposures().apply(exposures)

    assert "stars shared with other exposures" in aligned.science[0].history[-1]
    assert aligned.science[0].meta.wcsinfo.s_region.startswith("POLYGON ICRS")
    assert exposures.science[0].meta.wcsinfo.s_region is None  # nobody else's model is changed


def test_fits_keywords_follow_the_correction(field):
    aligned = AlignExposures().apply(field[0])

    info = aligned.science[0].meta.wcsinfo.to_dict()
    header = {key.upper(): value for key, value in info.items() if value is not None}
    header |= {"NAXIS": 2, "NAXIS1": SIZE, "NAXIS2": SIZE}
    x, y = np.array([30.0, 128.0, 220.0]), np.array([200.0, 128.0, 40.0])
    plane = TangentPlane(RA, DEC)
    keywords = plane.project(*WCS(header).all_pix2world(x, y, 0))
    exact = plane.project(*wcs_of(aligned.science[0]).pixel_to_world_values(x, y))
    np.testing.assert_allclose(keywords, exact, atol=0.01 * 0.065)  # the step promises 0.01 pixel


def test_a_catalog_gives_the_absolute_pointing(field, catalog):
    exposures, truth = field

    aligned = AlignExposures(abs_refcat=str(catalog)).apply(exposures)

    said, true = places(aligned, truth)
    assert np.abs((said - true).mean(axis=(0, 1))).max() < 1 * MAS
    assert np.sqrt(np.mean((said - true) ** 2)) < 1.5 * MAS
    assert "onto stars.ecsv" in aligned.science[0].history[-1]


def test_one_exposure_is_aligned_to_a_catalog(stars, catalog):
    exposures, truth = observe(stars, DITHERS[:1])

    aligned = AlignExposures(abs_refcat=str(catalog)).apply(exposures)

    said, true = places(aligned, truth)
    assert np.sqrt(np.mean((said - true) ** 2)) < 2 * MAS


def test_detectors_exposed_together_share_the_correction(stars):
    # physics: the second detector of each exposure sees no star that any other detector sees
    near, truth_near = observe(stars, DITHERS[:2])
    away = [(dx + 40, dy, roll) for dx, dy, roll in DITHERS[:2]]
    far, truth_far = observe(make_stars(30, RA + 0.1, DEC), away)
    both = [
        model.evolve(
            meta={
                "observation.obs_id": "V1",
                "exposure.start_time": 60000.0 + k,
                "filename": f"{name}{k}_cal.fits",
            }
        )
        for name, group in (("near", near), ("far", far))
        for k, model in enumerate(group.science)
    ]

    aligned = AlignExposures().apply(Exposures.of(both, "two detectors"))

    said, true = places(aligned, truth_near + truth_far)
    off = (said - true).mean(axis=1)
    assert np.hypot(*(off[0] - off[1])) < 2 * MAS
    # physics: the same shifts were drawn for both detectors, but the roll errors turn each about
    # its own middle: 0.004 deg over 40 arcsec are 3 mas
    assert np.hypot(*(off[2] - off[3])) < 6 * MAS


def test_an_exposure_that_cannot_be_aligned_keeps_its_pointing(stars, caplog):
    exposures, _ = observe(stars)
    blank = exposures.science[2].evolve(data=np.full((SIZE, SIZE), 1.0, np.float32))
    exposures = exposures.evolve([*exposures.science[:2], blank])

    with caplog.at_level(logging.WARNING, "lightmill"):
        answer = AlignExposures().apply(exposures)

    aligned = answer.result
    assert list(answer.skipped) == ["e2_cal.fits"]
    said, before = places(aligned, [])[0], places(exposures, [])[0]
    np.testing.assert_allclose(said[2], before[2], atol=1e-9)
    assert "e2_cal.fits: not aligned" in caplog.text
    assert "not aligned" in aligned.science[2].history[-1]
    assert "not aligned" not in aligned.science[0].history[-1]


def test_its_product_says_that_the_step_was_skipped_for_it(stars, tmp_path):
    exposures, _ = observe(stars)
    blank = exposures.science[2].evolve(data=np.full((SIZE, SIZE), 1.0, np.float32))
    exposures = exposures.evolve([*exposures.science[:2], blank])

    outcome = AlignExposures().run(exposures, save_results=True, output_dir=tmp_path)

    made = [models.open(path).meta.cal_step.tweakreg for path in outcome.written]
    assert made == ["COMPLETE", "COMPLETE", "SKIPPED"]
    (step,) = models.open(outcome.written[0]).record["steps"]
    assert step["status"] == "COMPLETE"
    assert "0 stars" in step["skipped_exposures"]["e2_cal.fits"]


def test_stars_are_saved_where_nothing_can_be_aligned(stars, tmp_path):
    exposures, _ = observe(stars, DITHERS[:1])

    outcome = AlignExposures(save_catalogs=True).run(exposures, output_dir=tmp_path)

    assert outcome.status == "SKIPPED"
    assert len(list(tmp_path.glob("*_cat.ecsv"))) == 1


@pytest.mark.parametrize("what", ["nothing on the sky", "all pixels flagged", "no value"])
def test_exposures_without_stars_are_skipped(stars, what):
    exposures, _ = observe(stars, DITHERS[:2])
    change = {
        "nothing on the sky": {"data": np.ones((SIZE, SIZE), np.float32)},
        "all pixels flagged": {"dq": np.ones((SIZE, SIZE), np.uint32)},
        "no value": {"data": np.full((SIZE, SIZE), np.nan, np.float32)},
    }[what]

    answer = AlignExposures().apply(
        exposures.evolve([model.evolve(**change) for model in exposures.science])
    )

    assert isinstance(answer, Skipped)
    assert "no stars" in answer.reason


def test_exposures_that_do_not_overlap_are_skipped(stars):
    here, _ = observe(stars, DITHERS[:1])
    other = make_stars(60, RA + 0.1, DEC, seed=3)
    there, _ = observe(other, DITHERS[:1], ra=RA + 0.1)
    away = there.science[0].evolve(meta={"filename": "away_cal.fits"})

    answer = AlignExposures().apply(Exposures.of([*here.science, away], "apart"))

    assert isinstance(answer, Skipped)
    assert "share" in answer.reason


def test_one_exposure_without_a_catalog_is_skipped(field):
    exposures = Exposures.of(field[0].science[:1], "one")

    assert isinstance(AlignExposures().apply(exposures), Skipped)


def test_the_same_exposure_twice_is_aligned_already(field):
    model = field[0].science[0]
    twice = Exposures.of([model, model.evolve(meta={"filename": "again_cal.fits"})], "twice")

    aligned = AlignExposures().apply(twice)

    said, before = places(aligned, field[1][:1])[0], places(twice, field[1][:1])[0]
    np.testing.assert_allclose(said, before, atol=1e-6)


@pytest.mark.parametrize(("ra", "dec"), [(0.0005, 10.0), (200.0, 89.9985), (10.0, -89.9999)])
def test_poles_and_the_end_of_right_ascension_are_places_like_others(ra, dec):
    exposures, truth = observe(make_stars(90, ra, dec), ra=ra, dec=dec)

    aligned = AlignExposures().apply(exposures)

    assert np.sqrt(np.mean(relative(*places(aligned, truth, ra, dec)) ** 2)) < 1.5 * MAS


def test_exposures_without_coordinates_are_refused():
    image = np.ones((8, 8), np.float32)
    bare = [models.CalModel(meta={"filename": f"{k}_cal.fits"}, data=image) for k in "ab"]

    with pytest.raises(DataError, match="where on the sky") as failure:
        AlignExposures().apply(Exposures.of(bare, "bare"))

    assert failure.value.place == "a_cal.fits"
    assert "assign_wcs" in failure.value.remedy


def test_the_stars_are_saved_when_asked(field, tmp_path):
    answer = AlignExposures(save_catalogs=True).apply(field[0])

    assert isinstance(answer, Beside)
    path = answer.products["cat"].science[0].save(tmp_path / "e0_cat.ecsv")
    table = Table.read(path)
    assert {"x", "y", "RA", "DEC", "flux", "snr"} <= set(table.colnames)
    assert len(table) > 30


def test_a_catalog_of_ones_own_stars_takes_the_place_of_finding_them(field, tmp_path):
    exposures, truth = field
    saved = AlignExposures(save_catalogs=True).apply(exposures).products["cat"]
    lines = []
    for name, catalog in zip(exposures.names, saved.science, strict=True):
        catalog.save(tmp_path / f"{name}.ecsv")
        lines.append(f"{name} {name}.ecsv")
    (tmp_path / "list.txt").write_text("\n".join(lines))
    blank = np.ones((SIZE, SIZE), np.float32)
    without = exposures.evolve([model.evolve(data=blank) for model in exposures.science])

    aligned = AlignExposures(use_custom_catalogs=True, catfile=str(tmp_path / "list.txt")).apply(
        without
    )

    assert np.sqrt(np.mean(relative(*places(aligned, truth)) ** 2)) < 1.5 * MAS


def test_a_catalog_outside_the_folder_of_the_list_is_refused(field, tmp_path):
    (tmp_path / "list.txt").write_text("e0_cal.fits ../stars.ecsv")

    with pytest.raises(ConfigurationError, match="outside"):
        AlignExposures(use_custom_catalogs=True, catfile=str(tmp_path / "list.txt")).apply(field[0])


def test_other_star_finders_can_be_chosen(field):
    exposures, truth = field

    aligned = AlignExposures(starfinder="iraf", roundhi=0.6, sharplo=0.2).apply(exposures)

    # physics: their positions have pixel-phase errors of a tenth of a pixel
    assert np.sqrt(np.mean(relative(*places(aligned, truth)) ** 2)) < 4 * MAS


def test_a_misspelled_parameter_is_an_error():
    with pytest.raises(UnknownNameError):
        AlignExposures(searchradius=3.0)


# -- catalogs ------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".ecsv", ".csv", ".fits"])
def test_catalogs_of_each_format_are_read(tmp_path, suffix):
    path = tmp_path / f"stars{suffix}"
    Table({"ra": [10.0, np.nan, 30.0], "Dec": [-5.0, 1.0, 6.0], "mag": [20.0, 1.0, 18.0]}).write(
        path
    )

    stars = read_reference(path)

    assert stars.ra.tolist() == [30.0, 10.0]  # brightest first, without the one that is nowhere
    assert stars.dec.tolist() == [6.0, -5.0]


def test_proper_motions_bring_stars_to_the_date_of_the_exposures(tmp_path):
    # physics: 100 mas/yr to the east (on the sky) at declination 60, from 2016.0 to 2024.0
    path = tmp_path / "stars.csv"
    Table(
        {"RA": [10.0], "DEC": [60.0], "pmra": [100.0], "pmdec": [-50.0], "ref_epoch": [2016.0]}
    ).write(path)

    stars = read_reference(path, 51544.5 + 24 * 365.25)

    assert np.isclose((stars.ra[0] - 10.0) * 3.6e6 * 0.5, 800.0, rtol=1e-6)
    assert np.isclose((stars.dec[0] - 60.0) * 3.6e6, -400.0, rtol=1e-6)


def test_weights_of_a_catalog_count(tmp_path):
    path = tmp_path / "stars.ecsv"
    Table({"RA": [1.0, 2.0, 3.0], "DEC": [0.0, 0.0, 0.0], "weight": [2.0, 0.0, 5.0]}).write(path)

    stars = read_reference(path)

    assert stars.weight.tolist() == [2.0, 5.0]


def test_a_catalog_without_positions_is_refused_by_name(tmp_path):
    path = tmp_path / "stars.csv"
    Table({"RA": [1.0], "declination": [2.0]}).write(path)

    with pytest.raises(DataError, match="no column DEC") as failure:
        read_reference(path)

    assert "declination" in failure.value.found
    assert "stars.csv" in failure.value.place


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("GAIADR3", None, ConfigurationError),
        ("stars.csv", None, ConfigurationError),
        ("stars.fits", "no table", CorruptFileError),
        ("stars.ecsv", "# %ECSV 1.0\n# ---\nRA", CorruptFileError),
        ("stars.csv", "RA,DEC\nx,y\n", DataError),
        ("stars.csv", "RA,DEC\nnan,1\n", DataError),
    ],
)
def test_a_bad_catalog_is_refused(tmp_path, name, content, kind):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)

    with pytest.raises(kind):
        read_reference(path)


def test_positions_in_an_image_are_brightest_first(tmp_path):
    path = tmp_path / "stars.csv"
    Table({"x": [1.0, 2.0], "y": [3.0, 4.0], "flux": [5.0, 9.0]}).write(path)

    x, y = read_positions(path)

    assert x.tolist() == [2.0, 1.0]
    assert y.tolist() == [4.0, 3.0]


# -- corrections of coordinates ------------------------------------------------------------

TURN = np.radians(0.05)
CORRECTION = Affine(
    1.0001 * np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]]),
    np.array([0.15, -0.1]),
)
POINTING = {"v2_ref": 120.0, "v3_ref": -480.0, "roll_ref": 20.0}


@pytest.mark.parametrize("reference", [POINTING, None], ids=["through V2V3", "any other"])
@pytest.mark.parametrize("dec", [-27.79, 89.9985])
def test_a_correction_does_on_the_sky_what_it_says(reference, dec):
    wcs, plane = make_wcs(RA, dec), TangentPlane(RA, dec)
    x, y = np.array([0.0, 255, 100, 30]), np.array([0.0, 10, 255, 128])
    before = plane.project(*wcs.pixel_to_world_values(x, y))

    once = corrected(wcs, CORRECTION, plane, (SIZE, SIZE), reference)
    again = corrected(once, CORRECTION, plane, (SIZE, SIZE), reference)

    for wcs_now, there in ((once, CORRECTION(before)), (again, CORRECTION(CORRECTION(before)))):
        found = plane.project(*wcs_now.pixel_to_world_values(x, y))
        np.testing.assert_allclose(found, there, atol=1e-7)  # a ten-thousandth of a mas
        sky = wcs_now.pixel_to_world_values(x, y)
        back = wcs_now.invert(*sky, with_bounding_box=False)
        np.testing.assert_allclose(back, [x, y], atol=1e-3)  # what the inverse polynomial leaves
    assert wcs.available_frames == ["detector", "v2v3", "world"]


@pytest.mark.parametrize("matrix", ["CD", "PC"])
def test_a_correction_of_fits_keywords_does_on_the_sky_what_it_says(matrix):
    header = {"NAXIS": 2, "NAXIS1": SIZE, "NAXIS2": SIZE, "CRPIX1": 100.5, "CRPIX2": 130.0}
    header |= {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 0.001, "CRVAL2": -40.0}
    header |= {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5, "B_1_1": 2e-5}
    unit = 1.0 if matrix == "CD" else 1.8e-5
    header |= {f"{matrix}1_1": -1.8e-5 / unit, f"{matrix}2_2": 1.8e-5 / unit}
    header |= {f"{matrix}1_2": 3e-6 / unit, f"{matrix}2_1": 3e-6 / unit}
    if matrix == "PC":
        header |= {"CDELT1": unit, "CDELT2": unit}
    wcs, plane = WCS(header), TangentPlane(0.0, -40.0)
    x, y = np.array([0.0, 255, 100]), np.array([0.0, 10, 255])

    moved = corrected(wcs, CORRECTION, plane, (SIZE, SIZE))

    before = plane.project(*wcs.all_pix2world(x, y, 0))
    found = plane.project(*moved.all_pix2world(x, y, 0))
    np.testing.assert_allclose(found, CORRECTION(before), atol=1e-6)
    values = linear_keywords(moved)
    again = WCS(header | {key.upper(): value for key, value in values.items()})
    np.testing.assert_allclose(plane.project(*again.all_pix2world(x, y, 0)), found, atol=1e-9)
