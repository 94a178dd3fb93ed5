"""Drizzling keeps what a sky is, says how well it is known, and does not care how it is cut up."""

import numpy as np
import pytest

from lightmill.imaging.drizzle_inputs import bad_bits
from lightmill.imaging.drizzling import Pixels, Recipe, Sheet, combine
from lightmill.imaging.mosaic_frame import corners_of, cover
from lightmill.imaging.pixel_map import PixelMap
from lightmill.models import Region
from lightmill.models.dq import PIXEL
from tests.unit.imaging.sky_exposures import distorted_wcs

SHAPE = (150, 130)
WHOLE = Region(0, *SHAPE[:1], 0, *SHAPE[1:])


def sheets_of(n=2, *, data=None, sigma=1.0, ratio=1.0, roll=3.0, weight=None):
    """Images of one field, some pixels apart and rolled, and the frame that covers them."""
    random = np.random.default_rng(2)
    systems = [
        distorted_wcs(SHAPE, ra=53.1 + k * 2e-4, roll=roll * k, distortion=1e-5) for k in range(n)
    ]
    frame = cover(
        [corners_of(w, SHAPE) for w in systems], systems[0], SHAPE, pixel_scale_ratio=ratio
    )
    sheets = []
    for wcs in systems:
        image = random.normal(5, sigma, SHAPE) if data is None else data
        pixels = Pixels(
            image.astype(np.float32),
            np.full(SHAPE, 1 / sigma**2, np.float32) if weight is None else weight,
            {"var_rnoise": np.full(SHAPE, sigma, np.float32)},
        )

        def read(region, pixels=pixels):
            rows = region.slices
            return Pixels(
                pixels.data[rows],
                pixels.weight[rows],
                {name: one[rows] for name, one in pixels.sigma.items()},
            )

        sheets.append(Sheet(PixelMap(wcs, frame.wcs, SHAPE), WHOLE, read, 100.0))
    return sheets, frame


def whole(sheets, frame, recipe, **more):
    stripes = [planes for _, planes in combine(sheets, frame.shape, recipe, **more)]
    return {name: np.concatenate([s[name] for s in stripes], axis=-2) for name in stripes[0]}


def recipe_of(frame, **more):
    return Recipe(ratio=frame.ratio, components=("var_rnoise",), **more)


@pytest.mark.parametrize("kernel", ["square", "turbo", "point", "gaussian", "lanczos3"])
@pytest.mark.parametrize("ratio", [1.0, 0.6])
def test_a_flat_sky_stays_the_same_surface_brightness(kernel, ratio):
    sheets, frame = sheets_of(data=np.full(SHAPE, 7.0), ratio=ratio)

    mosaic = whole(sheets, frame, recipe_of(frame, kernel=kernel))

    there = mosaic["wht"] != 0
    assert there.mean() > (0.2 if kernel == "point" else 0.6)
    # tolerance: rounding of float32; a Lanczos sum of small weights loses some digits more
    np.testing.assert_allclose(
        mosaic["data"][there], 7.0, rtol=1e-3 if kernel == "lanczos3" else 1e-5
    )
    assert np.isnan(mosaic["data"][~there]).all()


def test_the_flux_of_a_source_is_kept():
    y, x = np.indices(SHAPE)
    star = 1000 * np.exp(-((x - 66.3) ** 2 + (y - 71.7) ** 2) / 2 / 1.5**2)
    sheets, frame = sheets_of(1, data=star, ratio=0.7)

    mosaic = whole(sheets, frame, recipe_of(frame))

    flux = np.nansum(mosaic["data"]) * frame.ratio**2
    # tolerance: the distortion changes the area of pixels by 2e-3 across the image
    assert flux == pytest.approx(star.sum(), rel=2e-3)


def test_stripes_make_the_mosaic_that_one_piece_makes():
    sheets, frame = sheets_of(3, roll=20.0)
    recipe = recipe_of(frame)

    once, cut = whole(sheets, frame, recipe), whole(sheets, frame, recipe, stripe_pixels=64)

    np.testing.assert_array_equal(cut["con"], once["con"])
    for name in ("data", "wht", "exptime", "var_rnoise"):
        # tolerance: positions come from products of other shapes; they differ by 1e-12 pixel
        np.testing.assert_allclose(cut[name], once[name], rtol=2e-5, equal_nan=True, err_msg=name)


def test_the_context_says_who_contributes_also_beyond_32_images():
    sheets, frame = sheets_of(1)
    many = [*sheets * 33]

    mosaic = whole(many, frame, recipe_of(frame))

    inside = mosaic["wht"] > 0
    assert mosaic["con"].shape[0] == 2
    assert (mosaic["con"][0][inside] == -1).all()  # 32 bits
    assert (mosaic["con"][1][inside] == 1).all()
    assert (mosaic["con"][:, ~inside] == 0).all()
    assert (mosaic["exptime"][inside] == 3300.0).all()


def test_the_noise_of_independent_images_averages_out():
    sheets, frame = sheets_of(1, sigma=2.0)

    one, four = (whole(sheets * n, frame, recipe_of(frame))["var_rnoise"] for n in (1, 4))

    inside = np.isfinite(one)
    # one image: the mean deviation of its pixels, as if they were one measurement
    np.testing.assert_allclose(one[inside], 4.0, rtol=1e-4)
    np.testing.assert_allclose(four[inside], 1.0, rtol=1e-4)


def test_variance_of_smaller_pixels_grows_with_the_inverse_of_their_area():
    sheets, frame = sheets_of(1, sigma=2.0, ratio=0.5)

    variance = whole(sheets, frame, recipe_of(frame))["var_rnoise"]

    np.testing.assert_allclose(variance[np.isfinite(variance)], 16.0, rtol=1e-4)


def test_a_pixel_of_no_weight_leaves_no_trace():
    data = np.full(SHAPE, 7.0)
    data[60:63, 50:53] = np.nan
    weight = np.where(np.isnan(data), 0, 1).astype(np.float32)
    sheets, frame = sheets_of(1, data=data, weight=weight, roll=0.0)

    mosaic = whole(sheets, frame, recipe_of(frame))

    there = mosaic["wht"] > 0
    np.testing.assert_allclose(mosaic["data"][there], 7.0, rtol=1e-5)
    y, x = np.round(sheets[0].pixel_map.points(51.0, 61.0)).astype(int)[::-1]
    assert not there[y, x]


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("~DO_NOT_USE", PIXEL["DO_NOT_USE"]),
        ("~DO_NOT_USE+NON_SCIENCE", PIXEL["DO_NOT_USE"] | PIXEL["NON_SCIENCE"]),
        ("JUMP_DET, 2", 0xFFFFFFFF & ~(PIXEL["JUMP_DET"] | 2)),
        ("", 0xFFFFFFFF),
        ("None", 0),
    ],
)
def test_flags_that_do_harm_are_told_by_those_that_do_not(text, bad):
    assert bad_bits(text) == bad
