"""Corrections put into nodes are those that tweakwcs puts into objects."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.modeling import models as astropy_models
from numpy.testing import assert_allclose
from tweakwcs.correctors import JWSTWCSCorrector

from lightmill.imaging.affine import Affine
from lightmill.imaging.corrected_nodes import can_be_corrected
from lightmill.imaging.corrected_wcs import corrected
from lightmill.imaging.overlap import TangentPlane
from lightmill.imaging.plain_systems import NodeSystem
from lightmill.imaging.wcs_transforms import Pointing, sky_wcs
from lightmill.models import CalModel, wcs_of
from lightmill.models import open as open_model
from lightmill.models.asdf_tree import Tagged
from lightmill.models.content import node_of
from lightmill.models.lineage import force

SHAPE = (300, 400)
REFERENCE = {"v2_ref": -290.0, "v3_ref": -697.0, "roll_ref": 20.0}
POINTS = np.random.default_rng(3).uniform(0, 299, (2, 200))
TURN = np.deg2rad(0.02)
CORRECTION = Affine(
    1.0001 * np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]]),
    np.array([0.12, -0.07]),
)
ROUNDING = 2e-9  # arcsec: double precision of angles up to 360 degrees, a dozen operations


def distortion():
    """From pixels to V2, V3 [arcsec], bent by a few pixels at the edge; the way back to 0.1 pixel."""
    x = astropy_models.Polynomial2D(2, c1_0=0.065, c2_0=3e-7, c0_2=-2e-7)
    y = astropy_models.Polynomial2D(2, c0_1=0.065, c1_1=4e-7)
    shift, scale = astropy_models.Shift, astropy_models.Scale
    whole = astropy_models.Mapping((0, 1, 0, 1)) | x & y | shift(-290.0) & shift(-697.0)
    whole.inverse = shift(290.0) & shift(697.0) | scale(1 / 0.065) & scale(1 / 0.065)
    return node_of(whole)


def image(ra=53.1, dec=-27.8, aberration=1.00003):
    node, _ = sky_wcs(distortion(), Pointing(-290.0, -697.0, ra, dec, 20.0, aberration), SHAPE)
    model = CalModel(data=np.ones(SHAPE, np.float32))
    force(model, "wcs", node)
    return model, node


def both(ra, dec):
    """The same correction by nodes and by the packages, and the plane it was found in."""
    model, node = image(ra, dec)
    plane = TangentPlane(ra, dec)
    given = CORRECTION, plane, SHAPE, REFERENCE
    return corrected(NodeSystem(node), *given), corrected(wcs_of(model), *given), plane


def reread(system, tmp_path):
    """What the packages make of a system after it has been in a file."""
    model, _ = image()
    force(model, "wcs", system.node)
    return wcs_of(open_model(model.save(tmp_path / "x_cal.fits")))


@pytest.mark.parametrize(("ra", "dec"), [(53.1, -27.8), (359.9999, 5.0), (20.0, 89.99)])
def test_nodes_are_corrected_as_objects_are(ra, dec):
    plain, library, plane = both(ra, dec)

    ours, theirs = plain.pixel_to_world_values(*POINTS), library.pixel_to_world_values(*POINTS)

    assert plain.available_frames == list(library.available_frames)
    assert_allclose(plane.project(*ours), plane.project(*theirs), atol=ROUNDING)


def test_a_corrected_node_is_read_and_led_back_by_the_packages(tmp_path):
    plain, library, plane = both(53.1, -27.8)

    read = reread(plain, tmp_path)

    sky = library.pixel_to_world_values(*POINTS)
    assert_allclose(
        plane.project(*read.pixel_to_world_values(*POINTS)), plane.project(*sky), atol=ROUNDING
    )
    back = np.array(library.world_to_pixel_values(*sky))  # as good as the distortion's way back
    assert_allclose(read.world_to_pixel_values(*sky), back, atol=ROUNDING / 0.065)


def test_tweakwcs_corrects_a_corrected_node_further(tmp_path):
    plain, library, plane = both(53.1, -27.8)
    correctors = [
        JWSTWCSCorrector(one, REFERENCE) for one in (reread(plain, tmp_path), library)
    ]  # which refuses a step it does not know

    for one in correctors:
        one.set_correction(shift=[0.1, -0.2])

    ours, theirs = (plane.project(*one.wcs.pixel_to_world_values(*POINTS)) for one in correctors)
    assert_allclose(ours, theirs, atol=ROUNDING)
    assert abs(ours - plane.project(*library.pixel_to_world_values(*POINTS))).min() > 0.01  # arcsec


def test_outside_of_its_limits_a_system_of_nodes_says_nothing():
    _, node = image()

    ra, dec = NodeSystem(node).pixel_to_world_values([-0.5, -0.6, 10, 10], [0, 0, 299.5, 299.6])

    assert np.isfinite([ra, dec]).tolist() == [[True, False, True, False]] * 2


def without_frame(node, name):
    steps = node.value["steps"]
    kept = [step for step in steps if step.value["frame"].value["name"] != name]
    return Tagged(node.tag, {**node.value, "steps": kept})


def with_transform(node, number, transform):
    steps = list(node.value["steps"])
    steps[number] = Tagged(steps[number].tag, {**steps[number].value, "transform": transform})
    return Tagged(node.tag, {**node.value, "steps": steps})


def with_frame(node, number, frame):
    steps = list(node.value["steps"])
    steps[number] = Tagged(steps[number].tag, {**steps[number].value, "frame": frame})
    return Tagged(node.tag, {**node.value, "steps": steps})


def test_what_is_not_known_here_is_left_to_the_packages():
    model, node = image()
    whole = NodeSystem(node)
    # a turn of the plane: its way back is not known here
    odd = with_transform(node, 1, node_of(astropy_models.Rotation2D(0.1)))

    assert can_be_corrected(whole, REFERENCE)
    assert not can_be_corrected(wcs_of(model), REFERENCE)
    assert not can_be_corrected(whole, {**REFERENCE, "roll_ref": None})
    assert not can_be_corrected(NodeSystem(without_frame(node, "v2v3")), REFERENCE)
    assert can_be_corrected(NodeSystem(odd), REFERENCE)  # it lies before the correction
    assert not can_be_corrected(NodeSystem(without_frame(odd, "v2v3vacorr")), REFERENCE)
    nameless = Tagged(node.value["steps"][1].value["frame"].tag, {})
    assert not can_be_corrected(NodeSystem(with_frame(node, 1, nameless)), REFERENCE)
    assert not can_be_corrected(NodeSystem(with_frame(node, 2, "v2v3vacorr")), REFERENCE)
    again = corrected(whole, CORRECTION, TangentPlane(53.1, -27.8), SHAPE, REFERENCE)
    assert not can_be_corrected(again, REFERENCE)  # its correction would have to be changed


def test_aligning_and_matching_skies_need_none_of_the_packages(tmp_path):
    random = np.random.default_rng(4)
    sky = random.normal(1.0, 0.02, SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for at in random.uniform(20, 280, (30, 2)):
        sky += 4 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 2)
    for number, shift in enumerate((0.0, 1e-5)):  # 36 mas
        node = image(dec=-27.8 + shift)[1]
        model = CalModel(data=sky.astype(np.float32), meta={"bunit_data": "MJy/sr"})
        force(model, "wcs", node)
        model.meta.update({f"wcsinfo.{name}": value for name, value in REFERENCE.items()})
        model.save(tmp_path / f"{number}_cal.fits")
    program = (
        "import sys; from lightmill.models import Exposures; "
        "from lightmill.imaging import AlignExposures, MatchSky\n"
        f"given = Exposures.of([{str(tmp_path)!r} + f'/{{n}}_cal.fits' for n in (0, 1)])\n"
        "aligned = AlignExposures().apply(given)\n"
        "assert 'moved by' in aligned.science[0].history[-1], aligned.science[0].history\n"
        "MatchSky().apply(aligned).science[1].save('x_cal.fits')\n"
        "print(sorted({'gwcs', 'asdf', 'astropy'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr) == ("[]\n", "")
    assert "v2v3corr" in wcs_of(open_model(tmp_path / "x_cal.fits")).available_frames
