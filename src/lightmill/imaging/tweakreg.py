"""Align exposures to each other by their stars, and to a catalog."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lightmill.errors import DataError
from lightmill.imaging.affine import Affine
from lightmill.imaging.alignment import align, align_onto
from lightmill.imaging.corrected_nodes import can_be_corrected
from lightmill.imaging.corrected_wcs import corrected, linear_keywords
from lightmill.imaging.footprint import corners, region_text
from lightmill.imaging.overlap import TangentPlane, edge_of, middle_of, pixel_size
from lightmill.imaging.pairing import distinct, merged
from lightmill.imaging.plain_systems import NodeSystem, system_of
from lightmill.imaging.reference_stars import ReferenceStars, read_reference
from lightmill.imaging.sip import HIGHEST, fit_sip
from lightmill.imaging.star_catalogs import given_stars, star_catalog
from lightmill.imaging.star_finding import Stars, find_stars
from lightmill.models import CalModel, Exposures, put_wcs, wcs_of
from lightmill.models.asdf_tree import STANDARD, array_tag
from lightmill.models.dq import PIXEL
from lightmill.models.lineage import as_class, force
from lightmill.pipeline import Beside, SideProduct, Skipped, Step, param

__all__ = ["AlignExposures"]

log = logging.getLogger("lightmill.imaging")
UNUSABLE = PIXEL["DO_NOT_USE"] | PIXEL["SATURATED"] | PIXEL["NON_SCIENCE"]
MOST = 20_000  # reference stars near the exposures; of more, the brightest
LINEAR = ("cdelt1", "cdelt2", "pc1_1", "pc1_2", "pc2_1", "pc2_2")  # what CD stands instead of
Fit = Literal["shift", "rshift", "rscale", "general"]


@dataclass(frozen=True)
class _Field:
    """What one exposure of one detector brings to the alignment."""

    name: str
    wcs: Any
    shape: tuple[int, int]
    stars: Stars
    xy: np.ndarray  # of the stars, in the common plane [arcsec]
    errors: np.ndarray  # [arcsec]


class AlignExposures(Step):
    """Correct the pointing of exposures, so that their stars come to lie on each other.

    Detectors exposed together share one correction. All corrections are found at once, from all
    pairs of exposures that share stars; then all together are moved onto a catalog, if one is
    given. An exposure that cannot be aligned keeps its pointing, and a warning names it; for it
    the step was skipped.
    """

    name = "tweakreg"
    reads, writes = Exposures, Exposures
    extensions = frozenset({"starfinder"})

    @dataclass(frozen=True)
    class Parameters:
        save_catalogs: bool = param(False, "save the stars of each exposure")
        use_custom_catalogs: bool = param(False, "take the stars from the catalogs in catfile")
        catalog_format: Literal["ecsv"] = param("ecsv", "format of the catalogs saved")
        catfile: str = param("", "file of lines 'exposure catalog', with your own star catalogs")
        starfinder: Literal["profile", "dao", "iraf", "segmentation"] = param(
            "profile", "how stars are found: matched filter and profile fit, or with photutils"
        )
        snr_threshold: float = param(10.0, "least signal to noise of a star", gt=0)
        kernel_fwhm: float = param(2.5, "width of the filter for stars", gt=0, unit="pixel")
        bkg_boxsize: int = param(400, "boxes the sky is measured in", ge=8, unit="pixel")
        minsep_fwhm: float = param(0.0, "least distance of stars", ge=0, unit="kernel_fwhm")
        sigma_radius: float = param(1.5, "where the filter is cut off", gt=0, unit="sigma")
        sharplo: float = param(0.5, "least sharpness: dao, iraf")
        sharphi: float = param(2.0, "largest sharpness: dao, iraf")
        roundlo: float = param(0.0, "least roundness: dao, iraf")
        roundhi: float = param(0.2, "largest roundness: dao, iraf")
        brightest: int = param(200, "how many stars of each exposure to use", ge=1)
        peakmax: float | None = param(None, "leave out stars with a brighter pixel")
        npixels: int = param(10, "least pixels of a source: segmentation", ge=1)
        connectivity: int = param(8, "which pixels touch: segmentation", choices=(4, 8))
        nlevels: int = param(32, "levels of deblending: segmentation", ge=1)
        contrast: float = param(0.001, "least share of a deblended source: segmentation", ge=0)
        multithresh_mode: Literal["exponential", "linear", "sinh"] = param(
            "exponential", "spacing of the levels of deblending: segmentation"
        )
        localbkg_width: int = param(0, "annulus of the local sky: segmentation", ge=0, unit="pixel")
        apermask_method: Literal["correct", "mask", "none"] = param(
            "correct", "what to do with neighbours: segmentation"
        )
        kron_params: list[float] | None = param(None, "parameters of Kron apertures: segmentation")
        deblend: bool = param(True, "take blended sources apart: segmentation")
        enforce_user_order: bool = param(
            False, "leave the first exposure where it is; otherwise corrections average to zero"
        )
        expand_refcat: bool = param(
            False, "no effect: all stars that any two exposures share count always"
        )
        minobj: int = param(6, "fewest stars an exposure must share with others", ge=1)
        fitgeometry: Fit = param("rshift", "shift; with rotation; and one scale; or any linear fit")
        nclip: int = param(3, "how often stars that do not fit are left out", ge=0)
        sigma: float = param(3.0, "what does not fit, in standard deviations", gt=0)
        searchrad: float = param(2.0, "largest pointing error between two", gt=0, unit="arcsec")
        use2dhist: bool = param(True, "search for the offset; otherwise pair where stars are")
        separation: float = param(
            1.0, "of stars nearer to each other, the brightest counts", ge=0, unit="arcsec"
        )
        tolerance: float = param(
            0.7, "largest distance of a pair once the offset is known", gt=0, unit="arcsec"
        )
        xoffset: float = param(0.0, "offset of all from the first, to the east", unit="arcsec")
        yoffset: float = param(0.0, "offset of all from the first, to the north", unit="arcsec")
        abs_refcat: str | None = param(
            "", "catalog to align to: ECSV, CSV or FITS, with RA and DEC; none: the mosaic's own"
        )
        save_abs_catalog: bool = param(False, "no effect: the catalog is a file of yours")
        abs_minobj: int = param(6, "fewest stars to share with the catalog", ge=1)
        abs_fitgeometry: Fit = param("rshift", "kind of correction onto the catalog")
        abs_nclip: int = param(3, "how often stars that do not fit the catalog are left out", ge=0)
        abs_sigma: float = param(3.0, "what does not fit, in standard deviations", gt=0)
        abs_searchrad: float = param(6.0, "largest offset from the catalog", gt=0, unit="arcsec")
        abs_use2dhist: bool = param(True, "search for the offset from the catalog")
        abs_separation: float = param(
            1.0, "of nearer stars of the catalog, the brightest counts", ge=0, unit="arcsec"
        )
        abs_tolerance: float = param(
            0.7, "largest distance of a pair once the offset is known", gt=0, unit="arcsec"
        )
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
        in_memory: bool = param(True, "no effect: exposures stay in their files")

    def side_products(self) -> tuple[SideProduct, ...]:
        """Return the catalogs of stars, where they are asked for."""
        return (SideProduct("cat"),) if self.parameters.save_catalogs else ()

    def apply(self, exposures: Exposures) -> Exposures | Skipped | Beside:
        """Find stars, pair them, solve for all corrections, and put them into the coordinates."""
        groups = list(exposures.groups().values())
        if len(groups) < 2 and not self.parameters.abs_refcat and not self.parameters.save_catalogs:
            return Skipped(exposures, "there is one exposure, and no catalog to align it to")
        reference = None
        if self.parameters.abs_refcat:  # what is wrong with it is said before any work is done
            reference = read_reference(self.parameters.abs_refcat, _date(exposures.meta))
        fields, plane = self._fields(exposures)
        corrections, notes = self._corrections(groups, fields, plane, reference)
        skipped: dict[str, str] = {}
        if any(correction is not None for correction in corrections):
            skipped = {
                one.name: f"not aligned, its pointing is kept: {_too_few(one)}"
                for one, correction in zip(fields, corrections, strict=True)
                if correction is None
            }
            result: Any = exposures.evolve(
                [
                    self._moved(model, one, plane, correction, note)
                    for model, one, correction, note in zip(
                        exposures.science, fields, corrections, notes, strict=True
                    )
                ]
            )
        else:
            result = Skipped(exposures, _reason(fields))
        if not self.parameters.save_catalogs:
            return Beside(result, skipped=skipped) if skipped else result
        catalogs = [
            star_catalog(one.stars, one.wcs, model)
            for model, one in zip(exposures.science, fields, strict=True)
        ]
        found: Any = {"cat": exposures.evolve(catalogs)}  # one of each exposure
        return Beside(result, found, skipped=skipped)

    # -- stars -----------------------------------------------------------------------------

    def _fields(self, exposures: Exposures) -> tuple[list[_Field], TangentPlane]:
        """Return the stars of every exposure in the plane between all of them."""
        systems = [
            _wcs(model, name) for model, name in zip(exposures, exposures.names, strict=True)
        ]
        shapes = [tuple(model.array("data").shape[-2:]) for model in exposures.science]
        outlines = [
            wcs.pixel_to_world_values(*edge_of(shape))
            for wcs, shape in zip(systems, shapes, strict=True)
        ]
        plane = TangentPlane.of(*(np.concatenate(axis) for axis in zip(*outlines, strict=True)))
        own = self.parameters.use_custom_catalogs
        given = given_stars(self.parameters.catfile, exposures.names) if own else {}
        wanted = [
            model
            for model, name in zip(exposures, exposures.names, strict=True)
            if name not in given
        ]
        found = iter(exposures.each(self._stars, "find stars", models=wanted) if wanted else [])
        fields = []
        for name, wcs, shape in zip(exposures.names, systems, shapes, strict=True):
            stars = given[name] if name in given else next(found)
            xy = plane.project(*wcs.pixel_to_world_values(stars.x, stars.y))
            good = np.isfinite(xy).all(axis=1)
            stars, xy = stars.take(good), xy[good]
            errors = stars.uncertainty() * pixel_size(wcs, plane, shape)
            errors = np.where(np.isfinite(errors), errors, np.inf)
            log.info("%s: %d stars", name, len(stars))
            fields.append(_Field(name, wcs, shape, stars, xy, errors))
        return fields, plane

    def _stars(self, model: Any) -> Stars:
        """Return the stars of one exposure; what is read of it is let go."""
        parameters = self.parameters
        image = np.asarray(model.array("data"), np.float32)
        bad = ~np.isfinite(image)
        if model.has("dq"):
            bad |= (np.asarray(model.array("dq")) & UNUSABLE) != 0
        if parameters.starfinder == "profile":
            return find_stars(
                image,
                bad,
                snr_threshold=parameters.snr_threshold,
                kernel_fwhm=parameters.kernel_fwhm,
                sigma_radius=parameters.sigma_radius,
                box=parameters.bkg_boxsize,
                brightest=parameters.brightest,
                peakmax=parameters.peakmax,
                min_separation=parameters.minsep_fwhm * parameters.kernel_fwhm,
            )
        from lightmill.imaging.starfinders import find_stars_with_photutils

        names = ("snr_threshold", "kernel_fwhm", "brightest", "peakmax", "minsep_fwhm",
                 "sigma_radius", "npixels", "connectivity", "nlevels", "contrast", "deblend",
                 "multithresh_mode", "localbkg_width", "apermask_method", "kron_params")  # fmt: skip
        settings = {name: getattr(parameters, name) for name in names} | {
            "box": parameters.bkg_boxsize,
            "sharpness": (parameters.sharplo, parameters.sharphi),
            "roundness": (parameters.roundlo, parameters.roundhi),
        }
        return find_stars_with_photutils(image, bad, parameters.starfinder, settings)

    # -- corrections -----------------------------------------------------------------------

    def _corrections(
        self,
        groups: list[list[int]],
        fields: list[_Field],
        plane: TangentPlane,
        reference: ReferenceStars | None,
    ) -> tuple[list[Affine | None], list[str]]:
        """Return the correction of every exposure, and what is to be said of it."""
        parameters = self.parameters
        positions, errors = [], []
        for members in groups:
            xy = np.concatenate([fields[k].xy for k in members])
            error = np.concatenate([fields[k].errors for k in members])
            flux = np.concatenate([fields[k].stars.snr for k in members])
            order = np.argsort(-flux, kind="stable")
            keep = order[distinct(xy[order], parameters.separation)]
            positions.append(xy[keep])
            errors.append(error[keep])
        found = align(
            positions,
            errors=errors,
            geometry=parameters.fitgeometry,
            radius=parameters.searchrad,
            tolerance=parameters.tolerance,
            minobj=parameters.minobj,
            nclip=parameters.nclip,
            sigma=parameters.sigma,
            guess=(parameters.xoffset, parameters.yoffset) if parameters.use2dhist else None,
            keep_first=parameters.enforce_user_order,
        )
        corrections = list(found.corrections)
        notes = [
            ""
            if one is None
            else f"aligned by {count} stars shared with other exposures, rms {1000 * rms:.2f} mas"
            for one, rms, count in zip(corrections, found.rms, found.counts, strict=True)
        ]
        if reference is not None:
            self._onto_catalog(reference, positions, found.parts, plane, corrections, notes)
        each: list[Affine | None] = [None] * len(fields)
        said = [""] * len(fields)
        for number, members in enumerate(groups):
            for k in members:
                each[k], said[k] = corrections[number], notes[number]
        for one, correction in zip(fields, each, strict=True):
            if correction is None:
                log.warning("%s: not aligned, its pointing is kept: %s", one.name, _too_few(one))
        return each, said

    def _onto_catalog(
        self,
        stars: ReferenceStars,
        positions: list[np.ndarray],
        parts: Sequence[tuple[int, ...]],
        plane: TangentPlane,
        corrections: list[Affine | None],
        notes: list[str],
    ) -> None:
        """Move exposures that are aligned with one another onto the catalog together."""
        parameters = self.parameters
        path = Path(str(parameters.abs_refcat))
        reference = plane.project(stars.ra, stars.dec)
        everything = np.concatenate([xy for xy in positions if len(xy)] or [np.zeros((1, 2))])
        margin = parameters.abs_searchrad + parameters.abs_tolerance
        with np.errstate(invalid="ignore"):
            near = (reference >= everything.min(axis=0) - margin) & (
                reference <= everything.max(axis=0) + margin
            )
        which = np.flatnonzero(near.all(axis=1))[:MOST]
        which = which[distinct(reference[which], parameters.abs_separation)]
        stars, reference = stars.take(which), reference[which]
        alone = [(n,) for n in range(len(positions)) if not any(n in part for part in parts)]
        for part in [*parts, *alone]:
            placed = [(corrections[n] or Affine())(positions[n]) for n in part]
            onto = align_onto(
                merged(placed, parameters.tolerance / 5),
                reference,
                weights=stars.weight,
                geometry=parameters.abs_fitgeometry,
                radius=parameters.abs_searchrad if parameters.abs_use2dhist else None,
                tolerance=parameters.abs_tolerance,
                minobj=parameters.abs_minobj,
                nclip=parameters.abs_nclip,
                sigma=parameters.abs_sigma,
            )
            if onto is not None:
                affine, count, rms = onto
                for n in part:
                    corrections[n] = affine.after(corrections[n] or Affine())
                    notes[n] += ("; " if notes[n] else "aligned ") + (
                        f"onto {path.name} by {count} of its stars, rms {1000 * rms:.2f} mas"
                    )
                continue
            log.warning(
                "%d exposures are not aligned to %s: fewer than %d of its %d stars here match",
                len(part), path.name, parameters.abs_minobj, len(reference),
            )  # fmt: skip

    # -- results ---------------------------------------------------------------------------

    def _moved(
        self, model: Any, one: _Field, plane: TangentPlane, correction: Affine | None, note: str
    ) -> Any:
        """Return an exposure with corrected coordinates, its keywords and outline with them."""
        model = as_class(model, CalModel) or model  # count rates have no keywords of the sky
        if correction is None:
            made = model.evolve()
            made.history.append("tweakreg: not aligned, pointing kept")
            return made
        wcsinfo = model.meta.wcsinfo
        tag = array_tag(STANDARD if model.foreign.asdf is None else model.foreign.asdf.standard())
        wcs = corrected(one.wcs, correction, plane, one.shape, wcsinfo.to_dict(), tag)
        plain = not hasattr(wcs, "available_frames")  # keywords say it all, and will
        made = model.evolve() if plain or isinstance(wcs, NodeSystem) else put_wcs(model, wcs)
        if isinstance(wcs, NodeSystem):
            force(made, "wcs", wcs.node)
        middle = middle_of(one.wcs, plane, one.shape)
        shift = (correction(middle) - middle)[0]
        text = f'moved by {shift[0]:+.4f}" east, {shift[1]:+.4f}" north, {correction.rotation:+.5f} deg'
        log.info("%s: %s; %s", one.name, text, note)
        made.history.append(f"tweakreg: {text}; {note}")
        ny, nx = one.shape
        box = ((-0.5, nx - 0.5), (-0.5, ny - 0.5))
        sky = wcs.pixel_to_world_values
        values: dict[str, Any] = {"s_region": region_text(corners(sky, box))}
        if plain:
            values |= linear_keywords(wcs)
        elif self.parameters.sip_approx:
            values |= self._keywords(model, one.name, sky, box)
        made.meta.update({f"wcsinfo.{name}": value for name, value in values.items()})
        return made

    def _keywords(self, model: Any, name: str, sky: Any, box: Any) -> dict[str, Any]:
        """Return the FITS keywords that come close to corrected coordinates."""
        parameters, held = self.parameters, model.meta.wcsinfo.to_dict()
        crpix = (held.get("crpix1"), held.get("crpix2"))
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
        if sip.error > parameters.sip_max_pix_error:
            log.warning("%s: FITS keywords are off by up to %.3g pixels", name, sip.error)
        old = [key for key in held if key.partition("_")[0] in {"a", "b", "ap", "bp"}]
        return dict.fromkeys(LINEAR) | dict.fromkeys(old) | sip.keywords


def _wcs(model: Any, name: str) -> Any:
    """Return the world coordinates of an exposure, of a kind that can be corrected."""
    wcs = system_of(model)
    if isinstance(wcs, NodeSystem) and not can_be_corrected(wcs, model.meta.wcsinfo.to_dict()):
        wcs = wcs_of(model)
    if wcs is None:
        raise DataError(
            "the exposure does not say where on the sky it is",
            place=name,
            expected="world coordinates",
            remedy="run assign_wcs first",
        )
    return wcs


def _date(meta: Any) -> float | None:
    """Return when exposures were taken [MJD], or None."""
    for name in ("exposure.mid_time", "exposure.start_time"):
        value = meta.get(name)
        if isinstance(value, float | int):
            return float(value)
    return None


def _too_few(one: _Field) -> str:
    return f"{len(one.stars)} stars, too few of them shared"


def _reason(fields: Sequence[_Field]) -> str:
    counts = [len(one.stars) for one in fields]
    if not any(counts):
        return "no stars were found in any of the exposures"
    return f"no two exposures share enough stars ({min(counts)} to {max(counts)} in each)"
