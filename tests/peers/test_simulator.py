"""The simulator, judged by the reference pipeline (`jwst` 3.0.0): it knows neither us nor our calibration.

If its rate of clean sky lies around the simulated truth by as much as its own error says, then
signs, orders, frames and units of the raw data and of every reference file are right.

What the two *mean* differently: the peer's error leaves out the flicker noise that reference
pixels do not remove, and its weights underestimate the variance (docs/reference/peer-differences.md).
Hence a width of the pulls of up to 1.1.
"""

import json
import os
import subprocess

import numpy as np
import pytest
from astropy.io import fits

from lightmill.simulate import InstrumentFacts, exposure

pytestmark = [pytest.mark.peer, pytest.mark.slow]

STEPS = {
    "dq_init": ["mask"],
    "saturation": ["saturation", "superbias"],
    "ipc": ["ipc"],
    "superbias": ["superbias"],
    "refpix": ["refpix", "sirskernel"],
    "linearity": ["linearity"],
    "dark_current": ["dark"],
    "reset": ["reset"],
    "rscd": ["rscd"],
    "jump": ["gain", "readnoise"],
    "ramp_fit": ["gain", "readnoise"],
    "gain_scale": ["gain"],
}
RUN = """
import json, sys
from jwst.pipeline import Detector1Pipeline
Detector1Pipeline.call(sys.argv[1], steps=json.load(open(sys.argv[2])), save_results=True,
                       output_dir=sys.argv[3])
"""
OPEN = """
import sys, warnings
warnings.simplefilter("error")
from jwst import datamodels
for path in sys.argv[1:]:
    with datamodels.open(path, strict_validation=True) as model:
        model.validate()
        print(type(model).__name__)
"""


@pytest.fixture(params=["niriss", "nircam", "miri"])
def case(request, root, tmp_path):
    leaf = root / "src/lightmill/observatories/jwst" / request.param / "simulate.yaml"
    return exposure(
        InstrumentFacts.from_yaml(leaf),
        "imaging-field",
        seed=31,
        directory=tmp_path,
        size=256,
        nints=2 if request.param == "miri" else 1,
    )


def test_the_peer_opens_every_file(case, peer):
    paths = [str(p) for p in (case.uncal, *case.references.values())]

    answer = subprocess.run([peer, "-c", OPEN, *paths], capture_output=True, text=True)

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split()[0] == "Level1bModel"


def test_the_peers_rate_is_the_truth_within_its_error(case, peer, tmp_path):
    cache = tmp_path / "crds/config/jwst"
    cache.mkdir(parents=True)
    (cache / "server_config").write_text(
        "{'observatory':'jwst','operational_context':'jwst_0000.pmap','last_synced':'never'}"
    )
    overrides = tmp_path / "overrides.json"
    overrides.write_text(
        json.dumps(
            {
                step: {f"override_{t}": str(case.references.get(t, "N/A")) for t in types}
                for step, types in STEPS.items()
            }
        )
    )
    environment = os.environ | {
        "CRDS_PATH": str(tmp_path / "crds"),
        "STPIPE_DISABLE_CRDS_STEPPARS": "true",
    }
    command = [peer, "-c", RUN, case.uncal, overrides, tmp_path]
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stderr

    product = case.uncal.with_name(case.uncal.name.replace("_uncal", "_rate"))
    with fits.open(product) as file, fits.open(case.truth) as truth:
        clean = (truth["CLASS"].data == 0) & ((file["DQ"].data & 7) == 0)
        residual = file["SCI"].data[clean] - truth["RATE"].data[clean]
        pull = residual / file["ERR"].data[clean]
    pull = pull[np.abs(pull) < 5]

    assert abs(pull.mean()) < 0.1
    assert 0.95 < pull.std() < 1.1
