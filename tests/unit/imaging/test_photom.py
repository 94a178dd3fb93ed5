import numpy as np
import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lightmill import models
from lightmill.errors import DataError
from lightmill.imaging import CalibrateFlux
from lightmill.imaging.photom import row_for, throughput
from lightmill.models import AreaModel, CalModel, PhotomModel
from lightmill.models.dq import PIXEL
from lightmill.pipeline import Status
from lightmill.testing import make_ramp

SHAPE = (6, 8)
SR_ARCSEC2 = (1 * u.sr).to_value(u.arcsec**2)
COLUMNS = [("filter", "S12"), ("pupil", "S12"), ("photmjsr", "f4"), ("uncertainty", "f4")]
ROWS = [("RED", "CLEAR", 0.5, 0.01), ("BLUE", "CLEAR", 0.25, 0.01), ("BLUE", "MASK", 2.0, 0.1)]


def make_image(value=10.0, shape=SHAPE, **meta):
    def plane(number):
        return np.full(shape, number, np.float32)

    image = CalModel(
        meta=make_ramp(shape=shape).meta,
        data=plane(value),
        err=plane(3.0),
        dq=np.zeros(shape, np.uint32),
        var_poisson=plane(5.0),
        var_rnoise=plane(3.0),
        var_flat=plane(1.0),
    )
    image.meta.update({"subarray.xstart": 1, "subarray.ystart": 1})
    image.meta.update({"instrument.filter": "RED"} | meta)
    return image


def make_photom(rows=ROWS, columns=COLUMNS, area=1e-13, **tables):
    return PhotomModel(
        meta={
            "reftype": "PHOTOM",
            "instrument.name": "GLOWCAM",
            "photometry.pixelarea_steradians": area,
            "photometry.pixelarea_arcsecsq": area * SR_ARCSEC2,
        },
        phot_table=np.array(rows, columns),
        **tables,
    )


ONE = make_photom([("RED", 0.5, 0.01), ("BLUE", 0.25, 0.01)], [COLUMNS[0], *COLUMNS[2:]])


def calibrated(image, photom=ONE, area="N/A", **parameters):
    return CalibrateFlux(**parameters).run(image, override_photom=photom, override_area=area).model


def test_count_rates_become_surface_brightness_and_errors_with_them():
    result = calibrated(make_image())

    assert_allclose(result.data, 5.0)
    assert_allclose(result.err, 1.5)
    assert_allclose(result.var_poisson, 1.25)
    assert_allclose(result.var_rnoise, 0.75)
    assert_allclose(result.var_flat, 0.25)
    assert result.meta.bunit_data == result.meta.bunit_err == "MJy/sr"


def test_the_factor_is_told_in_both_units():
    result = calibrated(make_image())

    told = result.meta.photometry
    assert_allclose(told.conversion_megajanskys, 0.5)
    expected = (0.5 * u.MJy / u.sr).to_value(u.uJy / u.arcsec**2)
    assert_allclose(told.conversion_microjanskys, expected, rtol=1e-9)
    assert_allclose(told.pixelarea_steradians, 1e-13)
    assert_allclose(told.pixelarea_arcsecsq, 1e-13 * SR_ARCSEC2)


def test_the_row_of_the_filter_is_taken():
    result = calibrated(make_image(**{"instrument.filter": "blue"}))

    assert_allclose(result.data, 2.5)


def test_an_exposure_that_no_row_is_for_stays_in_counts():
    outcome = CalibrateFlux().run(
        make_image(**{"instrument.filter": "GREEN"}), override_photom=ONE, override_area="N/A"
    )

    assert outcome.status is Status.SKIPPED
    assert "filter GREEN" in outcome.reason
    assert_array_equal(outcome.model.data, 10.0)


@pytest.mark.parametrize(
    ("facts", "row"),
    [
        ({"filter": "RED", "pupil": "CLEAR"}, 0),
        ({"filter": "BLUE", "pupil": "mask "}, 2),
        ({"filter": "RED", "pupil": "MASK"}, None),
        ({"filter": "RED"}, 0),
        ({"filter": "RED", "detector": "ONE"}, 0),
    ],
)
def test_columns_that_name_a_fact_of_the_exposure_choose_the_row(facts, row):
    assert row_for(np.array(ROWS, COLUMNS), facts) == row


def test_a_row_for_any_exposure_gives_way_to_one_for_this():
    columns = [("subarray", "S12"), ("FILTER", "S12"), ("photmjsr", "f4")]
    table = np.array([("GENERIC", "RED", 1.0), ("SMALL", "RED", 2.0), ("N/A", "", 3.0)], columns)

    assert row_for(table, {"subarray": "SMALL", "filter": "RED"}) == 1
    assert row_for(table, {"subarray": "WINDOW", "filter": "RED"}) == 0
    assert row_for(table, {"subarray": "WINDOW", "filter": "BLUE"}) == 2


def test_two_rows_for_one_exposure_are_refused():
    with pytest.raises(DataError, match="several rows"):
        calibrated(make_image(**{"instrument.filter": "BLUE"}), make_photom())


@pytest.mark.parametrize("factor", [np.nan, 0.0, -1.0])
def test_a_factor_that_is_none_is_refused(factor):
    bad = make_photom([("RED", factor, 0.0)], [COLUMNS[0], *COLUMNS[2:]])

    with pytest.raises(DataError, match="no positive number"):
        calibrated(make_image(), bad)


