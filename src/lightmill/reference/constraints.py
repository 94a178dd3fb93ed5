"""Constraint files (``.tpn``): what an observatory asks of its reference files.

One line a constraint: name, what it is on, type, presence, and the values
allowed. ``include FILE`` reads another file of the folder, ``replace TEXT
VALUE`` rewrites what follows. Conditions are evaluated, never executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError
from lightmill.reference.conditions import ArrayFacts, Strength, evaluate
from lightmill.reference.findings import ERROR, NOTE, WARNING, Finding

__all__ = ["Constraint", "check_constraints", "constraint_files", "read_constraints"]

MAX_INCLUDES = 20  # files deep
_WORDS = {"R": "required", "P": "required", "O": "optional", "E": "excluded", "W": "warning"}
_SIZES = {"F": "full_frame()", "S": "subarray()", "A": "all_subarray()"}
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()  # noqa: SIM905 - read as a list
_DATES = {
    "&JWSTDATE": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?",
    "&SYBDATE": rf"({'|'.join(_MONTHS)})[a-z]* +\d{{1,2}},? +\d{{4}}( +\d\d?:\d\d(:\d\d)?( ?[ap]m)?)?.*",
    "&SLASHDATE": r"\d{1,2}/\d{1,2}/\d{4}",
}
_DATES["&ANYDATE"] = "|".join(f"(?:{one})" for one in _DATES.values())
_PEDIGREE = re.compile(
    r"(?:GROUND|MODEL|DUMMY|SIMULATION|INFLIGHT\s+(\S+)\s+(?:-\s+)?(\S+))\Z", re.IGNORECASE
)
_DAYS = (re.compile(r"(\d{4})-(\d\d)-(\d\d)"), re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})"))


@dataclass(frozen=True)
class Constraint:
    """One line of a constraint file.

    Parameters
    ----------
    name : str
        Keyword, path of metadata, column or extension.
    on : str
        ``H`` header, ``G`` group, ``C`` column, ``A`` or ``D`` array, ``X`` condition.
    datatype : str
        ``C`` text, ``S`` text with case, ``I``, ``R``, ``D``, ``L``, ``X``.
    presence : str
        A letter, or a condition in parentheses.
    values : str
        What is allowed, as written.
    place : str
        File of the constraint.
    line : int
        Its line.
    """

    name: str
    on: str
    datatype: str
    presence: str
    values: str
    place: str
    line: int


def constraint_files(folder: str | Path, instrument: str, reftype: str) -> list[Path]:
    """Return the files of a folder that speak of a type of reference of an instrument."""
    names = [
        f"{one}_{two}.tpn"
        for one in ("all", instrument.lower())
        for two in ("all", reftype.lower())
    ]
    return [path for name in names if (path := Path(folder) / name).is_file()]


def read_constraints(path: str | Path) -> list[Constraint]:
    """Return the constraints of a file and of those it includes.

    Parameters
    ----------
    path : path_like
        A ``.tpn`` file.

    Raises
    ------
    ConfigurationError
        With file and line, if a line is no constraint or an included file is missing.
    """
    return list(_read(Path(path), {}, ()))


def _read(path: Path, replaced: dict[str, str], above: tuple[Path, ...]) -> Iterator[Constraint]:
    if path in above or len(above) > MAX_INCLUDES:
        raise ConfigurationError("constraint files include each other", place=path)
    try:
        whole = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "a constraint file cannot be read",
            place=above[-1] if above else path,
            found=getattr(error, "strerror", None) or str(error),
        ) from None
    replaced = dict(replaced)
    for number, line in _lines(whole):
        text = _replaced(line, replaced)
        words = text.split(None, 2)
        if words[0] == "include" and len(words) == 2:
            yield from _read(path.parent / words[1], replaced, (*above, path))
        elif words[0] == "replace" and len(words) == 3:
            replaced[words[1]] = words[2].strip()
        else:
            yield _constraint(text, path, number)


def _replaced(line: str, replaced: Mapping[str, str]) -> str:
    for old, new in replaced.items():
        whole = rf"(?<![A-Za-z0-9]){re.escape(old)}(?![A-Za-z0-9])"
        line = re.sub(whole, new.replace("\\", r"\\"), line)
    return line


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Return the lines that say something, continued ones joined, with their numbers."""
    held, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        bare = _without_comment(line).strip()
        if not held:
            first = number
        if bare.endswith("\\"):
            held += bare[:-1]
            continue
        if held + bare:
            yield first, held + bare
        held = ""
    if held:
        yield first, held


