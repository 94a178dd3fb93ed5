import asdf
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.modeling import models as astropy_models
from astropy.wcs import WCS
from numpy.testing import assert_allclose

from lightmill import models
from lightmill.errors import CorruptFileError, DataError
from lightmill.imaging import AssignWcs
from lightmill.models import CalModel, RateModel, wcs_of
from lightmill.pipeline import Status
from lightmill.testing import make_ramp

SCALE = 0.065  # arcsec per pixel
V2, V3 = -290.0, -697.0  # arcsec
CENTER = 20.0, 12.0  # pixel of the detector that the reference point falls on
MAS = 1 / 3.6e6  # degree


def pointing(ra=80.0, dec=-69.5, roll=35.0, scale=None):
    told = {"v2_ref": V2, "v3_ref": V3, "ra_ref": ra, "dec_ref": dec, "roll_ref": roll}
    meta = {f"wcsinfo.{name}": value for name, value in told.items()}
    return meta | ({} if scale is None else {"velocity_aberration.scale_factor": scale})


def make_image(shape=(24, 40), **meta):
    ramp = make_ramp(shape=shape)
    image = CalModel(meta=ramp.meta, data=np.ones(shape, np.float32))
    image.meta.update({"subarray.xstart": 1, "subarray.ystart": 1})
    image.meta.update(meta)
    return image


def plain(bend=0.0):
    """From pixels to V2, V3: the reference point at CENTER, and a distortion of `bend` pixels."""
    x = astropy_models.Polynomial2D(
        2, c1_0=SCALE, c2_0=bend * SCALE / 400, c0_2=-bend * SCALE / 900
    )
    y = astropy_models.Polynomial2D(2, c0_1=SCALE, c1_1=bend * SCALE / 600)
    shift = astropy_models.Shift
    return (
        shift(-CENTER[0]) & shift(-CENTER[1])
        | astropy_models.Mapping((0, 1, 0, 1))
        | x & y
        | shift(V2) & shift(V3)
    )


def exact():
    """The same without distortion, of parts that know their inverse."""
    shift, scale = astropy_models.Shift, astropy_models.Scale
    return (
        shift(-CENTER[0]) & shift(-CENTER[1]) | scale(SCALE) & scale(SCALE) | shift(V2) & shift(V3)
    )


@pytest.fixture
def write(tmp_path):
    def write(name="distortion", storage="inline", standard=None, **tree):
        path = tmp_path / f"{name}.asdf"
        meta = {"reftype": name, "instrument": {"name": "GLOWCAM"}}
        file = asdf.AsdfFile({"meta": meta, **tree}, version=standard)
        file.write_to(path, all_array_storage=storage)
        return str(path)

    return write


@pytest.fixture
def assign(write):
    def assign(image, model=None, offsets=None, **parameters):
        shifts = "N/A" if offsets is None else write("filteroffset", filters=offsets)
        reference = write(model=exact() if model is None else model)
        step = AssignWcs(**parameters)
        return step.run(image, override_distortion=reference, override_filteroffset=shifts).model

    return assign


def sky(model, x, y):
    return SkyCoord(*wcs_of(model).pixel_to_world_values(x, y), unit="deg")


@pytest.mark.parametrize(
    ("ra", "dec"), [(80.0, -69.5), (0.0002, 12.0), (359.9999, 0.0), (211.0, 89.9995), (30.0, -90.0)]
)
def test_the_reference_point_is_where_the_telescope_looked_and_v3_at_its_roll(assign, ra, dec):
    # physics: V3 has the position angle ROLL_REF at the reference point; a pixel is SCALE of it
    image = make_image(**pointing(ra, dec, 35.0))

    result = assign(image)

    here, there = sky(result, *CENTER), sky(result, CENTER[0], CENTER[1] + 10)
    assert here.separation(SkyCoord(ra, dec, unit="deg")).mas < 0.01
    assert_allclose(here.separation(there).arcsec, 10 * SCALE, rtol=1e-9)
    if abs(dec) < 90:  # position angles mean nothing at the pole itself
        difference = (here.position_angle(there).deg - 35.0 + 180) % 360 - 180
        assert abs(difference) < 1e-6  # deg: rounding of coordinates over 0.65 arcsec


