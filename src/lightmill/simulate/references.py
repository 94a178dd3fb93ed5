"""The reference files that undo a simulated detector, as an instrument team would measure them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.simulate.detector import Detector, convolve, inverse_kernel
from lightmill.simulate.facts import InstrumentFacts, Window
from lightmill.simulate.fits_stream import FitsStream
from lightmill.simulate.layout import window_keywords
from lightmill.simulate.readout import Pattern
from lightmill.simulate.scene import Effects

__all__ = ["DqFlags", "ReferenceFiles", "with_flags", "write_references"]

_RESET_GROUPS = 8
_LONGEST_DARK = 32  # frames; longer exposures get a dark of their own pattern of groups
_BORDER_LEVEL = 131070.0  # a threshold no pixel reaches, where no pixel can saturate


class DqFlags:
    """A DQ array in the file's own bits, and the DQ_DEF table that explains them."""

    columns = (("BIT", "i4"), ("VALUE", "i4"), ("NAME", "S40"), ("DESCRIPTION", "S80"))

    def __init__(self, shape: tuple[int, ...], **marks: np.ndarray | bool) -> None:
        self.array = np.zeros(shape, np.uint32)
        self.table = np.zeros(len(marks), list(self.columns))
        for bit, (name, mark) in enumerate(marks.items()):
            self.array[np.broadcast_to(mark, shape)] |= np.uint32(1 << bit)
            words = name.replace("_", " ").lower()
            self.table[bit] = (bit, 1 << bit, name.encode(), words.encode())


def write_references(
    directory: Path,
    facts: InstrumentFacts,
    window: Window,
    detector: Detector,
    effects: Effects,
    pattern: Pattern,
    *,
    inverse_linearity: bool = False,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Path]:
    """Write every reference file this detector needs.

    Parameters
    ----------
    directory : Path
    pattern : Pattern
        The exposure the dark must be able to serve.
    inverse_linearity : bool
        Add the polynomial from true to measured signal to the linearity file.
    progress : callable, optional
        Told the name of each type as it is begun.

    Returns
    -------
    references : dict of str to Path
        Reference type to file.
    """
    files = ReferenceFiles(directory, facts, window)
    inverse = inverse_kernel(detector.kernel)
    # what is left of the bias once the coupling of pixels has been undone
    bias = convolve(detector.bias, inverse, detector.active) if effects.ipc else detector.bias
    writers: dict[str, Callable[[], None]] = {
        "mask": lambda: _mask(files, detector),
        "saturation": lambda: _saturation(files, detector),
        "ipc": lambda: _ipc(files, inverse),
        "linearity": lambda: _linearity(files, facts, detector, bias, inverse_linearity),
        "dark": lambda: _dark(files, facts, detector, pattern),
        "readnoise": lambda: _readnoise(files, facts, detector, effects),
        "gain": lambda: _gain(files, detector),
    }
    if facts.bias_subtracted:
        writers["superbias"] = lambda: _superbias(files, bias)
    else:
        writers["reset"] = lambda: _reset(files, facts, detector, effects)
        writers["rscd"] = lambda: _rscd(files, facts, window)
    for kind, write in writers.items():
        if progress:
            progress(kind)
        write()
    return files.written


class ReferenceFiles:
    """Names and headers of the reference files of one detector."""

    def __init__(
        self, directory: Path, facts: InstrumentFacts, window: Window, setting: str = ""
    ) -> None:
        self.directory, self.facts, self.window, self.setting = directory, facts, window, setting
        self.written: dict[str, Path] = {}

    def place(self, kind: str, suffix: str = ".fits") -> Path:
        """Return where a file of a type belongs, and remember that it is there."""
        f = self.facts
        parts = [f.name, str(f.header["DETECTOR"]), self.window.name, self.setting, kind]
        path = self.directory / ("_".join(filter(None, parts)).lower() + suffix)
        self.written[kind] = path
        return path

    def begin(
        self, kind: str, model: str, description: str, *, pixels: bool = True, **keywords: Any
    ) -> FitsStream:
        """Begin a FITS file; without pixels, it says nothing of a window."""
        f, w = self.facts, self.window
        path = self.place(kind)
        cards: dict[str, Any] = {
            "DATE": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000"),
            "FILENAME": path.name,
            "DATAMODL": model,
            **f.reference_header,
            "REFTYPE": kind.upper(),
            "DESCRIP": description,
        }
        if pixels:
            cards |= window_keywords(f, w)
        return FitsStream(path, cards | keywords)


def with_flags(file: FitsStream, flags: DqFlags) -> None:
    """Write data-quality flags and what they mean."""
    file.image("DQ", flags.array)
    file.table("DQ_DEF", flags.table)