def test_the_area_of_pixels_comes_with_the_image_and_counts_more_than_the_table():
    relative = np.linspace(0.9, 1.1, 48, dtype=np.float32).reshape(SHAPE)
    area = AreaModel(
        meta={"reftype": "AREA", "photometry.pixelarea_steradians": 2e-13}, data=relative
    )
    area.meta.update({"subarray.xstart": 1, "subarray.ystart": 1})
    window = make_image(shape=(3, 4), **{"subarray.xstart": 3, "subarray.ystart": 2})

    result = calibrated(window, area=area)

    assert_array_equal(result.area, relative[1:4, 2:6])
    assert_allclose(result.meta.photometry.pixelarea_steradians, 2e-13)
    assert_allclose(result.meta.photometry.pixelarea_arcsecsq, 1e-13 * SR_ARCSEC2)


def test_undoing_the_calibration_gives_the_rates_back():
    back = calibrated(calibrated(make_image()), inverse=True)

    assert_allclose(back.data, 10.0)
    assert_allclose(back.var_rnoise, 3.0)
    assert back.meta.bunit_data == "DN/s"


def test_a_pixel_without_a_value_is_flagged_in_all_planes():
    image = make_image()
    image.var_rnoise[1, 2] = np.nan
    image.dq[3, 3] = PIXEL["DO_NOT_USE"]

    result = calibrated(image)

    assert result.dq[1, 2] == PIXEL["DO_NOT_USE"]
    assert np.isnan(result.data[1, 2])
    assert np.isnan(result.err[3, 3])
    assert np.isnan(result.data).sum() == 2


def test_the_given_image_stays_as_it_was():
    image = make_image()

    calibrated(image)

    assert_array_equal(image.data, 10.0)
    assert image.meta.photometry.conversion_megajanskys is None


# -- throughput lost with time ----------------------------------------------------------------


def test_a_loss_of_one_percent_a_year_brightens_by_as_much():
    loss = np.array([(60000.0, 0.01), (60000.0, 0.5)], [("t0", "f4"), ("lossperyear", "f4")])
    photom = make_photom(
        [("RED", 0.5, 0.01), ("BLUE", 0.25, 0.01)],
        [COLUMNS[0], *COLUMNS[2:]],
        timecoeff_linear=loss,
    )
    image = make_image(**{"exposure.mid_time": 60000.0 + 2 * 365.0})

    result = calibrated(image, photom)
    without = calibrated(image, photom, apply_time_correction=False)

    assert_allclose(result.data, 5.0 / 0.98, rtol=1e-6)
    assert_allclose(result.meta.photometry.conversion_megajanskys, 0.5 / 0.98)
    assert_allclose(without.data, 5.0)


@given(
    year=st.floats(0.2, 1.5),
    tsoft=st.floats(1, 100),
    alpha=st.floats(-2, 0),
    tau=st.floats(10, 1e4),
)
def test_the_laws_say_what_their_coefficients_are_called(year, tsoft, alpha, tau):
    power = {"t0": 100.0, "year1value": year, "tsoft": tsoft, "alpha": alpha}
    decay = {"t0": 100.0, "amplitude": 0.3, "tau": tau, "const": 0.7}

    assert_allclose(throughput({"timecoeff_powerlaw": power}, 465.0), year)
    assert_allclose(throughput({"timecoeff_exponential": decay}, 100.0), 1.0)
    assert_allclose(throughput({"timecoeff_exponential": decay}, 100.0 + tau), 0.7 + 0.3 / np.e)
    both = {"timecoeff_powerlaw": power, "timecoeff_exponential": decay}
    assert_allclose(
        throughput(both, 465.0), year * throughput({"timecoeff_exponential": decay}, 465.0)
    )


def test_a_loss_in_the_file_is_found(tmp_path):
    loss = np.array([(60000.0, 0.1)] * 3, [("t0", "f4"), ("lossperyear", "f4")])
    path = make_photom(timecoeff_linear=loss).save(tmp_path / "photom.fits")

    again = models.open(path)

    assert_allclose(again.timecoeff_linear["lossperyear"], 0.1)


def test_a_loss_without_the_time_of_the_exposure_is_an_error():
    loss = np.array([(60000.0, 0.1)] * 2, [("t0", "f4"), ("lossperyear", "f4")])
    photom = make_photom(
        [("RED", 0.5, 0.01), ("BLUE", 0.25, 0.01)],
        [COLUMNS[0], *COLUMNS[2:]],
        timecoeff_linear=loss,
    )

    with pytest.raises(DataError, match="time of the exposure"):
        calibrated(make_image(), photom)


def test_a_loss_of_another_table_is_an_error():
    loss = np.array([(60000.0, 0.1)], [("t0", "f4"), ("lossperyear", "f4")])
    photom = make_photom(
        [("RED", 0.5, 0.01), ("BLUE", 0.25, 0.01)],
        [COLUMNS[0], *COLUMNS[2:]],
        timecoeff_linear=loss,
    )

    with pytest.raises(DataError, match="does not belong"):
        calibrated(make_image(**{"exposure.mid_time": 60000.0}), photom)


def test_a_loss_of_all_light_is_an_error():
    loss = np.array([(60000.0, 1.0)] * 2, [("t0", "f4"), ("lossperyear", "f4")])
    photom = make_photom(
        [("RED", 0.5, 0.01), ("BLUE", 0.25, 0.01)],
        [COLUMNS[0], *COLUMNS[2:]],
        timecoeff_linear=loss,
    )

    with pytest.raises(DataError, match="leaves no light"):
        calibrated(make_image(**{"exposure.mid_time": 60000.0 + 365.0}), photom)
