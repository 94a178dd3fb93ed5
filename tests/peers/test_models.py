"""Files of ours are opened by jwst's data models, and theirs by us.

Where the two mean different things: they read arrays at once and big-endian, we
when asked for and native; kinds of data that have no class of ours are
generic models here; a value that breaks its schema is dropped there with a
warning (strict mode raises), here it raises. Everything else is equal: every
value of the metadata, every number of every array.
"""

import json
import subprocess

import numpy as np
import pytest

from lightmill import app, models

pytestmark = pytest.mark.peer

WRITE = """
import sys, numpy as np
from stdatamodels.jwst import datamodels as dm
place = sys.argv[1]
rng = np.random.default_rng(1)
def told(m):
    m.meta.telescope = "JWST"; m.meta.instrument.name = "NIRISS"; m.meta.instrument.detector = "NIS"
    m.meta.instrument.filter = "CLEAR"; m.meta.instrument.pupil = "F200W"
    m.meta.exposure.type = "NIS_IMAGE"; m.meta.exposure.ngroups = 3; m.meta.exposure.nints = 2
    m.meta.exposure.frame_time = 10.7; m.meta.exposure.zero_frame = False
    m.meta.target.proposer_name = "a long name " * 12;
    if "Fit" not in type(m).__name__: m.meta.wcsinfo.v2_ref = -290.0123456789
    m.meta.cal_step.jump = "COMPLETE"; m.meta.ref_file.dark.name = "crds://dark.fits"
    m.meta.program.title = "It's a title"; m.cal_logs = {"jump": ["one", "two: three"]}
    return m
f4 = lambda *s: rng.normal(size=s).astype("f4")
told(dm.Level1bModel(data=rng.integers(0, 65536, (2, 3, 8, 8)).astype("u2"))).save(f"{place}/uncal.fits")
told(dm.RampModel(data=f4(2, 3, 8, 8), pixeldq=rng.integers(0, 2**32, (8, 8)).astype("u4"),
    groupdq=rng.integers(0, 256, (2, 3, 8, 8)).astype("u1"))).save(f"{place}/ramp.fits")
told(dm.ImageModel(data=f4(8, 8), err=f4(8, 8), dq=np.ones((8, 8), "u4"),
    var_poisson=f4(8, 8), var_rnoise=f4(8, 8))).save(f"{place}/rate.fits")
cube = told(dm.CubeModel(data=f4(2, 8, 8), err=f4(2, 8, 8), dq=np.ones((2, 8, 8), "u4")))
cube.int_times = [(1, 1., 2., 3., 4., 5., 6.), (2, 1., 2., 3., 4., 5., 6.)]
cube.save(f"{place}/rateints.fits")
told(dm.RampFitOutputModel(slope=f4(2, 1, 8, 8), weights=f4(2, 1, 8, 8))).save(f"{place}/fitopt.fits")
told(dm.SlitModel(data=f4(8, 8))).save(f"{place}/slit.fits")
told(dm.ImageModel(data=f4(8, 8))).save(f"{place}/rate.asdf")
dark = dm.DarkModel(data=f4(3, 8, 8), dq=np.zeros((8, 8), "u4"))
dark.meta.telescope = "JWST"; dark.meta.instrument.name = "NIRISS"; dark.meta.instrument.detector = "NIS"
dark.meta.description = "simulated"; dark.meta.author = "nobody"; dark.meta.pedigree = "DUMMY"
dark.meta.useafter = "2022-01-01T00:00:00"
dark.meta.reftype = "DARK"; dark.meta.exposure.average_dark_current = 0.25
dark.save(f"{place}/dark.fits")
"""

READ = """
import json, sys, warnings
import numpy as np
from stdatamodels.jwst import datamodels as dm
warnings.simplefilter("error")
warnings.filterwarnings("ignore", message=".*was created with extension")
told = {}
for path in sys.argv[2:]:
    with dm.open(path, strict_validation=True, validate_arrays=True) as m:
        m.validate()
        arrays = {}
        for name in sys.argv[1].split(","):
            value = getattr(m, name, None)
            if value is not None and np.size(value):
                arrays[name] = [str(np.asarray(value).dtype.name), np.asarray(value).tolist()]
        flat = {k: v for k, v in m.to_flat_dict(include_arrays=False).items() if isinstance(v, (int, float, str))}
        told[path] = {"class": type(m).__name__, "meta": flat, "arrays": arrays}
print(json.dumps(told))
"""

