"""The reference files of the second and third stage of imaging, as an instrument team has them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.simulate.asdf_text import (
    Node,
    affine,
    compose,
    concatenate,
    polynomial,
    remap,
    shift,
    table,
    unit,
    write_tree,
)
from lightmill.simulate.detector import Detector
from lightmill.simulate.facts import InstrumentFacts, Window
from lightmill.simulate.focal_plane import FocalPlane
from lightmill.simulate.optics import StarImage
from lightmill.simulate.references import DqFlags, ReferenceFiles, with_flags
from lightmill.simulate.scene import stream

__all__ = ["Response", "distortion_model", "draw_response", "write_imaging_references"]

_STERADIAN = 206264.80624709636**2  # square arcseconds in a steradian
_FLAT_ERROR = 0.001  # of a flat field, relative to it
_INVERSE_DEGREE = 7
_FRACTIONS = (0.3, 0.5, 0.6, 0.7, 0.8)  # of a star's light in the tabulated apertures
_CUT_REACH = 8  # pixels
_SKY = (5.0, 8.0)  # annulus of the local sky, in units of the largest aperture


@dataclass(frozen=True)
class Response:
    """How the pixels of a window answer to light, arrays (ny, nx) of float32.

    Attributes
    ----------
    efficiency : ndarray
        Relative number of electrons for a point source.
    area : ndarray
        Relative solid angle: the sky fills a large pixel more.
    """

    efficiency: np.ndarray
    area: np.ndarray


def draw_response(
    facts: InstrumentFacts, window: Window, detector: Detector, plane: FocalPlane, seed: int
) -> Response:
    """Draw the sensitivity of the pixels through a filter: large patches and pixel-to-pixel scatter.

    Pixels without any answer are those of the detector.
    """
    keys = " ".join(str(facts.header.get(key)) for key in ("FILTER", "PUPIL", "DETECTOR"))
    rng = stream(seed, f"flat {keys} {window.name}")
    y = np.linspace(-1, 1, window.rows, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, window.columns, dtype=np.float32)[None, :]
    a, b, c, d = (np.float32(value) for value in rng.normal(0, 0.015, 4))
    smooth = 1 + a * x + b * y + c * x * y + d * (x**2 - y**2)
    grain = rng.standard_normal(window.shape, dtype=np.float32) * np.float32(0.008)
    efficiency = detector.efficiency * smooth * (1 + grain)
    return Response(efficiency.astype(np.float32), plane.area(window))


def distortion_model(plane: FocalPlane) -> Node:
    """Return the way from pixels of the whole detector to V2, V3 [arcsec], and back.

    The filter's shift is not part of it. The way back is a polynomial fitted to the way there
    over the detector and a margin of 4 %.

    Returns
    -------
    model : Node
        A compound model of `astropy.modeling`, as it is written to a file.
    """
    degree = max([1, *(i + j for _, i, j, _ in plane.terms)])
    there = np.zeros((2, degree + 1, degree + 1))
    there[0, 1, 0] = there[1, 0, 1] = plane.scale
    for axis, i, j, value in plane.terms:
        there[axis, i, j] += plane.scale * value / plane.half ** (i + j)
    back = _inverse(plane)
    return compose(
        concatenate(shift(-plane.x0), shift(-plane.y0)),
        remap(0, 1, 0, 1),
        concatenate(polynomial(there[0]), polynomial(there[1])),
        affine(plane.turn),
        concatenate(shift(plane.v2), shift(plane.v3)),
        inverse=compose(
            concatenate(shift(-plane.v2), shift(-plane.v3)),
            affine(np.linalg.inv(plane.turn)),
            remap(0, 1, 0, 1),
            concatenate(polynomial(back[0]), polynomial(back[1])),
            concatenate(shift(plane.x0), shift(plane.y0)),
        ),
    )


@functools.lru_cache(maxsize=16)
def _inverse(plane: FocalPlane) -> np.ndarray:
    """Fit polynomials from undistorted places [arcsec] to offsets from the centre [pixel]."""
    edge = 1.04 * plane.half
    x, y = (a.ravel() for a in np.meshgrid(*[np.linspace(-edge, edge, 29)] * 2))
    v2, v3 = plane.v2v3(x + plane.x0 - plane.shift[0], y + plane.y0 - plane.shift[1])
    ideal = np.linalg.inv(plane.turn) @ np.stack([v2 - plane.v2, v3 - plane.v3])
    unit_length = plane.scale * plane.half
    u, v = ideal / unit_length
    n = _INVERSE_DEGREE + 1
    powers = [(i, j) for i in range(n) for j in range(n - i)]
    terms = np.stack([u**i * v**j for i, j in powers], axis=1)
    found, *_ = np.linalg.lstsq(terms, np.stack([x, y], axis=1), rcond=None)
    out = np.zeros((2, n, n))
    for (i, j), values in zip(powers, found, strict=True):
        out[:, i, j] = values / unit_length ** (i + j)
    return out


def write_imaging_references(
    directory: Path,
    facts: InstrumentFacts,
    window: Window,
    detector: Detector,
    responses: Mapping[str, Response],
    stars: Mapping[str, StarImage],
    *,
    seed: int,
) -> dict[str, dict[str, Path]]:
    """Write every reference file that images of a detector need after the first stage.

    Parameters
    ----------
    directory : Path
    facts : InstrumentFacts
        The detector.
    responses : mapping
        Filter to the answer of the pixels: each gets a flat field and a map of areas.
    stars : mapping
        Filter to the image of a star, for aperture corrections.
    seed : int
        Decides the errors of the flat fields.

    Returns
    -------
    references : dict
        Filter → reference type → file.
    """
    files = ReferenceFiles(directory, facts, window)
    _distortion(files, facts)
    _filteroffset(files, facts)
    _photom(files, facts)
    _apcorr(files, facts, stars)
    _abvegaoffset(files, facts)
    shared = dict(files.written)
    out = {}
    for name, response in responses.items():
        of_filter = ReferenceFiles(directory, facts, window, name)
        _flat(of_filter, facts, detector, response, name, seed)
        whole = ReferenceFiles(directory, facts, facts.window("full"), name)
        _area(whole, facts, name)
        out[name] = shared | of_filter.written | whole.written
    return out


def _write_tree(files: ReferenceFiles, kind: str, description: str, **content: Any) -> None:
    """Write a file whose content is a tree; it has no date, see `write_tree`."""
    facts = files.facts
    instrument = {
        "name": facts.name,
        **{
            key.lower(): facts.reference_header[key]
            for key in ("DETECTOR", "CHANNEL", "MODULE")
            if key in facts.reference_header
        },
    }
    h = facts.reference_header
    meta = {
        "telescope": h["TELESCOP"],
        "reftype": kind,
        "pedigree": h["PEDIGREE"],
        "author": h["AUTHOR"],
        "useafter": h["USEAFTER"],
        "description": description,
        "instrument": instrument,
        "exposure": {"type": facts.header["EXP_TYPE"]},
    }
    meta |= content.pop("meta", {})
    write_tree(files.place(kind, ".asdf"), {"meta": meta, **content})


def _distortion(files: ReferenceFiles, facts: InstrumentFacts) -> None:
    instrument_wide = {
        f"p_{name}": "".join(f"{value}|" for value in values)
        for name, values in _wheels(facts).items()
    }
    meta: dict[str, Any] = {"input_units": unit("pixel"), "output_units": unit("arcsec")}
    meta["instrument"] = {
        "name": facts.name,
        "detector": facts.header["DETECTOR"],
        "p_pupil": "ANY|",
        **{k.lower(): facts.header[k] for k in ("CHANNEL", "MODULE") if k in facts.header},
        **instrument_wide,
    }
    model = distortion_model(FocalPlane.of(facts))
    _write_tree(files, "distortion", "From pixels to V2, V3", model=model, meta=meta)


def _wheels(facts: InstrumentFacts) -> dict[str, list[str]]:
    """Return what headers may say of each wheel."""
    out: dict[str, list[str]] = {}
    for band in facts.filters.values():
        for key, value in band.keywords.items():
            values = out.setdefault(key.lower(), [])
            if value not in values:
                values.append(value)
    return out


def _filteroffset(files: ReferenceFiles, facts: InstrumentFacts) -> None:
    rows = [
        {k.lower(): v for k, v in band.keywords.items()}
        | {"column_offset": float(band.shift[0]), "row_offset": float(band.shift[1])}
        for band in facts.filters.values()
    ]
    _write_tree(
        files,
        "filteroffset",
        "Shift of the image by each filter",
        filters=rows,
        meta={"input_units": unit("pixel")},
    )


def _abvegaoffset(files: ReferenceFiles, facts: InstrumentFacts) -> None:
    bands = list(facts.filters.values())
    columns = {key.lower(): [band.keywords[key] for band in bands] for key in bands[0].keywords} | {
        "abvega_offset": [float(band.vega) for band in bands]
    }
    title = "AB minus Vega magnitudes"
    _write_tree(files, "abvegaoffset", title, abvega_offset=table(columns))


def _flat(
    files: ReferenceFiles,
    facts: InstrumentFacts,
    detector: Detector,
    response: Response,
    name: str,
    seed: int,
) -> None:
    """Write what an evenly lit detector shows, in DN, with the error of its measurement."""
    rng = stream(seed, f"flat error {name} {facts.header['DETECTOR']}")
    even = response.efficiency * response.area * (np.float32(facts.pixels.gain) / detector.gain)
    unknown = even == 0
    noise = rng.standard_normal(even.shape, dtype=np.float32)
    flat = even * (1 + np.float32(_FLAT_ERROR) * noise)
    flat[unknown] = np.nan
    err = np.where(unknown, np.float32(0), np.float32(_FLAT_ERROR) * even)
    flags = DqFlags(even.shape, DO_NOT_USE=unknown, NO_FLAT_FIELD=unknown)
    keywords: dict[str, Any] = dict(facts.filters[name].keywords)
    keywords["EXP_TYPE"] = facts.header["EXP_TYPE"]
    with files.begin("flat", "FlatModel", "Response to even light", **keywords) as file:
        file.image("SCI", flat.astype(np.float32))
        with_flags(file, flags)
        file.image("ERR", err.astype(np.float32))


def _area(files: ReferenceFiles, facts: InstrumentFacts, name: str) -> None:
    """Write the map of the whole detector: whoever needs a part of it cuts it out."""
    plane = FocalPlane.of(facts, facts.filters[name].shift)
    keywords = dict(facts.filters[name].keywords) | _pixel_area(facts)
    keywords["EXP_TYPE"] = facts.header["EXP_TYPE"]
    with files.begin("area", "PixelAreaModel", "Relative area of pixels", **keywords) as file:
        file.image("SCI", plane.area(files.window))


def _pixel_area(facts: InstrumentFacts) -> dict[str, Any]:
    square = facts.optics.pixel_scale**2
    return {
        "PIXAR_SR": (square / _STERADIAN, "Nominal pixel area [sr]"),
        "PIXAR_A2": (square, "Nominal pixel area [arcsec^2]"),
    }


def _selectors(facts: InstrumentFacts, pupil: int) -> list[tuple[str, str]]:
    """Columns by which a row of a table is found."""
    return [
        ("filter", "S12"),
        ("subarray", "S17") if facts.subarray_column else ("pupil", f"S{pupil}"),
    ]


def _rows(facts: InstrumentFacts, window: Window) -> Iterable[tuple[str, tuple[bytes, bytes]]]:
    """Filter, and what the first two columns say of it, for each row of a table."""
    for name, band in facts.filters.items():
        first = band.keywords["FILTER"].encode()
        if facts.subarray_column:
            for subarray in dict.fromkeys(["FULL", *facts.geometry.subarrays, window.name]):
                yield name, (first, subarray.encode())
        else:
            yield name, (first, band.keywords["PUPIL"].encode())


def _photom(files: ReferenceFiles, facts: InstrumentFacts) -> None:
    columns = [*_selectors(facts, 12), ("photmjsr", "f4"), ("uncertainty", "f4")]
    rows = []
    steradians = facts.optics.pixel_scale**2 / _STERADIAN
    for name, selectors in _rows(facts, files.window):
        optics = facts.through(name).optics
        # one DN / s is so many Jy, spread over the nominal pixel
        factor = 1e-6 * facts.pixels.gain / optics.electrons_per_jansky / steradians
        rows.append((*selectors, factor, 0.01 * factor))
    keywords = _pixel_area(facts) | {"EXP_TYPE": facts.header["EXP_TYPE"]}
    model = f"{_short(facts)}ImgPhotomModel"
    title = "Surface brightness of a count rate"
    with files.begin("photom", model, title, pixels=False, **keywords) as file:
        units = {"TUNIT3": "MJy/sr", "TUNIT4": "MJy/sr"}
        file.table("PHOTOM", np.array(rows, columns), units)


def _short(facts: InstrumentFacts) -> str:
    """Return the three letters that stand for the instrument in names of kinds of data."""
    return str(facts.header["EXP_TYPE"])[:3].title()


def _apcorr(files: ReferenceFiles, facts: InstrumentFacts, stars: Mapping[str, StarImage]) -> None:
    columns = [*_selectors(facts, 15)]
    columns += [(name, "f4") for name in ("eefraction", "radius", "apcorr", "skyin", "skyout")]
    curves = {name: _growth(star) for name, star in stars.items()}
    rows = []
    for name, selectors in _rows(facts, files.window):
        if name in curves:
            rows += [(*selectors, *row) for row in _apertures(*curves[name])]
    model = f"{_short(facts)}ImgApcorrModel"
    keywords = {"EXP_TYPE": facts.header["EXP_TYPE"]}
    title = "Aperture corrections of point sources"
    with files.begin("apcorr", model, title, pixels=False, **keywords) as file:
        file.table("APCORR", np.array(rows, columns))


@functools.lru_cache(maxsize=16)
def _growth(star: StarImage) -> tuple[np.ndarray, np.ndarray]:
    """Radii [pixel], and the fraction of a star's light within, on a mosaic of the native scale.

    The mosaic spreads each pixel, drawn as a square of its own size (pixfrac 1), over those of
    the output it overlaps: on average over all dithers a convolution with a triangle two
    pixels wide (Fruchter & Hook 2002, PASP 114, 144). An aperture takes the light of a pixel as
    spread evenly over it, which is one more square.
    """
    k, n = star.fine, star.reach
    # a pixel's image at every quarter of a pixel: a star moved up by i/k shows at its pixels'
    # centres what lies i/k below its own
    fine = np.zeros(((2 * n + 1) * k, (2 * n + 1) * k))
    for i in range(k):
        for j in range(k):
            fine[k - 1 - i :: k, k - 1 - j :: k] = star.phases[i, j]
    triangle = 1 - np.abs(np.arange(-k, k + 1)) / k
    square = np.r_[0.5, np.ones(k - 1), 0.5]
    spread = np.convolve(triangle, square)
    spread /= spread.sum()
    h = len(spread) // 2
    for axis in (0, 1):
        padded = np.pad(fine, [(h, h) if a == axis else (0, 0) for a in (0, 1)])
        size = fine.shape[axis]
        fine = sum(
            weight * np.take(padded, np.arange(i, i + size), axis=axis)
            for i, weight in enumerate(spread)
        )
    fine /= fine.sum()
    centre = n * k + k - 1
    # light by radius, in bins narrower than a sample, which near the centre is cut into pieces
    edges = np.arange(0, n + 0.01, 0.02)
    axis_values = (np.arange(len(fine)) - centre) / k
    near = slice(centre - _CUT_REACH * k, centre + _CUT_REACH * k + 1)
    light = _by_radius(axis_values, fine, edges, 1) - _by_radius(
        axis_values[near], fine[near, near], edges, 1
    )
    light += _by_radius(axis_values[near], fine[near, near], edges, 6)
    return edges, np.r_[0.0, np.cumsum(light)]


def _by_radius(axis_values: np.ndarray, image: np.ndarray, edges: np.ndarray, cut: int) -> Any:
    """Return the light between radii, each sample being `cut` x `cut` pieces."""
    spacing = axis_values[1] - axis_values[0]
    offsets = ((np.arange(cut) + 0.5) / cut - 0.5) * spacing
    light = np.zeros(len(edges) - 1)
    for dy in offsets:
        for dx in offsets:
            r = np.hypot(axis_values[:, None] + dy, axis_values[None, :] + dx)
            light += np.histogram(r, edges, weights=image)[0]
    return light / cut**2


def _apertures(radii: np.ndarray, light: np.ndarray) -> list[tuple[float, ...]]:
    """Rows of a table of aperture corrections: they know of the star's light in the sky annulus."""
    sizes = [float(np.interp(fraction, light, radii)) for fraction in _FRACTIONS]
    skyin, skyout = (round(factor * sizes[-1], 1) for factor in _SKY)
    inner, outer = np.interp([skyin, skyout], radii, light)
    per_area = (outer - inner) / (skyout**2 - skyin**2)
    return [
        (fraction, size, 1 / (fraction - per_area * size**2), skyin, skyout)
        for fraction, size in zip(_FRACTIONS, sizes, strict=True)
    ]
