"""Drizzle images onto one grid, stripe by stripe, with errors by component.

The weighted mean of Fruchter & Hook (2002, PASP 114, 144): each pixel of an image, shrunk by
`pixfrac`, drops its value onto the pixels of the grid it overlaps, weighted by the area of the
overlap and by its own weight. The `drizzle` library does it; this module decides what it is given.

The errors are not those of a sum of independent pixels: neighbours of the grid share pixels of the
image. As the field has it, the standard deviation of each noise component is averaged over the
pixels that contribute, as if all of one image were correlated, and the images are then combined as
independent measurements.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lightmill.imaging.pixel_map import PixelMap
from lightmill.kernels.drizzle import drizzle_into, fold_into, new_sums
from lightmill.models import Region

__all__ = ["Pixels", "Recipe", "Sheet", "combine", "drizzle", "reached", "touched"]

STRIPE_PIXELS = 1 << 20  # of the grid worked on at a time: about 20 planes of 4 MB
BAND_ROWS = 512  # of an image whose positions are in memory at a time
OWN = ("square", "turbo", "point")  # kernels of our own (`lightmill.kernels.drizzle`)
NOT_CONSERVING = ("gaussian", "lanczos2", "lanczos3")
PLANE_BITS = 32  # images told apart in one plane of the context


@dataclass(frozen=True)
class Pixels:
    """A part of an image.

    Attributes
    ----------
    data : (ny, nx) ndarray of float32
        Surface brightness.
    weight : (ny, nx) ndarray of float32
        Zero where the pixel must not be used.
    sigma : dict of str to (ny, nx) ndarray of float32
        Standard deviation by noise component.
    """

    data: np.ndarray
    weight: np.ndarray
    sigma: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Sheet:
    """An image to be put on the grid.

    Attributes
    ----------
    pixel_map : PixelMap
        From its pixels to those of the grid.
    valid : Region
        Pixels its world coordinate system is valid for.
    read : callable
        Takes a Region, returns its Pixels.
    exptime : float
        Exposure time [s].
    """

    pixel_map: PixelMap
    valid: Region
    read: Callable[[Region], Pixels]
    exptime: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """How images are put together.

    Attributes
    ----------
    kernel : str
        Shape of the drop: square, turbo, point, gaussian, lanczos2, lanczos3.
    pixfrac : float
        Side of the drop over that of the pixel.
    ratio : float
        Side of a pixel of the grid over that of an image.
    fill : float
        Value where no image contributes.
    components : tuple of str
        Noise components, the one that weighs the images first.
    inverse_variance : bool
        Errors are combined with the inverse of the first component's variance, else with the
        exposure time.
    context : bool
        Keep which images contribute.
    threads : int
        Bands of the grid worked on at a time.
    """

    kernel: str = "square"
    pixfrac: float = 1.0
    ratio: float = 1.0
    fill: float = np.nan
    components: tuple[str, ...] = ()
    inverse_variance: bool = True
    context: bool = True
    threads: int = 1

    @property
    def reach(self) -> int:
        """Pixels of the grid a drop can reach from its centre, at most."""
        radius = {"lanczos2": 2.0, "lanczos3": 3.0, "gaussian": 3.0}.get(self.kernel, 1.0)
        return int(np.ceil(radius * max(self.pixfrac, 1.0) / min(self.ratio, 1.0))) + 2


def touched(pixel_map: PixelMap, rows: tuple[int, int], reach: int, valid: Region) -> Region | None:
    """Return the pixels of an image that may fall on some rows of a grid.

    Parameters
    ----------
    pixel_map : PixelMap
    rows : (int, int)
        First row, and the one after the last; None where there is no limit.
    reach : int
        Rows beyond that count, too.
    valid : Region
        Pixels that may be used.

    Returns
    -------
    region : Region or None
        A rectangle that holds all of them; None if there are none.
    """
    step = 32
    y, x, (_, row) = pixel_map.spread(step)
    # A cell of the sparse grid counts if the range of its four corners meets the rows.
    low = np.minimum.reduce([row[:-1, :-1], row[1:, :-1], row[:-1, 1:], row[1:, 1:]])
    high = np.maximum.reduce([row[:-1, :-1], row[1:, :-1], row[:-1, 1:], row[1:, 1:]])
    cells = (high >= rows[0] - reach) & (low < rows[1] + reach) & np.isfinite(low + high)
    if not cells.any():
        return None
    ys, xs = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    region = Region(
        max(valid.y0, int(np.floor(y[ys[0]]))),
        min(valid.y1, int(np.ceil(y[ys[-1] + 1])) + 1),
        max(valid.x0, int(np.floor(x[xs[0]]))),
        min(valid.x1, int(np.ceil(x[xs[-1] + 1])) + 1),
    )
    return region if region.y0 < region.y1 and region.x0 < region.x1 else None


def reached(pixel_map: PixelMap, region: Region, bounds: Region, reach: int) -> Region | None:
    """Return the part of a grid that pixels of an image can fall on.

    Parameters
    ----------
    pixel_map : PixelMap
    region : Region
        Of the image.
    bounds : Region
        Part of the grid that counts; it may reach beyond it.
    reach : int
        Pixels of the grid a drop can reach.

    Returns
    -------
    window : Region or None
        None if they fall beside it.
    """
    y = np.linspace(region.y0 - 0.5, region.y1 - 0.5, max(2, (region.y1 - region.y0) // 32))
    x = np.linspace(region.x0 - 0.5, region.x1 - 0.5, max(2, (region.x1 - region.x0) // 32))
    columns, rows = pixel_map.points(*np.broadcast_arrays(x[None, :], y[:, None]))
    window = Region(
        max(bounds.y0, int(np.floor(np.nanmin(rows))) - reach),
        min(bounds.y1, int(np.ceil(np.nanmax(rows))) + reach + 1),
        max(bounds.x0, int(np.floor(np.nanmin(columns))) - reach),
        min(bounds.x1, int(np.ceil(np.nanmax(columns))) + reach + 1),
    )
    return window if window.y0 < window.y1 and window.x0 < window.x1 else None


def drizzle(
    sheet: Sheet,
    region: Region,
    window: Region,
    recipe: Recipe,
    *,
    errors: bool = True,
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Drop a part of one image on a window of the grid.

    Parameters
    ----------
    sheet : Sheet
        The image.
    region : Region
        The part.
    window : Region
        Part of the grid.
    recipe : Recipe
    errors : bool
        Return the standard deviations, too.

    Returns
    -------
    image : (ny, nx) ndarray of float32
        Weighted mean; zero where nothing fell.
    weight : (ny, nx) ndarray of float32
        Sum of weights.
    sigma : dict of str to (ny, nx) ndarray of float32
        Mean standard deviation by component, of the pixels that contribute.
    """
    if recipe.kernel not in OWN:
        return _by_library(sheet, region, window, recipe, errors=errors)
    sums, names = _sums(sheet, region, window, recipe, None if errors else ())
    weight = np.ascontiguousarray(sums[..., 0])
    image = sums[..., 1] / np.where(weight > 0, weight, np.float32(1))
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = {name: sums[..., 2 + k] / weight for k, name in enumerate(names)}
    return image, weight, sigma


