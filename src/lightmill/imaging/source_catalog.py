"""Find the sources of a mosaic, measure them, and write them into a catalog."""

from __future__ import annotations

import functools
import logging
import math
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from lightmill.imaging.apertures import (
    Apertures,
    apertures_of_radii,
    apertures_of_table,
    magnitude_offset,
)
from lightmill.imaging.background_mesh import BackgroundMesh, measure_background, row_bands
from lightmill.imaging.catalog_columns import build_table, columns_of
from lightmill.imaging.derived_columns import add_concentrations, add_magnitudes, add_places
from lightmill.imaging.detection import NoiseExcess, coverage_mask, signal_to_noise
from lightmill.imaging.drizzle_inputs import part_of
from lightmill.imaging.flux_errors import contributing, sharing_of, with_all_errors
from lightmill.imaging.morphology import (
    ellipses,
    measure_segments,
    nearest_neighbours,
    sharpness_and_roundness,
)
from lightmill.imaging.photometry import (
    circular_fluxes,
    kron_fluxes,
    local_backgrounds,
    rectangular_backgrounds,
    subtracted,
)
from lightmill.imaging.plain_systems import system_of
from lightmill.imaging.segmentation import find_segments
from lightmill.imaging.sky_places import pixel_area
from lightmill.imaging.star_fluxes import (
    Circles,
    lost_to_holes,
    star_fluxes,
    window_of,
    windowed_places,
)
from lightmill.imaging.starfinders import find_peaks
from lightmill.models import (
    AbVegaOffsetModel,
    ApcorrModel,
    Region,
    ResampledModel,
    SegmentationModel,
    content,
)
from lightmill.models.asdf_tables import plain_table
from lightmill.models.catalog import Catalog
from lightmill.pipeline import Products, Step, param

__all__ = ["SourceCatalog"]

log = logging.getLogger("lightmill.source_catalog")

SURFACE_BRIGHTNESS = "MJy/sr"
KRON = (2.5, 1.4, 0.0)  # scale and least radius of Bertin & Arnouts 1996; no least circle
CHOOSING = {  # column of a reference table -> metadata of the image
    "filter": "instrument.filter",
    "pupil": "instrument.pupil",
    "detector": "instrument.detector",
    "subarray": "subarray.name",
}


@dataclass(eq=False)
class _Image:
    """The arrays of a mosaic while it is measured."""

    data: np.ndarray
    err: np.ndarray
    mask: np.ndarray
    mesh: BackgroundMesh
    excess: NoiseExcess | None = None


