"""Jitter files as the observatory writes them, of a pointing that is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.models.cards import CARD, format_card
from lightmill.models.tables import table_bytes, table_cards
from lightmill.observatories.hst.wfpc2.exposures import root_of
from lightmill.observatories.hst.wfpc2.geometry import (
    attitude_of,
    coordinates_of,
    focal_plane,
    moved,
)

__all__ = ["UNDEFINED", "extension", "fits_bytes", "jitter_names", "jitter_table", "write_jitter"]

UNDEFINED = 1.6e38
BLOCK = 2880
UNITS = {
    "Seconds": "seconds", "V2_dom": "arcsec", "V3_dom": "arcsec", "V2_roll": "arcsec",
    "V3_roll": "arcsec", "SI_V2_AVG": "arcsec", "SI_V2_RMS": "arcsec", "SI_V2_P2P": "arcsec",
    "SI_V3_AVG": "arcsec", "SI_V3_RMS": "arcsec", "SI_V3_P2P": "arcsec", "RA": "degrees",
    "DEC": "degrees", "Roll": "degrees", "LimbAng": "degrees", "TermAng": "degrees",
    "LOS_Zenith": "degrees", "Latitude": "degrees", "Longitude": "degrees", "Mag_V1": "Gauss",
    "Mag_V2": "Gauss", "Mag_V3": "Gauss", "BrightLimb": "", "FGS_flags": "", "DayNight": "",
    "Recenter": "", "TakeData": "", "SlewFlag": "",
}  # fmt: skip
_DOUBLE = ("RA", "DEC", "Roll")
_WHOLE = ("BrightLimb", "DayNight", "Recenter", "TakeData", "SlewFlag")


def jitter_names(dataset: str, gen_date_str: str) -> tuple[str, str]:
    """Return the names of the table and of the statistics of a generation of a jitter dataset.

    Parameters
    ----------
    dataset : str
        IPPPSSOOJ.
    gen_date_str : str
        YYYYMMDDHHMM; kept in the name, since the files do not tell it.

    Returns
    -------
    jit, jif : str
        Names of files.
    """
    root_of(dataset)
    stem = f"{dataset.lower()}_{gen_date_str}"
    return f"{stem}_jit.fits", f"{stem}_jif.fits"


def jitter_table(
    ra: float, dec: float, roll: float, *, exptime: float, scatter: float = 0.003, seed: int = 0
) -> np.ndarray:
    """Return the rows of an observation log.

    Parameters
    ----------
    ra, dec, roll : float
        Mean pointing of the aperture and position angle of +V3 there [deg]; exact: the scatter of
        the rows adds up to nothing.
    exptime : float
        Exposure time [s]: a row every 3 s, below 6 s every second.
    scatter : float
        Standard deviation of the pointing along V2 and V3 [arcsec].
    seed : int
        Of the scatter.

    Returns
    -------
    table : (n,) ndarray
        The 28 columns of real files.
    """
    step = 1.0 if exptime < 6 else 3.0
    count = max(2, round(exptime / step))
    rng = np.random.default_rng(seed)
    v2, v3 = rng.normal(0.0, scatter, (2, count))
    v2, v3 = v2 - v2.mean(), v3 - v3.mean()
    middle = attitude_of(*(np.full(count, one) for one in (ra, dec, roll)))
    at = coordinates_of(moved(middle, v2, v3))
    form = [(name, "f8" if name in _DOUBLE else "i2" if name in _WHOLE else "f4") for name in UNITS]
    table = np.zeros(count, np.dtype(form))
    table["Seconds"] = step * (1 + np.arange(count))
    table["RA"], table["DEC"], table["Roll"] = at[0], at[1], roll
    table["SI_V2_AVG"], table["SI_V3_AVG"] = v2, v3
    table["SI_V2_RMS"] = table["SI_V3_RMS"] = scatter
    table["TermAng"] = 1.6e36
    table["BrightLimb"] = table["TakeData"] = 1
    return table


def write_jitter(
    folder: Path,
    dataset: str,
    gen_date_str: str,
    table: np.ndarray,
    *,
    aperture: str = "UWFALL",
    before_1997: bool = False,
    keywords: Mapping[str, Any] | None = None,
) -> tuple[Path, Path]:
    """Write the pair of files of an observation log.

    Parameters
    ----------
    folder : path
        Where to.
    dataset, gen_date_str : str
        Which generation of which jitter dataset.
    table : (n,) ndarray
        Of `jitter_table`.
    aperture : str
        Aperture whose pointing it is.
    before_1997 : bool
        Keep the statistics in the primary header, as until 2 February 1997.
    keywords : mapping, optional
        Statistics that differ from those of an undisturbed exposure; None leaves one out.

    Returns
    -------
    jit, jif : Path
        The files.
    """
    names = jitter_names(dataset, gen_date_str)
    operate = "1996.330:02:11:09" if before_1997 else "1997.060:02:11:09"
    common = {
        "TELESCOP": "HST", "INSTRUME": "FGS", "EQUINOX": 2000.0, "ROOTNAME": dataset.lower(),
        "CONFIG": "WFPC2", "OPERATE": operate, "GUIDECMD": "FINE LOCK", "SIMULATD": True,
    }  # fmt: skip
    statistics = {**_statistics(table, dataset, aperture), **(keywords or {})}
    statistics = {name: one for name, one in statistics.items() if one is not None}
    jit = fits_bytes(common) + extension(table_cards(table, "jit", UNITS), table_bytes(table))
    image = np.zeros((64, 64), ">i2")
    cards = [
        *format_card("XTENSION", "IMAGE"), *format_card("BITPIX", 16), *format_card("NAXIS", 2),
        *format_card("NAXIS1", 64), *format_card("NAXIS2", 64), *format_card("PCOUNT", 0),
        *format_card("GCOUNT", 1),
        *_cards({} if before_1997 else statistics),
    ]  # fmt: skip
    jif = fits_bytes({**common, **(statistics if before_1997 else {})})
    jif += extension(cards, image.tobytes())
    paths = Path(folder) / names[0], Path(folder) / names[1]
    for path, content in zip(paths, (jit, jif), strict=True):
        path.write_bytes(content)
    return paths


def fits_bytes(keywords: Mapping[str, Any]) -> bytes:
    """Return a primary header without data.

    Parameters
    ----------
    keywords : mapping
        Keyword → value.

    Returns
    -------
    content : bytes
        Padded to whole blocks.
    """
    cards = [
        *format_card("SIMPLE", True), *format_card("BITPIX", 8), *format_card("NAXIS", 0),
        *format_card("EXTEND", True), *_cards(keywords),
    ]  # fmt: skip
    return _header(cards)


def _statistics(table: np.ndarray, dataset: str, aperture: str) -> dict[str, Any]:
    """Return the keywords of an undisturbed exposure; jitter in milliarcsec."""
    at = focal_plane().apertures.get(aperture, (0.0, 0.0))
    rms = [float(table[f"SI_{axis}_AVG"].std()) * 1000 if len(table) else -32767.0
           for axis in ("V2", "V3")]  # fmt: skip
    return {
        "EXPNAME": dataset.lower(), "TLMFORM": "HN", "APERTURE": aperture, "APER_V2": at[0],
        "APER_V3": at[1], "GUIDEACT": "FINE LOCK", "NLOSSES": 0, "LOCKLOSS": 0.0, "NRECENT": 0,
        "RECENTR": 0.0, "V2_RMS": round(rms[0], 3), "V3_RMS": round(rms[1], 3), "SLEWING": "F",
        "TAKEDATA": "T", "TLM_PROB": False,
    }  # fmt: skip


def _cards(keywords: Mapping[str, Any]) -> list[bytes]:
    return [card for name, value in keywords.items() for card in format_card(name, value)]


def _header(cards: list[bytes]) -> bytes:
    block = b"".join(cards) + b"END".ljust(CARD)
    return block.ljust(math.ceil(len(block) / BLOCK) * BLOCK)


def extension(cards: list[bytes], data: bytes) -> bytes:
    """Return an extension of a FITS file.

    Parameters
    ----------
    cards : list of bytes
        Its header, without END.
    data : bytes
        Its data.

    Returns
    -------
    content : bytes
        Padded to whole blocks.
    """
    return _header(cards) + data.ljust(math.ceil(len(data) / BLOCK) * BLOCK, b"\0")
