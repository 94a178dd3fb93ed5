"""Raw exposures hold what the scene and the detector put in."""

import tracemalloc

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal

from lightmill.errors import ConfigurationError, UnknownNameError
from lightmill.simulate import SCENES, Effects, InstrumentFacts, exposure, observe


def science(simulated):
    return fits.getdata(simulated.uncal, "SCI").astype(float)


def reference(simulated, kind, extension="SCI"):
    return fits.getdata(simulated.references[kind], extension)


def truth(simulated, name):
    return fits.getdata(simulated.truth, name)


def test_the_same_seed_gives_the_same_numbers(facts, tmp_path):
    first = exposure(facts, "minimal", seed=5, directory=tmp_path / "a")
    again = exposure(facts, "minimal", seed=5, directory=tmp_path / "b")
    other = exposure(facts, "minimal", seed=6, directory=tmp_path / "c")

    assert_array_equal(science(first), science(again))
    for kind, path in first.references.items():
        with fits.open(path) as one, fits.open(again.references[kind]) as two:
            for a, b in zip(one[1:], two[1:], strict=True):
                assert a.data.tobytes() == b.data.tobytes()
    assert not np.array_equal(science(first), science(other))


def test_an_even_sky_without_noise_climbs_by_its_own_rate(facts, empty, tmp_path):
    # physics: sky electrons per second, divided by gain, on top of the bias, rounded
    made = exposure(
        facts, empty, seed=1, directory=tmp_path, effects=Effects.none(), brightness=3.0
    )

    p, seconds = facts.pixels, facts.window(32).frame_time
    light = truth(made, "RATE") > 0
    for group, image in enumerate(science(made)[0], start=1):
        expected = p.bias + 3.0 * facts.optics.sky * group * seconds / p.gain
        assert_array_equal(image[light], np.rint(np.float32(expected)))
        assert_array_equal(image[~light], p.bias)


@pytest.mark.parametrize("effect", ["nonlinearity", "ipc", "dark", "bias_pattern", "resets"])
def test_the_references_undo_each_effect(facts, empty, tmp_path, effect):
    # by hand, in the order of the correction: IPC, reset, bias, linearity, dark
    made = exposure(
        facts,
        empty,
        seed=2,
        directory=tmp_path,
        effects=Effects.none(gain_pattern=True, **{effect: True}),
        brightness=2000.0,
        ngroups=6,
    )
    data = science(made)[0]
    light = truth(made, "RATE") > 0
    rows, columns = (np.flatnonzero(light.any(axis=a)) for a in (1, 0))
    inner = light.copy()
    inner[rows[[0, -1]]] = inner[:, columns[[0, -1]]] = False  # neighbours beyond are dark

    kernel = reference(made, "ipc").astype(float)
    padded = np.pad(data, ((0, 0), (1, 1), (1, 1)))
    ny, nx = light.shape
    corrected = sum(
        kernel[j, i] * padded[:, 2 - j : 2 - j + ny, 2 - i : 2 - i + nx]
        for j in range(3)
        for i in range(3)
    )
    if "reset" in made.references:
        corrected = corrected - reference(made, "reset")[0][: len(data)]
    if "superbias" in made.references:
        corrected = corrected - reference(made, "superbias")
    coefficients = reference(made, "linearity", "COEFFS").astype(float)
    linear = sum(c * corrected**power for power, c in enumerate(coefficients))
    dark = reference(made, "dark")
    linear -= dark[0, : len(data)] if dark.ndim == 4 else dark[: len(data)]

    groups = slice(0, -1)  # the last has the offset that another step flags
    slope = np.diff(linear[groups], axis=0) / fits.getheader(made.uncal)["TGROUP"]
    expected = np.broadcast_to(truth(made, "RATE"), slope.shape)
    # rounding of two reads, enlarged by less than a tenth, over one group time
    tolerance = 1.3 / fits.getheader(made.uncal)["TGROUP"]
    assert_allclose(slope[:, inner], expected[:, inner], rtol=2e-4, atol=tolerance)


def test_every_hit_of_the_truth_is_in_the_raw_data(near_infrared, empty, tmp_path):
    only = {"brightness": 1.0, "seed": 3, "size": 128}
    still = exposure(near_infrared, empty, directory=tmp_path / "0", effects=Effects.none(), **only)
    struck = exposure(
        near_infrared,
        empty,
        directory=tmp_path / "1",
        effects=Effects.none(cosmic_rays=300.0),
        **only,
    )
    hits = truth(struck, "JUMPS")

    charge = np.zeros(science(still).shape)
    for hit in hits:
        charge[hit["integ"], hit["group"] :, hit["y"], hit["x"]] += hit["charge_e"]
    added = (science(struck) - science(still)) * near_infrared.pixels.gain

    assert len(hits) > 20
    full = near_infrared.pixels.full_well * near_infrared.pixels.gain
    kept = charge < 0.9 * full
    assert_allclose(added[kept], charge[kept], atol=2 * near_infrared.pixels.gain)


def test_a_full_pixel_is_above_the_saturation_reference(facts, tmp_path):
    made = exposure(facts, "minimal", seed=4, directory=tmp_path, brightness=3e6)
    threshold = reference(made, "saturation")
    last = science(made)[0, -1]

    usable = (truth(made, "CLASS") & 0b10010011) == 0
    usable &= np.isfinite(threshold)
    assert (last[usable] >= threshold[usable]).mean() > 0.99


