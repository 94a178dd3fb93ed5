"""The catalog of a mosaic: what was put in comes out, whatever the image lacks."""

import math
import tracemalloc

import asdf
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal

from lightmill import models
from lightmill.errors import ConfigurationError, CorruptFileError, DataError, OutputError
from lightmill.imaging.apertures import Apertures, apertures_of_table, magnitude_offset
from lightmill.imaging.source_catalog import SourceCatalog
from lightmill.models import (
    AbVegaOffsetModel,
    ApcorrModel,
    ResampledModel,
    SegmentationModel,
    put_wcs,
)
from lightmill.models.catalog import Catalog
from lightmill.models.lineage import open_reference
from lightmill.pipeline import Status

SCALE = 0.06 / 3600  # degrees a pixel
AREA = math.radians(SCALE) ** 2
JY = 1e6 * AREA  # of one MJy/sr in a pixel
SIGMA = 1.3  # of a star, with its pixel
PEER = tuple(
    """
label xcentroid ycentroid sky_centroid aper_bkg_flux aper_bkg_flux_err aper30_flux aper30_flux_err
aper50_flux aper50_flux_err aper70_flux aper70_flux_err aper_total_flux aper_total_flux_err
aper30_abmag aper30_abmag_err aper50_abmag aper50_abmag_err aper70_abmag aper70_abmag_err
aper_total_abmag aper_total_abmag_err aper30_vegamag aper30_vegamag_err aper50_vegamag
aper50_vegamag_err aper70_vegamag aper70_vegamag_err aper_total_vegamag aper_total_vegamag_err
CI_50_30 CI_70_50 CI_70_30 is_extended sharpness roundness nn_label nn_dist isophotal_flux
isophotal_flux_err isophotal_abmag isophotal_abmag_err isophotal_vegamag isophotal_vegamag_err
isophotal_area semimajor_sigma semiminor_sigma ellipticity orientation sky_orientation sky_bbox_ll
sky_bbox_ul sky_bbox_lr sky_bbox_ur
""".split()  # noqa: SIM905 - as it is printed
)


def radius_of(energy):
    """Radius that holds a fraction of a Gaussian star's light [pixel]."""
    # A circle cuts pixels as if their light were uniform: that adds the variance of a pixel.
    return math.sqrt(SIGMA**2 + 1 / 12) * math.sqrt(-2 * math.log(1 - energy))


def apcorr(filter="F1"):
    rows = [(filter, energy, radius_of(energy), 1 / energy, 8, 14) for energy in (0.3, 0.5, 0.7)]
    names = ("eefraction", "radius", "apcorr", "skyin", "skyout")
    kinds = [("filter", "S8"), *((name, np.float32) for name in names)]
    return ApcorrModel(apcorr_table=np.array(rows, kinds))


