"""Sampling of reads equals its readable twin, and does not depend on how the reads come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.kernels import ramp_fit, readout
from lightmill.kernels._reference import readout as plain

DO_NOT_USE, SATURATED, JUMP_DET = 1, 2, 4


@st.composite
def exposures(draw, dtypes=("int32", "uint16", "float32"), nramps=3):
    """Reads with times, flags and parameters, as keywords of `sample_ramps`; small, or of several blocks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    yx = draw(st.sampled_from([(1, 1), (3, 5), (2, 67), (5, 60)]))
    nreads, nramps = draw(st.integers(1, 9)), draw(st.integers(1, nramps))
    dtype = draw(st.sampled_from(dtypes))
    rate = rng.uniform(-50, 9000, yx)
    times = np.cumsum(rng.uniform(0.1, 2, nreads)) + draw(st.sampled_from([0.0, 1e5]))
    shape = (nramps, nreads, *yx)
    counts = 1000 + rate * (times - times[0])[:, None, None] + rng.normal(0, 9, shape)
    reads = np.clip(np.rint(counts), 0, 65535).astype(dtype)
    odd = draw(st.sampled_from([0.0, 0.003, 0.3]))
    if dtype == "float32":
        reads[rng.random(shape) < odd / 3] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    keywords = {
        "times": times,
        "readdq": draw(st.booleans()) and flags_of(rng, shape, odd),
        "saturation": draw(st.sampled_from([None, 40000.0, "plane"])),
        "unit": draw(st.sampled_from(["rate", "counts"])),
        "sampling": draw(st.sampled_from(["utr", "cds", "mcds"])),
        "nfowler": draw(st.integers(1, nreads)),
        "gain": rng.choice(np.float32([1.5, 2.5, 0, np.nan]), yx, p=[0.6, 0.3, 0.05, 0.05]),
        "readnoise": draw(st.sampled_from([0.0, 9.0])),
        "pixeldq": rng.choice(np.uint32([0, 0, 1 << 30, 3]), yx),
    }
    if keywords["readdq"] is False:
        keywords["readdq"] = None
    if keywords["saturation"] == "plane":
        keywords["saturation"] = rng.choice(np.float32([30000, 60000, np.nan]), yx)
    if draw(st.booleans()):
        powers = np.arange(5)[:, None, None]
        keywords["form"] = draw(st.sampled_from(["polynomial", "gain"]))
        linear = (powers == 1) if keywords["form"] == "polynomial" else 0
        keywords["coeffs"] = np.float32(rng.normal(0, 0.1, (5, *yx)) * 1e-5**powers + linear)
    return reads, keywords


def flags_of(rng, shape, fraction):
    """Flags of reads; bit 64 means nothing here."""
    flags = rng.choice(np.uint8([1, 2, 4, 5, 6, 64]), shape)
    return np.where(rng.random(shape) < fraction, flags, 0).astype(np.uint8)


def by_streaming(reads, keywords, nthreads=1, **more):
    """Return the frame, read by read."""
    parameters = {k: v for k, v in keywords.items() if k not in {"times", "readdq"}}
    flags, times = keywords["readdq"], keywords["times"]
    nramps, nreads = reads.shape[:2]
    parameters |= {"nreads": nreads, "ncoadds": nramps, "nthreads": nthreads}
    with readout.Readout(reads.shape[2:], reads.dtype, **(parameters | more)) as stream:
        for i, ramp in enumerate(reads):
            if i:
                stream.next_ramp()
            for k, read in enumerate(ramp):
                stream.add(read, times[k], None if flags is None else flags[i, k])
        return stream.finish()


