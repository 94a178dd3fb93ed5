"""One field on the sky: exposures, references and truth belong together."""

import dataclasses

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from numpy.testing import assert_allclose, assert_array_equal

from lightmill import simulate
from lightmill.errors import ConfigurationError, UnknownNameError
from lightmill.simulate.focal_plane import FocalPlane

STARS = {"stars": 700.0, "galaxies": 0.0, "saturated": 0, "size": 192}


@pytest.fixture(scope="module")
def night(tmp_path_factory, facts_named):
    """The tiny scene: facts, and the exposures made."""
    facts = facts_named("jwst/niriss")
    folder = tmp_path_factory.mktemp("night")
    return facts, simulate.observe(facts, "imaging-tiny", seed=1, directory=folder, level="rate")


def small(facts):
    """The same detector with a quarter of the rows and columns: maps of all of it are cheap."""
    geometry = dataclasses.replace(facts.geometry, rows=512, columns=512, subarrays={})
    return dataclasses.replace(facts, geometry=geometry)


def table(path, name):
    return Table.read(path, name)


def pointing_of(made):
    rows = table(made.sky, "POINTING")
    return rows[rows["exposure"] == made.uncal.name][0]


def seen_by_files(made, ra, dec, *, true=True):
    """Positions by the distortion file and the keywords alone, as a calibration has to get them."""
    import asdf

    header, row = fits.getheader(made.uncal, "SCI"), pointing_of(made)
    primary = fits.getheader(made.uncal)
    suffix = "true" if true else "said"
    names = ("ra", "dec", "roll")
    ra0, dec0, roll = (np.radians(row[f"{name}_{suffix}"]) for name in names)
    if not true:
        keywords = [header[k] for k in ("RA_REF", "DEC_REF", "ROLL_REF")]
        assert_allclose([ra0, dec0, roll], np.radians(keywords), rtol=1e-15)
    # the unit vectors of the reference point on the sky, and of V2 and V3 there
    r = np.array([np.cos(dec0) * np.cos(ra0), np.cos(dec0) * np.sin(ra0), np.sin(dec0)])
    east = np.array([-np.sin(ra0), np.cos(ra0), 0.0])
    north = np.cross(r, east)
    v3 = north * np.cos(roll) + east * np.sin(roll)
    v2 = np.cross(v3, r)
    ra, dec = np.radians(ra), np.radians(dec)
    e = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
    v2_ref, v3_ref = np.radians([header["V2_REF"] / 3600, header["V3_REF"] / 3600])
    # turned into the telescope's frame: about V3 of the reference point by V3_REF, then by V2_REF
    a, b, c = e @ r, e @ v2, e @ v3
    a, c = a * np.cos(v3_ref) - c * np.sin(v3_ref), c * np.cos(v3_ref) + a * np.sin(v3_ref)
    lon = np.degrees(np.arctan2(b, a) + v2_ref) * 3600
    lat = np.degrees(np.arcsin(c)) * 3600
    scale = header["VA_SCALE"]
    lon = header["V2_REF"] + (lon - header["V2_REF"]) / scale
    lat = header["V3_REF"] + (lat - header["V3_REF"]) / scale
    with asdf.open(made.references["distortion"]) as file:
        x, y = file["model"].inverse(lon, lat)
    with asdf.open(made.references["filteroffset"]) as file:
        wheels = {k.lower(): primary[k] for k in ("FILTER", "PUPIL") if k in primary}
        (shift,) = [f for f in file["filters"] if all(f[k] == v for k, v in wheels.items())]
    x = x - shift["column_offset"] - primary["SUBSTRT1"] + 1
    return x, y - shift["row_offset"] - primary["SUBSTRT2"] + 1


@pytest.mark.filterwarnings("ignore::asdf.exceptions.AsdfPackageVersionWarning")
@pytest.mark.parametrize("name", ["jwst/niriss", "jwst/nircam", "jwst/miri"])
def test_files_and_keywords_put_each_source_where_it_shines(name, facts_named, tmp_path):
    facts = small(facts_named(name))
    for made in simulate.observe(
        facts,
        "imaging-tiny",
        seed=2,
        directory=tmp_path,
        level="rate",
        filters=tuple(facts.filters)[:2],
        dithers=((0.3, -0.4),),
        rolls=(3.0,),
        pointing_error=0.0,
        roll_error=0.0,
        **STARS,
    ):
        catalog = table(made.truth, "CATALOG")
        shows = (np.abs(catalog["x"] - 96) < 96) & (np.abs(catalog["y"] - 96) < 96)
        catalog = catalog[shows]

        x, y = seen_by_files(made, np.array(catalog["ra"]), np.array(catalog["dec"]))

        assert len(catalog) > 10
        # the inverse polynomial of the file is good to a millionth of a pixel (0.1 uas)
        assert_allclose(x, catalog["x"], atol=1e-5)
        assert_allclose(y, catalog["y"], atol=1e-5)


