"""Sampling of reads: known answers, what is refused, and the vectors of the published library."""

import json
from pathlib import Path

import numpy as np
import pytest

from lightmill.errors import DataError, ShapeError, UnknownNameError, UsageError
from lightmill.kernels import readout

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "iris"
DO_NOT_USE, SATURATED, JUMP_DET = 1, 2, 4
ROUNDING = 1.2e-7  # of one float32


def vectors(*functions):
    """Names of the vectors of the published library; one that says so where there are none."""
    index = CASES / "vectors.json"
    if not index.exists():
        return [None]
    listed = json.loads(index.read_text())["vectors"]
    return [v["file"] for v in listed if v["function"] in functions]


def loaded(name):
    if name is None:
        pytest.skip(f"NO VECTORS at {CASES}")
    return dict(np.load(CASES / name))


# ---- the published library ----------------------------------------------------------------------


@pytest.mark.parametrize("name", vectors("uptheramp"))
def test_up_the_ramp_reproduces_the_published_vectors(name):
    case = loaded(name)

    frame = readout.sample_ramps(case["ramp"], case["times"], unit="counts")

    np.testing.assert_allclose(frame.signal, case["output"], rtol=ROUNDING, atol=1e-4)
    assert not frame.dq.any()


@pytest.mark.parametrize("name", vectors("mcds"))
def test_fowler_sampling_reproduces_the_published_vectors(name):
    case = loaded(name)

    frame = readout.sample_ramps(
        case["ramp"], case["times"], unit="counts", sampling="mcds", nfowler=int(case["num_coadd"])
    )

    np.testing.assert_allclose(frame.signal, case["output"], rtol=ROUNDING, atol=1e-6)


def coefficients(case, side=2048):
    """The planes that the published library was given."""
    if "coeffs_scalar" in case:
        return np.broadcast_to(case["coeffs_scalar"][:, None, None], (5, side, side)).copy()
    planes = np.zeros((5, side, side), np.float32)
    planes[:, :128, :128] = case["coeffs_corner128"]
    return planes


@pytest.mark.parametrize("name", vectors("nonlin_corr"))
def test_linearity_is_right_and_the_comparison_reproduces_the_published_faults(name):
    case = loaded(name)
    planes = coefficients(case)
    ny, nx = case["ramp"].shape[1:]
    theirs, counts = case["output"], case["ramp"].astype(float)

    ours = readout.linearize(case["ramp"], planes[:, :ny, :nx], form="gain")
    as_published = readout.published_linearity(case["ramp"], planes)

    # Five powers in float64 on both sides, in another order, rounded once: 1.4e-7 was measured.
    np.testing.assert_allclose(as_published, theirs, rtol=5e-7)
    truth = counts * (1 + sum(planes[k, :ny, :nx] * counts**k for k in range(5)))
    np.testing.assert_allclose(ours, truth, rtol=ROUNDING)
    if name not in {"nonlin_square.npz", "nonlin_nonsquare_BUG.npz"}:  # where it is right
        np.testing.assert_allclose(ours, theirs, rtol=5e-7)
    elif name == "nonlin_square.npz":  # it reads the planes transposed
        assert np.abs(theirs / truth - 1).max() > 0.01
    else:  # it leaves pixels out
        assert np.isnan(theirs).mean() > 0.38
        assert np.isfinite(ours).all()


def test_the_chain_of_the_published_pipeline_is_reproduced():
    case = loaded("rop_chain_3int.npz" if CASES.exists() else None)
    linear = case["linearised_int32"]
    times = np.arange(linear.shape[1])

    frames = {
        name: readout.sample_ramps(linear, times, unit="counts", sampling=sampling, nfowler=2)
        for name, sampling in (("mcds2_sum", "mcds"), ("utr_sum", "utr"))
    }

    for name, frame in frames.items():
        np.testing.assert_allclose(frame.signal, case[name], rtol=1e-6)


@pytest.mark.skipif(not CASES.exists(), reason=f"NO VECTORS at {CASES}")
@pytest.mark.parametrize("name", ["utr_ms_times_int_overflow", "utr_large_time_offset"])
def test_times_that_overflow_the_published_library_do_not_ours(name):
    case = json.loads((CASES / "vectors.json").read_text())["pathological"][name]
    times = case.get("times_ms") or case["times"]
    counts = case.get("counts") or [6000 * k for k in range(len(times))]
    reads = np.int32(counts)[:, None, None]

    ours = readout.sample_ramps(reads, times, unit="counts").signal[0, 0]
    as_published = readout.published_slope(reads, times)[0, 0]

    assert ours == pytest.approx(case["correct"], rel=ROUNDING)
    assert as_published == pytest.approx(case["c_output"], rel=1e-6)


