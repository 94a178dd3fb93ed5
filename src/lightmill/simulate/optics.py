"""Light on its way to the pixels: the telescope's image of a star, galaxies, the sky."""

from __future__ import annotations

import functools

import numpy as np

from lightmill.simulate.facts import Optics

__all__ = ["StarImage", "galaxy_image", "render", "segmented_pupil", "star_image"]

_FLAT_TO_FLAT = 1.32  # m, one segment (JDox, "JWST Telescope")
_STRUT = 0.15  # m
_ARCSEC = 206264.80625


def segmented_pupil(samples: int = 200) -> tuple[np.ndarray, float]:
    """Return the open part of a primary of 18 hexagons behind three struts.

    Returns
    -------
    pupil : (samples, samples) ndarray of float32
        1 where light passes.
    spacing : float
        Distance of the samples [m].
    """
    side = _FLAT_TO_FLAT / np.sqrt(3)
    spacing = 6.8 / samples
    axis = (np.arange(samples) - (samples - 1) / 2) * spacing
    x, y = axis[None, :], axis[:, None]
    pupil = np.zeros((samples, samples), np.float32)
    for q in range(-2, 3):
        for r in range(-2, 3):
            if (q, r) == (0, 0) or abs(q + r) > 2:
                continue
            dx, dy = np.abs(x - 1.5 * side * q), np.abs(y - _FLAT_TO_FLAT * (r + q / 2))
            inside = (dy < _FLAT_TO_FLAT / 2) & (np.sqrt(3) * dx + dy < _FLAT_TO_FLAT)
            pupil[inside] = 1
    for degrees in (90, 240, 300):
        a = np.radians(degrees)
        along, across = x * np.cos(a) + y * np.sin(a), y * np.cos(a) - x * np.sin(a)
        pupil[(along > 0) & (np.abs(across) < _STRUT / 2)] = 0
    return pupil, spacing


class StarImage:
    """The image of a point, diffracted by the telescope and summed in pixels.

    Parameters
    ----------
    optics : Optics
        Wavelength, bandwidth, pixel scale.
    reach : int
        Half size of the image [pixel].

    Notes
    -----
    Fraunhofer diffraction evaluated by a matrix Fourier transform (Soummer et
    al. 2007, Opt. Express 15, 15935) on a grid of a quarter pixel, averaged
    over the filter; a position in between is interpolated linearly, which
    keeps the centroid exact.
    """

    fine = 4

    def __init__(self, optics: Optics, reach: int = 80) -> None:
        self.reach = reach
        k = self.fine
        fine = self._diffraction(optics, (2 * reach + 3) * k)
        total = np.cumsum(np.cumsum(np.pad(fine, ((1, 0), (1, 0))), axis=0), axis=1)
        boxes = total[k:, k:] - total[:-k, k:] - total[k:, :-k] + total[:-k, :-k]
        n = 2 * reach + 1
        # phases[i, j]: star moved by i/k (up) and j/k (right) of a pixel from a pixel's centre
        self.phases = np.empty((k + 1, k + 1, n, n), np.float32)
        for i in range(k + 1):
            for j in range(k + 1):
                y, x = k - i, k - j
                self.phases[i, j] = boxes[y : y + n * k : k, x : x + n * k : k]
        self.phases /= self.phases[0, 0].sum(dtype=float)

    def _diffraction(self, optics: Optics, size: int) -> np.ndarray:
        pupil, spacing = segmented_pupil()
        where = (np.arange(len(pupil)) - (len(pupil) - 1) / 2) * spacing
        angle = (np.arange(size) - (size - 1) / 2) * optics.pixel_scale / self.fine / _ARCSEC
        image = np.zeros((size, size))
        for step in np.linspace(-0.5, 0.5, 7):
            wave = (optics.wavelength + step * optics.bandwidth) * 1e-6
            kernel = np.exp(-2j * np.pi / wave * np.outer(angle, where)).astype(np.complex64)
            image += np.abs(kernel @ pupil @ kernel.T) ** 2
        r = np.hypot(*np.ogrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j])
        image *= 0.5 * (1 + np.cos(np.pi * np.clip((r - 0.8) / 0.2, 0, 1)))
        return image / image.sum()

    def at(self, dy: float, dx: float) -> np.ndarray:
        """Return the image of unit flux of a star off its pixel's centre by 0 ≤ dy, dx < 1."""
        k = self.fine
        i, j = int(dy * k), int(dx * k)
        fy, fx = np.float32(dy * k - i), np.float32(dx * k - j)
        p = self.phases
        low = p[i, j] * (1 - fx) + p[i, j + 1] * fx
        high = p[i + 1, j] * (1 - fx) + p[i + 1, j + 1] * fx
        return low * (1 - fy) + high * fy

    @property
    def peak(self) -> float:
        """Fraction of the light in the pixel at whose centre a star stands."""
        return float(self.phases[0, 0].max())


