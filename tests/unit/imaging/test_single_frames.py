"""Frames that are one image each: dark, sky, combination, normalisation, references, world coordinates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from lightmill.errors import DataError
from lightmill.imaging import (
    AssignFitsWcs,
    CombineFrames,
    CombineSky,
    MakeDark,
    MakeFlat,
    NormalizeImage,
    SubtractDarkImage,
    SubtractSky,
)
from lightmill.imaging.combine_frames import combined
from lightmill.imaging.fits_wcs import tangent_system
from lightmill.models import CalModel, DarkImageModel, Exposures, FlatModel, Member, RateModel
from lightmill.models.dq import PIXEL
from lightmill.pipeline import Skipped
from lightmill.pipeline.runner import run

KEYWORDS = {
    "ctype1": "RA---TAN", "ctype2": "DEC--TAN", "crpix1": 11.0, "crpix2": 21.0, "crval1": 30.0,
    "crval2": 60.0, "cdelt1": -2e-5, "cdelt2": 3e-5, "pc1_1": 0.8, "pc1_2": -0.6, "pc2_1": 0.6,
    "pc2_2": 0.8,
}  # fmt: skip


def frame(data, err=1.0, dq=0, **meta):
    data = np.asarray(data, np.float32)
    return RateModel(
        meta=meta, data=data, err=np.full(data.shape, err, np.float32),
        dq=np.full(data.shape, dq, np.uint32),
    )  # fmt: skip


def association(science, *skies):
    members = [Member(science, "science", "science.fits")]
    return Exposures(
        (*members, *(Member(s, "background", f"{n}.fits") for n, s in enumerate(skies)))
    )


def dark(data, err=0.0):
    data = np.asarray(data, np.float32)
    return DarkImageModel(data=data, err=np.full(data.shape, err, np.float32))


def test_the_dark_is_taken_off_every_member():
    exposures = association(frame(np.full((4, 4), 5.0)), frame(np.full((4, 4), 9.0)))

    made = SubtractDarkImage().apply(exposures, dark=dark(np.full((4, 4), 2.0)))

    assert [member.model.data[0, 0] for member in made.members] == [3.0, 7.0]
    assert exposures.science[0].data[0, 0] == 5.0


def test_the_error_of_the_dark_adds_up():
    image = frame(np.full((4, 4), 5.0), err=3.0)

    (made,) = SubtractDarkImage().apply(association(image), dark=dark(np.ones((4, 4)), 4.0)).science

    assert_allclose(made.err, 5.0)


def test_a_dark_of_the_detector_serves_a_subarray():
    whole = dark(np.arange(64.0).reshape(8, 8))
    part = frame(np.zeros((2, 3)), **{"subarray.xstart": 3, "subarray.ystart": 5})

    made = run(SubtractDarkImage(), part, overrides={"dark": whole}, save_results=False).model

    assert_array_equal(-made.data, np.arange(64.0).reshape(8, 8)[4:6, 2:5])


def test_frames_of_other_detectors_and_filters_are_no_sky():
    science = frame(np.ones((16, 16)), **{"instrument.filter": "K"})
    sky = frame(np.ones((16, 16)), **{"instrument.filter": "H"})

    with pytest.raises(DataError, match="another detector or filter"):
        SubtractSky().apply(association(science, sky))


def test_without_a_sky_nothing_is_subtracted():
    image = frame(np.ones((8, 8)))

    assert isinstance(SubtractSky().apply(association(image)), Skipped)
    assert isinstance(SubtractSky().apply(image, sky=None), Skipped)


def test_a_sky_too_faint_to_see_is_subtracted_as_it_is():
    rng = np.random.default_rng(2)
    science, sky = (frame(rng.normal(0.0, 1.0, (64, 64))) for _ in range(2))

    (made,) = SubtractSky().apply(association(science, sky)).science

    assert_allclose(made.data, science.data - sky.data, atol=1e-6)
    assert made.meta.get("background.method") == "sky"


def test_a_sky_that_is_asked_not_to_be_scaled_is_not():
    science, sky = frame(np.full((32, 32), 10.0)), frame(np.full((32, 32), 8.0))

    (made,) = SubtractSky(scale=False).apply(association(science, sky)).science

    assert_allclose(made.data, 2.0)


def test_skies_are_combined_at_the_level_of_the_first():
    rng = np.random.default_rng(4)
    pattern = 1 + 0.2 * np.indices((64, 64))[1] / 64
    skies = [frame(level * pattern + rng.normal(0, 0.1, (64, 64)), err=0.1) for level in (5, 9, 7)]

    sky = CombineSky().apply(Exposures.of(skies))

    assert_allclose(sky.data, 5 * pattern, atol=0.35)  # five errors
    assert_allclose(np.mean(sky.data / (5 * pattern)), 1, atol=2e-3)


@given(st.integers(3, 9), st.sampled_from(["mean", "weighted", "median"]), st.integers(0, 99))
def test_a_value_that_does_not_belong_is_left_out_of_any_number(n, method, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(10, 1, (n, 1, 50))
    clean = combined(values, np.ones(values.shape), np.zeros(values.shape, np.uint32),
                     method=method, sigma=6.0)  # fmt: skip
    values[rng.integers(n), 0, ::2] = 1e4

    made = combined(values, np.ones(values.shape), np.zeros(values.shape, np.uint32),
                    method=method, sigma=6.0)  # fmt: skip

    # one value fewer moves a mean of n by less than a few errors
    assert (np.abs(made["data"] - clean["data"]) < 6).all()
    assert (made["dq"] == 0).all()


@given(st.permutations(range(5)), st.sampled_from(["mean", "weighted", "median"]))
def test_the_order_of_frames_does_not_matter(order, method):
    rng = np.random.default_rng(0)
    values, err = rng.normal(5, 1, (5, 3, 4)), rng.uniform(0.5, 2, (5, 3, 4))
    dq = (rng.random((5, 3, 4)) < 0.2).astype(np.uint32)

    one = combined(values, err, dq, method=method)
    other = combined(values[list(order)], err[list(order)], dq[list(order)], method=method)

    for name in one:
        assert_allclose(other[name], one[name], rtol=1e-12)


def test_where_nothing_is_usable_the_result_says_so():
    made = combined(np.full((3, 1, 1), np.nan), np.ones((3, 1, 1)), np.zeros((3, 1, 1), np.uint32))

    assert made["dq"][0, 0] & PIXEL["DO_NOT_USE"]
    assert made["data"][0, 0] == 0


def test_frames_of_different_sizes_are_refused():
    with pytest.raises(DataError, match="different sizes"):
        CombineFrames().apply(Exposures.of([frame(np.ones((4, 4))), frame(np.ones((4, 5)))]))


def test_the_measured_error_is_the_scatter():
    rng = np.random.default_rng(6)
    frames = [frame(rng.normal(3, 2.0, (40, 40)), err=2.0) for _ in range(12)]

    made = CombineFrames(errors="measure", sigma=10.0).apply(Exposures.of(frames))

    assert_allclose(np.sqrt(np.mean(made.err**2)), 2 / np.sqrt(12), rtol=0.02)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_an_image_without_light_is_not_normalised(value):
    image = frame(np.full((4, 4), value))
    if np.isnan(value):
        image.data[0] = 0.0

    with pytest.raises(DataError, match="no number to divide by"):
        NormalizeImage().apply(image)


def test_pixels_that_cannot_be_used_are_said_in_the_references_made():
    image = frame([[1.0, np.nan, 0.0, 2.0]])
    image.dq[0, 3] = PIXEL["DO_NOT_USE"]

    flat, made = MakeFlat().apply(image), MakeDark().apply(image)

    assert isinstance(flat, FlatModel)
    none = (flat.dq & PIXEL["NO_FLAT_FIELD"]) != 0
    assert_array_equal(none, [[False, True, True, True]])
    assert_array_equal(np.isnan(made.data), [[False, True, False, True]])
    assert_array_equal((made.dq & PIXEL["UNRELIABLE_DARK"]) != 0, np.isnan(made.data))


def test_a_tangent_plane_is_that_of_the_fits_standard():
    from astropy.wcs import WCS

    theirs = WCS(naxis=2)
    theirs.wcs.ctype = [KEYWORDS["ctype1"], KEYWORDS["ctype2"]]
    theirs.wcs.crpix = [KEYWORDS["crpix1"], KEYWORDS["crpix2"]]
    theirs.wcs.crval = [KEYWORDS["crval1"], KEYWORDS["crval2"]]
    theirs.wcs.cdelt = [KEYWORDS["cdelt1"], KEYWORDS["cdelt2"]]
    theirs.wcs.pc = [[KEYWORDS["pc1_1"], KEYWORDS["pc1_2"]], [KEYWORDS["pc2_1"], KEYWORDS["pc2_2"]]]
    x, y = np.meshgrid([-3.0, 0.0, 17.5], [0.0, 40.0])

    ours = tangent_system(KEYWORDS, (50, 40)).forward_transform(x, y)

    assert_allclose(ours, theirs.pixel_to_world_values(x, y), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ctype1": "GLON-CAR"}, "projection"),
        ({"crval2": None}, "not complete"),
        ({"cunit1": "arcsec"}, "not complete"),
        ({"cdelt1": 0.0}, "no size"),
    ],
)
def test_world_coordinates_that_are_not_understood_are_refused(change, words):
    with pytest.raises(DataError, match=words):
        tangent_system(KEYWORDS | change, (50, 40), "a.fits")


def test_an_image_without_world_coordinates_is_left_alone():
    image = CalModel(data=np.zeros((4, 4), np.float32))

    assert isinstance(AssignFitsWcs().apply(image), Skipped)