def tangent_plane(shape, ra=150.0, dec=2.0, roll=25.0):
    import gwcs
    from astropy import units
    from astropy.coordinates import ICRS
    from astropy.modeling import models
    from gwcs import coordinate_frames as frames

    turn = math.radians(roll)
    matrix = SCALE * np.array([[-math.cos(turn), math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    ny, nx = shape
    chain = (
        models.Shift(-(nx - 1) / 2) & models.Shift(-(ny - 1) / 2)
        | models.AffineTransformation2D(matrix)
        | models.Pix2Sky_TAN()
        | models.RotateNative2Celestial(ra, dec, 180)
    )
    wcs = gwcs.WCS(
        [
            (frames.Frame2D(name="detector", unit=(units.pix, units.pix)), chain),
            (frames.CelestialFrame(name="world", reference_frame=ICRS()), None),
        ]
    )
    wcs.bounding_box = ((-0.5, nx - 0.5), (-0.5, ny - 0.5))
    return wcs


def mosaic(stars, shape=(200, 220), noise=0.02, sky=0.4, seed=1, wcs=None, **meta):
    """Return a mosaic of Gaussian stars (x, y, flux [Jy]) over a flat sky, noise known."""
    yy, xx = np.indices(shape)
    light = np.full(shape, sky)
    for x, y, flux in stars:
        r2 = (xx - x) ** 2 + (yy - y) ** 2
        light += flux / JY / (2 * np.pi * SIGMA**2) * np.exp(-0.5 * r2 / SIGMA**2)
    err = np.full(shape, noise, np.float32)
    rng = np.random.default_rng(seed)
    image = ResampledModel(
        data=(light + rng.normal(0, noise, shape)).astype(np.float32),
        err=err,
        wht=np.ones(shape, np.float32),
        meta={
            "instrument": {"filter": "F1"},
            "photometry": {"pixelarea_steradians": AREA},
            "resample": {"pixel_scale_ratio": 1.0},
            "bunit_data": "MJy/sr",
            **meta,
        },
    )
    return put_wcs(image, tangent_plane(shape) if wcs is None else wcs)


FIELD = [(x, y, JY * 3.0 * 1.12**n) for n, (x, y) in enumerate(
    (20.3 + 36.1 * i + 0.13 * j, 22.8 + 39.2 * j + 0.21 * i) for j in range(5) for i in range(6)
)]  # fmt: skip


def catalog_of(image, *, reference=True, **parameters):
    found = SourceCatalog(npixels=9, **parameters).apply(
        image, apcorr=apcorr() if reference else None
    )
    return found["cat"].table


def matched(table, stars=FIELD):
    """Return the row of each star, which must be there within a pixel."""
    x, y = np.array(table["xcentroid"]), np.array(table["ycentroid"])
    rows = []
    for star in stars:
        distance = np.hypot(x - star[0], y - star[1])
        assert distance.min() < 1, star
        rows.append(int(distance.argmin()))
    return table[rows]


@pytest.fixture(scope="module")
def field():
    return mosaic(FIELD)


@pytest.fixture(scope="module")
def made(field):
    return SourceCatalog(npixels=9).apply(field, apcorr=apcorr())


def test_every_star_is_found_and_nothing_else(made):
    matched(made["cat"].table)

    assert len(made["cat"]) == len(FIELD)


def test_the_columns_are_those_of_the_field_in_their_order(made):
    table = made["cat"].table

    assert table.colnames[: len(PEER)] == list(PEER)
    assert {str(table[name].unit) for name in PEER if name.endswith(("_flux", "_flux_err"))} == {
        "Jy"
    }
    assert [str(table[name].unit) for name in ("nn_dist", "isophotal_area", "orientation")] == [
        "pix", "pix2", "deg",
    ]  # fmt: skip


def test_total_fluxes_of_stars_are_right_within_their_errors(made):
    table = matched(made["cat"].table)
    truth = np.array([flux for _, _, flux in FIELD])

    ratio = table["aper_total_flux"].value / truth
    pull = (table["aper_total_flux"].value - truth) / table["aper_total_flux_err"].value

    # A circle that cuts pixels is a Gaussian of one pixel's variance more only to 0.2 %: fainter
    # than S/N 150 that is less than a third of the error. The ring's own error is a fortieth.
    faint = table["aper_total_flux"].value < 150 * table["aper_total_flux_err"].value
    assert faint.sum() >= 12
    assert abs(np.median(ratio[~faint]) - 1) < 0.005
    assert np.abs(pull[faint]).max() < 4
    assert 0.5 < pull[faint].std() < 1.6  # twelve or more stars: 1 +- 0.2, to three of these


def test_stars_measured_as_stars_are_right_within_their_errors():
    image = mosaic(FIELD, resample={"pixel_scale_ratio": 1.0, "pixfrac": 1.0, "pointings": 8})

    stars = matched(catalog_of(image))

    truth = np.array([star[2] for star in FIELD])
    flux, error = np.array(stars["star_flux"]), np.array(stars["star_flux_err"])
    # 30 stars, S/N from 15 to 400; four standard deviations of a mean. Pixels of this mosaic share
    # nothing, and no exposures blur it: errors are a little too small, or too large, than that.
    pull = (flux - truth) / error
    assert abs(pull.mean()) < 4 / math.sqrt(30)
    assert 0.3 < pull.std() < 1.5
    bright = truth > np.median(truth)  # where it shows that places in pixels are known
    plain = np.array(stars["aper_total_flux"])
    assert np.std((flux / truth)[bright]) < 0.5 * np.std((plain / truth)[bright])
    assert not np.array(stars["is_blended"]).any()
    for axis, name in enumerate(("xwindowed", "ywindowed")):
        place = np.array([star[axis] for star in FIELD])
        assert_allclose(np.array(stars[name]), place, atol=0.15)  # a tenth of the window, S/N 15


def test_two_stars_that_were_not_taken_apart_are_blended():
    x, y, flux = 100.2, 90.4, 100 * JY
    pair = mosaic([(x, y, flux), (x + 4.0, y, 0.15 * flux), (30.1, 40.7, flux)])

    table = catalog_of(pair, deblend=False)

    found = matched(table, [(30.1, 40.7, flux), (x, y, flux)])
    assert np.array(found["is_blended"]).tolist() == [False, True]


def test_fluxes_of_stars_are_left_out_when_they_are_not_asked_for(field):
    table = catalog_of(field, star_fluxes=False)

    assert np.isnan(np.array(table["star_flux"])).all()
    assert not np.array(table["is_blended"]).any()


def test_magnitudes_and_fluxes_tell_the_same(made):
    table = made["cat"].table

    assert_allclose(
        table["aper70_abmag"], -2.5 * np.log10(table["aper70_flux"].value / 3630.78), atol=1e-4
    )


def test_stars_are_not_extended_and_a_galaxy_is(field):
    image = field.evolve(data=field.data.copy())
    yy, xx = np.indices(image.data.shape)
    image.data[:] += 8 * np.exp(-0.5 * (((xx - 110) / 6) ** 2 + ((yy - 45) / 4) ** 2))

    table = catalog_of(image)

    galaxy = np.argmin(np.hypot(table["xcentroid"] - 110, table["ycentroid"] - 45))
    assert table["is_extended"].sum() == 0 or table["is_extended"][galaxy]
    # A uniform source would give the ratio of the areas; a star that of the energies.
    assert table["CI_50_30"][galaxy] > np.median(table["CI_50_30"]) + 0.1
    assert table["semimajor_sigma"].value[galaxy] == pytest.approx(6, rel=0.15)


def test_labels_are_those_of_the_map(made):
    table, labels = made["cat"].table, made["segm"].data

    middle = labels[
        np.rint(table["ycentroid"]).astype(int), np.rint(table["xcentroid"]).astype(int)
    ]
    assert isinstance(made["segm"], SegmentationModel)
    assert_array_equal(middle, table["label"])
    assert_array_equal(np.unique(labels), np.arange(len(table) + 1))
    assert_array_equal(np.bincount(labels.ravel())[1:], table["isophotal_area"].value)


def test_the_image_is_not_changed(field):
    before = field.data.copy()

    SourceCatalog().apply(field, apcorr=apcorr())

    assert_array_equal(field.data, before)


@pytest.mark.parametrize(("ra", "dec"), [(0.0, -10.0), (45.0, 89.9999), (180.0, -90.0)])
def test_places_on_the_sky_are_right_at_the_wrap_and_at_the_poles(ra, dec):
    stars = FIELD[20:]
    wcs = tangent_plane((200, 220), ra=ra, dec=dec)

    table = matched(catalog_of(mosaic(stars, wcs=wcs)), stars)
    there = SkyCoord(*wcs([x for x, _, _ in stars], [y for _, y, _ in stars]), unit="deg")

    # S/N > 80: positions to 1.3 / 80 pixels, 1 mas; four of these
    assert table["sky_centroid"].separation(there).mas.max() < 4
    assert np.all((table["sky_centroid"].ra.deg >= 0) & (table["sky_centroid"].ra.deg < 360))


def test_the_box_on_the_sky_is_the_box_on_the_image(made):
    table, labels = made["cat"].table, made["segm"].data
    y, x = np.nonzero(labels == 3)

    width = table["sky_bbox_ll"][2].separation(table["sky_bbox_lr"][2]).deg / SCALE
    height = table["sky_bbox_lr"][2].separation(table["sky_bbox_ur"][2]).deg / SCALE

    assert width == pytest.approx(np.ptp(x) + 1, rel=1e-5)
    assert height == pytest.approx(np.ptp(y) + 1, rel=1e-5)


@pytest.mark.parametrize("roll", [0, 40])
def test_the_position_angle_follows_the_roll_of_the_image(roll):
    shape = (80, 80)
    image = mosaic([], shape, noise=0.01, wcs=tangent_plane(shape, roll=roll))
    yy, xx = np.indices(shape)
    turn = np.radians(30)  # of the major axis from x towards y
    u = (xx - 40) * np.cos(turn) + (yy - 40) * np.sin(turn)
    v = -(xx - 40) * np.sin(turn) + (yy - 40) * np.cos(turn)
    data = image.data + (5 * np.exp(-0.5 * ((u / 6) ** 2 + (v / 2) ** 2))).astype(np.float32)

    table = catalog_of(image.evolve(data=data))

    assert table["orientation"].value[0] == pytest.approx(30, abs=1)
    # East is on the left when north is up, x is west then: the axis is 60 degrees west of north.
    north_of_x = 90 - roll
    expected = (30 - north_of_x) % 180
    assert table["sky_orientation"].value[0] % 180 == pytest.approx(expected, abs=1)


def test_a_fits_system_serves_as_well(field):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [10, 20]
    wcs.wcs.crpix, wcs.wcs.cdelt = [110.5, 100.5], [-SCALE, SCALE]

    table = matched(catalog_of(put_wcs(field, wcs)))

    there = wcs.pixel_to_world(table["xcentroid"], table["ycentroid"])
    assert table["sky_centroid"].separation(there).mas.max() < 1e-3


def test_pixels_without_coverage_are_no_sources_and_spoil_none(field):
    image = field.evolve(data=field.data.copy(), wht=field.wht.copy())
    image.data[:, 150:] = np.nan
    image.wht[:40, :] = 0
    image.data[:40, :] = 1e6  # whatever stands there

    found = SourceCatalog(npixels=9).apply(image, apcorr=apcorr())

    labels = found["segm"].data
    assert not labels[:40].any()
    assert not labels[:, 150:].any()
    inside = [star for star in FIELD if star[0] < 130 and star[1] > 60]
    whole = matched(catalog_of(field), inside)
    part = matched(found["cat"].table, inside)
    # the sky of the box changes by its error: 1.25 x 0.02 / sqrt(24000) a pixel
    assert_allclose(part["isophotal_flux"].value, whole["isophotal_flux"].value, rtol=0.02)
    # and with it, by the weights, the centroid: 1e-4 pixels
    assert_allclose(part["aper50_flux"].value, whole["aper50_flux"].value, rtol=1e-4)


def test_a_source_at_the_edge_has_no_flux_in_a_circle_that_leaves_the_image():
    image = mosaic([(0.5, 100, 40 * JY), (100, 100, 40 * JY)], noise=0.02)

    table = catalog_of(image)

    edge = int(np.argmin(table["xcentroid"]))
    assert np.isnan(table["aper70_flux"].value[edge])
    assert np.isfinite(table["isophotal_flux"].value).all()
    assert np.isfinite(table["aper70_flux"].value[1 - edge])


def test_a_flux_below_zero_has_no_magnitude():
    # physics: the source stands in the middle of a bright ring
    image = mosaic([(100, 100, 2 * JY)], noise=0.005)
    yy, xx = np.indices(image.data.shape)
    r = np.hypot(xx - 100, yy - 100)
    image.data[(r > 7) & (r < 15)] += 1

    table = catalog_of(image)
    row = int(np.argmin(np.hypot(table["xcentroid"] - 100, table["ycentroid"] - 100)))

    assert table["aper70_flux"].value[row] < 0
    assert np.isnan([table["aper70_abmag"][row], table["aper70_abmag_err"][row]]).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (12, 12)])
def test_a_tiny_image_gives_an_empty_catalog(shape):
    image = mosaic([], shape)

    found = SourceCatalog().apply(image, apcorr=apcorr())

    assert len(found["cat"]) == 0
    assert found["segm"].data.shape == shape


def test_no_source_makes_an_empty_table_with_every_column(made, caplog):
    found = SourceCatalog().apply(mosaic([]), apcorr=apcorr())

    empty, full = found["cat"].table, made["cat"].table
    assert len(empty) == 0
    assert empty.colnames == full.colnames
    assert [empty[name].unit for name in PEER if name != "sky_centroid" and "bbox" not in name] == [
        full[name].unit for name in PEER if name != "sky_centroid" and "bbox" not in name
    ]
    assert not found["segm"].data.any()
    assert "no sources" in caplog.text


def test_an_image_all_masked_makes_an_empty_catalog_that_says_why(field):
    found = SourceCatalog().apply(field.evolve(wht=np.zeros_like(field.wht)), apcorr=apcorr())

    assert len(found["cat"]) == 0
    assert any("weight" in note for note in found["cat"].table.meta["notes"])


def test_without_a_reference_circles_are_not_measured_but_all_else_is(field):
    table = catalog_of(field, reference=False)

    assert len(table) == len(FIELD)
    assert np.isnan(table["aper70_flux"].value).all()
    assert np.isfinite(table["kron_abmag"]).all()
    assert any("aperture_radii" in note for note in table.meta["notes"])


def test_radii_of_the_user_serve_where_no_reference_is(field, made):
    radii = [radius_of(energy) for energy in (0.3, 0.5, 0.7)]

    table = catalog_of(field, reference=False, aperture_radii=radii, background_ring=[8.0, 14.0])

    # the reference holds its radii as float32
    assert_allclose(table["aper50_flux"].value, made["cat"].table["aper50_flux"].value, rtol=1e-5)
    assert np.isnan(table["aper_total_flux"].value).all()


def test_radii_shrink_with_the_pixels_of_the_detector(field, made):
    image = field.evolve(meta={"resample.pixel_scale_ratio": 2.0})

    table = catalog_of(image)

    assert table.meta["aperture_params"]["aperture_radii"] == pytest.approx(
        [r / 2 for r in made["cat"].table.meta["aperture_params"]["aperture_radii"]]
    )


def test_an_image_that_is_not_calibrated_keeps_its_unit_and_has_no_magnitudes(field):
    table = catalog_of(field.evolve(meta={"bunit_data": "DN/s"}))

    assert str(table["aper50_flux"].unit) == "DN / s"
    assert np.isnan(table["aper50_abmag"]).all()


def test_the_area_of_a_pixel_follows_from_the_sky_where_it_is_not_given(field, made):
    table = catalog_of(field.evolve(meta={"photometry.pixelarea_steradians": None}))

    # the plane's pixels are equal at its middle, to the float of the area
    assert_allclose(table["aper50_flux"].value, made["cat"].table["aper50_flux"].value, rtol=1e-6)


def test_an_image_without_errors_takes_them_from_the_noise(field, made):
    table = catalog_of(field.evolve(err=None))

    # the noise of 44 000 pixels is known to 0.3 %, clipping at three sigma takes 1.3 % off
    assert_allclose(
        table["aper50_flux_err"].value, made["cat"].table["aper50_flux_err"].value, rtol=0.03
    )


@pytest.mark.parametrize("finder", ["dao", "iraf"])
def test_the_star_finders_find_the_stars_without_a_map(field, finder):
    found = SourceCatalog(
        starfinder=finder, kernel_fwhm=3.06, sharplo=0.1, roundlo=-1, roundhi=1
    ).apply(field, apcorr=apcorr())

    bright = FIELD[15:]
    table = matched(found["cat"].table, bright)
    truth = np.array([flux for _, _, flux in bright])
    assert "segm" not in found
    # S/N > 30 in a circle of half the light
    assert_allclose(table["aper_total_flux"].value, truth, rtol=4 / 30)
    assert np.isnan(table["isophotal_flux"].value).all()


def test_the_local_sky_of_a_ring_is_taken_off(field):
    image = field.evolve(data=field.data.copy())
    image.data[:, 110:] += np.float32(0.02)  # a step the boxes do not resolve

    plain = matched(catalog_of(image))["isophotal_flux"].value
    local = matched(catalog_of(image, localbkg_width=6))["isophotal_flux"].value

    truth = matched(catalog_of(field))["isophotal_flux"].value
    right = np.array([x > 110 for x, _, _ in FIELD])
    assert np.median(np.abs(local - truth)[right]) < np.median(np.abs(plain - truth)[right]) / 2


def test_memory_is_a_few_times_the_image():
    image = mosaic(FIELD[::6], shape=(1500, 1400))
    step = SourceCatalog()
    step.apply(image, apcorr=apcorr())  # whatever is imported or remembered

    tracemalloc.start()
    step.apply(image, apcorr=apcorr())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # The mask, the smoothed image, the labels: 2.25 images; the bands of rows are an eighth of so
    # small an image each. With image, error and weight, which are there already, six.
    assert peak < 3 * image.data.nbytes


def test_the_same_image_makes_the_same_file(field, tmp_path):
    texts = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        path = SourceCatalog().apply(field, apcorr=apcorr())["cat"].save(folder / "x_cat.ecsv")
        texts.append(path.read_bytes())

    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"aperture_ee1": 60},
        {"kron_params": [2.5]},
        {"aperture_radii": [3.0, 2.0, 1.0]},
        {"background_ring": [8.0, 5.0]},
        {"starfinder": "eye"},
        {"snr_threshold": -1.0},
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigurationError) as caught:
        SourceCatalog(**wrong)

    assert caught.value.place.startswith("source_catalog")


