"""Where the telescope pointed during an exposure, from the pair of files of its observation log.

``_jit.fits`` has a row every three seconds: pointing of the aperture, roll, flags. ``_jif.fits``
has the statistics of the whole exposure in its header. Names and units of columns are those of real
files; an undefined value is 1.6e38 (1.6e36 in one column), -32767 in the header.

Until February 1997 the logs were written as GEIS files (``cmh`` and ``cmi``, later ``jih`` and
``jit``). Their conversions to FITS are read as well: one header with everything, an image beside it
or none, tables of text, flags as logicals or letters, NaN or INDEF where nothing is defined, numbers
as text, cards that are there only when there was trouble.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightmill.errors import CorruptFileError, DataError, LightmillError
from lightmill.models.cards import Header
from lightmill.models.fits_reader import FitsFile, Hdu, read_fits
from lightmill.models.lazy import HeldBytes
from lightmill.models.tables import read_table
from lightmill.observatories.hst.wfpc2.rules import Rules

__all__ = ["JitterPair", "Pointing", "extract", "pointing_of", "read_pair"]

UNDEFINED = 1e30  # beyond it a number of the table is not one
UNDEFINED_STATISTIC = -32767.0
LARGEST = 64 << 20  # bytes; real pairs have some tens of kilobytes
COLUMNS = ("Seconds", "RA", "DEC", "Roll", "TakeData", "SlewFlag", "Recenter")
FLAGS = ("takedata", "slewflag", "recenter")
UNDEFINED_FLAG = -1  # neither up nor down: such a row does not count
DEGREES = frozenset({"", "deg", "deg.", "degree", "degrees"})
STATISTICS = ("RA_AVG", "GUIDEACT", "TLMFORM", "SLEWING", "V2_RMS")  # where one is, the others are
DEG = math.pi / 180


@dataclass(frozen=True, slots=True)
class JitterPair:
    """What was read of the two files.

    Parameters
    ----------
    dataset : str
        Name of the jitter dataset the files give, upper case; empty where they do not.
    columns : dict
        Columns of the observation log by their names in lower case, one row every few seconds.
    header : Header
        Statistics of the exposure, wherever the files of its time keep them.
    content : str
        SHA-256 of the bytes of both.
    """

    dataset: str
    columns: dict[str, np.ndarray]
    header: Header
    content: str


@dataclass(frozen=True, slots=True)
class Pointing:
    """Mean pointing of an exposure, its scatter and its quality.

    Parameters
    ----------
    dataset, gen_date_str : str
        Jitter dataset, and which generation of it.
    ra, dec, roll : float or None
        Mean pointing of the aperture and position angle of +V3 [deg]; None without a valid row.
    quality : str
        P good, G with a reservation, B not to be used.
    causes : tuple of str
        Why it is not P.
    sigma_ra, sigma_dec : float
        Scatter along right ascension (times cos dec) and declination [arcsec].
    sigma_roll : float
        Scatter of the roll [deg].
    rows, valid : int
        Rows of the table, and how many took part.
    aperture : str
        Aperture whose pointing this is.
    rms_v2, rms_v3 : float or None
        Jitter of the whole exposure as the header gives it [arcsec; the file says mas].
    content : str
        SHA-256 of the files it was measured in.
    """

    dataset: str
    gen_date_str: str
    ra: float | None
    dec: float | None
    roll: float | None
    quality: str
    causes: tuple[str, ...] = ()
    sigma_ra: float = 0.0
    sigma_dec: float = 0.0
    sigma_roll: float = 0.0
    rows: int = 0
    valid: int = 0
    aperture: str = ""
    rms_v2: float | None = None
    rms_v3: float | None = None
    content: str = ""

    @property
    def usable(self) -> bool:
        """Whether the exposure may be associated by it (type A)."""
        return self.quality in {"P", "G"} and self.ra is not None


def extract(
    jit: Path, jif: Path, *, dataset: str, gen_date_str: str, rules: Rules | None = None
) -> Pointing:
    """Measure the pointing in a pair of jitter files.

    Parameters
    ----------
    jit, jif : path
        The table, and the statistics.
    dataset : str
        Jitter dataset they should belong to.
    gen_date_str : str
        Generation, from the archive's delivery: the files do not tell.
    rules : Rules, optional
        Thresholds of quality.

    Returns
    -------
    pointing : Pointing
        Quality B, and perhaps no pointing, where the log is of no use.

    Raises
    ------
    DataError, CorruptFileError
        If a file is missing, damaged, or of another dataset: such a pair says nothing, and what was
        known before stays.
    """
    pair = read_pair(jit, jif)
    if pair.dataset and pair.dataset != dataset:
        raise DataError(
            "these are the files of another exposure",
            place=jit,
            found=pair.dataset,
            expected=dataset,
            remedy="ask the archive for the pair again",
        )
    return pointing_of(pair, dataset=dataset, gen_date_str=gen_date_str, rules=rules)


def read_pair(jit: Path, jif: Path) -> JitterPair:
    """Read a pair of jitter files.

    Parameters
    ----------
    jit, jif : path
        The table, and the statistics.

    Returns
    -------
    pair : JitterPair
        Columns that the pointing does not need are kept as they are.

    Raises
    ------
    DataError, CorruptFileError
        If one is missing, is damaged, lacks a column, or they belong to different exposures.
    """
    contents = _bytes(jit), _bytes(jif)
    log = read_fits(HeldBytes(contents[0], Path(jit)))
    statistics = read_fits(HeldBytes(contents[1], Path(jif)))
    names = {name for file in (log, statistics) if (name := _dataset(file))}
    if len(names) > 1:
        raise DataError(
            "table and statistics are of different exposures",
            place=jit,
            found=" and ".join(sorted(names)),
            expected="one dataset",
            remedy="ask the archive for the pair again",
        )
    digest = hashlib.sha256(contents[0])
    digest.update(contents[1])
    name = names.pop() if names else ""
    columns = _columns(log, contents[0])
    return JitterPair(name, columns, _statistics(statistics), digest.hexdigest())


def pointing_of(
    pair: JitterPair,
    *,
    dataset: str,
    gen_date_str: str,
    rules: Rules | None = None,
    window: tuple[float, float] | None = None,
) -> Pointing:
    """Measure the pointing in an observation log.

    Parameters
    ----------
    pair : JitterPair
        What was read.
    dataset, gen_date_str : str
        Which generation of which jitter dataset it is.
    rules : Rules, optional
        Thresholds of quality.
    window : (float, float), optional
        When the shutter was open, since the start of the log's window [s]; by default all rows count.

    Returns
    -------
    pointing : Pointing
        Means on the sphere: neither 0 h nor a pole is special.
    """
    rules = rules or Rules()
    columns, header = pair.columns, pair.header
    ra, dec, roll = (columns[name].astype(np.float64) for name in ("ra", "dec", "roll"))
    valid = (columns["takedata"] == 1) & (columns["slewflag"] == 0) & (columns["recenter"] == 0)
    valid &= (np.abs(ra) < UNDEFINED) & (np.abs(dec) <= 90.0) & (np.abs(roll) < UNDEFINED)
    if window is not None:
        valid &= (columns["seconds"] >= window[0]) & (columns["seconds"] <= window[1])
    mean = _mean(ra[valid], dec[valid], roll[valid]) if valid.any() else None
    quality, causes = _judged(header, mean, len(ra), rules)
    ra_, dec_, roll_, *scatter = mean or (None, None, None, 0.0, 0.0, 0.0)
    return Pointing(
        dataset=dataset,
        gen_date_str=gen_date_str,
        ra=ra_,
        dec=dec_,
        roll=roll_,
        quality=quality,
        causes=causes,
        sigma_ra=scatter[0] or 0.0,
        sigma_dec=scatter[1] or 0.0,
        sigma_roll=scatter[2] or 0.0,
        rows=len(ra),
        valid=int(valid.sum()),
        aperture=header.text("APERTURE"),
        rms_v2=_arcsec(header, "V2_RMS"),
        rms_v3=_arcsec(header, "V3_RMS"),
        content=pair.content,
    )


def _mean(ra: np.ndarray, dec: np.ndarray, roll: np.ndarray) -> tuple[float, ...]:
    """Return mean RA, Dec, roll [deg] and scatters [arcsec, arcsec, deg]."""
    a, d, p = ra * DEG, dec * DEG, roll * DEG
    cos_d = np.cos(d)
    vectors = np.stack([cos_d * np.cos(a), cos_d * np.sin(a), np.sin(d)])
    x, y, z = vectors.mean(axis=1)
    length = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length
    across = math.hypot(x, y)
    east = np.array([-y / across, x / across, 0.0]) if across else np.array([0.0, 1.0, 0.0])
    north = np.array([-z * east[1], z * east[0], across])
    mean_roll = math.atan2(np.sin(p).mean(), np.cos(p).mean()) / DEG % 360.0
    around = (roll - mean_roll + 180.0) % 360.0 - 180.0
    arcsec = DEG / 3600
    return (
        math.atan2(y, x) / DEG % 360.0,
        math.atan2(z, across) / DEG,
        mean_roll,
        float((east @ vectors).std() / arcsec),
        float((north @ vectors).std() / arcsec),
        float(around.std()),
    )


def _judged(
    header: Header, mean: tuple[float, ...] | None, rows: int, rules: Rules
) -> tuple[str, tuple[str, ...]]:
    """Return quality and what speaks against it: the conditions of the archive's quality table."""
    bad, doubtful = [], []
    if not rows:
        bad.append("the table is empty")
    elif mean is None:
        bad.append("no valid row: pointing undefined")
    if header.text("TLMFORM") == "FN":
        bad.append("TLMFORM FN: velocity aberration not corrected")
    if _true(header, "SLEWING"):
        bad.append("SLEWING: the telescope slewed")
    if not header.text("APERTURE"):
        bad.append("APERTURE is empty")
    sigma = max(mean[3:5]) if mean else 0.0
    if sigma > rules.sigma_bad:
        bad.append(f"scatter {sigma:.3f} arcsec is beyond belief (> {rules.sigma_bad:g})")
    elif sigma > rules.sigma_good:
        doubtful.append(f"scatter {1000 * sigma:.1f} mas (> {1000 * rules.sigma_good:g})")
    if (guiding := " ".join(header.text("GUIDEACT").upper().split())) != "FINE LOCK":
        doubtful.append(f"GUIDEACT {guiding or 'empty'}: not FINE LOCK")
    if (lost := _number(header, "LOCKLOSS") or 0.0) > 0:
        doubtful.append(f"LOCKLOSS {lost:g} s")
    if bad:
        return "B", tuple(bad)
    return ("G", tuple(doubtful)) if doubtful else ("P", ())