class SourceCatalog(Step):
    """Find the sources of a mosaic and measure where they are, how bright and of what shape.

    The result is a catalog and a map that says which source each pixel belongs to.
    """

    name = "source_catalog"
    reads, writes = ResampledModel, None
    references = {"apcorr": ApcorrModel, "abvegaoffset": AbVegaOffsetModel}
    optional = frozenset({"apcorr", "abvegaoffset"})
    extensions = frozenset(
        {
            "aperture_radii",
            "background_ring",
            "flux_errors",
            "local_noise",
            "star_fluxes",
            "total_radius",
        }
    )

    @dataclass(frozen=True)
    class Parameters:
        aperture_ee1: int = param(
            30, "encircled energy of the smallest circle", gt=0, lt=100, unit="%"
        )
        aperture_ee2: int = param(
            50, "encircled energy of the middle circle", gt=0, lt=100, unit="%"
        )
        aperture_ee3: int = param(
            70, "encircled energy of the largest circle", gt=0, lt=100, unit="%"
        )
        ci1_star_threshold: float = param(2.0, "concentration middle/smallest above which extended")
        ci2_star_threshold: float = param(1.8, "concentration largest/middle above which extended")
        starfinder: Literal["dao", "iraf", "segmentation"] = param(
            "segmentation", "how sources are found; only 'segmentation' makes a map of segments"
        )
        snr_threshold: float = param(
            3.0,
            "least height of a source's pixels in the smoothed image",
            gt=0,
            unit="sigma of a pixel",
        )
        bkg_boxsize: int = param(1000, "box of the sky level", ge=1, unit="pixel")
        kernel_fwhm: float = param(
            2.0, "FWHM of the smoothing Gaussian; 0: none", ge=0, unit="pixel"
        )
        minsep_fwhm: float = param(0.0, "dao, iraf: least distance of two stars", ge=0, unit="FWHM")
        sigma_radius: float = param(1.5, "dao: radius of the kernel", gt=0, unit="sigma")
        sharplo: float = param(0.5, "dao, iraf: least sharpness")
        sharphi: float = param(2.0, "dao, iraf: largest sharpness")
        roundlo: float = param(0.0, "dao, iraf: least roundness")
        roundhi: float = param(0.2, "dao, iraf: largest roundness")
        brightest: int = param(200, "dao, iraf: most stars kept", ge=1)
        peakmax: float | None = param(
            None, "dao, iraf: leave out stars with a pixel as bright as this", unit="Jy"
        )
        npixels: int = param(25, "fewest connected pixels of a source", ge=1)
        connectivity: Literal[4, 8] = param(8, "pixels connected with one: 4 or 8 neighbours")
        nlevels: int = param(32, "thresholds at which blends are taken apart", ge=1)
        contrast: float = param(0.001, "least fraction of a blend's signal in a part", ge=0, le=1)
        multithresh_mode: Literal["exponential", "linear", "sinh"] = param(
            "exponential", "spacing of these thresholds"
        )
        localbkg_width: int = param(
            0,
            "ring of the sky below isophotal and Kron fluxes; 0: the sky of the boxes",
            ge=0,
            unit="pixel",
        )
        apermask_method: Literal["correct", "mask", "none"] = param(
            "correct", "pixels of neighbours in Kron ellipses: replaced, zero, or kept"
        )
        kron_params: list[float] | None = param(
            None, "scale, least radius, least circle of the Kron ellipse; None: 2.5, 1.4, 0", ge=0
        )
        deblend: bool = param(True, "take blends apart")
        aperture_radii: list[float] | None = param(
            None, "radii of the three circles where no reference has them", gt=0, unit="pixel"
        )
        local_noise: bool = param(
            True,
            "thresholds rise where the read noise is larger than the exposure time explains: "
            "where large cosmic rays were",
        )
        flux_errors: Literal["all", "pixels"] = param(
            "all",
            "errors of fluxes: 'all' have the noise that pixels share, of the sky, and of coarse "
            "sampling; 'pixels' add up those of the pixels",
        )
        total_radius: float = param(
            2.0,
            "least radius of the circle that total fluxes come from: the first of the reference "
            "that is as large, aperture_ee3 or a wider one; 0: aperture_ee3",
            ge=0,
            unit="pixel",
        )
        star_fluxes: bool = param(
            True,
            "measure sources as stars too: about their windowed places, without the light of "
            "neighbours, corrected for holes and for the places of pixels",
        )
        background_ring: list[float] | None = param(
            None, "radii of the local sky's ring there; None: 5, 10", gt=0, unit="pixel"
        )

        def __post_init__(self) -> None:
            if not self.aperture_ee1 < self.aperture_ee2 < self.aperture_ee3:
                raise ValueError("the encircled energies aperture_ee1 … 3 must grow")
            if self.kron_params is not None and len(self.kron_params) not in (2, 3):
                raise ValueError("kron_params must be two or three numbers")
            radii = self.aperture_radii
            if radii is not None and (len(radii) != 3 or sorted(radii) != list(radii)):
                raise ValueError("aperture_radii must be three radii that grow")
            ring = self.background_ring
            if ring is not None and (len(ring) != 2 or ring[0] >= ring[1]):
                raise ValueError("background_ring must be an inner and a larger outer radius")

        @property
        def energies(self) -> tuple[int, int, int]:
            """Encircled energies of the three circles [percent]."""
            return self.aperture_ee1, self.aperture_ee2, self.aperture_ee3

    def apply(
        self, image: ResampledModel, *, apcorr: Any = None, abvegaoffset: Any = None
    ) -> Products:
        """Find, measure, tabulate; with no source the table is empty."""
        notes: list[str] = []
        apertures = self._apertures(image, apcorr, notes)
        offset = _vega_offset(image, abvegaoffset, notes)
        factor, unit = _flux_scale(image, notes)
        held = _arrays(image, self.parameters.bkg_boxsize, notes)
        if held is None:
            labels, values = np.zeros(image.array("data").shape, np.int32), None
        else:
            labels, values = self._measure(held, apertures, factor)
            values = self._with_errors(values, image, apertures, notes)
            for name in list(values):
                if name.endswith(("_flux", "_flux_err")):
                    values[name] = values[name] * factor
        if values is None or not len(values["label"]):
            notes.append("no sources were found: the catalog is empty")
            values = {"label": np.zeros(0, np.int32)}
        else:
            add_places(values, system_of(image))
            add_magnitudes(values, offset, calibrated=unit == "Jy")
            add_concentrations(
                values,
                self.parameters.energies,
                (self.parameters.ci1_star_threshold, self.parameters.ci2_star_threshold),
            )
        for note in notes:
            log.warning(note)
        kron = [*(self.parameters.kron_params or KRON), 0.0][:3]
        table = build_table(
            columns_of(self.parameters.energies),
            values,
            unit,
            {
                "aperture_params": apertures.as_dict(),
                "abvega_offset": offset,
                "kron_params": kron,
                "local_bkg_width": self.parameters.localbkg_width,
                "aperture_mask_method": self.parameters.apermask_method,
                "notes": notes,
            },
        )
        products = Products()
        products["cat"] = cast("Any", Catalog(table, meta=image.meta))  # a table, not arrays
        if labels is not None:
            products["segm"] = _segmentation(image, labels)
        return products

    def _apertures(self, image: Any, apcorr: Any, notes: list[str]) -> Apertures:
        own = self.parameters
        if apcorr is not None:
            found = apertures_of_table(
                np.asarray(apcorr.apcorr_table),
                _setting(image),
                own.energies,
                _pixel_ratio(image, notes),
                own.total_radius,
            )
            if isinstance(found, Apertures):
                return found
            notes.append(found)
        elif own.aperture_radii is None:
            notes.append("there is no reference for aperture corrections")
        if own.aperture_radii is None:
            notes.append("fluxes in circles are not measured: aperture_radii would name radii")
        else:
            notes.append("total fluxes of circles are not known: no aperture corrections")
        return apertures_of_radii(own.energies, own.aperture_radii, own.background_ring)

    def _with_errors(
        self, values: dict[str, Any], image: Any, apertures: Apertures, notes: list[str]
    ) -> dict[str, Any]:
        if self.parameters.flux_errors == "pixels" or not len(values["label"]):
            return values
        sharing = sharing_of(image)
        if sharing is None:
            notes.append(
                "the image does not say how it was drizzled: its pixels count as independent"
            )
            return values
        exposures = contributing(image, values["xcentroid"], values["ycentroid"])
        if "star_flux" in values:
            place = values["xwindowed"], values["ywindowed"]
            values |= {"lost": lost_to_holes(image, *place, apertures, sharing)}
        return with_all_errors(values, apertures, sharing, exposures)

    def _measure(
        self, image: _Image, apertures: Apertures, factor: float
    ) -> tuple[np.ndarray | None, dict[str, Any]]:
        """Return the map of segments, and values by column; fluxes in units of the image.

        `factor` takes them to the unit that limits of brightness are given in.
        """
        own = self.parameters
        labels: np.ndarray | None = None
        values: dict[str, Any]
        window = window_of(apertures)
        if own.starfinder == "segmentation":
            labels, values = self._by_segments(image, window)
        else:
            values = self._by_peaks(image, factor, window)
        x, y = values["xcentroid"], values["ycentroid"]
        values["label"] = np.arange(1, len(x) + 1, dtype=np.int32)
        if not len(x):
            return labels, values
        level, level_err = local_backgrounds(image.data, x, y, apertures.inner, apertures.outer)
        values |= {"aper_bkg_flux": level, "aper_bkg_flux_err": level_err}
        if own.flux_errors == "all":
            values["sky_noise"], _ = local_backgrounds(
                image.err, x, y, apertures.inner, apertures.outer
            )
        for energy, radius in zip(apertures.energies, apertures.radii, strict=True):
            if math.isnan(radius):
                continue
            flux, error = circular_fluxes(image.data, image.err, x, y, radius)
            values[f"aper{energy}_flux"] = flux - level * (math.pi * radius * radius)
            values[f"aper{energy}_flux_err"] = error
        whole = apertures.total
        if not math.isnan(whole.radius):
            flux, error = circular_fluxes(image.data, image.err, x, y, whole.radius)
            flux -= level * (math.pi * whole.radius**2)
            values["aper_total_flux"] = flux * whole.correction
            values["aper_total_flux_err"] = error * whole.correction
            if own.star_fluxes:
                circles = Circles(image.data, image.err, labels, apertures)
                values |= star_fluxes(circles, values, window)
        values["sharpness"], values["roundness"] = sharpness_and_roundness(
            image.data, x, y, own.kernel_fwhm
        )
        nearest, values["nn_dist"] = nearest_neighbours(x, y)
        values["nn_label"] = np.where(nearest < 0, -1, nearest + 1)
        return labels, values

    def _by_segments(self, image: _Image, window: float) -> tuple[np.ndarray, dict[str, Any]]:
        own = self.parameters
        ratio = signal_to_noise(image.data, image.mesh, image.mask, own.kernel_fwhm)
        if image.excess is not None and own.local_noise:
            for y0, y1 in row_bands(ratio.shape):
                ratio[y0:y1] /= image.excess.rows(y0, y1)
        labels, count = find_segments(
            ratio,
            threshold=own.snr_threshold,
            npixels=own.npixels,
            connectivity=own.connectivity,
            deblend=own.deblend,
            nlevels=own.nlevels,
            contrast=own.contrast,
            mode=own.multithresh_mode,
        )
        if image.excess is not None and own.local_noise:  # positions are of the image's light
            for y0, y1 in row_bands(ratio.shape):
                ratio[y0:y1] *= image.excess.rows(y0, y1)
        found = measure_segments(labels, count, ratio, image.data, image.err, image.mesh)
        shapes = ellipses(found)
        values: dict[str, Any] = {
            "xcentroid": found.x,
            "ycentroid": found.y,
            "isophotal_flux": found.flux,
            "isophotal_flux_err": found.flux_err,
            "isophotal_area": found.area,
            "semimajor_sigma": shapes.semimajor,
            "semiminor_sigma": shapes.semiminor,
            "ellipticity": shapes.ellipticity,
            "orientation": shapes.orientation,
            "box": (found.xmin - 0.5, found.xmax + 0.5, found.ymin - 0.5, found.ymax + 0.5),
        }
        if not count:
            return labels, values
        signal = subtracted(image.data, image.mesh, image.mask, out=ratio)  # needed no more
        places = windowed_places(signal, found.x, found.y, window)
        values["xwindowed"], values["ywindowed"] = places
        scale, least, circle = [*(own.kron_params or KRON), 0.0][:3]
        flux, error, radius = kron_fluxes(
            signal, image.err, image.mask, labels, found, shapes,
            scale=scale, least=least, least_circle=circle, neighbours=own.apermask_method,
        )  # fmt: skip
        values |= {"kron_flux": flux, "kron_flux_err": error, "kron_radius": radius}
        reach = np.maximum(scale * radius * np.sqrt(shapes.semimajor * shapes.semiminor), circle)
        values["kron_area"] = area = math.pi * reach**2
        if own.localbkg_width:
            left = rectangular_backgrounds(signal, image.mask, labels, found, own.localbkg_width)
            values["isophotal_flux"] = found.flux - left * found.area
            values["kron_flux"] = flux - left * area
        return labels, values

    def _by_peaks(self, image: _Image, factor: float, window: float) -> dict[str, Any]:
        own = self.parameters
        signal = subtracted(image.data, image.mesh, image.mask, out=np.empty_like(image.data))
        x, y, *_ = find_peaks(
            signal,
            image.mask,
            own.starfinder,
            self.name,
            threshold=own.snr_threshold * float(np.median(image.mesh.rms)),
            fwhm=own.kernel_fwhm,
            min_separation=max(2, int(own.minsep_fwhm * own.kernel_fwhm + 0.5)),
            sigma_radius=own.sigma_radius,
            sharpness_range=(own.sharplo, own.sharphi),
            roundness_range=(own.roundlo, own.roundhi),
            n_brightest=own.brightest,
            peak_max=None if own.peakmax is None else own.peakmax / factor,
        )
        order = np.lexsort((x, y))  # by row, as segments are
        x, y = x[order], y[order]
        places = windowed_places(signal, x, y, window)
        return dict(
            zip(("xcentroid", "ycentroid", "xwindowed", "ywindowed"), (x, y, *places), strict=True)
        )