def test_v2_grows_a_quarter_turn_east_of_v3(assign):
    result = assign(make_image(**pointing(roll=35.0)))

    here, there = sky(result, *CENTER), sky(result, CENTER[0] + 10, CENTER[1])
    # 10 pixels along V2 are an arc shorter by the cosine of V3, and turned by half its curvature
    assert_allclose(
        here.separation(there).arcsec, 10 * SCALE * np.cos(np.deg2rad(V3 / 3600)), rtol=1e-8
    )
    assert_allclose(here.position_angle(there).deg, 125.0, atol=1e-5)


def test_velocity_aberration_scales_the_field_about_the_reference_point(assign):
    still, moving = (assign(make_image(**pointing(scale=s))) for s in (None, 1.0001))

    here = sky(moving, *CENTER)
    assert here.separation(sky(still, *CENTER)).mas < 1e-3
    ratio = here.separation(sky(moving, 3, 20)) / here.separation(sky(still, 3, 20))
    assert_allclose(ratio, 1.0001, rtol=1e-8)  # the sphere is flat to 1e-9 over 1 arcsec


def test_a_pixel_of_the_detector_has_one_place_on_the_sky_whatever_the_subarray(assign):
    full = assign(make_image(**pointing()), plain(bend=2.0))
    window = make_image((10, 16), **pointing(), **{"subarray.xstart": 9, "subarray.ystart": 5})

    part = assign(window, plain(bend=2.0))

    assert sky(part, 3.0, 4.0).separation(sky(full, 11.0, 8.0)).mas < 1e-6
    box = wcs_of(part).bounding_box.bounding_box(order="F")
    assert box == ((-0.5, 15.5), (-0.5, 9.5))


def test_a_filter_shifts_the_image(assign):
    image = make_image(**pointing(), **{"instrument.filter": "RED"})
    rows = [
        {"filter": "BLUE", "column_offset": 9.0, "row_offset": 9.0},
        {"filter": "RED", "pupil": "N/A", "column_offset": 0.25, "row_offset": -0.5},
    ]

    shifted, plainly = assign(image, offsets=rows), assign(image)

    assert sky(shifted, 10, 10).separation(sky(plainly, 10.25, 9.5)).mas < 1e-6


def test_a_filter_without_a_row_shifts_nothing(assign):
    image = make_image(**pointing(), **{"instrument.filter": "GREEN"})
    rows = [{"filter": "RED", "column_offset": 0.25, "row_offset": -0.5}]

    shifted, plainly = assign(image, offsets=rows), assign(image)

    assert sky(shifted, 10, 10).separation(sky(plainly, 10, 10)).mas < 1e-6


def test_two_shifts_for_one_filter_are_refused(assign):
    image = make_image(**pointing(), **{"instrument.filter": "RED"})
    rows = [{"filter": "RED", "column_offset": n, "row_offset": 0.0} for n in (0.0, 1.0)]

    with pytest.raises(DataError, match="several shifts"):
        assign(image, offsets=rows)


def test_the_way_back_leads_to_the_same_pixel(assign):
    result = assign(make_image(**pointing(scale=0.9999)))
    x, y = np.meshgrid(np.arange(0, 40, 7.0), np.arange(0, 24, 5.0))

    back = wcs_of(result).world_to_pixel_values(*wcs_of(result).pixel_to_world_values(x, y))

    assert_allclose(back, [x, y], atol=1e-8)  # rounding of degrees


@pytest.mark.parametrize("standard", ["1.4.0", "1.5.0", "1.6.0"])
def test_the_product_keeps_its_world_coordinates(write, tmp_path, standard):
    reference = write(standard=standard, model=plain(bend=2.0))
    result = (
        AssignWcs()
        .run(make_image(**pointing()), override_distortion=reference, override_filteroffset="N/A")
        .model
    )

    again = models.open(result.save(tmp_path / "image_cal.fits"))

    assert wcs_of(again).available_frames == ["detector", "v2v3", "v2v3vacorr", "world"]
    assert sky(again, 7.5, 3.25).separation(sky(result, 7.5, 3.25)).mas < 1e-6
    assert again.meta.wcsinfo.s_region == result.meta.wcsinfo.s_region


