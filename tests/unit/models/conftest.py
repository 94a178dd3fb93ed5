"""Small models, and the overlay of the observatory whose files the field exchanges."""

from pathlib import Path

import numpy as np
import pytest

from lightmill import models

META = {
    "telescope": "JWST",
    "instrument": {"name": "NIRISS", "detector": "NIS", "filter": "CLEAR", "pupil": "F200W"},
    "exposure": {
        "type": "NIS_IMAGE",
        "ngroups": 3,
        "nints": 2,
        "frame_time": 10.7,
        "group_time": 10.7,
    },
    "wcsinfo": {"v2_ref": -290.1, "ra_ref": 53.16},
    "cal_step": {"jump": "COMPLETE"},
    "ref_file": {"dark": {"name": "crds://dark.fits"}},
}


@pytest.fixture(autouse=True, scope="session")
def discovered():
    home = Path(models.__file__).parents[1] / "observatories" / "jwst"
    models.register_overlay("JWST", home)


def make_ramp(ny=6, nx=5, nints=2, ngroups=3):
    shape = (nints, ngroups, ny, nx)
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return models.RampModel(
        meta=META,
        data=values,
        pixeldq=np.arange(ny * nx, dtype=np.uint32).reshape(ny, nx) << 26,
        groupdq=(np.arange(values.size) % 7).astype(np.uint8).reshape(shape),
    )


def make_rate(ny=6, nx=5):
    def plane(value):
        return np.full((ny, nx), value, np.float32)

    return models.RateModel(
        meta=META,
        data=plane(1.5),
        err=plane(0.1),
        dq=np.full((ny, nx), 1 << 31, np.uint32),
        var_poisson=plane(0.006),
        var_rnoise=plane(0.004),
    )


@pytest.fixture
def ramp():
    return make_ramp()


@pytest.fixture
def rate():
    return make_rate()


@pytest.fixture
def times():
    dtype = [("integration_number", "i4")] + [
        (f"int_{when}_{scale}", "f8")
        for scale in ("MJD_UTC", "BJD_TDB")
        for when in ("start", "mid", "end")
    ]
    table = np.zeros(2, dtype)
    table["integration_number"] = 1, 2
    table["int_mid_MJD_UTC"] = 60000.25, 60000.5
    return table
