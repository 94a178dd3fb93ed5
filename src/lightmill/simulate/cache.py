"""A cache with the references of a simulation and the rules that choose them.

The layout and the files are those of the field's calibration reference data
system: rules for the observatory (``.pmap``), for each instrument (``.imap``)
and for each type of reference (``.rmap``), each with its checksum, and the
reference files beside them. Whoever reads such a cache can read this one.
Nothing in it is ever overwritten: what a later simulation adds gets new numbers.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from lightmill.errors import ConfigurationError, OutputError
from lightmill.reference.headers import header_of
from lightmill.simulate.instrument_parts import Rules
from lightmill.simulate.made import SimulatedExposure

__all__ = ["Chooses", "SimulatedCache", "write_cache"]

_SERVERLESS = "https://crds-serverless-mode.stsci.edu"  # the address that means: there is none
_BLOCK = 1 << 20


class Chooses(Protocol):
    """What a cache must know of an instrument: how its references are chosen."""

    @property
    def name(self) -> str:
        """Its name, as its data say it."""

    @property
    def rules(self) -> Rules | None:
        """By which headers references are chosen."""

    @property
    def reference_header(self) -> Mapping[str, Any]:
        """Cards of its reference files; USEAFTER is needed."""


@dataclass(frozen=True)
class SimulatedCache:
    """A cache on disk.

    Attributes
    ----------
    root : Path
        What ``CRDS_PATH`` has to be.
    context : str
        Name of the observatory's rules, ``jwst_0001.pmap``.
    """

    root: Path
    context: str


def write_cache(
    root: str | Path, facts: Chooses, exposures: Sequence[SimulatedExposure]
) -> SimulatedCache:
    """Put the references of simulated exposures into a cache, with rules that choose them.

    Parameters
    ----------
    root : path
        Folder of the cache. What an earlier simulation left there stays valid, and
        its rules are part of the new context.
    facts : Chooses
        The instrument, `InstrumentFacts` for instance; it must say by which headers references are chosen.
    exposures : sequence of SimulatedExposure
        At least one. Their references appear in the cache as further names of the same files.

    Returns
    -------
    cache : SimulatedCache
        The cache, and the context to choose with.

    Raises
    ------
    ConfigurationError
        If the facts say nothing of rules.
    OutputError
        If the cache cannot be written.
    """
    if facts.rules is None:
        raise ConfigurationError(
            "it is not known how this instrument's references are chosen",
            place=f"{facts.name}: simulate.yaml",
            expected="rules: {observatory: …, instrument: …, dates: …, types: …}",
        )
    cache = _Cache(Path(root), facts, facts.rules)
    try:
        for one in exposures:
            cache.add(one)
        return SimulatedCache(cache.root, cache.write_rules())
    except OSError as problem:
        raise OutputError(
            "the cache of references cannot be written", place=problem.filename, found=problem
        ) from problem


Rows = dict[tuple[str, ...], dict[str, str]]
"""What a header must say → date from which → file."""


class _Cache:
    def __init__(self, root: Path, facts: Chooses, rules: Rules) -> None:
        self.root, self.facts, self.rules = root, facts, rules
        self.observatory, self.instrument = rules.observatory, facts.name.lower()
        self.mappings = root / "mappings" / self.observatory
        self.references = root / "references" / self.observatory / self.instrument
        self.config = root / "config" / self.observatory
        self.use_after = str(facts.reference_header["USEAFTER"]).replace("T", " ")
        self.instruments: dict[str, str] = {}  # of the context so far: name → imap
        self.types: dict[str, str] = {}  # of this instrument: type → rmap or N/A
        self.rows: dict[str, Rows] = {}
        self._read()

    def _read(self) -> None:
        """Take over the newest context, if there is one."""
        contexts = sorted(self.mappings.glob(f"{self.observatory}_*.pmap"))
        if not contexts:
            return
        self.instruments = {
            name.lower(): file for name, file in self._selector(contexts[-1].name).items()
        }
        if self.instrument in self.instruments:
            types = self._selector(self.instruments[self.instrument])
            self.types = {kind.lower(): file for kind, file in types.items()}
        for kind, file in self.types.items():
            if file.endswith(".rmap") and kind in self.rules.types:
                self.rows[kind] = {
                    (match if isinstance(match, tuple) else (match,)): {
                        date: name for date, name, _ in dates.items
                    }
                    for match, dates, _ in self._selector(file).items
                }

    def _selector(self, name: str) -> Any:
        """Return what rules of this module's say: a table, or rows."""
        from lightmill.reference.rules.text import parse_mapping

        return parse_mapping((self.mappings / name).read_text(), name).selector

    def add(self, exposure: SimulatedExposure) -> None:
        """Take the references of one exposure in, for all exposures like it."""
        for kind, path in exposure.references.items():
            keys = self.rules.types[kind]
            said = header_of(exposure.uncal, keys)
            row = tuple(said.get(key, "N/A") for key in keys)
            self.rows.setdefault(kind, {}).setdefault(row, {})[self.use_after] = self._file(
                kind, path
            )

    def _file(self, kind: str, path: Path) -> str:
        """Return the name a reference has in the cache; it gets one when it is new."""
        self.references.mkdir(parents=True, exist_ok=True)
        stem = f"{self.observatory}_{self.instrument}_{kind}"
        known = sorted(self.references.glob(f"{stem}_*{path.suffix}"))
        for there in known:
            if _same(there, path):
                return there.name
        place = self.references / f"{stem}_{len(known) + 1:04d}{path.suffix}"
        try:
            os.link(path, place)
        except OSError:  # another disk, or one without such names
            shutil.copyfile(path, place)
        return place.name

    def write_rules(self) -> str:
        """Write the rules that are not there yet, and return the name of the context."""
        ours = {*self.rules.types, *self.rules.not_applicable}
        types = {**self.types, **dict.fromkeys(ours, "N/A")}  # others' types stay as they are
        for kind, rows in sorted(self.rows.items()):
            types[kind] = self._write(
                f"{self.instrument}_{kind}",
                "rmap",
                {
                    "classes": ("Match", "UseAfter"),
                    "filekind": kind.upper(),
                    "instrument": self.facts.name,
                    "mapping": "REFERENCE",
                    "parkey": (self.rules.types[kind], self.rules.dates),
                },
                _match(rows),
            )
        header = {"instrument": self.facts.name, "mapping": "INSTRUMENT", "parkey": ("REFTYPE",)}
        self.instruments[self.instrument] = self._write(
            self.instrument, "imap", header, _table(dict(sorted(types.items())))
        )
        header = {"mapping": "PIPELINE", "parkey": (self.rules.instrument,)}
        instruments = {name.upper(): file for name, file in sorted(self.instruments.items())}
        context = self._write("", "pmap", header, _table(instruments))
        self._write_config(context)
        return context

    def _write(self, name: str, extension: str, header: Mapping[str, Any], selector: str) -> str:
        """Write one file of rules under the next number, unless the newest says the same."""
        self.mappings.mkdir(parents=True, exist_ok=True)
        stem = "_".join(filter(None, [self.observatory, name]))
        known = sorted(self.mappings.glob(f"{stem}_[0-9][0-9][0-9][0-9].{extension}"))
        before = known[-1].name if known else None
        if before and _without_origin(known[-1].read_text()) == _rules(
            self._header(before, None, header), selector
        ):
            return before
        file = f"{stem}_{len(known) + 1:04d}.{extension}"
        text = _rules(self._header(file, before or "a simulation", header), selector)
        _write_aside(self.mappings / file, _summed(text))
        return file

    def _header(self, file: str, origin: str | None, more: Mapping[str, Any]) -> dict[str, Any]:
        header = {"name": file, "observatory": self.observatory.upper(), **more}
        return header if origin is None else header | {"derived_from": origin}

    def _write_config(self, context: str) -> None:
        """Write what a server would have said of itself."""
        self.config.mkdir(parents=True, exist_ok=True)
        names = [path.name for path in sorted(self.mappings.glob("*.[pir]map"))]
        facts = {
            "bad_files_list": [],
            "bad_files": "",
            "connected": False,
            "context_history": [],
            "crds_version": {"str": "14.0.3"},
            "download_metadata": self._sums(),
            "force_remote_mode": False,
            "last_synced": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
            "mappings": names,
            "observatory": self.observatory,
            "server": _SERVERLESS,
            "status": "cache",
            **{
                f"{kind}_context": context for kind in ("operational", "latest", "edit", "versions")
            },
        }
        lines = "".join(f" {key!r}: {value!r},\n" for key, value in sorted(facts.items()))
        _write_aside(self.config / "server_config", "{\n" + lines + "}\n")
        _write_aside(self.config / "ref_cache_subdir_mode", "instrument")

    def _sums(self) -> dict[str, str]:
        """Return size and SHA-1 of every file, packed as servers pack them."""
        files = [*self.mappings.glob("*.[pir]map"), *self.references.parent.glob("*/*.*")]
        facts = {
            path.name: {"size": str(path.stat().st_size), "sha1sum": _sha1(path)}
            for path in sorted(files)
        }
        packed = gzip.compress(json.dumps(facts).encode(), mtime=0)
        return {"crds_encoded": "1.0", "crds_payload": base64.b64encode(packed).decode("ascii")}


