"""What the viewer tells of cubes: which wavelength a plane has, and the spectrum of an element."""

import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from lightmill.models import CubeModel, RampModel
from lightmill.viewing.product import Product
from lightmill.viewing.viewer import Viewer

WAVELENGTH = 2.1 + 0.0005 * np.arange(40)


@pytest.fixture
def cube(tmp_path):
    """A cube with errors, and an element that is not known."""
    rng = np.random.default_rng(1)
    data = rng.normal(5, 1, (40, 7, 9)).astype(np.float32)
    data[:, 2, 3] = np.nan
    err = np.full(data.shape, 0.5, np.float32)
    model = CubeModel(data=data, err=err, dq=np.zeros(data.shape, np.uint32), wavelength=WAVELENGTH)
    return model.save(tmp_path / "a_s3d.fits"), data


def through(viewer, **asked):
    numbers = {
        name: [float(value)]
        for name, value in ({"file": 0, "layer": 0, "plane": 0} | asked).items()
    }
    kind, content = viewer.answer("through", numbers)
    assert kind == "application/octet-stream"
    return np.frombuffer(content, "<f4").reshape(2, -1)


def test_planes_of_a_cube_are_wavelengths(cube):
    path, _ = cube

    (file,) = Viewer([Product(path)]).facts()["files"]

    science = file["layers"][0]
    assert science["axes"] == [{"name": "wavelength", "length": 40}]
    assert science["channels"] == WAVELENGTH.tolist()
    assert {layer["name"] for layer in file["layers"]} == {"SCI", "ERR", "DQ"}
    json.dumps(file, allow_nan=False)


def test_the_spectrum_of_an_element_has_its_errors(cube):
    path, data = cube
    viewer = Viewer([Product(path)])

    values, errors = through(viewer, plane=11, x=4, y=5)
    unknown, _ = through(viewer, x=3, y=2)
    of_errors, none = through(viewer, layer=1, x=4, y=5)

    assert_array_equal(values, data[:, 5, 4])
    assert_array_equal(errors, np.float32(0.5))
    assert np.isnan(unknown).all()
    assert_array_equal(of_errors, np.float32(0.5))
    assert np.isnan(none).all()


def test_the_planes_of_a_ramp_are_its_groups(tmp_path):
    data = np.arange(2 * 5 * 4 * 6, dtype=np.float32).reshape(2, 5, 4, 6)
    path = RampModel(data=data).save(tmp_path / "a_ramp.fits")
    viewer = Viewer([Product(path)])

    values, _ = through(viewer, x=2, y=1)

    assert_array_equal(values, data[:, :, 1, 2].ravel())
    assert viewer.facts()["files"][0]["layers"][0]["channels"] == []


@pytest.mark.parametrize(
    "place", [{"x": 9, "y": 0}, {"x": 0, "y": 7}, {"x": -1, "y": 0}, {"x": 0.5, "y": 0}]
)
def test_an_element_there_is_not_is_refused(cube, place):
    with pytest.raises(IndexError):
        through(Viewer([Product(cube[0])]), **place)