def test_headers_are_wrong_by_the_pointing_error(night):
    _, exposures = night
    distances = []
    for made in exposures:
        catalog, row = table(made.truth, "CATALOG"), pointing_of(made)
        x, y = seen_by_files(made, np.array(catalog["ra"]), np.array(catalog["dec"]), true=False)
        moved = np.hypot(x - catalog["x"], y - catalog["y"]) * 0.0656
        off = np.hypot(row["east"], row["north"])
        # a roll error of some thousandths of a degree over 12 arcseconds adds a milliarcsecond
        assert_allclose(moved, off, atol=0.004, rtol=0.02)
        distances.append(off)
    assert 0.02 < np.sqrt(np.mean(np.square(distances))) < 0.3  # four draws around 0.12


def test_a_star_gives_the_same_electrons_wherever_it_falls(near_infrared, tmp_path):
    # physics: an aperture of 15 pixels holds the same part of every star, whatever the pixels' area
    facts = dataclasses.replace(
        small(near_infrared),
        distortion={"x": {"20": 8.0}, "y": {"02": 6.0}},  # ten times what is real
    )
    scene = simulate.Scene(
        "lone", "stars", stars=100.0, galaxies=0.0, saturated=0, showpieces=0, size="full",
        filters=("F200W",), effects=simulate.Effects.none(),
    )  # fmt: skip
    (made,) = simulate.observe(facts, scene, seed=5, directory=tmp_path, level="rate")
    rate, area = fits.getdata(made.truth, "RATE"), fits.getdata(made.truth, "AREA")
    qe, sky = fits.getdata(made.truth, "QE"), fits.getval(made.truth, "SKY")
    light = rate * facts.pixels.gain / np.where(qe > 0, qe, np.nan) - sky * area
    catalog = table(made.truth, "CATALOG")
    y, x = np.indices(rate.shape)

    ratios, areas = [], []
    for star in catalog:
        near = np.hypot(catalog["x"] - star["x"], catalog["y"] - star["y"]) < 45
        inside = 30 < star["x"] < 481 and 30 < star["y"] < 481
        if inside and near.sum() == 1:
            box = np.hypot(x - star["x"], y - star["y"]) < 15
            ratios.append(light[box].sum() / star["flux"])
            areas.append(area[round(star["y"]), round(star["x"])])

    assert len(ratios) > 5
    assert np.ptp(areas) > 0.03
    assert_allclose(ratios, np.median(ratios), rtol=3e-3)  # pixels cut by the circle's edge


def test_an_even_sky_divided_by_the_flat_is_even(night):
    facts, exposures = night
    made = exposures[0]
    with fits.open(made.references["flat"]) as file:
        flat, dq = file["SCI"].data, file["DQ"].data
        meaning = {row["NAME"].strip(): row["VALUE"] for row in file["DQ_DEF"].data}
    truth = {name: fits.getdata(made.truth, name) for name in ("QE", "AREA", "GAIN")}
    sky = fits.getval(made.truth, "SKY")

    brightness = sky * truth["AREA"] * truth["QE"] / truth["GAIN"] / flat

    good = dq == 0
    # the flat was measured to a thousandth
    assert_allclose(brightness[good].mean(), sky / facts.pixels.gain, rtol=1e-4)
    assert_allclose(brightness[good].std() / brightness[good].mean(), 1e-3, rtol=0.05)
    assert_array_equal((dq & meaning["NO_FLAT_FIELD"]) > 0, truth["QE"] == 0)
    assert np.isnan(flat[~good]).all()


def test_the_area_map_is_that_of_the_whole_detector(night):
    facts, exposures = night
    made = exposures[0]
    whole, own = fits.getdata(made.references["area"]), fits.getdata(made.truth, "AREA")
    header = fits.getheader(made.uncal)
    top, left = header["SUBSTRT2"] - 1, header["SUBSTRT1"] - 1

    assert whole.shape == (facts.geometry.rows, facts.geometry.columns)
    assert_array_equal(whole[top : top + own.shape[0], left : left + own.shape[1]], own)
    # solid angle from the corners of pixels on the sky
    plane = FocalPlane.of(facts)
    x, y = np.array([100.0, 1000.0, 2000.0]), np.array([2000.0, 900.0, 50.0])
    corners = [plane.v2v3(x + dx, y + dy) for dx, dy in ((-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5))]
    (a2, a3), (b2, b3), (c2, c3) = corners
    square = np.abs((b2 - a2) * (c3 - a3) - (b3 - a3) * (c2 - a2)) * np.cos(np.radians(a3 / 3600))
    expected = square / facts.optics.pixel_scale**2
    assert_allclose(whole[y.astype(int), x.astype(int)], expected, rtol=1e-5)