# ---- physics ------------------------------------------------------------------------------------


def ramp(rate=100.0, nreads=8, ny=4, nx=5, dtype=np.uint16):
    return np.uint16(1000 + rate * np.arange(nreads))[:, None, None].astype(dtype) + np.zeros(
        (ny, nx), dtype
    )


def test_a_steady_source_gives_its_own_rate_whatever_the_times():
    times = np.array([0.0, 1.5, 1.7, 8.0, 9.0, 30.0])
    reads = (500 + 12.5 * times)[:, None, None].astype(np.float32) + np.zeros((3, 4), np.float32)

    for origin in (0.0, 1e6):
        frame = readout.sample_ramps(reads, times + origin)
        np.testing.assert_allclose(frame.signal, 12.5, rtol=ROUNDING)


def test_a_long_ramp_on_a_high_pedestal_loses_nothing():
    # physics: 0.01 DN a read on 60,000 DN, for 2,000 reads; the sums hold 1e11 and differ by 1e4
    reads = np.float32(60000 + np.round(0.01 * np.arange(2000)))[:, None, None]
    times = 0.72 * np.arange(2000)
    expected = np.polyfit(times - times.mean(), reads[:, 0, 0].astype(float), 1)[0]

    rate = readout.sample_ramps(reads, times + 5e8).signal[0, 0]

    # The times themselves, of half a gigasecond, are known to 6e-8 s in float64.
    assert rate == pytest.approx(expected, rel=1e-6)


def test_a_saturated_ramp_is_not_biased():
    reads = ramp(rate=9000, nreads=9)
    reads[7:] = 60000  # clipped
    limit = np.full(reads.shape[1:], 55000.0)

    frame = readout.sample_ramps(reads, np.arange(9.0), saturation=limit)

    np.testing.assert_allclose(frame.signal, 9000, rtol=ROUNDING)
    assert (frame.dq == SATURATED).all()


def test_a_cosmic_ray_that_is_flagged_does_not_change_the_rate():
    reads = ramp(rate=100, nreads=8)
    reads[5:, 2, 3] += 30000
    flags = np.zeros(reads.shape, np.uint8)
    flags[5, 2, 3] = JUMP_DET

    frame = readout.sample_ramps(reads, np.arange(8.0), readdq=flags)

    np.testing.assert_allclose(frame.signal, 100, rtol=ROUNDING)
    assert frame.dq[2, 3] == JUMP_DET
    assert np.count_nonzero(frame.dq) == 1


def test_a_bad_read_is_left_out():
    reads = ramp()
    reads[3, 1, 1] = 0
    flags = np.zeros(reads.shape, np.uint8)
    flags[3, 1, 1] = DO_NOT_USE

    for sampling in ("utr", "mcds"):
        frame = readout.sample_ramps(
            reads, np.arange(8.0), readdq=flags, sampling=sampling, nfowler=4
        )
        np.testing.assert_allclose(frame.signal, 100, rtol=ROUNDING)
        assert not frame.dq.any()


def test_coadds_of_different_pedestals_have_one_rate_and_less_noise():
    reads = np.stack([ramp(), ramp() + 500, ramp() + 77])

    one, three = (
        readout.sample_ramps(r, np.arange(8.0), readnoise=9.0, gain=2.0) for r in (reads[:1], reads)
    )
    counts = readout.sample_ramps(reads, np.arange(8.0), unit="counts")

    np.testing.assert_allclose(three.signal, 100, rtol=ROUNDING)
    np.testing.assert_allclose(three.var_rnoise, one.var_rnoise / 3, rtol=1e-6)
    np.testing.assert_allclose(three.var_poisson, one.var_poisson / 3, rtol=1e-6)
    np.testing.assert_allclose(counts.signal, 3 * 700, rtol=ROUNDING)


def test_one_read_says_nothing():
    frame = readout.sample_ramps(ramp(nreads=1), [5.0])

    assert np.isnan(frame.signal).all()
    assert (frame.dq == DO_NOT_USE).all()
    assert not frame.var_rnoise.any()


