"""Alignment and sky matching beside the reference pipeline (`jwst` 3.0.0), on the same exposures.

The field is simulated, so both are held to the truth as well as to each other. Where they *mean*
different things (docs/reference/peer-differences.md): the peer leaves the exposure with the most
overlap where it is, we leave the mean of all; so a shift and a rotation of the whole field are taken
away before residuals are compared. The peer's matched sky is the difference of two modes, each
uncertain by some hundredths of the noise of a pixel; ours the median of differences.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from lightmill import app
from lightmill.imaging import AlignExposures, MatchSky
from lightmill.imaging.affine import fit_affine
from lightmill.imaging.overlap import TangentPlane
from lightmill.models import Exposures, wcs_of
from lightmill.simulate import InstrumentFacts, observe

pytestmark = pytest.mark.peer

MAS = 0.001  # arcsec
PLACE = 53.1625, -27.7914  # where the scene is [deg]
THEIRS = """
import json, sys, warnings, logging
warnings.simplefilter("ignore")
import numpy as np
from jwst.datamodels import ModelLibrary
from jwst.skymatch import SkyMatchStep
from jwst.tweakreg import TweakRegStep
files, grid = json.loads(sys.argv[1]), json.loads(sys.argv[2])
x, y = np.array(grid[0]), np.array(grid[1])
def look(library, sky=False):
    told = []
    with library:
        for k in range(len(files)):
            model = library.borrow(k)
            told.append(
                model.meta.background.level if sky else
                [np.asarray(a).tolist() for a in model.meta.wcs(x, y)]
                + [list(model.meta.wcs.available_frames), str(model.meta.cal_step.tweakreg)]
            )
            library.shelve(model, k, modify=False)
    return told
given = ModelLibrary(files, on_disk=False)
found = {"given": look(given)}
aligned = TweakRegStep.call(given, save_results=False)
found["aligned"] = look(aligned)
found["sky"] = look(SkyMatchStep.call(aligned, save_results=False), sky=True)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("field")


