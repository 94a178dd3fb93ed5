"""Drop pixels of an image on the pixels of another grid, all planes in one pass.

An image is dropped into `sums` (`drizzle_into`), and these are put into the mosaic (`fold_into`). Work
is cut into bands of rows of the grid, which share nothing: bits do not depend on the threads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lightmill.errors import ShapeError, UsageError
from lightmill.kernels._library import address, kernel, library

__all__ = ["COMPONENTS", "KERNELS", "drizzle_into", "fold_into", "new_sums"]

KERNELS = ("square", "turbo", "point")
COMPONENTS = 3  # noise components, at most
_CACHE_LINE = 64
_BAND = 16  # rows of the grid that are worth a thread

Positions = np.ndarray | tuple[np.ndarray, np.ndarray]


class _Image(ctypes.Structure):
    """`lm_drizzle_image`."""

    _fields_ = [
        ("n_rows", ctypes.c_size_t),
        ("n_cols", ctypes.c_size_t),
        ("margin", ctypes.c_size_t),
        ("positions", ctypes.c_void_p),
        ("along_y", ctypes.c_void_p),
        ("along_x", ctypes.c_void_p),
        ("n_terms", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("sigma", ctypes.c_void_p * COMPONENTS),
        ("kernel", ctypes.c_int),
        ("pixfrac", ctypes.c_double),
        ("ratio", ctypes.c_double),
    ]


class _Mosaic(ctypes.Structure):
    """`lm_drizzle_mosaic`."""

    _fields_ = [
        ("stride", ctypes.c_size_t),
        ("values", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("exptime", ctypes.c_void_p),
        ("context", ctypes.c_void_p),
        ("squares", ctypes.c_void_p * COMPONENTS),
        ("shares", ctypes.c_void_p * COMPONENTS),
    ]


_drizzle = kernel("lm_drizzle", "p p z z n n n n")
_fold = kernel("lm_drizzle_fold", "p n n n p f i f")
_depth = library.lm_drizzle_depth
_depth.argtypes, _depth.restype = [ctypes.c_size_t], ctypes.c_size_t


def new_sums(shape: tuple[int, int], components: int = 0) -> np.ndarray:
    """Return sums of nothing, as `drizzle_into` wants them.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of a window of the grid.
    components : int
        Noise components, 0 to 3.

    Returns
    -------
    sums : (ny, nx, depth) ndarray of float32
        ``[..., 0]`` Σ a w, ``[..., 1]`` Σ a w d, ``[..., 2 + k]`` Σ a w σ_k of overlaps a, weights
        w, values d, standard deviations σ; depth is 2, 4 (one or two components) or 8.

    Raises
    ------
    ShapeError
        An empty window, or too many components.
    """
    if min(shape) < 1 or not 0 <= components <= COMPONENTS:
        raise ShapeError(
            "there are no such sums",
            found=f"{shape}, {components} components",
            expected=f"at least one pixel, at most {COMPONENTS} components",
        )
    full = (*shape, _depth(components))
    # An element must not lie across two lines of the cache.
    raw = np.zeros(4 * int(np.prod(full, dtype=np.int64)) + _CACHE_LINE, np.uint8)
    first = -raw.__array_interface__["data"][0] % _CACHE_LINE
    return raw[first : len(raw) - _CACHE_LINE + first].view(np.float32).reshape(full)


def drizzle_into(
    sums: np.ndarray,
    origin: tuple[int, int],
    positions: Positions,
    data: np.ndarray,
    weight: np.ndarray,
    sigma: Sequence[np.ndarray] = (),
    *,
    kernel: str = "square",
    pixfrac: float = 1.0,
    ratio: float = 1.0,
    threads: int = 1,
) -> None:
    """Add what an image, or a part of it, drops on a window of a grid.

    Weighted mean of Fruchter & Hook (2002, PASP 114, 144): a pixel, shrunk by `pixfrac`, gives each
    pixel of the grid it overlaps the fraction a of its area that lies there. Drops of a part add up
    to those of the whole. A pixel with a position that is not a number, also of a neighbour that
    shares one of its corners, or with a weight that is not positive and finite, is not used.

    Parameters
    ----------
    sums : (my, mx, depth) ndarray of float32
        From `new_sums`, for as many components as there are in `sigma`; changed.
    origin : (int, int)
        Row and column of the grid that ``sums[0, 0]`` is.
    positions : (ny, nx, 2) or (ny + 2, nx + 2, 2) array_like of float64, or pair of such
        Where the centres of pixels lie: (x, y) in the pixels of the grid, 0 is the centre of the
        first. With a margin of one pixel on each side the corners at the edge are interpolated as
        all others, else those neighbours are extrapolated. A pair ``(along_y, along_x)`` of shapes
        (ny, k), (k, nx, 2) stands for their product ``einsum("yk,kxp->yxp")``: a polynomial needs no
        array of positions.
    data : (ny, nx) array_like of float32
        Surface brightness.
    weight : (ny, nx) array_like of float32
    sigma : sequence of (ny, nx) array_like of float32
        Standard deviation by component, at most three.
    kernel : {'square', 'turbo', 'point'}
        The quadrilateral between the corners, interpolated bilinearly; a square along the axes of
        the grid, of side ``pixfrac / ratio``; or all to the pixel the centre falls on.
    pixfrac : float
        Side of the drop over that of the pixel, 0 < pixfrac <= 1.
    ratio : float
        Side of a pixel of the grid over that of the image; only ``turbo`` needs it.
    threads : int
        Bands of the window worked on at a time.

    Raises
    ------
    ShapeError
        Arrays that do not fit each other.
    UsageError
        An unknown kernel; `pixfrac` or `ratio` out of range.
    """
    if kernel not in KERNELS:
        raise UsageError("there is no such kernel", found=kernel, expected=", ".join(KERNELS))
    data = np.ascontiguousarray(data, np.float32)
    if data.ndim != 2 or not data.size:
        raise ShapeError("the image must have two axes", found=data.shape, expected="(ny, nx)")
    planes = [_like(weight, "weight", data.shape)]
    planes += [_like(one, f"sigma[{k}]", data.shape) for k, one in enumerate(sigma)]
    _check_sums(sums, len(sigma))
    margin, dense, along_y, along_x = _positions(positions, data.shape)
    image = _Image(
        *data.shape,
        margin,
        address(dense),
        address(along_y),
        address(along_x),
        0 if along_y is None else along_y.shape[1],
        address(data),
        address(planes[0]),
        (ctypes.c_void_p * COMPONENTS)(*(address(plane) for plane in planes[1:])),
        KERNELS.index(kernel),
        pixfrac,
        ratio,
    )
    rows, columns = sums.shape[:2]

    def band(first: int, end: int) -> None:
        _drizzle(
            ctypes.byref(image), address(sums), origin[1], origin[0], rows, columns, first, end
        )

    _in_bands(band, rows, threads)


def fold_into(
    sums: np.ndarray,
    values: np.ndarray,
    weight: np.ndarray,
    *,
    exptime: np.ndarray | None = None,
    time: float = 0.0,
    context: np.ndarray | None = None,
    bit: int = 0,
    squares: Sequence[np.ndarray] = (),
    shares: Sequence[np.ndarray] = (),
    share: float | None = None,
    threads: int = 1,
) -> None:
    """Put the sums of one image into a mosaic, and clear them for the next.

    The mean standard deviation of the pixels that contribute, σ_k = Σ a w σ / Σ a w, is taken as if
    all of one image were correlated; images are independent. Combined with shares q, the variance
    of the mosaic is ``squares / shares**2``, its value ``values / weight``.

    Parameters
    ----------
    sums : (my, mx, depth) ndarray of float32
        From `drizzle_into`; zero afterwards.
    values, weight : (my, mx) ndarray of float32
        Σ a w d and Σ a w over images; added to. These and the planes below may be windows of larger
        arrays, all of the same width.
    exptime : (my, mx) ndarray of float32, optional
        `time` is added where the image contributes [s].
    time : float
        Exposure time [s].
    context : (my, mx) ndarray of int32, optional
        Bit number `bit`, 0 to 31, is set where the image contributes.
    bit : int
    squares, shares : sequences of (my, mx) ndarray of float32
        (q σ_k)² and q, by component, are added where they are finite and q is positive.
    share : float, optional
        q; by default ``1 / σ_0**2``, by pixel.
    threads : int
        Bands worked on at a time.

    Raises
    ------
    ShapeError
        Planes that do not fit.
    UsageError
        A share that is not positive, or a bit out of range.
    """
    _check_sums(sums, len(squares))
    if len(shares) != len(squares):
        raise ShapeError("each square needs a share", found=len(shares), expected=len(squares))
    if not 0 <= bit < 32 or (share is not None and not 0 < share < np.inf):
        raise UsageError("out of range", found=f"bit {bit}, share {share}", expected="0-31, > 0")
    shape = sums.shape[:2]
    given = [("values", values), ("weight", weight)]
    given += [("exptime", exptime)] if exptime is not None else []
    given += [(f"squares[{k}]", one) for k, one in enumerate(squares)]
    given += [(f"shares[{k}]", one) for k, one in enumerate(shares)]
    strides = {_plane(plane, name, np.float32, shape) for name, plane in given}
    if context is not None:
        strides.add(_plane(context, "context", np.int32, shape))
    if len(strides) > 1:
        raise ShapeError("the planes differ in width", found=sorted(strides), expected="one")
    (stride,) = strides

    def band(first: int, end: int) -> None:
        mosaic = _Mosaic(
            stride,
            address(values[first:end]),
            address(weight[first:end]),
            None if exptime is None else address(exptime[first:end]),
            None if context is None else address(context[first:end]),
            (ctypes.c_void_p * COMPONENTS)(*(address(one[first:end]) for one in squares)),
            (ctypes.c_void_p * COMPONENTS)(*(address(one[first:end]) for one in shares)),
        )
        _fold(
            address(sums[first:end]),
            len(squares),
            end - first,
            shape[1],
            ctypes.byref(mosaic),
            time,
            (1 << bit) - (1 << 32 if bit == 31 else 0),
            0.0 if share is None else share,
        )

    _in_bands(band, shape[0], threads)


def _in_bands(band: Callable[[int, int], None], rows: int, threads: int) -> None:
    """Run a function on bands of rows, in threads."""
    count = max(1, min(threads, rows // _BAND))
    edges = [rows * k // count for k in range(count + 1)]
    if count == 1:
        band(0, rows)
        return
    with ThreadPoolExecutor(count, thread_name_prefix="drizzle") as pool:
        for _ in pool.map(band, edges[:-1], edges[1:]):
            pass


def _like(array: np.ndarray, name: str, shape: tuple[int, ...]) -> np.ndarray:
    array = np.ascontiguousarray(array, np.float32)
    if array.shape != shape:
        raise ShapeError(f"{name} does not fit the image", found=array.shape, expected=shape)
    return array


def _positions(
    positions: Positions, shape: tuple[int, ...]
) -> tuple[int, np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Return the margin, and the positions or the factors they are the product of."""
    dense = along_y = along_x = None
    if isinstance(positions, tuple):
        along_y, along_x = (np.ascontiguousarray(one, np.float64) for one in positions)
        fit = along_y.ndim == 2 and along_x.ndim == 3 and along_x.shape[0] == along_y.shape[1] > 0
        found = (*along_y.shape[:1], *along_x.shape[1:]) if fit else (along_y.shape, along_x.shape)
    else:
        dense = np.ascontiguousarray(positions, np.float64)
        found = dense.shape
    ny, nx = shape
    margin = int(found == (ny + 2, nx + 2, 2))
    if not margin and (found != (ny, nx, 2) or min(ny, nx) < 2):
        raise ShapeError(
            "the positions do not fit the image",
            found=found,
            expected=f"({ny + 2}, {nx + 2}, 2)"
            + (f" or ({ny}, {nx}, 2)" if min(ny, nx) > 1 else ""),
        )
    return margin, dense, along_y, along_x


