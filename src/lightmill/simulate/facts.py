"""What a simulation must know about an instrument: read from a file in its leaf.

The file (``simulate.yaml``) holds numbers with their units and sources; this
module gives them types and refuses a misspelled or missing one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import ConfigurationError, UnknownNameError
from lightmill.simulate.instrument_parts import (
    Chip,
    Electronics,
    Geometry,
    Optics,
    Passband,
    Pixels,
    Radiation,
    Rules,
    Window,
)

__all__ = [
    "Chip",
    "Electronics",
    "Geometry",
    "InstrumentFacts",
    "Optics",
    "Passband",
    "Pixels",
    "Radiation",
    "Rules",
    "Window",
]


@dataclass(frozen=True)
class InstrumentFacts:
    """Everything a simulation knows about one detector of an instrument.

    Attributes
    ----------
    header : mapping
        Keywords of every raw file, as they are.
    reference_header : mapping
        Keywords of every reference file.
    metadata : mapping
        Keyword to its dotted path in the metadata tree that raw files carry as well.
    demo : bool
        True for the instrument a demonstration takes.
    file_suffix : str
        Detector's part of a file name.
    read_patterns : mapping
        Name to (frames averaged, frames dropped) of a group.
    zero_frame : bool
        True if the first frame of averaged groups is kept.
    bias_subtracted : bool
        True if linearity is measured above the bias, which then has a
        reference file of its own; False if it acts on the raw numbers.
    dark_integrations : int
        Integrations told apart by the dark; 0 if it knows only groups.
    rules : Rules, optional
        How its reference files are chosen.
    distortion : mapping
        ``{x: {"20": 3.1, …}, y: {…}}``: moves [pixel] at the edge, by the powers of both
        axes, see `lightmill.simulate.focal_plane.FocalPlane`.
    filters : mapping of str to Passband
        The filters of the instrument.
    detectors : mapping of str to Chip
        Its detectors, if it has several.
    subarray_column : bool
        True if tables of photometry tell subarrays apart instead of pupils.
    """

    header: Mapping[str, Any]
    reference_header: Mapping[str, Any]
    metadata: Mapping[str, str]
    file_suffix: str
    read_patterns: Mapping[str, tuple[int, int]]
    geometry: Geometry
    pixels: Pixels
    electronics: Electronics
    radiation: Radiation
    optics: Optics
    zero_frame: bool = False
    bias_subtracted: bool = True
    dark_integrations: int = 0
    demo: bool = False
    rules: Rules | None = None
    distortion: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    filters: Mapping[str, Passband] = field(default_factory=dict)
    detectors: Mapping[str, Chip] = field(default_factory=dict)
    subarray_column: bool = False

    @property
    def own_filter(self) -> str:
        """Return the name of the filter that the header speaks of, if it is among the known."""
        for name, passband in self.filters.items():
            if all(self.header.get(key) == value for key, value in passband.keywords.items()):
                return name
        raise ConfigurationError(
            "nothing is known of this instrument's filter",
            place=f"{self.name}: simulate.yaml[filters]",
            found=sorted(self.filters),
        )

    def through(self, name: str) -> InstrumentFacts:
        """Return the facts with a filter in the beam.

        Raises
        ------
        UnknownNameError
            If the instrument has no such filter.
        """
        if name not in self.filters:
            raise UnknownNameError("filter", name, self.filters, place=self.name)
        band = self.filters[name]
        optics = dataclasses.replace(
            self.optics,
            wavelength=band.wavelength,
            bandwidth=band.bandwidth,
            sky=band.sky,
            throughput=band.throughput,
        )
        return dataclasses.replace(self, header={**self.header, **band.keywords}, optics=optics)

    def detector(self, name: str) -> InstrumentFacts:
        """Return the facts of another of the instrument's detectors.

        Raises
        ------
        UnknownNameError
            If the instrument has no such detector.
        """
        if name == self.header["DETECTOR"] and name not in self.detectors:
            return self
        if name not in self.detectors:
            raise UnknownNameError("detector", name, self.detectors, place=self.name)
        chip = self.detectors[name]
        return dataclasses.replace(
            self,
            header={**self.header, **chip.keywords},
            reference_header={**self.reference_header, **chip.keywords},
            file_suffix=chip.file_suffix,
            distortion=chip.distortion,
            optics=dataclasses.replace(
                self.optics, v2=chip.v2, v3=chip.v3, y_angle=chip.y_angle, aperture=chip.aperture
            ),
            geometry=dataclasses.replace(
                self.geometry, fast_axis=chip.fast_axis, slow_axis=chip.slow_axis
            ),
        )

    @property
    def name(self) -> str:
        """Return the instrument's name as its files spell it."""
        return str(self.header["INSTRUME"])

    @classmethod
    def from_yaml(cls, path: str | Path) -> InstrumentFacts:
        """Read facts from a file; ``extends`` names a file to start from.

        Raises
        ------
        ConfigurationError
            If the file cannot be read, or a fact is missing.
        UnknownNameError
            If it says something no simulation asks for.
        """
        path = Path(path)
        return _build(cls, _load(path), str(path))

    def window(self, size: str | int | tuple[int, int] = "full") -> Window:
        """Choose the part of the detector to read.

        Parameters
        ----------
        size : str, int or (rows, columns)
            ``"full"``, the name of a subarray, or a size; a size that is not
            that of a named subarray is read from the detector's corner.
        """
        g = self.geometry
        if isinstance(size, str):
            if size.isdigit():
                return self.window(int(size))
            if size.lower() == "full":
                return Window("FULL", 1, 1, g.columns, g.rows, g.full_outputs, g.full_frame_time)
            if size.upper() not in g.subarrays:
                raise UnknownNameError("subarray", size, ["full", *g.subarrays], place=self.name)
            return self._named(size.upper())
        rows, columns = (size, size) if isinstance(size, (int, np.integer)) else size
        if (rows, columns) == (g.rows, g.columns):
            return self.window("full")
        if not (16 <= rows <= g.rows and 16 <= columns <= g.columns):
            raise ConfigurationError(
                "this detector has no such window",
                place=f"{self.name} size",
                found=f"{rows} x {columns}",
                expected=f"16 x 16 to {g.rows} x {g.columns} pixels",
            )
        for name, s in g.subarrays.items():
            if (s["rows"], s["columns"]) == (rows, columns):
                return self._named(name)
        n = g.subarray_outputs
        ticks = (columns / n + g.row_overhead) * (rows + g.frame_overhead)
        return Window("GENERIC", 1, 1, int(columns), int(rows), n, round(ticks * g.sample_time, 5))

    def _named(self, name: str) -> Window:
        s = self.geometry.subarrays[name]
        return Window(
            name,
            int(s["x"]),
            int(s["y"]),
            int(s["columns"]),
            int(s["rows"]),
            int(s.get("outputs", self.geometry.subarray_outputs)),
            float(s["frame_time"]),
        )

    def read_pattern(self, nframes: int, groupgap: int) -> str:
        """Return the name of the pattern with these frames, or ``ANY``."""
        for name, (frames, gap) in self.read_patterns.items():
            if (frames, gap) == (nframes, groupgap):
                return name
        return "ANY"


