"""The report of a demonstration: complete, self-contained, readable without its pictures."""

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

import lightmill
from lightmill.cli.demo import run_demo
from lightmill.cli.report import measures
from lightmill.simulate import InstrumentFacts

LEAF = Path(lightmill.__file__).parent / "observatories/jwst/niriss/simulate.yaml"
RECORD = {
    "software": {"lightmill": "1.2.3"},
    "pipeline": "stage1",
    "context": "obs_0042.pmap",
    "wall_s": 1.5,
    "peak_mb": 123.0,
    "steps": [
        {
            "name": "jump",
            "status": "COMPLETE",
            "cpu_s": 0.5,
            "wall_s": 0.6,
            "parameters": {"threshold": {"value": 5.5, "origin": "command line"}},
            "references": {
                "gain": {
                    "name": "gain.fits",
                    "sha256": "0123456789abcdef",
                    "context": "obs_0042.pmap",
                    "rule": "obs_gain_0007.rmap: <LAMP>",
                }
            },
        },
        {"name": "fringe", "status": "SKIPPED", "reason": "<nothing> to do"},
    ],
}


def pretend(exposure, cache, folder):
    """Make a product that is the truth, with noise as large as its error says."""
    uncal = exposure.uncal
    assert (cache.root / "mappings" / "jwst" / cache.context).exists()
    truth = uncal.with_name(uncal.name.replace("_uncal", "_truth"))
    rate = fits.getdata(truth, "RATE")
    noise = np.random.default_rng(1).normal(0, 2.0, rate.shape)
    path = folder / uncal.name.replace("_uncal", "_rate")
    fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.ImageHDU((rate + noise).astype(np.float32), name="SCI"),
            fits.ImageHDU(np.full_like(rate, 2.0), name="ERR"),
            fits.ImageHDU(np.zeros(rate.shape, np.uint32), name="DQ"),
        ]
    ).writeto(path)
    return {"rate": path, "record": RECORD}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    facts = InstrumentFacts.from_yaml(LEAF)
    return run_demo(facts, folder, pretend, scene="minimal", command="lightmill demo <x>")


def test_the_page_needs_nothing_else(report):
    page = report.read_text()

    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses
    assert all(a.startswith(("data:image/png;base64,", "#")) for a in addresses)
    assert "@import" not in page
    assert "url(" not in page


def test_every_picture_says_what_it_shows(report):
    page = report.read_text()

    for picture in re.findall(r"<img\b[^>]*>", page):
        assert 'alt="' in picture
    assert page.count('role="img" aria-label="') >= 1


def test_the_record_is_told_and_escaped(report):
    page = report.read_text()

    for words in ("1.2.3", "gain.fits", "0123456789ab", "threshold", "command line", "jump"):
        assert words in page
    assert "&lt;nothing&gt; to do" in page
    assert "Chosen by the rules <code>obs_0042.pmap</code>" in page
    assert "obs_gain_0007.rmap: &lt;LAMP&gt;" in page
    assert "lightmill demo &lt;x&gt;" in page


def test_pulls_of_a_perfect_product_are_a_unit_gaussian(report):
    raw = next((report.parent / "raw").glob("*_uncal.fits"))
    e = measures.read(
        raw,
        report.parent / "products" / raw.name.replace("_uncal", "_rate"),
        raw.with_name(raw.name.replace("_uncal", "_truth")),
    )

    clean = measures.pulls(e)[0]

    # 64 x 64 pixels: standard errors of mean and width are 0.016 and 0.011
    assert abs(clean.mean) < 0.08
    assert abs(clean.std - 1) < 0.06
