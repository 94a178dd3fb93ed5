"""What is simulated comes back: rates, errors, places, brightness, subarrays."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose

from lightmill import app, models
from lightmill.models import Region, wcs_of
from lightmill.models.dq import PIXEL
from lightmill.observatories.tmt.iris.simulate import (
    Camera,
    Exposure,
    Field,
    Pixels,
    expose,
    observe,
    write_references,
)
from lightmill.simulate.cache import write_cache

INSIDE = 34  # [pixel] further from the edge than a star's image reaches


def planes(product):
    with fits.open(product) as file:
        return [file[name].data.copy() for name in ("SCI", "ERR", "DQ")]


def truth_of(path):
    with fits.open(path) as file:
        return {name: file[name].data.copy() for name in ("RATE", "LIGHT", "DARK", "CATALOG")}


def test_slopes_are_unbiased_and_errors_are_what_they_say(night):
    for product, path in zip(night.rops, night.truths, strict=True):
        rate, err, dq = planes(product)
        truth = truth_of(path)
        expected = truth["RATE"] + truth["DARK"]
        good = dq == 0
        assert good.mean() > 0.99
        pull = (rate[good] - expected[good]) / err[good]
        # 65,000 pixels: the mean of their pulls is known to 0.004. The weights know the measured
        # signal, not the true one, and a pixel that got fewer electrons counts more: 0.02 to 0.03
        assert abs(pull.mean()) < 0.05
        assert_allclose(np.mean(rate[good]) / np.mean(expected[good]), 1, atol=5e-3)
        assert abs(np.mean(pull**2) - 1) < 0.05


def test_plain_slopes_have_no_bias_at_all(night, made):
    # physics: a fit with equal weights does not know the noise of its pixel
    outcomes = app.run(
        "iris_rop", [night.observed[-1].uncal], **night.given | {"output_dir": night.folder / "ols"},
        parameters={"steps.readout_sampling.weighting": "uniform"},
    )  # fmt: skip
    rate, err, dq = planes(*made(outcomes))
    truth = truth_of(night.truths[-1])
    good = dq == 0
    pull = (rate - truth["RATE"] - truth["DARK"])[good] / err[good]

    assert abs(np.mean(pull**2) - 1) < 0.05
    difference = (rate - truth["RATE"] - truth["DARK"])[good]
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(good.sum())


@pytest.mark.parametrize(("mode", "coadds"), [("CDS", 1), ("MCDS", 3)])
def test_the_difference_of_first_and_last_reads_is_unbiased(tmp_path, made, mode, coadds):
    camera = Camera(size=128, rays=0.0)  # two reads cannot tell a ray from light
    observed, cache = observe(
        tmp_path, camera=camera, dithers=[(0, 0)], skies=0, sampling=mode, coadds=coadds, ramps=2
    )
    outcomes = app.run(
        "iris_rop", [observed[0].uncal], crds_path=cache.root, output_dir=tmp_path,
        skip=["read_jumps"],
    )  # fmt: skip
    rate, err, dq = planes(*made(outcomes))
    truth = truth_of(observed[0].truth)
    good = dq == 0
    pull = (rate - truth["RATE"] - truth["DARK"])[good] / err[good]

    # 16,000 pixels: 0.008 for the mean, 0.011 for chi squared
    assert abs(pull.mean()) < 0.04
    assert abs(np.mean(pull**2) - 1) < 0.05


def test_the_reduced_frame_is_the_field_without_its_sky(night):
    for product, path in zip(night.cals, night.truths, strict=False):
        data, err, dq = planes(product)
        truth = truth_of(path)
        good = dq == 0
        pull = (data - (truth["LIGHT"] - 20.0))[good] / err[good]

        assert abs(pull.mean()) < 0.05
        assert abs(np.mean(pull**2) - 1) < 0.05
        with fits.open(product) as file:
            # the sky of these frames: 20 DN/s, although its own exposures were brighter
            assert_allclose(file[0].header["BKGLEVEL"], 20.0, rtol=3e-3)
            said = {
                name: file[0].header[name] for name in ("S_DARK", "S_FLAT", "S_SKYSUB", "S_WCS")
            }
            assert set(said.values()) == {"COMPLETE"}
            assert file[0].header["R_FLAT"].startswith("crds://tmt_iris_flat_")


def test_one_pass_gives_what_several_give(night, made):
    # physics: the same exposures of the sky, combined before instead of meanwhile
    (sky,) = made(app.run("iris_sky", night.skies, **night.given))
    passes = night.given | {"output_dir": night.folder / "pass"}
    (cal,) = made(
        app.run("iris_imager", [night.observed[0].uncal], overrides={"sky": str(sky)}, **passes)
    )

    one, several = planes(cal), planes(night.cals[0])
    assert (one[2] != several[2]).mean() < 1e-3  # the mean of skies leaves out what differs
    # levels rest on the same blocks, to a thousandth of their 20 DN/s; noise is 1.4 DN/s
    assert_allclose(one[0], several[0], atol=0.03, equal_nan=True)
    assert_allclose(one[1], several[1], rtol=1e-3, equal_nan=True)
    with fits.open(cal) as file, fits.open(night.cals[0]) as other:
        for key in ("S_SKYSUB", "S_DARK", "S_FLAT", "S_WCS", "R_FLAT"):
            assert file[0].header[key] == other[0].header[key]
        assert_allclose(file[0].header["BKGLEVEL"], other[0].header["BKGLEVEL"], rtol=2e-3)
        assert file["SCI"].header["S_REGION"] == other["SCI"].header["S_REGION"]


def test_one_frame_is_enough_for_a_sky_and_a_flat(night, made):
    lone = night.given | {"output_dir": night.folder / "lone"}

    for pipeline in ("iris_sky", "iris_flat"):
        (product,) = made(app.run(pipeline, night.skies[:1], **lone))
        data, _, dq = planes(product)
        level = 1.0 if pipeline == "iris_flat" else 20.0 * 1.06
        assert_allclose(np.median(data[dq == 0]), level, rtol=5e-3)


def test_stars_have_their_brightness_and_their_places(night):
    ratios, weights = [], []
    for product, path in zip(night.cals, night.truths, strict=False):
        data, err, dq = planes(product)
        truth = truth_of(path)
        wcs = wcs_of(models.open(product))
        y, x = np.mgrid[: data.shape[0], : data.shape[1]]
        usable = (dq & 1) == 0
        for star in truth["CATALOG"]:
            if not all(INSIDE < star[axis] < 255 - INSIDE for axis in "xy"):
                continue
            ra, dec = wcs.pixel_to_world_values(star["x"], star["y"])
            # one pixel is 1.1e-6 deg; a ten thousandth of it is far below any use
            assert_allclose([ra * np.cos(np.radians(dec)), dec],
                            [star["ra"] * np.cos(np.radians(dec)), star["dec"]], atol=1e-10)  # fmt: skip
            aperture = (np.hypot(x - star["x"], y - star["y"]) < 12) & usable
            expected = (truth["LIGHT"] - 20.0)[aperture].sum(dtype=float)
            ratios.append(data[aperture].sum(dtype=float) / expected)
            weights.append((expected**2) / (err[aperture] ** 2).sum(dtype=float))
    weights = np.array(weights)
    mean = np.average(ratios, weights=weights)

    assert weights.sum() ** -0.5 < 0.002  # known to 0.2 %
    assert abs(mean - 1) < 0.005


def test_a_mosaic_is_drizzled_as_the_table_of_the_observatory_says(night, made, association):
    given = night.given | {"output_dir": night.folder / "mosaics"}
    four = association(night.folder / "four_asn.json", "four", night.cals)
    two = association(night.folder / "two_asn.json", "two", night.cals[:2])

    said = {}
    for name, asn, parameters in (
        ("four", four, {}),
        ("two", two, {}),
        ("own", four, {"steps.resample.pixfrac": 0.6}),
    ):
        mosaic = made(app.run("iris_image3", [asn], **given, parameters=parameters))[-1]
        with fits.open(mosaic) as file:
            header = file[0].header
            said[name] = (header["PIXFRAC"], header["KERNEL"], header["NDRIZ"])
            assert header["R_DRZPAR"] == "crds://tmt_iris_drizpars_0001.fits"

    assert said == {
        "four": (0.8, "square", 4),
        "two": (1.0, "square", 2),
        "own": (0.6, "square", 4),
    }


def test_pixels_count_from_one_in_keywords(night):
    from astropy.wcs import WCS

    product = night.cals[0]
    with fits.open(product) as file:
        theirs = WCS(file["SCI"].header).pixel_to_world_values(31.0, 31.0)
    ours = wcs_of(models.open(product)).pixel_to_world_values(31.0, 31.0)

    assert_allclose(ours, theirs, atol=1e-11)


def test_subarrays_merge_without_a_seam(tmp_path, made, association):
    camera = Camera(size=192)
    rng = np.random.default_rng(6)
    pixels, scene = Pixels.of(camera, rng), Field.of(6, 150, rng)
    windows = {1: Region(20, 84, 30, 110), 2: Region(100, 180, 60, 130)}
    references = write_references(tmp_path, camera, pixels, "IMG2", "K")
    full = Exposure(detector="IMG2")
    # physics: a subarray is read sixteen times faster than the frame around it
    exposures = [full] + [
        replace(full, window=where, subarray=number, read_time=full.read_time / 4, reads=40)
        for number, where in windows.items()
    ]
    observed = [
        expose(
            tmp_path, one, camera, pixels, scene, seed=5, references=references,
            windows=None if one.subarray else windows,
        )
        for one in exposures
    ]  # fmt: skip
    cache = write_cache(tmp_path / "crds", camera, observed)
    given = {"crds_path": cache.root, "output_dir": tmp_path}
    rops = made(app.run("iris_rop", [one.uncal for one in observed], **given))
    cals = made(app.run("iris_image2", rops, **given))
    asn = association(tmp_path / "merge_asn.json", "field", [cals[2], cals[0], cals[1]])

    (merged,) = made(app.run("iris_merge", [asn], **given))

    data, err, dq = planes(merged)
    truth = truth_of(observed[0].truth)
    pull = (data - truth["LIGHT"]) / err
    good = (dq & ~np.uint32(PIXEL["NON_SCIENCE"])) == 0
    for where in windows.values():
        edge = np.zeros(data.shape, bool)
        edge[where.slices] = True
        edge[where.y0 + 2 : where.y1 - 2, where.x0 + 2 : where.x1 - 2] = False
        # 560 pixels along the inner edge: the mean of their pulls is known to 0.04
        assert abs(pull[edge & good].mean()) < 0.16
        part = good[where.slices]
        assert abs(np.mean(pull[where.slices][part] ** 2) - 1) < 0.1  # 5,000 pixels: 0.02
        with fits.open(cals[1 if where == windows[1] else 2]) as file:
            assert_allclose(file["SCI"].data, data[where.slices], equal_nan=True)
    assert abs(np.mean(pull[good] ** 2) - 1) < 0.05


def test_flats_and_darks_are_made_of_their_exposures(tmp_path, made):
    camera = Camera(size=64)
    observed, cache = observe(
        tmp_path, camera=camera, dithers=[], skies=0, darks=5, flats=4, seed=8
    )
    given = {"crds_path": cache.root, "output_dir": tmp_path}
    rops = made(app.run("iris_rop", [one.uncal for one in observed], **given))
    pixels = Pixels.of(camera, np.random.default_rng((8, 1000)))

    (dark,) = made(app.run("iris_dark", rops[:5], **given))
    (flat,) = made(app.run("iris_flat", rops[5:], **given))

    kinds = {"DARK": (dark, pixels.dark), "FLAT": (flat, pixels.flat / np.median(pixels.flat))}
    for kind, (path, expected) in kinds.items():
        data, err, dq = planes(path)
        good = (dq == 0) & (pixels.flat > 0)
        pull = (data - expected)[good] / err[good]
        assert abs(np.mean(pull**2) - 1) < 0.15  # 4,000 pixels: 0.022; few frames have common noise
        with fits.open(path) as file:
            header = file[0].header
            assert (header["REFTYPE"], header["USEAFTER"][:10]) == (kind, "2026-11-29")
            assert header["DATAMODL"] == f"TMT{kind.title()}Model"
    # and they serve as references
    (again,) = made(
        app.run("iris_image2", rops[5:6], crds_path=cache.root, output_dir=tmp_path / "again",
                overrides={"dark": str(dark), "flat": str(flat)})
    )  # fmt: skip
    data, _, dq = planes(again)
    assert_allclose(np.median(data[dq == 0]), 400.0, rtol=0.02)
