"""Observe one field on the sky with several dithers, rolls, filters and detectors."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import ConfigurationError
from lightmill.simulate.detector import Detector
from lightmill.simulate.facts import InstrumentFacts, Window
from lightmill.simulate.fits_stream import FitsStream
from lightmill.simulate.focal_plane import Attitude, FocalPlane, View
from lightmill.simulate.imaging_references import (
    Response,
    draw_response,
    write_imaging_references,
)
from lightmill.simulate.layout import Visit, write_uncal
from lightmill.simulate.made import CLASS_BITS, LEVELS, Progress, SimulatedExposure
from lightmill.simulate.optics import render, star_image
from lightmill.simulate.pointing import project
from lightmill.simulate.radiation import draw_events
from lightmill.simulate.rates import draw_rates, write_rate
from lightmill.simulate.readout import Pattern, Readout
from lightmill.simulate.references import write_references
from lightmill.simulate.scene import Scene, stream
from lightmill.simulate.sources import draw_sky, seen

__all__ = ["ImagingObservation", "Pose"]

_START = 60735.0  # MJD, 2025-03-01
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
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


@dataclass(frozen=True)
class Pose:
    """One exposure of the telescope, which all detectors take part in.

    Attributes
    ----------
    filter_name : str
        The filter.
    index : int
        Number of the dither, from 0.
    number, count : int
        Number of the exposure in its visit and filter, from 1, and how many there are.
    visit : int
        Number of the visit, from 1.
    activity : str
        Two characters that count the filters of a visit.
    true, said : Attitude
        Where the telescope points, and where headers say it does.
    start : float
        [MJD].
    """

    filter_name: str
    index: int
    number: int
    count: int
    visit: int
    activity: str
    true: Attitude
    said: Attitude
    start: float


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
        self.poses = list(self._poses())
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

    def _poses(self) -> Iterator[Pose]:
        scene = self.scene
        rolls = scene.rolls or (0.0,) * len(scene.dithers)
        visits = np.cumsum([1, *(a != b for a, b in itertools.pairwise(rolls))])
        v2, v3 = np.mean([camera.reference for camera in self.cameras], axis=0)
        turn = self.first.plane.turn
        seconds = self.pattern.nints * self.pattern.integration_time + 120
        order = sorted(
            (int(visits[i]), k, i) for k in range(len(self.filters)) for i in range(len(rolls))
        )
        for count, (visit, k, i) in enumerate(order):
            said = Attitude(scene.ra, scene.dec, (scene.roll + rolls[i]) % 360, v2, v3)
            # the telescope moves along the pixel axes
            step = turn @ np.array(scene.dithers[i])
            ra, dec = said.sky(v2 + step[0], v3 + step[1])
            said = dataclasses.replace(said, ra=float(ra), dec=float(dec))
            rng = stream(self.seed, f"pointing {self.filters[k]} {i}")
            east, north = rng.normal(0, scene.pointing_error / np.sqrt(2), 2)
            off = rng.normal(0, scene.roll_error)
            same = [j for j in range(len(rolls)) if visits[j] == visit]
            yield Pose(
                self.filters[k],
                i,
                same.index(i) + 1,
                len(same),
                visit,
                _activity(k),
                said.moved(east, north, off) if scene.pointing_error or scene.roll_error else said,
                said,
                _START + count * seconds / 86400,
            )

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
            keywords={"PATTTYPE": scene.pattern},
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
        self._write_truth(truth, camera, facts, light, response, tables | {"CATALOG": catalog})
        return path, truth

    def _write_truth(
        self,
        path: Path,
        camera: _Camera,
        facts: InstrumentFacts,
        light: np.ndarray,
        response: Response,
        tables: dict[str, np.ndarray],
    ) -> None:
        d, p = camera.detector, self.pattern
        classes = np.zeros(light.shape, np.uint8)
        classes[d.is_reference] |= CLASS_BITS["reference"]
        for name in ("dead", "hot", "no_linearity", "no_saturation", "bad_gain"):
            classes[d.marks[name]] |= CLASS_BITS[name]
        classes[light > 20 * facts.optics.sky * self.brightness] |= CLASS_BITS["bright"]
        keywords = {
            "SCENE": self.scene.name,
            "SEED": self.seed,
            "BRIGHT": self.brightness,
            "TFRAME": p.frame_time,
            "TGROUP": p.group_time,
            "NINTS": p.nints,
            "NGROUPS": p.ngroups,
            "SKY": (facts.optics.sky * self.brightness, "Sky in a nominal pixel [electron/s]"),
            "PERJY": (facts.optics.electrons_per_jansky, "Electrons/s of one jansky"),
        } | {f"CLASS{bit}": name for name, bit in CLASS_BITS.items()}
        with FitsStream(path, keywords) as file:
            file.image("RATE", light / d.gain, {"BUNIT": "DN/s"})
            file.image("DARK", d.dark / d.gain, {"BUNIT": "DN/s"})
            file.image("FSAT", d.full_well, {"BUNIT": "DN"})
            file.image("BIAS", d.bias, {"BUNIT": "DN"})
            file.image("GAIN", d.gain, {"BUNIT": "electron/DN"})
            file.image("CDS", np.sqrt(np.float32(2)) * d.read_noise, {"BUNIT": "DN"})
            file.image("QE", response.efficiency)
            file.image("AREA", response.area)
            file.image("CLASS", classes)
            for name, rows in tables.items():
                file.table(name, rows)

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


def _activity(k: int) -> str:
    number = 2 * k + 1
    return _DIGITS[number // 36] + _DIGITS[number % 36]


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
