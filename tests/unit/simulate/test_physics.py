"""The parts of a simulation, each against what physics says of it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lightmill.simulate.detector import convolve, inverse_kernel, measured_signal
from lightmill.simulate.electronics import Amplifiers, digitise, flicker, read_order
from lightmill.simulate.fits_stream import FitsStream
from lightmill.simulate.optics import StarImage, galaxy_image
from lightmill.simulate.pointing import deproject, project
from lightmill.simulate.readout import Pattern, _add_poisson
from lightmill.simulate.scene import Effects, stream

WHOLE = (slice(None), slice(None))


@pytest.mark.parametrize("mean", [0.3, 4.0, 30.0, 49.9, 50.1, 400.0])
def test_charge_arrives_with_poisson_noise(mean):
    charge = np.zeros((300, 300), np.float32)

    _add_poisson(stream(1, "test"), np.full(charge.shape, mean, np.float32), charge)

    n = charge.size
    assert_allclose(charge.mean(), mean, atol=5 * np.sqrt(mean / n))
    # the variance of a variance: (2 + 1/mean) mean^2 / n
    assert_allclose(charge.var(), mean, atol=5 * mean * np.sqrt((2 + 1 / mean) / n))
    assert_array_equal(charge, np.rint(charge))


def test_a_measured_signal_gives_the_true_one_back():
    true = np.linspace(0, 47000, 500, dtype=np.float32).reshape(20, 25)
    c2, c3 = np.full_like(true, 1e-6), np.full_like(true, 4e-12)

    g = measured_signal(true.copy(), c2, c3, 1e-17, np.full_like(true, 1e6), np.empty_like(true))

    assert_allclose(g + c2 * g**2 + c3 * g**3 + 1e-17 * g**4, true, rtol=3e-7, atol=0.01)
    assert (g <= true).all()  # physics: a pixel responds less and less as it fills


def test_a_signal_ends_at_the_full_well():
    true = np.full((4, 4), 1e7, np.float32)

    g = measured_signal(true, true * 1e-13, true * 0, 0.0, np.full_like(true, 45000), true)

    assert_allclose(g, 45000)


def test_coupling_sends_signal_to_the_side_it_says():
    kernel = np.array([[0, 0.03, 0], [0.01, 0.9, 0.02], [0, 0.04, 0]])
    image = np.zeros((7, 7), np.float32)
    image[3, 3] = 100

    out = convolve(image, kernel, WHOLE)

    assert_allclose([out[3, 2], out[3, 4], out[2, 3], out[4, 3]], [1, 2, 3, 4], rtol=1e-6)
    assert_allclose(out.sum(), 100, rtol=1e-6)


def test_the_inverse_kernel_undoes_the_coupling():
    kernel = np.array([[0, 0.005, 0], [0.006, 0.979, 0.004], [0, 0.006, 0]])
    image = stream(1, "image").uniform(0, 1000, (40, 40)).astype(np.float32)

    back = convolve(convolve(image, kernel, WHOLE), inverse_kernel(kernel), WHOLE)

    # what a 3 x 3 kernel cannot undo is third order, or second order two pixels away
    assert_allclose(back[2:-2, 2:-2], image[2:-2, 2:-2], atol=0.2)


def test_nothing_outside_the_active_part_takes_part():
    image = np.full((6, 6), 7, np.float32)
    image[0] = 1e6

    out = convolve(image, np.full((3, 3), 1 / 9), (slice(1, 6), slice(0, 6)))

    assert_array_equal(out[0], image[0])
    assert_allclose(out[1, 3], 7 * 6 / 9, rtol=1e-6)


@pytest.mark.parametrize(
    ("fast", "slow", "first", "second"),
    [
        (1, 2, (0, 0), (0, 1)),
        (-1, 2, (0, 2), (0, 1)),
        (1, -2, (1, 0), (1, 1)),
        (2, 1, (0, 0), (1, 0)),
        (-2, -1, (1, 2), (0, 2)),
    ],
)
def test_pixels_are_read_along_the_fast_axis_first(fast, slow, first, second):
    image = np.arange(6).reshape(2, 3)

    view = read_order(image, fast, slow)

    assert view[0, 0] == image[first]
    assert view[0, 1] == image[second]
    assert view.base is not None  # a view, so that noise lands in the stored image


def test_drifts_of_odd_and_even_columns_follow_the_readout(near_infrared):
    # this detector is read along y: alternate columns of the readout are rows of the image
    only = Effects.none(amplifier_offsets=True)
    image = np.zeros((32, 32), np.float32)

    Amplifiers(near_infrared, near_infrared.window(32), only).add_noise(stream(1, "x"), image)

    assert np.ptp(image, axis=1).max() == 0
    assert len(np.unique(image)) == 2
    assert_array_equal(image[0::2], np.broadcast_to(image[0], (16, 32)))


def test_interleaved_outputs_drift_column_by_column(mid_infrared):
    only = Effects.none(amplifier_offsets=True)
    image = np.zeros((32, 32), np.float32)

    Amplifiers(mid_infrared, mid_infrared.window(32), only).add_noise(stream(1, "x"), image)

    for output in range(4):
        for parity in (0, 1):
            assert np.ptp(image[parity::2, output::4]) == 0
    assert len(np.unique(image)) == 8


def test_flicker_noise_has_its_rms_and_its_slope():
    series = flicker(stream(1, "f"), 40, 1 << 14, 2.0)

    assert_allclose(series.std(axis=1).mean(), 2.0, rtol=0.05)
    power = (np.abs(np.fft.rfft(series, axis=1)) ** 2).mean(axis=0)
    low, high = power[10:40].mean(), power[1000:4000].mean()
    frequency_ratio = np.mean(1 / np.arange(10, 40)) / np.mean(1 / np.arange(1000, 4000))
    assert_allclose(low / high, frequency_ratio, rtol=0.1)


def test_the_converter_rounds_and_has_an_end():
    voltage = np.array([[-3.0, 0.4, 0.6, 65534.6, 1e6]], np.float32)
    out = np.empty(voltage.shape, np.uint16)

    digitise(voltage, out)

    assert_array_equal(out, [[0, 0, 1, 65535, 65535]])


def test_a_star_keeps_its_light_and_its_place(near_infrared):
    star = StarImage(near_infrared.optics, reach=40)
    axis = np.arange(-40, 41)

    image = star.at(0.3, 0.85)

    # some light passes from one edge to beyond the other: the image is cut at 40 pixels
    assert_allclose(image.sum(), 1, atol=2e-3)
    assert_allclose((image.sum(axis=1) * axis).sum() / image.sum(), 0.3, atol=0.02)
    assert_allclose((image.sum(axis=0) * axis).sum() / image.sum(), 0.85, atol=0.02)


def test_a_galaxy_keeps_its_light():
    for index in (1.0, 4.0):
        assert_allclose(galaxy_image(3.0, index, 0.5, 0.7, 0.0, 0.2, 0.6).sum(), 1, rtol=1e-5)


def test_projection_and_its_inverse_agree():
    ra, dec = deproject(np.array([300.0, -20]), np.array([-150.0, 80]), 359.99, -70.0)

    east, north = project(ra, dec, 359.99, -70.0)

    assert_allclose(east, [300, -20], atol=1e-6)
    assert_allclose(north, [-150, 80], atol=1e-6)


def test_the_last_groups_gap_is_not_exposed():
    pattern = Pattern(nints=1, ngroups=3, nframes=4, groupgap=1, frame_time=2.0)

    assert pattern.group_time == 10.0
    assert pattern.frames == 14
    assert pattern.integration_time == 28.0


def test_an_image_that_lacks_planes_is_not_given_its_name(tmp_path):
    path = tmp_path / "a.fits"

    def short():
        with FitsStream(path, {}) as file:
            file.begin_image("SCI", (2, 3, 3), np.float32)
            file.write(np.zeros((3, 3), np.float32))

    with pytest.raises(ValueError, match="not written"):
        short()

    assert not list(tmp_path.iterdir())