@pytest.fixture(scope="module")
def ask(peer, tmp_path_factory):
    """What the peer says of some files, and of what its steps make of them."""
    cache = tmp_path_factory.mktemp("crds")
    (cache / "config" / "jwst").mkdir(parents=True)
    (cache / "config" / "jwst" / "server_config").write_text(
        "{'observatory':'jwst','operational_context':'jwst_0000.pmap','last_synced':'never'}"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CRDS"))}
    kept |= {"CRDS_PATH": str(cache), "STPIPE_DISABLE_CRDS_STEPPARS": "true"}

    def ask(files, x, y):
        given = json.dumps([str(file) for file in files]), json.dumps([x.tolist(), y.tolist()])
        answer = subprocess.run(
            [str(peer), "-W", "ignore", "-c", THEIRS, *given],
            capture_output=True, text=True, env=kept, cwd=cache,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stderr[-3000:]
        return json.loads(answer.stdout.splitlines()[-1])

    return ask


@pytest.fixture(scope="module")
def files(folder):
    """Four calibrated exposures of one field, whose pointings are off by some 120 mas."""
    facts = InstrumentFacts.from_yaml(
        Path(app.__file__).parent / "observatories" / "jwst" / "niriss" / "simulate.yaml"
    )
    made = []
    for one in observe(facts, "imaging-tiny", seed=3, directory=folder, level="rate"):
        kinds = ("distortion", "filteroffset", "flat", "photom", "area")
        (outcome,) = app.run(
            "calwebb_image2",
            [one.uncal],
            overrides={kind: str(one.references.get(kind, "N/A")) for kind in kinds},
            skip=["resample"],
            output_dir=folder,
        )
        assert outcome.error is None, outcome.error
        made.append(outcome.written[0])
    return made


@pytest.fixture(scope="module")
def grid():
    return [at.ravel() for at in np.meshgrid(*2 * [np.linspace(5, 250, 6)])]


@pytest.fixture(scope="module")
def aligned(files):
    return AlignExposures().apply(Exposures.of(files))


@pytest.fixture(scope="module")
def theirs(ask, files, grid):
    """The exposures as they were given, through the peer's steps."""
    return ask(files, *grid)


@pytest.fixture(scope="module")
def ours(ask, aligned, folder, grid):
    """The exposures as we aligned them, read by the peer, and through its steps again."""
    saved = [
        model.save(folder / f"aligned_{k}_cal.fits") for k, model in enumerate(aligned.science)
    ]
    return ask(saved, *grid)


def residual(said, files):
    """Scatter about the truth [arcsec], as the sources of the scene lie, of coordinates said.

    Parameters
    ----------
    said : list of callable
        Pixels to the sky, one an exposure.
    """
    here, true = [], []
    for sky, file in zip(said, files, strict=True):
        table = Table.read(str(file).replace("_cal", "_truth"), "CATALOG")
        inside = [(table[axis] > 5) & (table[axis] < 250) for axis in "xy"]
        table = table[inside[0] & inside[1]]
        plane = TangentPlane(*PLACE)
        here.append(plane.project(*sky(np.asarray(table["x"]), np.asarray(table["y"]))))
        true.append(plane.project(np.asarray(table["ra"]), np.asarray(table["dec"])))
    here, true = np.concatenate(here), np.concatenate(true)
    return np.sqrt(np.mean((fit_affine(here, true, "rshift")(here) - true) ** 2))


def interpolated(told, grid):
    """What the peer says of a grid, for all pixels: its coordinates are smooth."""
    plane = TangentPlane(*PLACE)

    def terms(x, y):
        u, v = x / 128 - 1, y / 128 - 1
        return np.stack([u**i * v**j for i in range(5) for j in range(5 - i)], axis=1)

    fit = np.linalg.lstsq(terms(*grid), plane.project(*told[:2]), rcond=None)[0]
    return lambda x, y: plane.deproject(terms(x, y) @ fit)


def test_the_peer_reads_the_coordinates_we_corrected(ours, aligned, grid):
    plane = TangentPlane(*PLACE)
    for told, model in zip(ours["given"], aligned.science, strict=True):
        here = plane.project(*wcs_of(model).pixel_to_world_values(*grid))
        # rounding of double precision in two packages' trigonometry: a thousandth of a mas
        np.testing.assert_allclose(plane.project(*told[:2]), here, atol=1e-3 * MAS)
        assert "v2v3corr" in told[2]


def test_the_peer_can_correct_what_we_corrected(ours):
    # its corrector refuses coordinates whose correction is not in the form it knows, and adds its
    # own to the one that is there
    for before, after in zip(ours["given"], ours["aligned"], strict=True):
        assert after[3] == "COMPLETE"
        assert after[2] == before[2]
        moved = TangentPlane(*PLACE).project(*after[:2]) - TangentPlane(*PLACE).project(*before[:2])
        # physics: what its own centroids leave of a field of forty stars, see the next test
        assert np.abs(moved).max() < 150 * MAS


def test_what_is_left_is_no_more_than_what_the_peer_leaves(theirs, aligned, files, grid):
    before = residual([interpolated(told, grid) for told in theirs["given"]], files)
    peer = residual([interpolated(told, grid) for told in theirs["aligned"]], files)
    ours = residual([wcs_of(model).pixel_to_world_values for model in aligned.science], files)

    assert before > 20 * MAS
    # physics: forty stars an exposure, the brightest of which are good to 1 mas
    assert ours < 1.5 * MAS
    assert ours < 1.2 * peer


def test_the_skies_of_a_field_with_one_sky_are_the_same(theirs, aligned):
    # physics: one sky over all exposures, each of 256 x 256 pixels
    noise = np.nanmedian(np.asarray(aligned.science[0].array("err")))

    matched = MatchSky().apply(aligned)

    levels = np.array([model.meta.background.level for model in matched.science])
    # the error of a median of so many pixels is 0.005 of their noise; sources share the sky
    assert np.ptp(levels) < 0.05 * noise
    assert np.ptp(levels) < np.ptp(theirs["sky"])
