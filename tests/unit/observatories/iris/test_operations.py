"""What runs by itself when exposures of the imager arrive, and which exposures come together."""

from collections import Counter

import numpy as np
import pytest

from lightmill import app
from lightmill.models import Region
from lightmill.observatories.tmt.iris.simulate import Camera, Field, expose, observe
from lightmill.observatories.tmt.iris.simulate_ifs import (
    LENSLET,
    SLICER,
    SpectrographCamera,
    observe_ifs,
)
from lightmill.observatories.tmt.iris.simulated_detector import Exposure, Pixels
from lightmill.operations import Observing
from lightmill.workflow.arrivals import Delivered


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """The tasks of two detectors: two dithers, two skies, three darks, two flats of each."""
    folder = tmp_path_factory.mktemp("arrivals")
    observed, _ = observe(
        folder, camera=Camera(size=64), detectors=("IMG1", "IMG2"), dithers=[(0, 0), (3, 2)],
        skies=2, darks=3, flats=2, stars=1, reads=3,
    )  # fmt: skip
    app.discover()
    (home,) = {one.observatory.home for one in app.discover().values() if one.name == "IRIS"}
    observing = Observing(home)
    arrivals = observing.arrivals([Delivered(one.uncal, one.uncal.stem, 1) for one in observed])
    candidates = sorted({name for one in arrivals for name in one.candidates})
    tasks = observing.associations("p001", candidates, arrivals)
    return arrivals, [observing.first_stage(one) for one in arrivals], tasks


def test_every_exposure_is_sampled_when_it_arrives(plans):
    arrivals, first, _ = plans

    assert len(arrivals) == 18
    assert {task.pipeline for task in first} == {"iris_rop"}
    assert {one.candidates and next(iter(one.candidates)) for one in arrivals} == {"o001"}


def test_each_kind_of_exposure_has_its_tasks(plans):
    _, _, tasks = plans

    # of two detectors; the dithers of both make one mosaic
    assert Counter(task.pipeline for task in tasks) == {
        "iris_image2": 4, "iris_dark": 2, "iris_flat": 2, "iris_sky": 2, "iris_image3": 1,
    }  # fmt: skip


def test_a_science_frame_waits_for_the_skies_of_its_detector(plans):
    _, _, tasks = plans
    (task,) = [t for t in tasks if t.pipeline == "iris_image2" and "img2_sci_0001" in t.identity]

    stem = "2026b-p001_iris_img2"
    assert task.awaits == {
        f"{stem}_sci_0001_rop.fits": "science",
        f"{stem}_sky_0101_rop.fits": "background",
        f"{stem}_sky_0102_rop.fits": "background",
    }


def test_the_mosaic_waits_for_the_reduced_frames_of_all_detectors(plans):
    _, _, tasks = plans
    (task,) = [t for t in tasks if t.pipeline == "iris_image3"]

    assert sorted(task.awaits) == [
        f"2026b-p001_iris_img{d}_sci_000{n}_cal.fits" for d in (1, 2) for n in (1, 2)
    ]


def test_subarrays_are_reduced_by_themselves_and_merged(tmp_path):
    camera, rng = Camera(size=64), np.random.default_rng(1)
    pixels, scene = Pixels.of(camera, rng), Field.of(1, 10, rng)
    windows = {1: Region(8, 24, 8, 24), 2: Region(30, 50, 10, 40)}
    plan = [Exposure(reads=3)]
    plan += [Exposure(reads=3, window=w, subarray=number) for number, w in windows.items()]
    observed = [
        expose(tmp_path, one, camera, pixels, scene, seed=1, windows=windows) for one in plan
    ]
    (home,) = {one.observatory.home for one in app.discover().values() if one.name == "IRIS"}
    observing = Observing(home)
    arrivals = observing.arrivals([Delivered(one.uncal, one.uncal.stem, 1) for one in observed])

    tasks = observing.associations("p001", ["o001"], arrivals)

    stem = "2026b-p001_iris_img1_sci_0001"
    assert Counter(task.pipeline for task in tasks) == {"iris_image2": 3, "iris_merge": 1}
    (merge,) = [task for task in tasks if task.pipeline == "iris_merge"]
    assert sorted(merge.awaits) == [
        f"{stem}-s1_cal.fits",
        f"{stem}-s2_cal.fits",
        f"{stem}_cal.fits",
    ]


def test_capitals_of_file_names_are_kept(tmp_path):
    # the observatory names its files 2026B-P001-001_IRIS_IMG1_SCI_LVL0_0001-00.fits
    observed, _ = observe(
        tmp_path, camera=Camera(size=64), dithers=[(0, 0)], skies=1, stars=1, reads=3
    )
    files = [one.uncal.rename(tmp_path / one.uncal.name.upper().replace("_UNCAL.FITS", "_uncal.fits"))
             for one in observed]  # fmt: skip
    (home,) = {one.observatory.home for one in app.discover().values() if one.name == "IRIS"}
    observing = Observing(home)
    arrivals = observing.arrivals([Delivered(path, path.stem, 1) for path in files])

    (task,) = [
        one for one in observing.associations("p001", ["o001"], arrivals)
        if one.pipeline == "iris_image2"
    ]  # fmt: skip

    stem = "2026B-P001_IRIS_IMG1"
    assert task.awaits == {
        f"{stem}_SCI_0001_rop.fits": "science", f"{stem}_SKY_0101_rop.fits": "background",
    }  # fmt: skip
    assert task.document["products"][0]["name"] == f"{stem}_SCI_0001"


def test_frames_of_the_spectrograph_become_cubes_and_are_no_images(tmp_path):
    camera = SpectrographCamera(size=320)
    cubes = [
        observe_ifs(tmp_path, one, camera=camera, reads=3, number=number)[0]
        for number, one in ((7, SLICER), (8, LENSLET), (9, LENSLET))
    ]
    images, _ = observe(
        tmp_path, camera=Camera(size=64), dithers=[(0, 0), (3, 2)], skies=1, stars=1, reads=3
    )
    (home,) = {one.observatory.home for one in app.discover().values() if one.name == "IRIS"}
    observing = Observing(home)
    arrivals = observing.arrivals(
        [Delivered(one.uncal, one.uncal.stem, 1) for one in [*cubes, *images]]
    )

    tasks = observing.associations("p001", ["o001"], arrivals)

    assert Counter(task.pipeline for task in tasks) == {
        "iris_ifs2": 3, "iris_image2": 2, "iris_sky": 1, "iris_image3": 1,
    }  # fmt: skip
    made = [task for task in tasks if task.pipeline == "iris_ifs2"]
    names = [one.uncal.name.replace("_uncal", "_rop") for one in cubes]
    assert sorted(name for task in made for name in task.awaits) == sorted(names)
    for task in tasks:
        assert task in made or not any("_ifu_" in name for name in task.awaits)