def test_counts_become_the_flux_of_the_catalog(night):
    # by hand: rate over flat, times PHOTMJSR, times the solid angle, in an aperture
    _, exposures = night
    made = exposures[0]
    rate, area = (fits.getdata(made.truth, name) for name in ("RATE", "AREA"))
    flat = fits.getdata(made.references["flat"])
    photom, apcorr = table(made.references["photom"], 1), table(made.references["apcorr"], 1)
    factor = photom["photmjsr"][photom["pupil"] == "F200W"][0]
    steradian = fits.getval(made.references["photom"], "PIXAR_SR")
    rows = apcorr[apcorr["pupil"] == "F200W"]
    jansky = rate / flat * factor * area * steradian * 1e6
    catalog, sources = table(made.truth, "CATALOG"), table(made.sky, "SOURCES")
    flux = sources["flux_f200w"][np.searchsorted(sources["id"], catalog["id"])]
    y, x = np.indices(rate.shape)

    ratios = []
    for star, true in zip(catalog, flux, strict=True):
        r = np.hypot(x - star["x"], y - star["y"])
        distance = np.hypot(catalog["x"] - star["x"], catalog["y"] - star["y"])
        lonely = flux[distance < 14].sum() < 1.03 * true
        lonely &= (np.abs(star["x"] - 127.5) < 108) & (np.abs(star["y"] - 127.5) < 108)
        if star["kind"] != "STAR" or not lonely or not np.isfinite(jansky[r < 8]).all():
            continue
        ring = (r > rows["skyin"][0]) & (r < rows["skyout"][0])
        level = np.nanmedian(jansky[ring])
        # a large aperture: the smaller ones are for the broader stars of a mosaic
        ratios.append(np.sum(jansky[r < 7] - level) / true)

    assert len(ratios) >= 5
    # 93 % of the light is within 7 pixels; stars nearby and whole pixels at the edge blur it
    assert_allclose(np.median(ratios), 0.927, atol=0.02)


def test_aperture_corrections_grow_with_the_wavelength_and_end_at_one(night):
    _, exposures = night
    rows = table(exposures[0].references["apcorr"], 1)

    radius = {name: rows["radius"][rows["pupil"] == name] for name in ("F115W", "F200W")}
    assert (np.diff(radius["F200W"]) > 0).all()
    assert (radius["F200W"] > radius["F115W"]).all()
    # the sky annulus holds a little of the star: more than 1 / fraction
    assert (rows["apcorr"] * rows["eefraction"] > 1).all()
    assert (rows["apcorr"] * rows["eefraction"] < 1.01).all()


def test_errors_are_the_noise(night):
    _, exposures = night
    for made in exposures:
        with fits.open(made.uncal) as file, fits.open(made.truth) as truth:
            sci, err, dq = (file[name].data for name in ("SCI", "ERR", "DQ"))
            variance = file["VAR_POISSON"].data + file["VAR_RNOISE"].data
            true, rays = truth["RATE"].data, truth["RAYS"].data
        assert_allclose(err**2, variance, rtol=1e-5)
        assert_array_equal(np.isnan(sci), (dq & 1) > 0)
        clean = (dq & 1) == 0
        clean[rays["y"], rays["x"]] = False
        clean &= dq < 1 << 31
        pull = (sci - true)[clean] / err[clean]
        # 6e4 pixels: mean to 0.004, width to 0.003; the bright tail of Poisson noise is skewed
        assert abs(pull.mean()) < 0.02
        assert_allclose(pull.std(), 1.0, atol=0.02)


def test_the_rays_nobody_flagged_are_in_the_truth(night):
    _, exposures = night
    stands_out = []
    for made in exposures:
        with fits.open(made.uncal) as file, fits.open(made.truth) as truth:
            sci, err, dq = (file[name].data for name in ("SCI", "ERR", "DQ"))
            true, rays = truth["RATE"].data, truth["RAYS"].data
        flagged = rays["flagged"] > 0
        is_flagged = (dq & 4) > 0
        assert is_flagged[rays["y"][flagged], rays["x"][flagged]].all()
        assert not is_flagged[rays["y"][~flagged], rays["x"][~flagged]].any()
        assert is_flagged.sum() == flagged.sum()
        missed = rays[~flagged & ((dq[rays["y"], rays["x"]] & 1) == 0)]
        excess = (sci - true)[missed["y"], missed["x"]]
        stands_out += list((excess - missed["rate"]) / err[missed["y"], missed["x"]])
    assert len(stands_out) > 20
    assert np.abs(stands_out).max() < 5  # what remains is noise