def _bytes(path: Path) -> bytes:
    try:
        with Path(path).open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except FileNotFoundError:
        raise DataError(
            "half of a jitter pair is missing", place=path, remedy="fetch the pair again"
        ) from None
    except OSError as error:
        raise DataError("the file cannot be read", place=path, found=error.strerror) from error
    if len(content) > LARGEST:
        raise CorruptFileError(
            "too large for a jitter file", place=path, expected=f"at most {LARGEST} bytes"
        )
    return content


def _dataset(file: FitsFile) -> str:
    """Return the dataset a file says it is of, from its headers; upper case, empty if none does.

    Where no header has a ROOTNAME, the file it was converted from tells: ``uz010100j.cmh``.
    """
    for hdu in file.hdus:
        if name := hdu.header.text("ROOTNAME"):
            return name.upper()
    names = (hdu.header.text("FILENAME").upper() for hdu in file.hdus)
    found = (re.search(r"(?:^|[^A-Z0-9])(U[A-Z0-9]{7}J)[._]", name) for name in names)
    return next((one[1] for one in found if one), "")


def _columns(file: FitsFile, content: bytes) -> dict[str, np.ndarray]:
    hdu = next((one for one in file.hdus if one.kind == "table" or _is_text(one)), None)
    if hdu is None:
        raise CorruptFileError("there is no table", place=file.path, remedy="fetch the file again")
    table = _text_table(hdu, content) if _is_text(hdu) else read_table(hdu)
    names = table.dtype.names or ()
    columns = {name.lower(): table[name] for name in names}  # older logs spell V2_DOM
    if len(columns) < len(names) or any(name.lower() not in columns for name in COLUMNS):
        raise DataError(
            "the table is no observation log",
            place=hdu.place,
            found=", ".join(names)[:200],
            expected=f"columns {', '.join(COLUMNS)}",
        )
    for name in FLAGS:
        columns[name] = _flags(columns[name])
    needed = {name: columns[name.lower()] for name in COLUMNS}
    if wrong := [n for n, one in needed.items() if one.dtype.kind not in "fiu" or one.ndim > 1]:
        raise DataError(
            "columns hold something else than one number",
            place=hdu.place,
            found=", ".join(wrong),
            expected="numbers",
        )
    _check_unit(hdu, list(columns))
    return columns