def test_the_keywords_agree_with_the_world_coordinates(assign, tmp_path):
    # two pixels of distortion at the edge; asked for: a hundredth of a pixel
    result = assign(make_image(**pointing()), plain(bend=2.0))
    x, y = np.meshgrid(np.arange(40.0), np.arange(24.0))

    header = fits.getheader(result.save(tmp_path / "image_cal.fits"), "SCI")
    by_keywords = SkyCoord(*WCS(header).all_pix2world(x, y, 0), unit="deg")

    assert header["CTYPE1"] == "RA---TAN-SIP"
    assert by_keywords.separation(sky(result, x, y)).arcsec.max() < 0.01 * SCALE


def test_keywords_of_an_earlier_linear_system_are_gone(assign, tmp_path):
    old = {"wcsinfo.cdelt1": 1.0, "wcsinfo.pc1_1": 0.5, "wcsinfo.a_order": 4, "wcsinfo.a_3_1": 0.1}
    result = assign(make_image(**pointing(), **old))

    header = fits.getheader(result.save(tmp_path / "image_cal.fits"), "SCI")

    assert not {"CDELT1", "PC1_1", "A_ORDER", "A_3_1"} & set(header)


def test_the_reference_pixel_of_the_header_stays(assign):
    image = make_image(**pointing(), **{"wcsinfo.crpix1": 5.0, "wcsinfo.crpix2": 8.0})

    result = assign(image)

    told = result.meta.wcsinfo
    assert (told.crpix1, told.crpix2) == (5.0, 8.0)
    assert (
        sky(result, 4.0, 7.0).separation(SkyCoord(told.crval1, told.crval2, unit="deg")).mas < 0.01
    )


def test_keywords_that_cannot_come_close_are_told(assign, caplog):
    image = make_image(**pointing())

    assign(image, plain(bend=2.0), sip_degree=1, sip_max_pix_error=1e-3)

    assert "off by up to" in caplog.text


def test_no_approximation_where_none_is_wanted(assign):
    result = assign(make_image(**pointing()), sip_approx=False)

    assert result.meta.wcsinfo.crval1 is None
    assert result.meta.wcsinfo.s_region.startswith("POLYGON ICRS")


def test_the_outline_holds_the_outer_corners_of_the_image(assign):
    result = assign(make_image(**pointing(0.0001, 5.0)))

    numbers = np.array(result.meta.wcsinfo.s_region.split()[2:], float).reshape(4, 2)
    corners = SkyCoord(numbers, unit="deg")
    expected = sky(result, [-0.5, -0.5, 39.5, 39.5], [-0.5, 23.5, 23.5, -0.5])
    assert corners.separation(expected).mas.max() < 0.01  # nine decimals
    assert (numbers[:, 0] >= 0).all()
    assert (numbers[:, 0] < 360).all()


@pytest.mark.parametrize("standard", ["1.4.0", "1.5.0", "1.6.0"])
@pytest.mark.parametrize("storage", ["inline", "internal"])
def test_a_reference_may_be_of_any_age_and_keep_its_arrays_anywhere(write, storage, standard):
    image = make_image(**pointing())
    reference = write(storage=storage, standard=standard, model=plain(bend=2.0))

    result = (
        AssignWcs().run(image, override_distortion=reference, override_filteroffset="N/A").model
    )

    offset = sky(result, *CENTER).separation(sky(result, 30.0, 12.0)).arcsec
    assert_allclose(
        offset, SCALE * (10 + 2.0 * 100 / 400) * np.cos(np.deg2rad(V3 / 3600)), rtol=1e-6
    )


