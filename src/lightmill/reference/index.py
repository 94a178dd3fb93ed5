"""Rules made from a folder of reference files: what each says it is for becomes its row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lightmill.errors import ConfigurationError, LightmillError, NothingSelectedError
from lightmill.models import Model
from lightmill.reference.findings import ERROR, WARNING, Finding, from_error
from lightmill.reference.headers import header_of
from lightmill.reference.insertion import pattern_keyword
from lightmill.reference.rules.text import MappingText, Node
from lightmill.reference.rules.values import parse_date
from lightmill.reference.yaml_rules.vocabulary import DATE_FIELDS, key_of
from lightmill.reference.yaml_rules.writing import write_rules

__all__ = ["FIELDS", "Index", "index_folder"]

# Where no field is named, a reference is for data that agree in each of these it speaks of.
FIELDS = (
    "instrument.detector",
    "instrument.channel",
    "instrument.module",
    "instrument.filter",
    "instrument.pupil",
    "instrument.band",
    "instrument.grating",
    "exposure.type",
    "exposure.readpatt",
    "subarray.name",
)
_IDENTITY = ("META.TELESCOPE", "META.INSTRUMENT.NAME", "META.REFTYPE", "META.USEAFTER")
_ANY = frozenset({"ANY", "N/A", "GENERIC", "MULTIPLE", "ALL", "*"})
_ALWAYS = "1900-01-01 00:00:00"  # used from, where a file does not say
_SUFFIXES = frozenset({".fits", ".asdf"})


@dataclass(frozen=True)
class _Reference:
    name: str
    telescope: str
    instrument: str
    reftype: str
    use_after: str
    values: dict[str, str]


@dataclass
class Index:
    """Rules made from a folder.

    Parameters
    ----------
    rules : list of MappingText
        For each instrument and type.
    findings : list of Finding
        What was left out, and why.
    """

    rules: list[MappingText] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def text(self) -> str:
        """Return the rules as YAML, one document a type."""
        return "---\n".join(write_rules(one) for one in self.rules)


def index_folder(folder: str | Path, fields: Iterable[str] | None = None) -> Index:
    """Return rules that choose among the reference files of a folder.

    Parameters
    ----------
    folder : path_like
        FITS and ASDF files; those that do not say which type of reference they are, are
        left out.
    fields : iterable of str, optional
        What references are chosen by, beside their date: paths of metadata or FITS
        keywords. By default those of `FIELDS` that any file of the type speaks of.

    Returns
    -------
    index : Index
        The rules; two files of the same row and date are a finding, and the one whose name
        sorts last is taken.

    Raises
    ------
    ConfigurationError
        If there is no such folder.
    NothingSelectedError
        If it holds no reference files.
    """
    home = Path(folder)
    if not home.is_dir():
        raise ConfigurationError("there is no such folder", place=home)
    index = Index()
    asked = tuple(key_of(one) for one in (FIELDS if fields is None else fields))
    found = _references(home, asked, index)
    if not found:
        raise NothingSelectedError(
            "the folder holds no reference files",
            place=home,
            expected="FITS or ASDF files that say INSTRUME and REFTYPE",
        )
    groups: dict[tuple[str, str, str], list[_Reference]] = {}
    for one in found:
        groups.setdefault((one.telescope, one.instrument, one.reftype), []).append(one)
    for kind, references in sorted(groups.items()):
        index.rules.append(_rules(kind, references, asked, fields is not None, home, index))
    return index


def _references(home: Path, fields: tuple[str, ...], index: Index) -> list[_Reference]:
    from lightmill import models

    found = []
    for path in sorted(home.iterdir()):
        if path.suffix.lower() not in _SUFFIXES:
            continue
        try:
            one = _reference(models.open(path), path, fields, index)
        except LightmillError as error:
            index.findings.append(from_error(error, str(path)))
            continue
        if one is not None:
            found.append(one)
    return found


def _reference(
    model: Model, path: Path, fields: tuple[str, ...], index: Index
) -> _Reference | None:
    keys = [*_IDENTITY, *fields, *map(pattern_keyword, fields)]
    keys += [pattern_keyword(key.rpartition(".")[2]) for key in fields]
    header = header_of(model, keys)
    telescope, instrument, reftype, use_after = (header.get(key, "") for key in _IDENTITY)
    if not reftype or not instrument:
        index.findings.append(
            Finding(
                WARNING,
                "left-out",
                str(path),
                None,
                "the file does not say which reference it is, and of which instrument",
                "set REFTYPE and INSTRUME",
            )
        )
        return None
    if not use_after:
        index.findings.append(
            Finding(
                WARNING,
                "no-date",
                str(path),
                None,
                "the file does not say from when it is to be used: it is taken for all dates",
                "set USEAFTER",
            )
        )
    date = parse_date(use_after) if use_after else _ALWAYS
    values = {}
    for key in fields:
        short = pattern_keyword(key.rpartition(".")[2])
        value = header.get(pattern_keyword(key)) or header.get(short) or header.get(key)
        if value is not None and value.upper() not in _ANY:
            values[key] = "|".join(
                part.strip() for part in value.upper().split("|") if part.strip()
            )
    return _Reference(path.name, telescope, instrument, reftype.lower(), date, values)


def _rules(
    kind: tuple[str, str, str],
    references: list[_Reference],
    fields: tuple[str, ...],
    exactly: bool,
    home: Path,
    index: Index,
) -> MappingText:
    telescope, instrument, reftype = kind
    spoken = {key for one in references for key in one.values}
    used = tuple(key for key in fields if exactly or key in spoken)
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for one in references:
        row = rows.setdefault(tuple(one.values.get(key, "N/A") for key in used), {})
        if one.use_after in row:
            index.findings.append(
                Finding(
                    ERROR,
                    "same-row",
                    str(home / one.name),
                    None,
                    f"{row[one.use_after]} is for the same data from the same date",
                    "set what tells them apart, or move one of them away",
                )
            )
        row[one.use_after] = one.name
    items = [
        (key, Node("UseAfter", [(date, name, 0) for date, name in sorted(row.items())]), 0)
        for key, row in sorted(rows.items())
    ]
    header = {
        "filekind": reftype,
        "instrument": instrument,
        "mapping": "REFERENCE",
        "observatory": telescope or home.name,
        "parkey": (used, DATE_FIELDS),
    }
    return MappingText("", header, Node("Match", list(items)))