def _mask(files: ReferenceFiles, d: Detector) -> None:
    flags = DqFlags(
        d.is_reference.shape,
        DEAD=d.marks["dead"],
        HOT=d.marks["hot"],
        LOW_QE=d.marks["low_qe"],
        REFERENCE_PIXEL=d.is_reference,
        BAD_REF_PIXEL=d.marks["bad_reference"],
        DO_NOT_USE=d.marks["unusable"],
    )
    with files.begin("mask", "MaskModel", "Bad pixels") as file:
        with_flags(file, flags)


def _saturation(files: ReferenceFiles, d: Detector) -> None:
    # a full pixel that shares its signal with empty neighbours must still be above
    share = 1 - d.kernel[1, 1]
    level = d.bias + d.full_well * np.float32(0.985 - share)
    level[d.is_reference] = _BORDER_LEVEL
    unknown = d.marks["no_saturation"]
    level[unknown & _every_second(unknown)] = np.nan
    flags = DqFlags(level.shape, NO_SAT_CHECK=d.is_reference | unknown & ~_every_second(unknown))
    with files.begin("saturation", "SaturationModel", "Raw level of full pixels [DN]") as file:
        file.image("SCI", level, {"BUNIT": "DN"})
        with_flags(file, flags)


def _superbias(files: ReferenceFiles, bias: np.ndarray) -> None:
    with files.begin("superbias", "SuperBiasModel", "Bias, pixel coupling undone [DN]") as file:
        file.image("SCI", bias, {"BUNIT": "DN"})
        with_flags(file, DqFlags(bias.shape, UNRELIABLE_BIAS=False))


def _ipc(files: ReferenceFiles, inverse: np.ndarray) -> None:
    text = "Kernel that undoes the coupling of pixels"
    with files.begin("ipc", "IPCModel", text, pixels=False) as file:
        file.image("SCI", inverse.astype(np.float32))


def _linearity(
    files: ReferenceFiles, facts: InstrumentFacts, d: Detector, bias: np.ndarray, inverse: bool
) -> None:
    unknown = d.marks["no_linearity"] | d.is_reference
    unmeasured = d.marks["no_linearity"] & _every_second(d.marks["no_linearity"])
    shape = d.is_reference.shape
    with files.begin("linearity", "LinearityModel", "True signal, powers of the measured") as file:
        file.begin_image("COEFFS", (5, *shape), np.float32)
        above = None if facts.bias_subtracted else bias
        for power in range(5):
            plane = _coefficient(power, d, above)
            plane[unknown] = float(power == 1)
            plane[unmeasured] = np.nan
            file.write(plane)
        with_flags(file, DqFlags(shape, NO_LIN_CORR=unknown & ~unmeasured))
        if inverse:
            file.begin_image("INV_COEFFS", (5, *shape), np.float32)
            c2, c3, c4 = d.c2, d.c3, np.float32(d.c4)
            series = (0 * c2, 0 * c2 + 1, -c2, 2 * c2**2 - c3, 5 * c2 * c3 - 5 * c2**3 - c4)
            for plane in series:
                file.write(plane)


def _coefficient(power: int, d: Detector, bias: np.ndarray | None) -> np.ndarray:
    """Coefficient of a power of the raw level in the polynomial that gives the true signal.

    Without a bias the level is measured above it. With one, ``b + G + c2 G^2 + …`` with
    ``G = raw - b`` is multiplied out, so that the polynomial keeps the bias.
    """
    out = np.empty(d.c2.shape, np.float32)
    c4 = d.c4
    for top in range(0, len(out), 128):  # in double precision, a few rows at a time
        rows = slice(top, top + 128)
        c2, c3 = d.c2[rows].astype(float), d.c3[rows].astype(float)
        b = 0.0 if bias is None else bias[rows].astype(float)
        if power == 0:
            out[rows] = b**2 * (c2 - b * (c3 - b * c4))
        elif power == 1:
            out[rows] = 1 - b * (2 * c2 - b * (3 * c3 - b * 4 * c4))
        elif power == 2:
            out[rows] = c2 - b * (3 * c3 - b * 6 * c4)
        elif power == 3:
            out[rows] = c3 - b * 4 * c4
        else:
            out[rows] = c4
    return out


