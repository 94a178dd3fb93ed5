"""World coordinate systems without the packages that define them say what those say."""

import io
import subprocess
import sys

import asdf
import numpy as np
import pytest
from astropy import coordinates, units
from astropy.io import fits
from astropy.modeling import models as astropy_models
from gwcs import WCS, coordinate_frames
from numpy.testing import assert_allclose

from lightmill.imaging.mosaic_frame import corners_of, cover, keywords_of, tangent_wcs
from lightmill.imaging.pixel_map import pixels_of, sky_of
from lightmill.imaging.plain_systems import NodeSystem, TangentSystem, system_of
from lightmill.imaging.wcs_transforms import Pointing, sky_wcs
from lightmill.models import CalModel, wcs_of
from lightmill.models import open as open_model
from lightmill.models.asdf_tree import array_tag
from lightmill.models.content import node_of
from lightmill.models.lineage import force

SCALE = 0.065  # arcsec
SHAPE = (300, 400)
TURN = np.deg2rad(35.0)
MATRIX = np.array([[-np.cos(TURN), np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]])
POINTS = np.random.default_rng(3).uniform(-20, 420, (2, 200))
ROUNDING = 1e-10  # degree: double precision of angles up to 360, several operations


def distortion():
    """From pixels to V2, V3 [arcsec], bent by a few pixels at the edge."""
    x = astropy_models.Polynomial2D(2, c1_0=SCALE, c2_0=3e-7, c0_2=-2e-7)
    y = astropy_models.Polynomial2D(2, c0_1=SCALE, c1_1=4e-7)
    shift = astropy_models.Shift
    return node_of(astropy_models.Mapping((0, 1, 0, 1)) | x & y | shift(-290.0) & shift(-697.0))


def image(ra=53.1, dec=-27.8, aberration=1.00003):
    node, _ = sky_wcs(distortion(), Pointing(-290.0, -697.0, ra, dec, 20.0, aberration), SHAPE)
    model = CalModel(data=np.ones(SHAPE, np.float32))
    force(model, "wcs", node)
    return model, node


@pytest.mark.parametrize(("ra", "dec"), [(53.1, -27.8), (359.9999, 5.0), (20.0, 89.999)])
def test_an_exposure_lies_where_gwcs_says(ra, dec):
    model, node = image(ra, dec)

    plain, library = NodeSystem.of(node), wcs_of(model)

    assert plain.bounding_box == ((-0.5, 399.5), (-0.5, 299.5))
    ours, theirs = plain.forward_transform(*POINTS), library.forward_transform(*POINTS)
    assert_allclose(np.cos(np.deg2rad(ours[0] - theirs[0])), 1, atol=1e-15)
    assert_allclose(ours[1], theirs[1], atol=ROUNDING)
    assert_allclose(pixels_of(plain)(*ours), POINTS, atol=1e-7)  # pixel


def test_a_system_with_a_part_unknown_here_is_left_to_the_packages():
    _, node = image()
    galactic = WCS([
        (coordinate_frames.Frame2D(name="detector", unit=(units.pix, units.pix)),
         astropy_models.Pix2Sky_TAN() | astropy_models.RotateNative2Celestial(3, 4, 180)),
        (coordinate_frames.CelestialFrame(reference_frame=coordinates.Galactic()), None),
    ])  # fmt: skip

    assert NodeSystem.of(None) is None
    assert NodeSystem.of(node_of(galactic)) is None
    assert NodeSystem.of(node.value["steps"][0]) is None


@pytest.mark.parametrize("crval", [(53.1, -27.8), (0.001, 5.0), (20.0, 89.9999), (5.0, -90.0)])
def test_a_tangent_plane_is_that_of_gwcs(crval):
    model, node = image()
    told = (crval, np.array([120.5, 80.25]), SCALE, MATRIX, SHAPE)

    plain = tangent_wcs(NodeSystem(node), *told)
    library = tangent_wcs(wcs_of(model), *told)

    assert isinstance(plain, TangentSystem)
    assert plain.bounding_box == library.bounding_box.bounding_box(order="F")
    ours, theirs = sky_of(plain)(*POINTS), sky_of(library)(*POINTS)
    # Near a pole the same place has any right ascension.
    apart = np.cos(np.deg2rad(ours[1])) * np.sin(np.deg2rad(ours[0] - theirs[0]))
    assert_allclose(np.rad2deg(apart), 0, atol=ROUNDING)
    assert_allclose(ours[1], theirs[1], atol=1e-9)  # the arc sine of a pole loses digits
    assert_allclose(pixels_of(plain)(*ours), POINTS, atol=1e-6)  # pixel


