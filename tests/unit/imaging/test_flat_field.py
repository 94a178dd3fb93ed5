import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lightmill.errors import ConfigurationError, DataError
from lightmill.imaging import CorrectFlatField
from lightmill.models import CalModel, FlatModel
from lightmill.models.dq import PIXEL
from lightmill.testing import make_ramp

NO_FLAT, DNU = PIXEL["NO_FLAT_FIELD"], PIXEL["DO_NOT_USE"]
SHAPE = (6, 8)


def make_image(value=10.0, var_poisson=0.4, var_rnoise=0.05, shape=SHAPE, **meta):
    def plane(number):
        return np.full(shape, number, np.float32)

    image = CalModel(
        meta=make_ramp(shape=shape).meta,
        data=plane(value),
        err=plane(np.sqrt(var_poisson + var_rnoise)),
        dq=np.zeros(shape, np.uint32),
        var_poisson=plane(var_poisson),
        var_rnoise=plane(var_rnoise),
    )
    image.meta.update({"subarray.xstart": 1, "subarray.ystart": 1} | meta)
    return image


def make_flat(response=1.0, error=0.0, dq=0, shape=SHAPE, **meta):
    made = FlatModel(
        meta={"reftype": "FLAT", "instrument.name": "GLOWCAM"} | meta,
        data=np.array(np.broadcast_to(np.float32(response), shape)),
        err=np.array(np.broadcast_to(np.float32(error), shape)),
        dq=np.array(np.broadcast_to(np.uint32(dq), shape)),
    )
    made.meta.update({"subarray.xstart": 1, "subarray.ystart": 1})
    return made


def corrected(image, flat, **parameters):
    return CorrectFlatField(**parameters).run(image, override_flat=flat).model


def test_a_pixel_that_responds_half_saw_twice_as_much():
    response = np.linspace(0.5, 1.5, 48).reshape(SHAPE)

    result = corrected(make_image(10.0), make_flat(response))

    assert_allclose(result.data, 10.0 / response, rtol=1e-6)
    assert_allclose(result.var_poisson, 0.4 / response**2, rtol=1e-6)
    assert_allclose(result.var_rnoise, 0.05 / response**2, rtol=1e-6)
    assert_allclose(result.err, np.sqrt(0.45) / response, rtol=1e-6)


def test_the_error_of_the_flat_is_one_more_error():
    # physics: v/f with a relative error of f of 2 %
    result = corrected(make_image(10.0), make_flat(0.8, error=0.016))

    assert_allclose(result.var_flat, (10.0 / 0.8 * 0.02) ** 2, rtol=1e-5)
    assert_allclose(
        result.err**2, result.var_poisson + result.var_rnoise + result.var_flat, rtol=1e-6
    )


def test_errors_by_flats_that_are_off_are_as_large_as_they_say():
    # physics: ten thousand pixels, each divided by a flat that is off by its error
    dice = np.random.default_rng(8)
    shape = (100, 100)
    wrong = 1.0 + dice.normal(0, 0.01, shape)

    result = corrected(
        make_image(500.0, 0.0, 0.0, shape), make_flat(wrong, error=0.01, shape=shape)
    )

    pulls = (result.data - 500.0) / result.err
    # the standard deviation of 1e4 pulls is known to 0.7 %, 1/f adds the square of 1 %
    assert_allclose(pulls.std(), 1.0, atol=0.03)


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_pixel_without_response_is_flagged_and_has_no_value(value):
    response = np.ones(SHAPE)
    response[2, 3] = value

    result = corrected(make_image(), make_flat(response))

    assert result.dq[2, 3] == NO_FLAT | DNU
    assert np.isnan(result.data[2, 3])
    assert np.isnan(result.err[2, 3])
    assert np.count_nonzero(result.dq) == 1
    assert np.isnan(result.data).sum() == 1


def test_a_pixel_the_flat_has_no_value_for_must_not_be_used():
    dq = np.zeros(SHAPE, np.uint32)
    dq[1, 1] = NO_FLAT
    dq[4, 4] = PIXEL["UNRELIABLE_FLAT"]

    result = corrected(make_image(), make_flat(0.5, dq=dq))

    assert result.dq[1, 1] == NO_FLAT | DNU
    assert result.dq[4, 4] == PIXEL["UNRELIABLE_FLAT"]
    assert_allclose(result.data[4, 4], 20.0)


