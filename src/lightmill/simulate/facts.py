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


_PLANCK = 6.62607015e-34  # J s (SI, 2019)


@dataclass(frozen=True)
class Geometry:
    """Where the pixels are and how they are read.

    Attributes
    ----------
    rows, columns : int
        Size of the full frame as it is stored.
    fast_axis, slow_axis : int
        Axis (1 = x, 2 = y) and direction of the readout in the stored frame.
    reference_border : (left, right, bottom, top)
        Width of the border of pixels that see no light.
    full_outputs, subarray_outputs : int
        Amplifiers in use.
    amplifiers : {'blocks', 'interleaved'}
        Each amplifier reads its own block of columns, or every n-th column.
    sample_time : float
        Time of one pixel [s].
    row_overhead, frame_overhead : int
        Extra pixel times per row, and extra rows per frame.
    full_frame_time : float
        Time of one frame of the whole detector [s].
    subarrays : mapping
        Name to ``{x, y, columns, rows, frame_time}``; x, y count from 1.
    """

    rows: int
    columns: int
    fast_axis: int
    slow_axis: int
    reference_border: tuple[int, int, int, int]
    full_outputs: int
    subarray_outputs: int
    amplifiers: str
    sample_time: float
    row_overhead: int
    frame_overhead: int
    full_frame_time: float
    subarrays: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Pixels:
    """How a pixel turns photons into numbers.

    Attributes
    ----------
    gain, gain_scatter : float
        Electrons per DN, and its relative scatter over the pixels.
    read_noise, read_noise_scatter : float
        Noise of one read [DN], and the scatter of its logarithm.
    bias, bias_scatter : float
        Level of an empty pixel [DN] and its scatter.
    ktc : float
        Noise of the reset [DN].
    full_well, full_well_scatter : float
        Signal above bias at which a pixel is full [DN], relative scatter.
    nonlinearity : (c2, c3, c4)
        The true signal is ``G + c2 G^2 + c3 G^3 + c4 G^4`` of the measured G.
    nonlinearity_scatter : float
        Relative scatter of c2 and c3.
    ipc : (left, right, below, above)
        Fraction of a pixel's signal that appears in each neighbour.
    dark, dark_scatter : float
        Dark current [electron / s], scatter of its logarithm.
    dark_settling : (charge, time)
        Extra dark charge [electron] that arrives with this time constant [s].
    dead, hot, low_qe : float
        Fraction of the pixels that are so.
    reset_anomaly : (amplitude, decay)
        Excess [DN] after a reset and its decay [frames].
    last_frame : float
        Offset of an integration's last frame [DN].
    rscd : (fraction, decay)
        Part of the previous integration's last signal that lingers after the
        reset, and its decay [frames].
    rscd_skip : (first, later)
        Groups to leave out in the first and in later integrations.
    """

    gain: float
    gain_scatter: float
    read_noise: float
    read_noise_scatter: float
    bias: float
    bias_scatter: float
    ktc: float
    full_well: float
    full_well_scatter: float
    nonlinearity: tuple[float, float, float]
    nonlinearity_scatter: float
    ipc: tuple[float, float, float, float]
    dark: float
    dark_scatter: float
    dead: float
    hot: float
    low_qe: float
    dark_settling: tuple[float, float] = (0.0, 1.0)
    reset_anomaly: tuple[float, float] = (0.0, 1.0)
    last_frame: float = 0.0
    rscd: tuple[float, float] = (0.0, 1.0)
    rscd_skip: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Electronics:
    """Noise that arises behind the pixels, in units of DN.

    Attributes
    ----------
    common_1f, amplifier_1f : float
        Rms of the 1/f noise shared by all amplifiers, and of each one's own.
    amplifier_offset : float
        Rms of an amplifier's offset, new in each frame.
    odd_even : float
        Rms of the offset between odd and even columns (blocks) or rows
        (interleaved amplifiers), new in each frame.
    subarray_factor : float
        By how much the offsets shrink when a part of the detector is read.
    """

    common_1f: float
    amplifier_1f: float
    amplifier_offset: float
    odd_even: float
    subarray_factor: float = 1.0


