"""What there is to see, and which of nature's disturbances to include."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from lightmill.errors import UnknownNameError
from lightmill.simulate.facts import InstrumentFacts, Window
from lightmill.simulate.pointing import Pointing, deproject

__all__ = ["SCENES", "Effects", "Scene", "draw_catalog", "on_detector", "stream"]

CATALOG_COLUMNS = [
    ("id", "i4"),
    ("kind", "S6"),
    ("ra", "f8"),
    ("dec", "f8"),
    ("x", "f8"),
    ("y", "f8"),
    ("flux", "f4"),
    ("radius", "f4"),
    ("index", "f4"),
    ("axis_ratio", "f4"),
    ("angle", "f4"),
    ("arms", "f4"),
]


@dataclass(frozen=True)
class Effects:
    """Which effects a simulation includes; all of them unless switched off.

    Attributes
    ----------
    photon_noise, read_noise, ktc, bias_pattern, bad_pixels, gain_pattern : bool
        Noise and pixel-to-pixel differences.
    nonlinearity, ipc, dark : bool
        The response of the pixels.
    one_over_f, amplifier_offsets : bool
        Drifts of the electronics.
    resets : bool
        Reset anomaly, last-frame offset and the lingering of the previous
        integration, where the detector has them.
    cosmic_rays, snowballs, showers : float
        Factors on the instrument's rates.
    """

    photon_noise: bool = True
    read_noise: bool = True
    ktc: bool = True
    bias_pattern: bool = True
    bad_pixels: bool = True
    gain_pattern: bool = True
    nonlinearity: bool = True
    ipc: bool = True
    dark: bool = True
    one_over_f: bool = True
    amplifier_offsets: bool = True
    resets: bool = True
    cosmic_rays: float = 1.0
    snowballs: float = 1.0
    showers: float = 1.0

    @classmethod
    def none(cls, **only: bool | float) -> Effects:
        """Return a perfect world, but for the effects named."""
        off: dict[str, Any] = {
            f.name: f.default is not True and 0.0 for f in dataclasses.fields(cls)
        }
        return cls(**(off | only))


@dataclass(frozen=True)
class Scene:
    """A field on the sky and how it is observed unless the caller says otherwise.

    Attributes
    ----------
    name, title : str
        Name, and one line for reports.
    ra, dec, roll : float
        Centre of the field and position angle of V3 [deg].
    stars, galaxies : float
        Sources per megapixel.
    saturated : int
        Stars bright enough to fill their pixel's well, at least.
    showpieces : int
        Large, well resolved galaxies.
    gradient : (gy, gx)
        Relative change of the sky across the field.
    dithers : tuple of (dx, dy)
        Moves of the telescope, one per exposure [arcsec].
    size : str, int or (rows, columns)
        Part of the detector that is read.
    nints, ngroups, nframes, groupgap : int
        Exposure.
    effects : Effects
        What disturbs it.
    filters : tuple of str
        Filters, one after the other; without any, the instrument's own and no distortion.
    detectors : tuple of str
        Detectors of the instrument that look at the same time; without any, its first.
    rolls : tuple of float
        Turn of the telescope of each dither [deg], or none; a visit lasts while it stays.
    pointing_error : float
        By how much the telescope points elsewhere than the headers say: the rms of the
        distance [arcsec].
    roll_error : float
        The same of its roll [deg].
    aberration : float
        Scale of the sky relative to the telescope's, see `View`.
    missed_rays : float
        Fraction of the cosmic rays that nobody flags in simulated count rates.
    pattern : str
        What headers call the pattern of dithers.
    instrument : str or None
        The instrument it is made for, if only one can observe it so.
    """

    name: str
    title: str
    ra: float = 53.1625
    dec: float = -27.7914
    roll: float = 24.0
    stars: float = 220.0
    galaxies: float = 420.0
    saturated: int = 3
    showpieces: int = 3
    gradient: tuple[float, float] = (0.05, 0.08)
    dithers: tuple[tuple[float, float], ...] = ((0.0, 0.0),)
    size: str | int | tuple[int, int] = "full"
    nints: int = 1
    ngroups: int = 8
    nframes: int = 1
    groupgap: int = 0
    effects: Effects = field(default_factory=Effects)
    filters: tuple[str, ...] = ()
    detectors: tuple[str, ...] = ()
    rolls: tuple[float, ...] = ()
    pointing_error: float = 0.0
    roll_error: float = 0.0
    aberration: float = 1.0
    missed_rays: float = 0.02
    pattern: str = "NONE"
    instrument: str | None = None

    @classmethod
    def named(cls, name: str) -> Scene:
        """Return the scene of that name."""
        if name not in SCENES:
            raise UnknownNameError("scene", name, SCENES)
        return SCENES[name]


SCENES = MappingProxyType(
    {
        s.name: s
        for s in (
            Scene(
                "demo",
                "three dithered exposures of a field of stars and galaxies",
                dithers=((-1.6, -1.1), (0.0, 0.0), (1.3, 1.9)),
                size=1024,
                ngroups=10,
                saturated=5,
                showpieces=4,
            ),
            Scene(
                "imaging-field",
                "one full-frame exposure of a field of stars and galaxies",
                saturated=8,
                showpieces=5,
            ),
            Scene(
                "large",
                "one very long exposure, to test memory",
                nints=41,
                ngroups=30,
                stars=60.0,
                galaxies=100.0,
            ),
            Scene(
                "minimal",
                "a small window with every effect, for tests",
                size=64,
                ngroups=5,
                stars=1500.0,
                galaxies=700.0,
                saturated=1,
                showpieces=0,
            ),
            Scene(
                "imaging",
                "a field in two filters, four dithers each at two rolls, with pointing errors",
                dithers=((-1.61, -1.13), (1.32, 0.94), (-0.87, 1.66), (1.18, -1.49)),
                rolls=(0.0, 0.0, 6.0, 6.0),
                size=1024,
                filters=("F150W", "F200W"),
                pointing_error=0.12,
                roll_error=0.002,
                aberration=1.0 - 6.2e-5,
                pattern="IMAGING",
            ),
            Scene(
                "imaging-wide",
                "eight dithered full-frame exposures in one filter, with pointing errors",
                dithers=(
                    (-4.31, -2.87),
                    (3.92, 2.41),
                    (-2.77, 4.18),
                    (2.16, -4.63),
                    (-4.88, 1.09),
                    (4.57, -0.74),
                    (-0.65, -1.38),
                    (0.93, 3.35),
                ),
                rolls=(0.0, 0.0, 0.0, 0.0, 4.0, 4.0, 4.0, 4.0),
                filters=("F200W",),
                pointing_error=0.12,
                roll_error=0.002,
                aberration=1.0 + 4.7e-5,
                saturated=2,
                pattern="IMAGING",
            ),
            Scene(
                "imaging-tiny",
                "four small dithered exposures with pointing errors, for tests",
                dithers=((-0.82, -0.55), (0.71, 0.42), (-0.37, 0.93), (0.58, -0.79)),
                rolls=(0.0, 0.0, 5.0, 5.0),
                size=256,
                filters=("F200W",),
                stars=900.0,
                galaxies=500.0,
                saturated=0,
                showpieces=0,
                pointing_error=0.12,
                roll_error=0.002,
                aberration=1.0 - 3.1e-5,
                effects=Effects(cosmic_rays=15.0),  # as many as in a longer exposure
                missed_rays=0.05,
                pattern="IMAGING",
            ),
            Scene(
                "mosaic",
                "two detectors with a gap between them, four dithers that close it",
                dithers=((-2.14, -4.36), (1.87, 4.02), (2.43, -3.71), (-1.66, 4.55)),
                filters=("F200W",),
                detectors=("NRCA1", "NRCA2"),
                instrument="NIRCAM",
                pointing_error=0.12,
                roll_error=0.002,
                aberration=1.0 + 2.6e-5,
                saturated=2,
                pattern="INTRAMODULE",
            ),
        )
    }
)


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the random numbers of one part of a simulation, independent of all others."""
    words = np.frombuffer(name.encode().ljust(-(-len(name) // 4) * 4), np.uint32)
    return np.random.Generator(np.random.SFC64([seed, *words.tolist()]))


def draw_catalog(
    scene: Scene,
    facts: InstrumentFacts,
    window: Window,
    *,
    star_peak: float,
    saturating_rate: float,
    brightness: float,
    seed: int,
) -> np.ndarray:
    """Draw the sources of a field, on the sky.

    Parameters
    ----------
    star_peak : float
        Fraction of a star's light in its brightest pixel.
    saturating_rate : float
        Rate that fills a pixel by the end of an integration [electron / s].
    brightness : float
        Factor on all fluxes and the sky.
    seed : int
        Decides the field; exposures with the same seed see the same one.

    Returns
    -------
    catalog : structured array
        See `CATALOG_COLUMNS`; x and y are NaN until `on_detector`.
    """
    rng = stream(seed, "catalog")
    margin = 1.15
    side = (window.rows * margin, window.columns * margin)
    area = side[0] * side[1] / 1e6
    faintest = 6 * facts.optics.sky * brightness
    nstars = scene.saturated + max(1, round(scene.stars * area)) if scene.stars else 0
    ngalaxies = scene.showpieces + round(scene.galaxies * area)
    c = np.zeros(nstars + ngalaxies, CATALOG_COLUMNS)
    c["id"] = np.arange(1, len(c) + 1)
    c["x"] = c["y"] = np.nan
    scale = facts.optics.pixel_scale
    east = rng.uniform(-0.5, 0.5, len(c)) * max(side) * scale
    north = rng.uniform(-0.5, 0.5, len(c)) * max(side) * scale

    stars, galaxies = c[:nstars], c[nstars:]
    stars["kind"] = b"STAR"
    # counts N(>F) ~ F^-0.55, cut where the faintest stars drown and the wings would cover all
    brightest = 12 * saturating_rate / star_peak
    flux = faintest * (rng.pareto(0.55, nstars) + 1)
    stars["flux"] = np.minimum(flux, brightest)
    k = min(scene.saturated, nstars)
    stars["flux"][:k] = saturating_rate / star_peak * np.exp(rng.uniform(0.3, 2.3, k))
    # what must be seen stands inside every dither
    for part in (slice(0, k), slice(nstars, nstars + scene.showpieces)):
        n = len(c[part])
        east[part] = rng.uniform(-0.36, 0.36, n) * min(side) * scale
        north[part] = rng.uniform(-0.36, 0.36, n) * min(side) * scale

    galaxies["kind"] = b"GALAXY"
    n = len(galaxies)
    galaxies["flux"] = np.minimum(faintest * 2.5 * (rng.pareto(0.8, n) + 1), faintest * 2000)
    growth = (galaxies["flux"] / faintest) ** 0.25
    galaxies["radius"] = np.clip(rng.lognormal(np.log(1.4), 0.4, n) * growth, 0.8, 14)
    galaxies["index"] = np.where(rng.random(n) < 0.75, 1.0, 4.0)
    galaxies["axis_ratio"] = rng.uniform(0.25, 1.0, n)
    galaxies["angle"] = rng.uniform(0, np.pi, n)
    show = galaxies[: scene.showpieces]
    m = len(show)
    show["radius"] = rng.uniform(16, 28, m) * min(1.0, min(window.shape) / 1000)
    show["index"] = 1.0
    show["axis_ratio"] = rng.uniform(0.45, 0.95, m)
    show["arms"] = 0.7 * rng.choice([-1, 1], m)
    surface = rng.uniform(3, 9, m) * facts.optics.sky * brightness
    show["flux"] = surface * 2 * np.pi * show["radius"] ** 2 * show["axis_ratio"]
    others = galaxies[scene.showpieces :]
    is_spiral = (others["radius"] > 5) & (others["index"] < 2)
    others["arms"] = np.where(is_spiral, 0.6, 0.0) * rng.choice([-1, 1], len(others))
    c["ra"], c["dec"] = deproject(east, north, scene.ra, scene.dec)
    return c


def on_detector(catalog: np.ndarray, pointing: Pointing) -> np.ndarray:
    """Return the catalog with x, y of one exposure; radii are in its pixels already."""
    out = catalog.copy()
    out["x"], out["y"] = pointing.pixels(catalog["ra"], catalog["dec"])
    return out
