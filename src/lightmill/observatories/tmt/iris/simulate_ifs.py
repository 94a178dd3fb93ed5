"""Simulate the integral-field spectrograph: spectra of a known field on the detector.

The field has a star with a smooth spectrum, a nebula that glows in one line whose wavelength
changes across it, and a sky of lines. Spectra are integrated over the columns and rows of pixels exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.observatories.tmt.iris.simulated_detector import (
    Camera,
    Exposure,
    Pixels,
    write_exposure,
)
from lightmill.observatories.tmt.iris.simulated_references import write_references
from lightmill.simulate.cache import SimulatedCache, write_cache
from lightmill.simulate.instrument_parts import Rules
from lightmill.simulate.made import SimulatedExposure

__all__ = ["LENSLET", "SLICER", "Nebula", "Sight", "Spectrograph", "observe_ifs"]

REACH = 5  # [pixel] half height of a profile that is simulated


@dataclass(frozen=True)
class Spectrograph:
    """How the spatial elements lie on the detector.

    Attributes
    ----------
    mode : str
        INSTMODE: SLICER or LENSLET.
    nx, ny : int
        Elements of the field.
    spacing : float
        Rows between the spectra of neighbours [pixel].
    gap : float
        Rows more between slices; 0 for lenslets [pixel].
    stagger : float
        Columns by which the spectrum of a lenslet begins after its neighbour's [pixel].
    sigma : float
        Width of a spectrum across the dispersion [pixel].
    scale : float
        Side of an element on the sky [arcsec].
    begin, step : float
        Wavelength of the first column, and of a column [um].
    """

    mode: str
    nx: int
    ny: int
    spacing: float
    gap: float
    stagger: float
    sigma: float
    scale: float
    begin: float = 2.10
    step: float = 0.0005

    def traces(self, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return row and wavelength [um] of each element in each column, and its place x, y.

        Parameters
        ----------
        size : int
            Rows and columns of the detector.

        Returns
        -------
        rows, wavelength : (n, size) ndarray
            Row from 0 [pixel], wavelength at the centre of the column [um].
        position : (n, 2) ndarray of int
            x and y of the element.
        """
        column = np.arange(size) - size / 2
        rows, wavelength, position = [], [], []
        for number in range(self.nx * self.ny):
            y, x = divmod(number, self.nx)
            first = REACH + 4 + number * self.spacing + y * self.gap
            rows.append(first + 0.012 * column + 2e-5 * column**2)
            shift = self.stagger * (number % 4)
            smile = 4e-7 * (column / size) ** 2  # lines are not quite straight
            wavelength.append(self.begin + self.step * (column + size / 2 - shift) + smile * number)
            position.append((x, y))
        return np.array(rows), np.array(wavelength), np.array(position)


SLICER = Spectrograph("SLICER", 16, 6, 2.0, 5.0, 0.0, 0.75, 0.050)
LENSLET = Spectrograph("LENSLET", 10, 10, 2.6, 0.0, 2.5, 0.80, 0.009)