def test_rolls_are_visits_and_filters_are_activities(near_infrared, tmp_path):
    made = simulate.observe(
        small(near_infrared),
        "imaging-tiny",
        seed=1,
        directory=tmp_path,
        level="rate",
        size=64,
        filters=("F150W", "F200W"),
    )

    headers = [fits.getheader(one.uncal) for one in made]
    names = [one.uncal.name for one in made]
    assert names == [
        f"jw99001001{visit:03d}_021{activity}_{number:05d}_nis_rate.fits"
        for visit in (1, 2)
        for activity in ("01", "03")
        for number in (1, 2)
    ]
    assert [h["PUPIL"] for h in headers] == ["F150W", "F150W", "F200W", "F200W"] * 2
    assert [h["PATT_NUM"] for h in headers] == [1, 2, 1, 2, 3, 4, 3, 4]
    assert {h["NUMDTHPT"] for h in headers} == {4}
    assert np.all(np.diff([h["EXPSTART"] for h in headers]) > 0)
    rolls = table(made[0].sky, "POINTING")["roll_said"]
    assert_allclose(rolls[4:] - rolls[:4], 5.0, atol=1e-3)  # the V3 axis turns over the field


def test_two_detectors_look_at_one_sky_beside_each_other(averaging, tmp_path):
    made = simulate.observe(
        small(averaging),
        "mosaic",
        seed=1,
        directory=tmp_path,
        level="rate",
        size=64,
        dithers=((0.0, 0.0), (1.0, 0.5)),
    )

    rows = table(made[0].sky, "POINTING")
    assert len({one.sky for one in made}) == 1
    assert [fits.getval(one.uncal, "DETECTOR") for one in made] == ["NRCA1"] * 2 + ["NRCA2"] * 2
    # they share each exposure's error, as one rigid telescope: on the sky, to what a roll error
    # of 7 arcseconds does over the 68 arcseconds between them, 2.4 mas for each sigma
    assert_allclose(rows["east"][:2], rows["east"][2:], atol=0.01)
    assert_allclose(rows["north"][:2], rows["north"][2:], atol=0.01)
    assert_allclose(rows["turn"][:2], rows["turn"][2:], rtol=1e-3)
    # the centres of the corners that are read: 68 arcseconds apart, as V3 has it
    first, second = (table(one.truth, "CATALOG") for one in (made[0], made[2]))
    apart = np.hypot(
        (rows["ra_true"][0] - rows["ra_true"][2]) * np.cos(np.radians(rows["dec_true"][0])),
        rows["dec_true"][0] - rows["dec_true"][2],
    )
    assert_allclose(apart * 3600, 67.9, atol=1.0)
    assert len(first)
    assert len(second)


@pytest.mark.parametrize("place", [(0.0003, 12.0), (200.0, 89.9995), (17.0, -90.0)])
def test_fields_at_a_pole_and_at_zero_hours_are_like_any_other(near_infrared, place, tmp_path):
    scene = dataclasses.replace(
        simulate.Scene.named("imaging-tiny"), ra=place[0], dec=place[1], size=64
    )

    made = simulate.observe(
        small(near_infrared),
        scene,
        seed=3,
        directory=tmp_path,
        level="rate",
        dithers=((0, 0),),
        rolls=(),
    )

    catalog = table(made[0].truth, "CATALOG")
    inside = (catalog["x"] > 0) & (catalog["x"] < 63) & (catalog["y"] > 0) & (catalog["y"] < 63)
    assert inside.sum() >= 2
    row = pointing_of(made[0])
    assert np.hypot(row["east"], row["north"]) < 0.6  # five sigma
    x, y = seen_by_files(made[0], np.array(catalog["ra"]), np.array(catalog["dec"]))
    assert_allclose(x[inside], catalog["x"][inside], atol=1e-5)
    assert_allclose(y[inside], catalog["y"][inside], atol=1e-5)


