"""Values as rules compare them: the one spelling of a header value, the one spelling of a date.

Both follow what existing contexts were written for, oddities included; they are
listed in ``docs/decisions/0011-reference-rules.md``.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from lightmill.reference.errors import DateFormatError

__all__ = ["ANY", "NOT_APPLICABLE", "UNDEFINED", "condition", "number", "parse_date", "remembered"]

NOT_APPLICABLE, ANY, UNDEFINED = "N/A", "*", "UNDEFINED"
_SAME = {
    "ANY": ANY, "()": NOT_APPLICABLE, "T": "T", "TRUE": "T", "F": "F", "FALSE": "F",
}  # fmt: skip
_NUMBER = re.compile(r"[+-]?(?:[0-9]*\.?[0-9]+(?:E[+-]?[0-9]+)?|[0-9]+\.)")
_SAME_NUMBER = {"-2147483648.0": NOT_APPLICABLE, "4294967295.0": "-1.0"}  # unset, and -1 unsigned
_NOT_APPLICABLE_STARTS = ("N/A", "NOT APPLICABLE", "NOT_APPLICABLE")
_REMEMBERED = 100_000  # spellings; then we start afresh, so that memory stays bounded

_known: dict[str, str] = {}
remembered = _known.get  # the spelling of a text met before, else None


def condition(value: Any) -> str:
    """Return the one spelling that a header value or the text of a key is compared in.

    Upper case; numbers as Python writes floats; ``T`` and ``F``; ``*`` for ``ANY``; ``N/A`` for all
    that begins so, and for the value that means "unset".

    Parameters
    ----------
    value : object
        A text, number, truth value or None.
    """
    text = value if isinstance(value, str) else str(value)
    found = _known.get(text)
    if found is None:
        if len(_known) >= _REMEMBERED:
            _known.clear()
        found = _known[text] = _conditioned(text)
    return found


def _conditioned(text: str) -> str:
    text = text.strip().upper()
    if text in _SAME:
        return _SAME[text]
    if text.startswith(_NOT_APPLICABLE_STARTS):
        return NOT_APPLICABLE
    if _NUMBER.fullmatch(text):
        spelled = str(float(text))
        return _SAME_NUMBER.get(spelled, spelled)
    return text


def number(text: str) -> float | None:
    """Return the number a text spells, None where it spells none."""
    try:
        return float(text)
    except ValueError:
        return None


# ---------------------------------------------------------------------------------------- dates

_USUAL = re.compile(  # days 29 to 31 are left to the calendar
    r"(?!0000)[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])[ T]"
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NOON = re.compile(r"\s*([AaPp])[Mm]\Z")
_DATE = {  # of the text with "/" for "-"
    "packed": re.compile(
        r"([0-9]{4})([0-9]{2})([0-9]{2}):([0-9]{2})([0-9]{2})([0-9]{2})(?: (.*))?",
        re.DOTALL,
    ),
    "year": re.compile(
        r"([0-9]{4})/([0-9]{2})/([0-9]{2})"
        r"(?: (.*)|T([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?))?",
        re.DOTALL,
    ),
    "month": re.compile(r"([0-9]{2})/([0-9]{2})/([0-9]{4})(?: (.*))?()", re.DOTALL),
    "day": re.compile(r"([0-9]{2})/([0-9]{2})/([0-9]{2})(?: (.*))?()", re.DOTALL),
}  # fmt: skip
_NAMED = re.compile(r"([^\s,/]+),?[\s/]+([^\s,/]+),?[\s/]+([^\s,/]+)(?:\s+(.*))?", re.DOTALL)
_INTEGER = re.compile(r"\s*\+?[0-9]+\s*")
_SECONDS = re.compile(r"\s*\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*")


def parse_date(text: str, place: object = None) -> str:
    """Return a date as ``YYYY-MM-DD HH:MM:SS[.ffffff]``, by which dates sort.

    Parameters
    ----------
    text : str
        ``2024-01-31T12:00:00.5``, ``01/31/2024 12:00``, ``31/01/24``, ``Jan 31 2024 12:00PM``,
        ``20240131:120000`` and the like; without a time it is midnight.
    place : object, optional
        Where it comes from, for the error.

    Raises
    ------
    DateFormatError
        If it is written otherwise, is undefined, or does not exist.
    """
    if _USUAL.fullmatch(text):
        return text if text[10] == " " else f"{text[:10]} {text[11:]}"
    if UNDEFINED in text.upper():
        raise DateFormatError(
            "a date is undefined", place=place, found=text, expected="date and time"
        )
    try:
        return _date(text.strip())
    except (ValueError, OverflowError) as error:
        raise DateFormatError(
            "this is no date, or one that does not exist",
            place=place,
            found=text,
            expected="YYYY-MM-DD HH:MM:SS",
            remedy=f"correct the header ({error})" if str(error) else "correct the header",
        ) from None


def _date(text: str) -> str:
    if text.endswith(" UT"):
        text = text[:-3].rstrip()
    half = _NOON.search(text)
    if half:
        text = text[: half.start()]
    numeric = text.replace("-", "/")
    packed = _DATE["packed"].fullmatch(numeric)
    if packed and not (half and packed[7] is None):
        year, month, day, hour, minute, second = map(int, packed.groups()[:6])
        _time(packed[7], half)  # a time beside it must be written as one, and is ignored
        return str(datetime(year, month, day, hour, minute, second))  # noqa: DTZ001 - a spelling
    for order in ("year", "month", "day"):
        found = _DATE[order].fullmatch(numeric)
        if found and not (half and found[5]):
            return _spelled(*_ordered(order, found), found[4] or found[5], half)
    named = _NAMED.fullmatch(numeric)
    if named:
        return _spelled(*_of_named(named), named[4], half)
    raise ValueError("unknown format")


def _ordered(order: str, found: re.Match[str]) -> tuple[int, int, int]:
    first, second, third = int(found[1]), int(found[2]), int(found[3])
    if order == "year":
        return first, second, third
    if order == "month":
        return third, first, second
    if 40 <= third <= 89:
        raise ValueError("no known century")
    return third + (1900 if third >= 90 else 2000), second, first


def _of_named(found: re.Match[str]) -> tuple[int, int, int]:
    first, second, year = found[1], found[2], found[3]
    month, day = (second, first) if first[0].isdigit() else (first, second)
    name = month[:3].lower()
    if name not in _MONTHS:
        raise ValueError(f"no month is called {month!r}")
    return _whole(year), _MONTHS.index(name) + 1, _whole(day)


def _spelled(
    year: int, month: int, day: int, time: str | None, half: re.Match[str] | None
) -> str:  # fmt: skip
    return str(datetime(year, month, day, *_time(time, half)))  # noqa: DTZ001 - a spelling


def _time(time: str | None, half: re.Match[str] | None) -> tuple[int, int, int, int]:
    """Return hour, minute, second and microsecond as written; a clock need not show them."""
    hour = minute = second = microsecond = 0
    if time is not None and time.strip():
        parts = time.strip().split(":")
        if not 2 <= len(parts) <= 4:
            raise ValueError("a time is HH:MM or HH:MM:SS")
        hour, minute = _whole(parts[0]), _whole(parts[1])
        if len(parts) > 2:
            if not _SECONDS.fullmatch(parts[2]):
                raise ValueError("no seconds")
            seconds = float(parts[2])
            second = int(seconds)
            microsecond = int((seconds - second) * 1e6)
    elif half:
        raise ValueError("there is no time before AM or PM")
    if half:
        hour = _of_day(hour, half[1].upper())
    return hour, minute, second, microsecond


def _of_day(hour: int, half: str) -> int:
    if half == "A":
        return 0 if hour == 12 else hour
    return hour + 12 if hour < 12 else hour


def _whole(text: str) -> int:
    if not _INTEGER.fullmatch(text) or len(text) > 20:
        raise ValueError(f"{text!r} is no whole number")
    return int(text)
