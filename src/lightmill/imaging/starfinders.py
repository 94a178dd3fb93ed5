"""Find stars as the field's other programs do, with photutils."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from lightmill.errors import ConfigurationError
from lightmill.imaging.star_finding import FWHM_PER_SIGMA, Stars, background_noise, smooth_sky

__all__ = ["find_peaks", "find_stars_with_photutils"]


def find_peaks(
    signal: np.ndarray,
    mask: np.ndarray,
    finder: str,
    place: str,
    *,
    sigma_radius: float = 1.5,
    **wanted: Any,
) -> tuple[np.ndarray, ...]:
    """Find stars by the shape of their peak, as DAOFIND [1]_ or IRAF's starfind does.

    Parameters
    ----------
    signal : (ny, nx) ndarray of float32
        Image without its sky.
    mask : (ny, nx) ndarray of bool
        True where a pixel has no value.
    finder : {'dao', 'iraf'}
        Whose method.
    place : str
        Step that asks, for messages.
    sigma_radius : float
        Where the kernel is cut off [sigma]; of 'dao' alone.
    **wanted
        ``threshold``, least height of a star [unit of the image]; ``fwhm`` and
        ``min_separation`` [pixel]; ``sharpness_range``, ``roundness_range``; ``n_brightest``,
        ``peak_max``, where not all are wanted.

    Returns
    -------
    x, y, flux, peak : (n,) ndarray of float64
        Positions [pixel], in the order of the finder; what it says of their light.

    Raises
    ------
    ConfigurationError
        Without photutils.

    References
    ----------
    .. [1] Stetson, P. B. 1987, PASP, 99, 191.
    """
    _check_photutils(finder, place)
    from photutils.detection import DAOStarFinder, IRAFStarFinder

    kind = IRAFStarFinder
    if finder == "dao":
        kind, wanted["sigma_radius"] = DAOStarFinder, sigma_radius
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "no sources": what is returned says so
        found = kind(**wanted)(signal, mask=mask)
    if found is None or not len(found):
        return tuple(np.zeros(0) for _ in range(4))
    names = ("x_centroid", "y_centroid", "flux", "peak")
    return tuple(np.asarray(found[name], np.float64) for name in names)


def find_stars_with_photutils(
    image: np.ndarray, bad: np.ndarray, finder: str, settings: Mapping[str, Any]
) -> Stars:
    """Find the stars that exposures are aligned by: by the shape of their peak, or as segments.

    Parameters
    ----------
    image : (ny, nx) ndarray of float32
        Any unit; may hold NaN where it is bad.
    bad : (ny, nx) ndarray of bool
        Pixels not to look at.
    finder : {'dao', 'iraf', 'segmentation'}
        See `find_peaks`; or connected pixels, as in SExtractor (Bertin & Arnouts 1996, A&AS, 117,
        393).
    settings : mapping
        ``snr_threshold`` (of single pixels), ``kernel_fwhm`` [pixel], ``box``, ``brightest``,
        ``peakmax``, ``minsep_fwhm``; ``sigma_radius``, ``sharpness``, ``roundness`` (pairs) of
        stars; ``npixels``, ``connectivity``, ``nlevels``, ``contrast``, ``multithresh_mode``,
        ``localbkg_width``, ``apermask_method``, ``kron_params``, ``deblend`` of segments.

    Returns
    -------
    stars : Stars
        Brightest first.

    Raises
    ------
    ConfigurationError
        Without photutils.
    """
    _check_photutils(finder, "tweakreg")
    bad = bad | ~np.isfinite(image)
    if image.size - np.count_nonzero(bad) < 25:
        return Stars.none()
    cleaned = np.where(bad, np.float32(0), image - smooth_sky(image, bad, settings["box"]))
    noise = background_noise(cleaned, bad) or float(np.finfo(np.float32).tiny)
    if finder == "segmentation":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x, y, flux, peak, width = _segments(cleaned, bad, noise, settings)
    else:
        fwhm = settings["kernel_fwhm"]
        x, y, flux, peak = find_peaks(
            cleaned,
            bad,
            finder,
            "tweakreg",
            threshold=settings["snr_threshold"] * noise,
            fwhm=fwhm,
            sigma_radius=settings["sigma_radius"],
            sharpness_range=settings["sharpness"],
            roundness_range=settings["roundness"],
            min_separation=max(2, int(settings["minsep_fwhm"] * fwhm + 0.5)),
        )
        width = fwhm / FWHM_PER_SIGMA
    good = np.isfinite(x) & np.isfinite(y) & (flux > 0)
    if settings["peakmax"] is not None:
        good &= peak < settings["peakmax"]
    snr = flux / (noise * 2 * np.sqrt(np.pi) * max(width, 0.4))  # of a Gaussian in noise
    order = np.flatnonzero(good)[np.argsort(-flux[good], kind="stable")]
    size = np.full(len(x), width)
    return Stars(x, y, flux, snr, peak, size, width).take(order[: settings["brightest"]])


def _check_photutils(finder: str, place: str) -> None:
    try:
        import photutils  # noqa: F401 - its presence is what matters
    except ImportError as error:
        raise ConfigurationError(
            "this star finder needs a package that is not installed",
            place=f"{place}.starfinder",
            found=finder,
            expected="photutils, or the step's own star finder",
            remedy="pip install photutils, or leave the parameter starfinder out",
        ) from error


def _segments(
    image: np.ndarray, bad: np.ndarray, noise: float, settings: Mapping[str, Any]
) -> tuple[Any, ...]:
    from astropy.convolution import convolve
    from photutils.segmentation import SourceCatalog, SourceFinder, make_2dgaussian_kernel

    size = 2 * int(np.ceil(settings["kernel_fwhm"])) + 1
    smoothed = convolve(image, make_2dgaussian_kernel(settings["kernel_fwhm"], size=size), mask=bad)
    find = SourceFinder(
        settings["npixels"],
        connectivity=settings["connectivity"],
        n_levels=settings["nlevels"],
        contrast=settings["contrast"],
        mode=settings["multithresh_mode"],
        deblend=settings["deblend"],
        progress_bar=False,
    )
    segments = find(smoothed, settings["snr_threshold"] * noise, mask=bad)
    if segments is None:
        return (*(np.zeros(0) for _ in range(4)), 1.0)
    more = {} if settings["kron_params"] is None else {"kron_params": settings["kron_params"]}
    found = SourceCatalog(
        image, segments, convolved_data=smoothed, mask=bad,
        local_bkg_width=settings["localbkg_width"],
        aperture_mask_method=settings["apermask_method"], **more,
    )  # fmt: skip
    x, y = np.atleast_1d(found.x_centroid), np.atleast_1d(found.y_centroid)
    flux, peak = np.atleast_1d(found.segment_flux), np.atleast_1d(found.max_value)
    width = float(np.nanmedian(np.atleast_1d(found.semiminor_axis.value)))
    return x, y, flux, peak, width
