"""Cubes of the spectrograph, lenslets and slicer: lines and continuum come back."""

import re
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_allclose

from lightmill import app, models
from lightmill.errors import ConfigurationError, DataError
from lightmill.models import CubeModel, RateModel, RectificationModel
from lightmill.observatories.tmt.iris.simulate_ifs import (
    LENSLET,
    SLICER,
    Nebula,
    Sight,
    observe_ifs,
)
from lightmill.spectroscopy import BuildCube

NEBULA = Nebula()


@pytest.fixture(scope="module", params=[SLICER, LENSLET], ids=lambda one: one.mode)
def observed(request, tmp_path_factory):
    """A cube, the truth in its channels, and how it was observed."""
    folder = tmp_path_factory.mktemp(request.param.mode)
    exposure, cache = observe_ifs(folder, request.param, seed=2)
    given = {"crds_path": cache.root, "context": cache.context, "output_dir": folder}
    path = exposure.uncal
    for pipeline in ("iris_rop", "iris_ifs2"):
        (outcome,) = app.run(pipeline, [path], **given)
        if outcome.error is not None:
            raise outcome.error
        (path,) = outcome.written
    cube = models.open(path)
    step = np.median(np.diff(cube.wavelength))
    edges = np.append(cube.wavelength - step / 2, cube.wavelength[-1] + step / 2)
    maps = NEBULA.maps(request.param)
    truth = np.empty(cube.data.shape)
    for y, x in np.ndindex(cube.data.shape[1:]):
        truth[:, y, x] = NEBULA.between(maps, (x, y), edges)
    return request.param, path, cube, truth, maps


def test_every_channel_has_its_flux_and_its_error(observed):
    _, _, cube, truth, _ = observed
    good = (cube.dq == 0) & (cube.err > 0)
    pull = ((cube.data - truth) / cube.err)[good]

    assert isinstance(cube, CubeModel)
    assert good.mean() > 0.97
    # 30,000 channels, of which neighbours are not independent: 0.01
    assert abs(pull.mean()) < 0.05
    assert abs(np.mean(pull**2) - 1) < 0.05
    assert_allclose(cube.data[good].sum(dtype=float) / truth[good].sum(), 1, atol=4e-3)


def test_lines_have_their_flux_and_their_wavelength(observed):
    _, _, cube, _, maps = observed
    wave, factor = cube.wavelength, cube.meta.cube.sum_error_factor
    step = np.median(np.diff(wave))
    fluxes, waves, shifts = [], [], []
    for y, x in np.ndindex(cube.data.shape[1:]):
        centre, flux = maps["LINEWAVE"][y, x], maps["LINEFLUX"][y, x]
        window = np.abs(wave - centre) < 4.5 * NEBULA.width
        if flux < 60 or (cube.dq[window, y, x] != 0).any():
            continue
        line = (cube.data[:, y, x] - maps["STAR"][y, x] * step)[window]
        err = factor * cube.err[window, y, x]
        fluxes.append((line.sum() - flux) / np.sqrt((err**2).sum()))
        shift = (line * (wave[window] - centre)).sum() / line.sum()
        shifts.append(shift / step)
        waves.append(shift / (np.sqrt(((err * (wave[window] - centre)) ** 2).sum()) / line.sum()))
    count = len(fluxes)

    assert count > 30
    for pulls in (fluxes, waves):  # unbiased, and as well known as they say
        assert abs(np.mean(pulls)) < 4 / np.sqrt(count)
        assert abs(np.std(pulls) - 1) < 4 / np.sqrt(2 * count)
    assert abs(np.mean(shifts)) < 0.02  # of a channel: 30 times finer than the lines are wide


def test_the_cube_says_where_and_at_which_wavelength(observed):
    spectrograph, path, cube, _, _ = observed
    with fits.open(path) as file:
        header = file["SCI"].header
        wcs = WCS(header)
        assert file[0].header["DATAMODL"] == "IRISCubeModel"
        assert file[0].header["S_IFUCUB"] == "COMPLETE"
    ra, dec, metres = wcs.pixel_to_world_values(
        (spectrograph.nx - 1) / 2, (spectrograph.ny - 1) / 2, np.array([0, 100])
    )

    assert_allclose([ra[0], dec[0]], [262.4, -28.9], atol=1e-9)
    assert_allclose(metres * 1e6, cube.wavelength[[0, 100]], rtol=1e-9)
    assert_allclose(header["CDELT2"] * 3600, spectrograph.scale)


def test_the_guide_works_as_it_is_printed(root, tmp_path):
    (code,) = re.findall(
        r"```python\n(.*?)```", (root / "docs" / "how-to" / "make-a-cube.md").read_text(), re.DOTALL
    )

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )

    assert answer.returncode == 0, answer.stderr
    # the nebula gives 400 DN/s at most, the star 0.008 um of 4e5 DN/s per um a tenth of it
    assert 350 < float(answer.stdout.splitlines()[-1].split()[-2]) < 800


