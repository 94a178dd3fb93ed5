"""Simulate exposures: raw files, the references that undo them, and the truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lightmill.errors import ConfigurationError, OutputError
from lightmill.simulate.detector import Detector
from lightmill.simulate.facts import InstrumentFacts
from lightmill.simulate.fits_stream import FitsStream
from lightmill.simulate.imaging import ImagingObservation
from lightmill.simulate.layout import Visit, write_uncal
from lightmill.simulate.made import CLASS_BITS, Progress, SimulatedExposure
from lightmill.simulate.optics import render, star_image
from lightmill.simulate.pointing import Pointing
from lightmill.simulate.radiation import Events, draw_events
from lightmill.simulate.readout import Pattern, Readout
from lightmill.simulate.references import write_references
from lightmill.simulate.scene import Effects, Scene, draw_catalog, on_detector

__all__ = ["CLASS_BITS", "SimulatedExposure", "exposure", "observe"]

_START = 60735.0  # MJD, 2025-03-01


def exposure(
    facts: InstrumentFacts,
    scene: Scene | str,
    *,
    seed: int,
    directory: str | Path,
    nints: int | None = None,
    ngroups: int | None = None,
    nframes: int | None = None,
    groupgap: int | None = None,
    size: str | int | tuple[int, int] | None = None,
    effects: Effects | None = None,
    brightness: float | None = None,
    inverse_linearity: bool = False,
    level: str = "uncal",
    progress: Progress | None = None,
) -> SimulatedExposure:
    """Simulate the first exposure of a scene; see `observe` for all of them.

    Parameters
    ----------
    facts : InstrumentFacts
        The instrument.
    scene : Scene or str
        The field, or the name of one of `SCENES`.
    seed : int
        Decides everything drawn at random: field, detector and noise.
    directory : path
        Where the files go; made if need be.
    nints, ngroups, nframes, groupgap, size, effects : optional
        Instead of the scene's own.
    brightness : float, optional
        Factor on the light. By default what a shorter frame than the whole
        detector's asks for, as bright fields are read with small windows.
    inverse_linearity : bool
        Add inverse coefficients to the linearity reference.
    level : {'uncal', 'rate'}
        A raw exposure, or count rates; see `observe`.
    progress : callable, optional
        Told (what is made, steps done, steps in all).
    """
    return observe(
        facts,
        scene,
        seed=seed,
        directory=directory,
        nints=nints,
        ngroups=ngroups,
        nframes=nframes,
        groupgap=groupgap,
        size=size,
        effects=effects,
        brightness=brightness,
        inverse_linearity=inverse_linearity,
        level=level,
        progress=progress,
        dithers=None,
        first_only=True,
    )[0]


def observe(
    facts: InstrumentFacts,
    scene: Scene | str,
    *,
    seed: int,
    directory: str | Path,
    dithers: Sequence[tuple[float, float]] | None = None,
    brightness: float | None = None,
    inverse_linearity: bool = False,
    progress: Progress | None = None,
    first_only: bool = False,
    level: str = "uncal",
    **changes: object,
) -> list[SimulatedExposure]:
    """Simulate every exposure of a scene: each dither, through each filter, by each detector.

    A scene with filters is a field on the sky, seen through the distortion of the telescope;
    any scene is, whose count rates are asked for.

    Parameters
    ----------
    dithers : sequence of (dx, dy), optional
        Moves of the telescope, one per exposure [arcsec], instead of the scene's.
    level : {'uncal', 'rate'}
        Raw exposures, or the count rates that the first stage of calibration would make of them,
        directly and much faster: Poisson and read noise, flags, some cosmic rays missed.
    **changes
        Any other field of the scene, such as nints, ngroups, size, effects, filters, detectors,
        pointing_error.

    Returns
    -------
    exposures : list of SimulatedExposure
        One per dither, in their order: the files written, and the scene they show. With several
        detectors and filters: for each detector, in order of time.
    """
    scene = Scene.named(scene) if isinstance(scene, str) else scene
    if dithers is not None:
        changes["dithers"] = tuple(dithers)
    if first_only:
        changes |= {"dithers": scene.dithers[:1], "rolls": scene.rolls[:1]}
    given = {k: v for k, v in changes.items() if v is not None}
    scene = dataclasses.replace(scene, **given)  # type: ignore[arg-type]  # names are checked by replace
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise OutputError(
            "the simulation has nowhere to write", place=directory, found=problem
        ) from problem
    if scene.filters or level != "uncal":
        return ImagingObservation(
            facts,
            scene,
            seed=seed,
            directory=directory,
            level=level,
            brightness=brightness,
            progress=progress,
        ).run(inverse_linearity=inverse_linearity)
    return _Simulation(facts, scene, seed, brightness, directory, progress).run(inverse_linearity)


class _Simulation:
    """Everything the exposures of one scene share."""

    def __init__(
        self,
        facts: InstrumentFacts,
        scene: Scene,
        seed: int,
        brightness: float | None,
        directory: Path,
        progress: Progress | None,
    ) -> None:
        self.facts, self.scene, self.seed, self.directory = facts, scene, seed, directory
        self.window = facts.window(scene.size)
        self.pattern = Pattern(
            scene.nints, scene.ngroups, scene.nframes, scene.groupgap, self.window.frame_time
        )
        _check(self.pattern)
        self.count = len(scene.dithers)
        self.progress = progress
        if brightness is None:
            brightness = facts.geometry.full_frame_time / self.window.frame_time
        self.brightness = brightness
        self.detector = Detector.draw(facts, self.window, scene.effects, seed)
        self.star = star_image(facts.optics)
        well = facts.pixels.full_well * facts.pixels.gain
        self.catalog = draw_catalog(
            scene,
            facts,
            self.window,
            star_peak=self.star.peak,
            saturating_rate=well / self.pattern.integration_time,
            brightness=brightness,
            seed=seed,
        )

    def run(self, inverse_linearity: bool) -> list[SimulatedExposure]:
        references = write_references(
            self.directory,
            self.facts,
            self.window,
            self.detector,
            self.scene.effects,
            self.pattern,
            inverse_linearity=inverse_linearity,
            progress=lambda kind: self._tell(f"reference {kind}", 0, 1),
        )
        return [self._expose(i, references) for i in range(self.count)]

    def _expose(self, index: int, references: dict[str, Path]) -> SimulatedExposure:
        facts, scene, window = self.facts, self.scene, self.window
        offset = scene.dithers[index]
        detector_size = (facts.geometry.rows, facts.geometry.columns)
        target = (scene.ra, scene.dec)
        pointing = Pointing.of_window(
            facts.optics, window, detector_size, target, scene.roll, offset
        )
        start = _START + index * (self.pattern.nints * self.pattern.integration_time + 120) / 86400
        visit = Visit(
            index + 1, self.count, start, offset, target, scene.name.upper(),
            keywords={"NEXPOSUR": self.count},
        )  # fmt: skip
        catalog = on_detector(self.catalog, pointing)
        rate = render(catalog, self.star, self._sky()) * self.detector.efficiency
        seed = self.seed * 1000 + index
        p = self.pattern
        events = draw_events(
            facts,
            self.detector,
            scene.effects,
            frame_time=p.frame_time,
            nints=p.nints,
            ngroups=p.ngroups,
            nframes=p.nframes,
            groupgap=p.groupgap,
            seed=seed,
        )
        readout = Readout(facts, window, self.detector, scene.effects, rate, events, p, seed)
        uncal = self.directory / visit.file_name(facts)
        label = f"exposure {index + 1} of {self.count}"
        write_uncal(
            uncal,
            facts,
            window,
            p,
            pointing,
            visit,
            readout,
            history=[
                f"Simulated scene {scene.name!r}, seed {self.seed}; not an observation.",
                f"Light multiplied by {self.brightness:.6g}.",
            ],
            progress=lambda done, total: self._tell(label, done, total),
        )
        truth = uncal.with_name(uncal.name.replace("_uncal", "_truth"))
        self._write_truth(truth, rate, events, catalog)
        return SimulatedExposure(uncal, references, truth, f"{scene.title}, {label}")

    def _sky(self) -> np.ndarray:
        ny, nx = self.window.shape
        gy, gx = self.scene.gradient
        y = (np.arange(ny, dtype=np.float32) / ny - 0.5)[:, None]
        x = (np.arange(nx, dtype=np.float32) / nx - 0.5)[None, :]
        level = self.facts.optics.sky * self.brightness
        return np.float32(level) * (1 + np.float32(gy) * y + np.float32(gx) * x)

    def _write_truth(
        self, path: Path, rate: np.ndarray, events: Events, catalog: np.ndarray
    ) -> None:
        d, p = self.detector, self.pattern
        shown = rate * np.float32(1)
        shown[d.is_reference] = 0
        keywords = {
            "SCENE": self.scene.name,
            "SEED": self.seed,
            "BRIGHT": self.brightness,
            "TFRAME": p.frame_time,
            "TGROUP": p.group_time,
            "NINTS": p.nints,
            "NGROUPS": p.ngroups,
        }
        keywords |= {f"CLASS{bit}": name for name, bit in CLASS_BITS.items()}
        noise = np.sqrt(2, dtype=np.float32) * d.read_noise
        with FitsStream(path, keywords) as file:
            file.image("RATE", shown / d.gain, {"BUNIT": "DN/s"})
            file.image("DARK", d.dark / d.gain, {"BUNIT": "DN/s"})
            file.image("FSAT", d.full_well, {"BUNIT": "DN"})
            file.image("BIAS", d.bias, {"BUNIT": "DN"})
            file.image("GAIN", d.gain, {"BUNIT": "electron/DN"})
            file.image("CDS", noise, {"BUNIT": "DN"})
            file.image("CLASS", self._classes(rate, events))
            file.table("JUMPS", events.jumps)
            file.table("SNOWBALL", events.snowballs)
            file.table("SHOWER", events.showers)
            file.table("CATALOG", catalog)

    def _classes(self, rate: np.ndarray, events: Events) -> np.ndarray:
        d = self.detector
        out = np.zeros(rate.shape, np.uint8)
        out[d.is_reference] |= CLASS_BITS["reference"]
        for name in ("dead", "hot", "no_linearity", "no_saturation", "bad_gain"):
            out[d.marks[name]] |= CLASS_BITS[name]
        out[rate > 20 * self.facts.optics.sky * self.brightness] |= CLASS_BITS["bright"]
        large = events.jumps[events.jumps["kind"] >= 2]
        out[large["y"], large["x"]] |= CLASS_BITS["large_event"]
        return out

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.progress:
            self.progress(what, done, total)


def _check(pattern: Pattern) -> None:
    limits = {"nints": 1, "ngroups": 1, "nframes": 1, "groupgap": 0}
    for name, least in limits.items():
        value = getattr(pattern, name)
        if value < least:
            raise ConfigurationError(
                f"an exposure cannot have so few {name}",
                place="simulate",
                found=value,
                expected=f"at least {least}",
            )
