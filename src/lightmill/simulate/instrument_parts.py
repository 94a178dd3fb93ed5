"""What a simulation must know about the parts of an instrument, with types and units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "Chip",
    "Electronics",
    "Geometry",
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