def test_a_cache_tells_the_matrices_of_both_modes_apart(tmp_path):
    # in programs of their own: the command makes rules before anything else has read the keywords
    for mode in ("LENSLET", "SLICER"):
        command = [sys.executable, "-m", "lightmill", "iris", "simulate", "ifs", "--mode", mode]
        answer = subprocess.run(
            [*command, "--reads", "3"], capture_output=True, text=True, cwd=tmp_path
        )
        assert answer.returncode == 0, answer.stderr

    (rules,) = sorted((tmp_path / "ifs" / "crds" / "mappings" / "tmt").glob("*rectmat_0002.rmap"))
    for mode in ("LENSLET", "SLICER"):
        assert f"('IFU', '{mode}', '4000-K')" in rules.read_text()


SIGHT = Sight(zenith_distance=60.0, parallactic_angle=50.0, rotation=20.0)


@pytest.fixture(scope="module")
def refracted(tmp_path_factory):
    """Cubes of one exposure at 60 deg from the zenith: as it was seen, and without the air."""
    folder = tmp_path_factory.mktemp("refracted")
    exposure, cache = observe_ifs(folder, LENSLET, sight=SIGHT, seed=5)
    given = {"crds_path": cache.root, "context": cache.context}
    (frame,) = app.run("iris_rop", [exposure.uncal], output_dir=folder, **given)
    cubes = {}
    for name, parameters in (
        ("seen", {}),
        ("mended", {"steps.build_cube.refraction": True,
                    "steps.build_cube.refraction_wavelength": SIGHT.guide}),
    ):  # fmt: skip
        (outcome,) = app.run(
            "iris_ifs2", frame.written, output_dir=folder / name, parameters=parameters, **given
        )
        if outcome.error is not None:
            raise outcome.error
        cubes[name] = models.open(outcome.written[0])
    return cubes


def star_in(cube, channels):
    """Place and flux of the star in the mean of some channels, by a fit of its own shape."""
    from scipy.optimize import least_squares

    data, err = cube.data[channels].astype(float), cube.err[channels].astype(float)
    count = np.isfinite(data).sum(axis=0)
    good = count > 0.9 * len(data)
    image = np.nanmean(np.where(good, data, 0.0), axis=0)[good]
    sigma = (np.sqrt(np.nansum(err**2, axis=0)) / np.maximum(count, 1))[good]
    y, x = np.indices(good.shape)

    def off(p):
        star = p[2] * np.exp(-0.5 * (((x - p[0]) ** 2 + (y - p[1]) ** 2) / p[4] ** 2)) + p[3]
        return (star[good] - image) / sigma

    fit = least_squares(off, [6.5, 3.5, 20.0, 0.0, 1.2])
    errors = np.sqrt(np.diag(np.linalg.inv(fit.jac.T @ fit.jac)))
    return fit.x[:2], errors[:2], 2 * np.pi * fit.x[2] * fit.x[4] ** 2


def bins(cube):
    """Channels between the lines, in groups, and the wavelength of each group."""
    wave = cube.wavelength
    lines = [NEBULA.line, *(centre for centre, _ in NEBULA.sky)]
    free = np.min([np.abs(wave - line) for line in lines], axis=0) > 8 * NEBULA.width
    return [(group, wave[group].mean()) for group in np.array_split(np.flatnonzero(free), 5)]


def test_a_star_is_in_one_place_at_all_wavelengths_when_the_air_is_taken_out(refracted):
    places = {}
    for name, cube in refracted.items():
        found = [(wave, *star_in(cube, group)) for group, wave in bins(cube)]
        waves = np.array([wave for wave, *_ in found])
        at, err = (np.array([one[k] for one in found]) for k in (1, 2))
        places[name] = waves, at, err, np.array([one[3] for one in found])
        assert (err < 0.02).all()

    waves, seen, err, _ = places["seen"]
    dx, dy = SIGHT.offset(waves, LENSLET.scale)
    moved = np.stack([dx, dy], axis=1)
    assert np.hypot(*(moved[0] - moved[-1])) > 0.6  # elements, from end to end
    # the fitted place is that of a sampled Gaussian: exact; five errors, and 0.01 of an element
    assert_allclose(
        seen - moved, np.broadcast_to([6.5, 3.5], seen.shape), atol=5 * err.max() + 0.01
    )
    _, mended, err, flux = places["mended"]
    # two formulas of refraction, which differ by 1 % of 1 element, and what moving does to a star's shape
    assert_allclose(mended, np.broadcast_to([6.5, 3.5], mended.shape), atol=5 * err.max() + 0.02)
    step = np.median(np.diff(refracted["mended"].wavelength))
    assert_allclose(flux, NEBULA.star * step, rtol=0.03)


