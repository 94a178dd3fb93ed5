"""Whatever a user gives that is wrong: one error that says what to do, and nothing left behind."""

import json
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fuzz import mangled
from lightmill import app, models
from lightmill.errors import DataError, LightmillError, UnknownNameError
from lightmill.testing import make_ramp, make_reference, make_uncal, write_exposure

NAMES = ("mask", "saturation", "superbias", "linearity", "dark", "gain", "readnoise")


@pytest.fixture(scope="module")
def exposure(tmp_path_factory):
    """A raw file of 32 x 32 pixels with its references; not to be changed."""
    return write_exposure(tmp_path_factory.mktemp("night"), rate=5.0, shape=(32, 32), seed=1)


@pytest.fixture
def raw(exposure, tmp_path):
    """A copy of the raw file that a test may spoil."""
    path = tmp_path / "in" / exposure.path.name
    path.parent.mkdir()
    path.write_bytes(exposure.path.read_bytes())
    return path


@pytest.fixture
def run(exposure, tmp_path):
    """Run the invented observatory's pipeline into ``out``."""

    out = tmp_path / "out"

    def run(path, overrides=None, output_dir=out, target="lantern_ramps", **options):
        chosen = {name: exposure.overrides[name] for name in NAMES} | (overrides or {})
        inputs = options.pop("inputs", [path])
        return app.run(target, inputs, overrides=chosen, output_dir=output_dir, **options)

    run.out = out
    return run


def refused(run, *arguments, status, says, **options):
    """Check that a run fails as it should, and leaves no output."""
    with pytest.raises(LightmillError) as caught:
        run(*arguments, **options)
    error = caught.value
    assert error.exit_status == status, error.story()
    assert error.place, error.story()
    assert says in error.story()
    assert len(error.story().splitlines()) <= 10
    out = Path(options.get("output_dir", run.out))
    assert not out.is_dir() or not list(out.iterdir())
    return error


def test_good_input_gives_a_product(run, raw):
    (outcome,) = run(raw)

    assert sorted(p.name for p in outcome.written) == [
        "lantern001_rate.fits",
        "lantern001_rateints.fits",
    ]


# -- the raw file ---------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0, 100, 2880, 5760, 10000, -2880])
def test_a_truncated_file(run, raw, left):
    content = raw.read_bytes()
    raw.write_bytes(content[:left])

    refused(run, raw, status=3, says=raw.name)


def test_a_file_that_is_no_fits_file(run, raw):
    raw.write_bytes(random.Random(1).randbytes(20000))

    refused(run, raw, status=3, says=raw.name)


def test_a_file_that_is_not_there(run, raw):
    refused(run, raw.with_name("missing_uncal.fits"), status=3, says="missing_uncal.fits")


def test_a_folder_without_an_exposure(run, tmp_path):
    folder = tmp_path / "nothing_here"
    folder.mkdir()

    refused(run, folder, status=3, says="nothing_here")


def test_a_file_without_an_image(run, raw):
    content = raw.read_bytes()
    raw.write_bytes(content.replace(b"EXTNAME = 'SCI     '", b"EXTNAME = 'XYZ     '"))

    refused(run, raw, status=3, says="SCI")


def test_a_ramp_of_nothing_but_nan(run, raw):
    ramp = make_ramp(shape=(32, 32))
    ramp.data[:] = np.nan
    ramp.save(raw)

    refused(run, raw, status=3, says="NaN")


def test_raw_counts_of_nothing_but_nan(run, raw):
    uncal = make_uncal(shape=(32, 32))
    counts = np.full(uncal.data.shape, np.nan, np.float32)
    models.UncalModel(meta=uncal.meta, data=counts).save(raw)

    refused(run, raw, status=3, says="NaN")