def _check_sums(sums: np.ndarray, components: int) -> None:
    if (
        components > COMPONENTS
        or not isinstance(sums, np.ndarray)
        or sums.dtype != np.float32
        or sums.ndim != 3
        or not sums.size
        or sums.shape[2] != _depth(components)
        or not sums.flags.c_contiguous
        or not sums.flags.writeable
    ):
        raise ShapeError(
            "these are no sums for so many components",
            found=f"{getattr(sums, 'shape', sums)}, {components} components",
            expected=f"an array from new_sums, at most {COMPONENTS} components",
        )


def _plane(array: np.ndarray, name: str, dtype: type, shape: tuple[int, ...]) -> int:
    """Check a plane of the mosaic; return the elements from one of its rows to the next."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
        raise ShapeError(
            f"{name} does not fit the sums",
            found=f"{getattr(array, 'dtype', array)} {getattr(array, 'shape', '')}",
            expected=f"{np.dtype(dtype)} {shape}",
        )
    item = array.itemsize
    steps = array.strides if shape[0] > 1 else (item * shape[1], array.strides[1])
    if steps[1] != item or steps[0] < item * shape[1] or steps[0] % item:
        raise ShapeError(f"the rows of {name} must be contiguous", found=array.strides)
    if not array.flags.writeable:
        raise ShapeError(f"{name} is read-only, and this kernel works in place")
    return steps[0] // item
