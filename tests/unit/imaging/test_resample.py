"""A mosaic shows the sky its exposures saw, and says how it came about."""

import numpy as np
import pytest

from lightmill import models
from lightmill.errors import ConfigurationError, DataError
from lightmill.imaging.resample import Resample, total_error
from lightmill.models import Exposures, ResampledModel
from lightmill.models.dq import PIXEL
from lightmill.pipeline import Beside, Skipped
from lightmill.pipeline.spool import Spool
from tests.unit.imaging.sky_exposures import distorted_wcs, dithered, exposure, stars_of

SHAPE = (96, 96)


def test_stars_come_out_where_they_are_as_bright_as_they_are():
    stars = stars_of(6, half=1.8)
    exposures = dithered(4, stars=stars, noise=0.05, rolls=(0.0, 25.0))

    mosaic = Resample().apply(exposures)

    wcs = models.wcs_of(mosaic)
    yy, xx = np.indices(mosaic.shape)
    for ra, dec, peak in zip(*stars, strict=True):
        x, y = wcs.world_to_pixel_values(ra, dec)
        near = np.hypot(xx - x, yy - y) < 3
        light = np.where(near, np.nan_to_num(mosaic.data) - 1, 0)
        # tolerance: a star of peak 50 has 0.05 noise in 28 pixels; pixels of a neighbour may add
        assert abs(np.sum(light * (xx - x)) / light.sum()) < 0.3
        assert light.sum() == pytest.approx(2 * np.pi * 1.3**2 * peak, rel=0.25)


def test_the_errors_are_those_the_mosaic_has():
    exposures = dithered(6, stars=stars_of(0), noise=0.3)

    mosaic = Resample(kernel="point").apply(exposures)

    # a drop without size falls into one pixel: neighbours are independent, and errors exact
    full = mosaic.exptime >= 500
    pulls = (mosaic.data[full] - 1) / mosaic.err[full]
    assert full.sum() > 1500
    # tolerance: the width of n pulls is known to 1/sqrt(2n), here 2 %; four of them
    assert np.std(pulls) == pytest.approx(1, abs=0.08)


def test_metadata_are_blended():
    exposures = dithered(3)

    mosaic = Resample().apply(exposures)

    meta = mosaic.meta
    assert isinstance(mosaic, ResampledModel)
    assert meta.get("resample.pointings") == 3
    assert meta.get("exposure.exposure_time") == 300
    assert meta.get("resample.product_exposure_time") == 300
    assert meta.get("exposure.start_time") == pytest.approx(60000.01)
    assert meta.get("exposure.end_time") == pytest.approx(60000.03 + 100 / 86400)
    assert meta.get("bunit_data") == "MJy/sr"
    assert meta.get("wcsinfo.s_region").startswith("POLYGON ICRS")
    assert meta.get("photometry.pixelarea_arcsecsq") == pytest.approx(0.065**2, rel=1e-2)


def test_a_mosaic_is_read_back_as_it_was_written(tmp_path):
    mosaic = Resample().apply(dithered(2))

    again = models.open(mosaic.save(tmp_path / "field_i2d.fits"))

    np.testing.assert_array_equal(again.array("con"), mosaic.con)
    np.testing.assert_array_equal(np.asarray(again.array("data")), mosaic.data)
    here, there = (models.wcs_of(m).pixel_to_world_values(3.0, 70.0) for m in (mosaic, again))
    assert there == pytest.approx(here, abs=1e-12)


def test_a_mosaic_in_a_scratch_file_is_the_one_in_memory():
    exposures = dithered(2)

    held, spooled = (Resample(in_memory=flag).apply(exposures) for flag in (True, False))

    assert isinstance(spooled.array("data"), Spool)
    for name in ("data", "err", "wht", "exptime", "var_rnoise", "con"):
        np.testing.assert_array_equal(spooled.array(name).read(), held.array(name))


def test_exposures_are_not_changed():
    exposures = dithered(2)
    before = [(np.array(m.data), np.array(m.dq), m.meta.flat()) for m in exposures]

    Resample().apply(exposures)

    for model, (data, dq, meta) in zip(exposures, before, strict=True):
        np.testing.assert_array_equal(model.data, data)
        np.testing.assert_array_equal(model.dq, dq)
        assert model.meta.flat() == meta


