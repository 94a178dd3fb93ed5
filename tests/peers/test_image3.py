"""Stage 3 crosswise: the peer's (`jwst` 3.0.0) on what we calibrated, ours on what it calibrated.

Four simulated exposures of one field, two rolls, pointings wrong by 20 mas. Each side calibrates
the count rates (stage 2) and puts both sides' `_cal` together (stage 3), with the parameters the peer
has by default: ours take the profile `jwst-3.0`. Twice: with the pointings as they are, and aligned,
but without the search for outliers.

Where the two *mean* different things (docs/reference/peer-differences.md), and no parameter brings it
back: the peer aligns one exposure after the other and leaves the first where it is, we solve for all
at once with corrections that are zero on average. So a whole mosaic may be elsewhere by as much as
pointings are wrong; and what is left between exposures, 5 mas there, is told by outliers, which the
peer then finds in the cores of stars. Outliers within rounding of a threshold are flagged by one of
the two; a source that has one in it differs by more than others. Sky levels differ by their error.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

from lightmill import app
from lightmill.simulate import InstrumentFacts, observe

pytestmark = [pytest.mark.peer, pytest.mark.slow]

LEAF = Path(app.__file__).parent / "observatories" / "jwst"
SECOND = {
    "assign_wcs": ("distortion", "filteroffset"),
    "flat_field": ("flat",),
    "photom": ("photom", "area"),
}
THIRD = ("apcorr", "abvegaoffset")
ELSEWHERE = {  # reference types of other kinds of exposures, which the peer asks for all the same
    "assign_wcs": (
        "specwcs", "regions", "wavelengthrange", "camera", "chromcorr", "collimator", "disperser",
        "fore", "fpa", "msa", "ote", "ifupost", "ifufore", "ifuslicer",
    ),
    "flat_field": ("fflat", "sflat", "dflat"),
    "bkg_subtract": ("bkg", "wavelengthrange"),
}  # fmt: skip
WAYS = {"as-pointed": "tweakreg", "aligned": "outlier_detection"}  # what is left out
THEIRS = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
from jwst.pipeline import Image2Pipeline, Image3Pipeline
told = json.load(open(sys.argv[1]))
for rate in told["rates"]:
    Image2Pipeline.call(rate, steps=told["second"], save_results=True, output_dir=told["theirs"])
for folder in (told["ours"], told["theirs"]):
    os.chdir(folder)  # members of associations are looked for there
    for way in told["ways"]:
        steps = {"tweakreg": {"abs_refcat": ""}} | told["third"]
        steps.setdefault(told["ways"][way], {})["skip"] = True
        Image3Pipeline.call("asn.json", steps=steps, save_results=True,
                            output_dir=os.path.join(folder, f"their-{way}"))
"""


@pytest.fixture(scope="module")
def exposures(tmp_path_factory):
    """Count rates of one field with the references they need."""
    facts = InstrumentFacts.from_yaml(LEAF / "niriss" / "simulate.yaml")
    # far enough apart that no blend is taken apart by one of the two only
    changes = {"galaxies": 0.0, "pointing_error": 0.02, "roll_error": 0.0005}
    folder = tmp_path_factory.mktemp("field")
    return list(observe(facts, "imaging-tiny", seed=3, directory=folder, level="rate", **changes))


@pytest.fixture(scope="module")
def folders(peer, exposures, tmp_path_factory):
    """Folder of each side's calibrated exposures, with both sides' mosaics of them below."""
    work = tmp_path_factory.mktemp("crosswise")
    ours, theirs = work / "ours", work / "theirs"
    theirs.mkdir()
    for one in exposures:
        kinds = [kind for kinds in SECOND.values() for kind in kinds]
        _run("calwebb_image2", one.uncal, ours, _given(one, kinds), skip=["resample"])
    for folder in (ours, theirs):
        _associate(folder, [one.uncal.name.replace("_rate", "_cal") for one in exposures])
    _ask_the_peer(peer, exposures, work, ours, theirs)
    for folder in (ours, theirs):
        for way, step in WAYS.items():
            given = _given(exposures[0], THIRD)
            _run("calwebb_image3", folder / "asn.json", folder / f"our-{way}", given, skip=[step])
    return {"ours": ours, "theirs": theirs}


def _given(exposure, kinds):
    return {kind: str(exposure.references.get(kind, "N/A")) for kind in kinds}


def _run(pipeline, given, out, overrides, skip):
    (outcome,) = app.run(
        pipeline, [given], overrides=overrides, skip=skip, output_dir=out, profile="jwst-3.0"
    )
    if outcome.error is not None:
        raise outcome.error


def _associate(folder, names):
    members = [{"expname": name, "exptype": "science"} for name in names]
    document = {
        "asn_type": "image3", "asn_rule": "Asn_Lv3Image", "asn_id": "a3001", "program": "99001",
        "asn_pool": "none", "products": [{"name": "mosaic", "members": members}],
    }  # fmt: skip
    (folder / "asn.json").write_text(json.dumps(document))