def assert_same_bits(one, other):
    for a, b, name in zip(one, other, readout.Frame._fields, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


@given(exposures())
def test_the_kernel_equals_its_readable_twin(case):
    reads, keywords = case

    frame = readout.sample_ramps(reads, **keywords)
    with np.errstate(invalid="ignore"):  # infinite reads, corrected
        signal, var_poisson, var_rnoise, dq = plain.sample_ramps(reads, **keywords)

    np.testing.assert_array_equal(frame.dq, dq)
    # One rounding to float32 of the result (6e-8), and float32 factors of coadds; differences of counts
    # up to 65535 whose float64 rounding is 1e-11 come out of the shortest ramp, 0.1 s, as 1e-9.
    scale = np.nanmax(np.abs(signal), initial=1.0)
    np.testing.assert_allclose(frame.signal, signal, rtol=3e-7, atol=1e-7 * scale + 1e-8)
    np.testing.assert_allclose(frame.var_rnoise, var_rnoise, rtol=1e-6)
    np.testing.assert_allclose(
        frame.var_poisson, var_poisson, rtol=2e-6, atol=1e-6 * np.nanmax(var_poisson, initial=0.1)
    )


@given(exposures(), st.integers(1, 3))
def test_read_by_read_is_bit_by_bit_the_whole_ramp_at_once(case, nthreads):
    reads, keywords = case

    assert_same_bits(
        by_streaming(reads, keywords, nthreads), readout.sample_ramps(reads, **keywords)
    )


@given(exposures(nramps=1))
def test_a_look_at_any_moment_is_the_frame_of_the_reads_so_far(case):
    reads, keywords = case
    keywords |= {"sampling": "utr"}
    parameters = {k: v for k, v in keywords.items() if k not in {"times", "readdq"}}
    flags, times = keywords["readdq"], keywords["times"]

    with readout.Readout(reads.shape[2:], reads.dtype, **parameters) as stream:
        for k, read in enumerate(reads[0]):
            stream.add(read, times[k], None if flags is None else flags[0, k])
            so_far = keywords | {"times": times[: k + 1]}
            if flags is not None:
                so_far["readdq"] = flags[:, : k + 1]
            expected = readout.sample_ramps(reads[:, : k + 1], **so_far)
            assert_same_bits(stream.look(), expected)


@given(exposures(nramps=1), st.integers(1, 3))
def test_a_look_while_a_read_is_added_is_the_look_after_it(case, nthreads):
    reads, keywords = case
    parameters = {k: v for k, v in keywords.items() if k not in {"times", "readdq"}}
    flags, times = keywords["readdq"], keywords["times"]
    parameters |= {"nreads": len(times), "nthreads": nthreads}

    with readout.Readout(reads.shape[2:], reads.dtype, **parameters) as stream:
        for k, read in enumerate(reads[0]):
            at_once = readout.empty_frame(*read.shape)
            stream.add(read, times[k], None if flags is None else flags[0, k], look=at_once)
            assert_same_bits(at_once, stream.look())


@given(exposures(nramps=1))
def test_a_glimpse_is_the_signal_and_the_flags_of_the_look(case):
    reads, keywords = case
    parameters = {k: v for k, v in keywords.items() if k not in {"times", "readdq"}}
    parameters |= {"nreads": reads.shape[1]}
    seen = readout.Glimpse(np.empty(reads.shape[2:], "f4"), np.empty(reads.shape[2:], "u4"))

    with readout.Readout(reads.shape[2:], reads.dtype, **parameters) as stream:
        stream.add(reads[0, 0], 1.0, look=seen)
        whole = stream.look()

    np.testing.assert_array_equal(seen.signal, whole.signal)
    np.testing.assert_array_equal(seen.dq, whole.dq)


@given(exposures(nramps=1))
def test_cds_looks_at_the_latest_read(case):
    reads, keywords = case
    keywords |= {"sampling": "cds", "saturation": None, "readdq": None}
    parameters = {k: v for k, v in keywords.items() if k not in {"times", "readdq", "nfowler"}}
    times = keywords["times"]

    for nreads in (None, len(times)):  # not announced, announced
        with readout.Readout(reads.shape[2:], reads.dtype, **parameters, nreads=nreads) as stream:
            for k, read in enumerate(reads[0]):
                stream.add(read, times[k])
                if k == 0:
                    continue
                ends = keywords | {"times": times[[0, k]]}
                assert_same_bits(stream.look(), readout.sample_ramps(reads[:, [0, k]], **ends))


@given(exposures(nramps=1))
def test_a_finished_readout_is_as_new(case):
    reads, keywords = case
    parameters = {k: v for k, v in keywords.items() if k not in {"times", "readdq"}}

    with readout.Readout(
        reads.shape[2:], reads.dtype, **parameters, nreads=reads.shape[1]
    ) as stream:
        frames = []
        for _ in range(2):
            for k, read in enumerate(reads[0]):
                stream.add(read, keywords["times"][k])
            frames.append(stream.finish())

    assert_same_bits(*frames)


@given(exposures(dtypes=("int32",), nramps=1))
def test_strided_reads_are_walked_in_place(case):
    reads, keywords = case
    nramps, nreads, ny, nx = reads.shape
    wide = np.full((nramps, 2 * nreads, ny, nx), -7, np.int32)
    wide[:, ::2] = reads

    assert_same_bits(
        readout.sample_ramps(wide[:, ::2], **keywords), readout.sample_ramps(reads, **keywords)
    )


@given(exposures(dtypes=("float32",), nramps=1))
def test_up_the_ramp_is_the_unweighted_ramp_fit(case):
    # physics: one ramp fit, held as sums or computed from the whole ramp; jumps and saturation cut both
    reads, _ = case
    nreads, ny, nx = reads.shape[1:]
    if nreads < 2:
        return
    rng = np.random.default_rng(1)
    reads = np.nan_to_num(reads, nan=1.0, posinf=1.0, neginf=1.0)
    flags = np.zeros(reads.shape, np.uint8)
    flags[rng.random(reads.shape) < 0.1] = JUMP_DET
    flags[:, 0] = 0
    full = np.maximum.accumulate(rng.random(reads.shape) < 0.1, axis=1)
    flags[full] = SATURATED
    flags[:, :2] = 0
    gain, noise = np.full((ny, nx), 2, np.float32), np.full((ny, nx), 9, np.float32)
    times = np.arange(nreads) * 3.0

    frame = readout.sample_ramps(reads, times, readdq=flags, readnoise=9 / np.sqrt(2))
    fit = ramp_fit.fit_ramps(
        reads.copy(), flags.copy(), np.zeros((ny, nx), np.uint32), gain, noise,
        group_time=3.0, weighting="uniform", variances="estimate", integrations=False,
    )  # fmt: skip

    # The fit computes in float32: 6e-8 of counts up to 65535, over 3 s, in a few steps. A segment of one
    # read says something to it (from the reset) and nothing to the readout, so those are left out.
    alone = _has_lone_reads(flags)
    agree = ~alone & np.isfinite(frame.signal)
    np.testing.assert_allclose(fit.slope[agree], frame.signal[agree], rtol=2e-5, atol=0.02)
    np.testing.assert_allclose(fit.var_rnoise[agree], frame.var_rnoise[agree], rtol=1e-5)


def _has_lone_reads(flags):
    """Whether a segment of the pixel has one read only."""
    alone = np.zeros(flags.shape[2:], bool)
    for y, x in np.ndindex(*alone.shape):
        length, lengths = 0, []
        for flag in flags[0, :, y, x]:
            if flag & (JUMP_DET | SATURATED):
                lengths.append(length)
                length = 0
            length += not flag & SATURATED
        lengths.append(length)
        alone[y, x] = 1 in lengths
    return alone


@given(exposures())
def test_linearizing_equals_its_readable_twin(case):
    reads, _ = case
    rng = np.random.default_rng(2)
    powers = np.arange(4)[:, None, None]
    coeffs = np.float32(rng.normal(0, 1, (4, *reads.shape[2:])) * 1e-5**powers)

    for form in ("polynomial", "gain"):
        fast = readout.linearize(reads, coeffs, form=form, nthreads=2)
        with np.errstate(invalid="ignore"):
            slow = plain.linearize(reads, coeffs, form=form).astype(np.float32)
        np.testing.assert_array_equal(np.isnan(fast), np.isnan(slow))
        np.testing.assert_allclose(fast, slow, rtol=1e-7)  # the same float64 arithmetic


@pytest.mark.parametrize("sampling", ["utr", "mcds"])
def test_noise_is_what_the_variances_say(sampling):
    # physics: 40,000 pixels, rate 30 e-/s, gain 2 e-/DN, read noise 5 DN, 12 reads at uneven times
    rng = np.random.default_rng(5)
    times = np.cumsum(rng.uniform(0.5, 2, 12))
    electrons = np.cumsum(
        rng.poisson(30 * np.diff(times, prepend=0)[:, None, None], (12, 200, 200)), axis=0
    )
    reads = np.float32(electrons / 2 + rng.normal(0, 5, electrons.shape))

    frame = readout.sample_ramps(
        reads, times, sampling=sampling, nfowler=4, gain=2.0, readnoise=5.0
    )

    pulls = (frame.signal - 15) / np.sqrt(frame.var_poisson + frame.var_rnoise)
    # The variance of 40,000 pulls is known to sqrt(2 / 40000) = 0.7 %; their own rates enter var_poisson.
    assert abs(np.mean(pulls**2) - 1) < 0.03
    assert abs(frame.signal.mean() - 15) < 4 * frame.signal.std() / 200