def test_values_flags_and_variances_that_are_not_numbers_leave_no_hole_where_others_see():
    exposures = dithered(4, stars=stars_of(0), noise=0.01)
    broken = []
    for k, model in enumerate(exposures):
        data, dq, variance = np.array(model.data), np.array(model.dq), np.array(model.var_rnoise)
        data[20 + k, 20:40] = np.nan
        data[60, 60 + k] = 1e6
        dq[60, 60 + k] = PIXEL["DO_NOT_USE"]
        variance[70, 30 + 3 * k] = np.nan
        broken.append(model.evolve(data=data, dq=dq, var_rnoise=variance))

    mosaic = Resample().apply(exposures.evolve(broken))

    full = mosaic.exptime >= 300
    assert np.isfinite(mosaic.data[full]).all()
    assert np.isfinite(mosaic.err[full]).all()
    assert np.abs(mosaic.data[full] - 1).max() < 0.1  # the 1e6 is nowhere


@pytest.mark.parametrize(("kind", "ratio"), [("exptime", 3.0), ("ivm", 9.0), (None, 1.0)])
def test_the_weight_is_what_is_asked_for(kind, ratio):
    wcs = distorted_wcs(SHAPE, distortion=0.0)
    deep = exposure(wcs, noise=0.1, time=300.0, number=1)
    shallow = exposure(wcs, noise=0.3, time=100.0, number=2)

    weights = [
        float(Resample(weight_type=kind).apply(Exposures.of([m])).wht[48, 48])
        for m in (deep, shallow)
    ]

    assert weights[0] / weights[1] == pytest.approx(ratio, rel=1e-4)


def test_a_sky_level_that_was_measured_only_is_taken_away():
    wcs = distorted_wcs(SHAPE, distortion=0.0)
    model = exposure(
        wcs, data=np.full(SHAPE, 5.0), **{"background.level": 2.0, "background.subtracted": False}
    )

    mosaic = Resample().apply(Exposures.of([model]))

    assert mosaic.data[48, 48] == pytest.approx(3.0, rel=1e-6)


def test_one_exposure_stays_the_result_where_that_is_asked_for():
    model = exposure(distorted_wcs(SHAPE))

    answer = Resample(beside=True).apply(model)
    other = Resample(beside=True, exposure_types=["SPECTRUM"]).apply(model)

    assert isinstance(answer, Beside)
    assert answer.result is model
    assert isinstance(answer.products["i2d"], ResampledModel)
    assert isinstance(other, Skipped)


def test_a_given_system_is_the_mosaic_s(tmp_path):
    import asdf

    wcs = distorted_wcs((40, 50), scale=0.1, distortion=0.0)
    wcs.pixel_shape = (50, 40)
    asdf.AsdfFile({"wcs": wcs}).write_to(tmp_path / "frame.asdf")

    mosaic = Resample(output_wcs=str(tmp_path / "frame.asdf")).apply(dithered(2))

    assert mosaic.shape == (40, 50)
    assert mosaic.meta.get("photometry.pixelarea_arcsecsq") == pytest.approx(0.01, rel=1e-5)
    there = models.wcs_of(mosaic).pixel_to_world_values(9.0, 9.0)
    assert there == pytest.approx(wcs.pixel_to_world_values(9.0, 9.0), abs=1e-12)


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [("bunit_data", "DN/s", "unit"), ("instrument.filter", "BLUE", "filter")],
)
def test_exposures_that_mean_different_things_are_refused(name, value, word):
    exposures = dithered(2)
    first, second = exposures.science
    mixed = exposures.evolve([first, second.evolve(meta={name: value})])

    with pytest.raises(DataError, match=word) as failure:
        Resample().apply(mixed)

    assert "e2_cal" in str(failure.value.place)


