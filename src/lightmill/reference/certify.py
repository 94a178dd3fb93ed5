"""Whether rules and reference files are fit to be released."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightmill.errors import LightmillError
from lightmill.reference.conditions import ArrayFacts
from lightmill.reference.constraints import (
    check_constraints,
    constraint_files,
    pedigree_problem,
    read_constraints,
)
from lightmill.reference.findings import ERROR, NOTE, WARNING, Finding, from_error
from lightmill.reference.insertion import header_keys, place_of
from lightmill.reference.lint import lint
from lightmill.reference.parsed import (
    SPECIAL,
    Source,
    fields_of,
    is_yaml,
    leaves,
    parsed,
)
from lightmill.reference.rules.sources import FolderSource
from lightmill.reference.rules.text import MappingText, Node, verify_checksum
from lightmill.reference.rules.values import condition, parse_date

__all__ = ["arrays_of", "certify_folder", "certify_reference", "certify_rules"]

_REQUIRED = {
    "META.TELESCOPE": "TELESCOP",
    "META.INSTRUMENT.NAME": "INSTRUME",
    "META.REFTYPE": "REFTYPE",
    "META.USEAFTER": "USEAFTER",
    "META.PEDIGREE": "PEDIGREE",
    "META.AUTHOR": "AUTHOR",
    "META.DESCRIPTION": "DESCRIP",
}
_RULES = {".pmap", ".imap", ".rmap", ".yaml", ".yml"}


def certify_rules(
    path: str | Path,
    *,
    source: Source | None = None,
    references: Any = None,
    recurse: bool = True,
) -> list[Finding]:
    """Return what is the matter with a file of rules and those it names.

    Parameters
    ----------
    path : path_like
        A mapping file, or rules in YAML.
    source : Source, optional
        Where the mappings it names are; by default beside it.
    references : callable, optional
        Says of a file name whether there is such a reference; by default that is not asked.
    recurse : bool
        Whether the mappings it names are looked at, too.
    """
    place = Path(path)
    return list(_rules(place.name, FolderSource(place.parent), source, references, recurse, set()))


def certify_folder(folder: str | Path, *, references: Any = None) -> list[Finding]:
    """Return what is the matter with the YAML rules of an observatory's folder.

    Parameters
    ----------
    folder : path_like
        The observatory's.
    references : callable, optional
        As for `certify_rules`.
    """
    from lightmill.reference.yaml_rules import collect

    try:
        rules = collect(folder)
    except LightmillError as error:
        return [from_error(error, str(folder))]
    found = []
    for name, mapping in rules.mappings.items():
        found += lint(mapping, rules.places[name])
        if references is not None and isinstance(mapping.selector, Node):
            found += _missing(mapping, rules.places[name], references)
    return found


def _rules(
    name: str,
    here: Source,
    source: Source | None,
    references: Any,
    recurse: bool,
    seen: set[str],
) -> Iterator[Finding]:
    seen.add(name)
    try:
        text, place = here.read_mapping(name)
        mapping = parsed(name, here)
    except LightmillError as error:
        yield from_error(error, name)
        return
    if not is_yaml(name):
        try:
            verify_checksum(text, place, mapping.header.get("sha1sum"))
        except LightmillError as error:
            yield from_error(error, place)
    yield from lint(mapping, place)
    if isinstance(mapping.selector, Node):
        if references is not None:
            yield from _missing(mapping, place, references)
        return
    below = source or here
    for key, named in mapping.selector.items():
        if not isinstance(named, str) or named.upper() in SPECIAL or named in seen:
            continue
        yield from _named(mapping, str(key), named, below, place)
        if recurse:
            yield from _rules(named, below, source, references, recurse, seen)


def _named(
    mapping: MappingText, key: str, named: str, source: Source, place: str
) -> Iterator[Finding]:
    """Return what does not fit between a table and a mapping it names."""
    try:
        below = parsed(named, source)
    except LightmillError as error:
        yield Finding(ERROR, "named", place, None, f"{key}: {error.fact}", error.remedy or "")
        return
    word = "instrument" if str(mapping.header.get("mapping")).upper() == "PIPELINE" else "filekind"
    said = str(below.header.get(word, key))
    if said.lower() != key.lower():
        yield Finding(
            WARNING, "named", place, None, f"{named} under {key} says it is for {said}",
            "correct the one or the other",
        )  # fmt: skip
    observatory = [str(one.header.get("observatory", "")).lower() for one in (mapping, below)]
    if observatory[0] != observatory[1]:
        yield Finding(
            ERROR, "named", place, None, f"{named} is of another observatory, {observatory[1]!r}"
        )


def _missing(mapping: MappingText, place: str, references: Any) -> Iterator[Finding]:
    assert isinstance(mapping.selector, Node)
    told: set[str] = set()
    for leaf in leaves(mapping.selector):
        for name in leaf.files:
            if name not in told and not references(name):
                told.add(name)
                yield Finding(
                    ERROR, "exist", place, leaf.line, f"there is no file {name}",
                    "fetch it: lightmill refs sync, or correct the name",
                )  # fmt: skip


def certify_reference(
    path: str | Path,
    *,
    rules: Any = None,
    constraints: str | Path | None = None,
) -> list[Finding]:
    """Return what is the matter with a reference file.

    Parameters
    ----------
    path : path_like
        FITS or ASDF.
    rules : MappingText, optional
        The rules of its type: whether it can be inserted, and whether the values it says
        are among those used so far.
    constraints : path_like, optional
        Folder of ``.tpn`` files.
    """
    return list(_reference(Path(path), rules, constraints))


def _reference(
    path: Path, rules: MappingText | None, constraints: str | Path | None
) -> Iterator[Finding]:
    from lightmill import models
    from lightmill.reference.headers import header_of

    place = str(path)
    try:
        model = models.open(path)
        header = header_of(model, [*_REQUIRED, *_REQUIRED.values(), "META.HISTORY", "HISTORY"])
    except LightmillError as error:
        yield from_error(error, place)
        return
    try:
        model.validate()
    except LightmillError as error:
        yield from_error(error, place)
    if model.history:
        header["HISTORY"] = model.history[0]
    yield from _metadata(header, place)
    reftype = str(header.get("META.REFTYPE") or header.get("REFTYPE") or "").lower()
    instrument = str(header.get("META.INSTRUMENT.NAME") or header.get("INSTRUME") or "").lower()
    if type(model).__name__ in {"Model", "ReferenceModel"} and reftype:
        yield Finding(
            NOTE,
            "schema",
            place,
            None,
            f"no schema is known for a {reftype}: its arrays are not checked",
        )
    if rules is not None:
        yield from _in_rules(model, rules, place)
    if constraints is not None:
        files = constraint_files(constraints, instrument, reftype)
        if not files:
            yield Finding(
                NOTE, "constraint", place, None,
                f"the folder has no constraints for a {reftype} of {instrument}",
                f"they are called all_all.tpn, {instrument}_all.tpn, {instrument}_{reftype}.tpn",
            )  # fmt: skip
        for file in files:
            yield from _constrained(model, file, path)


def _metadata(header: Mapping[str, Any], place: str) -> Iterator[Finding]:
    """Return what is missing or wrong among the metadata every reference has."""
    for key, keyword in _REQUIRED.items():
        value = header.get(key) or header.get(keyword)
        if not value:
            yield Finding(
                ERROR, "metadata", place, None, f"{key.lower()} ({keyword}) is missing",
                f"set it: every reference says its {key.rpartition('.')[2].lower()}",
            )  # fmt: skip
            continue
        if keyword == "USEAFTER":
            yield from _date(str(value), place)
        if keyword == "PEDIGREE" and (problem := pedigree_problem(str(value))):
            yield Finding(ERROR, "metadata", place, None, f"PEDIGREE {problem}", "correct it")
    if not any(header.get(key) for key in ("META.HISTORY", "HISTORY")):
        yield Finding(
            WARNING, "metadata", place, None, "there is no history", "say how the file was made"
        )


def _date(text: str, place: str) -> Iterator[Finding]:
    try:
        parse_date(text)
    except LightmillError as error:
        yield Finding(
            ERROR, "metadata", place, None, f"USEAFTER is {text!r}: {error.fact}",
            "write YYYY-MM-DDTHH:MM:SS",
        )  # fmt: skip


def _in_rules(model: Any, rules: MappingText, place: str) -> Iterator[Finding]:
    """Return whether a reference can be inserted, and what values no row had before."""
    from lightmill.reference.headers import header_of

    try:
        found = place_of(rules, header_of(model, header_keys(rules)), place)
    except LightmillError as error:
        yield from_error(error, place)
        return
    if not isinstance(rules.selector, Node):
        return
    fields = fields_of(rules)
    rows = [leaf.keys(fields) for leaf in leaves(rules.selector)]
    for level, (kind, key) in enumerate(found.keys):
        if kind != "Match":
            continue
        for column, cell in enumerate(key):
            used = {
                row[level][column] for row in rows if len(row) > level and len(row[level]) > column
            }
            known = {condition(part) for cell_ in used for part in cell_.split("|")}
            new = [part for part in str(cell).split("|") if condition(part) not in known]
            if new and rows:
                yield Finding(
                    WARNING, "new-value", place, None,
                    f"{fields[level][column]} is {', '.join(new)}: no row of {rules.name} has it so far",
                    "correct it if it is misspelt; else nothing is wrong. "
                    f"Known: {', '.join(sorted(known))[:200]}",
                )  # fmt: skip


def _constrained(model: Any, file: Path, path: Path) -> Iterator[Finding]:
    from lightmill.reference.headers import header_of

    try:
        lines = read_constraints(file)
    except LightmillError as error:
        yield from_error(error, str(file))
        return
    names = {one.name for one in lines}
    for one in lines:
        for text in (one.presence, one.values):
            if text.startswith("("):
                names |= _names_in(text)
    header = dict(header_of(model, sorted(names)))
    yield from check_constraints(lines, header, arrays_of(path), str(path))


def _names_in(expression: str) -> set[str]:
    """Return the names a condition may ask for, as keys of headers."""
    words = set(re.findall(r"[A-Z][A-Z0-9_]+", expression))
    paths = set()
    for word in words:
        if word.startswith("META_"):
            above, _, last = word.removeprefix("META_").partition("_")
            paths.add(f"META.{above}.{last}" if last else f"META.{above}")
    return {word for word in words if not word.endswith("_ARRAY") and "META_" not in word} | paths


def arrays_of(path: str | Path) -> dict[str, ArrayFacts]:
    """Return what is known of the extensions of a file, without reading their values.

    Parameters
    ----------
    path : path_like
        FITS: an extension each; else the arrays of the model, by their names in upper case.
    """
    place = Path(path)
    if place.suffix.lower() not in {".fits", ".fit"}:
        from lightmill import models

        model = models.open(place)
        return {
            name.upper(): ArrayFacts(tuple(array.shape), "IMAGE", str(array.dtype))
            for name, array in model.arrays.items()
        }
    from astropy.io import fits

    found = {}
    with fits.open(place, lazy_load_hdus=True, memmap=True) as file:
        for hdu in file:
            name = hdu.name or "PRIMARY"
            if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU)):
                columns = {one.name: str(one.dtype.base) for one in hdu.columns}
                found[name] = ArrayFacts((hdu.header["NAXIS2"],), "TABLE", "", columns)
            elif hdu.header.get("NAXIS", 0):
                found[name] = ArrayFacts(tuple(hdu.shape), "IMAGE", _dtype(hdu.header))
    return found


def _dtype(header: Any) -> str:
    """Return the kind of an image's values once its scaling is applied."""
    stored = {8: "uint8", 16: "int16", 32: "int32", 64: "int64", -32: "float32", -64: "float64"}
    kind = stored[header["BITPIX"]]
    if header.get("BSCALE", 1) == 1 and header.get("BZERO", 0) in {2**15, 2**31, 2**63}:
        return f"u{kind}"
    scaled = header.get("BSCALE", 1) != 1 or header.get("BZERO", 0) != 0
    return "float64" if scaled and kind.startswith(("int", "uint")) else kind