@pytest.mark.parametrize("empty", [0, 1], ids=["integrations", "groups"])
def test_a_ramp_without_groups_or_integrations(run, raw, empty):
    uncal = make_uncal(shape=(32, 32))
    shape = list(uncal.data.shape)
    shape[empty] = 0
    models.UncalModel(meta=uncal.meta, data=np.zeros(shape, np.uint16)).save(raw)

    refused(run, raw, status=3, says="SCI")


@pytest.mark.parametrize("value", [None, 0.0, -1.0])
def test_a_time_between_groups_that_cannot_be(run, raw, value):
    uncal = make_uncal(shape=(32, 32))
    uncal.meta.exposure.group_time = value
    uncal.save(raw)

    refused(run, raw, status=3, says="TGROUP")


def test_a_readout_direction_that_is_not_known(run, raw):
    uncal = make_uncal(shape=(32, 32))
    uncal.meta.subarray.fastaxis = None
    uncal.save(raw)

    refused(run, raw, status=3, says="FASTAXIS")


def test_a_calibrated_image_is_not_a_ramp(run, raw):
    (outcome,) = run(raw)
    again = raw.parent / "again"

    refused(run, outcome.written[0], status=3, says="RateModel", output_dir=again)


# -- references -----------------------------------------------------------------------------


def given(tmp_path, model, name="given.fits"):
    return {str(model.meta.reftype).lower(): str(model.save(tmp_path / name))}


def test_a_reference_of_the_wrong_shape(run, raw, tmp_path):
    small = make_reference(
        "gain", make_ramp(shape=(16, 16)), subarray__xstart=1, subarray__ystart=1
    )

    refused(run, raw, given(tmp_path, small), status=3, says="does not cover")


def test_a_reference_of_another_detector(run, raw, tmp_path):
    other = make_reference("gain", models.open(raw), instrument__detector="LARGE")

    error = refused(run, raw, given(tmp_path, other), status=3, says="LARGE")
    assert "given.fits" in error.place


def test_a_reference_of_another_kind(run, raw, exposure):
    refused(run, raw, {"gain": exposure.overrides["dark"]}, status=3, says="another kind")


def test_a_reference_that_is_cut_short(run, raw, exposure, tmp_path):
    short = tmp_path / "short.fits"
    short.write_bytes(Path(exposure.overrides["superbias"]).read_bytes()[:-4000])

    refused(run, raw, {"superbias": str(short)}, status=3, says="short.fits")


def test_a_reference_that_is_not_there(run, raw):
    refused(run, raw, {"gain": "nowhere/gain.fits"}, status=3, says="nowhere/gain.fits")


def test_a_gain_of_nothing_but_nan_gives_a_product_without_values(run, raw, tmp_path):
    gain = make_reference("gain", models.open(raw), np.nan)

    (outcome,) = run(raw, given(tmp_path, gain))

    rate = models.open(outcome.written[0])
    assert (rate.dq & 1).all()


# -- parameters -----------------------------------------------------------------------------


def test_an_unknown_parameter(run, raw):
    refused(
        run,
        raw,
        status=5,
        says="did you mean 'rejection_threshold'",
        parameters={"steps.jump.rejection_treshold": "4"},
    )


def test_a_parameter_out_of_range(run, raw):
    refused(run, raw, status=5, says=">= 0", parameters={"steps.jump.rejection_threshold": "-4"})


def test_a_parameter_that_is_no_number(run, raw):
    refused(run, raw, status=5, says="float", parameters={"steps.jump.rejection_threshold": "high"})


def test_an_unknown_step(run, raw):
    refused(run, raw, status=5, says="did you mean 'jump'", parameters={"steps.jmup.skip": "true"})


def test_an_unknown_pipeline(run, raw):
    with pytest.raises(LightmillError) as caught:
        run(raw, target="lantern_ramp")

    error = caught.value
    assert error.exit_status == 5
    assert "did you mean 'lantern_ramps'" in error.story()


def test_a_pipeline_of_another_observatory(run, raw):
    with pytest.raises(LightmillError) as caught:
        run(raw, target="calwebb_detector1")

    error = caught.value
    assert error.exit_status == 5
    assert "LANTERN" in error.story()


