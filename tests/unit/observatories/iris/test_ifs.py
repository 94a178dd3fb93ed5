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
from lightmill.models import CubeModel
from lightmill.observatories.tmt.iris.simulate_ifs import LENSLET, SLICER, Nebula, observe_ifs

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