def _sha1(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()


def _match(rows: Rows) -> str:
    lines = ["Match({"]
    for match, dates in sorted(rows.items()):
        lines.append(f"    {match!r} : UseAfter({{")
        lines += [f"        {date!r} : {file!r}," for date, file in sorted(dates.items())]
        lines.append("    }),")
    return "\n".join([*lines, "})"])


def _table(entries: Mapping[str, str]) -> str:
    return "\n".join(["{", *(f"    {key!r} : {value!r}," for key, value in entries.items()), "}"])


def _rules(header: Mapping[str, Any], selector: str) -> str:
    """Return the text of a file of rules, without its checksum."""
    lines = [f"    {key!r} : {value!r}," for key, value in sorted(header.items())]
    return "\n".join(["header = {", *lines, "}", "", f"selector = {selector}", ""])


def _summed(text: str) -> str:
    """Return rules with the checksum of what they say put into their header."""
    total = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return text.replace("\n}\n", f"\n    'sha1sum' : {total!r},\n}}\n", 1)


def _without_origin(text: str) -> str:
    """Return rules without the lines that say where they come from, and their checksum."""
    apart = ("    'derived_from' :", "    'sha1sum' :")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(apart))


def _write_aside(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def _same(one: Path, other: Path) -> bool:
    """Say whether two files hold the same, whenever they were written."""
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as first, other.open("rb") as second:
        while True:
            blocks = first.read(_BLOCK), second.read(_BLOCK)
            if _without_date(blocks[0]) != _without_date(blocks[1]):
                return False
            if not blocks[0]:
                return True


def _without_date(block: bytes) -> bytes:
    """Return a block of a FITS file without the first card that says when it was written."""
    at = block.find(b"DATE    = ")
    return block if at < 0 or at % 80 else block[:at] + block[at + 80 :]