def _is_text(hdu: Hdu) -> bool:
    return hdu.header.text("XTENSION") == "TABLE"


def _text_table(hdu: Hdu, content: bytes) -> np.ndarray:
    """Return a table that is written as text; as read by astropy, in machine numbers."""
    from astropy.io import fits

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd and can be read is read
            with fits.open(io.BytesIO(content), memmap=False) as units:
                found = next(one for one in units if isinstance(one, fits.TableHDU))
                columns = {one.name: np.array(found.data[one.name]) for one in found.columns}
    except (fits.VerifyError, LookupError, OSError, StopIteration, TypeError, ValueError) as error:
        raise CorruptFileError(
            "the table cannot be read", place=hdu.place, found=error, remedy="fetch the file again"
        ) from error
    form = [(name, one.dtype.newbyteorder("="), one.shape[1:]) for name, one in columns.items()]
    table = np.zeros(len(next(iter(columns.values()), ())), form)
    for name, one in columns.items():
        table[name] = one
    return table


def _flags(column: np.ndarray) -> np.ndarray:
    """Return flags as numbers: logicals and letters, as conversions have them, too."""
    if column.dtype.kind == "b":
        return column.astype(np.int16)
    if column.dtype.kind not in "SU" or column.ndim > 1:
        return column
    text = np.char.decode(column, "latin-1") if column.dtype.kind == "S" else column
    letters = np.char.upper(np.char.strip(text))
    known = np.isin(letters, ["F", "FALSE", "NO", "0"])
    up = np.isin(letters, ["T", "TRUE", "YES", "1"])
    return np.where(up, 1, np.where(known, 0, UNDEFINED_FLAG)).astype(np.int16)