def _ask_the_peer(peer, exposures, work, ours, theirs):
    one = exposures[0]
    second = {
        step: {f"override_{kind}": path for kind, path in _given(one, kinds).items()}
        | {f"override_{kind}": "N/A" for kind in ELSEWHERE.get(step, ())}
        for step, kinds in ({"bkg_subtract": ()} | SECOND).items()
    }
    second["resample"] = {"skip": True}
    third = {"source_catalog": {f"override_{k}": path for k, path in _given(one, THIRD).items()}}
    (work / "told.json").write_text(
        json.dumps(
            {
                "rates": [str(one.uncal) for one in exposures], "second": second, "third": third,
                "ours": str(ours), "theirs": str(theirs), "ways": WAYS,
            }
        )
    )  # fmt: skip
    (work / "config" / "jwst").mkdir(parents=True)
    (work / "config" / "jwst" / "server_config").write_text(
        "{'observatory':'jwst','operational_context':'jwst_0000.pmap','last_synced':'never'}"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CRDS"))}
    kept |= {"CRDS_PATH": str(work), "STPIPE_DISABLE_CRDS_STEPPARS": "true"}
    answer = subprocess.run(
        [str(peer), "-W", "ignore", "-c", THEIRS, str(work / "told.json")],
        capture_output=True, text=True, env=kept, cwd=work,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-3000:]


def planes(folder):
    with fits.open(folder / "mosaic_i2d.fits") as opened:
        return {h.name: h.data.copy() for h in opened if h.is_image and h.data is not None}


def catalog(folder):
    return QTable.read(folder / "mosaic_cat.ecsv")


def places(table):
    """Return tangent-plane coordinates about one point [mas]."""
    sky = table["sky_centroid"]
    east = (sky.ra.deg - 53.1625) * np.cos(np.radians(-27.7914))
    return np.stack([east, sky.dec.deg + 27.7914], axis=1) * 3.6e6


@pytest.fixture(scope="module", params=WAYS)
def way(request):
    return request.param


@pytest.fixture(scope="module", params=["our", "their"])
def maker(request):
    return request.param


def test_the_mosaic_is_the_same_whoever_calibrated_the_exposures(folders, maker, way):
    a, b = (planes(folders[side] / f"{maker}-{way}") for side in ("ours", "theirs"))

    np.testing.assert_array_equal(a["CON"], b["CON"])
    for name in ("SCI", "ERR", "WHT"):
        # a few roundings of float32 in stage 2, none of which tips a threshold
        np.testing.assert_allclose(a[name], b[name], rtol=1e-5, equal_nan=True, err_msg=name)


def test_the_catalog_is_the_same_whoever_calibrated_the_exposures(folders, maker, way):
    a, b = (catalog(folders[side] / f"{maker}-{way}") for side in ("ours", "theirs"))

    assert len(a) == len(b) > 25
    np.testing.assert_allclose(a["aper_total_flux"], b["aper_total_flux"], rtol=1e-5)


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_weights_and_context_are_the_peer_s_where_pointings_are_kept(folders, side):
    ours, theirs = (planes(folders[side] / f"{maker}-as-pointed") for maker in ("our", "their"))

    assert (ours["CON"] == theirs["CON"]).mean() > 0.9999
    there = theirs["WHT"] > 0
    # positions differ by 1e-4 pixel, and single pixels by what is an outlier
    assert np.mean(np.abs(ours["WHT"][there] / theirs["WHT"][there] - 1) < 1e-3) > 0.999
    known = np.isfinite(theirs["ERR"]) & np.isfinite(ours["ERR"])
    assert np.mean(np.abs(ours["ERR"][known] / theirs["ERR"][known] - 1) < 0.02) > 0.999


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_sources_are_where_the_peer_has_them_and_as_bright(folders, side, way):
    ours, theirs = (catalog(folders[side] / f"{maker}-{way}") for maker in ("our", "their"))
    here, there = places(ours), places(theirs)
    index = np.argmin(np.hypot(*(here[:, None] - there[None]).T).T, axis=1)
    apart = here - there[index]
    apart -= np.median(apart, axis=0)
    near = np.hypot(*apart.T) < 30
    snr = ours["aper_total_flux"] / ours["aper_total_flux_err"]
    bright = near & (snr.value > 20)
    ratio = (ours["aper_total_flux"] / theirs["aper_total_flux"][index]).value[bright]

    assert near.mean() > 0.75
    assert bright.sum() > 20
    # aligned: what is left of pointings blurs stars, by other amounts
    limit, tail = (1e-3, 5e-3) if way == "as-pointed" else (5e-3, 1e-2)
    assert abs(np.median(ratio) - 1) < limit
    assert np.percentile(np.abs(ratio - 1), 80) < tail
