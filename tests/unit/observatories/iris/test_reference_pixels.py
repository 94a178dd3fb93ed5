"""Reference pixels take the drifts of the outputs out of the reads, and nothing else."""

import numpy as np
import pytest
from astropy.io import fits

from lightmill import app
from lightmill.models.dq import PIXEL
from lightmill.observatories.tmt.iris.simulate import Camera, observe

CAMERA = Camera(size=256, border=4, outputs=4, drift=12.0, row_drift=4.0, rays=0.2)
INSIDE = (slice(4, -4), slice(4, -4))


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """A field read by drifting outputs: reduced without, with, and with level and all."""
    folder = tmp_path_factory.mktemp("drifts")
    (one,), cache = observe(folder, camera=CAMERA, dithers=[(0, 0)], skies=0, seed=3, ramps=2)
    made = {}
    for name, parameters in (
        ("left", {}),
        ("gone", {"steps.refpix.skip": False}),
        ("whole", {"steps.refpix.skip": False, "steps.refpix.keep_level": False}),
    ):
        (outcome,) = app.run(
            "iris_rop", [one.uncal], crds_path=cache.root, output_dir=folder / name,
            parameters={"steps.read_jumps.rejection_threshold": 8.0, **parameters},
        )  # fmt: skip
        if outcome.error is not None:
            raise outcome.error
        with fits.open(outcome.written[0]) as file:
            planes = [file[plane].data.copy() for plane in ("SCI", "ERR", "DQ")]
            made[name] = (*planes, file[0].header["S_REFPIX"])
    with fits.open(one.truth) as file:
        truth = file["RATE"].data + file["DARK"].data
    return made, truth


def pulls(frame, truth):
    rate, err, dq, _ = frame
    good = np.zeros(dq.shape, bool)
    good[INSIDE] = dq[INSIDE] == 0
    assert good[INSIDE].mean() > 0.98
    return np.where(good, (rate - truth) / err, np.nan)


def test_offsets_that_drift_in_each_output_are_gone(frames):
    made, truth = frames

    left, gone = (pulls(made[name], truth) for name in ("left", "gone"))

    assert np.nanmean(left**2) > 2
    # 61,000 pixels know chi squared to 0.006. Reference pixels have noise, too: 256 of an output and
    # parity, 88 of a row: 1 / 256 + 1.57 / 88 = 0.022 of a pixel's variance
    assert abs(np.nanmean(gone**2) - 1.022) < 0.05
    for output in range(4):
        for parity in range(2):
            columns = slice(64 * output + parity, 64 * (output + 1), 2)
            # 1 / 16 of a pixel's error is that of the mean of 256 reference pixels; four of it
            assert abs(np.nanmean(gone[:, columns])) < 0.25
    assert made["gone"][3] == "COMPLETE"
    assert made["left"][3] == "SKIPPED"


def test_the_rate_has_no_bias(frames):
    made, truth = frames
    rate, err, dq, _ = made["gone"]
    bright = (dq == 0) & (truth > 10)
    ratio = rate[bright].sum(dtype=float) / truth[bright].sum(dtype=float)
    known = np.sqrt((err[bright].astype(float) ** 2).sum()) / truth[bright].sum(dtype=float)

    # weights follow the measured signal (2 % of an error; decision 0027); drifts are common to pixels
    assert known < 5e-4
    assert abs(ratio - 1) < 3e-3


def test_counts_without_their_zero_point_would_be_corrected_for_another_response(frames):
    made, truth = frames
    bright = (made["gone"][2] == 0) & (made["whole"][2] == 0) & (truth > 10)
    kept, lost = (made[name][0][bright].sum(dtype=float) for name in ("gone", "whole"))

    # a bias of 1000 DN at a curvature of 1.5e-6 per DN: 2 x 1.5e-3 of the response
    assert lost / kept == pytest.approx(1 - 3e-3, abs=5e-4)


def test_reference_pixels_are_flagged_as_such(frames):
    made, _ = frames
    edge = np.ones(made["gone"][2].shape, bool)
    edge[INSIDE] = False

    assert ((made["gone"][2] & PIXEL["REFERENCE_PIXEL"]) != 0)[edge].all()
    assert not ((made["gone"][2] & PIXEL["REFERENCE_PIXEL"]) != 0)[INSIDE].any()