def _check_unit(hdu: Hdu, names: list[str]) -> None:
    for name in ("ra", "dec", "roll"):
        keyword = f"TUNIT{names.index(name) + 1}"
        unit = hdu.header.text(keyword)
        if unit.lower() not in DEGREES:
            raise DataError(
                "the pointing is in another unit",
                place=f"{hdu.place}/{keyword}",
                found=unit,
                expected="degrees",
            )


def _statistics(file: FitsFile) -> Header:
    """Return the header with the statistics of the exposure.

    Since 2 February 1997 they are in the extension, before in the primary header. Where they are is
    asked, not when: the version of the software that wrote them was rolled back more than once. A
    conversion may leave a few in the other one: the header with most of them is meant.
    """
    headers = [hdu.header for hdu in (*file.hdus[1:], file.primary)]
    counts = [sum(keyword in header for keyword in STATISTICS) for header in headers]
    if most := max(counts):
        return headers[counts.index(most)]
    raise CorruptFileError(
        "the statistics of the exposure are missing",
        place=file.path,
        found=f"{len(file.hdus)} units without them",
        expected=f"one of {', '.join(STATISTICS)}",
        remedy="fetch the file again",
    )


def _true(header: Header, keyword: str) -> bool:
    """Return whether a flag is up: a logical in some logs, text with leading blanks in others."""
    try:
        value = header.get(keyword)
    except LightmillError:
        return False
    return value in (True, 1) or (
        isinstance(value, str) and value.strip().upper() in {"T", "TRUE", "YES", "1"}
    )


def _number(header: Header, keyword: str) -> float | None:
    """Return a number of the header, or None where it is absent, undefined or not a number."""
    try:
        value = header.get(keyword)
    except LightmillError:
        return None
    if isinstance(value, str):
        try:
            value = float(value.upper().replace("D", "E"))  # as Fortran writes them
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if value == UNDEFINED_STATISTIC or not abs(value) < UNDEFINED:
        return None
    return float(value)


def _arcsec(header: Header, keyword: str) -> float | None:
    mas = _number(header, keyword)
    return None if mas is None else mas / 1000.0
