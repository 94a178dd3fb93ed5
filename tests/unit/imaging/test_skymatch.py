"""The skies of exposures come out as they are, and come to be the same."""

import logging

import numpy as np
import pytest

from lightmill.errors import ConfigurationError, DataError, UnknownNameError
from lightmill.imaging import MatchSky
from lightmill.models import CalModel, Exposures
from lightmill.pipeline import Skipped
from lightmill.testing.star_fields import make_exposure, make_stars, make_wcs

RA, DEC, SIZE, NOISE = 53.16, -27.79, 200, 0.02
SKIES = (1.00, 1.05, 0.97)
ARCSEC = 1 / 3600


def observe(skies=SKIES, *, step=1.7, dec=DEC):
    """Exposures of one field under different skies."""
    stars = make_stars(70, RA, dec)
    made = []
    for k, sky in enumerate(skies):
        wcs = make_wcs(
            RA + k * step * ARCSEC / np.cos(np.radians(dec)), dec, 20.0 + 3 * k, size=SIZE
        )
        made.append(
            make_exposure(stars, wcs, size=SIZE, sky=sky, seed=k, filename=f"e{k}_cal.fits")
        )
    return Exposures.of(made, "field")


def found(exposures):
    return [model.meta.background.level for model in exposures.science]


# physics: the median of SIZE^2 pixels is known to 1.25 NOISE / SIZE, the mode to twice that; stars
# leave a few per cent of their light
ERROR = 8 * NOISE / SIZE


def test_matched_skies_are_the_differences_from_the_lowest():
    matched = MatchSky().apply(observe())

    np.testing.assert_allclose(found(matched), [0.03, 0.08, 0.0], atol=ERROR)
    for model in matched.science:
        assert model.meta.background.method == "match"
        assert model.meta.background.subtracted is False


def test_the_highest_sky_can_be_the_reference():
    matched = MatchSky(match_down=False).apply(observe())

    np.testing.assert_allclose(found(matched), [-0.05, 0.0, -0.08], atol=ERROR)


def test_local_skies_are_levels():
    measured = MatchSky(skymethod="local").apply(observe())

    np.testing.assert_allclose(found(measured), SKIES, atol=0.05 * NOISE)


def test_the_global_sky_is_the_lowest_of_all():
    measured = MatchSky(skymethod="global").apply(observe())

    np.testing.assert_allclose(found(measured), 3 * [0.97], atol=0.05 * NOISE)


def test_global_and_match_together_are_levels_that_differ_as_they_should():
    both = np.array(found(MatchSky(skymethod="global+match").apply(observe())))

    np.testing.assert_allclose(both, SKIES, atol=0.1 * NOISE)
    np.testing.assert_allclose(both - both[2], [0.03, 0.08, 0.0], atol=ERROR)


def test_a_subtracted_sky_is_gone():
    exposures = observe()

    subtracted = MatchSky(skymethod="global+match", subtract=True).apply(exposures)

    for model, before, sky in zip(
        subtracted.science, exposures.science, found(subtracted), strict=True
    ):
        np.testing.assert_allclose(model.data, before.data - np.float32(sky), atol=1e-7)
        assert model.meta.background.subtracted is True
        assert model.data.dtype == np.float32
    assert abs(np.median(exposures.science[0].data) - 1.0) < 0.01  # it still has its own


def test_a_sky_subtracted_again_is_the_sum():
    once = MatchSky(skymethod="local", subtract=True).apply(observe())

    twice = MatchSky(skymethod="local", subtract=True).apply(once)

    np.testing.assert_allclose(found(twice), SKIES, atol=0.05 * NOISE)


def test_a_subtracted_sky_cannot_be_recorded_afterwards():
    once = MatchSky(skymethod="local", subtract=True).apply(observe())

    with pytest.raises(DataError, match="subtracted before") as failure:
        MatchSky().apply(once)

    assert failure.value.place == "e0_cal.fits"
    assert "subtract" in failure.value.remedy


