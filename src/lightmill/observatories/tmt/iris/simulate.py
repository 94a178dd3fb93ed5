"""Simulate exposures of the imager from a known field, with the references that undo them.

Written from the physics, without any of the calibration code, so that an error of sign or order
in one cannot hide behind the same error in the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.models import Region
from lightmill.simulate.cache import SimulatedCache, write_cache
from lightmill.simulate.instrument_parts import Rules
from lightmill.simulate.made import SimulatedExposure

__all__ = ["Camera", "Exposure", "Field", "Pixels", "expose", "observe", "write_references"]

SCALE = 0.004 / 3600.0  # [deg] of a pixel
CORE, HALO, HALO_SHARE = (
    1.3,
    4.5,
    0.3,
)  # [pixel] widths of a star's image, and the light in the halo
EVEN = 400.0  # [DN/s] brightness of the light that flats are taken of
REACH = 32  # [pixel] half size of a star's image
START = "2026-11-29"
GAP = 0.03  # of a detector's side: between the detectors of the mosaic
# Where the centre of the mosaic is, seen from each detector, in half sides of it.
MOSAIC = {"IMG1": (1, 1), "IMG2": (-1, 1), "IMG3": (1, -1), "IMG4": (-1, -1)}
# Flags of the masks of 2021, by the names of their DQ_DEF table.
FLAGS = {"DO_NOT_USE": 1, "HOT": 2048, "DEAD": 1024, "NO_FLAT_FIELD": 1 << 18}


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
        },
        ("dflat", "drizpars"),
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
        bias = camera.bias + rng.normal(0, 40.0, shape)
        return cls(flat, dark, bias, camera.curvature * rng.normal(1, 0.1, shape))

    def cut(self, region: Region) -> Pixels:
        """Return the pixels of a part of the detector."""
        return Pixels(*(getattr(self, name)[region.slices] for name in self.__annotations__))


@dataclass(frozen=True)
class Field:
    """A field on the sky: stars on a dark or bright background.

    ``xi``, ``eta`` are places on the tangent plane, east and north of the centre [deg]; ``flux``
    is what a detector of even response counts [DN/s]; ``sky`` of a pixel [DN/s].
    """

    ra: float
    dec: float
    xi: np.ndarray
    eta: np.ndarray
    flux: np.ndarray
    sky: float = 20.0

    @classmethod
    def of(
        cls,
        stars: int,
        width: float,
        rng: np.random.Generator,
        *,
        sky: float = 20.0,
        faintest: float = 200.0,
    ) -> Field:
        """Draw stars in a square of some width [pixel], fainter ones in larger numbers."""
        plane = rng.uniform(-0.5, 0.5, (2, stars)) * width * SCALE
        flux = faintest * rng.uniform(0.02, 1.0, stars) ** -0.9
        return cls(262.4, -28.9, plane[0], plane[1], flux, sky)

    def empty(self) -> Field:
        """Return the same field without its stars."""
        none = np.zeros(0)
        return replace(self, xi=none, eta=none, flux=none)

    def radec(self) -> tuple[np.ndarray, np.ndarray]:
        """Return right ascension and declination of the stars [deg]."""
        xi, eta = np.radians(self.xi), np.radians(self.eta)
        d0 = np.radians(self.dec)
        depth = np.cos(d0) - eta * np.sin(d0)
        ra = self.ra + np.degrees(np.arctan2(xi, depth))
        dec = np.degrees(np.arctan2(np.sin(d0) + eta * np.cos(d0), np.hypot(xi, depth)))
        return ra, dec


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


def expose(
    directory: str | Path,
    exposure: Exposure,
    camera: Camera,
    pixels: Pixels,
    scene: Field,
    *,
    seed: int,
    references: Mapping[str, Path] | None = None,
) -> SimulatedExposure:
    """Write a raw exposure, and what is true of it.

    Parameters
    ----------
    directory : path
        Where to; made if it is not there.
    exposure : Exposure
    camera : Camera
    pixels : Pixels
        Of the whole detector.
    scene : Field
    seed : int
        Decides noise and cosmic rays.
    references : mapping, optional
        Type → file, of the detector.

    Returns
    -------
    made : SimulatedExposure
        ``truth`` has RATE: light in each pixel, LIGHT: the same for even response, DARK,
        all [DN/s], and the table CATALOG with x, y [pixel, from 0], ra, dec [deg], flux [DN/s].
    """
    from astropy.io import fits

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng((seed, exposure.number, exposure.subarray))
    window = exposure.window or Region(0, camera.size, 0, camera.size)
    here = pixels.cut(window)
    system = _system(exposure, camera, scene)
    light, catalog = _light(exposure, scene, system, camera.size)
    light = light[window.slices]
    counts = _ramps(exposure, camera, here, light * here.flat + here.dark, rng)
    header = _header(exposure, camera, system, window, counts.shape)
    uncal = directory / f"{exposure.stem}_uncal.fits"
    fits.HDUList([fits.PrimaryHDU(header=header), fits.ImageHDU(counts, name="SCI")]).writeto(
        uncal, overwrite=True
    )
    truth = directory / f"{exposure.stem}_truth.fits"
    catalog["x"] -= window.x0
    catalog["y"] -= window.y0
    planes = {"RATE": light * here.flat, "LIGHT": light, "DARK": here.dark}
    fits.HDUList(
        [
            fits.PrimaryHDU(header=_without_kind(header)),
            *(fits.ImageHDU(one.astype(np.float32), name=name) for name, one in planes.items()),
            fits.BinTableHDU(catalog, name="CATALOG"),
        ]
    ).writeto(truth, overwrite=True)
    return SimulatedExposure(uncal, dict(references or {}), truth, exposure.stem)


def observe(
    directory: str | Path,
    *,
    camera: Camera | None = None,
    detectors: Sequence[str] = ("IMG1",),
    dithers: Sequence[tuple[float, float]] = ((0.0, 0.0), (9.3, -6.6), (-7.5, 8.1), (5.2, 10.4)),
    skies: int = 3,
    darks: int = 0,
    flats: int = 0,
    stars: int = 30,
    faintest: float = 200.0,
    sky: float = 20.0,
    seed: int = 1,
    **more: Any,
) -> tuple[list[SimulatedExposure], SimulatedCache]:
    """Observe a field, its sky and calibrations, and write a cache of references.

    Parameters
    ----------
    directory : path
        Gets the raw exposures, the references, and the cache in ``crds``.
    camera : Camera, optional
    detectors : sequence of str
        They look at the same time, at parts of the field beside each other.
    dithers : sequence of (float, float)
        Where the centre of the field falls, one for each science exposure [pixel].
    skies, darks, flats : int
        Exposures of an empty field whose brightness changes, without light, and of even light.
    stars : int
        Stars on each detector, about.
    faintest : float
        Least flux of a star [DN/s].
    sky : float
        Brightness of a pixel [DN/s].
    seed : int
        Decides everything drawn at random.
    **more
        Fields of every `Exposure`.

    Returns
    -------
    exposures : list of SimulatedExposure
        Science, sky, dark and flat exposures of each detector.
    cache : SimulatedCache
        Rules and references.
    """
    camera = camera or Camera()
    made: list[SimulatedExposure] = []
    together = len(detectors) > 1
    rng = np.random.default_rng((seed, 999))
    width = camera.size * ((2.0 + GAP) if together else 0.8)
    number = 4 * stars if together else stars
    scene = Field.of(number, width, rng, sky=sky, faintest=faintest)
    empty, even = replace(scene.empty(), sky=sky), replace(scene.empty(), sky=EVEN)
    for place, detector in enumerate(detectors):
        pixels = Pixels.of(camera, np.random.default_rng((seed, 1000 + place)))
        chosen = {"detector": detector, "filter": "K", **more}
        references = write_references(
            directory, camera, pixels, detector, str(chosen["filter"]), seed=seed + place
        )
        half = camera.size * (1 + GAP) / 2 if together else 0.0
        dx, dy = (half * side for side in MOSAIC.get(detector, (0, 0)))
        plan = [
            (scene, Exposure("SCI", n, (x + dx, y + dy), **chosen))
            for n, (x, y) in enumerate(dithers, 1)
        ]
        plan += [
            (empty, Exposure("SKY", 100 + n, brightness=1.0 + 0.06 * n, **chosen))
            for n in range(1, skies + 1)
        ]
        plan += [(empty, Exposure("DARK", 200 + n, **chosen)) for n in range(1, darks + 1)]
        plan += [(even, Exposure("FLAT", 300 + n, **chosen)) for n in range(1, flats + 1)]
        made += [
            expose(
                directory, one, camera, pixels, seen, seed=seed + 10 * place, references=references
            )
            for seen, one in plan
        ]
    return made, write_cache(Path(directory) / "crds", camera, made)


def write_references(
    directory: str | Path,
    camera: Camera,
    pixels: Pixels,
    detector: str,
    filter_: str,
    *,
    seed: int = 0,
) -> dict[str, Path]:
    """Write dark, flat, mask and linearity coefficients of a detector in the form of 2021.

    Returns
    -------
    references : dict
        Type → file. Dark and flat are measured with small errors; pixels that could not be are NaN.
    """
    from astropy.io import fits

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng((seed, 77))
    shape = pixels.flat.shape
    dead = pixels.flat == 0
    noise = 1.0 if camera.noise else 0.0
    dark_error, flat_error = 0.004, 0.0005
    dark = pixels.dark + noise * rng.normal(0, dark_error, shape)
    flat = pixels.flat + noise * rng.normal(0, flat_error, shape)
    dark[dead] = flat[dead] = np.nan
    dq = np.where(dead, FLAGS["DO_NOT_USE"] | FLAGS["DEAD"], 0).astype(np.uint32)
    dq |= np.where(pixels.dark > 1.0, FLAGS["HOT"], 0).astype(np.uint32)
    linearity = np.zeros((5, *shape), np.float32)
    linearity[1] = pixels.curvature
    said = {"DETECTOR": detector, "FILTER": filter_, "PUPIL": "CLEAR"}
    planes: dict[str, list[Any]] = {
        "dark": [("SCI", dark), ("ERR", np.full(shape, noise * dark_error))],
        "flat": [
            ("SCI", flat),
            ("ERR", np.full(shape, noise * flat_error)),
            ("DQ", np.where(dead, FLAGS["NO_FLAT_FIELD"], 0).astype(np.uint32)),
        ],
        "mask": [("DQ", dq)],
    }
    names = {"dark": "TMTDarkModel", "flat": "TMTFlatModel", "mask": "TMTMaskModel"}
    made = {}
    for kind in (*planes, "nonlincoeff"):
        header = fits.Header(
            {
                "TELESCOP": "TMT", "INSTRUME": "IRIS", **said, "REFTYPE": kind.upper(),
                "PEDIGREE": "SIMULATION", "AUTHOR": "Lightmill", "DESCRIP": f"Simulated {kind}",
                "USEAFTER": str(camera.reference_header["USEAFTER"]), "SUBARRAY": "FULL",
                "SUBSTRT1": 1, "SUBSTRT2": 1, "SUBSIZE1": shape[1], "SUBSIZE2": shape[0],
            }
        )  # fmt: skip
        if kind in names:
            header["DATAMODL"] = names[kind]
        path = directory / f"{detector}_{filter_}_{kind}.fits"
        hdus: list[Any] = [
            fits.PrimaryHDU(linearity if kind == "nonlincoeff" else None, header=header)
        ]
        hdus += [
            fits.ImageHDU(one if one.dtype == np.uint32 else one.astype(np.float32), name=name)
            for name, one in planes.get(kind, ())
        ]
        if kind in {"mask", "flat"}:
            hdus.append(_flag_table())
        fits.HDUList(hdus).writeto(path, overwrite=True)
        made[kind] = path
    return made


def _flag_table() -> Any:
    """Return the table that says what the bits of a DQ image are called."""
    from astropy.io import fits

    rows = [(value.bit_length() - 1, value, name, "") for name, value in FLAGS.items()]
    kinds = [("BIT", "i4"), ("VALUE", "i4"), ("NAME", "S40"), ("DESCRIPTION", "S80")]
    return fits.BinTableHDU(np.array(rows, np.dtype(kinds)), name="DQ_DEF")


def _without_kind(header: Any) -> Any:
    """Return the header for a file that is no exposure."""
    copy = header.copy()
    del copy["DATAMODL"]
    return copy


def _system(exposure: Exposure, camera: Camera, scene: Field) -> dict[str, Any]:
    """Return the keywords of the world coordinates of a full frame: pixels from 1, degrees."""
    angle = np.radians(exposure.angle)
    centre = (camera.size + 1) / 2
    return {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg",
        "CRVAL1": scene.ra, "CRVAL2": scene.dec,
        "CRPIX1": centre + exposure.offset[0], "CRPIX2": centre + exposure.offset[1],
        "CDELT1": -SCALE, "CDELT2": SCALE,
        "PC1_1": float(np.cos(angle)), "PC1_2": float(-np.sin(angle)),
        "PC2_1": float(np.sin(angle)), "PC2_2": float(np.cos(angle)),
    }  # fmt: skip


def _light(
    exposure: Exposure, scene: Field, system: Mapping[str, Any], size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the light on a detector of even response [DN/s], and the stars with their places."""
    matrix = np.array([[system[f"PC{i}_{j}"] for j in (1, 2)] for i in (1, 2)])
    matrix *= np.array([[system["CDELT1"]], [system["CDELT2"]]])
    x, y = np.linalg.solve(matrix, np.stack([scene.xi, scene.eta]))
    x, y = x + system["CRPIX1"] - 1.0, y + system["CRPIX2"] - 1.0
    ra, dec = scene.radec()
    kinds = [(name, "f8") for name in ("x", "y", "ra", "dec", "flux")]
    catalog = np.array(list(zip(x, y, ra, dec, scene.flux, strict=True)), np.dtype(kinds))
    level = 0.0 if exposure.kind == "DARK" else scene.sky * exposure.brightness
    light = np.full((size, size), level)
    for star in catalog:
        _add_star(light, star["x"], star["y"], star["flux"])
    return light, catalog