@dataclass(frozen=True)
class Sight:
    """How the field is seen: which way is up, through how much air.

    Attributes
    ----------
    zenith_distance : float
        0 for a telescope above the air [deg].
    parallactic_angle : float
        Position angle of the zenith, from north through east [deg].
    rotation : float
        Position angle of the cube's y axis [deg].
    pressure, temperature : float
        Of the air [hPa, deg_C].
    guide : float
        Wavelength that is held in its place [um].
    """

    zenith_distance: float = 0.0
    parallactic_angle: float = 0.0
    rotation: float = 0.0
    pressure: float = 612.0
    temperature: float = 2.0
    guide: float = 2.18

    def offset(self, wavelength: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Return how far the air moves an image in x and y [element].

        Dry air of Ciddor (1996, Applied Optics 35, 1566, eq. 1), its density that of an ideal gas.

        Parameters
        ----------
        wavelength : ndarray
            [um].
        scale : float
            Side of an element [arcsec].
        """

        def index(wave: np.ndarray | float) -> np.ndarray:
            s = np.asarray(wave, float) ** -2
            return (5792105.0 / (238.0185 - s) + 167917.0 / (57.362 - s)) * 1e-8

        density = self.pressure / 1013.25 * 288.15 / (273.15 + self.temperature)
        bent = np.degrees((index(wavelength) - index(self.guide)) * density) * 3600.0 / scale
        up = bent * np.tan(np.radians(self.zenith_distance))
        # The zenith lies `parallactic_angle` east of north, the y axis `rotation`; x points west of it.
        turn = np.radians(self.parallactic_angle - self.rotation)
        return -up * np.sin(turn), up * np.cos(turn)


@dataclass(frozen=True)
class Nebula:
    """What there is to see.

    Attributes
    ----------
    line, width : float
        Wavelength of the nebula's line at the centre, and its standard deviation [um].
    gradient : float
        Change of that wavelength from element to element in x [um].
    flux : float
        Of the line, at most [DN/s].
    star : float
        Of the star, in all elements [DN/s per um].
    sky : sequence of (wavelength [um], flux [DN/s])
        Lines of the sky, of the same width, in each element.
    """

    line: float = 2.166
    width: float = 0.0008
    gradient: float = 2e-4
    flux: float = 400.0
    star: float = 4e5
    sky: Sequence[tuple[float, float]] = ((2.135, 150.0), (2.218, 220.0))

    def maps(
        self, spectrograph: Spectrograph, at: tuple[float, float] = (0.0, 0.0)
    ) -> dict[str, np.ndarray]:
        """Return flux [DN/s] and wavelength [um] of the line, and the star [DN/s per um], (ny, nx).

        Parameters
        ----------
        spectrograph : Spectrograph
        at : (float, float)
            How far the field is moved in x and y [element].
        """
        y, x = np.indices((spectrograph.ny, spectrograph.nx), dtype=float)
        dx = x - (spectrograph.nx - 1) / 2 - at[0]
        dy = y - (spectrograph.ny - 1) / 2 - at[1]
        star = np.exp(-0.5 * ((dx - 2) ** 2 + (dy + 1) ** 2) / 1.2**2) / (2 * np.pi * 1.2**2)
        return {
            "LINEFLUX": self.flux * np.exp(-0.5 * (dx**2 + dy**2) / 3.5**2),
            "LINEWAVE": self.line + self.gradient * dx,
            "STAR": self.star * star,
        }

    def between(
        self, maps: dict[str, np.ndarray], element: tuple[int, int], sides: np.ndarray
    ) -> np.ndarray:
        """Return the light of an element between wavelengths [DN/s]: exact integrals.

        Parameters
        ----------
        maps : dict
            See `maps`.
        element : (int, int)
            x and y.
        sides : (n + 1,) ndarray
            Limits of n intervals, rising [um].
        """
        from scipy.special import erf

        x, y = element
        lines = [(float(maps["LINEWAVE"][y, x]), float(maps["LINEFLUX"][y, x])), *self.sky]
        total = maps["STAR"][y, x] * np.diff(sides)
        for centre, flux in lines:
            total = total + flux * np.diff(erf((sides - centre) / (self.width * np.sqrt(2)))) / 2
        return np.asarray(total)


def observe_ifs(
    directory: str | Path,
    spectrograph: Spectrograph,
    *,
    nebula: Nebula | None = None,
    camera: Camera | None = None,
    sight: Sight | None = None,
    seed: int = 1,
    **more: Any,
) -> tuple[SimulatedExposure, SimulatedCache]:
    """Take one exposure with the spectrograph, and write a cache of its references.

    Parameters
    ----------
    directory : path
        Gets the raw exposure, its truth, the references, and the cache in ``crds``.
    spectrograph : Spectrograph
        `SLICER` or `LENSLET`, small ones of their kind.
    nebula : Nebula, optional
    camera : Camera, optional
    sight : Sight, optional
        Without it, no air is in the way, and the y axis points north.
    seed : int
        Decides everything drawn at random.
    **more
        Fields of the `Exposure`.

    Returns
    -------
    exposure : SimulatedExposure
        Its truth has LINEFLUX, LINEWAVE, STAR: see `Nebula.maps`.
    cache : SimulatedCache
        Rules and references; ``rectmat`` by detector and mode.
    """
    directory = Path(directory)
    nebula, camera = nebula or Nebula(), camera or SpectrographCamera(size=320)
    pixels = Pixels.of(camera, np.random.default_rng((seed, 2000)))
    exposure = Exposure(
        **{"detector": "IFU", "kind": "SCI", "read_time": 5.0, "filter": "K", **more}
    )
    maps = nebula.maps(spectrograph)
    rows, wavelength, position = spectrograph.traces(camera.size)
    light = np.zeros((camera.size, camera.size))
    for row, wave, place in zip(rows, wavelength, position, strict=True):
        flux = _seen(nebula, spectrograph, sight, maps, tuple(place.tolist()), wave)
        first, weights = _profile(row, spectrograph.sigma)
        for r, weight in enumerate(weights):
            np.add.at(light, (first + r, np.arange(camera.size)), flux * weight)
    references = write_references(directory, camera, pixels, "IFU", exposure.filter, seed=seed)
    references["rectmat"] = _write_rectmat(
        directory, spectrograph, camera, rows, wavelength, position
    )
    cards = {
        "INSTMODE": spectrograph.mode, "SCALE": spectrograph.scale, "GRATING": "4000-K",
        "CDELT1": -spectrograph.scale / 3600, "CDELT2": spectrograph.scale / 3600,
    }  # fmt: skip
    system = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg",
        "CRVAL1": 262.4, "CRVAL2": -28.9, "CRPIX1": 1.0, "CRPIX2": 1.0,
    }  # fmt: skip
    if sight is not None:
        cards |= {"EL": 90.0 - sight.zenith_distance, "PARANG": sight.parallactic_angle}
        cosine, sine = (float(f(np.radians(sight.rotation))) for f in (np.cos, np.sin))
        system |= {"PC1_1": cosine, "PC1_2": -sine, "PC2_1": sine, "PC2_2": cosine}
    uncal, truth = write_exposure(
        directory, exposure, camera, pixels, light, system, seed=seed, truth=maps, cards=cards
    )
    made = SimulatedExposure(uncal, references, truth, exposure.stem)
    return made, write_cache(directory / "crds", camera, [made])


def _seen(
    nebula: Nebula,
    spectrograph: Spectrograph,
    sight: Sight | None,
    maps: dict[str, np.ndarray],
    place: tuple[int, int],
    wave: np.ndarray,
) -> np.ndarray:
    """Return the light of an element in each column [DN/s]; the air moves the field a little."""
    sides = _sides(wave)
    if sight is None:
        return nebula.between(maps, place, sides)
    flux = np.empty(wave.size)
    for first in range(0, wave.size, 8):  # the field moves by less than 0.05 elements meanwhile
        part = slice(first, first + 8)
        dx, dy = sight.offset(wave[part].mean(), spectrograph.scale)
        here = nebula.maps(spectrograph, (float(dx), float(dy)))
        flux[part] = nebula.between(here, place, sides[first : part.stop + 1])
    return flux


@dataclass(frozen=True)
class SpectrographCamera(Camera):
    """The spectrograph's detector: rectification matrices are chosen by mode and grating, too."""

    rays: float = 0.2
    rules: Rules = Rules(  # noqa: RUF009 - it never changes
        Camera.rules.observatory,
        Camera.rules.instrument,
        Camera.rules.dates,
        {
            **Camera.rules.types,
            "rectmat": (
                "META.INSTRUMENT.DETECTOR",
                "META.INSTRUMENT.MODE",
                "META.INSTRUMENT.GRATING",
            ),
        },
        Camera.rules.not_applicable,
    )


def _sides(centres: np.ndarray) -> np.ndarray:
    between = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - between[0]], between, [2 * centres[-1] - between[-1]]])


