"""What a report says in numbers: products against the truth."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.models import dq as flags

__all__ = ["Completeness", "Exposure", "Pulls", "completeness", "flag_counts", "pulls", "read"]

HISTOGRAM = np.linspace(-6, 6, 97)
SNR_EDGES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 20.0, 50.0, np.inf)
_NOT_CLEAN = flags.PIXEL["DO_NOT_USE"] | flags.PIXEL["JUMP_DET"] | flags.PIXEL["SATURATED"]


@dataclass
class Exposure:
    """The arrays of one exposure a report looks at, each (ny, nx).

    Attributes
    ----------
    raw : ndarray of float32
        Last group of the first integration [DN].
    rate, err : ndarray of float32
        Count rate and its error [DN / s].
    dq : ndarray of uint32
    truth : dict
        Extensions of the truth file, by name.
    group_flags : ndarray of uint8 or None
        GROUPDQ, (nints, ngroups, ny, nx), if the calibrated ramp was kept.
    header : dict
        Primary keywords of the raw file.
    """

    raw: np.ndarray
    rate: np.ndarray
    err: np.ndarray
    dq: np.ndarray
    truth: dict[str, Any]
    group_flags: np.ndarray | None
    header: dict[str, Any]

    @property
    def pull(self) -> np.ndarray:
        """Return (rate - truth) / error, NaN where there is no rate."""
        with np.errstate(divide="ignore", invalid="ignore"):
            pull = (self.rate - self.truth["RATE"]) / self.err
        return np.where(self.err > 0, pull, np.nan).astype(np.float32)


@dataclass
class Pulls:
    """Pulls of one class of pixels: how far from the truth, in units of the error.

    Attributes
    ----------
    name : str
    count : int
    mean, std : float
        Of pulls within 5 of the median.
    chi2 : float
        Mean square of the same.
    outliers : float
        Fraction beyond 5.
    histogram : ndarray or None
        Counts in the bins of `HISTOGRAM`.
    """

    name: str
    count: int
    mean: float
    std: float
    chi2: float
    outliers: float
    histogram: np.ndarray | None = None


@dataclass
class Completeness:
    """How many of the particle hits were found.

    Attributes
    ----------
    bins : list of (low, high, hits, fraction found)
        By the significance of a hit in one difference of groups.
    false_alarms : float
        Fraction of flagged differences (or pixels) with no hit nearby.
    per : str
        What the fractions count.
    """

    bins: list[tuple[float, float, int, float]]
    false_alarms: float
    per: str

    @property
    def strong(self) -> float:
        """Return the fraction found of the hits of 5 sigma and more."""
        picked = [(n, f) for low, _, n, f in self.bins if low >= 5]
        return sum(n * f for n, f in picked) / max(1, sum(n for n, _ in picked))


def read(uncal: Path, rate: Path, truth: Path, ramp: Path | None = None) -> Exposure:
    """Read from disk what a report needs of one exposure."""
    from astropy.io import fits

    with fits.open(uncal) as file:
        science = file["SCI"]
        header = dict(file[0].header)
        raw = science.section[0, -1].astype(np.float32)
    with fits.open(rate) as file:
        images = [np.array(file[name].data) for name in ("SCI", "ERR", "DQ")]
    with fits.open(truth) as file:
        known = {hdu.name: np.array(hdu.data) for hdu in file[1:]}
    group_flags = None
    if ramp is not None:
        with fits.open(ramp) as file:
            group_flags = np.array(file["GROUPDQ"].data)
    return Exposure(
        raw,
        images[0].astype(np.float32),
        images[1].astype(np.float32),
        images[2].astype(np.uint32),
        known,
        group_flags,
        header,
    )


def pulls(e: Exposure) -> list[Pulls]:
    """Return the pulls of clean sky, of bright sources and of all usable pixels."""
    kind, pull = e.truth["CLASS"], e.pull
    bright, large = 64, 128
    usable = (e.dq & flags.PIXEL["DO_NOT_USE"] == 0) & (kind & 0b111011 == 0)
    clean = usable & (kind == 0) & (e.dq & _NOT_CLEAN == 0)
    jump = e.dq & flags.PIXEL["JUMP_DET"] != 0
    classes = [
        ("clean sky", clean),
        ("sky with a jump", usable & (kind == 0) & jump),
        ("bright sources", usable & (kind & bright != 0) & (kind & large == 0)),
        ("near a snowball", usable & (kind & large != 0)),
        ("all usable pixels", usable),
    ]
    return [p for name, mask in classes if (p := _pulls(name, pull[mask])) is not None]


def _pulls(name: str, pull: np.ndarray) -> Pulls | None:
    pull = pull[np.isfinite(pull)]
    if pull.size < 20:
        return None
    core = np.abs(pull - np.median(pull)) < 5
    inner = pull[core].astype(float)
    counts, _ = np.histogram(pull, HISTOGRAM)
    return Pulls(
        name,
        int(pull.size),
        float(inner.mean()),
        float(inner.std()),
        float(np.mean(inner**2)),
        float(1 - core.mean()),
        counts,
    )


def completeness(e: Exposure) -> Completeness | None:
    """Return how many direct hits were flagged, by group if the ramp was kept."""
    table = e.truth.get("JUMPS")
    if table is None or not len(table):
        return None
    t, kind = e.truth, e.truth["CLASS"]
    hits = table[(table["kind"] == 0) & (table["group"] > 0)]
    y, x = hits["y"], hits["x"]
    seconds = float(e.header["TGROUP"])
    gain = t["GAIN"][y, x]
    # of one difference of groups: photons, dark and the two reads, in electrons
    variance = (t["RATE"] + t["DARK"])[y, x] * gain * seconds
    variance = variance + (t["CDS"][y, x] * gain) ** 2 / float(e.header.get("NFRAMES", 1))
    significance = hits["charge_e"] / np.sqrt(variance)
    usable = kind[y, x] & 0b10111111 == 0
    near = np.zeros(kind.shape, bool)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            yy = np.clip(table["y"] + dy, 0, kind.shape[0] - 1)
            near[yy, np.clip(table["x"] + dx, 0, kind.shape[1] - 1)] = True
    quiet = ~near & (kind & 0b10111111 == 0)
    if e.group_flags is not None:
        g, i = hits["group"], hits["integ"]
        here, before = e.group_flags[i, g, y, x], e.group_flags[i, g - 1, y, x]
        usable &= ((here | before) & 3) == 0
        found = here & 4 != 0
        valid = quiet & (e.group_flags[:, 1:] & 3 == 0) & (e.group_flags[:, :-1] & 3 == 0)
        false = (e.group_flags[:, 1:] & 4 != 0) & valid
        rate, per = false.sum() / max(1, valid.sum()), "difference of groups"
    else:
        saturated = e.dq & flags.PIXEL["SATURATED"] != 0
        usable &= ~saturated[y, x]
        jump = e.dq & flags.PIXEL["JUMP_DET"] != 0
        found = jump[y, x]
        quiet &= ~saturated
        rate, per = (jump & quiet).sum() / max(1, quiet.sum()), "pixel"
    bins = []
    for low, high in itertools.pairwise(SNR_EDGES):
        inside = usable & (significance >= low) & (significance < high)
        if inside.any():
            bins.append((low, high, int(inside.sum()), float(found[inside].mean())))
    return Completeness(bins, float(rate), per) if bins else None


def flag_counts(dq: np.ndarray) -> list[tuple[str, str, int, float]]:
    """Return name, meaning, number of pixels and their fraction of each flag set."""
    counted = []
    for name, bit in flags.PIXEL.items():
        number = int(np.count_nonzero(dq & np.uint32(bit))) if bit else 0
        if number:
            counted.append((name, flags.MEANING[name], number, number / dq.size))
    return counted
