"""Make a cube of the frame of an integral-field spectrograph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.errors import ConfigurationError, DataError
from lightmill.models import CubeModel, RateModel, RectificationModel
from lightmill.models.cards import Header
from lightmill.models.content import celestial_cards, wcs_of_cards
from lightmill.models.dq import PIXEL
from lightmill.models.lineage import descend, frame_of
from lightmill.pipeline import Step, param
from lightmill.spectroscopy.rectification import Spectra, extract, rebinned, signal_of
from lightmill.spectroscopy.refraction import Air, moved_back, shifts

__all__ = ["BuildCube"]

DO_NOT_USE = np.uint32(PIXEL["DO_NOT_USE"])
ARCSEC = 1.0 / 3600.0  # [deg]
NO_SHARE = 1e-6  # of the largest share of a row: far below the error of any profile
CD = {"CD1_1", "CD1_2", "CD2_1", "CD2_2", "CROTA2"}
# Where headers say elevation, airmass and parallactic angle: in the middle of the exposure, if they do.
DIRECTION = (
    ("target.elevation_mid", "telescope_state.el"),
    ("target.airmass_mid", "telescope_state.airmass"),
    ("telescope_state.parang",),
)


class BuildCube(Step):
    """Take the spectra of all spatial elements out of a frame, and put them into a cube.

    Where on the detector the light of each lenslet, or of each pixel along a slice, falls is said
    by a rectification matrix; light that falls on several of them is shared out by least squares.
    """

    name = "build_cube"
    reads, writes = RateModel, CubeModel
    references = {"rectmat": RectificationModel}

    @dataclass(frozen=True)
    class Parameters:
        wave_min: float | None = param(
            None, "beginning of the first channel; where all elements are seen", gt=0, unit="um"
        )
        wave_max: float | None = param(
            None, "end of the last channel, at most; where all elements are seen", gt=0, unit="um"
        )
        wave_step: float | None = param(
            None, "width of a channel; the median of the columns by default", gt=0, unit="um"
        )
        refraction: bool = param(
            False, "take out what the dispersion of the air shifts from channel to channel"
        )
        refraction_wavelength: float | None = param(
            None, "whose places stay; that of the middle channel by default", gt=0, unit="um"
        )
        pressure: float | None = param(None, "of the air at the telescope", gt=0, unit="hPa")
        temperature: float | None = param(
            None, "of the air at the telescope", gt=-100, lt=60, unit="deg_C"
        )
        water_vapour: float = param(0.0, "its partial pressure at the telescope", ge=0, unit="hPa")
        zenith_distance: float | None = param(
            None, "instead of the header's EL or AIRMASS", ge=0, lt=85, unit="deg"
        )
        parallactic_angle: float | None = param(
            None, "position angle of the zenith, instead of the header's PARANG", unit="deg"
        )

    def apply(self, frame: RateModel, *, rectmat: RectificationModel) -> CubeModel:
        """Extract, bring all spectra to the same channels, and sort them by place."""
        nx = frame_of(frame)[1]
        if rectmat.rows.shape[-1] != nx:
            raise DataError(
                "the rectification matrix is for another frame",
                place=rectmat.path,
                found=f"{rectmat.rows.shape[-1]} columns",
                expected=f"{nx}",
            )
        spectra = _spectra(frame, rectmat)
        edges = self._edges(rectmat.wavelength)
        channels, factor = rebinned(spectra, rectmat.wavelength, edges)
        planes = _cube(channels, rectmat.position)
        centres = 0.5 * (edges[1:] + edges[:-1])
        axes = _axes(frame, planes["data"].shape, centres, edges)
        told: dict[str, Any] = {"cube.refraction_corrected": False}
        if self.parameters.refraction:
            told = self._without_refraction(frame, planes, centres, axes)
        cube = CubeModel(meta=frame.meta, wavelength=centres, **planes)
        descend(cube, frame)
        cube.meta.update(axes)
        cube.meta.update({"cube.sum_error_factor": factor, **told})
        return cube

    def _without_refraction(
        self,
        frame: RateModel,
        planes: dict[str, np.ndarray],
        centres: np.ndarray,
        axes: dict[str, Any],
    ) -> dict[str, Any]:
        """Move the channels back to where they would be without air; return what to tell of it."""
        p, place = self.parameters, frame.path or frame.meta.filename
        for name in ("pressure", "temperature"):
            if getattr(p, name) is None:
                raise ConfigurationError(
                    f"the {name} of the air is not known",
                    place=f"build_cube.{name}",
                    expected="a number",
                    remedy=f"give build_cube.{name}, or leave out build_cube.refraction",
                )
        zenith, angle = _direction(frame, p.zenith_distance, p.parallactic_angle, place)
        reference = p.refraction_wavelength or float(centres[len(centres) // 2])
        air = Air(p.pressure, p.temperature, p.water_vapour)
        sky = shifts(centres, reference, air, zenith_distance=zenith, angle=angle)
        if axes.get("wcsinfo.cdelt1") is None:
            raise DataError(
                "it is not known how the cube lies on the sky",
                place=f"{place}[PRIMARY/CRVAL1, SCALE]",
                expected="world coordinates and the scale",
                remedy="correct the header, or leave out build_cube.refraction",
            )
        dx, dy = np.linalg.solve(_pixels(axes), np.stack(sky) * ARCSEC)
        planes["data"], planes["err"] = moved_back(planes["data"], planes["err"], dx, dy)
        planes["dq"] = np.where(np.isfinite(planes["data"]), np.uint32(0), DO_NOT_USE)
        return {
            "cube.refraction_corrected": True,
            "cube.refraction_wavelength": reference,
            "cube.refraction_span": float(np.hypot(*(one[0] - one[-1] for one in sky))),
            "cube.refraction_zenith": zenith,
            "cube.refraction_angle": angle,
        }

    def _edges(self, wavelength: np.ndarray) -> np.ndarray:
        """Return the edges of the channels [um]."""
        parameters = self.parameters
        step = parameters.wave_step or float(np.median(np.abs(np.diff(wavelength, axis=1))))
        ends = np.sort(wavelength[:, [0, -1]], axis=1)
        low = parameters.wave_min or float(ends[:, 0].max())
        high = parameters.wave_max or float(ends[:, 1].min())
        count = int((high - low) / step * (1 + 1e-9))
        if count < 1:
            raise DataError(
                "there is no wavelength that all elements share",
                found=f"{low:.5g} to {high:.5g} um",
                expected=f"at least one channel of {step:.3g} um",
                remedy="give build_cube.wave_min and wave_max",
            )
        return low + step * np.arange(count + 1)


def _spectra(frame: RateModel, rectmat: RectificationModel) -> Spectra:
    """Return the spectra of all elements.

    The weights of pixels rest on the signal that the spectra themselves explain, found with equal
    weights before: a pixel that got fewer electrons by chance must not count more for it.
    """
    data = frame.data.astype(np.float64)
    dq = frame.dq if frame.has("dq") else np.zeros(data.shape, np.uint32)
    usable = ((dq & DO_NOT_USE) == 0) & np.isfinite(data)
    weights, rows = _within(rectmat.weights, rectmat.rows)
    if not (frame.has("var_poisson") and frame.has("var_rnoise")):
        return extract(data, frame.err.astype(np.float64) ** 2, usable, weights, rows)
    read = frame.var_rnoise.astype(np.float64)
    lit = usable & (data > 0)
    per_signal = frame.var_poisson[lit].sum(dtype=np.float64) / max(data[lit].sum(), 1e-300)
    even = np.ones(data.shape)
    first = extract(data, even, usable, weights, rows, with_variance=False)
    explained = np.maximum(signal_of(first.flux, weights, rows, data.shape), 0.0)
    return extract(data, read + per_signal * explained, usable, weights, rows)


def _within(weights: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave out the first and last rows of profiles in which no element has a share to speak of."""
    largest = np.abs(weights).max(axis=(0, 2))
    kept = np.flatnonzero(largest > NO_SHARE * largest.max())
    if not kept.size:
        return weights, rows
    first, last = int(kept[0]), int(kept[-1])
    return weights[:, first : last + 1], rows + first


