"""Errors that were proved of the observatory's pipeline of 2025, and that are not made here.

Each test is one line of the list in the reference vectors (`liger/probes.txt`).
"""

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from lightmill import app, models
from lightmill.detector import SampleReads
from lightmill.imaging import AssignFitsWcs, CorrectFlatField, NormalizeImage, SubtractSky
from lightmill.imaging.combine_frames import combined
from lightmill.imaging.dark_image import without_dark
from lightmill.models import (
    CalModel,
    DarkImageModel,
    Exposures,
    FlatModel,
    Member,
    RampModel,
    RateModel,
    ReferenceModel,
)
from lightmill.models.dq import PIXEL
from lightmill.observatories.tmt.iris.simulate import Camera, observe
from lightmill.observatories.tmt.iris.steps import CorrectNonlinearity

META = {"telescope": "TMT", "instrument.name": "IRIS", "exposure.group_time": 2.0,
        "exposure.gain": 1.0, "exposure.read_noise": 9.0}  # fmt: skip
NO_FLAT = PIXEL["NO_FLAT_FIELD"]


@pytest.fixture(autouse=True, scope="module")
def _known():
    app.discover()


def ramp_of(reads, **meta):
    reads = np.asarray(reads, np.float32)
    return RampModel(
        meta=META | meta, data=reads, groupdq=np.zeros(reads.shape, np.uint8),
        pixeldq=np.zeros(reads.shape[-2:], np.uint32),
    )  # fmt: skip


def frame(data, err=1.0, dq=0, **meta):
    data = np.asarray(data, np.float32)
    return RateModel(
        meta=META | meta, data=data, err=np.full(data.shape, err, np.float32),
        dq=np.full(data.shape, dq, np.uint32),
    )  # fmt: skip


def noisy(seed, reads=10, rate=30.0, size=80, step=2.0):
    rng = np.random.default_rng(seed)
    electrons = rng.poisson(rate * step, (1, reads, size, size)).cumsum(axis=1)
    return electrons + rng.normal(0, 9.0, electrons.shape)


@pytest.mark.parametrize("mode", ["utr", "cds"])
def test_the_error_of_a_rate_is_its_scatter_not_the_inverse(mode):
    made = SampleReads(mode=mode).apply(ramp_of(noisy(3)))

    scatter = made.data.std()  # of 6,400 pixels: known to 0.9 %
    assert_allclose(np.median(made.err), scatter, rtol=0.04)


def test_more_ramps_have_smaller_errors():
    one = SampleReads().apply(ramp_of(noisy(3)))
    four = SampleReads().apply(ramp_of(np.concatenate([noisy(n) for n in range(4)])))

    assert_allclose(np.median(four.err), np.median(one.err) / 2, rtol=0.02)
    assert_allclose(four.data.std(), one.data.std() / 2, rtol=0.04)


def test_linear_counts_keep_their_fractions_and_do_not_wrap():
    # the peer's numbers: 100, 40000 and 65000 counts stand for 100.71, 41600.7 and 69225.7
    reads = np.zeros((1, 3, 1, 1), np.float32)
    reads[0, :, 0, 0] = 100.0, 40000.0, 65000.0
    planes = np.zeros((3, 1, 1), np.float32)
    planes[:, 0, 0] = 0.7, 1.0, 1.0e-6

    ramp = ramp_of(reads)
    made = CorrectNonlinearity(coefficients="powers").apply(
        ramp, nonlincoeff=ReferenceModel(data=planes)
    )

    assert_allclose(made.data[0, :, 0, 0], [100.71, 41600.7, 69225.7], rtol=1e-6)


def test_times_long_after_the_reset_change_nothing():
    reads = noisy(5, size=8)
    times = 2.0 * np.arange(1, 11)

    near = SampleReads(weighting="uniform").apply(ramp_of(reads))
    far = SampleReads(weighting="uniform", read_times=(times + 3600.0).tolist()).apply(
        ramp_of(reads)
    )

    assert_allclose(far.data, near.data, rtol=1e-6)  # float32; the peer was off by 0.4 %


def test_two_reads_are_enough():
    made = SampleReads(mode="utr").apply(ramp_of(noisy(7, reads=2)))

    assert_allclose(made.data.mean(), 30.0, rtol=0.02)
    assert_allclose(np.median(made.err), made.data.std(), rtol=0.05)


def test_flags_of_one_read_are_not_lost():
    ramp = ramp_of(noisy(8, size=8))
    ramp.groupdq[0, 6:, 2, 3] = PIXEL["SATURATED"]

    made = SampleReads().apply(ramp)

    assert made.dq[2, 3] & PIXEL["SATURATED"]
    assert not made.dq[2, 3] & PIXEL["DO_NOT_USE"]  # five reads are left


def sky_of(level, seed, size=160):
    rng = np.random.default_rng(seed)
    pattern = 1 + 0.1 * np.mgrid[:size, :size][0] / size
    return frame(level * pattern + rng.normal(0, 0.1, (size, size)), err=0.1)


