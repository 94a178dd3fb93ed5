"""What drizzling does to noise and to stars: errors of sums over a few of its pixels.

A drop is shared by the pixels of the mosaic it falls on. Their noise is therefore related, and a
star is blurred by as much as its drops happen to be shared, which depends on where the exposures'
pixels lie: an aperture correction knows the average only.

References
----------
Fruchter, A. S., & Hook, R. N. 2002, PASP, 114, 144, section 7, for the noise of large areas; small
ones follow from the same overlaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Sharing", "StarProfile", "fitted_profile"]

STEPS = 200  # places of a drop in a pixel, along one axis
TABLE = np.geomspace(0.4, 40.0, 24)  # radii of circles the noise is worked out for [pixel]
CUTS = 10  # pieces of a pixel's side that a circle is cut of
PHASES = 6  # places of a star in a pixel, along one axis
KNOTS = 11  # the same, of a table, both edges included
SQUARE = 1.0 / 12.0  # variance of a pixel along one axis
LEAST_DROP = 0.2  # side of a drop [pixel]: smaller ones leave holes in single exposures
FEWEST = 3  # points of a curve of growth that a profile can be fitted to


@dataclass(frozen=True)
class Sharing:
    """How the drops of a mosaic are shared by its pixels.

    Parameters
    ----------
    pixfrac : float
        Side of a drop over that of the pixel it falls from.
    ratio : float
        Side of a pixel of the mosaic over that of an exposure's.

    Notes
    -----
    Drops are taken for squares along the pixels, whatever their kernel and the exposures' rolls.
    """

    pixfrac: float = 1.0
    ratio: float = 1.0

    def _shares(self) -> tuple[np.ndarray, np.ndarray]:
        """Return places of drops about a pixel's centre, and the share the pixel gets."""
        side = max(self.pixfrac / self.ratio, 1e-3)
        reach = int(np.ceil(side / 2 + 0.5))
        place = (np.arange(2 * reach * STEPS) + 0.5) / STEPS - reach
        low = np.maximum(place - side / 2, -0.5)
        high = np.minimum(place + side / 2, 0.5)
        return place, np.maximum(high - low, 0) / side

    def relation(self) -> np.ndarray:
        """Return how the noise of pixels is related, by their distance.

        Returns
        -------
        relation : (2 k + 1, 2 k + 1) ndarray of float64
            Its sum is one; the middle belongs to a pixel and itself.
        """
        _, share = self._shares()
        reach = len(share) // (2 * STEPS)
        along = [
            share[: len(share) - k * STEPS] @ share[k * STEPS :] / STEPS for k in range(2 * reach)
        ]
        row = np.array(along[:0:-1] + along)
        return np.outer(row, row) / row.sum() ** 2

    def noise_factors(self, areas: np.ndarray | float) -> np.ndarray:
        """Return the error of a sum of pixels over that of as many independent ones.

        The error of a pixel of a mosaic is, as the field defines it, the mean of those of one
        exposure's pixels that fall on it, over the ratio of the scales, the exposures combined as
        independent: right for sums of many pixels, too large for one, and nothing is lost at the
        edge of a circle.

        Parameters
        ----------
        areas : (n,) array_like of float
            Of the sums [pixel].

        Returns
        -------
        factors : (n,) ndarray of float64
            For a circle of that area.
        """
        from scipy.ndimage import convolve

        relation = self.relation()
        found = np.empty(len(TABLE))
        for k, radius in enumerate(TABLE):
            circle = _circle(radius)
            shared = (circle * convolve(circle, relation, mode="constant")).sum()
            found[k] = shared / circle.sum()
        radii = np.sqrt(np.maximum(np.asarray(areas, np.float64), 0) / np.pi)
        return np.sqrt(np.interp(radii, TABLE, found))

    def hidden_noise(self) -> float:
        """Return the error of the mean of many pixels over what their own scatter lets expect."""
        relation = self.relation()
        return float(1 / np.sqrt(relation[len(relation) // 2, len(relation) // 2]))

    def blur_scatter(self) -> float:
        """Return the scatter of the blur one exposure gets, from drop to drop [pixel^2].

        The blur is the second moment, along one axis, of where a drop's light is put about where
        it belongs.
        """
        place, share = self._shares()
        moment = (share * place**2).reshape(-1, STEPS).sum(axis=0)
        return float(moment.std())

    def weights(self, place: np.ndarray, reach: int) -> np.ndarray:
        """Return what drops give to pixels along one axis.

        Parameters
        ----------
        place : (..., k) ndarray of float64
            Of the drops [pixel of the mosaic], 0 is the middle of the middle pixel.
        reach : int
            Pixels on each side of that.

        Returns
        -------
        weights : (..., 2 reach + 1, k) ndarray of float64
            Their sum over the drops is one on average over places.
        """
        width = max(self.pixfrac, LEAST_DROP)
        half = width / self.ratio / 2
        pixel = np.arange(-reach, reach + 1)[:, None]
        low = np.maximum(place[..., None, :] - half, pixel - 0.5)
        high = np.minimum(place[..., None, :] + half, pixel + 0.5)
        return np.maximum(high - low, 0) / width


@dataclass(frozen=True)
class StarProfile:
    """A star as the sum of round Gaussians.

    Attributes
    ----------
    fractions : (k,) ndarray of float64
        Of the light; their sum is one.
    variances : (k,) ndarray of float64
        Along one axis [pixel^2].
    """

    fractions: np.ndarray
    variances: np.ndarray

    def energy(self, radius: float) -> float:
        """Return the fraction of the light in a circle [pixel]."""
        return float(self.fractions @ -np.expm1(-(radius**2) / (2 * self.variances)))

    def blur_slope(self, radius: float) -> float:
        """Return the change of that fraction with the variance [1 / pixel^2]."""
        half = radius**2 / (2 * self.variances)
        return float(self.fractions @ (-half / self.variances * np.exp(-half)))

    def place_scatter(self, radius: float) -> float:
        """Return the scatter of a circle's sum, over its mean, with the star's place in its pixel.

        A circle takes the light of a pixel as evenly spread.
        """
        sums = self._sums_by_place((np.arange(PHASES) + 0.5) / PHASES - 0.5, radius)
        return float(np.std(sums) / np.mean(sums))

    def place_factors(self, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
        """Return circles' sums over their mean, by the stars' places in their pixels.

        Parameters
        ----------
        x, y : (n,) ndarray of float64
            Places [pixel].
        radius : float
            Of the circle [pixel].

        Returns
        -------
        factors : (n,) ndarray of float64
            One on average over all places; NaN where a place is none.
        """
        from scipy.ndimage import map_coordinates

        sums = self._sums_by_place(np.linspace(-0.5, 0.5, KNOTS), radius)
        sums /= (sums[1:, 1:] + sums[:-1, 1:] + sums[1:, :-1] + sums[:-1, :-1]).mean() / 4
        off = np.array([y - np.rint(y), x - np.rint(x)])
        factors: np.ndarray = map_coordinates(sums, (off + 0.5) * (KNOTS - 1), order=1)
        factors[~np.isfinite(off).all(axis=0)] = np.nan
        return factors

    def _sums_by_place(self, places: np.ndarray, radius: float) -> np.ndarray:
        """Return the light in a circle about each place in a pixel, (y, x)."""
        import sep

        # What was measured in mosaics has two squares more: a pixel, and a circle's cut through it.
        narrow = np.sqrt(np.maximum(self.variances - 2 * SQUARE, SQUARE))
        reach = int(np.ceil(radius)) + 2
        along = np.array([[_pixels(at, reach, one) for one in narrow] for at in places])
        images = np.einsum("f,afy,bfx->abyx", self.fractions, along, along)
        sums = [
            sep.sum_circle(images[i, j], [reach + dx], [reach + dy], radius, subpix=0)[0][0]
            for i, dy in enumerate(places)
            for j, dx in enumerate(places)
        ]
        return np.reshape(sums, (len(places), len(places)))

    def lost_light(
        self, missing: np.ndarray, dx: np.ndarray, dy: np.ndarray, radius: float, sharing: Sharing
    ) -> np.ndarray:
        """Return how far circles' sums are off where drops are missing.

        A pixel is the mean of the drops that fall on it. Without one of them it is the mean of
        the others, which lie elsewhere in the star: too faint where a star's middle is missing,
        too bright where its flank is.

        Parameters
        ----------
        missing : (n, h, w) ndarray of float
            Part of the usual weight that each pixel lacks.
        dx : (n, w) ndarray of float64
            Places of the pixels, the star's is zero [pixel].
        dy : (n, h) ndarray of float64
            The same along the other axis.
        radius : float
            Of the circle [pixel].
        sharing : Sharing
            Of the mosaic.

        Returns
        -------
        fraction : (n,) ndarray of float64
            Of the total light; negative where it is lost.
        """
        from scipy.ndimage import uniform_filter

        pixel = SQUARE / sharing.ratio**2  # variance of an exposure's pixel
        optics = self.variances - 4 * pixel
        x, y = np.broadcast_arrays(dx[:, None, :], dy[:, :, None])
        # The pixels that lack a drop surround the place where it fell.
        near = (1, 3, 3)
        lacking = uniform_filter(missing, near, mode="constant")
        with np.errstate(invalid="ignore", divide="ignore"):
            fell = [uniform_filter(missing * at, near, mode="constant") / lacking for at in (x, y)]
        fell_x, fell_y = (np.where(missing > 0, at, 0) for at in fell)
        drop = self._light(fell_x, fell_y, optics + pixel)
        mean = self._light(x, y, optics + (1 + sharing.pixfrac**2) * pixel + SQUARE)
        held = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
        # The others stand for the missing one, with as much more weight as it lacks.
        over = missing / np.maximum(1 - missing, 0.1)
        fraction: np.ndarray = (over * held * (mean - drop)).sum(axis=(1, 2))
        return fraction

    def _light(self, x: np.ndarray, y: np.ndarray, variances: np.ndarray) -> np.ndarray:
        """Return the light in pixels at some places of a star with other variances."""
        light = np.zeros(x.shape)
        for fraction, variance in zip(
            self.fractions, np.maximum(variances - SQUARE, SQUARE / 2), strict=True
        ):
            light += fraction * _boxed(x, variance) * _boxed(y, variance)
        return light

    def own_noise(self, radius: float, sharing: Sharing) -> float:
        """Return the error of a circle's sum that a star's own light makes, over that of pixels.

        Parameters
        ----------
        radius : float
            Of the circle [pixel].
        sharing : Sharing
            Of the mosaic.

        Returns
        -------
        factor : float
            On the error of as many independent pixels. More than for a sky: light in the middle
            of a circle does not leave it; and a mean of standard errors, which the error of a
            pixel is, is less than the standard error of a mean where they differ.
        """
        pitch = 1 / sharing.ratio
        reach = int(np.ceil(radius + pitch)) + 1
        drops = int(np.ceil((reach + 1) / pitch))
        phase = (np.arange(PHASES) + 0.5) / PHASES - 0.5
        place = (np.arange(-drops, drops + 1) + phase[:, None]) * pitch  # (phase, drop)
        weights = sharing.weights(place, reach)
        # What was measured has four squares more: the exposure's pixel, which is put back by
        # itself, the drop, the mosaic's pixel, and a circle's cut through it.
        narrow = np.maximum(self.variances / pitch**2 - 4 * SQUARE, SQUARE)
        away = (place - phase[:, None, None]) / pitch  # (star, phase, drop)
        along = np.array([_boxed(away, variance) for variance in narrow])
        light = np.einsum("f,faik,fbjl->abijkl", self.fractions, along, along, optimize=True)
        fine = (np.arange((2 * reach + 1) * CUTS) + 0.5) / CUTS - 0.5 - reach
        off = (fine - phase[:, None]) ** 2
        inside = (off[:, None, :, None] + off[None, :, None, :] < radius**2).reshape(
            PHASES, PHASES, 2 * reach + 1, CUTS, 2 * reach + 1, CUTS
        )
        circle = inside.mean(axis=(3, 5))
        error = np.einsum("iyk,abijkl,jxl->abijyx", weights, np.sqrt(light), weights, optimize=True)
        given = np.einsum("iyk,abyx,jxl->abijkl", weights, circle, weights, optimize=True)
        added = np.einsum("abyx,abijyx->", circle, error**2)
        return float(sharing.ratio * np.sqrt((given**2 * light).sum() / added))

    def sampling_errors(self, radius: float, exposures: np.ndarray, sharing: Sharing) -> np.ndarray:
        """Return how far circles' sums are from their mean because stars are sampled coarsely.

        Parameters
        ----------
        radius : float
            Of the circles [pixel].
        exposures : (n,) ndarray of int
            That contribute to each source.
        sharing : Sharing
            Of the mosaic.

        Returns
        -------
        errors : (n,) ndarray of float64
            Over the sums; two axes blur independently of each other, and so do exposures.
        """
        blur = self.blur_errors(radius, exposures, sharing)
        return np.hypot(blur, self.place_scatter(radius))

    def blur_errors(self, radius: float, exposures: np.ndarray, sharing: Sharing) -> np.ndarray:
        """Return the part of these errors that the exposures' blur makes, whatever the place."""
        blur = sharing.blur_scatter() / np.sqrt(2 * np.maximum(exposures, 1))
        slope: float = abs(self.blur_slope(radius)) / self.energy(radius)
        return slope * blur


def fitted_profile(energies: Sequence[float], radii: Sequence[float]) -> StarProfile | None:
    """Return the two Gaussians that come closest to a curve of growth.

    Parameters
    ----------
    energies : sequence of float
        Fractions of the light.
    radii : sequence of float
        Of the circles that hold them [pixel].

    Returns
    -------
    profile : StarProfile or None
        None where fewer than three points are known.
    """
    from scipy.optimize import least_squares

    wanted, r2 = np.asarray(energies, np.float64), np.asarray(radii, np.float64) ** 2
    known = (wanted > 0) & (wanted < 1) & (r2 > 0)
    wanted, r2 = wanted[known], r2[known]
    if len(np.unique(r2)) < FEWEST:
        return None
    start = float(np.median(r2 / (-2 * np.log1p(-wanted))))  # of one Gaussian

    def misfit(p: np.ndarray) -> np.ndarray:
        core, wing = start * np.exp(p[1]), start * np.exp(p[1]) * (1 + np.exp(p[2]))
        held = p[0] * np.expm1(-r2 / (2 * core)) + (1 - p[0]) * np.expm1(-r2 / (2 * wing))
        residual: np.ndarray = held + wanted
        return residual

    fit = least_squares(misfit, [0.7, 0.0, 1.5], bounds=([0.0, -3.0, -2.0], [1.0, 3.0, 6.0]))
    core = start * np.exp(fit.x[1])
    return StarProfile(
        np.array([fit.x[0], 1 - fit.x[0]]), np.array([core, core * (1 + np.exp(fit.x[2]))])
    )


def _circle(radius: float) -> np.ndarray:
    """Return the part of each pixel that lies in a circle about the middle one."""
    reach = int(np.ceil(radius)) + 2
    fine = (np.arange((2 * reach + 1) * CUTS) + 0.5) / CUTS - 0.5 - reach
    inside = fine[:, None] ** 2 + fine**2 < radius**2
    parts: np.ndarray = inside.reshape(2 * reach + 1, CUTS, -1, CUTS).mean(axis=(1, 3))
    return parts


def _boxed(away: np.ndarray, variance: float) -> np.ndarray:
    """Return the light of a Gaussian in pixels whose centres are so far away."""
    from scipy.special import erf

    scale = np.sqrt(2 * variance)
    light: np.ndarray = (erf((away + 0.5) / scale) - erf((away - 0.5) / scale)) / 2
    return light


def _pixels(at: float, reach: int, sigma: float) -> np.ndarray:
    """Return the light of a Gaussian in pixels along one axis."""
    from scipy.special import erf

    edges = np.arange(-reach, reach + 2) - 0.5 - at
    light: np.ndarray = np.diff(erf(edges / (sigma * np.sqrt(2)))) / 2
    return light