@functools.lru_cache(maxsize=16)  # 3 MB each
def star_image(optics: Optics) -> StarImage:
    """Return the image of a star, computed once for each telescope and filter."""
    return StarImage(optics)


def galaxy_image(radius, index, axis_ratio, angle, arms, dy, dx):
    """Light of a galaxy of unit flux, before the telescope blurs it.

    Parameters
    ----------
    radius : float
        Half-light radius [pixel].
    index : float
        Sersic index: 1 a disk, 4 an elliptical.
    axis_ratio, angle : float
        Shape, and direction of the long axis from x [rad].
    arms : float
        Contrast of two logarithmic spiral arms, 0 for none; its sign is their sense.
    dy, dx : float
        Place of the centre in the stamp's central pixel.

    Returns
    -------
    stamp : (n, n) ndarray of float32
        Centred on the pixel of the galaxy's centre.
    """
    edge = 4.5 if index < 2 else 7.0  # half-light radii at which the light ends
    reach = int(np.ceil(edge * radius)) + 2
    fine = 5 if radius < 1.5 else 3
    n = 2 * reach + 1
    axis = (np.arange(n * fine, dtype=np.float32) + np.float32(0.5)) / fine - 0.5 - reach
    x, y = (axis - dx)[None, :], (axis - dy)[:, None]
    u = x * np.cos(angle) + y * np.sin(angle)
    v = (y * np.cos(angle) - x * np.sin(angle)) / axis_ratio
    r = np.hypot(u, v) / radius
    b = 2 * index - 1 / 3 + 0.009876 / index  # Prugniel & Simien 1997, A&A 321, 111
    light = np.exp(-b * np.maximum(r, 0.02) ** (1 / index)) - np.exp(-b * edge ** (1 / index))
    np.maximum(light, 0, out=light)
    if arms:
        winding = np.log(np.maximum(r, 0.05)) / np.tan(np.radians(20))
        twist = np.arctan2(v, u) - np.sign(arms) * winding
        light *= 1 + abs(arms) * np.cos(2 * twist) * np.clip(r - 0.3, 0, 1)
        light += 0.6 * np.exp(-7.67 * (np.maximum(r, 0.02) * 4) ** 0.5) * (r < edge)
    stamp = light.reshape(n, fine, n, fine).mean(axis=(1, 3))
    return (stamp / stamp.sum()).astype(np.float32)


def render(catalog: np.ndarray, star: StarImage, sky: np.ndarray) -> np.ndarray:
    """Return the image of a catalog on top of the sky.

    Parameters
    ----------
    catalog : structured array
        Columns x, y [pixel], flux [electron / s], kind, radius, index,
        axis_ratio, angle, arms.
    star : StarImage
        The image of a point.
    sky : (ny, nx) ndarray of float32
        Sky [electron / s].

    Returns
    -------
    image : (ny, nx) ndarray of float32
        Photo-electrons per second in each pixel.
    """
    galaxies = np.zeros_like(sky)
    image = sky.copy()
    reach = 8 * catalog["radius"] + star.reach
    ny, nx = sky.shape
    near = (catalog["x"] > -reach) & (catalog["x"] < nx + reach)
    near &= (catalog["y"] > -reach) & (catalog["y"] < ny + reach)
    for s in catalog[near]:
        iy, ix = int(np.floor(s["y"])), int(np.floor(s["x"]))
        dy, dx = float(s["y"] - iy), float(s["x"] - ix)
        if s["kind"] == b"STAR":
            _add(image, star.at(dy, dx), iy, ix, s["flux"])
        else:
            names = ("radius", "index", "axis_ratio", "angle", "arms")
            shape = {name: np.float32(s[name]) for name in names}
            _add(galaxies, galaxy_image(**shape, dy=dy, dx=dx), iy, ix, s["flux"])
    if galaxies.any():
        image += _blurred(galaxies, star.at(0.0, 0.0))
    return image


def _add(image, stamp, iy, ix, flux):
    ny, nx = image.shape
    h = stamp.shape[0] // 2
    y0, y1, x0, x1 = max(0, iy - h), min(ny, iy + h + 1), max(0, ix - h), min(nx, ix + h + 1)
    if y0 < y1 and x0 < x1:
        part = stamp[y0 - iy + h : y1 - iy + h, x0 - ix + h : x1 - ix + h]
        image[y0:y1, x0:x1] += np.float32(flux) * part


def _blurred(image, kernel):
    h = kernel.shape[0] // 2
    shape = [n + 2 * h for n in image.shape]
    product = np.fft.rfft2(image, shape)
    product *= np.fft.rfft2(kernel, shape)
    full = np.fft.irfft2(product, shape)
    return np.maximum(full[h : h + image.shape[0], h : h + image.shape[1]], 0)