def test_an_error_of_another_process_comes_back_as_it_is(run, raw, tmp_path):
    other = tmp_path / "in" / "other_uncal.fits"
    other.write_bytes(raw.read_bytes())
    wrong = {"steps.jump.rejection_treshold": "4"}

    first, second = run(raw, parameters=wrong, inputs=[raw, other], jobs=2)

    for outcome in (first, second):
        assert outcome.status == "FAILED"
        assert outcome.error.exit_status == 5


@pytest.mark.parametrize(
    "error",
    [
        UnknownNameError("step", "jmup", ["jump"], place="here"),
        DataError("wrong", place="there", found=3, expected=4, remedy="mend it"),
    ],
)
def test_errors_travel_between_processes(error):
    again = pickle.loads(pickle.dumps(error))

    assert type(again) is type(error)
    assert again.as_dict() == error.as_dict()
    assert str(again) == str(error)


# -- from the command line ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--rejection-treshold=3"], 5, "did you mean"),
        (["--rejection-threshold=-3"], 5, ">= 0"),
        (["--override-gain=nowhere.fits"], 3, "nowhere.fits"),
    ],
)
def test_the_command_says_it_in_one_screen(exposure, raw, tmp_path, arguments, status, says):
    given = [f"--override-{n}={exposure.overrides[n]}" for n in ("gain", "readnoise")]
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "lightmill", "run", "jump", raw, *given, *arguments,
         "--output-dir", out],
        capture_output=True,
        text=True,
    )  # fmt: skip

    assert done.returncode == status, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 20
    assert not out.exists()


# -- the place of the output ----------------------------------------------------------------


def test_an_output_folder_that_cannot_be_made(run, raw, tmp_path):
    (tmp_path / "file").write_text("in the way")

    refused(run, raw, status=5, says="output folder", output_dir=tmp_path / "file" / "out")


def test_an_output_folder_that_cannot_be_written(run, raw):
    folder = Path("/proc/self")  # nobody may write there, the administrator neither

    with pytest.raises(LightmillError) as caught:
        run(raw, output_dir=folder)

    error = caught.value
    assert error.exit_status == 5
    assert str(folder) in error.story()


@pytest.mark.parametrize("kilobytes", [1, 8, 20, 40])
def test_a_disk_that_is_full(exposure, raw, tmp_path, kilobytes):
    # A limit of the size of files stands for a full disk: both refuse a write in the middle.
    code = (
        "import json, signal, sys, resource\n"
        "from lightmill import app\n"
        "from lightmill.errors import LightmillError\n"
        "from lightmill.testing.exposures import use_observatory\n"
        "use_observatory()\n"
        "path, out, overrides, limit = sys.argv[1:]\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))\n"
        "try:\n"
        "    app.run('lantern_ramps', [path], overrides=json.loads(overrides), output_dir=out)\n"
        "except LightmillError as error:\n"
        "    print(error.exit_status, error.story())\n"
    )
    overrides = json.dumps({name: exposure.overrides[name] for name in NAMES})
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", code, raw, out, overrides, str(kilobytes * 1024)],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )

    assert done.stdout.startswith("5 "), done.stdout + done.stderr
    assert "File too large" in done.stdout
    assert not out.exists()


def test_a_small_disk_that_is_full(run, raw, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        error = refused(run, raw, status=5, says="No space left", output_dir=disk)
        assert "free some space" in error.story()
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", disk], check=True)


# -- files that were mangled ----------------------------------------------------------------


def ended(run, path):
    """The exit status the command would have."""
    try:
        run(path)
    except LightmillError as error:
        return error.exit_status
    return 0


@pytest.mark.parametrize("seed", range(60))
def test_a_mangled_file_is_calibrated_or_refused(run, raw, seed):
    dice = random.Random(seed)
    raw.write_bytes(mangled(raw.read_bytes(), dice))

    assert ended(run, raw) in {0, 3, 4, 5}
