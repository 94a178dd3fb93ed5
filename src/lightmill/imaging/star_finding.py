"""Find the stars of an image, and where they are to a hundredth of a pixel."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

__all__ = ["SkyMesh", "Stars", "background_noise", "find_stars", "fit_positions", "smooth_sky"]

FWHM_PER_SIGMA = 2.3548200450309493  # of a Gaussian: 2 sqrt(2 ln 2)
MAD_TO_SIGMA = 1.4826022185056018  # of a normal distribution
REACH = 2  # pixels around the brightest one that the position is fitted to
SPIKE = 0.85  # of the light of 3 x 3 pixels in one of them: sharper than any optics and pixel
SAMPLES = 2_500  # pixels of a box that its sky is measured from: to 0.025 of their noise
BAND = 64  # rows worked on at a time
NARROWEST, WIDEST = 0.2, 3.0  # widths of stars, as sigma [pixel]


@dataclass(frozen=True)
class Stars:
    """Stars of one image, brightest first.

    Attributes
    ----------
    x, y : (n,) ndarray of float64
        Position [pixel]; 0 is the centre of the first pixel.
    flux : (n,) ndarray of float64
        Sum of the fitted profile [unit of the image x pixel].
    snr : (n,) ndarray of float64
        Signal to noise of the detection.
    peak : (n,) ndarray of float64
        Brightest pixel above the sky [unit of the image].
    size : (n,) ndarray of float64
        Sigma of the profile that fits each by itself: galaxies are wider [pixel].
    width : float
        Sigma of the profile that fits the stars of the image best [pixel].
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    snr: np.ndarray
    peak: np.ndarray
    size: np.ndarray
    width: float = float("nan")

    @classmethod
    def none(cls) -> Stars:
        """Return the stars of an image without any."""
        nothing = np.zeros(0)
        return cls(nothing, nothing, nothing, nothing, nothing, nothing)

    def take(self, which: np.ndarray) -> Stars:
        """Return some of them: a mask, or positions in the order wanted."""
        columns = {
            field.name: getattr(self, field.name)[which]
            for field in fields(self)
            if field.name != "width"
        }
        return Stars(**columns, width=self.width)

    def uncertainty(self) -> np.ndarray:
        """Return the standard error of each coordinate [pixel].

        The least that noise of the background allows for a Gaussian, sqrt(2) sigma / S/N (Winick
        1986, JOSA A, 3, 1809), and a hundredth of a pixel for what the profile does not describe;
        both times the excess width of what is wider than a star.
        """
        wide = np.maximum(self.size / self.width, 1.0)
        return wide * np.hypot(0.01, np.sqrt(2) * self.size / np.maximum(self.snr, 1e-6))

    def __len__(self) -> int:
        return len(self.x)


