"""Simulate exposures of the imager from a known field, with the references that undo them.

Written from the physics, without any of the calibration code, so that an error of sign or order
in one cannot hide behind the same error in the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.models import Region
from lightmill.observatories.tmt.iris.simulated_detector import (
    Camera,
    Exposure,
    Pixels,
    write_exposure,
)
from lightmill.observatories.tmt.iris.simulated_references import write_references
from lightmill.simulate.cache import SimulatedCache, write_cache
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
GAP = 0.03  # of a detector's side: between the detectors of the mosaic
# Where the centre of the mosaic is, seen from each detector, in half sides of it.
MOSAIC = {"IMG1": (1, 1), "IMG2": (-1, 1), "IMG3": (1, -1), "IMG4": (-1, -1)}


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


def expose(
    directory: str | Path,
    exposure: Exposure,
    camera: Camera,
    pixels: Pixels,
    scene: Field,
    *,
    seed: int,
    references: Mapping[str, Path] | None = None,
    windows: Mapping[int, Region] | None = None,
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
    windows : mapping, optional
        Subarrays that are read beside a full frame, by their numbers.

    Returns
    -------
    made : SimulatedExposure
        ``truth`` has RATE: light in each pixel, LIGHT: the same for even response, DARK,
        all [DN/s], and the table CATALOG with x, y [pixel, from 0], ra, dec [deg], flux [DN/s].
    """
    window = exposure.window or Region(0, camera.size, 0, camera.size)
    system = _system(exposure, camera, scene)
    light, catalog = _light(exposure, scene, system, camera.size)
    catalog["x"] -= window.x0
    catalog["y"] -= window.y0
    uncal, truth = write_exposure(
        Path(directory), exposure, camera, pixels, light[window.slices], system, seed=seed,
        truth={"CATALOG": catalog}, windows=windows,
    )  # fmt: skip
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
