"""New references into rules: new files of new numbers, and nothing that was there is touched.

A submission makes a copy of each reference under its new name, the rules of
its type with the new row, the instrument's with the new rules of the type,
and a new context. All of them appear together, or none does.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError, OutputError, UnknownNameError
from lightmill.reference.cache import Cache
from lightmill.reference.diff import Change, difference
from lightmill.reference.findings import Finding
from lightmill.reference.headers import header_of
from lightmill.reference.insertion import Place, header_keys, insert, place_of
from lightmill.reference.lint import lint
from lightmill.reference.locking import file_lock
from lightmill.reference.parsed import SPECIAL, is_yaml, parsed
from lightmill.reference.rules.mapping import load
from lightmill.reference.rules.text import MappingText, Node, format_mapping, parse_mapping

__all__ = ["NewReference", "Submission", "prepare"]

_NUMBER = re.compile(r"_(\d{4,})\.[A-Za-z0-9.]+\Z")
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})
_LINE = re.compile(r" of line \d+")
_SUFFIXES = {".fits", ".asdf", ".json", ".yaml", ".fit"}


@dataclass(frozen=True)
class NewReference:
    """A reference to come.

    Parameters
    ----------
    source : Path
        The file submitted.
    name : str
        Its new name.
    instrument, reftype : str
        In lower case.
    place : Place
        Its row.
    """

    source: Path
    name: str
    instrument: str
    reftype: str
    place: Place


@dataclass
class Submission:
    """What a submission would write.

    Parameters
    ----------
    cache : Cache
        Where to.
    context : str
        The context it starts from.
    """

    cache: Cache
    context: str
    references: list[NewReference] = field(default_factory=list)
    mappings: dict[str, MappingText] = field(default_factory=dict)
    new_context: str = ""

    def changes(self) -> list[Change]:
        """Return what changes from the old context to the new."""
        old = parsed(self.context, self.cache)
        return list(difference(old, self.mappings[self.new_context], self.cache, self))

    def findings(self) -> list[Finding]:
        """Return what is the matter with the new rules and was not with the old ones."""
        found: list[Finding] = []
        for name, mapping in self.mappings.items():
            if not name.endswith(".rmap"):
                continue
            old = parsed(str(mapping.header["derived_from"]), self.cache)
            known = {_LINE.sub("", one.fact) for one in lint(old, old.name)}
            new = parse_mapping(self.read_mapping(name)[0], name)  # with lines
            found += [one for one in lint(new, name) if _LINE.sub("", one.fact) not in known]
        return found

    def read_mapping(self, name: str) -> tuple[str, str]:
        """Return text and place of a mapping: a new one, or one of the cache."""
        if name in self.mappings:
            return format_mapping(self.mappings[name]), name
        return self.cache.read_mapping(name)

    def targets(self) -> dict[Path, bytes | Path]:
        """Return every file to write: its text, or the file it is a copy of."""
        files: dict[Path, bytes | Path] = {}
        observatory = str(self.mappings[self.new_context].header["observatory"]).lower()
        for one in self.references:
            path = self.cache.reference_path(one.name, observatory, one.instrument)
            files[path] = one.source
        for name, mapping in self.mappings.items():
            files[self.cache.mapping_path(name)] = format_mapping(mapping).encode()
        return files

    def write(self) -> list[Path]:
        """Write everything, or nothing.

        Returns
        -------
        paths : list of Path
            What is new, references first, the context last.

        Raises
        ------
        OutputError
            If a name was taken meanwhile, or something cannot be written; then nothing is.
        """
        files = self.targets()
        for path in files:
            self.cache.writable(path)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _refused(path, error) from error
        lock = self.cache.mapping_path(self.new_context).with_name(".submit.lock")
        made: list[Path] = []
        with ExitStack() as stack:
            stack.enter_context(file_lock(lock, "submitting references"))
            aside = [
                (_written_aside(path, content, stack), path) for path, content in files.items()
            ]
            try:
                for temporary, path in aside:
                    _take_name(temporary, path)
                    made.append(path)
            except BaseException as error:
                for path in made:
                    path.unlink()
                if isinstance(error, OSError):
                    raise _refused(aside[len(made)][1], error) from error
                raise
        return made


def prepare(
    files: Iterable[str | Path], cache: Cache, context: str, *, name: str | None = None
) -> Submission:
    """Return what submitting references would write; nothing is written yet.

    Parameters
    ----------
    files : iterable of path_like
        Reference files.
    cache : Cache
        Where rules are, and where the new files will be.
    context : str
        Name of the context to start from.
    name : str, optional
        Name of the new context, instead of the next number.

    Raises
    ------
    ConfigurationError
        If the context has no rules for the type of a reference, or its rules are YAML.
    ValidationError
        If a reference does not say what it is for.
    """
    if is_yaml(context) or not context.endswith(".pmap"):
        raise ConfigurationError(
            "references are submitted to a context of mapping files", place=context,
            remedy="for rules in YAML, `lightmill refs submit FILE --context FOLDER` prints the entry",
        )  # fmt: skip
    submission = Submission(cache, context)
    top = parsed(context, cache)
    names = _Names(cache, str(top.header["observatory"]).lower())
    instruments = _lowered(top)
    rules: dict[tuple[str, str], tuple[str, MappingText]] = {}
    tables: dict[str, tuple[str, MappingText]] = {}
    for file in files:
        path = Path(file)
        instrument, reftype = _kind_of(path, instruments, context)
        if instrument not in tables:
            old = instruments[instrument]
            tables[instrument] = (old, parsed(old, cache))
        types = _lowered(tables[instrument][1])
        if types.get(reftype, "N/A") in SPECIAL:
            raise UnknownNameError(
                f"type of {instrument} with rules", reftype,
                [one for one, rmap in types.items() if rmap not in SPECIAL],
                place=tables[instrument][0],
            )  # fmt: skip
        if (instrument, reftype) not in rules:
            rules[instrument, reftype] = (types[reftype], parsed(types[reftype], cache))
        old, mapping = rules[instrument, reftype]
        place = place_of(mapping, header_of(path, header_keys(mapping)), str(path))
        new = names.next(f"{names.observatory}_{instrument}_{reftype}", _suffix(path))
        rules[instrument, reftype] = (old, insert(mapping, place, new))
        submission.references.append(NewReference(path, new, instrument, reftype, place))
    for (instrument, reftype), (old, mapping) in rules.items():
        new = names.next(f"{names.observatory}_{instrument}_{reftype}", ".rmap")
        submission.mappings[new] = _renamed(mapping, new, old)
        was, table = tables[instrument]
        tables[instrument] = (was, _pointing(table, reftype, new))
    for instrument, (old, table) in tables.items():
        new = names.next(f"{names.observatory}_{instrument}", ".imap")
        submission.mappings[new] = _renamed(table, new, old)
        top = _pointing(top, instrument, new)
    submission.new_context = name or names.next(names.observatory, ".pmap")
    submission.mappings[submission.new_context] = _renamed(top, submission.new_context, context)
    new_rules = load(submission.new_context, submission)  # that they can be read is seen here
    for one in submission.references:
        new_rules.rules(one.instrument).rules(one.reftype)
    return submission


class _Names:
    """Gives the next free number of each kind of file."""

    def __init__(self, cache: Cache, observatory: str) -> None:
        self.observatory = observatory
        self.cache = cache
        self.mappings = cache.mappings(observatory)
        self.references = [path.name for path in cache.references(observatory)]
        self.given: list[str] = []

    def next(self, stem: str, suffix: str) -> str:
        """Return ``stem_NNNN.suffix``, of a number no file and no rule has."""
        if suffix in {".rmap", ".imap", ".pmap"}:
            taken = [name for name in self.mappings if name.endswith(suffix)]
        else:
            taken = [*self.references, *self._named_in_rules(stem)]
        numbers = [
            int(found[1])
            for name in (*taken, *self.given)
            if name.startswith(f"{stem}_")
            and (found := _NUMBER.search(name)) is not None
            and found.start() == len(stem)
            and name.endswith(suffix if suffix.endswith("map") else "")
        ]
        new = f"{stem}_{max(numbers, default=0) + 1:04d}{suffix}"
        self.given.append(new)
        return new

    def _named_in_rules(self, stem: str) -> list[str]:
        """Return the references that any rules of a type name, whether they are here or not."""
        found: list[str] = []
        pattern = re.compile(rf"\b{re.escape(stem)}_\d{{4,}}\.[A-Za-z0-9]+")
        for name in self.mappings:
            if name.startswith(f"{stem}_") and name.endswith(".rmap"):
                found += pattern.findall(self.cache.read_mapping(name)[0])
        return found


def _kind_of(path: Path, instruments: dict[str, str], context: str) -> tuple[str, str]:
    keys = ("META.INSTRUMENT.NAME", "META.REFTYPE", "INSTRUME", "REFTYPE")
    header = header_of(path, keys)
    instrument = str(header.get("META.INSTRUMENT.NAME") or header.get("INSTRUME") or "").lower()
    reftype = str(header.get("META.REFTYPE") or header.get("REFTYPE") or "").lower()
    if not reftype:
        raise ConfigurationError(
            "the file does not say which type of reference it is", place=path,
            expected="REFTYPE (meta.reftype)",
        )  # fmt: skip
    if instrument not in instruments:
        raise UnknownNameError("instrument of the context", instrument, instruments, place=context)
    return instrument, reftype


def _lowered(mapping: MappingText) -> dict[str, str]:
    if isinstance(mapping.selector, Node):
        raise ConfigurationError("this is no table of mappings", place=mapping.name)
    return {str(name).lower(): str(value) for name, value in mapping.selector.items()}


def _pointing(mapping: MappingText, name: str, new: str) -> MappingText:
    """Return a table of mappings with another mapping under a name."""
    assert isinstance(mapping.selector, dict)
    selector = {
        key: new if str(key).lower() == name else value for key, value in mapping.selector.items()
    }
    return replace(mapping, selector=selector)


def _renamed(mapping: MappingText, new: str, old: str) -> MappingText:
    header: dict[str, Any] = {**mapping.header, "name": new, "derived_from": old}
    return replace(mapping, name=new, header=header)


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ConfigurationError(
            "this is no file of a reference", place=path, found=suffix,
            expected=", ".join(sorted(_SUFFIXES)),
        )  # fmt: skip
    return suffix


def _take_name(temporary: Path, path: Path) -> None:
    """Give a file its name; fails if the name is taken."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with path.open("xb") as file, ExitStack() as failed:
            failed.callback(path.unlink)
            file.write(temporary.read_bytes())
            failed.pop_all()


def _refused(path: Path, error: OSError) -> OutputError:
    taken = isinstance(error, FileExistsError)
    return OutputError(
        "a new file cannot be written; nothing was submitted",
        place=path,
        found=error.strerror,
        remedy="submit again: someone else did so at the same time" if taken else None,
    )


def _written_aside(path: Path, content: bytes | Path, stack: ExitStack) -> Path:
    """Write a file under a temporary name beside its own; it is removed in any case."""
    temporary = path.with_name(f".submit_{os.getpid()}_{path.name}")

    def remove() -> None:
        with suppress(OSError):
            temporary.unlink()

    stack.callback(remove)
    try:
        with temporary.open("xb") as file:
            if isinstance(content, Path):
                with content.open("rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _refused(path, error) from error
    return temporary