def _cube(spectra: Spectra, position: np.ndarray) -> dict[str, np.ndarray]:
    """Put spectra at their places; where there is none, NaN and DO_NOT_USE."""
    x, y = position[:, 0], position[:, 1]
    shape = (spectra.flux.shape[1], int(y.max()) + 1, int(x.max()) + 1)
    data = np.full(shape, np.nan, np.float32)
    err = np.zeros(shape, np.float32)
    data[:, y, x] = spectra.flux.T
    err[:, y, x] = np.sqrt(spectra.variance).T
    dq = np.where(np.isfinite(data), np.uint32(0), DO_NOT_USE)
    return {"data": data, "err": err, "dq": dq}


def _direction(
    frame: RateModel, zenith: float | None, angle: float | None, place: object
) -> tuple[float, float]:
    """Return zenith distance and position angle of the zenith, as given or as the header says [deg]."""
    elevation, airmass, parallactic = (
        next((value for path in paths if (value := frame.meta.get(path)) is not None), None)
        for paths in DIRECTION
    )
    if zenith is None and elevation is not None:
        zenith = 90.0 - elevation
    elif zenith is None and airmass is not None:
        zenith = float(np.rad2deg(np.arccos(1.0 / max(airmass, 1.0))))
    angle = parallactic if angle is None else angle
    for name, value, keywords in (
        ("zenith_distance", zenith, "ELMID, EL, AIRMAMID, AIRMASS"),
        ("parallactic_angle", angle, "PARANG"),
    ):
        if value is None:
            raise DataError(
                f"the {name.replace('_', ' ')} is not known",
                place=f"{place}[PRIMARY/{keywords}]",
                expected="degrees",
                remedy=f"give build_cube.{name}, or leave out build_cube.refraction",
            )
    assert zenith is not None
    assert angle is not None
    return float(zenith), float(angle)