def test_a_transform_of_an_unusual_kind_is_evaluated_too(assign):
    # Chebyshev polynomials: T1(x) = x, so this is the plain distortion in other words
    x = astropy_models.Chebyshev2D(1, 1, c1_0=SCALE)
    y = astropy_models.Chebyshev2D(1, 1, c0_1=SCALE)
    shift = astropy_models.Shift
    unusual = (
        shift(-CENTER[0]) & shift(-CENTER[1])
        | astropy_models.Mapping((0, 1, 0, 1))
        | x & y
        | shift(V2) & shift(V3)
    )
    image = make_image(**pointing())

    result, known = assign(image, unusual), assign(image)

    assert sky(result, 3.0, 4.0).separation(sky(known, 3.0, 4.0)).mas < 1e-6
    assert result.meta.wcsinfo.s_region == known.meta.wcsinfo.s_region
    assert_allclose(result.meta.wcsinfo.cd1_1, known.meta.wcsinfo.cd1_1, rtol=1e-9)


def test_the_limits_of_the_reference_hold_for_the_whole_detector(assign):
    limited = exact()
    limited.bounding_box = ((-0.5, 23.5), (3.5, 35.5))  # y first, as astropy has it

    result = assign(make_image(**pointing()), limited)

    assert wcs_of(result).bounding_box.bounding_box(order="F") == ((3.5, 35.5), (-0.5, 23.5))


def test_the_given_image_stays_as_it_was(assign):
    image = make_image(**pointing())

    assign(image)

    assert wcs_of(image) is None
    assert image.meta.wcsinfo.s_region is None


def test_without_a_pointing_the_headers_own_coordinates_stay(write):
    image = make_image(**{"wcsinfo.crval1": 12.0, "wcsinfo.ctype1": "RA---TAN"})

    outcome = AssignWcs().run(
        image, override_distortion=write(model=exact()), override_filteroffset="N/A"
    )

    assert outcome.status is Status.SKIPPED
    assert "pointing" in outcome.reason
    assert outcome.model.meta.wcsinfo.crval1 == 12.0


def test_without_a_distortion_reference_the_headers_own_coordinates_stay():
    image = make_image(**{"wcsinfo.crval1": 12.0})

    outcome = AssignWcs().run(image, override_distortion="N/A", override_filteroffset="N/A")

    assert outcome.status is Status.SKIPPED
    assert "distortion" in outcome.reason


def test_half_a_pointing_is_an_error(assign):
    image = make_image(**{"wcsinfo.v2_ref": V2, "wcsinfo.ra_ref": 3.0})

    with pytest.raises(DataError, match="not complete") as caught:
        assign(image)

    assert "ROLL_REF" in str(caught.value)


def test_an_aberration_that_is_no_scale_is_an_error(assign):
    with pytest.raises(DataError, match="velocity aberration"):
        assign(make_image(**pointing(scale=-1.0)))


def test_a_distortion_reference_without_transform_is_an_error(write):
    with pytest.raises(CorruptFileError, match="no transform"):
        AssignWcs().run(
            make_image(**pointing()),
            override_distortion=write(other=exact()),
            override_filteroffset="N/A",
        )


def test_count_rates_become_an_image(write):
    ramp = make_ramp(shape=(24, 40))
    rate = RateModel(meta=ramp.meta, data=np.ones((24, 40), np.float32))
    rate.meta.update({"subarray.xstart": 1, "subarray.ystart": 1})

    outcome = AssignWcs().run(
        rate, override_distortion=write(model=exact()), override_filteroffset="N/A"
    )

    assert isinstance(outcome.model, CalModel)
    assert outcome.model.meta.bunit_data == "DN/s"


def test_turned_by_a_unit_the_sky_is_a_unit_away(assign):
    # a telescope that looks one degree further north sees everything one degree further north
    first, second = (assign(make_image(**pointing(100.0, dec, 0.0))) for dec in (0.0, 1.0))

    moved = sky(first, 5.0, 5.0).spherical_offsets_to(sky(second, 5.0, 5.0))

    assert_allclose(moved[1].to_value(u.deg), 1.0, atol=100 * MAS)  # the parallels converge