NAMES = ("data", "err", "dq", "pixeldq", "groupdq", "var_poisson", "var_rnoise", "slope", "weights")


@pytest.fixture(scope="module")
def theirs(peer, tmp_path_factory):
    app.discover()
    place = tmp_path_factory.mktemp("peer")
    done = subprocess.run([peer, "-c", WRITE, place], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return place


def read_by_peer(peer, *paths):
    done = subprocess.run(
        [peer, "-c", READ, ",".join(NAMES), *map(str, paths)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def both(peer, theirs, tmp_path_factory):
    """What the peer reads in its files, and in ours written from them."""
    place = tmp_path_factory.mktemp("ours")
    names = sorted(path.name for path in theirs.iterdir())
    ours = {name: models.open(theirs / name).save(place / name) for name in names}
    told = read_by_peer(peer, *(theirs / name for name in names), *ours.values())
    return {name: (told[str(theirs / name)], told[str(ours[name])]) for name in names}


def same_meta(ours, flat):
    told = {
        path.removeprefix("meta."): value
        for path, value in flat.items()
        if path.startswith("meta.")
    }
    assert {path: value for path, value in ours.meta.flat().items() if path in told} == told


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("uncal.fits", "UncalModel"),
        ("ramp.fits", "RampModel"),
        ("rate.fits", "RateModel"),
        ("rateints.fits", "RateIntsModel"),
        ("fitopt.fits", "FitOptModel"),
        ("slit.fits", "Model"),
        ("dark.fits", "DarkModel"),
        ("rate.asdf", "RateModel"),
    ],
)
def test_what_they_write_we_read_and_they_read_again(theirs, both, name, expected):
    model = models.open(theirs / name)

    first, second = both[name]

    assert model.model_type == expected
    same_meta(model, first["meta"])
    for array, (dtype, values) in first["arrays"].items():
        ours = getattr(model, array)
        assert ours.dtype.name == dtype
        np.testing.assert_array_equal(ours, np.array(values, ours.dtype))
    assert second["class"] == first["class"]
    assert second["arrays"] == first["arrays"]
    # what we add: the unit of the values
    added = {"meta.bunit_data", "meta.bunit_err"}
    differing = {
        path
        for path in {*first["meta"], *second["meta"]} - added
        if first["meta"].get(path) != second["meta"].get(path)
    }
    assert {path for path in differing if path.startswith(("meta", "cal_logs"))} <= {
        "meta.filename",
        "meta.date",
    }


def test_a_header_edited_by_hand_means_the_same_to_both(peer, theirs, tmp_path):
    from astropy.io import fits

    path = models.open(theirs / "rate.fits").save(tmp_path / "rate.fits")
    with fits.open(path, mode="update") as file:
        file[0].header["TFRAME"] = 9.5
        del file[0].header["NGROUPS"]

    (told,) = read_by_peer(peer, path).values()
    model = models.open(path)

    assert told["meta"]["meta.exposure.frame_time"] == model.meta.exposure.frame_time == 9.5
    assert told["meta"]["meta.exposure.ngroups"] == model.meta.exposure.ngroups == 3


def test_every_keyword_of_ours_is_theirs(peer):
    app.discover()
    from lightmill.models.overlay import model_schema

    code = (
        "import json; from stdatamodels.jwst import datamodels as dm\n"
        "m = dm.ImageModel(); out = {}\n"
        "def walk(s, p):\n"
        "    if 'fits_keyword' in s: out[p] = [s['fits_keyword'], s.get('fits_hdu', 'PRIMARY'), s.get('type')]\n"
        "    for c in s.get('allOf', []): walk(c, p)\n"
        "    for k, v in s.get('properties', {}).items(): walk(v, f'{p}.{k}' if p else k)\n"
        "walk(m.schema, ''); print(json.dumps(out))"
    )
    done = subprocess.run([peer, "-c", code], check=True, capture_output=True, text=True)
    facts = json.loads(done.stdout)

    known = {
        f"meta.{path}": [field.keyword, field.hdu, field.type]
        for path, field in model_schema("rate-1.0.0", "JWST").fields.items()
        if f"meta.{path}" in facts
    }
    assert len(known) > 350
    assert known == {path: facts[path] for path in known}
