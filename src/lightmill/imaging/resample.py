"""Put exposures together on one grid: the mosaic of a field, or one exposure without distortion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lightmill.errors import DataError
from lightmill.imaging.drizzle_inputs import (
    COMPONENTS,
    bad_bits,
    check_alike,
    orientation_in,
    sheet_of,
    sky_system,
    together,
)
from lightmill.imaging.drizzle_table import drizzle_settings
from lightmill.imaging.drizzling import STRIPE_PIXELS, Recipe, combine
from lightmill.imaging.header_table import header_table
from lightmill.imaging.mosaic_flags import mosaic_flags
from lightmill.imaging.mosaic_frame import (
    MAXIMUM_MEGAPIXELS,
    Frame,
    corners_of,
    cover,
    given_frame,
    keywords_of,
    outline,
)
from lightmill.imaging.mosaic_header import blended, mosaic_of
from lightmill.models import CalModel, DrizParsModel, Exposures, ResampledModel, content
from lightmill.models.exposures import group_of
from lightmill.pipeline import Beside, SideProduct, Skipped, Step, param
from lightmill.pipeline.spool import IN_MEMORY_BYTES, Spool

__all__ = ["Resample", "fill_value", "frame_for"]

BAD = "~DO_NOT_USE+NON_SCIENCE"
KERNELS = Literal["square", "gaussian", "point", "turbo", "lanczos2", "lanczos3"]


def fill_value(text: str) -> float:
    """Return the value of pixels that got nothing; INDEF stands for "not a number"."""
    return float("nan") if text.strip().upper() in {"INDEF", "NAN"} else float(text)


def check_fill(text: str) -> str | None:
    """Return what was expected where a text is no value to fill with."""
    try:
        fill_value(text)
    except ValueError:
        return "a number, NAN or INDEF"
    return None


def check_pair(pair: Sequence[float] | None) -> str | None:
    """Return what was expected where a list does not hold two numbers."""
    return None if pair is None or len(pair) == 2 else "two numbers, x before y"


def frame_for(
    models: Sequence[Any],
    names: Sequence[str],
    **choices: Any,
) -> Frame:
    """Return the grid that covers exposures; choices are those of `mosaic_frame.cover`."""
    systems = [sky_system(model, name) for model, name in zip(models, names, strict=True)]
    shapes = [model.array("data").shape for model in models]
    orientation, point = orientation_in(models[0])
    return cover(
        [corners_of(wcs, shape) for wcs, shape in zip(systems, shapes, strict=True)],
        systems[0],
        shapes[0],
        orientation=orientation,
        reference_point=point,
        place=together(names),
        **choices,
    )


class Resample(Step):
    """Put exposures together on one grid by drizzling, with weights and errors."""

    name = "resample"
    reads, writes = (Exposures, CalModel), ResampledModel
    references = {"drizpars": DrizParsModel}
    optional = frozenset({"drizpars"})
    extensions = frozenset({"beside", "exposure_types", "maximum_megapixels", "use_drizpars"})

    @dataclass(frozen=True)
    class Parameters:
        pixfrac: float = param(
            1.0, "side of the drop over that of the pixel it falls from", ge=0, le=1
        )
        kernel: KERNELS = param(
            "square", "shape of the drop; gaussian and lanczos ones do not conserve flux exactly"
        )
        fillval: str = param("NAN", "value of pixels that got nothing", check=check_fill)
        weight_type: Literal["ivm", "exptime"] | None = param(
            "exptime",
            "weight of a pixel: exposure time, inverse of its read-noise variance, or none",
        )
        output_shape: list[int] | None = param(
            None, "columns and rows of the mosaic", ge=2, unit="pixel", check=check_pair
        )
        crpix: list[float] | None = param(
            None, "where the tangent point lies, x and y from 0", unit="pixel", check=check_pair
        )
        crval: list[float] | None = param(
            None, "right ascension and declination of the tangent point", unit="deg",
            check=check_pair,
        )  # fmt: skip
        rotation: float | None = param(
            None, "position angle of the y axis; that of the first exposure by default", unit="deg"
        )
        pixel_scale_ratio: float = param(
            1.0, "side of a pixel over that of the first exposure", gt=0
        )
        pixel_scale: float | None = param(None, "side of a pixel instead", gt=0, unit="arcsec")
        output_wcs: str | None = param(
            None, "file with the world coordinate system of the mosaic, under the name wcs"
        )
        single: bool = param(False, "each exposure on a grid of its own: not available")
        blendheaders: bool = param(
            True, "blend the metadata of all exposures, and keep those of each in a table"
        )
        in_memory: bool = param(
            True, "keep the mosaic in memory, unless it is large; else in a scratch file"
        )
        enable_ctx: bool = param(True, "make the image of which exposures contribute")
        enable_err: bool = param(True, "propagate the errors")
        report_var: bool = param(True, "keep the variances, by component")
        propagate_dq: bool = param(
            False, "give each pixel of the mosaic the flags of all pixels that contribute to it"
        )
        pixmap_stepsize: float = param(
            1.0, "accepted for the sake of old files: positions are always interpolated to 1e-4 "
            "pixel", ge=0, unit="pixel",
        )  # fmt: skip
        pixmap_order: int = param(1, "accepted for the sake of old files", choices=(1, 3))
        beside: bool = param(
            False, "keep a single exposure as the result, and its resampled image beside it"
        )
        exposure_types: list[str] | None = param(
            None, "kinds of exposures that are resampled; all by default"
        )
        maximum_megapixels: float = param(
            MAXIMUM_MEGAPIXELS, "a larger mosaic is refused", gt=0, unit="Mpixel"
        )
        use_drizpars: bool = param(
            False, "take pixfrac, kernel, fillval and weight_type, where nobody gives them, from the "
            "observatory's table of drizzle parameters (drizpars)",
        )  # fmt: skip

    def uses(self, reftype: str) -> bool:  # noqa: ARG002 - there is one
        """Say whether the table is looked at, where the user does not name one."""
        return bool(self.parameters.use_drizpars)

    def settled(self, given: Exposures | CalModel, **references: Any) -> Resample:
        """Take from the table what nobody else has set."""
        table = references.get("drizpars")
        if table is None:
            return self
        models: list[Any] = list(given.science) if isinstance(given, Exposures) else [given]
        said = drizzle_settings(
            table.drizpars_table,
            models[0].meta.get("instrument.filter"),
            len({group_of(model, f"exposure {number}") for number, model in enumerate(models)}),
            table.path,
        )
        free = {
            name: value
            for name, value in said.items()
            if self.origins.get(name, "default") == "default"
        }
        name = Path(table.path).name if table.path else "in memory"
        settled: Resample = self.configured(free, f"drizpars {name}")  # type: ignore[assignment]
        return settled

    def side_products(self) -> tuple[SideProduct, ...]:
        """Return the resampled image, if the exposure itself is to remain the result."""
        return (SideProduct("i2d"),) if self.parameters.beside else ()

    def apply(
        self, given: Exposures | CalModel, *, drizpars: DrizParsModel | None = None
    ) -> ResampledModel | Skipped | Beside:
        """Find the grid, drizzle, and blend the metadata."""
        step = self.settled(given, drizpars=drizpars)
        if step is not self:
            return step.apply(given)
        exposures = given if isinstance(given, Exposures) else None
        models: list[Any] = [given] if exposures is None else list(exposures.science)
        names = (
            [str(models[0].path or models[0].meta.get("filename") or "the exposure")]
            if exposures is None
            else list(exposures.names)
        )
        kinds = self.parameters.exposure_types
        kind = models[0].meta.get("exposure.type")
        if kinds is not None and kind not in kinds:
            return Skipped(given, f"exposures of type {kind} are not resampled")
        if self.parameters.beside and models[0].array("data").ndim != 2:
            return Skipped(given, "integrations are not put together")
        self._check(models, names)
        mosaic = self._mosaic(models, names, exposures)
        if mosaic is not None:
            return Beside(given, {"i2d": mosaic}) if self.parameters.beside else mosaic
        if self.parameters.beside:
            return Skipped(given, "the exposure has no pixel that can be used")
        raise DataError(
            "nothing falls on the mosaic",
            place=together(names),
            found="no pixel that can be used",
            expected="one at least",
            remedy="check the flags of the exposures, and crval, crpix, output_shape or output_wcs",
        )

    def _check(self, models: list[Any], names: list[str]) -> None:
        if self.parameters.single:
            raise DataError(
                "this is not available",
                place="resample.single",
                found=True,
                expected=False,
                remedy="leave the parameter out",
            )
        for model, name in zip(models, names, strict=True):
            if model.array("data").ndim != 2:
                raise DataError(
                    "only images can be resampled",
                    place=model.path or name,
                    found=f"{model.array('data').ndim} axes",
                    expected="2",
                )
        check_alike(models, names)

    def _frame(self, models: list[Any], names: list[str]) -> Frame:
        p = self.parameters
        if p.output_wcs:
            from lightmill import models as data

            own = data.open(p.output_wcs)
            wcs = content(own, "wcs")
            if wcs is None:
                raise DataError(
                    "the file holds no world coordinate system",
                    place=p.output_wcs,
                    expected="one under the name wcs",
                )
            tree = own.foreign.tree()
            scale, area = tree.get("pixel_scale"), tree.get("pixel_area")
            return given_frame(
                wcs,
                sky_system(models[0], names[0]),
                models[0].array("data").shape,
                output_shape=p.output_shape,
                pixel_scale=float(scale or np.sqrt(area)) if scale or area else None,
                nominal_area=models[0].meta.get("photometry.pixelarea_steradians"),
                place=p.output_wcs,
                maximum_megapixels=p.maximum_megapixels,
            )
        return frame_for(
            models,
            names,
            pixel_scale_ratio=p.pixel_scale_ratio,
            pixel_scale=p.pixel_scale,
            rotation=p.rotation,
            crpix=p.crpix,
            crval=p.crval,
            output_shape=p.output_shape,
            maximum_megapixels=p.maximum_megapixels,
        )

    def _mosaic(
        self, models: list[Any], names: list[str], exposures: Exposures | None
    ) -> ResampledModel | None:
        """Return the mosaic; None where nothing falls on its grid."""
        p = self.parameters
        frame = self._frame(models, names)
        components = (
            tuple(one for one in COMPONENTS if any(model.has(one) for model in models))
            if p.enable_err
            else ()
        )
        recipe = Recipe(
            kernel=p.kernel,
            pixfrac=p.pixfrac,
            ratio=frame.ratio,
            fill=fill_value(p.fillval),
            components=components,
            inverse_variance=p.weight_type != "exptime",
            context=p.enable_ctx,
            threads=1 if exposures is None else exposures.threads,
        )
        sheets = [
            sheet_of(
                model, frame, weight_type=p.weight_type, bad=bad_bits(BAD),
                components=components, name=name,
            )
            for model, name in zip(models, names, strict=True)
        ]  # fmt: skip
        kept = components if p.report_var else ()
        planes = self._planes(sheets, frame, recipe, kept, exposures)
        if planes is None:
            return None
        if p.propagate_dq:
            planes["dq"] = mosaic_flags(
                models, sheets, frame.shape, recipe, stripe_pixels=STRIPE_PIXELS
            )
        header = blended(models, blend=p.blendheaders and len(models) > 1, exposures=exposures)
        table = header_table(models) if p.blendheaders else None
        if table is not None:
            planes["hdrtab"] = table
        header |= {
            "resample.pixel_scale_ratio": frame.ratio,
            "resample.pixfrac": p.pixfrac,
            "resample.kernel": p.kernel,
            "resample.fillval": p.fillval,
            "resample.weight_type": p.weight_type or "none",
            "photometry.pixelarea_steradians": frame.steradians,
            "photometry.pixelarea_arcsecsq": frame.scale**2,
        }
        header |= {f"wcsinfo.{name}": value for name, value in keywords_of(frame).items()}
        header["wcsinfo.s_region"] = outline(
            [
                corners_of(sky_system(model, name), model.array("data").shape)
                for model, name in zip(models, names, strict=True)
            ]
        )
        return mosaic_of(models[0], planes, header, frame.wcs)

    def _planes(
        self,
        sheets: list[Any],
        frame: Frame,
        recipe: Recipe,
        kept: tuple[str, ...],
        exposures: Exposures | None,
    ) -> dict[str, Any] | None:
        """Drizzle, stripe by stripe, into arrays or scratch files; None where nothing falls."""
        layers = -(-len(sheets) // 32)
        names = ["data", "wht", "exptime", *kept, *(["err"] if recipe.components else [])]
        shapes: dict[str, tuple[tuple[int, ...], Any]] = dict.fromkeys(
            names, (frame.shape, np.float32)
        )
        if recipe.context:
            shapes["con"] = ((layers, *frame.shape), np.int32)
        size = sum(4 * int(np.prod(shape, dtype=np.int64)) for shape, _ in shapes.values())
        spooled = size > IN_MEMORY_BYTES or not self.parameters.in_memory
        planes: dict[str, Any] = {
            name: Spool(shape, dtype) if spooled else np.empty(shape, dtype)
            for name, (shape, dtype) in shapes.items()
        }
        used = False
        tell = None if exposures is None else exposures.tell
        for y0, stripe in combine(
            sheets, frame.shape, recipe,
            stripe_pixels=STRIPE_PIXELS, into=None if spooled else planes,
        ):  # fmt: skip
            rows = stripe["data"].shape[0]
            if recipe.components:
                variances = [stripe[name] for name in recipe.components]
                err = None if spooled else planes["err"][y0 : y0 + rows]
                stripe["err"] = total_error(variances, out=err)
            used = used or bool(stripe["wht"].any())
            if spooled:
                for name, plane in planes.items():
                    plane.write(y0, stripe[name])
            if tell is not None:
                tell("resample rows", y0 + rows, frame.shape[0])
        return planes if used else None


def total_error(variances: Sequence[np.ndarray], out: np.ndarray | None = None) -> np.ndarray:
    """Return the standard error of all components together.

    Parameters
    ----------
    variances : sequence of (ny, nx) ndarray of float32
    out : (ny, nx) ndarray of float32, optional
        Where the error goes.

    Returns
    -------
    error : (ny, nx) ndarray of float32
        NaN where no component is known.
    """
    known = np.zeros(variances[0].shape, bool)
    total = np.empty(variances[0].shape, np.float32) if out is None else out
    total[...] = 0
    for variance in variances:
        there = np.isfinite(variance)
        np.add(total, variance, out=total, where=there)
        known |= there
    error = np.sqrt(total, out=total)
    error[~known] = np.nan
    return error