def test_detectors_exposed_together_share_their_sky():
    models = [
        model.evolve(meta={"observation.obs_id": "V1", "exposure.start_time": start})
        for model, start in zip(observe((1.0, 1.0, 1.2, 1.2)).science, (1, 1, 2, 2), strict=True)
    ]

    matched = MatchSky().apply(Exposures.of(models, "two detectors"))

    np.testing.assert_allclose(found(matched), [0, 0, 0.2, 0.2], atol=ERROR)


def test_an_exposure_that_overlaps_with_no_other_says_so(caplog):
    near, far = observe().science[:2], observe(step=300.0).science[2]
    exposures = Exposures.of([*near, far], "field")

    with caplog.at_level(logging.WARNING, "lightmill"):
        answer = MatchSky().apply(exposures)

    matched = answer.result
    assert matched.science[2].meta.background.level is None
    assert list(answer.skipped) == ["e2_cal.fits"]
    assert "e2_cal.fits: the sky is not known" in caplog.text
    np.testing.assert_allclose(found(matched)[:2], [0.0, 0.05], atol=ERROR)


@pytest.mark.parametrize("method", ["match", "local", "global+match"])
def test_flagged_exposures_are_skipped(method):
    flagged = [model.evolve(dq=np.ones((SIZE, SIZE), np.uint32)) for model in observe().science]

    answer = MatchSky(skymethod=method).apply(Exposures.of(flagged, "flagged"))

    assert isinstance(answer, Skipped)


def test_one_exposure_has_nothing_to_match():
    answer = MatchSky().apply(Exposures.of(observe().science[:1], "one"))

    assert isinstance(answer, Skipped)


def test_exposures_apart_are_skipped():
    answer = MatchSky().apply(observe(step=300.0))

    assert isinstance(answer, Skipped)
    assert "in common" in answer.reason


def test_flags_decide_which_pixels_are_sky():
    exposures = observe((1.0, 1.0))
    dq = np.zeros((SIZE, SIZE), np.uint32)
    dq[:, : SIZE // 2] = 1 << 12  # warm pixels, half of the image
    data = exposures.science[0].data.copy()
    data[:, : SIZE // 2] += 1.0
    warm = exposures.evolve([exposures.science[0].evolve(data=data, dq=dq), exposures.science[1]])

    strict = MatchSky(skymethod="local", dqbits="~DO_NOT_USE+WARM").apply(warm)

    assert abs(found(strict)[0] - 1.0) < 0.1 * NOISE


def test_a_pole_is_a_place_like_others():
    matched = MatchSky().apply(observe(dec=89.9995, step=0.0))

    np.testing.assert_allclose(found(matched), [0.03, 0.08, 0.0], atol=ERROR)


def test_the_users_own_levels_are_taken(tmp_path):
    path = tmp_path / "skies.txt"
    path.write_text("e0_cal.fits 1.5\ne2_cal.fits, 1.7  # the last\ne1_cal.fits 1.6\n")

    given = MatchSky(skymethod="user", skylist=str(path)).apply(observe())

    assert found(given) == [1.5, 1.6, 1.7]
    assert given.science[0].meta.background.method == "user"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (None, ConfigurationError),
        ("e0_cal.fits one", ConfigurationError),
        ("e0_cal.fits 1.0", UnknownNameError),
    ],
)
def test_a_list_of_levels_that_is_wrong_is_refused(tmp_path, text, kind):
    path = tmp_path / "skies.txt"
    if text:
        path.write_text(text)

    with pytest.raises(kind):
        MatchSky(skymethod="user", skylist=str(path)).apply(observe())


def test_exposures_without_coordinates_can_be_measured_but_not_matched():
    bare = [
        CalModel(meta={"filename": f"{k}_cal.fits"}, data=np.full((64, 64), sky, np.float32))
        for k, sky in enumerate((1.0, 2.0))
    ]

    assert found(MatchSky(skymethod="local").apply(Exposures.of(bare, "bare"))) == [1.0, 2.0]
    with pytest.raises(DataError, match="where on the sky") as failure:
        MatchSky().apply(Exposures.of(bare, "bare"))
    assert failure.value.place == "0_cal.fits"