@dataclass(frozen=True)
class Radiation:
    """Particles and what they leave.

    Attributes
    ----------
    flux : float
        Particles per cm^2 and s.
    pixel_pitch, thickness : float
        Size of a pixel and depth of its light-sensitive layer [um].
    charge, charge_scatter : float
        Median charge of a vertical passage [electron], scatter of its logarithm.
    diffusion : float
        Fraction of a hit's charge that goes to each of four neighbours.
    snowballs, showers : float
        Events per megapixel and 1000 s.
    """

    flux: float
    pixel_pitch: float
    thickness: float
    charge: float
    charge_scatter: float
    diffusion: float
    snowballs: float = 0.0
    showers: float = 0.0


@dataclass(frozen=True)
class Optics:
    """Telescope, sky and the place of the detector in the focal plane.

    Attributes
    ----------
    wavelength, bandwidth : float
        Centre and full width of the filter [um].
    pixel_scale : float
        Arcseconds per pixel.
    v2, v3 : float
        Place of the detector's centre in the telescope's frame [arcsec].
    y_angle : float
        Angle from the V3 axis to the detector's y axis [deg].
    parity : int
        Handedness of x, y relative to V2, V3.
    sky : float
        Rate of the sky in one pixel [electron / s].
    aperture : str
        Name of the aperture.
    throughput : float
        Fraction of the photons that become electrons, from the primary mirror on.
    collecting_area : float
        Open area of the primary mirror [m^2].
    """

    wavelength: float
    bandwidth: float
    pixel_scale: float
    v2: float
    v3: float
    y_angle: float
    parity: int
    sky: float
    aperture: str
    throughput: float = 0.5
    collecting_area: float = 25.4

    @property
    def electrons_per_jansky(self) -> float:
        """Return the photo-electrons per second that a source of one jansky gives.

        ``F A T / h`` integrated over frequency, for a flat spectrum in a filter whose
        width is a fraction ``bandwidth / wavelength`` of its frequency.
        """
        return (
            1e-26
            * self.collecting_area
            * self.throughput
            / _PLANCK
            * (self.bandwidth / self.wavelength)
        )


@dataclass(frozen=True)
class Passband:
    """What a filter changes.

    Attributes
    ----------
    keywords : mapping
        What headers say of the wheels.
    wavelength, bandwidth, sky, throughput : float
        See `Optics`.
    shift : (column, row)
        Offset of the image [pixel]: light for ``p + shift`` falls on p.
    vega : float
        AB magnitude of Vega.
    """

    keywords: Mapping[str, str]
    wavelength: float
    bandwidth: float
    sky: float
    throughput: float
    shift: tuple[float, float] = (0.0, 0.0)
    vega: float = 0.0


@dataclass(frozen=True)
class Chip:
    """What one of several detectors of an instrument has of its own.

    Attributes
    ----------
    keywords : mapping
        What headers say of it.
    file_suffix : str
        Its part of a file name.
    v2, v3, y_angle : float
        See `Optics`.
    aperture : str
        Name of the aperture.
    fast_axis, slow_axis : int
        See `Geometry`.
    distortion : mapping
        See `InstrumentFacts`.
    """

    keywords: Mapping[str, str]
    file_suffix: str
    v2: float
    v3: float
    y_angle: float
    aperture: str
    fast_axis: int
    slow_axis: int
    distortion: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Rules:
    """By which headers the observatory chooses reference files.

    Attributes
    ----------
    observatory : str
        First part of the names of its files, in lower case.
    instrument : str
        The key of a header that names the instrument.
    dates : tuple of str
        The keys that together say when the data were taken.
    types : mapping
        Reference type to the keys its files are matched by.
    not_applicable : tuple of str
        Types that the observatory knows and a simulated detector has no need of.
    """

    observatory: str
    instrument: str
    dates: tuple[str, ...]
    types: Mapping[str, tuple[str, ...]]
    not_applicable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Window:
    """The part of a detector that is read.

    Attributes
    ----------
    name : str
        Name of the subarray; ``FULL`` for the whole frame.
    x, y : int
        First column and row, counted from 1.
    columns, rows : int
        Size.
    outputs : int
        Amplifiers that read it.
    frame_time : float
        Time of one frame [s].
    """

    name: str
    x: int
    y: int
    columns: int
    rows: int
    outputs: int
    frame_time: float

    @property
    def shape(self) -> tuple[int, int]:
        """Return (rows, columns)."""
        return self.rows, self.columns


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
