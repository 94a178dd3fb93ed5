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
    converted: str = "",
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
    converted : str
        As FITS conversions of GEIS files: ``cmh`` (1994, a header alone), ``jih`` (1995, a header
        with its image), ``text`` (the same, and the table as text); empty: as FITS from the start.
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
    if converted:
        return _write_converted(Path(folder), names, table, {**common, **statistics}, converted)
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


def _write_converted(
    folder: Path, names: tuple[str, str], table: np.ndarray, keywords: dict[str, Any], era: str
) -> tuple[Path, Path]:
    """Write a pair as what STSDAS made of GEIS files: flags as letters, NaN where nothing is defined."""
    plain = table.copy()
    plain.dtype.names = tuple(name.upper() for name in table.dtype.names or ())
    for name in plain.dtype.names:
        if plain[name].dtype.kind == "f":
            plain[name][np.abs(plain[name]) > UNDEFINED / 1000] = np.nan
    flags = ("RECENTER", "TAKEDATA", "SLEWFLAG")
    form = [(n, "S1" if n in flags else plain.dtype[n].str) for n in plain.dtype.names]
    lettered = np.zeros(len(plain), form)
    for name in plain.dtype.names:
        lettered[name] = np.where(plain[name] == 1, b"T", b"F") if name in flags else plain[name]
    units = {name.upper(): "DEGREES" if unit == "degrees" else unit for name, unit in UNITS.items()}
    header = {name: _as_geis(value) for name, value in keywords.items() if name != "ROOTNAME"}
    header["OPERATE"] = "1994.330:02:11:09" if era == "cmh" else "1995.330:02:11:09"
    stem, suffixes = keywords["ROOTNAME"], ("cmi", "cmh") if era == "cmh" else ("jit", "jih")
    contents = [fits_bytes({"FILENAME": f"{stem}.{suffixes[0]}"})]
    if era == "text":
        contents[0] += _text_extension(lettered, units)
    else:
        contents[0] += extension(table_cards(lettered, "jit", units), table_bytes(lettered))
    header["FILENAME"] = f"{stem}.{suffixes[1]}"
    image = (64, 64) if era != "cmh" else ()
    contents.append(fits_bytes(header, image))
    paths = folder / names[0], folder / names[1]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


def _as_geis(value: Any) -> Any:
    """Return a value as conversions write it: logicals as letters, numbers now and then as text."""
    if isinstance(value, bool):
        return f"{'T' if value else 'F':>10}"
    if isinstance(value, float):
        return f"{value:.6E}".replace("E", "D")
    return value


def _text_extension(table: np.ndarray, units: Mapping[str, str]) -> bytes:
    """Return a table as an extension of text."""
    forms = {"f": ("D25.17", "{:25.17E}", 25), "i": ("I6", "{:6d}", 6), "S": ("A1", "{}", 1)}
    cards, lines, start = [], [""] * len(table), 1
    names = table.dtype.names or ()
    for number, name in enumerate(names, 1):
        code, form, width = forms[table.dtype[name].kind]
        values = table[name].tolist()
        lines = [
            line + form.format(one.decode() if isinstance(one, bytes) else one).rjust(width) + " "
            for line, one in zip(lines, values, strict=True)
        ]
        cards += [
            *format_card(f"TTYPE{number}", name), *format_card(f"TBCOL{number}", start),
            *format_card(f"TFORM{number}", code), *format_card(f"TUNIT{number}", units[name]),
        ]  # fmt: skip
        start += width + 1
    head = [
        *format_card("XTENSION", "TABLE"), *format_card("BITPIX", 8), *format_card("NAXIS", 2),
        *format_card("NAXIS1", start - 1), *format_card("NAXIS2", len(table)),
        *format_card("PCOUNT", 0), *format_card("GCOUNT", 1), *format_card("TFIELDS", len(names)),
    ]  # fmt: skip
    return extension([*head, *cards], "".join(lines).encode("ascii"))


def fits_bytes(keywords: Mapping[str, Any], image: tuple[int, ...] = ()) -> bytes:
    """Return a primary header, and an image of zeros.

    Parameters
    ----------
    keywords : mapping
        Keyword → value.
    image : tuple of int
        Its shape; by default there is none.

    Returns
    -------
    content : bytes
        Padded to whole blocks.
    """
    axes = [c for n, length in enumerate(image[::-1], 1) for c in format_card(f"NAXIS{n}", length)]
    cards = [
        *format_card("SIMPLE", True), *format_card("BITPIX", 8), *format_card("NAXIS", len(image)),
        *axes, *format_card("EXTEND", True), *_cards(keywords),
    ]  # fmt: skip
    data = bytes(math.prod(image)) if image else b""
    return extension(cards, data)


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
