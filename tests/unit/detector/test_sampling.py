"""Reads sampled by what the header says of them: modes, times, noise, jumps, saturation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from lightmill.detector import FlagJumpsInReads, SampleReads
from lightmill.errors import DataError
from lightmill.models import RampModel
from lightmill.models.dq import PIXEL
from lightmill.pipeline import Skipped

META = {"exposure.group_time": 2.0, "exposure.gain": 2.0, "exposure.read_noise": 8.0}
JUMP, SATURATED, BAD = PIXEL["JUMP_DET"], PIXEL["SATURATED"], PIXEL["DO_NOT_USE"]


def ramp(reads, **meta):
    reads = np.asarray(reads, np.float32)
    return RampModel(
        meta=META | meta, data=reads, groupdq=np.zeros(reads.shape, np.uint8),
        pixeldq=np.zeros(reads.shape[-2:], np.uint32),
    )  # fmt: skip


def line(rate, reads=8, ramps=1, bias=500.0, times=None):
    """Reads of 4 pixels without noise."""
    times = 2.0 * np.arange(1, reads + 1) if times is None else np.asarray(times)
    one = bias + rate * times[:, None, None] * np.ones((1, 2, 2))
    return np.tile(one, (ramps, 1, 1, 1))


def noisy(seed, times, rate=40.0, gain=2.0, read_noise=8.0, size=120):
    rng = np.random.default_rng(seed)
    steps = np.diff(times, prepend=0.0)
    electrons = rng.poisson(rate * gain * steps[:, None, None], (len(times), size, size))
    counts = electrons.cumsum(axis=0) / gain
    return (300 + counts + rng.normal(0, read_noise / gain, counts.shape))[None]


@pytest.mark.parametrize("mode", ["utr", "cds", "mcds"])
@pytest.mark.parametrize("ramps", [1, 3])
def test_a_line_without_noise_has_its_rate_in_every_mode(mode, ramps):
    made = SampleReads(mode=mode, num_coadd=3).apply(ramp(line(12.5, ramps=ramps)))

    assert_allclose(made.data, 12.5, rtol=1e-6)
    assert (made.dq == 0).all()


@pytest.mark.parametrize(
    ("mode", "said", "counts"),
    [
        ("utr", {}, 12.5 * 14),  # from the first to the last of 8 reads
        ("cds", {}, 12.5 * 14),
        ("header", {"exposure.sampling": "MDS", "exposure.coadds": 2}, 12.5 * 12),
        ("header", {"exposure.sampling": "CDS", "exposure.coadds": 2}, 12.5 * 14),
        ("header", {}, 12.5 * 14),
    ],
)
def test_counts_are_those_of_all_ramps(mode, said, counts):
    made = SampleReads(mode=mode, output="counts").apply(ramp(line(12.5, ramps=2), **said))

    assert_allclose(made.data, 2 * counts, rtol=1e-6)
    assert made.meta.bunit_data == "DN"


@pytest.mark.parametrize(
    ("mode", "weighting"), [("utr", "optimal"), ("utr", "uniform"), ("cds", ""), ("mcds", "")]
)
def test_uneven_times_are_taken_as_they_are(mode, weighting):
    times = np.array([1.0, 2.0, 3.5, 7.0, 11.0, 12.0])
    step = SampleReads(mode=mode, num_coadd=2, read_times=times.tolist())
    if weighting:
        step = SampleReads(mode=mode, weighting=weighting, read_times=times.tolist())

    made = step.apply(ramp(noisy(1, times)))

    # 14,400 pixels: errors are known to 0.6 %, their mean to 0.8 % of one
    pull = (made.data - 40.0) / made.err
    assert abs(pull.mean()) < 0.05
    assert abs(np.mean(pull**2) - 1) < 0.05


def test_the_exposure_time_is_that_between_the_reads_that_count():
    made = SampleReads(mode="mcds", num_coadd=3).apply(ramp(line(1.0, ramps=2)))

    assert made.meta.exposure.exposure_time == pytest.approx(2 * 10.0)


def test_a_jump_is_taken_out_of_a_slope_and_spoils_a_difference():
    reads = line(10.0)
    reads[0, 4:, 0, 1] += 900.0
    given = ramp(reads)
    given.groupdq[0, 4, 0, 1] = JUMP

    slope = SampleReads(mode="utr").apply(given)
    difference = SampleReads(mode="cds").apply(given)

    assert_allclose(slope.data, 10.0, rtol=1e-6)
    assert np.isnan(difference.data[0, 1])
    assert difference.dq[0, 1] & BAD
    assert_allclose(difference.data[1], 10.0, rtol=1e-6)


def test_of_several_ramps_those_without_a_jump_are_taken():
    reads = line(10.0, ramps=3)
    reads[1, 4:, 0, 1] += 900.0
    given = ramp(reads)
    given.groupdq[1, 4, 0, 1] = JUMP

    made = SampleReads(mode="mcds", num_coadd=2).apply(given)

    assert_allclose(made.data, 10.0, rtol=1e-6)
    assert made.err[0, 1] > made.err[1, 1]


def test_jumps_are_found_by_the_noise_the_header_states():
    times = 2.0 * np.arange(1, 11)
    reads = noisy(2, times, size=60)
    reads[0, 5:, 10, 10] += 300.0

    made = FlagJumpsInReads(flag_4_neighbors=False).apply(ramp(reads))

    found = (made.groupdq & JUMP) != 0
    assert found[0, 5, 10, 10]
    assert found.sum() < 10  # of 32,000 differences, at 5 sigma
    blind = FlagJumpsInReads(read_noise=8000.0).apply(ramp(reads))
    assert not (blind.groupdq & JUMP).any()


def test_three_reads_do_not_tell_a_jump_from_noise():
    assert isinstance(FlagJumpsInReads().apply(ramp(line(1.0, reads=3))), Skipped)


def test_reads_after_saturation_are_left_out():
    reads = line(100.0)
    reads[0, 5:] = 900.0
    given = ramp(reads)
    given.groupdq[0, 5:] = SATURATED

    made = SampleReads().apply(given)

    assert_allclose(made.data, 100.0, rtol=1e-6)
    assert (made.dq & SATURATED).all()


@pytest.mark.parametrize(
    ("step", "said", "words"),
    [
        (SampleReads(mode="mcds", num_coadd=5), {}, "overlap"),
        (SampleReads(), {"exposure.gain": None}, "gain"),
        (SampleReads(), {"exposure.read_noise": None}, "read noise"),
        (SampleReads(), {"exposure.group_time": None}, "time between groups"),
        (SampleReads(read_times=[1.0, 2.0]), {}, "times of the reads"),
        (
            SampleReads(read_times=[1.0, 2.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0]),
            {},
            "times of the reads",
        ),
    ],
)
def test_what_is_missing_or_impossible_is_said(step, said, words):
    meta = {name: value for name, value in said.items() if value is not None}
    given = ramp(line(1.0), **meta)
    for name in said.keys() - meta.keys():
        given.meta.update({name: None})

    with pytest.raises(DataError, match=words):
        step.apply(given)