def test_the_shape_of_a_galaxy_is_that_on_the_sky(near_infrared, tmp_path):
    scene = simulate.Scene(
        "galaxies", "round", stars=0, saturated=0, galaxies=400.0, showpieces=0, size=128,
        filters=("F200W",),
    )  # fmt: skip
    (made,) = simulate.observe(
        small(near_infrared), scene, seed=3, directory=tmp_path, level="rate"
    )
    sources, seen = table(made.sky, "SOURCES"), table(made.truth, "CATALOG")
    sources = sources[np.searchsorted(sources["id"], seen["id"])]

    # the ends of the long axis, on the sky and by the keywords of the linear WCS
    angle = np.radians(sources["angle"])
    step = sources["radius"] / 3600
    ra = sources["ra"] + step * np.sin(angle) / np.cos(np.radians(sources["dec"]))
    x1, y1 = seen_by_files(made, np.array(ra), np.array(sources["dec"] + step * np.cos(angle)))
    dx, dy = x1 - seen["x"], y1 - seen["y"]

    # a flat ellipse's long axis hardly changes under a distortion of a percent
    flat = sources["axis_ratio"] < 0.6
    assert flat.sum() > 3
    assert_allclose(np.hypot(dx, dy)[flat], seen["radius"][flat], rtol=5e-3)
    turn = np.arctan2(dy, dx) - seen["angle"]
    assert_allclose(np.sin(turn)[flat], 0, atol=0.02)


def test_colours_are_the_ratio_of_fluxes(night):
    _, exposures = night
    sources = table(exposures[0].sky, "SOURCES")

    assert_allclose(sources["abmag_f200w"], -2.5 * np.log10(sources["flux_f200w"] / 3631.0))
    assert set(np.unique(sources["kind"])) == {b"STAR", b"GALAXY"}


def test_the_same_seed_gives_the_same_files(near_infrared, tmp_path):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        made = simulate.observe(
            small(near_infrared), "imaging-tiny", seed=4, directory=folder, level="rate", size=64
        )
        cache = simulate.write_cache(tmp_path / "crds", near_infrared, made)
        assert cache.context == "jwst_0001.pmap"

    one, two = (fits.open(min(folder.glob("*_rate.fits"))) for folder in folders)
    with one, two:
        for a, b in zip(one[1:-1], two[1:-1], strict=True):  # the last says when it was written
            assert a.data.tobytes() == b.data.tobytes()


def test_raw_exposures_have_the_references_of_every_stage(near_infrared, tmp_path):
    made = simulate.exposure(
        small(near_infrared), "imaging-tiny", seed=1, directory=tmp_path, size=64
    )

    assert made.uncal.name.endswith("_uncal.fits")
    assert {"dark", "linearity", "distortion", "flat", "photom", "apcorr"} <= set(made.references)
    with fits.open(made.uncal) as file, fits.open(made.truth) as truth:
        seconds = file[0].header["TGROUP"]
        data, true = file["SCI"].data[0].astype(float), truth["RATE"].data
        usable = truth["CLASS"].data == 0
    rise = np.median((data[-1] - data[0])[usable]) / (len(data) - 1) / seconds
    # the dark is small; a column of drifts between groups stays: 6 DN / 5 s of a window this small
    assert_allclose(rise, np.median(true[usable]), rtol=0.2)


def test_a_scene_without_filters_has_count_rates_too(mid_infrared, tmp_path):
    (made,) = simulate.observe(
        mid_infrared, "minimal", seed=1, directory=tmp_path, level="rate", size=64
    )

    assert fits.getval(made.uncal, "FILTER") == "F770W"
    assert np.isfinite(fits.getdata(made.uncal)).mean() > 0.9


def test_what_cannot_be_observed_is_refused(near_infrared, averaging, tmp_path):
    def observe(facts, scene="imaging-tiny", **changes):
        simulate.observe(facts, scene, seed=1, directory=tmp_path, **changes)

    with pytest.raises(UnknownNameError, match="did you mean 'F200W'"):
        observe(near_infrared, filters=("F200V",))
    with pytest.raises(UnknownNameError, match="NRCA2"):
        observe(averaging, "mosaic", detectors=("NRCA22",))
    with pytest.raises(ConfigurationError, match="each dither needs its roll"):
        observe(near_infrared, rolls=(0.0, 1.0))
    with pytest.raises(ConfigurationError, match="uncal or rate"):
        observe(near_infrared, level="cal")
    with pytest.raises(ConfigurationError, match="an exposure"):
        observe(near_infrared, dithers=(), rolls=())
    facts = dataclasses.replace(near_infrared, distortion={"x": {"xy": 1.0}})
    with pytest.raises(ConfigurationError, match="no term of a distortion"):
        observe(facts)
    assert not list(tmp_path.iterdir())