def _load(path: Path) -> dict[str, Any]:
    import yaml

    try:
        tree = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as problem:
        raise ConfigurationError(
            "simulation facts cannot be read", place=path, found=problem
        ) from problem
    base = tree.pop("extends", None)
    return _merged(_load(path.parent / base), tree) if base else tree


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _merged(out[key], value) if both else value
    return out


_GROUPS = {
    "geometry": Geometry,
    "pixels": Pixels,
    "electronics": Electronics,
    "radiation": Radiation,
    "optics": Optics,
    "rules": Rules,
}
_NAMED = {"filters": Passband, "detectors": Chip}


def _build(kind: type[Any], tree: Mapping[str, Any], place: str) -> Any:
    names = {f.name: f for f in dataclasses.fields(kind)}
    for key in tree:
        if key not in names:
            raise UnknownNameError("simulation fact", key, names, place=place)
    missing = [
        n
        for n, f in names.items()
        if n not in tree
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigurationError(
            "simulation facts are missing", place=place, found=sorted(tree), expected=missing
        )
    values = {}
    for key, value in tree.items():
        if key in _GROUPS and kind is InstrumentFacts:
            values[key] = _build(_GROUPS[key], value, f"{place}[{key}]")
        elif key in _NAMED and kind is InstrumentFacts:
            values[key] = {
                name: _build(_NAMED[key], given, f"{place}[{key}][{name}]")
                for name, given in value.items()
            }
        elif key in {"read_patterns", "types"}:
            values[key] = {name: tuple(given) for name, given in value.items()}
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    return kind(**values)
