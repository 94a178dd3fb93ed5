"""The capacitance kernel equals its readable twin, bit by bit, and does not care about bands."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lightmill.kernels._reference.ipc import convolve_ipc as plainly
from lightmill.kernels.ipc import convolve_ipc

seeds = st.integers(0, 2**32 - 1)


@st.composite
def cases(draw, rows=(1, 14)):
    """Counts, a kernel of one or of many pixels, and the light-sensitive area."""
    rng = np.random.default_rng(draw(seeds))
    shape = (
        draw(st.integers(1, 2)),
        draw(st.integers(1, 3)),
        draw(st.integers(*rows)),
        draw(st.integers(1, 40)),
    )
    k = draw(st.sampled_from([1, 3, 3, 5]))
    kernel = rng.normal(0, 0.02, (k, k))
    kernel[k // 2, k // 2] = 1.05
    if draw(st.booleans()):
        kernel = kernel[..., None, None] * rng.normal(1, 0.1, shape[2:])
    y0, x0 = draw(st.integers(0, shape[2])), draw(st.integers(0, shape[3]))
    valid = y0, draw(st.integers(y0, shape[2])), x0, draw(st.integers(x0, shape[3]))
    return rng.normal(1000, 300, shape).astype(np.float32), kernel.astype(np.float32), valid


@given(cases())
def test_the_kernel_equals_its_readable_twin(case):
    data, kernel, valid = case
    fast, slow = data.copy(), data.copy()

    convolve_ipc(fast, kernel, valid=valid)
    plainly(slow, kernel, valid=valid)

    np.testing.assert_array_equal(fast, slow)


@given(cases(rows=(6, 24)), st.data())
def test_a_band_is_convolved_like_the_whole_frame(case, choice):
    data, kernel, (v0, v1, x0, x1) = case
    ny, halo = data.shape[2], len(kernel) // 2
    y0 = choice.draw(st.integers(0, ny - 1))
    y1 = choice.draw(st.integers(y0 + 1, ny))
    top, bottom = max(y0 - halo, 0), min(y1 + halo, ny)
    whole, banded = data.copy(), data.copy()

    convolve_ipc(whole, kernel, valid=(v0, v1, x0, x1))
    inside = [min(max(v, top), bottom) - top for v in (v0, v1)]
    convolve_ipc(
        banded[:, :, top:bottom],
        kernel if kernel.ndim == 2 else kernel[:, :, top:bottom],
        valid=(*inside, x0, x1),
    )

    np.testing.assert_array_equal(banded[:, :, y0:y1], whole[:, :, y0:y1])


@given(seeds)
def test_signal_is_kept_away_from_the_edges(seed):
    # physics: a kernel of unit sum moves charge between neighbours and makes none
    data = np.zeros((1, 1, 9, 9), np.float32)
    data[0, 0, 3:6, 3:6] = np.random.default_rng(seed).uniform(0, 1e4, (3, 3))
    before = data.sum(dtype=float)

    convolve_ipc(data, np.array([[0, -0.01, 0], [-0.01, 1.04, -0.01], [0, -0.01, 0]]))

    # rounding: nine float32 terms of at most 1e4 per pixel
    np.testing.assert_allclose(data.sum(dtype=float), before, rtol=1e-5)
