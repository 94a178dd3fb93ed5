"""Cosmic rays in one frame, told from noise, from stars, and from what interpolation blurs."""

import dataclasses

import numpy as np
import pytest

from lightmill.observatories.hst.wfpc2 import demo
from lightmill.observatories.hst.wfpc2.builder import associate
from lightmill.observatories.hst.wfpc2.frames import combine
from lightmill.observatories.hst.wfpc2.geometry import attitude_of, to_fiducial
from lightmill.observatories.hst.wfpc2.jitter import Pointing
from lightmill.observatories.hst.wfpc2.rays import READ_NOISE, find_rays, noise_of
from lightmill.observatories.hst.wfpc2.simulate_archive import dithered
from lightmill.observatories.hst.wfpc2.simulate_frames import make_field, simulate_frame

EXPTIME = 500.0
SHAPE = (60, 60)
STEPS = ((0.0, 0.0), (0.53, 0.11), (0.61, 0.67))


def star_at(x, y, electrons, sigma=0.68):
    """Return the light of a star, integrated over pixels [electrons / s]."""
    from scipy.special import erf

    edges = np.arange(61) - 0.5
    part = [np.diff(erf((edges - at) / (sigma * np.sqrt(2)))) / 2 for at in (y, x)]
    return electrons / EXPTIME * np.outer(*part)


def frame_of(sky, seed=0):
    """Return what a frame reads of a sky [electrons / s]."""
    rng = np.random.default_rng(seed)
    electrons = rng.poisson(np.maximum(sky, 0) * EXPTIME) + rng.normal(0, READ_NOISE, sky.shape)
    return (electrons / EXPTIME).astype(np.float32)


def with_ray(frame, pixels, electrons):
    hit = frame.copy()
    for y, x in pixels:
        hit[y, x] += electrons / EXPTIME
    return hit


def test_a_flat_sky_has_no_rays():
    sky = np.full((400, 400), 0.02)

    hit = find_rays(frame_of(sky, 1), frame_of(sky, 2), EXPTIME, faint=False)

    # 4.5 standard errors on one side: 3.4 in a million, so 0.5 of 160,000, and what is beside them
    assert hit.sum() <= 6


def test_faint_pixels_beside_a_ray_go_with_it_and_alone_they_stay():
    # physics: 3.5 standard errors, nothing by themselves and a ray beside one; the frame has no noise
    sky = np.full(SHAPE, 0.02, np.float32)
    error = float(noise_of(sky, EXPTIME)[0, 0]) * EXPTIME
    frame = with_ray(with_ray(sky, [(30, 30)], 400.0), [(30, 31), (10, 10)], 3.5 * error)

    hit = find_rays(frame, sky, EXPTIME, faint=False)

    assert hit[30, 30]
    assert hit[30, 31]
    assert not hit[10, 10]


@pytest.mark.parametrize("y", [30.0, 30.3, 30.5])
@pytest.mark.parametrize("electrons", [2e3, 2e4, 2e5])
def test_the_core_of_a_star_that_is_seen_blurred_is_no_ray(electrons, y):
    # physics: the others saw it a quarter of a pixel away, through two interpolations
    frame = frame_of(0.02 + star_at(30.0, y, electrons))
    others = 0.02 + star_at(30.25, y, electrons, sigma=0.85)

    hit = find_rays(frame, others.astype(np.float32), EXPTIME, faint=False)

    assert not hit[27:34, 27:34].any()


def test_a_ray_on_a_star_is_found_where_it_is_sharper_than_stars_are():
    star = star_at(30.0, 30.0, 2e4)
    others = (0.02 + star_at(30.2, 30.0, 2e4, sigma=0.8)).astype(np.float32)
    frame = with_ray(frame_of(0.02 + star), [(30, 30)], 0.5 * star[30, 30] * EXPTIME)

    hit = find_rays(frame, others, EXPTIME, faint=False)

    assert hit[30, 30]
    assert hit.sum() == 1