def find_stars(
    image: np.ndarray,
    bad: np.ndarray,
    *,
    snr_threshold: float = 10.0,
    kernel_fwhm: float = 2.5,
    sigma_radius: float = 1.5,
    box: int = 400,
    brightest: int | None = 200,
    peakmax: float | None = None,
    min_separation: float = 0.0,
) -> Stars:
    """Find the stars of an image.

    The image less its smooth sky is correlated with a Gaussian, the matched filter for stars
    in noise that is the same everywhere (Stetson 1987, PASP, 99, 191); maxima of the result
    above the threshold are stars, whose positions `fit_positions` measures.

    Parameters
    ----------
    image : (ny, nx) ndarray of float32
        Any unit; may hold NaN where it is bad.
    bad : (ny, nx) ndarray of bool
        Pixels without a value, or saturated: what has one in its middle is left out.
    snr_threshold : float
        Least signal to noise of the detection.
    kernel_fwhm : float
        Full width at half maximum of the Gaussian [pixel].
    sigma_radius : float
        Where the Gaussian is cut off [sigma].
    box : int
        Size of the boxes the sky is measured in [pixel].
    brightest : int, optional
        How many to return at most.
    peakmax : float, optional
        Stars with a brighter pixel are left out [unit of the image].
    min_separation : float
        Of two that are nearer to each other, the fainter is left out [pixel].

    Returns
    -------
    stars : Stars
        None where too few pixels are good to tell sky from stars.
    """
    bad = bad | ~np.isfinite(image)
    if image.size - np.count_nonzero(bad) < 25:
        return Stars.none()
    cleaned = np.where(bad, np.float32(0), image - smooth_sky(image, bad, box))
    cleaned = cleaned.astype(np.float32, copy=False)
    sigma = kernel_fwhm / FWHM_PER_SIGMA
    reach = max(1, round(sigma_radius * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    smoothed = _correlated(cleaned, taps / taps.sum())
    noise = background_noise(smoothed, bad)
    if not noise > 0:  # nothing but one value: an image without noise has no threshold either
        noise = float(np.finfo(np.float32).tiny)
    ys, xs = _maxima(smoothed, snr_threshold * noise)
    snr = smoothed[ys, xs] / noise
    order = np.argsort(-snr, kind="stable")
    if brightest is not None:
        order = order[: 3 * brightest]  # some of them turn out not to be stars
    ys, xs, snr = ys[order], xs[order], snr[order]
    keep = _undisturbed(cleaned, bad, ys, xs)
    if peakmax is not None:
        with np.errstate(invalid="ignore"):
            keep &= image[ys, xs] < peakmax
    ys, xs, snr = ys[keep], xs[keep], snr[keep]
    if not len(ys):
        return Stars.none()
    stars = fit_positions(cleaned, bad, ys, xs, snr)
    stars = stars.take(np.argsort(-stars.flux, kind="stable"))
    if min_separation > 0:
        stars = stars.take(_apart(stars.x, stars.y, min_separation))
    return stars.take(np.arange(min(len(stars), brightest or len(stars))))


def smooth_sky(image: np.ndarray, bad: np.ndarray, box: int) -> np.ndarray:
    """Return the sky of an image: medians of boxes, linear between their centres.

    Parameters
    ----------
    image : (ny, nx) ndarray
    bad : (ny, nx) ndarray of bool
        Pixels not to look at.
    box : int
        Size of a box [pixel].

    Returns
    -------
    sky : (ny, nx) ndarray of float32
        Where a box has too few good pixels, that of its neighbours.
    """
    return SkyMesh.of(image, bad, box).at(*(np.arange(n) for n in image.shape)).astype(np.float32)


@dataclass(frozen=True)
class SkyMesh:
    """The sky of an image in boxes.

    Attributes
    ----------
    values : (rows, columns) ndarray of float64
        Clipped medians of the boxes; zero where no box has enough good pixels.
    y, x : (rows,), (columns,) ndarray of float64
        Centres of the boxes [pixel].
    """

    values: np.ndarray
    y: np.ndarray
    x: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray, bad: np.ndarray, box: int) -> SkyMesh:
        """Measure the sky in boxes, from a regular sample of their pixels."""
        from scipy import ndimage

        ny, nx = image.shape
        rows, columns = max(1, round(ny / box)), max(1, round(nx / box))
        ys = np.linspace(0, ny, rows + 1).astype(int)
        xs = np.linspace(0, nx, columns + 1).astype(int)
        step = max(1, int(np.sqrt(ny / rows * nx / columns / SAMPLES)))
        mesh = np.full((rows, columns), np.nan)
        for j in range(rows):
            for i in range(columns):
                part = slice(ys[j], ys[j + 1], step), slice(xs[i], xs[i + 1], step)
                values = image[part][~bad[part]]
                if len(values) >= max(1, 0.05 * bad[part].size):
                    mesh[j, i] = _clipped_median(values)
        empty = ~np.isfinite(mesh)
        if empty.all():
            mesh[:] = 0.0
        elif empty.any():
            near = ndimage.distance_transform_edt(
                empty, return_distances=False, return_indices=True
            )
            mesh = mesh[tuple(near)]
        return cls(mesh, (ys[1:] + ys[:-1] - 1) / 2, (xs[1:] + xs[:-1] - 1) / 2)

    def at(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the sky (len(y), len(x)) at rows and columns, linear between and beyond centres."""
        return np.asarray(_linear(self.y, y) @ self.values @ _linear(self.x, x).T)


def fit_positions(
    image: np.ndarray, bad: np.ndarray, ys: np.ndarray, xs: np.ndarray, snr: np.ndarray
) -> Stars:
    """Measure positions by fitting a Gaussian integrated over pixels.

    All stars share one width, which is fitted, too. Integrating over the pixel is what keeps the
    positions of undersampled stars free of the bias that centroids have, which depends on where
    in the pixel the star is: of an obstructed Airy disc 1 pixel wide, a centroid in a Gaussian
    window is off by up to 0.04 pixel, this by 0.015.

    Parameters
    ----------
    image : (ny, nx) ndarray
        Less the sky; zero where it is bad.
    bad : (ny, nx) ndarray of bool
        Pixels not to look at.
    ys, xs : (n,) ndarray of int
        Brightest pixels, at least 2 pixels from the edge.
    snr : (n,) ndarray of float
        Signal to noise of the detections.

    Returns
    -------
    stars : Stars
        In the order given; without those that are not near their brightest pixel, or fainter
        than nothing.
    """
    offsets = np.arange(-REACH, REACH + 1)
    stamp = ys[:, None, None] + offsets[:, None], xs[:, None, None] + offsets
    data = image[stamp].astype(np.float64)
    good = ~bad[stamp]
    data *= good
    n = len(data)
    x, y = np.zeros(n), np.zeros(n)
    flux = np.maximum(data.sum(axis=(1, 2)), 1e-30)
    width = 0.6
    for turn in range(12):
        gx, gx_x, gx_w = _profile(offsets, x, width)
        gy, gy_y, gy_w = _profile(offsets, y, width)
        model = gy[:, :, None] * gx[:, None, :]
        f = flux[:, None, None]
        terms = [
            model,
            f * gy[:, :, None] * gx_x[:, None, :],
            f * gy_y[:, :, None] * gx[:, None, :],
        ]
        if turn < 8 or turn == 11:  # in between the width stays
            terms.append(f * (gy_w[:, :, None] * gx[:, None, :] + gy[:, :, None] * gx_w[:, None]))
        design = np.stack([(term * good).reshape(n, -1) for term in terms], axis=1)
        left = ((data - f * model) * good).reshape(n, -1)
        step = _solved(design, left)
        flux = np.maximum(flux + step[:, 0], 0.1 * flux)
        x = np.clip(x + np.clip(step[:, 1], -0.5, 0.5), -REACH, REACH)
        y = np.clip(y + np.clip(step[:, 2], -0.5, 0.5), -REACH, REACH)
        if turn < 8:
            width = float(np.clip(width + 0.7 * np.median(step[:, 3]), NARROWEST, WIDEST))
    size = np.clip(width + step[:, 3], 0.5 * width, WIDEST)  # linear: enough to tell galaxies
    near = (np.abs(x) < 1) & (np.abs(y) < 1) & (flux > 0)
    peak = data[:, REACH, REACH]
    found = Stars(x + xs, y + ys, flux, np.asarray(snr, np.float64), peak, size, width)
    return found.take(near)


def _profile(
    offsets: np.ndarray, centre: np.ndarray, sigma: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a Gaussian integrated over pixels, its derivatives by centre and by sigma."""
    from scipy.special import erf

    edges = np.append(offsets - 0.5, offsets[-1] + 0.5) - centre[:, None]
    scaled = edges / sigma
    height = np.exp(-0.5 * scaled**2) / (sigma * np.sqrt(2 * np.pi))
    return (
        np.diff(erf(scaled / np.sqrt(2)), axis=1) / 2,
        -np.diff(height, axis=1),
        -np.diff(scaled * height, axis=1),
    )


def _solved(design: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return the least-squares step of each star; none where its equations say nothing."""
    normal = design @ design.transpose(0, 2, 1)
    scale = np.sqrt(np.maximum(np.diagonal(normal, axis1=1, axis2=2), 1e-300))
    normal = normal / (scale[:, :, None] * scale[:, None, :])
    normal += 1e-9 * np.eye(normal.shape[1])  # flat directions stay where they are
    right = (design @ left[:, :, None])[..., 0] / scale
    return np.asarray(np.linalg.solve(normal, right[..., None])[..., 0] / scale)


def _correlated(image: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Return an image correlated with a symmetric profile along both axes; zero outside.

    Bands of rows stay in the processor's cache: half the time of a general correlation.
    """
    ny, nx = image.shape
    reach = len(taps) // 2
    weights = taps[reach:].astype(np.float32)
    result = np.empty_like(image)
    for y0 in range(0, ny, BAND):
        y1 = min(y0 + BAND, ny)
        top, bottom = max(0, y0 - reach), min(ny, y1 + reach)
        part = np.zeros((y1 - y0 + 2 * reach, nx + 2 * reach), np.float32)
        part[top - y0 + reach : bottom - y0 + reach, reach : nx + reach] = image[top:bottom]
        rows, columns = y1 - y0, slice(reach, nx + reach)
        down = weights[0] * part[reach : reach + rows]
        for k in range(1, reach + 1):
            down += weights[k] * (
                part[reach - k : reach - k + rows] + part[reach + k : reach + k + rows]
            )
        across = weights[0] * down[:, columns]
        for k in range(1, reach + 1):
            across += weights[k] * (
                down[:, reach - k : reach - k + nx] + down[:, reach + k : reach + k + nx]
            )
        result[y0:y1] = across
    return result


def _maxima(smoothed: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels above a threshold that no neighbour exceeds, REACH from the edge."""
    ny, nx = smoothed.shape
    ys, xs = np.nonzero(smoothed > threshold)
    inside = (ys >= REACH) & (ys < ny - REACH) & (xs >= REACH) & (xs < nx - REACH)
    ys, xs = ys[inside], xs[inside]
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dy or dx:
                value, other = smoothed[ys, xs], smoothed[ys + dy, xs + dx]
                # of equal neighbours the first is the maximum
                higher = value > other if (dy, dx) < (0, 0) else value >= other
                ys, xs = ys[higher], xs[higher]
    return ys, xs


def _undisturbed(image: np.ndarray, bad: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """Say which maxima have 3 x 3 good pixels, with light in more than one of them."""
    offsets = np.arange(-1, 2)
    stamp = ys[:, None, None] + offsets[:, None], xs[:, None, None] + offsets
    values = image[stamp]
    total = values.sum(axis=(1, 2))
    spike = values.max(axis=(1, 2), initial=-np.inf) > SPIKE * total
    return np.asarray(~bad[stamp].any(axis=(1, 2)) & (total > 0) & ~spike)


def _apart(x: np.ndarray, y: np.ndarray, least: float) -> np.ndarray:
    """Say which positions, brightest first, have no brighter one nearby."""
    from scipy.spatial import cKDTree

    keep = np.ones(len(x), bool)
    pairs = cKDTree(np.stack([x, y], axis=1)).query_pairs(least, output_type="ndarray")
    for bright, faint in pairs[np.argsort(pairs[:, 0], kind="stable")]:
        if keep[bright]:
            keep[faint] = False
    return keep


def background_noise(smoothed: np.ndarray, bad: np.ndarray) -> float:
    """Return the standard deviation of the pixels that see no star, from a regular sample."""
    step = max(1, int(np.sqrt(smoothed.size / (40 * SAMPLES))))
    values = smoothed[::step, ::step][~bad[::step, ::step]]
    if not len(values):  # good pixels lie between those of the sample
        values = smoothed[~bad]
    for _ in range(2):
        middle = np.median(values)
        sigma = MAD_TO_SIGMA * float(np.median(np.abs(values - middle)))
        values = values[np.abs(values - middle) <= 3 * sigma]
    return sigma


def _linear(centres: np.ndarray, to: np.ndarray) -> np.ndarray:
    """Return what the value at each centre counts at places along the axis (places, centres)."""
    weights = np.zeros((len(to), len(centres)))
    rows = np.arange(len(to))
    if len(centres) == 1:
        weights[:, 0] = 1.0
        return weights
    left = np.clip(np.searchsorted(centres, to) - 1, 0, len(centres) - 2)
    share = (to - centres[left]) / (centres[left + 1] - centres[left])
    weights[rows, left], weights[rows, left + 1] = 1 - share, share
    return weights


def _clipped_median(values: np.ndarray) -> float:
    middle = np.median(values)
    sigma = MAD_TO_SIGMA * np.median(np.abs(values - middle))
    kept = values[np.abs(values - middle) <= 3 * sigma]
    return float(np.median(kept)) if len(kept) else float(middle)