def test_more_ways_of_losing_reads_than_are_followed_are_said():
    # Each pixel loses other reads: 2^16 ways are more than the library follows. Such pixels have no
    # signal; none has a wrong one.
    nreads = 17
    reads = ramp(rate=100, nreads=nreads, ny=256, nx=256)
    numbers = np.arange(65536).reshape(256, 256)
    flags = np.stack([(numbers >> min(k, 15)) & (k < 16) for k in range(nreads)]).astype(np.uint8)

    with readout.Readout((256, 256)) as stream:
        for k in range(nreads):
            stream.add(reads[k], k, flags[k])
        state, frame = stream.state, stream.finish()
        assert not stream.state.is_full

    known = np.isfinite(frame.signal)
    assert state.is_full
    assert 0.3 < known.mean() < 1
    np.testing.assert_allclose(frame.signal[known], 100, rtol=ROUNDING)
    assert (frame.dq[~known] == DO_NOT_USE).all()


def test_memory_does_not_depend_on_the_number_of_reads():
    sizes = []
    for nreads in (2, 1000):
        with readout.Readout((64, 64), nreads=nreads) as stream:
            sizes.append(stream.nbytes)

    assert sizes[0] == sizes[1]


# ---- what is refused ----------------------------------------------------------------------------


def test_a_read_that_is_refused_changes_nothing():
    reads = ramp()
    with readout.Readout((4, 5), nreads=8) as stream:
        for k, read in enumerate(reads):
            stream.add(read, k)
            for time in (k, k - 0.5, np.nan, np.inf):  # twice, out of order, no time
                with pytest.raises(DataError if k < 7 else UsageError):
                    stream.add(read * 0, time)
            with pytest.raises(ShapeError):
                stream.add(read[:3], k + 1)
            with pytest.raises(ShapeError):
                stream.add(read.astype(float), k + 1)
        assert stream.state[:3] == (8, 1, True)
        np.testing.assert_allclose(stream.finish().signal, 100, rtol=ROUNDING)


def test_calls_out_of_turn_are_refused():
    stream = readout.Readout((4, 5), ncoadds=2)
    for call in (stream.look, stream.finish, stream.next_ramp):
        with pytest.raises(UsageError):
            call()
    stream.add(ramp()[0], 0)
    stream.next_ramp()
    stream.add(ramp()[0], 0)
    with pytest.raises(UsageError):
        stream.next_ramp()
    stream.close()
    stream.close()
    with pytest.raises(UsageError, match="closed"):
        stream.add(ramp()[0], 1)


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"sampling": "CDX"}, UnknownNameError),
        ({"unit": "electrons"}, UnknownNameError),
        ({"form": "spline"}, UnknownNameError),
        ({"sampling": "mcds"}, UsageError),
        ({"sampling": "mcds", "nfowler": 5, "nreads": 4}, UsageError),
        ({"sampling": "mcds", "nfowler": 0, "nreads": 4}, UsageError),
        ({"nreads": 0}, UsageError),
        ({"ncoadds": 0}, UsageError),
        ({"nthreads": 0}, UsageError),
        ({"nthreads": 100_000}, UsageError),
        ({"gain": 0.0}, UsageError),
        ({"gain": np.nan}, UsageError),
        ({"readnoise": -1.0}, UsageError),
        ({"dtype": "int64"}, UsageError),
        ({"saturation": np.zeros((5, 4))}, ShapeError),
        ({"pixeldq": np.zeros((4, 4), np.uint32)}, ShapeError),
        ({"coeffs": np.zeros((5, 4, 4))}, ShapeError),
        ({"coeffs": np.zeros((4, 5))}, ShapeError),
        ({"coeffs": np.zeros((17, 4, 5))}, ShapeError),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, error):
    with pytest.raises(error):
        readout.Readout((4, 5), **parameters)


def test_arrays_that_do_not_belong_together_are_refused():
    reads = ramp()
    with pytest.raises(DataError, match="read 2"):
        readout.sample_ramps(reads, [0, 1, 1, 3, 4, 5, 6, 7])
    for times, more in (
        ([0, 1], {}),
        (range(8), {"readdq": np.zeros((8, 4, 4), np.uint8)}),
        (range(8), {"saturation": np.zeros((4, 4))}),
    ):
        with pytest.raises(ShapeError):
            readout.sample_ramps(reads, list(times), **more)
    with pytest.raises(ShapeError):
        readout.sample_ramps(reads.astype(float), range(8))
    with pytest.raises(ShapeError):
        readout.linearize(reads, np.zeros((5, 4, 4)))
    with pytest.raises(ShapeError):
        readout.published_linearity(np.zeros((2, 5, 4)), np.zeros((5, 8, 8)))
    with pytest.raises(ShapeError):
        readout.published_slope(reads, [0, 1])
