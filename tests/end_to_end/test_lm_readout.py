"""The program lm-readout: what it writes, that it is the library's answer, and what it says to bad input."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lightmill.kernels import readout

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT.parent / "shared" / "cases" / "iris"


@pytest.fixture(scope="module")
def program():
    """The program installed with the package, or built in the source tree."""
    places = [Path(sys.executable).with_name("lm-readout"), *ROOT.glob("build/*/lm-readout")]
    found = [str(place) for place in places if place.exists()] or [shutil.which("lm-readout")]
    if not found[0]:
        pytest.skip("NO lm-readout: pip install . puts it beside the interpreter")
    return found[0]


def run(program, *arguments, cwd=None):
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=60
    )


@pytest.fixture
def ramp(tmp_path):
    """A file of two ramps with flags, of odd size, with a keyword of its observatory."""
    rng = np.random.default_rng(3)
    reads = rng.integers(900, 1100, (2, 6, 31, 43)) + 700 * np.arange(6)[None, :, None, None]
    flags = rng.choice(np.uint8([0] * 30 + [1, 2, 4]), reads.shape)
    pixels = rng.choice(np.uint32([0, 1 << 31, 5]), reads.shape[2:])
    primary = fits.PrimaryHDU()
    primary.header["TELESCOP"] = "TMT"
    primary.header["TGROUP"] = 1.5
    path = tmp_path / "ramp.fits"
    fits.HDUList(
        [
            primary,
            fits.ImageHDU(reads.astype(np.uint16), name="SCI"),
            fits.ImageHDU(pixels, name="PIXELDQ"),
            fits.ImageHDU(flags, name="GROUPDQ"),
        ]
    ).writeto(path)
    return path, reads.astype(np.uint16), pixels, flags


@pytest.mark.parametrize(("mode", "group"), [("utr", 2), ("cds", 1), ("mcds", 2), ("mcds", 3)])
@pytest.mark.parametrize("unit", ["rate", "counts"])
def test_a_frame_is_the_library_s_answer(program, ramp, mode, group, unit):
    path, reads, pixels, flags = ramp
    out = path.with_name("frame.fits")

    answer = run(program, "-s", mode, path, "-o", out, "-u", unit, "-k", group, "-g", 2.5, "-n", 9,
                 "-l", 4000, "-j", 2)  # fmt: skip

    assert answer.returncode == 0, answer.stderr
    expected = readout.sample_ramps(
        reads, 1.5 * np.arange(6), readdq=flags, pixeldq=pixels, sampling=mode, nfowler=group,
        unit=unit, gain=2.5, readnoise=9.0, saturation=4000.0,
    )  # fmt: skip
    with fits.open(out) as file:
        file.verify("exception")
        names = ("SCI", "VAR_POISSON", "VAR_RNOISE", "DQ")
        for name, array in zip(names, expected, strict=True):
            np.testing.assert_array_equal(file[name].data, array, err_msg=name)
        variance = expected.var_poisson + expected.var_rnoise
        np.testing.assert_allclose(file["ERR"].data, np.sqrt(variance), rtol=1e-6)
        header = file[0].header
        assert header["TELESCOP"] == "TMT"
        assert (header["SAMPMODE"], header["NUMREADS"], header["NUMRAMPS"]) == (mode.upper(), 6, 2)
        assert file["SCI"].header["BUNIT"] == ("DN/s" if unit == "rate" else "DN")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint16, np.float32])
def test_every_kind_of_read_is_taken(program, tmp_path, dtype):
    reads = (10 * np.arange(5)[:, None, None] + np.arange(12).reshape(3, 4)).astype(dtype)
    fits.PrimaryHDU(reads).writeto(tmp_path / "in.fits")

    answer = run(program, tmp_path / "in.fits")

    np.testing.assert_array_equal(np.float64(answer.stdout.split()), np.full(12, 40.0))


def test_coefficients_are_applied(program, tmp_path):
    rng = np.random.default_rng(4)
    reads = rng.integers(0, 60000, (4, 9, 9)).astype(np.int32)
    coeffs = np.float32(rng.normal(0, 0.1, (5, 9, 9)) * 1e-5 ** np.arange(5)[:, None, None])
    fits.PrimaryHDU(reads).writeto(tmp_path / "in.fits")
    fits.PrimaryHDU(coeffs).writeto(tmp_path / "coeffs.fits")

    arguments = ("in.fits", "-c", "coeffs.fits", "-o", "out.fits")
    answers = [run(program, *arguments, cwd=tmp_path)]
    ours = fits.getdata(tmp_path / "out.fits", "SCI")
    answers.append(run(program, *arguments, "-f", "--as-published", cwd=tmp_path))
    theirs = fits.getdata(tmp_path / "out.fits", "SCI")

    assert [a.returncode for a in answers] == [0, 0], answers
    expected = readout.sample_ramps(reads, range(4), unit="counts", coeffs=coeffs, form="gain")
    np.testing.assert_array_equal(ours, expected.signal)
    cut = np.trunc(readout.published_linearity(reads, coeffs)).astype(np.int32)
    np.testing.assert_array_equal(theirs, readout.published_slope(cut, 4 * np.arange(4)))
    assert np.abs(theirs - ours).max() > 100  # transposed


@pytest.mark.parametrize(("mode", "counts"), [("utr", 12000), ("cds", 12000), ("mcds", 8000)])
@pytest.mark.parametrize("flag", [(), ("--as-published",)])
def test_the_published_sample_gives_the_published_answer(program, mode, counts, flag):
    sample = CASES / "sample_ramp.fits"
    if not sample.exists():
        pytest.skip(f"NO SAMPLE at {sample}")

    answer = run(program, "-s", mode, f"{sample}[SCI]", *flag)

    assert answer.stdout.split() == [f"{counts}.000000"] * 100


def changed(old, new):
    """Return a damage: the first `old` of a file becomes `new`."""

    def damage(path):
        content = path.read_bytes()
        assert old in content
        assert len(new) <= len(old)
        path.write_bytes(content.replace(old, new.ljust(len(old)), 1))

    return damage


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["-s", "CDX", "ramp.fits"], 2, "expected: utr, cds, mcds"),
        (["--no-such", "ramp.fits"], 2, "--help"),
        ([], 2, "one input file"),
        (["ramp.fits", "ramp.fits"], 2, "one input file"),
        (["ramp.fits", "-t", "0,1,1,2,3,4"], 2, "rising"),
        (["ramp.fits", "-t", "0,1"], 2, "2 values"),
        (["ramp.fits", "-g", "0"], 2, "positive"),
        (["ramp.fits", "-n", "nan"], 2, "not below 0"),
        (["ramp.fits", "-j", "100000"], 2, "count"),
        (["ramp.fits", "-k", "-1", "-s", "mcds"], 2, "count"),
        (["ramp.fits", "-u", "rate", "--as-published"], 2, "counts only"),
        (["ramp.fits", "-s", "mcds", "-k", "7"], 3, "fewer reads"),
        (["absent.fits"], 3, "No such file"),
        (["."], 3, "directory"),
        (["ramp.fits[ERR]"], 3, "no extension 'ERR'"),
        (["ramp.fits[PIXELDQ]"], 3, "axes"),
        (["ramp.fits", "-c", "ramp.fits"], 3, "coefficients"),
        (["ramp.fits", "-o", "no/such/folder.fits"], 5, "No such file"),
        (["ramp.fits", "-o", "ramp.fits"], 5, "exists already"),
    ],
)
def test_bad_input_is_said(program, ramp, arguments, status, says):
    folder = ramp[0].parent
    before = ramp[0].read_bytes()

    answer = run(program, *arguments, cwd=folder)

    assert answer.returncode == status, answer
    assert says in answer.stderr
    assert ramp[0].read_bytes() == before
    assert [p.name for p in folder.iterdir()] == ["ramp.fits"]


COLUMNS = b"NAXIS1  =                   43"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.write_bytes(b""), "ends at byte 0"),
        (lambda path: path.write_bytes(path.read_bytes()[:20_000]), "claims more"),
        (lambda path: path.write_bytes(b"PNG" + path.read_bytes()), "not a FITS file"),
        (changed(COLUMNS, b"NAXIS1  = 99999999999999999999"), "understood"),
        (changed(COLUMNS, b"NAXIS1  =        9999999999999"), "claims more"),
        (changed(COLUMNS, b"NAXIS1  =                  -43"), "understood"),
        (changed(b"'PIXELDQ '", b"'GROUPDQ '"), "GROUPDQ: HDU 2 has 2 axes"),
    ],
)
def test_a_damaged_file_is_said(program, ramp, damage, says):
    damage(ramp[0])

    answer = run(program, ramp[0], "-o", ramp[0].with_name("out.fits"))

    assert answer.returncode == 3
    assert says in answer.stderr
    assert [p.name for p in ramp[0].parent.iterdir()] == ["ramp.fits"]


def test_a_full_disk_leaves_nothing(program, ramp):
    # A limit of the size of files stands for the disk; the signal that goes with it stays ignored.
    limited = f"ulimit -f 8; exec '{program}' ramp.fits -o out.fits"

    answer = subprocess.run(
        ["bash", "-c", limited], capture_output=True, text=True, cwd=ramp[0].parent,
        restore_signals=False,
    )  # fmt: skip

    assert answer.returncode == 5, answer
    assert "too large" in answer.stderr
    assert [p.name for p in ramp[0].parent.iterdir()] == ["ramp.fits"]