def test_the_node_of_a_tangent_plane_is_read_as_the_same_plane():
    plane = TangentSystem((53.1, -27.8), (120.5, 80.25), SCALE / 3600, MATRIX, SHAPE)
    model = CalModel(data=np.ones(SHAPE, np.float32))
    force(model, "wcs", plane.node(array_tag()))

    read = wcs_of(model)

    assert read.available_frames == ["detector", "world"]
    assert read.pixel_shape == (400, 300)
    assert read.bounding_box.bounding_box(order="F") == plane.bounding_box
    assert_allclose(read(*POINTS, with_bounding_box=False), sky_of(plane)(*POINTS), atol=ROUNDING)


def test_the_node_of_a_tangent_plane_is_evaluated_without_the_packages():
    plane = TangentSystem((53.1, -27.8), (120.5, 80.25), SCALE / 3600, MATRIX, SHAPE)

    system = NodeSystem.of(plane.node(array_tag()))

    assert system.bounding_box == plane.bounding_box
    assert_allclose(system.forward_transform(*POINTS), sky_of(plane)(*POINTS), rtol=1e-15)


def test_the_other_side_of_the_sky_is_on_no_plane():
    plane = TangentSystem((53.1, -27.8), (0.0, 0.0), SCALE / 3600, MATRIX, SHAPE)

    assert np.isnan(plane.backward_transform(233.1, 27.8)).all()


def test_both_kinds_give_one_frame_and_keywords():
    model, node = image()

    systems = NodeSystem(node), wcs_of(model)
    frames = [cover([corners_of(one, SHAPE)], one, SHAPE) for one in systems]

    plain, library = map(keywords_of, frames)
    assert frames[0].shape == frames[1].shape
    assert plain.keys() == library.keys()
    numbers = [name for name, value in plain.items() if isinstance(value, float)]
    assert_allclose([plain[n] for n in numbers], [library[n] for n in numbers], rtol=1e-8)
    assert all(plain[n] == library[n] for n in plain if n not in numbers)


def test_a_system_with_coefficients_in_blocks_is_evaluated_as_one_without(tmp_path):
    model, node = image()
    path = model.save(tmp_path / "x_cal.fits")
    stream = io.BytesIO()  # as the field's programs write it
    asdf.AsdfFile({"meta": {"wcs": wcs_of(model)}}).write_to(stream, all_array_storage="internal")
    with fits.open(path, mode="update") as opened:
        content = np.frombuffer(stream.getvalue(), np.uint8)
        column = fits.Column("ASDF_METADATA", f"{len(content)}B", array=content[None])
        opened["ASDF"] = fits.BinTableHDU.from_columns([column], name="ASDF")

    read = open_model(path)
    system = system_of(read)

    assert read.foreign.asdf.blocks()
    assert isinstance(system, NodeSystem)
    assert_allclose(
        system.forward_transform(*POINTS), NodeSystem(node).forward_transform(*POINTS), rtol=1e-15
    )


def test_resampling_an_exposure_needs_none_of_the_packages(tmp_path):
    model, _ = image()
    model.meta.update({"exposure.exposure_time": 10.0, "bunit_data": "MJy/sr"})
    path = model.save(tmp_path / "x_cal.fits")
    program = (
        "import sys; from lightmill import models; from lightmill.imaging import Resample\n"
        f"mosaic = Resample().apply(models.open({str(path)!r})); mosaic.save('x_i2d.fits')\n"
        "print(sorted({'gwcs', 'asdf', 'astropy.coordinates'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"