def _without_comment(line: str) -> str:
    quote = ""
    for position, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#":
            return line[:position]
    return line


def _constraint(line: str, path: Path, number: int) -> Constraint:
    words = line.split(None, 3)
    if len(words) < 4:
        raise ConfigurationError(
            "this is no constraint", place=f"{path}:{number}", found=line,
            expected="NAME KEYTYPE DATATYPE PRESENCE [VALUES]",
        )  # fmt: skip
    presence, values = _presence(words[3])
    kind = words[2][:1].upper()
    if words[1][:1].upper() not in "HGCADX" or kind not in "CSILRDX":
        raise ConfigurationError(
            "a constraint is on nothing known", place=f"{path}:{number}", found=" ".join(words[1:3]),
            expected="H, G, C, A, D or X, then C, S, I, L, R, D or X",
        )  # fmt: skip
    return Constraint(
        words[0].upper(), words[1][:1].upper(), kind, presence, values, str(path), number
    )


def _presence(text: str) -> tuple[str, str]:
    """Return presence and values of the end of a line; a condition may hold blanks."""
    if not text.startswith("("):
        word, _, values = text.partition(" ")
        return word[:1].upper(), values.strip()
    depth = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return text[: position + 1], text[position + 1 :].strip()
    return text, ""


# ------------------------------------------------------------------------- checks


def check_constraints(
    constraints: list[Constraint],
    header: Mapping[str, Any],
    arrays: Mapping[str, ArrayFacts],
    place: str,
) -> Iterator[Finding]:
    """Return where a reference file breaks constraints.

    Parameters
    ----------
    constraints : list of Constraint
        As read.
    header : mapping
        Keyword or path of metadata in upper case → value.
    arrays : mapping
        Name of an extension → what is known of it.
    place : str
        The reference file.
    """
    names = {key.replace(".", "_"): value for key, value in header.items()}
    for one in constraints:
        try:
            yield from _checked(one, header, names, arrays, place)
        except ConfigurationError as error:
            yield Finding(
                NOTE, "constraint-not-checked", place, None,
                f"{one.name}: {error.fact} ({error.found})", f"see {one.place}:{one.line}",
            )  # fmt: skip


def _checked(
    one: Constraint,
    header: Mapping[str, Any],
    names: Mapping[str, Any],
    arrays: Mapping[str, ArrayFacts],
    place: str,
) -> Iterator[Finding]:
    asked = _asked(one, names, arrays)
    severity = WARNING if asked == "warning" else ERROR
    see = f"the constraint is {one.place}:{one.line}"
    if asked == "none":
        return
    if one.on == "C":
        found: Any = any(one.name in map(str.upper, array.COLUMNS) for array in arrays.values())
    elif one.on in "AD":
        found = one.name in arrays
    elif one.on == "X":
        found = True
    else:
        value = header.get(one.name)
        found = value is not None and str(value).strip() not in {"", "UNDEFINED"}
    if asked == "excluded":
        if found:
            yield Finding(severity, "constraint", place, None, f"{one.name} must not be there", see)
        return
    is_condition = one.values.startswith("(")
    if not found and asked in {"required", "warning"} and not (is_condition and one.on in "AD"):
        yield Finding(severity, "constraint", place, None, f"{one.name} is missing", see)
        return
    if is_condition:
        if found or asked != "optional":
            result = evaluate(one.values, names, arrays)
            if isinstance(result, Strength):
                severity = WARNING if result.word == "warning" else severity
                result = result.asked or result.word == "optional"
            if not result:
                fact = f"{one.name}: {one.values} does not hold"
                yield Finding(severity, "constraint", place, None, fact, see)
    elif found and one.on in "HG":
        problem = _value_problem(one, header[one.name])
        if problem:
            yield Finding(severity, "constraint", place, None, f"{one.name} {problem}", see)