TABLE = np.array(
    [
        ("F1", "CLEAR", 0.3, 1.0, 3.0, 8, 12),
        ("F1", "CLEAR", 0.5, 1.5, 2.0, 8, 12),
        ("F1", "CLEAR", 0.7, 2.5, 1.4, 8, 12),
        ("F2", "CLEAR", 0.3, 9.0, 9.0, 9, 19),
    ],
    [("filter", "U4"), ("pupil", "S8"), *((n, "f4") for n in ("eefraction", "radius", "apcorr", "skyin", "skyout"))],
)  # fmt: skip


def test_circles_are_those_of_the_filter():
    chosen = apertures_of_table(TABLE, {"filter": "f1", "pupil": None}, (30, 50, 70), 0.5)

    assert isinstance(chosen, Apertures)
    assert chosen.radii == (2, 3, 5)
    assert (chosen.inner, chosen.outer) == (16, 24)


@pytest.mark.parametrize(
    ("least", "ratio", "energy"),
    [
        (0.0, 1.0, 50),  # aperture_ee3
        (1.5, 1.0, 50),
        (1.6, 1.0, 70),
        (1.6, 0.5, 70),  # pixels of the detector sample the star, however fine the mosaic
        (1.6, 1.6, 80),  # and so do large ones of the mosaic
        (9.0, 1.0, 80),  # the largest there is
    ],
)
def test_the_circle_of_total_fluxes_is_wide_enough_for_the_pixels(least, ratio, energy):
    rows = [("F1", e, r, 1 / e, 8, 12) for e, r in ((0.3, 1), (0.5, 1.5), (0.7, 2.5), (0.8, 3.5))]
    table = np.array(rows, [TABLE.dtype.descr[0], *TABLE.dtype.descr[2:]])

    total = apertures_of_table(table, {"filter": "F1"}, (30, 50), ratio, least).total

    assert total.energy == energy
    radius, correction = {50: (1.5, 2.0), 70: (2.5, 1 / 0.7), 80: (3.5, 1.25)}[energy]
    assert_allclose([total.radius, total.correction], [radius / ratio, correction])


