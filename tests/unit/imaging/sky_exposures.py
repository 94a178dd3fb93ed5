"""Exposures of a known sky for the tests of mosaics: a distorted, rolled, dithered small detector."""

import gwcs
import numpy as np
from astropy import coordinates, units
from astropy.modeling import models as m
from gwcs import coordinate_frames as cf

from lightmill.models import CalModel, Exposures, put_wcs
from lightmill.models.dq import PIXEL

SCALE = 0.065  # side of a pixel [arcsec]
BAD = PIXEL["DO_NOT_USE"]


def distorted_wcs(shape, *, ra=53.1, dec=-27.8, roll=0.0, distortion=1e-6, scale=SCALE):
    """Tangent plane seen through a polynomial: `distortion` is its quadratic term [1/pixel]."""
    ny, nx = shape
    angle = np.deg2rad(roll)
    x = m.Polynomial2D(3, c1_0=1, c2_0=distortion, c1_1=-2 * distortion, c3_0=1e-3 * distortion)
    y = m.Polynomial2D(3, c0_1=1, c0_2=-distortion, c1_1=distortion)
    matrix = np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    step = scale / 3600
    transform = (
        (m.Shift(-(nx - 1) / 2) & m.Shift(-(ny - 1) / 2))
        | m.Mapping((0, 1, 0, 1))
        | (x & y)
        | m.AffineTransformation2D(matrix * step)
        | m.Pix2Sky_TAN()
        | m.RotateNative2Celestial(ra, dec, 180)
    )
    detector = cf.Frame2D(name="detector", unit=(units.pix, units.pix))
    sky = cf.CelestialFrame(
        name="world", reference_frame=coordinates.ICRS(), unit=(units.deg, units.deg)
    )
    wcs = gwcs.WCS([(detector, transform), (sky, None)])
    wcs.bounding_box = ((-0.5, nx - 0.5), (-0.5, ny - 0.5))
    return wcs


def stars_of(n=12, *, ra=53.1, dec=-27.8, half=2.5, seed=5):
    """Stars: right ascension, declination [deg], peak of their image."""
    random = np.random.default_rng(seed)
    east, north = random.uniform(-half, half, (2, n)) / 3600
    return ra + east / np.cos(np.deg2rad(dec)), dec + north, random.uniform(50, 500, n)


def image_of(wcs, shape, stars, *, level=1.0, sigma=1.3):
    """Surface brightness of stars of Gaussian profile, `sigma` pixels wide, on a flat sky."""
    y, x = np.indices(shape)
    image = np.full(shape, level)
    ra, dec = wcs.pixel_to_world_values(x, y)
    for star_ra, star_dec, peak in zip(*stars, strict=True):
        east = (ra - star_ra) * np.cos(np.deg2rad(star_dec)) * 3600 / SCALE
        north = (dec - star_dec) * 3600 / SCALE
        image += peak * np.exp(-(east**2 + north**2) / 2 / sigma**2)
    return image


def exposure(
    wcs,
    shape=(96, 96),
    *,
    data=None,
    noise=0.1,
    number=1,
    time=100.0,
    poisson=0.0,
    start=60000.0,
    **meta,
):
    """A calibrated exposure; its noise is drawn by the caller, `noise` is what it says of it."""
    data = np.ones(shape) if data is None else data
    variance = np.full(shape, noise**2, np.float32)
    model = CalModel(
        data=data.astype(np.float32),
        err=np.sqrt(variance + np.float32(poisson)),
        dq=np.zeros(shape, np.uint32),
        var_rnoise=variance,
        var_poisson=np.full(shape, poisson, np.float32),
        meta={
            "telescope": "GLOW",
            "filename": f"e{number}_cal.fits",
            "bunit_data": "MJy/sr",
            "bunit_err": "MJy/sr",
            "observation.obs_id": f"exposure {number}",
            "exposure.start_time": start + number / 100,
            "exposure.end_time": start + number / 100 + time / 86400,
            "exposure.exposure_time": time,
            "exposure.type": "IMAGE",
            "instrument.filter": "RED",
            **meta,
        },
    )
    return put_wcs(model, wcs)


def dithered(n=5, *, shape=(96, 96), stars=None, noise=0.1, seed=3, rolls=(0.0,), **more):
    """Exposures of one field, some pixels apart, with noise; and the systems they have."""
    random = np.random.default_rng(seed)
    stars = stars_of() if stars is None else stars
    models = []
    for k in range(n):
        east, north = random.uniform(-0.4, 0.4, 2) / 3600
        wcs = distorted_wcs(
            shape, ra=53.1 + east, dec=-27.8 + north, roll=rolls[k % len(rolls)], distortion=1e-5
        )
        data = image_of(wcs, shape, stars) + random.normal(0, noise, shape)
        models.append(exposure(wcs, shape, data=data, noise=noise, number=k + 1, **more))
    return Exposures.of(models, "field")