def _asked(one: Constraint, names: Mapping[str, Any], arrays: Mapping[str, ArrayFacts]) -> str:
    """Return what a presence asks for: required, optional, excluded, warning, none."""
    if one.presence in _WORDS:
        return _WORDS[one.presence]
    condition = _SIZES.get(one.presence, one.presence)
    if not condition.startswith("(") and one.presence not in _SIZES:
        raise ConfigurationError("a presence is not known", found=one.presence)
    value = evaluate(condition, names, arrays)
    if isinstance(value, Strength):
        return value.word if value.asked else "none"
    return "required" if value else "none"


def _value_problem(one: Constraint, value: Any) -> str | None:
    text = str(value).strip()
    if one.values.startswith("&"):
        return _named_problem(one.values, text)
    number = _number(text)
    if one.datatype == "L":
        is_logical = text.upper() in {"T", "F", "TRUE", "FALSE"}
        return None if is_logical else f"is {text!r}, not a logical value"
    if one.datatype in "IRD":
        if number is None:
            return f"is {text!r}, not a number"
        if one.datatype == "I" and number != int(number):
            return f"is {text}, not a whole number"
    if not one.values:
        return None
    low, colon, high = one.values.partition(":")
    if colon and number is not None and _number(low) is not None and _number(high) is not None:
        inside = float(low) <= number <= float(high)
        return None if inside else f"is {text}, outside {low} to {high}"
    allowed = [word.strip() for word in one.values.split(",") if word.strip()]
    parts = [part for part in re.split(r"\|", text) if part.strip()] or [text]
    wrong = [part.strip() for part in parts if not _is_among(part.strip(), allowed, one.datatype)]
    return f"is {', '.join(wrong)}; allowed: {', '.join(allowed)[:200]}" if wrong else None


def _is_among(text: str, allowed: list[str], datatype: str) -> bool:
    if datatype == "S":
        return text in allowed
    number = _number(text)
    return any(
        text.upper() == one.upper() or (number is not None and number == _number(one))
        for one in allowed
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _named_problem(name: str, text: str) -> str | None:
    if name in {"&PEDIGREE", "&JWSTPEDIGREE"}:
        return pedigree_problem(text)
    if name in _DATES:
        is_date = re.fullmatch(_DATES[name], text, re.IGNORECASE)
        return None if is_date else f"is {text!r}, not a date as {name[1:]} writes it"
    raise ConfigurationError("a check of this name is not known", found=name)


def pedigree_problem(text: str) -> str | None:
    """Return what is wrong with a pedigree, None where nothing is."""
    found = _PEDIGREE.match(text.strip())
    if not found:
        return f"is {text!r}, not GROUND, MODEL, DUMMY, SIMULATION or INFLIGHT with two dates"
    if found[1] is None:
        return None
    days = [_day(found[1]), _day(found[2])]
    if None in days:
        return f"is {text!r}; dates are YYYY-MM-DD or DD/MM/YYYY"
    first, last = days
    return f"is {text!r}: it ends before it begins" if str(first) > str(last) else None


def _day(text: str) -> str | None:
    iso = _DAYS[0].match(text)
    slash = _DAYS[1].match(text)
    if iso:
        return iso[0]
    return f"{slash[3]}-{slash[2]:0>2}-{slash[1]:0>2}" if slash else None
