"""Simulated images, judged by the reference pipeline (`jwst` 3.0.0) with nothing but the cache beside them.

It chooses the references by the rules of the cache, opens each as its own kind of data, and its
world coordinates put every source of the truth where it shines. Neither side has a parameter to
adjust and nothing differs in meaning, so what remains is rounding: 0.1 mas is asked for, a
nanoarcsecond is found.
"""

import json
import os
import subprocess

import numpy as np
import pytest
from astropy.io import fits

from lightmill import simulate
from lightmill.simulate import InstrumentFacts

pytestmark = [pytest.mark.peer, pytest.mark.slow]

CODE = """
import json, sys, warnings
import numpy as np
from astropy.table import Table
from stdatamodels.jwst import datamodels
from jwst.assign_wcs import AssignWcsStep
from jwst.flatfield import FlatFieldStep
from jwst.photom import PhotomStep

TREES = {"distortion": "DistortionModel", "filteroffset": "FilteroffsetModel",
         "abvegaoffset": "ABVegaOffsetModel"}  # files that do not say what they are
told = json.load(open(sys.argv[1]))
out = []
for rate, truth, references in told:
    kinds = {}
    for kind, path in references.items():
        opened = getattr(datamodels, TREES[kind]) if kind in TREES else datamodels.open
        with opened(path, strict_validation=True) as model:
            model.validate()
            kinds[kind] = type(model).__name__
    image = AssignWcsStep.call(rate)
    catalog = Table.read(truth, "CATALOG")
    x, y = (np.array(catalog[name], float) for name in ("x", "y"))
    ny, nx = image.data.shape
    inside = (x > 0) & (x < nx - 1) & (y > 0) & (y < ny - 1)
    ra, dec = image.meta.wcs(x[inside], y[inside])
    east = (ra - catalog["ra"][inside]) * np.cos(np.radians(catalog["dec"][inside])) * 3.6e6
    north = (dec - catalog["dec"][inside]) * 3.6e6
    image = PhotomStep.call(FlatFieldStep.call(image))
    out.append({"kinds": kinds, "n": int(inside.sum()),
        "off": float(np.abs([east, north]).max()), "sky": float(np.nanmedian(image.data)),
        "area": list(image.area.shape), "steradian": image.meta.photometry.pixelarea_steradians,
        "factor": image.meta.photometry.conversion_megajanskys,
        "steps": [image.meta.cal_step.flat_field, image.meta.cal_step.photom]})
print(json.dumps(out))
"""


@pytest.mark.parametrize("leaf", ["niriss", "nircam", "miri"])
def test_the_peer_finds_and_places_everything(leaf, root, peer, tmp_path):
    home = root / "src/lightmill/observatories/jwst" / leaf / "simulate.yaml"
    facts = InstrumentFacts.from_yaml(home)
    night = simulate.observe(
        facts,
        "imaging-tiny",
        seed=4,
        directory=tmp_path,
        level="rate",
        filters=tuple(facts.filters)[:2],
        detectors=tuple(facts.detectors)[:2],
        dithers=((0.3, -0.4),),
        rolls=(7.0,),
        pointing_error=0.0,
        roll_error=0.0,
    )
    simulate.write_cache(tmp_path / "crds", facts, night)
    told = tmp_path / "told.json"
    told.write_text(
        json.dumps(
            [
                (
                    str(one.uncal),
                    str(one.truth),
                    {k: str(p) for k, p in one.references.items()},
                )
                for one in night
            ]
        )
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CRDS"))}
    environment |= {
        "CRDS_PATH": str(tmp_path / "crds"),
        "CRDS_SERVER_URL": "https://crds-serverless-mode.stsci.edu",
        "STPIPE_DISABLE_CRDS_STEPPARS": "true",
    }

    answer = subprocess.run(
        [str(peer), "-W", "ignore", "-c", CODE, str(told)],
        capture_output=True,
        text=True,
        env=environment,
    )

    assert answer.returncode == 0, answer.stderr[-3000:]
    found = json.loads(answer.stdout.splitlines()[-1])
    assert len(found) == len(night) >= 2
    for one, theirs in zip(night, found, strict=True):
        assert theirs["n"] > 20
        assert theirs["off"] < 0.1  # mas
        assert theirs["steps"] == ["COMPLETE", "COMPLETE"]
        assert set(theirs["kinds"]) == set(one.references)
        with fits.open(one.truth) as truth:
            assert tuple(theirs["area"]) == truth["AREA"].shape
            # the sky in MJy/sr, as the truth has it; the field's sources lift the median
            electrons, per_jansky = truth[0].header["SKY"], truth[0].header["PERJY"]
        sky = electrons / per_jansky / theirs["steradian"] / 1e6
        assert sky < theirs["sky"] < 1.25 * sky
        assert np.isclose(
            theirs["factor"], facts.pixels.gain / per_jansky / theirs["steradian"] / 1e6
        )