def test_exposures_of_flagged_pixels_only_make_no_mosaic():
    exposures = dithered(2)
    dead = [m.evolve(dq=np.full(SHAPE, PIXEL["DO_NOT_USE"], np.uint32)) for m in exposures]

    with pytest.raises(DataError, match="nothing falls on the mosaic") as failure:
        Resample().apply(exposures.evolve(dead))

    assert failure.value.place == "e1_cal.fits and 1 more"


def test_an_exposure_of_flagged_pixels_only_stays_without_a_resampled_image():
    (first, _) = dithered(2).science
    dead = first.evolve(dq=np.full(SHAPE, PIXEL["DO_NOT_USE"], np.uint32))

    answer = Resample(beside=True).apply(dead)

    assert isinstance(answer, Skipped)
    assert answer.model is dead
    assert "no pixel" in answer.reason


def test_a_mosaic_beside_its_exposures_is_refused():
    with pytest.raises(DataError, match="nothing falls on the mosaic"):
        Resample(crval=[53.2, -27.8], crpix=[20.0, 20.0], output_shape=[40, 40]).apply(dithered(2))


def test_an_exposure_without_world_coordinates_is_named():
    exposures = dithered(2)
    models_ = [exposures.science[0], exposures.science[1].evolve(meta={"wcs": None})]

    with pytest.raises(DataError, match="no world coordinate system") as failure:
        Resample().apply(exposures.evolve(models_))

    assert "assign_wcs" in failure.value.remedy


@pytest.mark.parametrize("wrong", [{"fillval": "nothing"}, {"crpix": [1.0]}, {"pixfrac": 2}])
def test_parameters_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigurationError):
        Resample(**wrong)


def test_the_total_error_is_of_what_is_known():
    one = np.array([[3.0, np.nan]], np.float32) ** 2
    other = np.array([[4.0, np.nan]], np.float32) ** 2

    np.testing.assert_array_equal(total_error([one, other]), [[5.0, np.nan]])


def test_a_mosaic_keeps_what_each_exposure_says_of_itself(tmp_path):
    exposures = dithered(3)
    one, two, three = exposures.science
    two = two.evolve(meta={"exposure.nints": 2})
    three = three.evolve(meta={"target.catalog_name": "NGC 7\u00a0b"})

    made = Resample().apply(exposures.evolve([one, two, three]))

    table = models.open(made.save(tmp_path / "m_i2d.fits")).hdrtab
    assert table["FILENAME"].tolist() == [b"e1_cal.fits", b"e2_cal.fits", b"e3_cal.fits"]
    assert table["EFFEXPTM"].tolist() == [100.0] * 3
    np.testing.assert_array_equal(table["NINTS"], [np.nan, 2, np.nan])
    assert table["TARGNAME"].tolist() == [b"", b"", b"NGC 7?b"]
    assert "DATE" not in table.dtype.names


def test_the_table_of_headers_is_left_out_with_blending():
    assert not Resample(blendheaders=False).apply(dithered(2)).has("hdrtab")


def test_flags_go_where_the_light_of_their_pixels_goes(tmp_path):
    exposures = dithered(3, stars=stars_of(0), rolls=(0.0, 25.0))
    marked, only = [], []
    for k, model in enumerate(exposures):
        dq = np.zeros(model.shape, np.uint32)
        dq[40 + k, 50] = PIXEL["JUMP_DET"]
        dq[20, 30 + k] = PIXEL["SATURATED"] | PIXEL["DO_NOT_USE"]
        marked.append(model.evolve(dq=dq))
        alone = np.where(dq == PIXEL["JUMP_DET"], 0, PIXEL["DO_NOT_USE"]).astype(np.uint32)
        only.append(model.evolve(dq=alone))

    mosaic = Resample(propagate_dq=True).apply(exposures.evolve(marked))
    where = Resample().apply(exposures.evolve(only)).wht > 0  # what falls there, and nothing else

    assert 3 <= where.sum() < 30
    np.testing.assert_array_equal(mosaic.dq, np.where(where, PIXEL["JUMP_DET"], 0))
    again = models.open(mosaic.save(tmp_path / "field_i2d.fits"))
    np.testing.assert_array_equal(again.array("dq"), mosaic.dq)
    assert not Resample().apply(exposures).has("dq")
