"""Small exposures of one field of stars, seen through distortion and pointing errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from lightmill.models import CalModel, put_wcs

__all__ = ["make_exposure", "make_stars", "make_wcs"]

V2, V3 = 120.0, -480.0  # where the aperture is in the field of view [arcsec]
SCALE = 0.065  # of a pixel [arcsec]


def make_wcs(
    ra: float = 53.16,
    dec: float = -27.79,
    roll: float = 20.0,
    *,
    size: int = 256,
    scale: float = SCALE,
    distortion: float = 0.01,
) -> Any:
    """Return a generalised world coordinate system: pixels, V2V3, sky.

    Parameters
    ----------
    ra, dec : float
        Where the middle of the detector looks [deg].
    roll : float
        Position angle of V3 there [deg].
    size : int
        Rows and columns.
    scale : float
        Of a pixel [arcsec].
    distortion : float
        Share by which the scale differs between middle and edge.
    """
    import gwcs
    from astropy import coordinates, units
    from astropy.modeling import models
    from astropy.modeling.fitting import LinearLSQFitter
    from gwcs import coordinate_frames
    from gwcs.geometry import CartesianToSpherical, SphericalToCartesian

    bend = distortion * scale / size
    along = models.Polynomial2D(2, c1_0=-scale, c0_1=0.002 * scale, c2_0=bend, c1_1=0.4 * bend)
    up = models.Polynomial2D(2, c1_0=0.002 * scale, c0_1=scale, c0_2=-bend, c1_1=0.3 * bend)
    u, v = np.meshgrid(*2 * [np.linspace(-0.55 * size, 0.55 * size, 16)])
    fit, middle = LinearLSQFitter(), (size - 1) / 2
    x_of, y_of = (fit(models.Polynomial2D(5), along(u, v), up(u, v), to) for to in (u, v))
    pair = models.Mapping((0, 1, 0, 1))
    distort = (
        models.Shift(-middle) & models.Shift(-middle)
        | pair
        | along & up
        | models.Shift(V2) & models.Shift(V3)
    )
    distort.inverse = (
        models.Shift(-V2) & models.Shift(-V3)
        | pair
        | x_of & y_of
        | models.Shift(middle) & models.Shift(middle)
    )
    turn = models.RotationSequence3D([V2 / 3600, -V3 / 3600, roll, dec, -ra], "zyxyz")
    to_sky = (
        models.Scale(1 / 3600) & models.Scale(1 / 3600)
        | SphericalToCartesian(wrap_lon_at=180)
        | turn
        | CartesianToSpherical(wrap_lon_at=360)
    )
    detector = coordinate_frames.Frame2D(name="detector", unit=(units.pix, units.pix))
    field = coordinate_frames.Frame2D(
        name="v2v3", axes_names=("v2", "v3"), unit=(units.arcsec, units.arcsec)
    )
    world = coordinate_frames.CelestialFrame(name="world", reference_frame=coordinates.ICRS())
    wcs = gwcs.WCS([(detector, distort), (field, to_sky), (world, None)])
    wcs.bounding_box = ((-0.5, size - 0.5), (-0.5, size - 0.5))
    return wcs


def make_stars(
    n: int = 80,
    ra: float = 53.16,
    dec: float = -27.79,
    *,
    width: float = 22.0,
    snr: tuple[float, float] = (40.0, 800.0),
    seed: int = 1,
) -> np.ndarray:
    """Return stars on the sky: right ascension, declination [deg] and signal to noise, (n, 3).

    Parameters
    ----------
    n : int
        How many.
    ra, dec : float
        Middle of the square they are in [deg].
    width : float
        Its side [arcsec].
    snr : (float, float)
        Least and largest signal to noise.
    seed : int
        Of the random numbers.
    """
    from lightmill.imaging.overlap import TangentPlane

    random = np.random.default_rng(seed)
    xy = random.uniform(-width / 2, width / 2, (n, 2))
    least, largest = np.log(snr)
    ratio = np.exp(random.uniform(least, largest, n))
    return np.stack([*TangentPlane(ra, dec).deproject(xy), ratio], axis=1)


def make_exposure(
    stars: np.ndarray,
    true_wcs: Any,
    wcs: Any = None,
    *,
    size: int = 256,
    fwhm: float = 1.6,
    sky: float = 1.0,
    noise: float = 0.02,
    seed: int = 1,
    roll: float = 20.0,
    **meta: Any,
) -> CalModel:
    """Return an exposure of stars.

    Parameters
    ----------
    stars : (n, 3) ndarray
        As `make_stars` makes them.
    true_wcs : gwcs.WCS
        Where the detector looked.
    wcs : gwcs.WCS, optional
        Where the header says it looked; there by default.
    size : int
        Rows and columns.
    fwhm : float
        Of a star, pixels included in the sampling [pixel].
    sky, noise : float
        Of a pixel [MJy/sr].
    seed : int
        Of the noise.
    roll : float
        What the header says of it [deg].
    **meta
        Metadata by path, dots spelled as two underscores.
    """
    from scipy.special import erf

    image = np.random.default_rng(seed).normal(sky, noise, (size, size))
    sigma = fwhm / 2.355
    edges = np.arange(size + 1) - 0.5
    x, y = true_wcs.invert(stars[:, 0], stars[:, 1], with_bounding_box=False)
    seen = (x > -3) & (x < size + 2) & (y > -3) & (y < size + 2)
    for one_x, one_y, ratio in zip(x[seen], y[seen], stars[seen, 2], strict=True):
        across, up = (
            np.diff(erf((edges - at) / (sigma * np.sqrt(2)))) / 2 for at in (one_x, one_y)
        )
        image += ratio * noise * 2 * np.sqrt(np.pi) * np.hypot(sigma, 0.3) * np.outer(up, across)
    given = {path.replace("__", "."): value for path, value in meta.items()}
    pointing = {"wcsinfo.v2_ref": V2, "wcsinfo.v3_ref": V3, "wcsinfo.roll_ref": roll}
    model = CalModel(
        meta={**pointing, "bunit_data": "MJy/sr", **given},
        data=image.astype(np.float32),
        dq=np.zeros((size, size), np.uint32),
    )
    seen_as: CalModel = put_wcs(model, wcs if wcs is not None else true_wcs)  # type: ignore[assignment]  # the class stays
    return seen_as
