"""Frames of the four chips, of stars and cosmic rays that are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.models.cards import format_card
from lightmill.observatories.hst.wfpc2.exposures import Exposure
from lightmill.observatories.hst.wfpc2.frames import GAIN
from lightmill.observatories.hst.wfpc2.geometry import (
    CHIPS,
    Attitude,
    attitude_of,
    focal_plane,
    moved,
    on_chip,
    to_fiducial,
)
from lightmill.observatories.hst.wfpc2.rays import READ_NOISE
from lightmill.observatories.hst.wfpc2.simulate import extension, fits_bytes

__all__ = ["Field", "FrameTruth", "make_field", "simulate_frame", "write_frame"]

EDGE = 800  # pixels of a chip in each direction
BLUR = {"PC1": 1.0, "WF2": 0.68, "WF3": 0.68, "WF4": 0.68}  # σ of a star [pixel]
RAYS = 1.8  # that hit a chip in a second (WFPC2 Instrument Handbook, chapter 4)
STEPS = 6.7  # pixels of a hit, in the mean (ibid.)
CHARGE = 300.0  # electrons in each of them, in the mean
REACH = 6  # pixels on each side of a star that get light


@dataclass(frozen=True)
class Field:
    """Stars of known brightness.

    Parameters
    ----------
    directions : (3, n) ndarray of float64
        Unit vectors.
    rates : (n,) ndarray of float64
        Electrons in a second.
    sky : float
        Electrons in a second in a pixel of a WF chip.
    """

    directions: np.ndarray
    rates: np.ndarray
    sky: float


@dataclass(frozen=True)
class FrameTruth:
    """What a frame was made of.

    Parameters
    ----------
    rays : (4, ny, nx) ndarray of float32
        Electrons that cosmic rays left.
    places : tuple of (n, 2) ndarray
        Where each star is on each chip, pixels counted from 0.
    """

    rays: np.ndarray
    places: tuple[np.ndarray, ...]


def make_field(
    pointing: Attitude, *, stars: int = 400, faintest: float = 1.0, sky: float = 0.02, seed: int = 0
) -> Field:
    """Return a field of stars around a pointing.

    Parameters
    ----------
    pointing : Attitude
        One, at the fiducial.
    stars : int
        How many, over 180 × 180 arcsec.
    faintest : float
        Electrons in a second of the faintest; ten in a hundred are ten times as bright.
    sky : float
        Electrons in a second in a pixel of a WF chip.
    seed : int
        Of places and brightnesses.

    Returns
    -------
    field : Field
        The stars.
    """
    rng = np.random.default_rng(seed)
    v2, v3 = rng.uniform(-90.0, 90.0, (2, stars))
    rates = faintest * rng.uniform(0.01, 1.0, stars) ** -1.0
    every = pointing.take(np.zeros(stars, int))
    return Field(moved(every, v2, v3).axis, rates, sky)


def simulate_frame(
    exposure: Exposure, field: Field, *, seed: int = 0, chips: tuple[str, ...] = CHIPS
) -> tuple[np.ndarray, FrameTruth]:
    """Return what the chips of an exposure read, after bias, dark and flat.

    Parameters
    ----------
    exposure : Exposure
        Where it looked, by its header, and for how long.
    field : Field
        What was there.
    seed : int
        Of photons, cosmic rays and read noise.
    chips : tuple of str
        Which are made; the others are 0.

    Returns
    -------
    frame : (4, 800, 800) ndarray of float32
        DN, in the order of `CHIPS`.
    truth : FrameTruth
        What it was made of.
    """
    rng = np.random.default_rng(seed)
    at = attitude_of(exposure.ra_hdr, exposure.dec_hdr, exposure.pa_v3_hdr)
    at = to_fiducial(at, [exposure.aperture])
    frame = np.zeros((len(CHIPS), EDGE, EDGE), np.float32)
    rays = np.zeros_like(frame)
    places = []
    for number, chip in enumerate(CHIPS):
        xy = on_chip(field.directions, at, chip)
        places.append(xy)
        if chip not in chips:
            continue
        scale = focal_plane().chips[chip][2] / focal_plane().chips["WF4"][2]
        rate = np.full((EDGE, EDGE), field.sky * scale**2)
        _add_stars(rate, xy, field.rates, BLUR[chip])
        rays[number] = _rays(rng, exposure.exptime)
        electrons = rng.poisson(rate * exposure.exptime) + rays[number]
        electrons = electrons + rng.normal(0.0, READ_NOISE, electrons.shape)
        frame[number] = electrons / GAIN
    return frame, FrameTruth(rays, tuple(places))


def write_frame(path: Path, exposure: Exposure, frame: np.ndarray) -> Path:
    """Write a frame as the archive keeps calibrated ones: an extension for each chip.

    Parameters
    ----------
    path : path
        Its name ends in ``_c0m.fits``.
    exposure : Exposure
        What the header tells.
    frame : (4, ny, nx) ndarray of float32
        DN.

    Returns
    -------
    path : Path
        The same.
    """
    keywords: dict[str, Any] = {
        "TELESCOP": "HST", "INSTRUME": "WFPC2", "ROOTNAME": exposure.dataset_name.lower(),
        "FILETYPE": "SCI", "IMAGETYP": exposure.imagetyp, "FILTNAM1": exposure.filtnam1,
        "FILTNAM2": exposure.filtnam2, "EXPTIME": exposure.exptime, "ATODGAIN": GAIN,
        "APERTURE": exposure.aperture, "PROPOSID": exposure.pep_id, "TARGNAME": exposure.targname,
        "RA_APER": exposure.ra_hdr, "DEC_APER": exposure.dec_hdr, "PA_V3": exposure.pa_v3_hdr,
        "SIMULATD": True,
    }  # fmt: skip
    content = fits_bytes(keywords)
    for number, chip in enumerate(CHIPS, 1):
        image = np.ascontiguousarray(frame[number - 1], ">f4")
        cards = [
            *format_card("XTENSION", "IMAGE"), *format_card("BITPIX", -32),
            *format_card("NAXIS", 2), *format_card("NAXIS1", image.shape[1]),
            *format_card("NAXIS2", image.shape[0]), *format_card("PCOUNT", 0),
            *format_card("GCOUNT", 1), *format_card("EXTNAME", "SCI"),
            *format_card("EXTVER", number), *format_card("DETECTOR", number),
            *format_card("CHIP", chip), *format_card("BUNIT", "COUNTS"),
        ]  # fmt: skip
        content += extension(cards, image.tobytes())
    Path(path).write_bytes(content)
    return Path(path)


def _add_stars(rate: np.ndarray, xy: np.ndarray, rates: np.ndarray, blur: float) -> None:
    """Add the light of stars, integrated over each pixel."""
    from scipy.special import erf

    for (x, y), one in zip(xy, rates, strict=True):
        x0, y0 = round(x) - REACH, round(y) - REACH
        x1, y1 = x0 + 2 * REACH + 1, y0 + 2 * REACH + 1
        if x1 <= 0 or y1 <= 0 or x0 >= rate.shape[1] or y0 >= rate.shape[0]:
            continue
        shares = [
            np.diff(erf((np.arange(first, last + 1) - 0.5 - middle) / (blur * math.sqrt(2)))) / 2
            for first, last, middle in ((y0, y1, y), (x0, x1, x))
        ]
        stamp = one * np.outer(*shares)
        ys, xs = slice(max(y0, 0), min(y1, len(rate))), slice(max(x0, 0), min(x1, rate.shape[1]))
        rate[ys, xs] += stamp[ys.start - y0 : ys.stop - y0, xs.start - x0 : xs.stop - x0]


def _rays(rng: np.random.Generator, exptime: float) -> np.ndarray:
    """Return the electrons that cosmic rays leave in a chip: straight tracks of a few pixels."""
    left = np.zeros((EDGE, EDGE), np.float32)
    hits = rng.poisson(RAYS * exptime)
    length = 1 + rng.geometric(1 / (STEPS - 1), hits)
    x, y, way = rng.uniform(0, EDGE, hits), rng.uniform(0, EDGE, hits), rng.uniform(0, np.pi, hits)
    for step in range(int(length.max(initial=0))):
        goes_on = length > step
        column = np.floor(x + step * np.cos(way)).astype(int)[goes_on]
        row = np.floor(y + step * np.sin(way)).astype(int)[goes_on]
        charge = rng.exponential(CHARGE, len(row))
        inside = (column >= 0) & (column < EDGE) & (row >= 0) & (row < EDGE)
        np.add.at(left, (row[inside], column[inside]), charge[inside].astype(np.float32))
    return left
