"""A detector of IRIS as it is simulated: its pixels, its reads, and the headers of its exposures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.models import Region, register_overlay
from lightmill.observatories.tmt import OBSERVATORY
from lightmill.simulate.instrument_parts import Rules

__all__ = ["Camera", "Exposure", "Pixels", "write_exposure"]

START = "2026-11-29"


@dataclass(frozen=True)
class Camera:
    """One detector of the imager, as the observatory assumes it until it is measured.

    Attributes
    ----------
    size : int
        Rows and columns that are simulated.
    gain : float
        [electron/DN].
    read_noise : float
        Of one read [electron].
    dark : float
        [electron/s].
    bias, reset_noise : float
        Counts after a reset, and their scatter from ramp to ramp [DN].
    curvature : float
        Loss of response: counts x stand for x + curvature x² [1/DN].
    ceiling : float
        Largest count [DN].
    rays : float
        Cosmic rays a second in the frame.
    noise : bool
        False for a world without chance.
    border : int
        Rows and columns of reference pixels at each edge: they see no light.
    outputs : int
        Outputs that read blocks of columns side by side.
    drift : float
        Step from read to read of the offset of each output and column parity, at random [DN].
    row_drift : float
        Scatter of an offset that all columns share and that changes slowly along the rows [DN].
    """

    size: int = 256
    gain: float = 1.0
    read_noise: float = 9.0
    dark: float = 0.025
    bias: float = 1000.0
    reset_noise: float = 30.0
    curvature: float = 1.5e-6
    ceiling: float = 65535.0
    rays: float = 0.5
    noise: bool = True
    border: int = 0
    outputs: int = 1
    drift: float = 0.0
    row_drift: float = 0.0

    def is_reference(self, region: Region) -> np.ndarray:
        """Return which pixels of a part of the detector are reference pixels, (ny, nx) bool."""
        edge = np.ones((self.size, self.size), bool)
        edge[self.border : self.size - self.border, self.border : self.size - self.border] = False
        return edge[region.slices]

    # How references are chosen: as the published rules have it.
    name: str = "IRIS"
    reference_header: Mapping[str, Any] = field(
        default_factory=lambda: {"USEAFTER": "2015-06-01T00:00:00"}
    )
    rules: Rules = Rules(  # noqa: RUF009 - it never changes
        "tmt",
        "META.INSTRUMENT.NAME",
        ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME"),
        {
            "dark": ("META.INSTRUMENT.DETECTOR", "META.SUBARRAY.NAME"),
            "flat": ("META.INSTRUMENT.DETECTOR", "META.INSTRUMENT.FILTER", "META.INSTRUMENT.PUPIL"),
            "mask": ("META.INSTRUMENT.DETECTOR",),
            "nonlincoeff": ("META.INSTRUMENT.DETECTOR",),
            "drizpars": (),
        },
        ("dflat",),
    )


@dataclass(frozen=True)
class Pixels:
    """What is true of each pixel of a detector, (ny, nx) float64.

    ``flat`` is the response, 0 where the pixel is dead; ``dark`` [DN/s]; ``bias`` [DN];
    ``curvature`` [1/DN].
    """

    flat: np.ndarray
    dark: np.ndarray
    bias: np.ndarray
    curvature: np.ndarray

    @classmethod
    def of(cls, camera: Camera, rng: np.random.Generator) -> Pixels:
        """Draw the pixels of a detector."""
        shape = (camera.size, camera.size)
        y, x = np.mgrid[: camera.size, : camera.size] / camera.size - 0.5
        flat = 1.0 + 0.06 * x - 0.04 * y**2 + rng.normal(0, 0.01, shape)
        flat /= flat.mean()
        flat[rng.random(shape) < 5e-4] = 0.0
        dark = camera.dark / camera.gain * rng.gamma(4.0, 0.25, shape)
        hot = rng.random(shape) < 1e-3
        dark[hot] += rng.uniform(1.0, 8.0, np.count_nonzero(hot))
        edge = camera.is_reference(Region(0, camera.size, 0, camera.size))
        flat[edge] = dark[edge] = 0.0
        bias = camera.bias + rng.normal(0, 40.0, shape)
        return cls(flat, dark, bias, camera.curvature * rng.normal(1, 0.1, shape))

    def cut(self, region: Region) -> Pixels:
        """Return the pixels of a part of the detector."""
        return Pixels(*(getattr(self, name)[region.slices] for name in self.__annotations__))


@dataclass(frozen=True)
class Exposure:
    """How one exposure is taken.

    Attributes
    ----------
    kind : str
        SCI, SKY, DARK or FLAT.
    number : int
        Of the exposure in its observation.
    offset : (float, float)
        Where the centre of the field falls, from the centre of the detector [pixel].
    angle : float
        Position angle of the detector's rows' normal [deg].
    brightness : float
        Of the sky, relative to the field's.
    reads, ramps : int
        Reads of a ramp, ramps of the exposure.
    read_time : float
        Time from read to read [s].
    sampling : str
        SAMPMODE: UTR, CDS, MCDS.
    coadds : int
        Reads averaged at either end, for MCDS.
    detector, filter : str
        Of the imager.
    window : Region or None
        The part of the detector that is read.
    subarray : int
        Its number; 0 is the full frame.
    program : str
    """

    kind: str = "SCI"
    number: int = 1
    offset: tuple[float, float] = (0.0, 0.0)
    angle: float = 30.0
    brightness: float = 1.0
    reads: int = 10
    ramps: int = 1
    read_time: float = 2.0
    sampling: str = "UTR"
    coadds: int = 1
    detector: str = "IMG1"
    filter: str = "K"
    window: Region | None = None
    subarray: int = 0
    program: str = "P001"

    @property
    def stem(self) -> str:
        """Name of its files, without type."""
        part = f"-s{self.subarray}" if self.subarray else ""
        name = f"2026b-{self.program}_iris_{self.detector}_{self.kind}_{self.number:04d}{part}"
        return name.lower()


def write_exposure(
    directory: Path,
    exposure: Exposure,
    camera: Camera,
    pixels: Pixels,
    light: np.ndarray,
    system: Mapping[str, Any],
    *,
    seed: int,
    truth: Mapping[str, np.ndarray],
    cards: Mapping[str, Any] | None = None,
    windows: Mapping[int, Region] | None = None,
) -> tuple[Path, Path]:
    """Write a raw exposure of some light, and what is true of it.

    Parameters
    ----------
    directory : Path
        Made if it is not there.
    exposure : Exposure
    camera : Camera
    pixels : Pixels
        Of the whole detector.
    light : (ny, nx) ndarray
        Light in each pixel of the window, for even response [DN/s].
    system : mapping
        Keywords of the world coordinates of the full frame.
    seed : int
        Decides noise and cosmic rays.
    truth : mapping
        Name → further images and tables of the truth.
    cards : mapping, optional
        Of the header, that stand for others.
    windows : mapping, optional
        Subarrays that are read beside a full frame, by their numbers: they are in its map.

    Returns
    -------
    uncal, truth : Path
        The exposure; and RATE, LIGHT and DARK of each pixel [DN/s], with what was given.
    """
    from astropy.io import fits

    register_overlay(
        OBSERVATORY.name, OBSERVATORY.home
    )  # rules of its cache are made of its keywords
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng((seed, exposure.number, exposure.subarray))
    window = exposure.window or Region(0, camera.size, 0, camera.size)
    here = pixels.cut(window)
    rate = light * here.flat
    counts = _ramps(exposure, camera, here, rate + here.dark, rng, window)
    header = _header(exposure, camera, system, window, counts.shape)
    header.update(cards or {})
    uncal = directory / f"{exposure.stem}_uncal.fits"
    hdus = [fits.PrimaryHDU(header=header), fits.ImageHDU(counts, name="SCI")]
    if windows:
        number = np.zeros(light.shape, np.uint16)
        for one, where in windows.items():
            number[where.slices] = one
        hdus.append(fits.ImageHDU(number, name="SUBARR_MAP"))
    fits.HDUList(hdus).writeto(uncal, overwrite=True)
    planes = {"RATE": rate, "LIGHT": light, "DARK": here.dark, **truth}
    path = directory / f"{exposure.stem}_truth.fits"
    fits.HDUList(
        [fits.PrimaryHDU(header=_without_kind(header))]
        + [
            fits.BinTableHDU(one, name=name)
            if one.dtype.names
            else fits.ImageHDU(one.astype(np.float32), name=name)
            for name, one in planes.items()
        ]
    ).writeto(path, overwrite=True)
    return uncal, path


def _without_kind(header: Any) -> Any:
    """Return the header for a file that is no exposure."""
    copy = header.copy()
    del copy["DATAMODL"]
    return copy


def _ramps(
    exposure: Exposure,
    camera: Camera,
    pixels: Pixels,
    rate: np.ndarray,
    rng: np.random.Generator,
    window: Region,
) -> np.ndarray:
    """Return the counts of every read, (ramps, reads, y, x) uint16."""
    counts = np.empty((exposure.ramps, exposure.reads, *rate.shape), np.uint16)
    edge = camera.is_reference(window)
    electronics = np.random.default_rng(rng.integers(1 << 32)) if camera.drift else None
    for ramp in counts:
        offsets = np.zeros((camera.outputs, 2))
        signal = pixels.bias + (rng.normal(0, camera.reset_noise) if camera.noise else 0.0)
        electrons = np.zeros(rate.shape)
        for read in ramp:
            expected = rate * camera.gain * exposure.read_time
            electrons += rng.poisson(expected) if camera.noise else expected
            if camera.noise:
                _add_rays(electrons, camera, exposure.read_time, rng)
            electrons[edge] = 0.0
            linear = signal + electrons / camera.gain
            # What the counts x are worth is x + c x²: solve for x.
            seen = (np.sqrt(1 + 4 * pixels.curvature * linear) - 1) / (2 * pixels.curvature)
            if camera.noise:
                seen = seen + rng.normal(0, camera.read_noise / camera.gain, rate.shape)
            if electronics is not None:
                offsets += electronics.normal(0, camera.drift, offsets.shape)
                seen = seen + _drift(camera, offsets, electronics)[window.slices]
            read[...] = np.rint(np.clip(seen, 0, camera.ceiling))
    return counts


def _drift(camera: Camera, offsets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return what the electronics add to one read, of the whole detector [DN]."""
    column = np.arange(camera.size)
    along = offsets[column * camera.outputs // camera.size, column % 2]
    nodes = np.arange(0, camera.size + 32, 32)
    slow = np.interp(column, nodes, rng.normal(0, camera.row_drift, nodes.size))
    return np.asarray(along[None, :] + slow[:, None])


def _add_rays(electrons: np.ndarray, camera: Camera, time: float, rng: np.random.Generator) -> None:
    count = rng.poisson(camera.rays * time * electrons.size / camera.size**2)
    y, x = (rng.integers(0, n, count) for n in electrons.shape)
    np.add.at(electrons, (y, x), rng.uniform(500.0, 8000.0, count))


def _header(
    exposure: Exposure,
    camera: Camera,
    system: Mapping[str, Any],
    window: Region,
    shape: tuple[int, ...],
) -> Any:
    from astropy.io import fits

    minutes = exposure.number * 2 % 1440
    full = exposure.window is None
    cards: dict[str, Any] = {
        "TELESCOP": "TMT", "INSTRUME": "IRIS", "DETECTOR": exposure.detector, "INSTMODE": "IMG",
        "FILTER": exposure.filter, "PUPIL": "CLEAR", "DATAMODL": "TMTRampModel",
        "FILENAME": f"{exposure.stem}_uncal.fits", "DATE": f"{START}T10:00:00.000",
        "DATE-OBS": START, "TIME-OBS": f"{minutes // 60:02d}:{minutes % 60:02d}:00.000",
        "SEMID": "2026B", "PROGRAM": exposure.program, "PROGNUM": exposure.program,
        "OBSERVTN": "001", "OBS_ID": f"2026B-{exposure.program}-001-{exposure.number:04d}",
        "EXPNUM": f"{exposure.number:04d}", "OBJECT": "simulated field",
        "EXP_TYPE": "IRIS_IMAGE", "IMTYPE": exposure.kind, "SAMPMODE": exposure.sampling,
        "NCOADD": exposure.coadds, "NINTS": shape[0], "NGROUPS": shape[1], "NFRAMES": 1,
        "GROUPGAP": 0, "TFRAME": exposure.read_time, "TGROUP": exposure.read_time,
        "RAMPTIME": exposure.read_time * (exposure.reads - 1), "SCALE": 0.004,
        "EXPTIME": exposure.read_time * exposure.reads * exposure.ramps,
        "GAIN": camera.gain, "READNOIS": camera.read_noise,
        "SUBARRAY": "FULL" if full else "CUSTOM", "SUBARRID": exposure.subarray,
        "SARRMODE": "FULL_FRAME" if full else "SUB_ARRAY",
        "SUBSTRT1": window.x0 + 1, "SUBSTRT2": window.y0 + 1,
        "SUBSIZE1": shape[3], "SUBSIZE2": shape[2], "FASTAXIS": 1, "SLOWAXIS": 2,
        "DATALVL": 0,
    }  # fmt: skip
    if camera.border:  # a small detector with edges of its own
        cards |= {"DETXSIZE": camera.size, "DETYSIZE": camera.size, "NOUTPUTS": camera.outputs}
    if exposure.kind in {"SCI", "SKY"}:
        cards |= system
        cards["CRPIX1"] -= window.x0
        cards["CRPIX2"] -= window.y0
    return fits.Header(cards)