def test_a_sky_twice_as_bright_is_scaled_down_not_up():
    science = sky_of(1.5, 1)
    science.data[80, 80] += 500.0
    skies = [
        Member(sky_of(level, n), "background", f"{n}.fits") for n, level in ((2, 1.0), (3, 2.0))
    ]

    (made,) = SubtractSky().apply(Exposures((Member(science, "science", "s.fits"), *skies))).science

    # physics: skies of 1 and 2 tell the pattern; it is taken off at the 1.5 of the science frame
    assert abs(made.data.mean() - 500 / 160**2) < 0.01
    assert_allclose(made.data[80, 80], 500.0, atol=0.6)
    # error: of the frame, and of the weighed mean of two skies at its level
    # two values, each as well known as its level is high: variances 0.1² and 0.05², their mean
    assert_allclose(np.median(made.err), np.hypot(0.1, 1.5 * 0.5 * np.hypot(0.1, 0.05)), rtol=0.01)
    assert science.data[80, 80] > 500.5  # the input stays as it is


def test_what_a_dark_did_not_measure_is_zero():
    dark = DarkImageModel(data=np.array([[np.nan, 1.0]], np.float32))

    assert_array_equal(without_dark(frame([[2.0, 2.0]]), dark).data, [[2.0, 1.0]])


def test_pixels_without_a_flat_field_are_flagged_in_the_file(tmp_path):
    image = CalModel(
        meta=META, data=np.full((1, 3), 5.0, np.float32), err=np.ones((1, 3), np.float32),
        dq=np.zeros((1, 3), np.uint32),
    )  # fmt: skip
    flat = FlatModel(data=np.array([[np.nan, 0.0, 0.5]], np.float32))

    path = CorrectFlatField().apply(image.copy(), flat=flat).save(tmp_path / "a_cal.fits")

    made = models.open(path)
    assert_array_equal(made.dq & NO_FLAT, [[NO_FLAT, NO_FLAT, 0]])  # bit 18: above sixteen
    assert_allclose(made.data[0, 2], 10.0)


def test_a_frame_is_normalised_by_its_good_pixels():
    image = frame([[2.0, 2.0, 2.0, 1000.0]])
    image.dq[0, 3] = PIXEL["HOT"]

    made = NormalizeImage(method="mean").apply(image)

    assert_allclose(made.data[0, :3], 1.0)


@pytest.mark.parametrize("method", ["mean", "weighted", "median"])
def test_the_error_of_a_mean_is_that_of_the_values_in_it(method):
    # five of 1, and one that does not belong, each with the error 1
    values = np.ones((6, 1, 1))
    values[5] = 100.0
    made = combined(values, np.ones((6, 1, 1)), np.zeros((6, 1, 1), np.uint32), method=method)

    loss = np.sqrt(np.pi / 2) if method == "median" else 1.0
    assert_allclose(made["data"], 1.0)
    assert_allclose(made["err"], loss / np.sqrt(5))  # the peer: 1/sqrt(6)


def test_reference_points_count_from_one():
    keywords = {"crpix1": 32.0, "crpix2": 32.0, "crval1": 265.0, "crval2": -29.0, "cdelt1": -1e-6,
                "cdelt2": 1e-6, "ctype1": "RA---TAN", "ctype2": "DEC--TAN"}  # fmt: skip
    image = CalModel(
        meta=META | {f"primary_wcs.{k}": v for k, v in keywords.items()},
        data=np.zeros((64, 64), np.float32),
    )

    wcs = models.wcs_of(AssignFitsWcs().apply(image))

    assert_allclose(wcs.pixel_to_world_values(31.0, 31.0), (265.0, -29.0), atol=1e-12)


def test_a_frame_without_world_coordinates_is_reduced_and_saved(tmp_path, made):
    camera = Camera(size=64, noise=False)
    observed, cache = observe(tmp_path, camera=camera, dithers=[(0, 0)], skies=0, stars=1)
    with fits.open(observed[0].uncal, mode="update") as file:
        for keyword in [k for k in file[0].header if k.startswith(("CTYPE", "CR", "CD", "PC"))]:
            del file[0].header[keyword]
    given = {"crds_path": cache.root, "output_dir": tmp_path}

    rops = made(app.run("iris_rop", [observed[0].uncal], **given))
    (cal,) = made(app.run("iris_image2", rops, **given, skip=["flat_field"]))

    with fits.open(cal) as file:
        assert file[0].header["S_WCS"] == "SKIPPED"
        assert file[0].header["S_FLAT"] == "SKIPPED"
        truth = fits.getdata(observed[0].truth, "RATE")
        good = file["DQ"].data == 0
        # a read is a whole number of counts: half a count moves a slope of ten reads by up to 0.08
        assert_allclose(file["SCI"].data[good], truth[good], atol=0.08)


def test_the_slope_is_that_of_its_own_arithmetic(cases):
    with np.load(cases / "liger" / "liger_vectors.npz") as file:
        reads, times = file["ramp_data_yxgr"], file["ramp_times"]
        wanted = file["ramp_1group_double_slope"]
    ramp = ramp_of(np.moveaxis(reads[:, :, :1], (2, 3), (0, 1)))

    made = SampleReads(
        mode="utr", weighting="uniform", read_times=times[0].astype(float).tolist()
    ).apply(ramp)

    assert_allclose(made.data, wanted, rtol=1e-6)  # float32