def _dark(files: ReferenceFiles, facts: InstrumentFacts, d: Detector, pattern: Pattern) -> None:
    by_frame = pattern.ngroups * pattern.stride <= _LONGEST_DARK or pattern.stride == 1
    nframes, gap = (1, 0) if by_frame else (pattern.nframes, pattern.groupgap)
    count = pattern.ngroups * pattern.stride if by_frame else pattern.ngroups
    light = ~d.is_reference
    keywords: Mapping[str, Any] = {
        "NFRAMES": nframes,
        "NGROUPS": count,
        "GROUPGAP": gap,
        "NINTS": max(1, facts.dark_integrations),
        "TFRAME": pattern.frame_time,
        "TGROUP": (nframes + gap) * pattern.frame_time,
        "AVDRKCUR": (float(np.median(d.dark[light])), "Typical dark current [electron / s]"),
    }
    poor = d.dark > 50 * np.median(d.dark[light])
    shape = d.is_reference.shape
    integrations = facts.dark_integrations
    leading = (integrations, count) if integrations else (count,)
    model = "DarkMIRIModel" if integrations else "DarkModel"
    with files.begin("dark", model, "Dark signal since the reset [DN]", **keywords) as file:
        file.begin_image("SCI", (*leading, *shape), np.float32, {"BUNIT": "DN"})
        for integration in range(max(1, integrations)):
            for group in range(count):
                file.write(_dark_group(d, group, nframes, gap, pattern.frame_time, integration))
        flags_shape = (integrations, 1, *shape) if integrations else shape
        with_flags(file, DqFlags(flags_shape, UNRELIABLE_DARK=poor))


def _dark_group(d, group, nframes, gap, frame_time, integration) -> np.ndarray:
    first = group * (nframes + gap) + 1
    ends = [k * frame_time for k in range(first, first + nframes)]
    charges = [d.dark_charge(0.0, end, integration) for end in ends]
    return np.asarray(sum(charges) / np.float32(nframes) / d.gain, np.float32)


def _readnoise(
    files: ReferenceFiles, facts: InstrumentFacts, d: Detector, effects: Effects
) -> None:
    # measured on differences of two darks, which contain the flicker noise and the rounding
    e = facts.electronics
    flicker = effects.one_over_f * (e.common_1f**2 + e.amplifier_1f**2)
    noise = np.float32(effects.read_noise) * d.read_noise**2
    noise += np.float32(flicker + 1 / 12)
    noise = np.sqrt(2 * noise)
    with files.begin("readnoise", "ReadnoiseModel", "Noise of two reads' difference [DN]") as file:
        file.image("SCI", noise, {"BUNIT": "DN"})


def _gain(files: ReferenceFiles, d: Detector) -> None:
    gain = d.gain.copy()
    bad = d.marks["bad_gain"]
    gain[bad] = np.where(_every_second(bad)[bad], np.nan, -1.0)
    with files.begin("gain", "GainModel", "Electrons per DN") as file:
        file.image("SCI", gain, {"BUNIT": "electron/DN"})


def _reset(files: ReferenceFiles, facts: InstrumentFacts, d: Detector, effects: Effects) -> None:
    amplitude, decay = facts.pixels.reset_anomaly
    shape = d.is_reference.shape
    keywords: dict[str, Any] = {"NINTS": 2, "NGROUPS": _RESET_GROUPS}
    with files.begin("reset", "ResetModel", "Excess after a reset [DN]", **keywords) as file:
        file.begin_image("SCI", (2, _RESET_GROUPS, *shape), np.float32, {"BUNIT": "DN"})
        for _ in range(2):
            for group in range(_RESET_GROUPS):
                size = effects.resets * amplitude * np.exp(-(group + 1) / decay)
                file.write(np.float32(size) * d.reset_shape)
        with_flags(file, DqFlags(shape, UNRELIABLE_RESET=False))
        file.image("ERR", np.zeros((2, _RESET_GROUPS, *shape), np.float32))


def _rscd(files: ReferenceFiles, facts: InstrumentFacts, window: Window) -> None:
    columns = [
        ("subarray", "S17"),
        ("readpatt", "S12"),
        ("group_skip1", "i4"),
        ("group_skip", "i4"),
    ]
    rows = [
        (name.encode(), pattern.encode(), *facts.pixels.rscd_skip)
        for name in dict.fromkeys([window.name, "FULL", *facts.geometry.subarrays])
        for pattern in [*facts.read_patterns, "ANY"]
    ]
    with files.begin(
        "rscd", "RSCDModel", "Groups to leave out after a reset", pixels=False
    ) as file:
        file.table("RSCD_GROUP_SKIP", np.array(rows, columns))


def _every_second(mark: np.ndarray) -> np.ndarray:
    """Return True at every second pixel of those marked."""
    out = np.zeros(mark.shape, bool)
    out.flat[np.flatnonzero(mark)[::2]] = True
    return out
