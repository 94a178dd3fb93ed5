"""Attitudes, and what follows from them on the sky and on the chips."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from lightmill.observatories.hst.wfpc2.geometry import (
    CHIPS,
    attitude_of,
    chip_shifts,
    coordinates_of,
    focal_plane,
    moved,
    offset,
    roll_difference,
    separation,
    to_fiducial,
)

pointings = st.tuples(
    st.floats(0, 360, exclude_max=True), st.floats(-89.99, 89.99), st.floats(0, 360)
)
offsets = st.floats(-100, 100)


@given(pointings)
def test_coordinates_come_back(pointing):
    ra, dec, roll = coordinates_of(attitude_of(*pointing))

    # 1e-16 rad of a vector is 1e-16 / cos(dec) of an angle around the pole
    loose = 1e-12 / np.cos(np.radians(pointing[1]))
    for got, given_ in zip((ra, roll), (pointing[0], pointing[2]), strict=True):
        assert abs((got[0] - given_ + 180) % 360 - 180) < loose
    assert_allclose(dec, pointing[1], atol=1e-11)


@given(pointings, offsets, offsets)
def test_a_move_is_undone_by_its_opposite(pointing, v2, v3):
    here = attitude_of(*pointing)

    there = moved(here, v2, v3)
    back = offset(here, there)

    assert_allclose(
        back, [[-v2], [-v3]], atol=2e-5
    )  # the plane is tangent elsewhere: 100"^3 / rad^2
    assert abs(roll_difference(there, here)[0]) < 1e-11  # carried parallel: no turn
    assert_allclose(separation(there, here), np.hypot(v2, v3), atol=2e-5)


def test_a_dither_near_the_pole_turns_no_camera():
    # physics: at declination 89.264 a step of 2" changes the angle from north by 0.033 deg
    here = attitude_of(37.97, 89.264, 50.0)
    there = moved(here, 0.0, 2.0)

    by_north = coordinates_of(there)[2][0] - coordinates_of(here)[2][0]

    assert abs(by_north) > 0.03
    assert abs(roll_difference(there, here)[0]) < 1e-9


def test_neighbours_across_zero_hours_are_close():
    one, other = attitude_of(359.9999, 10.0, 359.995), attitude_of(0.0001, 10.0, 0.005)

    assert_allclose(separation(one, other), 0.72 * np.cos(np.radians(10)), atol=1e-6)
    assert_allclose(roll_difference(other, one), 0.01, atol=1e-4)


def test_one_source_on_two_apertures_is_two_fields():
    same = attitude_of([85.0, 85.0], [-69.0, -69.0], [20.0, 20.0])

    fields = to_fiducial(same, ["UPC1", "UWF3"])

    assert_allclose(separation(fields.take([0]), fields.take([1])), 78.994, atol=0.01)


def test_the_fiducial_itself_is_not_moved_at_all():
    here = attitude_of([10.0], [20.0], [30.0])

    assert all(
        np.array_equal(a, b) for a, b in zip(to_fiducial(here, ["UWFALL"]), here, strict=True)
    )


def test_an_aperture_not_known_has_no_fiducial():
    assert np.isnan(to_fiducial(attitude_of([10.0], [20.0], [30.0]), ["UNKNOWN"]).axis).all()


@pytest.mark.parametrize("roll", [0.0, 100.0, 359.0])
def test_a_step_along_v3_moves_stars_by_the_scale_of_each_chip(roll):
    leader = attitude_of([150.0], [2.0], [roll])

    shifts = chip_shifts(moved(leader, 0.0, 1.0), leader)[0]

    for name, shift in zip(CHIPS, shifts, strict=True):
        assert_allclose(np.hypot(*shift), 1.0 / focal_plane().chips[name][2], rtol=1e-6)


def test_a_roll_moves_the_far_chips_most():
    # physics: 0.03 deg about the fiducial, and 70" away the sky turns by 0.037"
    leader, member = attitude_of([150.0], [2.0], [100.0]), attitude_of([150.0], [2.0], [100.03])

    shifts = np.hypot(*chip_shifts(member, leader)[0].T)

    plane = focal_plane()
    at = plane.apertures[plane.fiducial]
    for name, shift in zip(CHIPS, shifts, strict=True):
        v2, v3, scale, _ = plane.chips[name]
        arm = np.hypot(v2 - at[0], v3 - at[1])
        assert_allclose(shift, np.radians(0.03) * arm / scale, rtol=1e-3)
