"""The cache of a simulation, used by the official client (`crds` 14) and pipeline (`jwst` 3.0.0).

Neither gets anything but ``CRDS_PATH``: no override, no server. If both choose the same files and
name them in the same keywords, the rules, the cache and what we read in headers are right.

What the two *mean* differently: the peer asks for types that none of our steps takes (they are not
applicable to simulated data), and calls itself by its own version in CRDS_VER.
"""

import json
import os
import subprocess

import pytest
from astropy.io import fits

from lightmill import app, models, simulate
from lightmill.pipeline import parameter_files
from lightmill.reference.rulebook import RuleBook
from lightmill.testing.caches import add_to_cache

pytestmark = [pytest.mark.peer, pytest.mark.slow]

ASK = """
import json, logging, sys
import crds
from crds import rmap
from stdatamodels.jwst import datamodels
context, types = sys.argv[1], json.loads(sys.argv[2])
rules = rmap.get_cached_mapping(context)          # refuses a file whose checksum is wrong
names = sorted(rules.mapping_names())
with datamodels.open(sys.argv[3]) as model:
    header = model.get_crds_parameters()
found = crds.getrecommendations(header, types, context=context, observatory="jwst")
print("ANSWER " + json.dumps({"names": names, "found": found}))
"""
RUN = """
import sys
from jwst.pipeline import Detector1Pipeline
Detector1Pipeline.call(sys.argv[1], save_results=True, output_dir=sys.argv[2])
"""


@pytest.fixture(scope="module", params=["niriss", "nircam", "miri"])
def night(request, root, tmp_path_factory):
    """An exposure of a window, and the cache beside it."""
    leaf = root / "src/lightmill/observatories/jwst" / request.param / "simulate.yaml"
    facts = simulate.InstrumentFacts.from_yaml(leaf)
    folder = tmp_path_factory.mktemp(request.param)
    made = simulate.exposure(facts, "imaging-field", seed=5, directory=folder, size=64, ngroups=5)
    return made, simulate.write_cache(folder / "crds", facts, [made]), facts


def environment(cache):
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("CRDS_")},
        "CRDS_PATH": str(cache.root),
        "CRDS_SERVER_URL": "https://crds-serverless-mode.stsci.edu",
    }


def test_the_official_client_chooses_the_same_files(night, peer):
    made, cache, facts = night
    types = [*facts.rules.types, *facts.rules.not_applicable]
    command = [peer, "-c", ASK, cache.context, json.dumps(types), made.uncal]

    answer = subprocess.run(command, capture_output=True, text=True, env=environment(cache))

    assert answer.returncode == 0, answer.stderr
    (line,) = (one for one in answer.stdout.splitlines() if one.startswith("ANSWER "))
    theirs = json.loads(line.removeprefix("ANSWER "))
    on_disk = sorted(path.name for path in (cache.root / "mappings" / "jwst").iterdir())
    assert theirs["names"] == on_disk
    ours = RuleBook.at(cache.root, cache.context).choose(models.open(made.uncal), types)
    assert {kind: one.name for kind, one in ours.items()} == {
        kind: "N/A" if name.startswith("NOT FOUND n/a") else name
        for kind, name in theirs["found"].items()
    }


def test_both_pipelines_write_the_same_references_into_their_products(night, peer, tmp_path):
    made, cache, _ = night
    command = [peer, "-c", RUN, made.uncal, tmp_path / "peer"]
    (tmp_path / "peer").mkdir()

    answer = subprocess.run(command, capture_output=True, text=True, env=environment(cache))
    app.run("calwebb_detector1", [made.uncal], crds_path=cache.root, output_dir=tmp_path)

    assert answer.returncode == 0, answer.stderr
    name = made.uncal.name.replace("_uncal", "_rate")
    theirs, ours = (keywords(folder / name) for folder in (tmp_path / "peer", tmp_path))
    assert ours == {key: value for key, value in theirs.items() if value != "N/A"}
    assert ours["CRDS_CTX"] == cache.context
    assert ours["R_DARK"].startswith("crds://jwst_")


def keywords(path):
    header = fits.getheader(path)
    kept = (key for key in header if key.startswith("R_") or key == "CRDS_CTX")
    return {key: header[key] for key in kept}


def test_the_peer_takes_the_parameters_our_rules_choose(night, peer, tmp_path):
    made, cache, _ = night
    step = app.prepared("jump", models.open(made.uncal), {"rejection_threshold": 5.25})
    file = parameter_files.write(tmp_path / "pars.asdf", step, aliases=app.aliases())
    context = add_to_cache(cache.root, models.open(made.uncal), "pars-jumpstep", file)
    saved = tmp_path / "theirs.asdf"
    run = [peer.parent / "strun", "calwebb_detector1", made.uncal, f"--save-parameters={saved}"]

    answer = subprocess.run(
        [*run, f"--output_dir={tmp_path}"], capture_output=True, text=True, env=environment(cache)
    )
    (outcome,) = app.run(
        "calwebb_detector1", [made.uncal], crds_path=cache.root, output_dir=tmp_path / "ours"
    )

    assert answer.returncode == 0, answer.stderr
    theirs = parameter_files.read(saved, aliases=app.aliases()).settings
    (jump,) = (note for note in outcome.record["steps"] if note["name"] == "jump")
    ours = jump["parameters"]["rejection_threshold"]
    assert float(theirs.step("jump").value("rejection_threshold")) == ours["value"] == 5.25
    assert ours["origin"].startswith("reference jwst_")
    assert outcome.record["context"] == context