def _arrays(image: Any, box_size: int, notes: list[str]) -> _Image | None:
    """Read what is needed of a mosaic; None where no pixel has a value."""
    weight = np.asarray(image.array("wht")) if image.has("wht") else None
    data, err = (
        # SEP takes arrays only that it could write into: what is lent is copied.
        np.require(image.array(name), np.float32, ["C", "W"]) if image.has(name) else None
        for name in ("data", "err")
    )
    assert data is not None  # the schema demands it
    mask = coverage_mask(data, err, weight)
    del weight
    mesh = measure_background(data, box_size, mask)
    if mesh is None:
        notes.append("no pixel of the image has a value, an error and a weight")
        return None
    if err is None:
        notes.append("the image has no errors: those of fluxes are from the noise of the sky")
        err = np.empty_like(data)
        for y0, y1 in row_bands(data.shape):
            err[y0:y1] = mesh.rms_rows(y0, y1)
    excess = None
    if image.has("var_rnoise") and image.has("exptime"):
        excess = NoiseExcess(functools.partial(_noise_of_a_second, image), mask)
    return _Image(data, err, mask, mesh, excess)


def _noise_of_a_second(image: Any, y0: int, y1: int) -> np.ndarray:
    """Return the variance by read noise of some rows, times the exposure time.

    Where few exposures are, the noise is as the time lets expect; where rays were, it is larger.
    """
    region = Region(y0, y1, 0, image.array("data").shape[-1])
    variance, time = (part_of(image, name, region) for name in ("var_rnoise", "exptime"))
    assert variance is not None  # asked for only where both are
    assert time is not None
    product: np.ndarray = variance * time
    return product