@pytest.mark.parametrize(
    ("setting", "energies", "told"),
    [
        ({"filter": "F9"}, (30, 50, 70), "filter F9"),
        ({"filter": "F1"}, (30, 50, 80), "80 %"),
        ({}, (30, 50, 70), "2 rows"),
    ],
)
def test_circles_that_the_table_lacks_are_told(setting, energies, told):
    assert told in apertures_of_table(TABLE, setting, energies, 1.0)


def test_the_vega_offset_is_that_of_the_filter():
    table = np.array([("F1", 0.5), ("F2", 1.5)], [("filter", "U4"), ("abvega_offset", float)])

    assert magnitude_offset(table, {"filter": "F2", "detector": "X"}) == 1.5
    assert "0 rows" in magnitude_offset(table, {"filter": "F3"})


def test_vega_magnitudes_follow_from_the_reference_of_the_filter(field, tmp_path):
    table = Table({"filter": ["F0", "F1"], "abvega_offset": [9.0, 1.25]})
    tree = {"meta": {"reftype": "abvegaoffset"}, "abvega_offset": table}
    asdf.AsdfFile(tree).write_to(tmp_path / "vega.asdf")
    reference = open_reference(tmp_path / "vega.asdf", AbVegaOffsetModel)

    made = SourceCatalog().apply(field, apcorr=apcorr(), abvegaoffset=reference)["cat"].table

    assert_allclose(made["aper50_abmag"] - made["aper50_vegamag"], 1.25)
    assert made.meta["abvega_offset"] == 1.25


