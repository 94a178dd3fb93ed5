"""A cosmic ray hits one exposure; stars are in all of them."""

import numpy as np
import pytest
from scipy import ndimage

from lightmill.errors import ConfigurationError, DataError, ShapeError
from lightmill.imaging.outlier_detection import FLAGS, DetectOutliers
from lightmill.imaging.resample import Resample
from lightmill.models import Exposures
from lightmill.models.dq import PIXEL
from lightmill.pipeline import Skipped
from tests.unit.imaging.sky_exposures import (
    distorted_wcs,
    dithered,
    exposure,
    image_of,
    stars_of,
)

SHAPE = (96, 96)
NOISE = 0.1


def hit(exposures, *, rays=15, energy=100, seed=8):
    """Add cosmic rays of some standard errors, each to pixels of one exposure; say where."""
    random = np.random.default_rng(seed)
    models, where = [], []
    for model in exposures:
        data = np.array(model.data)
        y, x = random.integers(12, 84, (2, rays))
        data[y, x] += energy * NOISE * random.uniform(1, 3, rays)
        models.append(model.evolve(data=data))
        where.append((y, x))
    return exposures.evolve(models), where


def flagged(model):
    return (np.asarray(model.array("dq")) & PIXEL["OUTLIER"]) != 0


@pytest.mark.parametrize("kernel", ["turbo", "square"])
def test_cosmic_rays_are_flagged_and_stars_are_not(kernel):
    clean = dithered(5, noise=NOISE, rolls=(0.0, 4.0))
    exposures, where = hit(clean)

    result = DetectOutliers(kernel=kernel).apply(exposures)

    false = 0
    for before, model, (y, x) in zip(clean, result.science, where, strict=True):
        mask = flagged(model)
        sky = np.median(before.data)
        star = ndimage.maximum_filter(before.data > sky + 10 * NOISE, 5)
        # physics: rays of 100 standard errors or more; on a star, only what is brighter shows
        assert mask[y, x][~star[y, x]].all()
        mask[y, x] = False
        false += mask.sum()
    # physics: at 5 standard errors noise gives none in 46080 pixels; the rest are rims of rays
    assert false <= 10


def test_a_mosaic_of_flagged_exposures_shows_no_cosmic_ray():
    clean = dithered(5, stars=stars_of(0), noise=NOISE)
    exposures, _ = hit(clean, energy=1000)

    before, after, truth = (
        Resample().apply(given) for given in (exposures, DetectOutliers().apply(exposures), clean)
    )

    full = truth.exptime >= 400
    assert np.nanmax(np.abs(before.data - truth.data)[full]) > 10
    # what remains is noise: a pixel has 0.1 / sqrt(4), and rims of a ray below the threshold
    assert np.nanmax(np.abs(after.data - truth.data)[full & (after.exptime >= 300)]) < 1.0


def test_nothing_but_flags_is_changed():
    exposures, _ = hit(dithered(3, noise=NOISE))
    before = [(np.array(m.data), np.array(m.err), np.array(m.dq)) for m in exposures]

    result = DetectOutliers().apply(exposures)

    for old, new, (data, err, dq) in zip(exposures, result.science, before, strict=True):
        np.testing.assert_array_equal(old.dq, dq)
        np.testing.assert_array_equal(new.data, data)
        np.testing.assert_array_equal(new.err, err)
        added = np.asarray(new.array("dq")) ^ dq
        assert set(np.unique(added)) <= {0, FLAGS}


def test_flags_that_are_there_remain_and_are_saved(tmp_path):
    from lightmill import models

    exposures, (first, *_) = hit(dithered(3, noise=NOISE))
    jump = PIXEL["JUMP_DET"]
    exposures = exposures.evolve([m.evolve(dq=np.full(SHAPE, jump, np.uint32)) for m in exposures])

    result = DetectOutliers().apply(exposures)
    path = result.science[0].save(tmp_path / "e1_crf.fits")

    dq = np.asarray(models.open(path).array("dq"))
    assert (dq & jump == jump).all()
    assert (dq[first] == jump | FLAGS).mean() > 0.8


def test_one_exposure_has_nothing_to_be_compared_with():
    answer = DetectOutliers().apply(dithered(1))

    assert isinstance(answer, Skipped)
    assert "two exposures" in answer.reason


def test_exposures_that_do_not_overlap_flag_nothing():
    models = [
        exposure(
            distorted_wcs(SHAPE, ra=53.1 + k * 0.01),
            data=1 + np.random.default_rng(k).normal(0, NOISE, SHAPE),
            noise=NOISE,
            number=k + 1,
        )
        for k in range(2)
    ]

    result = DetectOutliers().apply(Exposures.of(models))

    assert sum(flagged(m).sum() for m in result.science) == 0