def test_the_header_says_what_the_data_are(facts, tmp_path):
    made = exposure(
        facts, "minimal", seed=1, directory=tmp_path, nints=2, ngroups=3, nframes=2, groupgap=1
    )
    with fits.open(made.uncal) as file:
        file.verify("exception")
        h = file[0].header
        assert file["SCI"].data.dtype == np.uint16
        assert file["SCI"].shape[:2] == (h["NINTS"], h["NGROUPS"]) == (2, 3)
        assert file["SCI"].shape[2:] == (h["SUBSIZE2"], h["SUBSIZE1"])
        assert len(file["GROUP"].data) == 6
        times = file["INT_TIMES"].data
    assert h["SIMULATD"] is True
    assert "not an observation" in str(h["HISTORY"])
    assert h["FILENAME"] == made.uncal.name
    assert_allclose(h["TGROUP"], 3 * h["TFRAME"])
    assert_allclose(h["EFFINTTM"], 8 * h["TFRAME"])  # 2 + 1 + 2 + 1 + 2 frames
    assert_allclose((h["EXPEND"] - h["EXPSTART"]) * 86400, h["DURATION"], atol=1e-5)
    assert_allclose(times["int_end_MJD_UTC"][-1], h["EXPEND"], rtol=0, atol=1e-9)
    assert (h["FASTAXIS"], h["SLOWAXIS"]) == (
        facts.geometry.fast_axis,
        facts.geometry.slow_axis,
    )


def test_the_wcs_puts_the_catalog_where_it_is_seen(facts, tmp_path):
    made = observe(facts, "minimal", seed=1, directory=tmp_path, dithers=[(0.4, -0.7)])[0]
    catalog = truth(made, "CATALOG")

    x, y = WCS(fits.getheader(made.uncal, "SCI")).celestial.all_world2pix(
        catalog["ra"], catalog["dec"], 0
    )

    assert_allclose(x, catalog["x"], atol=1e-3)
    assert_allclose(y, catalog["y"], atol=1e-3)


def test_dithers_move_the_stars_not_the_detector(near_infrared, tmp_path):
    step = 10 * near_infrared.optics.pixel_scale
    a, b = observe(
        near_infrared, "minimal", seed=1, directory=tmp_path, dithers=[(0, 0), (step, 0)]
    )

    assert a.references == b.references
    assert_array_equal(truth(a, "BIAS"), truth(b, "BIAS"))
    # physics: the telescope moves towards +x, so the sky moves towards -x
    assert_allclose(truth(a, "CATALOG")["x"] - truth(b, "CATALOG")["x"], 10, atol=1e-3)
    assert not np.array_equal(science(a), science(b))


def test_averaged_groups_keep_their_first_frame(averaging, empty, tmp_path):
    made = exposure(
        averaging,
        empty,
        seed=1,
        directory=tmp_path,
        effects=Effects.none(),
        nints=2,
        nframes=3,
        brightness=300.0,
    )
    with fits.open(made.uncal) as file:
        header, zero, data = file[0].header, file["ZEROFRAME"].data, file["SCI"].data
    light = truth(made, "RATE") > 0
    step = truth(made, "RATE")[light][0] * header["TFRAME"]
    bias = averaging.pixels.bias

    assert zero.shape == (2, 32, 32)
    assert header["FRMDIVSR"] == 4
    assert_allclose(zero[:, light], bias + step, atol=0.51)
    # three reads summed, divided by four: the next power of two
    assert_allclose(data[:, 0][:, light], 0.75 * (bias + 2 * step), atol=1.1)


def test_memory_does_not_grow_with_the_number_of_integrations(near_infrared, tmp_path):
    def peak(nints):
        tracemalloc.start()
        exposure(near_infrared, "minimal", seed=1, directory=tmp_path / str(nints), nints=nints)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)  # imports
    assert peak(12) < 1.1 * peak(1)


def test_an_interrupted_simulation_leaves_no_raw_file(near_infrared, tmp_path):
    def stop(what, done, total):
        del total
        if what.startswith("exposure") and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        exposure(near_infrared, "minimal", seed=1, directory=tmp_path, progress=stop)

    assert not list(tmp_path.glob("*uncal*"))
    assert not list(tmp_path.glob("*.part"))


def test_every_scene_has_a_name_and_a_line_about_it():
    for name, scene in SCENES.items():
        assert scene.name == name
        assert scene.title


def test_unknown_names_are_answered_with_a_suggestion(near_infrared, tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'minimal'"):
        exposure(near_infrared, "minimum", seed=1, directory=tmp_path)
    with pytest.raises(UnknownNameError, match="SUB256"):
        near_infrared.window("SUB265")
    with pytest.raises(ConfigurationError, match="no such window"):
        near_infrared.window((4000, 4000))
    with pytest.raises(ConfigurationError, match="ngroups"):
        exposure(near_infrared, "minimal", seed=1, directory=tmp_path, ngroups=0)


def test_a_misspelled_fact_is_refused(tmp_path):
    path = tmp_path / "simulate.yaml"
    path.write_text("gian: 1.6\n")

    with pytest.raises(UnknownNameError, match="gian"):
        InstrumentFacts.from_yaml(path)