def _add_star(light: np.ndarray, x: float, y: float, flux: float) -> None:
    """Add a star: two Gaussians, integrated over the pixels."""
    from scipy.special import erf

    ny, nx = light.shape
    x0, x1 = max(int(x) - REACH, 0), min(int(x) + REACH + 1, nx)
    y0, y1 = max(int(y) - REACH, 0), min(int(y) + REACH + 1, ny)
    if x0 >= x1 or y0 >= y1:
        return
    for sigma, share in ((CORE, 1 - HALO_SHARE), (HALO, HALO_SHARE)):
        along = [
            np.diff(erf((np.arange(low, high + 1) - 0.5 - at) / (sigma * np.sqrt(2)))) / 2
            for low, high, at in ((y0, y1, y), (x0, x1, x))
        ]
        light[y0:y1, x0:x1] += flux * share * np.outer(*along)


def _ramps(
    exposure: Exposure, camera: Camera, pixels: Pixels, rate: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the counts of every read, (ramps, reads, y, x) uint16."""
    counts = np.empty((exposure.ramps, exposure.reads, *rate.shape), np.uint16)
    for ramp in counts:
        signal = pixels.bias + (rng.normal(0, camera.reset_noise) if camera.noise else 0.0)
        electrons = np.zeros(rate.shape)
        for read in ramp:
            expected = rate * camera.gain * exposure.read_time
            electrons += rng.poisson(expected) if camera.noise else expected
            if camera.noise:
                _add_rays(electrons, camera, exposure.read_time, rng)
            linear = signal + electrons / camera.gain
            # What the counts x are worth is x + c x²: solve for x.
            seen = (np.sqrt(1 + 4 * pixels.curvature * linear) - 1) / (2 * pixels.curvature)
            if camera.noise:
                seen = seen + rng.normal(0, camera.read_noise / camera.gain, rate.shape)
            read[...] = np.rint(np.clip(seen, 0, camera.ceiling))
    return counts


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
    if exposure.kind in {"SCI", "SKY"}:
        cards |= system
        cards["CRPIX1"] -= window.x0
        cards["CRPIX2"] -= window.y0
    return fits.Header(cards)