def test_a_cube_says_what_was_taken_out(refracted):
    told, untold = (refracted[name].meta.cube for name in ("mended", "seen"))

    assert told.refraction_corrected
    assert not untold.refraction_corrected
    assert (told.refraction_zenith, told.refraction_angle) == (60.0, 50.0)
    assert told.refraction_wavelength == SIGHT.guide
    wave = refracted["mended"].wavelength[[0, -1]]
    dx, dy = SIGHT.offset(wave, LENSLET.scale)
    expected = np.hypot(dx[0] - dx[1], dy[0] - dy[1]) * LENSLET.scale
    assert told.refraction_span == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"pressure": None}, ConfigurationError, "pressure of the air"),
        ({"header": "EL"}, DataError, "zenith distance"),
        ({"header": "PARANG"}, DataError, "parallactic angle"),
    ],
)
def test_refraction_without_the_air_or_the_direction_is_refused(change, error, words):
    app.discover()
    meta = {
        "telescope": "TMT", "instrument.name": "IRIS", "instrument.scale": 0.01,
        "telescope_state.el": 40.0, "telescope_state.parang": 10.0, "primary_wcs.crval1": 10.0,
        "primary_wcs.crval2": 20.0,
    }  # fmt: skip
    if "header" in change:
        meta.pop(f"telescope_state.{change['header'].lower()}")
    nx = 12
    frame = RateModel(
        meta=meta, data=np.ones((9, nx), np.float32), err=np.ones((9, nx), np.float32),
        dq=np.zeros((9, nx), np.uint32),
    )  # fmt: skip
    rectmat = RectificationModel(
        weights=np.ones((2, 3, nx), np.float32) / 3, rows=np.repeat([[1], [5]], nx, 1).astype(np.int32),
        wavelength=np.tile(np.linspace(1.0, 1.1, nx), (2, 1)), position=np.array([[0, 0], [1, 0]], np.int32),
    )  # fmt: skip
    parameters = {"refraction": True, "pressure": 612.0, "temperature": 2.0} | change
    parameters.pop("header", None)

    with pytest.raises(error, match=words):
        BuildCube(**parameters).apply(frame, rectmat=rectmat)


@pytest.mark.parametrize("ra", [0.0, 40.0])
@pytest.mark.parametrize("kind", ["PC", "CD", "CROTA2"])
def test_a_cube_lies_on_the_sky_as_its_header_says(tmp_path, kind, ra):
    # a field whose y axis points 20 deg east of north, said in three ways; scale: 10 mas elements
    app.discover()
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    header = {"TELESCOP": "TMT", "INSTRUME": "IRIS", "DATAMODL": "IRISImageModel", "SCALE": 0.01,
              "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": 20.0,
              "CRPIX1": 1.0, "CRPIX2": 1.0}  # fmt: skip
    header |= {
        "PC": {"CDELT1": -1e-6, "CDELT2": 1e-6, "PC1_1": c, "PC1_2": -s, "PC2_1": s, "PC2_2": c},
        "CD": {"CD1_1": -1e-6 * c, "CD1_2": 1e-6 * s, "CD2_1": 1e-6 * s, "CD2_2": 1e-6 * c},
        "CROTA2": {"CDELT1": -1e-6, "CDELT2": 1e-6, "CROTA2": -20.0},
    }[kind]
    nx = 12
    planes = {"SCI": np.ones((9, nx), np.float32), "ERR": np.ones((9, nx), np.float32)}
    fits.HDUList(
        [fits.PrimaryHDU(header=fits.Header(header))]
        + [fits.ImageHDU(plane, name=name) for name, plane in planes.items()]
    ).writeto(tmp_path / "a_rop.fits")
    rectmat = RectificationModel(
        weights=np.ones((2, 3, nx), np.float32) / 3,
        rows=np.repeat([[1], [5]], nx, 1).astype(np.int32),
        wavelength=np.tile(np.linspace(1.0, 1.1, nx), (2, 1)),
        position=np.array([[0, 0], [1, 0]], np.int32),
    )

    cube = BuildCube().apply(models.open(tmp_path / "a_rop.fits"), rectmat=rectmat)

    wcs = models.wcs_of(cube)
    (ra0, dec0), (ra1, dec1) = (wcs.pixel_to_world_values(0.5, y) for y in (0.0, 1.0))
    east = ((ra1 - ra0 + 180) % 360 - 180) * np.cos(np.radians(20.0))
    assert_allclose([(ra0 + 180) % 360 - 180, dec0], [ra, 20.0], atol=1e-12)
    assert_allclose([east * 3600e3, (dec1 - dec0) * 3600e3], [10 * s, 10 * c], atol=1e-4)