def _setting(image: Any) -> dict[str, Any]:
    return {column: image.meta.get(path) for column, path in CHOOSING.items()}


def _pixel_ratio(image: Any, notes: list[str]) -> float:
    """Return pixel of the mosaic over pixel of the detector."""
    ratio = image.meta.get("resample.pixel_scale_ratio")
    if not ratio:
        notes.append("the image does not say its pixel_scale_ratio: taken as 1")
        return 1.0
    return float(ratio)


def _vega_offset(image: Any, reference: Any, notes: list[str]) -> float:
    """Return AB minus Vega magnitude [mag], NaN where it is not known."""
    if reference is None:
        notes.append("there is no reference for Vega magnitudes: they are not given")
        return math.nan
    rows = plain_table(reference.foreign.tree().get("abvega_offset"), reference.path)
    if rows is None:
        table = content(reference, "abvega_offset")
        if table is None:
            notes.append("the reference for Vega magnitudes has no table abvega_offset")
            return math.nan
        rows = np.asarray(table.as_array())
    found = magnitude_offset(rows, _setting(image))
    if isinstance(found, str):
        notes.append(found)
        return math.nan
    return found


def _flux_scale(image: Any, notes: list[str]) -> tuple[float, str]:
    """Return the flux of a pixel of value one, and its unit."""
    from astropy.units import Unit

    unit = (image.meta.get("bunit_data") or "").strip()
    if unit != SURFACE_BRIGHTNESS:
        notes.append(
            f"the image is in {unit or 'no unit'}, not in {SURFACE_BRIGHTNESS}: no magnitudes"
        )
        known = Unit(unit, parse_strict="silent")
        return 1.0, "" if type(known).__name__ == "UnrecognizedUnit" else unit
    area = image.meta.get("photometry.pixelarea_steradians") or pixel_area(
        system_of(image), image.array("data").shape
    )
    if area is None:
        notes.append("the area of a pixel is not known: fluxes are sums of surface brightness")
        return 1.0, unit
    return 1e6 * float(area), "Jy"


def _segmentation(image: Any, labels: np.ndarray) -> SegmentationModel:
    """Return the map of segments, with the metadata and the world coordinates of the image."""
    return SegmentationModel(meta=image.meta, data=labels.view(np.uint32))