def _pixels(axes: dict[str, Any]) -> np.ndarray:
    """Return the matrix from pixels of a cube to the tangent plane [deg], east and north."""
    default = {"pc1_1": 1.0, "pc1_2": 0.0, "pc2_1": 0.0, "pc2_2": 1.0}
    pc = [axes.get(f"wcsinfo.{name}", value) for name, value in default.items()]
    scale = [axes["wcsinfo.cdelt1"], axes["wcsinfo.cdelt2"]]
    return np.reshape(pc, (2, 2)) * np.array(scale)[:, None]


def _axes(
    frame: RateModel, shape: tuple[int, ...], centres: np.ndarray, edges: np.ndarray
) -> dict[str, Any]:
    """Return the keywords of the axes of a cube: a tangent plane if it is known, wavelength."""
    axes: dict[str, Any] = {
        "wcsinfo.ctype3": "WAVE", "wcsinfo.cunit3": "um", "wcsinfo.crpix3": 1.0,
        "wcsinfo.crval3": float(centres[0]), "wcsinfo.cdelt3": float(edges[1] - edges[0]),
        "wcsinfo.wcsaxes": 3,
    }  # fmt: skip
    place = next(
        (one for one in ("wcsinfo", "primary_wcs") if frame.meta.get(f"{one}.crval1") is not None),
        None,
    )
    scale = frame.meta.get("instrument.scale")
    if place is None or scale is None:
        return axes
    turned = _turned(frame) or {
        name: frame.meta.get(f"{place}.{name}") for name in ("pc1_1", "pc1_2", "pc2_1", "pc2_2")
    }
    axes |= {f"wcsinfo.{name}": value for name, value in turned.items()}
    for n, size, sign in ((1, shape[2], -1.0), (2, shape[1], 1.0)):
        axes |= {
            f"wcsinfo.ctype{n}": ("RA---TAN", "DEC--TAN")[n - 1],
            f"wcsinfo.cunit{n}": "deg",
            f"wcsinfo.crval{n}": frame.meta.get(f"{place}.crval{n}"),
            f"wcsinfo.crpix{n}": (size + 1) / 2,
            f"wcsinfo.cdelt{n}": sign * scale * ARCSEC,
        }
    return {path: value for path, value in axes.items() if value is not None}


def _turned(frame: RateModel) -> dict[str, float]:
    """Return the matrix of a cube's axes where the header has a CD matrix or CROTA2; else nothing."""
    cards = celestial_cards(frame)
    place = frame.path or frame.meta.filename
    if not set(Header(cards, str(place)).keywords()) & CD:
        return {}
    wcs = wcs_of_cards(cards, place)
    matrix = np.eye(2) if wcs is None else np.asarray(wcs.pixel_scale_matrix)
    size = np.sqrt(abs(np.linalg.det(matrix)))
    if not size > 0:
        raise DataError(
            "pixels of the frame have no size",
            place=f"{place}[CD1_1 …]",
            found=matrix.tolist(),
            expected="a matrix whose determinant is not 0",
            remedy="correct the keywords",
        )
    pc = matrix / size / np.array([[-1.0], [1.0]])  # the cube's CDELT1 is negative
    return {f"pc{i + 1}_{j + 1}": float(pc[i, j]) for i in (0, 1) for j in (0, 1)}