def _profile(row: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of a profile in each column, and its share in that row and those above."""
    from scipy.special import erf

    first = np.rint(row).astype(int) - REACH
    sides = first + np.arange(2 * REACH + 2)[:, None] - 0.5
    return first, np.diff(erf((sides - row) / (sigma * np.sqrt(2))), axis=0) / 2


def _write_rectmat(
    directory: Path,
    spectrograph: Spectrograph,
    camera: Camera,
    rows: np.ndarray,
    wavelength: np.ndarray,
    position: np.ndarray,
) -> Path:
    from astropy.io import fits

    profiles = [_profile(row, spectrograph.sigma) for row in rows]
    header = fits.Header(
        {
            "TELESCOP": "TMT", "INSTRUME": "IRIS", "DETECTOR": "IFU", "REFTYPE": "RECTMAT",
            "DATAMODL": "RectificationModel", "INSTMODE": spectrograph.mode, "GRATING": "4000-K",
            "PEDIGREE": "SIMULATION", "AUTHOR": "Lightmill", "DESCRIP": "Simulated rectmat",
            "USEAFTER": str(camera.reference_header["USEAFTER"]),
        }
    )  # fmt: skip
    planes = {
        "WEIGHTS": np.array([weights for _, weights in profiles], np.float32),
        "ROWS": np.array([first for first, _ in profiles], np.int32),
        "WAVELENGTH": wavelength,
        "POSITION": position.astype(np.int32),
    }
    path = directory / f"IFU_{spectrograph.mode}_rectmat.fits"
    fits.HDUList(
        [fits.PrimaryHDU(header=header), *(fits.ImageHDU(a, name=n) for n, a in planes.items())]
    ).writeto(path, overwrite=True)
    return path
