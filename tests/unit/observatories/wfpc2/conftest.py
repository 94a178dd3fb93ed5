"""Where the cases of the maintenance are, and archives made of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from lightmill.observatories.hst.wfpc2.exposures import Exposure
from lightmill.observatories.hst.wfpc2.geometry import attitude_of, coordinates_of, moved
from lightmill.observatories.hst.wfpc2.jitter import Pointing
from lightmill.observatories.hst.wfpc2.tables import tables

FIELD = (150.1, 2.2, 100.0)  # deg


def exposure_at(number, v2=0.0, v3=0.0, turned=0.0, *, field=FIELD, **facts):
    """Return an exposure `v2`, `v3` arcsec from a field, its camera turned by `turned` deg."""
    ra, dec, roll = (float(one[0]) for one in coordinates_of(moved(attitude_of(*field), v2, v3)))
    given = {
        "dataset_name": f"UZ0101{number:02d}T", "pep_id": 90001, "visit": "01", "targname": "FIELD",
        "aperture": "UWFALL", "filtnam1": "F555W", "filtnam2": "", "exptime": 100.0,
        "start_time": f"1997-03-01T00:{number:02d}:00", "start_time_dmf": 60 * number,
        "release_date_dmf": 1000 + number, **facts,
    }  # fmt: skip
    return Exposure(ra_hdr=ra, dec_hdr=dec, pa_v3_hdr=roll + turned, **given)


def pointing_of_exposure(exposure, quality="P", generation="199703010000", **facts):
    """Return the pointing of an exposure, where its header says it looked."""
    at = {"ra": exposure.ra_hdr, "dec": exposure.dec_hdr, "roll": exposure.pa_v3_hdr, **facts}
    return Pointing(f"{exposure.root}J", generation, quality=quality, **at)


def lasting_tables(state):
    """Return the tables without the flag of superseded rows: that one tells what was, not what is."""
    found = tables(state)
    for row in found["dads_received"]:
        if row["curr"] == "N":
            del row["jitter"]
    return found


@pytest.fixture(scope="session")
def lasting():
    """Return a function that gives a state's tables as far as they do not depend on the way there."""
    return lasting_tables


@pytest.fixture(scope="session")
def cases(root) -> Path:
    """Folder of the cases; skips, loudly, where there is none."""
    found = root.parent / "shared" / "cases" / "wfpc2"
    if not found.is_dir():
        pytest.skip(f"NO CASES at {found}: what is true of these archives is not known here")
    return found


@pytest.fixture(scope="session")
def make_archive(cases, tmp_path_factory):
    """Return a function that makes an archive of random proposals, and its truth."""

    def make(seed: int, proposals: int = 25, *options: str) -> Path:
        folder = tmp_path_factory.mktemp("archive") / f"seed-{seed}"
        command = [sys.executable, cases / "make_archive.py", folder, "--seed", seed]
        command += ["--proposals", proposals, "--fits", "none", *options]
        subprocess.run([str(one) for one in command], check=True, capture_output=True)
        return folder

    return make


@pytest.fixture(scope="session")
def make_exposure():
    """Return a function that makes an exposure at an offset from one field."""
    return exposure_at


@pytest.fixture(scope="session")
def make_pointing():
    """Return a function that makes the pointing of an exposure, as its header has it."""
    return pointing_of_exposure
