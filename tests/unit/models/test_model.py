"""A model holds arrays as its schema says, and makes others without changing itself."""

import numpy as np
import pytest

from lightmill import models
from lightmill.errors import ShapeError, ValidationError
from lightmill.models import Region


def test_values_that_fit_are_converted_and_others_refused():
    assert models.GainModel(data=np.ones((2, 2))).data.dtype == np.float32
    with pytest.raises(ValidationError, match="values change"):
        models.GainModel(data=np.full((2, 2), 0.1))
    with pytest.raises(ValidationError):
        models.MaskModel(dq=np.array([[3.7]]))
    with pytest.raises(ValidationError):
        models.MaskModel(dq=np.array([[-1]]))


def test_big_endian_arrays_come_back_native():
    assert models.GainModel(data=np.ones((2, 2), ">f4")).data.dtype.isnative


def test_raw_counts_stay_whole_numbers():
    uncal = models.UncalModel(data=np.zeros((1, 2, 3, 4), np.uint16))

    assert uncal.data.dtype == np.uint16


def test_a_wrong_number_of_axes_is_refused():
    with pytest.raises(ShapeError) as caught:
        models.RampModel(data=np.zeros((3, 4), np.float32))

    assert "integration, group, y, x" in str(caught.value)


def test_arrays_of_different_frames_are_refused(ramp):
    with pytest.raises(ShapeError):
        ramp.evolve(pixeldq=np.zeros((2, 2), np.uint32))
    with pytest.raises(ShapeError):
        ramp.pixeldq = np.zeros((2, 2), np.uint32)
    assert ramp.pixeldq.shape == (6, 5)


def test_an_absent_array_is_none_and_a_mistyped_one_an_error(ramp):
    assert ramp.zeroframe is None
    assert not ramp.has("zeroframe")
    with pytest.raises(AttributeError, match="groupdq"):
        _ = ramp.groupdg
    with pytest.raises(AttributeError):
        models.RampModel(err=np.zeros((2, 2), np.float32))


def test_a_required_array_that_is_missing_is_an_error(tmp_path):
    empty = models.RateModel()

    with pytest.raises(ValidationError):
        _ = empty.data
    with pytest.raises(ValidationError):
        empty.save(tmp_path / "empty.fits")
    assert not list(tmp_path.iterdir())


def test_a_cut_is_a_view(ramp):
    part = ramp.cut(Region(1, 4, 2, 5))

    assert part.data.shape == (2, 3, 3, 3)
    assert np.shares_memory(part.data, ramp.data)
    assert part.pixeldq.tolist() == ramp.pixeldq[1:4, 2:5].tolist()
    assert part.region == (1, 4, 2, 5)
    assert type(part) is models.RampModel


def test_a_cut_of_a_cut_knows_its_place_in_the_frame(ramp):
    assert ramp.cut(Region(1, 5, 1, 5)).cut(Region(1, 2, 1, 2)).region == (2, 3, 2, 3)


def test_a_cut_outside_the_frame_is_refused(ramp):
    with pytest.raises(ShapeError):
        ramp.cut(Region(0, 99, 0, 5))


def test_evolve_shares_what_it_does_not_change(ramp):
    new = ramp.evolve(data=ramp.data + 1)

    assert new.groupdq is ramp.groupdq
    assert (new.data - ramp.data == 1).all()


def test_a_copy_shares_nothing(ramp):
    new = ramp.copy()
    new.data[:] = 0

    assert ramp.data.any()


def test_a_table_needs_its_columns(times):
    with pytest.raises(ValidationError):
        models.RateIntsModel(int_times=np.zeros(2, [("integration_number", "i4")]))
    made = models.RateIntsModel(data=np.zeros((2, 3, 3), np.float32), int_times=times)
    assert made.int_times["integration_number"].tolist() == [1, 2]


def test_a_region_grows_up_to_the_edge():
    assert Region(0, 4, 3, 5).grow(2, 10, 6) == (0, 6, 1, 6)
    assert Region(2, 4, 0, 5).shape == (2, 5)
