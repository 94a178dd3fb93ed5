"""Say where on the sky each pixel of an image is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightmill.errors import CorruptFileError, DataError
from lightmill.imaging.footprint import corners, region_text
from lightmill.imaging.sip import HIGHEST, Sip, fit_sip
from lightmill.imaging.transforms import Unsupported, with_array_tag
from lightmill.imaging.wcs_transforms import Pointing, filter_shift, pixel_to_sky, sky_wcs
from lightmill.models import CalModel, DistortionModel, FilterOffsetModel, wcs_of
from lightmill.models.asdf_file import inline
from lightmill.models.asdf_tree import STANDARD, Tagged, array_tag
from lightmill.models.lineage import force, frame_of
from lightmill.pipeline import Skipped, Step, param

__all__ = ["AssignWcs"]

log = logging.getLogger("lightmill.imaging")
POINTING = {"v2": "v2_ref", "v3": "v3_ref", "ra": "ra_ref", "dec": "dec_ref", "roll": "roll_ref"}
LINEAR = ("cdelt1", "cdelt2", "pc1_1", "pc1_2", "pc2_1", "pc2_2")  # what CD stands instead of


class AssignWcs(Step):
    """Give an image its world coordinates: from pixels through V2V3 to the sky.

    The product gets them in its ASDF extension, an approximation in FITS keywords, and its outline.
    """

    name = "assign_wcs"
    reads, writes = CalModel, CalModel
    references = {"distortion": DistortionModel, "filteroffset": FilterOffsetModel}
    optional = frozenset({"filteroffset"})

    @dataclass(frozen=True)
    class Parameters:
        sip_approx: bool = param(True, "approximate the world coordinates in FITS keywords")
        sip_max_pix_error: float = param(
            0.01, "how close the keywords have to come", gt=0, unit="pixel"
        )
        sip_degree: int | None = param(
            None, "degree of the polynomials; the lowest that is close enough", ge=1, le=HIGHEST
        )
        sip_max_inv_pix_error: float = param(
            0.01, "how close the way from the sky to pixels has to come", gt=0, unit="pixel"
        )
        sip_inv_degree: int | None = param(
            None, "degree of the way back; the lowest that is close enough", ge=1, le=HIGHEST
        )
        sip_npoints: int = param(12, "points along each axis that are fitted", ge=8, le=1000)
        slit_y_low: float = param(-0.55, "lower edge of a slit: images have no use for it")
        slit_y_high: float = param(0.55, "upper edge of a slit: images have no use for it")
        nrs_ifu_slice_wcs: bool = param(False, "one system a slice: images have no use for it")

    def apply(
        self, image: CalModel, *, distortion: DistortionModel, filteroffset: Any
    ) -> CalModel | Skipped:
        """Put the transforms together; nothing is evaluated but a few points."""
        pointing = _pointing(image)
        if pointing is None:
            return Skipped(image, "the header has no pointing; its world coordinates are kept")
        subarray = image.meta.subarray
        node, box = sky_wcs(
            _transform(distortion, image),
            pointing,
            frame_of(image),
            origin=((subarray.xstart or 1) - 1, (subarray.ystart or 1) - 1),
            shift=_shift(image, filteroffset),
        )
        result = image.evolve()
        force(result, "wcs", node)
        sky = _evaluator(result, node)
        outline = region_text(corners(sky, box))
        if outline is None:
            log.warning("%s: corners lie nowhere on the sky; no S_REGION", image.meta.filename)
        values: dict[str, Any] = {"s_region": outline}
        if self.parameters.sip_approx:
            sip = self._approximation(image, sky, box)
            values |= dict.fromkeys(LINEAR) | dict.fromkeys(_old_terms(image)) | sip.keywords
        result.meta.update({f"wcsinfo.{name}": value for name, value in values.items()})
        return result

    def _approximation(self, image: CalModel, sky: Any, box: Any) -> Sip:
        parameters, wcsinfo = self.parameters, image.meta.wcsinfo
        crpix = (wcsinfo.crpix1, wcsinfo.crpix2)
        sip = fit_sip(
            sky,
            box,
            crpix=None if None in crpix else crpix,
            max_error=parameters.sip_max_pix_error,
            degree=parameters.sip_degree,
            max_inverse_error=parameters.sip_max_inv_pix_error,
            inverse_degree=parameters.sip_inv_degree,
            points=parameters.sip_npoints,
        )
        for what, error, wanted in (
            ("FITS keywords", sip.error, parameters.sip_max_pix_error),
            ("way back of the FITS keywords", sip.inverse_error, parameters.sip_max_inv_pix_error),
        ):
            if error > wanted:
                log.warning(
                    "%s: the %s are off by up to %.3g pixels, more than %.3g",
                    image.meta.filename, what, error, wanted,
                )  # fmt: skip
        return sip


def _pointing(image: CalModel) -> Pointing | None:
    """Return where the aperture looked; None if the header says nothing of it."""
    wcsinfo = image.meta.wcsinfo
    values = {name: wcsinfo.get(key) for name, key in POINTING.items()}
    missing = [POINTING[name].upper() for name, value in values.items() if value is None]
    if len(missing) == len(values):
        return None
    if missing:
        raise DataError(
            "the pointing is not complete",
            place=image.path or image.meta.filename,
            found=f"no {', '.join(missing)}",
            expected="V2_REF, V3_REF, RA_REF, DEC_REF and ROLL_REF",
            remedy="add the keywords to the extension SCI, or leave the step out: --skip assign_wcs",
        )
    scale = image.meta.velocity_aberration.get("scale_factor")
    return Pointing(**values, aberration=1.0 if scale is None else scale)


def _transform(distortion: DistortionModel, image: CalModel) -> Tagged:
    """Return the transform of the reference as it goes into the tree of the image."""
    node = distortion.foreign.tree().get("model")
    if not isinstance(node, Tagged):
        raise CorruptFileError(
            "the distortion reference holds no transform",
            place=distortion.path,
            found="no `model`" if node is None else type(node).__name__,
            expected="a transform from pixels to V2, V3 under the name `model`",
            remedy="fetch the file again, or give another with --override-distortion",
        )
    tree = image.foreign.asdf
    standard = STANDARD if tree is None else tree.standard()
    whole: Tagged = with_array_tag(inline(node, standard), array_tag(standard))
    return whole


def _shift(image: CalModel, offsets: FilterOffsetModel | None) -> tuple[float, float] | None:
    if offsets is None:
        return None
    rows = offsets.foreign.tree().get("filters")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CorruptFileError(
            "the filteroffset reference holds no shifts",
            place=offsets.path,
            expected="a list `filters`",
            remedy="fetch the file again, or do without: --override-filteroffset=N/A",
        )
    return filter_shift(rows, image.meta.instrument.to_dict(), offsets.path)


def _evaluator(model: CalModel, node: Tagged) -> Callable[[Any, Any], Any]:
    """Return what leads from pixels to the sky: NumPy alone where that is enough."""
    try:
        pixel_to_sky(node, 0.0, 0.0)
    except Unsupported:
        sky: Callable[[Any, Any], Any] = wcs_of(model).pixel_to_world_values
        return sky
    return lambda x, y: pixel_to_sky(node, x, y)


def _old_terms(image: CalModel) -> list[str]:
    """Return the names of polynomial terms that the header has already."""
    held = image.meta.wcsinfo.to_dict()
    return [name for name in held if name.partition("_")[0] in {"a", "b", "ap", "bp"}]
