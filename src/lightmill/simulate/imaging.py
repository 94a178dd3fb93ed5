"""Observe one field on the sky with several dithers, rolls, filters and detectors."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import ConfigurationError
from lightmill.simulate.detector import Detector
from lightmill.simulate.facts import InstrumentFacts, Window
from lightmill.simulate.fits_stream import FitsStream
from lightmill.simulate.focal_plane import FocalPlane, View
from lightmill.simulate.image_truth import write_image_truth
from lightmill.simulate.imaging_references import (
    Response,
    draw_response,
    write_imaging_references,
)
from lightmill.simulate.layout import Visit, write_uncal
from lightmill.simulate.made import LEVELS, Progress, SimulatedExposure
from lightmill.simulate.optics import render, star_image
from lightmill.simulate.pointing import project
from lightmill.simulate.poses import Pose, draw_poses
from lightmill.simulate.radiation import draw_events
from lightmill.simulate.rates import draw_rates, write_rate
from lightmill.simulate.readout import Pattern, Readout
from lightmill.simulate.references import write_references
from lightmill.simulate.scene import Scene
from lightmill.simulate.sources import draw_sky, seen

__all__ = ["ImagingObservation"]

_MARGIN = 6.0  # arcsec beyond what the exposures see that is filled with sources

_POINTING_COLUMNS = [
    ("exposure", "S64"),
    ("filter", "S12"),
    ("detector", "S12"),
    ("visit", "i4"),
    ("dither", "i4"),
    ("ra_true", "f8"),
    ("dec_true", "f8"),
    ("roll_true", "f8"),
    ("ra_said", "f8"),
    ("dec_said", "f8"),
    ("roll_said", "f8"),
    ("east", "f8"),
    ("north", "f8"),
    ("turn", "f8"),
    ("va_scale", "f8"),
]


class _Camera:
    """One detector of the observation: everything its exposures share."""

    def __init__(self, facts: InstrumentFacts, scene: Scene, seed: int) -> None:
        self.facts = facts
        self.window: Window = facts.window(scene.size)
        self.effects, self.seed = scene.effects, seed
        self.plane = FocalPlane.of(facts)
        self.reference = View.reference(self.plane, self.window)

    @functools.cached_property
    def detector(self) -> Detector:
        """The pixels: some hundred megabytes, drawn when they are first asked for."""
        return Detector.draw(self.facts, self.window, self.effects, self.seed)

    def behind(self, filter_name: str) -> FocalPlane:
        return dataclasses.replace(self.plane, shift=self.facts.filters[filter_name].shift)


class ImagingObservation:
    """An observation of a scene on the sky.

    Parameters
    ----------
    facts : InstrumentFacts
        The instrument.
    scene : Scene
        The field and how it is observed.
    seed : int
        Decides everything drawn at random.
    directory : Path
        Where the files go.
    level : {'uncal', 'rate'}
        Raw exposures, or count rates.
    brightness : float, optional
        Factor on the light, as `lightmill.simulate.observe` has it.
    progress : callable, optional
        Told (what is made, steps done, steps in all).

    Raises
    ------
    ConfigurationError
        If the scene's dithers and rolls do not fit each other, or the level is none.
    UnknownNameError
        If the instrument has no such filter or detector.
    """

    def __init__(
        self,
        facts: InstrumentFacts,
        scene: Scene,
        *,
        seed: int,
        directory: Path,
        level: str = "uncal",
        brightness: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        _check(scene, level)
        self.scene, self.seed, self.directory, self.level = scene, seed, directory, level
        self.progress = progress
        self.filters = scene.filters or (facts.own_filter,)
        for name in self.filters:
            facts.through(name)  # refuses one that the instrument does not have
        names = scene.detectors or (str(facts.header["DETECTOR"]),)
        self.cameras = [
            _Camera(facts.detector(name), scene, seed + 7919 * index)
            for index, name in enumerate(names)
        ]
        self.first = self.cameras[0]
        window = self.first.window
        self.pattern = Pattern(
            scene.nints, scene.ngroups, scene.nframes, scene.groupgap, window.frame_time
        )
        if brightness is None:
            brightness = facts.geometry.full_frame_time / window.frame_time
        self.brightness = brightness
        self.poses = list(
            draw_poses(
                scene,
                self.filters,
                references=[camera.reference for camera in self.cameras],
                turn=self.first.plane.turn,
                seconds=self.pattern.nints * self.pattern.integration_time,
                seed=seed,
            )
        )
        self.sky = self._draw_sky()

    def run(self, *, inverse_linearity: bool = False) -> list[SimulatedExposure]:
        """Make every exposure, one detector and filter after the other."""
        made: list[SimulatedExposure] = []
        pointing: list[tuple[Any, ...]] = []
        total = len(self.poses) * len(self.cameras)
        place = self.directory / f"jw{Visit.program}-o001_sky.fits"
        for camera in self.cameras:
            responses = {
                name: draw_response(
                    camera.facts.through(name),
                    camera.window,
                    camera.detector,
                    camera.behind(name),
                    self.seed,
                )
                for name in self.filters
            }
            references = self._references(camera, responses, inverse_linearity)
            for pose in self.poses:
                label = f"exposure {len(made) + 1} of {total}"
                facts = camera.facts.through(pose.filter_name)
                path, truth = self._expose(camera, facts, pose, responses[pose.filter_name], label)
                pointing.append(self._pointing_row(path, camera, pose))
                title = f"{self.scene.title}, {label}"
                own = references[pose.filter_name]
                made.append(SimulatedExposure(path, own, truth, title, place))
            del camera.detector
        self._write_sky(place, np.array(pointing, _POINTING_COLUMNS))
        return made

    def view(self, camera: _Camera, pose: Pose) -> View:
        """Return what a detector truly sees."""
        attitude = pose.true.at(*camera.reference)
        plane = camera.behind(pose.filter_name)
        return View(plane, attitude, camera.window, self.scene.aberration)

    def _draw_sky(self) -> np.ndarray:
        facts = self.first.facts
        scale = facts.optics.pixel_scale
        east, north = [], []
        for camera in self.cameras:
            rows, columns = camera.window.shape
            for pose in self.poses:
                x, y = np.array([0, columns, columns, 0]), np.array([0, 0, rows, rows])
                ra, dec = self.view(camera, pose).sky(x, y)
                offset = project(ra, dec, self.scene.ra, self.scene.dec)
                east.append(offset[0])
                north.append(offset[1])
        extent = 2 * max(np.abs(east).max(), np.abs(north).max()) + 2 * _MARGIN
        inner = min(min(camera.window.shape) for camera in self.cameras) * scale
        optics = {name: facts.through(name).optics for name in self.filters}
        reference = optics[self.filters[0]]
        well = facts.pixels.full_well * facts.pixels.gain
        per_jansky = reference.electrons_per_jansky
        sky = draw_sky(
            self.scene,
            extent=float(extent),
            inner=float(inner),
            scale=scale,
            filters={name: o.wavelength for name, o in optics.items()},
            faintest=6 * reference.sky * self.brightness / per_jansky,
            saturating=well
            / self.pattern.integration_time
            / star_image(reference).peak
            / per_jansky,
            seed=self.seed,
        )
        return sky[self._is_near(sky, scale)]

    def _is_near(self, sky: np.ndarray, scale: float) -> np.ndarray:
        """Say which sources an exposure shows, or their wings."""
        near = np.zeros(len(sky), bool)
        for camera in self.cameras:
            rows, columns = camera.window.shape
            for pose in self.poses:
                x, y = self.view(camera, pose).pixels(sky["ra"], sky["dec"])
                reach = 4 * sky["radius"] / scale + _MARGIN / scale
                with np.errstate(invalid="ignore"):
                    near |= (np.abs(x - columns / 2) < columns / 2 + reach) & (
                        np.abs(y - rows / 2) < rows / 2 + reach
                    )
        return near

    def _references(
        self, camera: _Camera, responses: dict[str, Response], inverse_linearity: bool
    ) -> dict[str, dict[str, Path]]:
        facts = camera.facts.through(self.filters[0])
        shared: dict[str, Path] = {}
        if self.level == "uncal":
            shared = write_references(
                self.directory,
                facts,
                camera.window,
                camera.detector,
                self.scene.effects,
                self.pattern,
                inverse_linearity=inverse_linearity,
                progress=lambda kind: self._tell(f"reference {kind}", 0, 1),
            )
        self._tell("references of images", 0, 1)
        stars = {
            name: star_image(camera.facts.through(name).optics) for name in camera.facts.filters
        }
        own = write_imaging_references(
            self.directory,
            facts,
            camera.window,
            camera.detector,
            responses,
            stars,
            seed=self.seed,
        )
        return {name: shared | files for name, files in own.items()}

    def _expose(
        self, camera: _Camera, facts: InstrumentFacts, pose: Pose, response: Response, label: str
    ) -> tuple[Path, Path]:
        scene, pattern = self.scene, self.pattern
        view = self.view(camera, pose)
        catalog = seen(self.sky, view, pose.filter_name, facts.optics.electrons_per_jansky)
        # an even sky fills a larger pixel more
        sky = np.float32(facts.optics.sky * self.brightness) * response.area
        light = render(catalog, star_image(facts.optics), sky)
        light *= response.efficiency
        said = view.reported(pose.said.at(*camera.reference))
        visit = Visit(
            pose.number,
            pose.count,
            pose.start,
            scene.dithers[pose.index],
            (scene.ra, scene.dec),
            scene.name.upper(),
            visit=pose.visit,
            activity=pose.activity,
            dither=(pose.index + 1, len(scene.dithers)),
            keywords={
                "PATTTYPE": scene.pattern,
                "NEXPOSUR": sum(one.visit == pose.visit for one in self.poses),
            },
        )
        seed = self.seed * 1000 + self.poses.index(pose) + 500 * self.cameras.index(camera)
        path = self.directory / visit.file_name(facts, self.level)
        history = [
            f"Simulated scene {scene.name!r}, seed {self.seed}; not an observation.",
            f"Light multiplied by {self.brightness:.6g}.",
        ]
        truth = path.with_name(visit.file_name(facts, "truth"))
        if self.level == "rate":
            rates = draw_rates(
                facts,
                camera.detector,
                scene.effects,
                light,
                pattern,
                missed=scene.missed_rays,
                seed=seed,
            )
            write_rate(path, facts, camera.window, pattern, said, visit, rates, history=history)
            tables = {"RAYS": rates.rays}
            self._tell(label, 1, 1)
        else:
            events = draw_events(
                facts,
                camera.detector,
                scene.effects,
                frame_time=pattern.frame_time,
                nints=pattern.nints,
                ngroups=pattern.ngroups,
                nframes=pattern.nframes,
                groupgap=pattern.groupgap,
                seed=seed,
            )
            readout = Readout(
                facts,
                camera.window,
                camera.detector,
                scene.effects,
                light,
                events,
                pattern,
                seed,
            )
            write_uncal(
                path,
                facts,
                camera.window,
                pattern,
                said,
                visit,
                readout,
                history=history,
                progress=lambda done, total: self._tell(label, done, total),
            )
            tables = {
                "JUMPS": events.jumps,
                "SNOWBALL": events.snowballs,
                "SHOWER": events.showers,
            }
        write_image_truth(
            truth,
            facts,
            camera.detector,
            response,
            light,
            tables | {"CATALOG": catalog},
            {"SCENE": scene.name, "SEED": self.seed, "BRIGHT": self.brightness, **_times(pattern)},
        )
        return path, truth

    def _pointing_row(self, path: Path, camera: _Camera, pose: Pose) -> tuple[Any, ...]:
        true, said = pose.true.at(*camera.reference), pose.said.at(*camera.reference)
        east, north = project(true.ra, true.dec, said.ra, said.dec)
        return (
            path.name.encode(),
            pose.filter_name.encode(),
            str(camera.facts.header["DETECTOR"]).encode(),
            pose.visit,
            pose.index + 1,
            true.ra,
            true.dec,
            true.roll,
            said.ra,
            said.dec,
            said.roll,
            east,
            north,
            (true.roll - said.roll + 180) % 360 - 180,
            self.scene.aberration,
        )

    def _write_sky(self, path: Path, pointing: np.ndarray) -> None:
        keywords = {
            "SCENE": self.scene.name,
            "SEED": self.seed,
            "BRIGHT": self.brightness,
            "RA": self.scene.ra,
            "DEC": self.scene.dec,
        }
        with FitsStream(path, keywords) as file:
            file.table("SOURCES", self.sky)
            file.table("POINTING", pointing)

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.progress:
            self.progress(what, done, total)


def _times(pattern: Pattern) -> dict[str, float]:
    return {
        "TFRAME": pattern.frame_time,
        "TGROUP": pattern.group_time,
        "NINTS": pattern.nints,
        "NGROUPS": pattern.ngroups,
    }


def _check(scene: Scene, level: str) -> None:
    if level not in LEVELS:
        raise ConfigurationError(
            "simulations are not made in this state",
            place="simulate",
            found=level,
            expected=" or ".join(LEVELS),
        )
    if scene.rolls and len(scene.rolls) != len(scene.dithers):
        raise ConfigurationError(
            "each dither needs its roll, or none has one",
            place=f"scene {scene.name!r}",
            found=f"{len(scene.dithers)} dithers, {len(scene.rolls)} rolls",
        )
    if not scene.dithers:
        raise ConfigurationError(
            "an observation needs an exposure", place=f"scene {scene.name!r}", found="no dithers"
        )