def test_flags_of_the_image_stay():
    image = make_image()
    image.dq[0, 0] = PIXEL["HOT"]

    result = corrected(image, make_flat(dq=PIXEL["LOW_QE"]))

    assert result.dq[0, 0] == PIXEL["HOT"] | PIXEL["LOW_QE"]
    assert result.dq[0, 1] == PIXEL["LOW_QE"]


def test_a_pixel_that_was_bad_before_has_no_value_in_any_plane():
    image = make_image()
    image.dq[3, 3] = DNU
    image.var_poisson[3, 3] = 0.0

    result = corrected(image, make_flat())

    for name in ("data", "err", "var_poisson", "var_rnoise", "var_flat"):
        assert np.isnan(getattr(result, name)[3, 3])


def test_undoing_the_correction_gives_the_rates_back():
    response = np.linspace(0.5, 1.5, 48).reshape(SHAPE)
    flat = make_flat(response, error=0.01)

    there = corrected(make_image(), flat)
    back = corrected(there, flat, inverse=True)

    assert_allclose(back.data, 10.0, rtol=1e-6)
    assert_allclose(back.var_rnoise, 0.05, rtol=1e-6)
    assert_array_equal(back.var_flat, 0.0)


def test_the_given_image_and_flat_stay_as_they_were():
    image, flat = make_image(), make_flat(0.5)
    flat.data[0, 0] = np.nan

    corrected(image, flat)

    assert_array_equal(image.data, 10.0)
    assert not image.dq.any()
    assert not image.has("var_flat")
    assert np.isnan(flat.data[0, 0])
    assert not flat.dq.any()


def test_a_subarray_takes_its_part_of_the_flat():
    response = np.linspace(0.5, 1.5, 48).reshape(SHAPE)
    window = make_image(shape=(3, 4), **{"subarray.xstart": 3, "subarray.ystart": 2})

    result = corrected(window, make_flat(response))

    assert_allclose(result.data, 10.0 / response[1:4, 2:6], rtol=1e-6)


def test_an_image_of_integrations_is_divided_one_by_one():
    from lightmill.imaging.flat_field import divide_by_flat

    response = np.linspace(0.5, 1.5, 48, dtype=np.float32).reshape(SHAPE)
    cube = np.stack([np.full(SHAPE, n, np.float32) for n in (1.0, 2.0)])

    divide_by_flat({"data": cube}, response, None)

    assert_allclose(cube, [1.0 / response, 2.0 / response], rtol=1e-6)


def test_without_variances_the_error_is_divided():
    image = CalModel(
        meta=make_image().meta, data=np.full(SHAPE, 4, np.float32), err=np.ones(SHAPE, np.float32)
    )

    result = corrected(image, make_flat(0.5, error=0.005))

    assert_allclose(result.err, np.hypot(2.0, 8.0 * 0.01), rtol=1e-6)


def test_the_users_own_flat_stands_for_the_reference(tmp_path):
    path = make_flat(0.25).save(tmp_path / "own.fits")

    outcome = CorrectFlatField(user_supplied_flat=str(path)).run(make_image())

    assert_allclose(outcome.model.data, 40.0)
    assert "own.fits" in str(outcome.record)


def test_a_flat_of_another_detector_is_refused():
    with pytest.raises(DataError, match="detector"):
        corrected(make_image(), make_flat(**{"instrument.detector": "LARGE"}))


def test_a_flat_that_does_not_cover_the_image_is_refused():
    with pytest.raises(DataError, match="does not cover"):
        corrected(make_image(), make_flat(shape=(4, 4)))


def test_the_flat_of_a_spectrum_is_not_to_be_had():
    with pytest.raises(ConfigurationError, match="interpolated"):
        corrected(make_image(), make_flat(), save_interpolated_flat=True)


def test_an_image_without_a_good_pixel_has_no_value():
    result = corrected(make_image(), make_flat(np.nan))

    assert np.isnan(result.data).all()
    assert (result.dq == (NO_FLAT | DNU)).all()