def test_peaks_of_stars_that_one_exposure_alone_sees_are_no_outliers():
    random, models = np.random.default_rng(5), []
    for k in range(2):
        ra = 53.1 + k * 0.01
        wcs = distorted_wcs(SHAPE, ra=ra)
        data = image_of(wcs, SHAPE, stars_of(30, ra=ra), sigma=0.45)
        models.append(exposure(wcs, data=data + random.normal(0, NOISE, SHAPE), noise=NOISE,
                               number=k + 1))  # fmt: skip
    exposures, tolerance = Exposures.of(models), {"scale": "1.2 0.7", "steepness_noise": 0.0}

    found, compared = (
        sum(flagged(m).sum() for m in DetectOutliers(**tolerance, **more).apply(exposures).science)
        for more in ({}, {"least_coverage": 1})
    )

    assert found == 0
    # physics: the grid blurs stars as narrow as a pixel by more than that tolerance
    assert compared > 10


@pytest.mark.parametrize("resample_data", [True, False])
def test_a_pixel_is_not_judged_where_the_other_exposure_has_none(resample_data):
    random = np.random.default_rng(2)
    wcs = distorted_wcs(SHAPE)
    ray = np.zeros(SHAPE, bool)
    ray[30, 30] = ray[60, 60] = True
    models = []
    for k in range(2):
        data = 1 + random.normal(0, NOISE, SHAPE)
        dq = np.zeros(SHAPE, np.uint32)
        if k == 0:
            data[ray] += 100 * NOISE
        else:
            dq[24:37, 24:37] = PIXEL["DO_NOT_USE"]
        models.append(exposure(wcs, data=data, noise=NOISE, number=k + 1).evolve(dq=dq))

    first, _ = DetectOutliers(resample_data=resample_data).apply(Exposures.of(models)).science

    assert flagged(first)[60, 60]
    assert not flagged(first)[26:35, 26:35].any()


def test_dead_pixels_and_dead_exposures_do_no_harm():
    exposures, _ = hit(dithered(4, noise=NOISE))
    dead = exposures.science[0]
    dead = dead.evolve(
        dq=np.full(SHAPE, PIXEL["DO_NOT_USE"], np.uint32), data=np.full(SHAPE, np.nan, np.float32)
    )

    result = DetectOutliers().apply(exposures.evolve([dead, *exposures.science[1:]]))

    assert not flagged(result.science[0]).any()
    assert flagged(result.science[1]).sum() > 5


@pytest.mark.parametrize("resample_data", [True, False])
def test_exposures_without_a_usable_pixel_are_refused(resample_data):
    exposures = dithered(2)
    dead = [m.evolve(dq=np.ones(SHAPE, np.uint32)) for m in exposures]

    with pytest.raises(DataError, match="no exposure has a pixel") as failure:
        DetectOutliers(resample_data=resample_data).apply(exposures.evolve(dead))

    assert failure.value.place == "e1_cal.fits and 1 more"


def test_exposures_of_one_pointing_can_be_compared_pixel_by_pixel():
    wcs, random = distorted_wcs(SHAPE), np.random.default_rng(4)
    models = [
        exposure(wcs, data=1 + random.normal(0, NOISE, SHAPE), noise=NOISE, number=k + 1)
        for k in range(5)
    ]
    exposures, where = hit(Exposures.of(models))

    result = DetectOutliers(resample_data=False).apply(exposures)

    for model, (y, x) in zip(result.science, where, strict=True):
        mask = flagged(model)
        assert mask[y, x].all()
        mask[y, x] = False
        assert mask.sum() <= 2  # beyond 5 standard errors in 9216 pixels of noise


def test_exposures_of_different_size_cannot_be_compared_pixel_by_pixel():
    one = exposure(distorted_wcs(SHAPE), number=1)
    other = exposure(distorted_wcs((64, 96)), (64, 96), number=2)

    with pytest.raises(ShapeError, match="must be alike"):
        DetectOutliers(resample_data=False).apply(Exposures.of([one, other]))


def test_two_thresholds_are_wanted():
    with pytest.raises(ConfigurationError, match="two numbers"):
        DetectOutliers(snr="5.0")


def test_the_order_of_exposures_does_not_matter():
    exposures, _ = hit(dithered(4, stars=stars_of(5), noise=NOISE))
    first = exposures.science[0]
    turned = exposures.evolve([first, *exposures.science[:0:-1]])

    one, other = DetectOutliers().apply(exposures), DetectOutliers().apply(turned)

    for k in range(1, 4):
        np.testing.assert_array_equal(
            np.asarray(one.science[k].array("dq")), np.asarray(other.science[4 - k].array("dq"))
        )
