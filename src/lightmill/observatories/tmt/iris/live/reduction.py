"""What is done with the frame of an exposure: saved, and reduced with the pipeline of stage 2."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lightmill import instrument, models
from lightmill.errors import LightmillError
from lightmill.kernels import linearity
from lightmill.kernels.readout import Frame
from lightmill.models import (
    Exposures,
    RampModel,
    RateModel,
    Region,
)
from lightmill.models.exposures import Member
from lightmill.observatories.tmt import OBSERVATORY
from lightmill.observatories.tmt.iris import INSTRUMENT
from lightmill.observatories.tmt.iris.live.reads import Exposure
from lightmill.observatories.tmt.iris.steps.live_readout import SampleLive
from lightmill.observatories.tmt.iris.steps.nonlinearity import powers
from lightmill.pipeline import Options, Outcome, Step, run
from lightmill.pipeline.opening import Opener
from lightmill.pipeline.pipeline import pipeline_class
from lightmill.pipeline.provenance import Record

__all__ = ["Detectors", "Planes", "Reducer", "know"]

SPECTRA = ("SLICER", "LENSLET")  # INSTMODE of the spectrograph
_CORRECTED = (
    "dq_init",
    "saturation",
    "nonlincorr",
)  # what the readout does of the pipeline of reads


class Planes(NamedTuple):
    """What the readout needs to know of each pixel; None where nothing is known."""

    dq: np.ndarray | None = None
    saturation: np.ndarray | float | None = None
    coeffs: np.ndarray | None = None


@dataclass(frozen=True)
class Detectors:
    """Facts of the detectors, where the headers do not say them."""

    gain: float = field(default_factory=lambda: float(INSTRUMENT.facts["gain"]))
    read_noise: float = field(default_factory=lambda: float(INSTRUMENT.facts["read_noise"]))
    read_time: float = field(default_factory=lambda: float(INSTRUMENT.facts["read_time"]))


class Reducer:
    """Frames to products: those of the imager to images, those of the spectrograph to cubes.

    Parameters
    ----------
    output_dir : Path
    crds_path, context : optional
        Where references are found; see `Options`.
    overrides : mapping, optional
        Type → file of a reference.
    skies : sequence of Path
        Raw frames of the sky, to begin with; later ones take their place.
    nskies : int
        Frames of the sky that are used, the last of each detector and filter.
    threads : int
    """

    def __init__(
        self,
        output_dir: Path,
        *,
        crds_path: Path | str | None = None,
        context: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        skies: Sequence[Path] = (),
        nskies: int = 1,
        threads: int = 0,
    ) -> None:
        know()
        self._nskies = nskies
        self._options: dict[str, Any] = {
            "crds_path": crds_path, "context": context, "output_dir": Path(output_dir),
            "threads": threads,
        }  # fmt: skip
        self._overrides = dict(overrides or {})
        self._skies: dict[tuple[str, str], list[Any]] = {}
        for path in skies:
            self.remember(path)

    def template(self, exposure: Exposure) -> RampModel:
        """Return the model of an exposure, with its metadata and no pixels in memory.

        Raises
        ------
        LightmillError
            If its keywords break the schema.
        """
        from astropy.io import fits

        header = fits.Header({**exposure.cards, "DATAMODL": "TMTRampModel"})
        header.update({"NGROUPS": exposure.reads, "NINTS": exposure.ramps,
                       "DETECTOR": exposure.detector})  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="lightmill-") as folder:
            path = Path(folder) / f"{exposure.name}_uncal.fits"
            pixel = fits.ImageHDU(np.zeros((1, 1, 1, 1), np.uint16), name="SCI")
            fits.HDUList([fits.PrimaryHDU(header=header), pixel]).writeto(path)
            meta = models.open(path).meta
        nothing = np.broadcast_to(np.float32(0), (1, 1, *exposure.shape))
        template = RampModel(meta=meta, data=nothing)
        template.meta.update({"filename": f"{exposure.name}_uncal.fits"})
        return template

    def planes(self, template: RampModel) -> Planes:
        """Return what the readout needs: flags, saturation, linearity of the pixels.

        Raises
        ------
        LightmillError
            If a reference is missing or does not fit.
        """
        pipeline = self._pipeline("iris_rop")
        opener = Opener(Options(**self._options, overrides=dict(self._overrides)), Record())
        steps = [(name, pipeline.step(name)) for name in _CORRECTED]
        found: dict[str, Any] = {}
        shape = template.data.shape[-2:]
        for name, step in steps:
            opener.select(step, template)
            stage = opener.stage(name, step, template)
            if stage is None:
                continue
            for reftype, reference in stage.references.items():
                if reference is not None:
                    dy, dx = stage.offsets.get(reftype, (0, 0))
                    part = Region(dy, dy + shape[0], dx, dx + shape[1])
                    found[reftype] = reference.cut(part)
        return _planes(found, pipeline)

    def sample(
        self,
        template: RampModel,
        frame: Frame,
        notes: Sequence[str],
        *,
        saved: bool,
        **parameters: Any,
    ) -> Outcome:
        """Make the raw frame of an exposure.

        Parameters
        ----------
        template : RampModel
        frame : Frame
        notes : sequence of str
            For its history.
        saved : bool
            Save it, too.
        **parameters
            Of `SampleLive`.

        Returns
        -------
        outcome : Outcome
            With the model.

        Raises
        ------
        LightmillError
            If it cannot be written.
        """
        step = SampleLive(**parameters).given(frame, notes)
        step.configure({"suffix": "rop"}, "live")
        return run(step, template, self._with(step), save_results=saved)

    def reduce(self, raw: RateModel) -> Outcome:
        """Reduce a raw frame, with the frames of the sky that are known.

        Parameters
        ----------
        raw : RateModel

        Returns
        -------
        outcome : Outcome
            With the model.

        Raises
        ------
        LightmillError
            If it cannot be reduced or written.
        """
        stem = str(raw.meta.filename).removesuffix(".fits").removesuffix("_uncal")
        if raw.meta.get("instrument.mode") in SPECTRA:
            pipeline = self._pipeline("iris_ifs2")
            return run(pipeline, raw, self._with(pipeline), save_results=True)
        members = [Member(raw, "science", f"{stem}_rop.fits")]
        members += [Member(sky, "background", sky.path.name) for sky in self.skies(raw)]
        together = Exposures(tuple(members), stem, {}, None)
        pipeline = self._pipeline("iris_image2")
        return run(pipeline, together, self._with(pipeline), save_results=True)

    def rehearse(self, template: RampModel, frame: Frame, folder: Path) -> None:
        """Sample and reduce a frame into a folder of its own: the first that counts is then fast.

        Parameters
        ----------
        template : RampModel
        frame : Frame
        folder : Path

        Raises
        ------
        LightmillError
            If it cannot be reduced.
        """
        kept, self._options = self._options, {**self._options, "output_dir": folder}
        try:
            self.reduce(self.sample(template, frame, (), saved=True).model)
        finally:
            self._options = kept

    def skies(self, raw: RateModel) -> list[Any]:
        """Return the frames of the sky that fit a frame."""
        return list(self._skies.get(_key(raw), ()))

    def remember(self, path: Path) -> None:
        """Use a raw frame of the sky for the frames to come."""
        sky = models.open(path)
        kept = self._skies.setdefault(_key(sky), [])
        kept.append(sky)
        del kept[: -self._nskies]

    def _with(self, step: Step) -> Options:
        """Return the options of a run; overrides of references it does not take are left out."""
        steps = getattr(step, "_steps", {step.name: step}).values()
        wanted = {reftype for one in steps for reftype in one.references}
        overrides = {name: one for name, one in self._overrides.items() if name in wanted}
        return Options(**self._options, overrides=overrides)

    def _pipeline(self, name: str) -> Any:
        path = INSTRUMENT.pipeline(name)
        if path is None:
            raise LightmillError(f"there is no pipeline {name}", place=INSTRUMENT.home)
        pipeline = pipeline_class(path)()
        for step_name, step in pipeline.all_steps().items():
            step.configure(INSTRUMENT.parameters(step_name), f"{INSTRUMENT.name}: {step_name}")
        return pipeline


def know() -> None:
    """Make the observatory's keywords and the steps of its pipelines known to this process."""
    import importlib

    instrument.register_observatory(OBSERVATORY)
    instrument.register(INSTRUMENT)
    models.register_overlay(OBSERVATORY.name, OBSERVATORY.home)
    for package in ("lightmill.detector", "lightmill.imaging", "lightmill.spectroscopy"):
        importlib.import_module(package)


def _planes(found: Mapping[str, Any], pipeline: Any) -> Planes:
    """Return the planes of references as the readout takes them."""
    dq = np.array(found["mask"].dq, np.uint32) if "mask" in found else None
    level: np.ndarray | float | None = None
    if "saturation" in found:
        level = np.asarray(found["saturation"].data, np.float32)
        if level.min() == level.max():
            level = float(level.flat[0])
    coeffs = None
    if "nonlincoeff" in found:
        reference = found["nonlincoeff"]
        given = np.asarray(reference.array("data"), np.float32)
        while len(given) > 2 and not given[-1].any():
            given = given[:-1]  # a power that nobody measured costs time with every read
        factor = pipeline.step("nonlincorr").parameters.coefficients == "factor"
        flags = reference.dq if reference.has("dq") else np.zeros(given.shape[-2:], np.uint32)
        coeffs, flags = linearity.prepare(powers(given) if factor else given, flags)
        dq = flags if dq is None else dq | flags
    return Planes(dq, level, coeffs)


def _key(model: RateModel) -> tuple[str, str]:
    return str(model.meta.get("instrument.detector")), str(model.meta.get("instrument.filter"))