def test_a_catalog_comes_back_from_its_file(made, tmp_path):
    made["cat"].save(tmp_path / "x_cat.ecsv", record={"steps": [{"name": "source_catalog"}]})

    back = Catalog.open(tmp_path / "x_cat.ecsv")

    table, before = back.table, made["cat"].table
    assert table.colnames == before.colnames
    assert back.record == {"steps": [{"name": "source_catalog"}]}
    assert back.meta.instrument.filter == "F1"
    assert_array_equal(table["label"], before["label"])
    assert_allclose(table["aper50_flux"].value, before["aper50_flux"].value, rtol=1e-6)
    assert table["sky_centroid"].separation(before["sky_centroid"]).mas.max() < 1e-3
    assert table["ellipticity"].unit == before["ellipticity"].unit
    assert table["nn_dist"].info.description == before["nn_dist"].info.description
    assert table.meta["aperture_params"] == before.meta["aperture_params"]


def test_rows_are_written_as_the_library_writes_them(made, tmp_path):
    made["cat"].save(tmp_path / "x_cat.ecsv")

    table = made["cat"].table.copy()
    table.meta = Catalog.open(tmp_path / "x_cat.ecsv").table.meta
    table.write(tmp_path / "library.ecsv", format="ascii.ecsv")
    assert (tmp_path / "x_cat.ecsv").read_text() == (tmp_path / "library.ecsv").read_text()


