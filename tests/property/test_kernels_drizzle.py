"""The drizzle kernel equals its readable twin and the library, and does not care about bands."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightmill.errors import ShapeError, UsageError
from lightmill.kernels._reference import drizzle as plain
from lightmill.kernels.drizzle import drizzle_into, fold_into, new_sums

seeds = st.integers(0, 2**32 - 1)
EPS = np.finfo(np.float32).eps


def position_map(shape, *, angle, ratio, flip, centre, bend, margin=0):
    """Rotated, scaled, mirrored and bent: pixels of the grid, (ny, nx, 2)."""
    y, x = np.mgrid[-margin : shape[0] + margin, -margin : shape[1] + margin].astype(float)
    x, y = (x - shape[1] / 2) * (-1 if flip else 1), y - shape[0] / 2
    x, y = x + bend * x * y, y - bend * x**2
    c, s = np.cos(angle) / ratio, np.sin(angle) / ratio
    return np.stack([c * x - s * y + centre[0], s * x + c * y + centre[1]], axis=-1)


@st.composite
def cases(draw, margins=(0, 1), shape=None):
    """An image with bad pixels and positions, on a grid it may only partly fall on."""
    rng = np.random.default_rng(draw(seeds))
    shape = shape or (draw(st.integers(2, 7)), draw(st.integers(2, 24)))
    margin = draw(st.sampled_from(margins))
    positions = position_map(
        shape,
        angle=draw(st.sampled_from([0.0, 1e-9, 1e-4, 0.3, 0.78, 1.5707963267948966, 4.0])),
        ratio=draw(st.sampled_from([0.3, 0.6, 1.0, 1.0, 1.3, 3.0])),
        flip=draw(st.booleans()),
        centre=rng.uniform(2, 12, 2) if draw(st.booleans()) else rng.integers(2, 12, 2) + 0.5,
        bend=draw(st.sampled_from([0.0, 1e-4])),
        margin=margin,
    )
    data = rng.normal(1, 1, shape).astype(np.float32)
    weight = rng.uniform(0.5, 2, shape).astype(np.float32)
    sigma = rng.uniform(0.1, 1, (draw(st.integers(0, 3)), *shape)).astype(np.float32)
    if draw(st.booleans()):
        weight[rng.random(shape) < 0.2] = 0
        weight[rng.random(shape) < 0.1] = np.nan
        data[weight == 0] = np.nan
        positions[rng.random(positions.shape[:2]) < 0.05] = np.nan
    return positions, data, weight, list(sigma)


@given(
    cases(),
    st.sampled_from(["square", "square", "turbo", "point"]),
    st.sampled_from([1.0, 0.5, 0.01]),
)
def test_the_kernel_equals_its_readable_twin(case, kernel, pixfrac):
    _, data, _, sigma = case
    how = {"kernel": kernel, "pixfrac": pixfrac, "ratio": 1.25}
    fast = new_sums((16, 13), len(sigma))
    slow = np.zeros(fast.shape, np.float64)

    drizzle_into(fast, (-2, 1), *case, **how)
    plain.drizzle_into(slow, (-2, 1), *case, **how)

    # an element is a sum of at most all pixels, each rounded; a sliver may be rounded away
    size = np.abs(slow).max(initial=1)
    np.testing.assert_allclose(fast, slow, rtol=data.size * EPS, atol=size * data.size * EPS)


@given(cases(), st.booleans())
def test_sums_fold_like_those_of_the_twin(case, with_share):
    sigma = case[3]
    share = 7.0 if with_share else None
    sums = new_sums((16, 13), len(sigma))
    drizzle_into(sums, (-2, 1), *case)
    before = sums.astype(np.float64)

    def fold(into, sums, dtype):
        planes = np.ones((3 + 2 * len(sigma), 16, 13), dtype)
        context = np.full((16, 13), 2, np.int32)
        into(
            sums, planes[0], planes[1], exptime=planes[2], time=10.0, context=context, bit=31,
            squares=planes[3::2], shares=planes[4::2], share=share,
        )  # fmt: skip
        return planes, context

    fast, slow = fold(fold_into, sums, np.float32), fold(plain.fold_into, before, np.float64)

    # a square is made by four roundings
    np.testing.assert_allclose(fast[0], slow[0], rtol=8 * EPS, atol=8 * EPS)
    np.testing.assert_array_equal(fast[1], slow[1])
    assert not sums.any()


@given(cases(shape=(9, 20)), st.sampled_from(["square", "turbo", "point"]), st.integers(0, 40))
def test_a_window_gets_the_bits_of_the_whole_grid_whatever_the_threads(case, kernel, row):
    components = len(case[3])
    whole, parted = new_sums((70, 40), components), new_sums((70, 40), components)
    window = new_sums((9, 11), components)
    how = {"kernel": kernel, "pixfrac": 0.9}

    drizzle_into(whole, (-20, -10), *case, **how)
    drizzle_into(parted, (-20, -10), *case, threads=4, **how)
    drizzle_into(window, (row - 20, 3), *case, **how)

    np.testing.assert_array_equal(parted, whole)
    np.testing.assert_array_equal(window, whole[row : row + 9, 13:24])


@given(cases(margins=(1,)))
def test_rows_of_an_image_add_up_to_the_whole(case):
    # physics: what an image drops does not depend on how much of it is read at a time
    positions, data, weight, sigma = case
    whole, parts = new_sums((30, 30), len(sigma)), new_sums((30, 30), len(sigma))

    drizzle_into(whole, (-8, -8), *case)
    for rows in (slice(0, 1), slice(1, data.shape[0])):
        drizzle_into(
            parts, (-8, -8), positions[rows.start : rows.stop + 2], data[rows], weight[rows],
            [one[rows] for one in sigma],
        )  # fmt: skip

    np.testing.assert_array_equal(parts, whole)


@given(cases(margins=(1,), shape=(2, 20)))
@settings(max_examples=20)
def test_a_drop_is_the_same_whatever_lies_beside_it(case):
    positions, data, weight, sigma = case
    together, alone = new_sums((30, 30), len(sigma)), new_sums((30, 30), len(sigma))

    drizzle_into(together, (-8, -8), *case)
    for pixel in np.ndindex(data.shape):
        one = np.zeros_like(weight)
        one[pixel] = weight[pixel]
        drizzle_into(alone, (-8, -8), positions, data, one, sigma)

    np.testing.assert_array_equal(alone, together)


@given(seeds)
def test_a_product_of_polynomials_is_as_good_as_its_positions(seed):
    rng = np.random.default_rng(seed)
    ny, nx = 5, 19
    along_y = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, ny + 2), 3)
    along_x = rng.normal(0, 1e-3, (4, nx + 2, 2))
    along_x[0, :, 0] += np.arange(nx + 2)
    along_x[1, :, 1] += ny / 2
    data, weight = np.ones((ny, nx), np.float32), np.ones((ny, nx), np.float32)
    dense, product = new_sums((12, 30)), new_sums((12, 30))

    drizzle_into(dense, (-6, -2), np.einsum("yk,kxp->yxp", along_y, along_x), data, weight)
    drizzle_into(product, (-6, -2), (along_y, along_x), data, weight)

    # positions differ by the rounding of a product in float64, sums by that of float32
    np.testing.assert_allclose(product, dense, rtol=4 * EPS, atol=4 * EPS)


@given(seeds, st.sampled_from([0.3, 0.8, 1.0]), st.sampled_from([0.4, 1.0, 2.5]), st.booleans())
@settings(max_examples=20)
def test_all_the_weight_and_flux_arrive(seed, pixfrac, ratio, flip):
    # physics: the whole image falls on the grid, and a drop gives away all of itself
    rng = np.random.default_rng(seed)
    positions = position_map(
        (12, 17), angle=rng.uniform(0, 7), ratio=ratio, flip=flip, centre=(40, 40), bend=1e-4
    )
    data = rng.uniform(1, 2, (12, 17)).astype(np.float32)
    weight = rng.uniform(1, 2, (12, 17)).astype(np.float32)
    sums = new_sums((80, 80))

    drizzle_into(sums, (0, 0), positions, data, weight, pixfrac=pixfrac)

    arrived = sums.sum(axis=(0, 1), dtype=np.float64)
    # each of about a hundred parts that meet in an element is rounded once
    np.testing.assert_allclose(arrived, [weight.sum(), (weight * data).sum()], rtol=20 * EPS)


@pytest.mark.parametrize("kernel", ["square", "turbo", "point"])
@pytest.mark.parametrize("ratio", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("pixfrac", [1.0, 0.6])
def test_the_library_puts_the_same_on_the_grid(kernel, ratio, flip, pixfrac):
    resample = pytest.importorskip("drizzle.resample", reason="NO DRIZZLE: extra `imaging`")
    rng = np.random.default_rng(3)
    shape, size = (40, 50), int(90 / ratio)
    positions = position_map(
        shape, angle=0.4, ratio=ratio, flip=flip, centre=(size / 2, size / 2), bend=1e-5
    )
    positions[20, 30] = np.nan
    data = rng.normal(3, 1, shape).astype(np.float32)
    weight = rng.uniform(0.5, 2, shape).astype(np.float32)
    weight[rng.random(shape) < 0.1] = 0
    sigma = rng.uniform(0.5, 2, shape).astype(np.float32)
    sums = new_sums((size, size), 1)

    drizzle_into(
        sums, (0, 0), positions, data, weight, [sigma], kernel=kernel, pixfrac=pixfrac, ratio=ratio
    )

    canvas = {}
    for name, image in (("data", data), ("sigma", sigma)):
        canvas[name] = resample.Drizzle(kernel=kernel, fillval="0", out_shape=(size, size))
        canvas[name].add_image(
            image, exptime=1.0, pixmap=positions, weight_map=weight, pixfrac=pixfrac,
            pixel_scale_ratio=ratio,
        )  # fmt: skip
    there = sums[..., 0] > 0
    # the library rounds its mean and weight to float32 after each of up to some ten drops
    np.testing.assert_array_equal(there, canvas["data"].out_ctx[0] != 0)
    np.testing.assert_allclose(sums[..., 0], canvas["data"].out_wht, rtol=20 * EPS, atol=EPS)
    for k, name in enumerate(canvas, start=1):
        mean = sums[there][:, k] / sums[there][:, 0]
        np.testing.assert_allclose(mean, canvas[name].out_img[there], rtol=40 * EPS, atol=40 * EPS)


def test_what_does_not_fit_is_refused():
    one, sums, positions = np.ones((3, 4), np.float32), new_sums((5, 5)), np.zeros((3, 4, 2))
    with pytest.raises(ShapeError):
        drizzle_into(sums, (0, 0), positions[:2], one, one)
    with pytest.raises(ShapeError):
        drizzle_into(sums, (0, 0), positions[:1], one[:1], one[:1])
    with pytest.raises(ShapeError):
        drizzle_into(sums, (0, 0), positions, one, one[:2])
    with pytest.raises(ShapeError):
        drizzle_into(sums, (0, 0), positions, one, one, [one])
    with pytest.raises(ShapeError):
        new_sums((5, 5), 4)
    with pytest.raises(UsageError):
        drizzle_into(sums, (0, 0), positions, one, one, pixfrac=0.0)
    with pytest.raises(UsageError):
        drizzle_into(sums, (0, 0), positions, one, one, kernel="lanczos3")
    plane = np.zeros((5, 5), np.float32)
    with pytest.raises(ShapeError):
        fold_into(sums, plane, plane.astype(np.float64))
    with pytest.raises(ShapeError):
        fold_into(sums, plane, np.zeros((5, 6), np.float32)[:, :5])
    with pytest.raises(UsageError):
        fold_into(sums, plane, plane, bit=32)