def _sums(
    sheet: Sheet,
    region: Region,
    window: Region,
    recipe: Recipe,
    wanted: Sequence[str] | None = None,
) -> tuple[np.ndarray, list[str]]:
    """Return what a part of one image drops on a window, as sums (`kernels.drizzle.new_sums`).

    And the noise components they are of: those of `wanted` (all, by default) that the image has.
    The image is read band by band.
    """
    sums: np.ndarray | None = None
    names: list[str] = []
    for y0 in range(region.y0, region.y1, BAND_ROWS):
        y1 = min(region.y1, y0 + BAND_ROWS)
        pixels = sheet.read(Region(y0, y1, region.x0, region.x1))
        if sums is None:
            names = [name for name in pixels.sigma if wanted is None or name in wanted]
            sums = new_sums(window.shape, len(names))
        # Corners of pixels come from the centres of their neighbours: one more on each side.
        drizzle_into(
            sums,
            (window.y0, window.x0),
            sheet.pixel_map.block(y0 - 1, y1 + 1, region.x0 - 1, region.x1 + 1),
            pixels.data,
            pixels.weight,
            [pixels.sigma[name] for name in names],
            kernel=recipe.kernel,
            pixfrac=recipe.pixfrac,
            ratio=recipe.ratio,
            threads=recipe.threads,
        )
    assert sums is not None  # a region has rows
    return sums, names