def test_where_the_other_frame_was_hit_too_the_shape_decides():
    # physics: of the other frame nothing is left at a ray, and nothing in the middle of a star
    sky = 0.02 + star_at(15.0, 15.0, 5e3)
    others = sky.astype(np.float32)
    others[13:18, 13:18] = others[38:43, 38:43] = np.nan
    frame = with_ray(frame_of(sky), [(40, 40), (40, 41)], 500.0)

    hit = find_rays(frame, others, EXPTIME, faint=False)

    assert hit[40, 40]
    assert hit[40, 41]
    assert not hit[10:21, 10:21].any()


def test_bad_pixels_are_left_out_where_others_tell():
    sky = np.full(SHAPE, 0.4)
    frame = frame_of(sky)
    frame[20, 20] = 0.0

    assert find_rays(frame, sky.astype(np.float32), EXPTIME)[20, 20]
    assert not find_rays(frame, sky.astype(np.float32), EXPTIME, faint=False)[20, 20]


def test_pixels_that_are_not_known_are_no_rays():
    frame = frame_of(np.full(SHAPE, 0.02))
    frame[5] = np.nan

    assert not find_rays(frame, np.full(SHAPE, np.nan, np.float32), EXPTIME)[5].any()


@pytest.fixture(scope="module")
def fields():
    """Two fields through one chip, three exposures each: association, frames, what is true of them."""
    return [field_of(seed) for seed in (0, 1)]


def field_of(seed):
    exposures = [
        dataclasses.replace(one, pa_v3_hdr=one.pa_v3_hdr + turned)
        for one, turned in zip(dithered(demo.FIELD, STEPS), (0.0, 0.01, 0.02), strict=True)
    ]
    at = to_fiducial(attitude_of(*demo.FIELD), ["UWFALL"])
    field = make_field(at, stars=1500, seed=3 + seed)
    made = [
        simulate_frame(one, field, seed=1000 * seed + n, chips=("WF3",))
        for n, one in enumerate(exposures)
    ]
    return exposures, field, [frame[2] for frame, _ in made], [truth for _, truth in made]


def associated(exposures, moved=0.0, seed=0):
    """Return the association of exposures, their shifts off by some pixels."""
    pointings = {
        one.root: Pointing(f"{one.root}J", "1", one.ra_hdr, one.dec_hdr, one.pa_v3_hdr, "P")
        for one in exposures
    }
    (one,) = associate(exposures, pointings, dict.fromkeys(pointings, "1")).associations.values()
    rng = np.random.default_rng(seed)
    members = tuple(
        dataclasses.replace(m, shifts=tuple((x + dx, y + dy) for x, y in m.shifts))
        for m, (dx, dy) in zip(
            one.members, rng.normal(0.0, moved, (len(one.members), 2)), strict=True
        )
    )
    return dataclasses.replace(one, members=members)


def counted(field, frames, truths, association):
    """Return rays found and all, and pixels of cores left out and all, of stars nothing hit."""
    image = combine(association, frames, "WF3")
    inner = np.s_[:, 12:-12, 12:-12]
    rays = np.stack([truth.rays[2] for truth in truths])
    hit = (rays > 5 * np.hypot(READ_NOISE, np.sqrt(field.sky * EXPTIME)))[inner]
    touched = cores = 0
    for number, truth in enumerate(truths):
        places = np.rint(truth.places[2]).astype(int)
        inside = ((places > 12) & (places < 788)).all(axis=1) & (field.rates > 5)
        for x, y in places[inside]:
            if not truth.rays[2][y - 2 : y + 3, x - 2 : x + 3].any():
                touched += int(image.rays[number][y - 1 : y + 2, x - 1 : x + 2].sum())
                cores += 9
    return (hit & image.rays[inner]).sum(), hit.sum(), touched, cores


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("moved", [0.0, 0.1])  # pixel; jitter is good to 0.2 between two exposures
def test_few_frames_tell_rays_from_stars(fields, count, moved):
    found = np.zeros(4, int)
    for seed, (exposures, field, frames, truths) in enumerate(fields):
        association = associated(exposures[:count], moved, seed)
        found += counted(field, frames[:count], truths[:count], association)

    # asked: 99 % of the rays, less than 0.1 % of the cores
    rays, all_rays, touched, cores = found
    assert all_rays > 15_000
    assert rays / all_rays > 0.99
    assert cores > 1500
    assert touched / cores < 0.001
