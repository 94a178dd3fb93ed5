"""A simulated observation of the imager, and what its own pipelines made of other data."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from lightmill import app
from lightmill.observatories.tmt.iris.simulate import Camera, observe

ROOT = Path(__file__).parents[4]
CASES = Path(os.environ.get("LIGHTMILL_CASES", ROOT.parent / "shared" / "cases")) / "iris"


@pytest.fixture(scope="session")
def cases():
    """Folder of what the observatory's pipelines made; skips, loudly, where it is not."""
    if not CASES.is_dir():
        pytest.skip(f"NO REFERENCE VECTORS of the observatory's pipelines at {CASES}")
    return CASES


@pytest.fixture(scope="session")
def pipeline():
    """Make a pipeline by its name."""
    app.discover()
    return lambda name: app._pipeline(app.pipelines()[name][0][1])()


def association(path, product, science, background=()):
    """Write an association of files in its folder."""
    members = [{"expname": Path(one).name, "exptype": "science"} for one in science]
    members += [{"expname": Path(one).name, "exptype": "background"} for one in background]
    document = {"asn_rule": "test", "asn_type": "image2", "asn_pool": "pool",
                "products": [{"name": product, "members": members}]}  # fmt: skip
    path.write_text(json.dumps(document))
    return path


def made(outcomes):
    """Return the products of runs, all of which must be done."""
    for one in outcomes:
        if one.error is not None:
            raise one.error
    return [path for one in outcomes for path in one.written]


@pytest.fixture(scope="session")
def night(tmp_path_factory):
    """Four dithers and three exposures of a changing sky, from raw to reduced frames."""
    folder = tmp_path_factory.mktemp("night")
    observed, cache = observe(folder, camera=Camera(size=256), skies=3, faintest=400.0, seed=4)
    given = {"crds_path": cache.root, "context": cache.context, "output_dir": folder}
    rops = made(app.run("iris_rop", [one.uncal for one in observed], **given))
    science = [path for path in rops if "_sci_" in path.name]
    skies = [path for path in rops if "_sky_" in path.name]
    cals = []
    for path in science:
        product = path.name.removesuffix("_rop.fits")
        asn = association(folder / f"{product}_asn.json", product, [path], skies)
        cals += made(app.run("iris_image2", [asn], **given))
    return SimpleNamespace(
        folder=folder, observed=observed, given=given, rops=rops, science=science, skies=skies,
        cals=cals, truths=[one.truth for one in observed],
    )  # fmt: skip


@pytest.fixture(name="association")
def _association():
    return association


@pytest.fixture(name="made")
def _made():
    return made
