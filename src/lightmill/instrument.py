"""The contract every instrument's folder fulfils, and where the folders found are kept.

An instrument is data: the facts of its detectors, the parameters and
pipelines that differ from the defaults, the keywords and schemas it adds. Its
folder's ``__init__`` defines ``INSTRUMENT``; the observatory's folder above it
defines ``OBSERVATORY``. `lightmill.app.discover` finds them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightmill.yaml_files import read_yaml

__all__ = [
    "Detector",
    "Instrument",
    "Observatory",
    "instrument_of",
    "instruments",
    "observatories",
    "register",
    "register_observatory",
]


@dataclass(frozen=True)
class Observatory:
    """An observatory: what its instruments share."""

    name: str  # as the data say it, for instance in TELESCOP
    home: Path  # folder with keywords.yaml, schemas/, pipelines/, parameters/


@dataclass(frozen=True)
class Detector:
    """One kind of detector: its size, its reference pixels, its outputs.

    All counts are pixels of the whole detector as the data show it.
    """

    rows: int
    columns: int
    reference_bottom: int = 0
    reference_top: int = 0
    reference_left: int = 0
    reference_right: int = 0
    outputs: int = 1
    interleaved: bool = False  # outputs take turns column by column, not in blocks


@dataclass(frozen=True)
class Instrument:
    """An instrument: its name in the data, and the folder that says the rest."""

    name: str
    observatory: Observatory
    home: Path
    kind: str = ""  # which variant of the observatory's pipelines it takes

    @functools.cached_property
    def facts(self) -> dict[str, Any]:
        """Content of ``instrument.yaml``."""
        return _yaml(self.home / "instrument.yaml")

    def detector(self, name: str | None) -> Detector | None:
        """Return the facts of one detector, or of the kind all of them are."""
        table = self.facts.get("detectors", {})
        facts = table.get(name, table.get("any"))
        return None if facts is None else Detector(**facts)

    def parameters(self, step: str) -> dict[str, Any]:
        """Return the parameters of a step that differ from the defaults, if any."""
        return {
            **_yaml(self.observatory.home / "parameters" / f"{step}.yaml"),
            **_yaml(self.home / "parameters" / f"{step}.yaml"),
        }

    def pipeline(self, name: str) -> Path | None:
        """Return the file that says how this instrument runs a pipeline."""
        for folder in (self.home, self.observatory.home):
            for variant in (f"{name}-{self.kind}", name) if self.kind else (name,):
                path = folder / "pipelines" / f"{variant}.yaml"
                if path.exists():
                    return path
        return None


_observatories: dict[str, Observatory] = {}
_instruments: dict[tuple[str, str], Instrument] = {}


def register_observatory(observatory: Observatory) -> None:
    """Make an observatory known."""
    _observatories[observatory.name.upper()] = observatory


def register(instrument: Instrument) -> None:
    """Make an instrument known."""
    _instruments[(instrument.observatory.name.upper(), instrument.name.upper())] = instrument


def observatories() -> Iterator[Observatory]:
    """Yield every observatory known."""
    yield from _observatories.values()


def instruments() -> Iterator[Instrument]:
    """Yield every instrument known."""
    yield from _instruments.values()


def instrument_of(meta: Any) -> Instrument | None:
    """Return the instrument that took the data described by `meta`, if it is known."""
    telescope = str(meta.get("telescope") or "").upper()
    name = str(meta.get("instrument.name") or "").upper()
    found = _instruments.get((telescope, name))
    if found is None and not telescope:
        found = next((i for (_, n), i in _instruments.items() if n == name), None)
    return found


@functools.cache
def _yaml(path: Path) -> dict[str, Any]:
    return (read_yaml(path) or {}) if path.exists() else {}