def test_a_catalog_of_others_is_read_and_written(tmp_path):
    from astropy.table import QTable

    QTable({"name": ["a star", "b"], "flux": [1.0, 2.0]}).write(tmp_path / "a.ecsv")

    again = Catalog.open(Catalog.open(tmp_path / "a.ecsv").save(tmp_path / "b.ecsv"))

    assert again.table["name"].tolist() == ["a star", "b"]


def test_an_empty_catalog_comes_back(tmp_path):
    empty = SourceCatalog().apply(mosaic([], (20, 20)), apcorr=apcorr())["cat"]

    back = Catalog.open(empty.save(tmp_path / "empty_cat.ecsv"))

    assert len(back) == 0
    assert back.table.colnames == empty.table.colnames


def test_evolving_leaves_the_first_catalog_alone(made):
    changed = made["cat"].evolve(meta={"instrument.filter": "F2"})

    assert changed.meta.instrument.filter == "F2"
    assert made["cat"].meta.instrument.filter == "F1"
    assert changed.table is made["cat"].table


def test_a_catalog_is_written_as_ecsv_only(made, tmp_path):
    with pytest.raises(OutputError, match=r"\.ecsv"):
        made["cat"].save(tmp_path / "x_cat.fits")

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "kind"),
    [(None, DataError), (b"\xff\xfe\x00", CorruptFileError), (b"x y\n1 2\n", CorruptFileError)],
)
def test_what_is_no_catalog_is_refused(tmp_path, content, kind):
    path = tmp_path / "x_cat.ecsv"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(kind) as caught:
        Catalog.open(path)

    assert str(path) in caught.value.place


def test_a_run_saves_the_catalog_and_the_map_and_notes_how(field, tmp_path):
    image = models.open(field.save(tmp_path / "field_i2d.fits"))
    reference = apcorr().save(tmp_path / "apcorr.fits")

    outcome = SourceCatalog(
        npixels=9,
        override_apcorr=str(reference),
        override_abvegaoffset="N/A",
        save_results=True,
        output_dir=str(tmp_path),
    ).run(image)

    assert outcome.status is Status.DONE
    written = {path.suffix: path for path in outcome.written}
    assert {path.stem.rpartition("_")[2] for path in outcome.written} == {"cat", "segm"}
    catalog = Catalog.open(written[".ecsv"])
    assert len(catalog) == len(FIELD)
    assert catalog.record["steps"][0]["name"] == "source_catalog"
    labels = models.open(written[".fits"])
    assert labels.data.max() == len(FIELD)
    x, y = models.wcs_of(labels).world_to_pixel_values(*models.wcs_of(image)(50, 60))
    assert_allclose([x, y], [50, 60], atol=1e-6)
    assert "source_catalog" not in field.meta.cal_step.flat()