def _by_library(
    sheet: Sheet, region: Region, window: Region, recipe: Recipe, *, errors: bool
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Drop a part of one image with a kernel that only the library has."""
    from drizzle.resample import Drizzle

    pixels = sheet.read(region)
    names = [name for name in pixels.sigma if errors]
    shape = window.shape
    image, weight = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    # The library propagates what goes as the square of the weights: Σ(aw)²v / (Σaw)². With v = σ/w,
    # divided by the same of v = 1/w, that is a mean of σ, from the one pass over the overlaps a
    # that is made anyway; only that large overlaps count more than they do for the values.
    squares = [np.zeros(shape, np.float32) for _ in range(len(names) + bool(names))]
    canvas = Drizzle(
        kernel=recipe.kernel,
        fillval="INDEF",
        fillval2="INDEF",
        out_img=image,
        out_wht=weight,
        out_img2=squares or None,
        disable_ctx=True,
    )
    ny = region.shape[0]
    for first in range(0, ny, BAND_ROWS):
        last = min(ny, first + BAND_ROWS)
        # Corners of pixels come from the centres of their neighbours: one more row on each side.
        y0, y1 = max(0, first - 1), min(ny, last + 1)
        positions = sheet.pixel_map.block(region.y0 + y0, region.y0 + y1, region.x0, region.x1)
        positions -= (window.x0, window.y0)
        rows = slice(y0, y1)
        with warnings.catch_warnings():
            if recipe.kernel in NOT_CONSERVING:  # the user chose it; the help says so
                warnings.simplefilter("ignore")
            canvas.add_image(
                pixels.data[rows],
                exptime=1.0,
                pixmap=positions,
                data2=_over_weight(pixels, names, rows),
                weight_map=pixels.weight[rows],
                pixel_scale_ratio=recipe.ratio,
                pixfrac=recipe.pixfrac,
                ymin=first - y0,
                ymax=last - 1 - y0,
            )
    if not names:
        return image, weight, {}
    norm = squares.pop()
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = {name: square / norm for name, square in zip(names, squares, strict=True)}
    return image, weight, sigma


def _over_weight(pixels: Pixels, names: list[str], rows: slice) -> list[np.ndarray] | None:
    """Return σ/w by component, and 1/w; zero where there is no weight."""
    if not names:
        return None
    weight = pixels.weight[rows]
    inverse = np.zeros_like(weight)
    np.divide(1, weight, out=inverse, where=weight > 0)
    over = []
    for name in names:
        over.append(pixels.sigma[name][rows] * inverse)
        over[-1][weight <= 0] = 0
    return [*over, inverse]


def combine(
    sheets: Sequence[Sheet],
    shape: tuple[int, int],
    recipe: Recipe,
    *,
    stripe_pixels: int = STRIPE_PIXELS,
    into: Mapping[str, np.ndarray] | None = None,
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Put images together on one grid; yield its rows, a stripe at a time.

    Memory depends on the width of the grid and of the images, not on how many there are.

    Parameters
    ----------
    sheets : sequence of Sheet
    shape : (int, int)
        Rows and columns of the grid.
    recipe : Recipe
    stripe_pixels : int
        Pixels of the grid in memory at a time, about.
    into : mapping of str to ndarray, optional
        Planes of the whole grid that are filled; stripes are views of them. Their content does not
        matter. Planes it does not have are made for each stripe.

    Yields
    ------
    y0 : int
        First row of the stripe.
    planes : dict of str to ndarray
        ``data``, ``wht``, ``exptime`` [s] float32 (rows, nx); ``con`` int32 (plane, rows, nx);
        the variance by component.
    """
    ny, nx = shape
    height = min(ny, max(64, stripe_pixels // nx))
    height = -(-ny // -(-ny // height))  # stripes of about equal height
    for y0 in range(0, ny, height):
        y1 = min(ny, y0 + height)
        given = {name: plane[..., y0:y1, :] for name, plane in (into or {}).items()}
        stripe = _Stripe((y0, y1), nx, len(sheets), recipe, given)
        for number, sheet in enumerate(sheets):
            stripe.add(number, sheet)
        yield y0, stripe.finish()


class _Stripe:
    """Some rows of the grid, being filled."""

    def __init__(
        self,
        rows: tuple[int, int],
        columns: int,
        count: int,
        recipe: Recipe,
        given: Mapping[str, np.ndarray],
    ) -> None:
        self._rows, self._columns, self._recipe = rows, columns, recipe
        shape = (rows[1] - rows[0], columns)

        def zeros(name: str) -> np.ndarray:
            if name not in given:
                return np.zeros(shape, np.float32)
            given[name][...] = 0
            return given[name]

        self._data, self._weight, self._exptime = map(zeros, ("data", "wht", "exptime"))
        planes = -(-count // PLANE_BITS) if recipe.context else 0
        self._context = zeros("con") if "con" in given else np.zeros((planes, *shape), np.int32)
        # Σ w²σ² and Σ w: float64 would double the memory; weights span few decades.
        self._squares = {name: zeros(name) for name in recipe.components}
        self._weights = {name: np.zeros(shape, np.float32) for name in recipe.components}

    def add(self, number: int, sheet: Sheet) -> None:
        recipe = self._recipe
        region = touched(sheet.pixel_map, self._rows, recipe.reach, sheet.valid)
        if region is None:
            return
        y0, y1 = self._rows
        reach, nx = recipe.reach, self._columns
        # The library drops some pixels whose centres lie just outside its canvas: give it a margin.
        margin = Region(y0 - reach, y1 + reach, -reach, nx + reach)
        window = reached(sheet.pixel_map, region, margin, reach)
        if window is None:
            return
        inner = Region(
            max(window.y0, y0), min(window.y1, y1), max(window.x0, 0), min(window.x1, nx)
        )
        if inner.y0 >= inner.y1 or inner.x0 >= inner.x1:
            return
        if recipe.kernel in OWN:
            self._fold(number, sheet, region, inner)
            return
        image, weight, sigma = drizzle(sheet, region, window, recipe)
        inside = (
            slice(inner.y0 - window.y0, inner.y1 - window.y0),
            slice(inner.x0 - window.x0, inner.x1 - window.x0),
        )
        where = (slice(inner.y0 - y0, inner.y1 - y0), slice(inner.x0, inner.x1))
        image, weight = image[inside], weight[inside]
        sigma = {name: one[inside] for name, one in sigma.items()}
        there = weight != 0
        image *= weight
        self._data[where] += image
        self._weight[where] += weight
        self._exptime[where] += np.float32(sheet.exptime) * there
        if recipe.context:
            bit = np.array(1 << (number % PLANE_BITS), np.uint32).view(np.int32)
            self._context[number // PLANE_BITS][where] |= there * bit
        self._add_errors(where, sigma, sheet.exptime)

    def _fold(self, number: int, sheet: Sheet, region: Region, window: Region) -> None:
        """Add an image with a kernel that needs no margin, all planes in one pass."""
        recipe = self._recipe
        sums, names = _sums(sheet, region, window, recipe, recipe.components)
        y0 = self._rows[0]
        where = (slice(window.y0 - y0, window.y1 - y0), slice(window.x0, window.x1))
        share: float | None = sheet.exptime
        if recipe.inverse_variance:
            share = None if names[:1] == list(recipe.components[:1]) else 1.0
        fold_into(
            sums,
            self._data[where],
            self._weight[where],
            exptime=self._exptime[where],
            time=sheet.exptime,
            context=self._context[number // PLANE_BITS][where] if recipe.context else None,
            bit=number % PLANE_BITS,
            squares=[self._squares[name][where] for name in names],
            shares=[self._weights[name][where] for name in names],
            share=share if names else None,
            threads=recipe.threads,
        )

    def _add_errors(self, where: Any, sigma: dict[str, np.ndarray], exptime: float) -> None:
        """Combine variances as those of independent measurements."""
        if not sigma:
            return
        first = self._recipe.components[0]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if not self._recipe.inverse_variance:
                share = np.full(next(iter(sigma.values())).shape, exptime, np.float32)
            elif first in sigma:
                share = 1 / np.square(sigma[first])
                share[~np.isfinite(share)] = 0
            else:
                share = np.ones(next(iter(sigma.values())).shape, np.float32)
            for name, deviation in sigma.items():
                term = np.square(deviation * share)
                bad = ~np.isfinite(term) | (share <= 0)
                term[bad] = 0
                self._squares[name][where] += term
                self._weights[name][where] += np.where(bad, np.float32(0), share)

    def finish(self) -> dict[str, np.ndarray]:
        """Return the planes; the stripe cannot be added to any more."""
        empty = self._weight == 0
        with np.errstate(divide="ignore", invalid="ignore"):
            self._data /= self._weight
            planes: dict[str, np.ndarray] = {
                "data": self._data,
                "wht": self._weight,
                "exptime": self._exptime,
            }
            scale = np.float32(1 / self._recipe.ratio**2)
            for name, weights in self._weights.items():
                # One after the other: the square of a weight may not fit into float32.
                planes[name] = square = self._squares[name]
                square /= weights
                square /= weights
                square *= scale
        self._data[empty] = self._recipe.fill
        if self._recipe.context:
            planes["con"] = self._context
        return planes
