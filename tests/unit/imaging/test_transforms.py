import numpy as np
import pytest
from astropy.modeling import models as astropy_models
from gwcs import geometry
from numpy.testing import assert_allclose

from lightmill.imaging import transforms
from lightmill.imaging.transforms import Unsupported, bounding_box, evaluate
from lightmill.models.asdf_tree import TAG, Tagged
from lightmill.models.content import node_of

DICE = np.random.default_rng(5)
X, Y = DICE.uniform(-2, 2, (2, 6))


def polynomial(degree, **limits):
    made = astropy_models.Polynomial2D(degree, **limits)
    made.parameters = DICE.normal(size=made.parameters.size)
    return made


PLANE = {
    "shifts": astropy_models.Shift(1.5) & astropy_models.Shift(-0.25),
    "scales": astropy_models.Scale(1.5) & astropy_models.Multiply(-0.25),
    "rotation": astropy_models.Rotation2D(33.0),
    "affine": astropy_models.AffineTransformation2D([[1.0, 0.2], [-0.3, 0.9]], [3.0, 4.0]),
    "axes-exchanged": astropy_models.Mapping((1, 0)),
    "identity": astropy_models.Identity(2),
    "polynomials": astropy_models.Mapping((0, 1, 0, 1)) | polynomial(5) & polynomial(3),
    "polynomial-with-window": polynomial(
        3, x_domain=[-2, 2], y_domain=[-3, 1], x_window=[-1, 1], y_window=[-1, 1]
    ),
    "polynomials-of-one": astropy_models.Polynomial1D(2, c0=1, c1=2, c2=3)
    & astropy_models.Polynomial1D(1, c0=0.5, c1=-1),
    "sum": polynomial(2) + polynomial(1),
    "product": polynomial(2) * polynomial(1),
    "constants": astropy_models.Const1D(2.0) & astropy_models.Shift(1.0),
    "chain": astropy_models.Shift(1.0) & astropy_models.Scale(2.0)
    | astropy_models.Rotation2D(10.0)
    | astropy_models.Mapping((0, 1, 0, 1))
    | polynomial(2) & polynomial(2),
}


@pytest.mark.parametrize("name", PLANE)
def test_a_transform_is_evaluated_as_its_library_does(name):
    expected = np.atleast_2d(PLANE[name](X, Y))

    found = evaluate(node_of(PLANE[name]), X, Y)

    assert_allclose(found, expected, rtol=1e-13, atol=1e-13)  # rounding


def test_rotations_of_the_sphere_are_evaluated_as_their_library_does():
    lon, lat = np.array([[0.1, 179.9, -120.0, 10.0], [89.999, -45.0, 0.0, -90.0]])
    angles = np.array([0.1, -0.2, 123.0, 45.0, -300.0])
    theirs = (
        geometry.SphericalToCartesian(wrap_lon_at=180)
        | astropy_models.RotationSequence3D(angles, axes_order="zyxyz")
        | geometry.CartesianToSpherical(wrap_lon_at=360)
    )
    ours = transforms.compose(
        transforms.spherical(to_vector=True, wrap_lon_at=180),
        transforms.rotation(angles, "zyxyz"),
        transforms.spherical(to_vector=False, wrap_lon_at=360),
    )

    found = evaluate(ours, lon, lat)

    assert_allclose(found, theirs(lon, lat), rtol=1e-13)  # rounding
    assert_allclose(evaluate(node_of(theirs), lon, lat), found, rtol=1e-13)


def test_nodes_of_older_files_need_not_say_their_axes():
    def old(kind, **content):
        return Tagged(f"{TAG}transform/{kind}-1.1.0", content)

    sides = old("concatenate", forward=[old("shift", offset=1.0), old("identity")])
    node = old("compose", forward=[old("remap_axes", mapping=[1, 0]), sides])

    x, y = evaluate(node, X, Y)

    assert_allclose((x, y), (Y + 1.0, X))


@pytest.mark.parametrize(
    "node",
    [
        Tagged(f"{TAG}transform/something-1.0.0", {}),
        Tagged(f"{TAG}transform/shift-1.2.0", {"offset": Tagged(f"{TAG}unit/quantity-1.1.0", {})}),
        Tagged(f"{TAG}transform/polynomial-1.2.0", {"coefficients": [["a", "b"]]}),
        Tagged(f"{TAG}transform/compose-1.2.0", {"forward": ["no transform"]}),
        Tagged(f"{TAG}transform/compose-1.2.0", {}),
        Tagged(f"{TAG}transform/affine-1.2.0", {"matrix": [], "translation": []}),
    ],
)
def test_what_is_not_known_or_damaged_is_left_to_the_library(node):
    with pytest.raises(Unsupported):
        evaluate(node, X, Y)


def test_limits_are_read_in_both_forms_files_have_them():
    model = astropy_models.Shift(1.0) & astropy_models.Shift(2.0)
    model.bounding_box = ((-0.5, 9.5), (3.0, 19.5))  # y first
    new = node_of(model)
    old = Tagged(new.tag, {**new.value, "bounding_box": [[-0.5, 9.5], [3.0, 19.5]]})

    boxes = [bounding_box(node) for node in (new, old)]

    assert boxes == [((3.0, 19.5), (-0.5, 9.5))] * 2


def test_a_transform_without_limits_says_so():
    assert bounding_box(transforms.shift(1.0, 2.0)) is None


@pytest.mark.parametrize("held", ["text", [[0, 1]], [["a", "b"], [0, 1]], {"intervals": {}}])
def test_limits_that_are_none_are_not_guessed(held):
    node = transforms.shift(1.0, 2.0)

    with pytest.raises((Unsupported, ValueError)):
        bounding_box(Tagged(node.tag, {**node.value, "bounding_box": held}))


def test_the_way_back_is_found_for_what_leads_to_the_sky():
    there = transforms.compose(
        transforms.scale(1 / 3600),
        transforms.shift(1.5, -0.5),
        transforms.identity(),
        transforms.spherical(to_vector=True, wrap_lon_at=180),
        transforms.rotation([0.1, -0.2, 123.0, 45.0, -300.0], "zyxyz"),
        transforms.spherical(to_vector=False, wrap_lon_at=360),
    )

    back = evaluate(transforms.inverse(there), *evaluate(there, 100 * X, 100 * Y))

    assert_allclose(back, (100 * X, 100 * Y), atol=1e-8)  # arcsec: rounding of degrees


def test_a_way_back_that_is_written_down_is_taken():
    back = transforms.shift(1.0, 2.0)

    assert transforms.inverse(transforms.with_inverse(node_of(PLANE["sum"]), back)) is back
    with pytest.raises(Unsupported):
        transforms.inverse(node_of(PLANE["polynomials"]))
