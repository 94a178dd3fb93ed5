"""Coordinate transforms as nodes of an ASDF tree: put together, and evaluated with NumPy alone.

A distortion reference holds its transform as such nodes, and a product holds its world coordinate
system as such nodes. To go from the one to the other, and to know where a few pixels lie, needs
none of the packages that define the tags: their import alone takes longer than the rest of the
calibration of an image. What is not known here (`Unsupported`) is evaluated by these packages.

The meaning of the tags is that of the ASDF transform schemas 1.2 and later [1]_ and of the gwcs
schemas [2]_.

References
----------
.. [1] https://www.asdf-format.org/projects/asdf-transform-schemas/
.. [2] https://www.asdf-format.org/projects/asdf-wcs-schemas/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lightmill.models.asdf_tree import TAG, Tagged

__all__ = [
    "Unsupported",
    "affine",
    "bounding_box",
    "compose",
    "constant",
    "divide",
    "evaluate",
    "identity",
    "inverse",
    "named",
    "one_scaled",
    "plane_to_sky",
    "remap",
    "rotation",
    "scale",
    "shift",
    "side_by_side",
    "spherical",
    "with_array_tag",
    "with_bounding_box",
    "with_inverse",
]

GWCS = "tag:stsci.edu:gwcs/"
Arrays = tuple[np.ndarray, ...]
Box = tuple[tuple[float, float], tuple[float, float]]  # limits in x, and in y


class Unsupported(Exception):  # noqa: N818 - says which way to take, nothing is wrong
    """The transform has a part that this module cannot evaluate."""


# -- nodes -------------------------------------------------------------------------------------


def compose(*nodes: Tagged, name: str = "") -> Tagged:
    """Return the transform that applies others one after the other."""
    result = nodes[0]
    for node in nodes[1:]:
        result = _pair("compose", result, node, _inputs(result), _outputs(node))
    return named(result, name)


def side_by_side(left: Tagged, right: Tagged, name: str = "") -> Tagged:
    """Return the transform that applies two to axes of their own."""
    counts = len(_inputs(left)) + len(_inputs(right)), len(_outputs(left)) + len(_outputs(right))
    return named(_pair("concatenate", left, right, *map(_axes, "xy", counts)), name)


def shift(dx: float, dy: float, *, name: str = "", axes: tuple[str, str] = ("", "")) -> Tagged:
    """Return the transform (x, y) → (x + dx, y + dy)."""
    x, y = axes
    return side_by_side(
        _one_axis("shift", "offset", dx, x), _one_axis("shift", "offset", dy, y), name=name
    )


def scale(factor: float, *, name: str = "", axes: tuple[str, str] = ("", "")) -> Tagged:
    """Return the transform that multiplies both axes."""
    x, y = (one_scaled(factor, name=axis) for axis in axes)
    return side_by_side(x, y, name=name)


def one_scaled(factor: float, *, name: str = "") -> Tagged:
    """Return the transform that multiplies one axis."""
    return _one_axis("scale", "factor", factor, name)


def identity() -> Tagged:
    """Return the transform that leaves two axes as they are."""
    return _node("identity-1.2.0", {"n_dims": 2}, ["x0", "x1"], ["x0", "x1"])


def remap(mapping: Sequence[int], inputs: int, *, name: str = "") -> Tagged:
    """Return the transform that puts its inputs, by number, into another order or out twice."""
    content: dict[str, Any] = {"mapping": list(mapping)}
    if inputs > max(mapping) + 1:  # what the tag takes for granted
        content["n_inputs"] = inputs
    ends = _axes("x", inputs), _axes("x", len(mapping))
    return named(_node("remap_axes-1.3.0", content, *ends), name)


def divide(left: Tagged, right: Tagged) -> Tagged:
    """Return the transform that divides what one makes of its inputs by what another does."""
    return _pair("divide", left, right, _inputs(left), _outputs(left))


def constant(value: float, *, name: str = "") -> Tagged:
    """Return the transform of one axis into a number."""
    content = {"value": float(value), "dimensions": 1}
    return named(_node("constant-1.4.0", content, ["x"], ["y"]), name)


def affine(matrix: Any, translation: Any, *, array_tag: str, name: str = "") -> Tagged:
    """Return the transform of two axes by a matrix and a shift after it.

    Parameters
    ----------
    matrix : (2, 2) array_like
    translation : (2,) array_like
    array_tag : str
        What arrays are tagged in the file it goes into.
    name : str
    """
    content = {
        key: Tagged(
            array_tag,
            {
                "data": np.asarray(value, np.float64).tolist(),
                "datatype": "float64",
                "shape": list(np.shape(value)),
            },
        )
        for key, value in (("matrix", matrix), ("translation", translation))
    }
    return named(_node("affine-1.3.0", content, ["x", "y"], ["x", "y"]), name)


def rotation(angles: Sequence[float], axes: str, *, name: str = "") -> Tagged:
    """Return the rotation of a vector about axes one after the other.

    Parameters
    ----------
    angles : sequence of float
        [deg]; a positive one turns the axes of the frame counterclockwise.
    axes : str
        Letters x, y, z, as many as angles.
    name : str
    """
    content = {
        "angles": [float(a) for a in angles],
        "axes_order": axes,
        "rotation_type": "cartesian",
    }
    return named(_node("rotate_sequence_3d-1.0.0", content, list("xyz"), list("xyz")), name)


def spherical(*, to_vector: bool, wrap_lon_at: int, name: str = "") -> Tagged:
    """Return the transform from longitude and latitude [deg] to a unit vector, or back.

    Parameters
    ----------
    to_vector : bool
        Which way.
    wrap_lon_at : int
        360: longitudes from 0 to 360; 180: from -180 to 180.
    name : str
    """
    kind = "spherical_to_cartesian" if to_vector else "cartesian_to_spherical"
    sphere, vector = ["lon", "lat"], ["x", "y", "z"]
    ends = (sphere, vector) if to_vector else (vector, sphere)
    content = {"transform_type": kind, "wrap_lon_at": wrap_lon_at}
    return named(_node(f"{GWCS}spherical_cartesian-1.1.0", content, *ends), name)


def named(node: Tagged, name: str) -> Tagged:
    """Return the transform under a name; without one it stays as it is."""
    return Tagged(node.tag, {**node.value, "name": name}) if name else node


def with_inverse(node: Tagged, way_back: Tagged) -> Tagged:
    """Return the transform with what leads back, where readers could not find it themselves."""
    return Tagged(node.tag, {**node.value, "inverse": way_back})


def inverse(node: Tagged) -> Tagged:
    """Return the transform that leads back.

    Raises
    ------
    Unsupported
        If a part of it is of a kind whose way back is not known here.
    """
    if not isinstance(node, Tagged) or not isinstance(node.value, Mapping):
        raise Unsupported(node)
    content, kind = node.value, _kind(node)
    if isinstance(content.get("inverse"), Tagged):
        way_back: Tagged = content["inverse"]
        return way_back
    if kind == "compose":
        return compose(*(inverse(part) for part in reversed(content["forward"])))
    if kind == "concatenate":
        left, right = content["forward"]
        return side_by_side(inverse(left), inverse(right))
    if kind == "identity":
        return node
    if kind == "shift":
        return _one_axis("shift", "offset", -float(content["offset"]), "")
    if kind == "scale":
        return _one_axis("scale", "factor", 1 / float(content["factor"]), "")
    if kind == "rotate_sequence_3d":
        return rotation(
            [-a for a in _numbers(content["angles"])[::-1]], content["axes_order"][::-1]
        )
    if kind == "spherical_cartesian":
        to_vector = content["transform_type"] == "cartesian_to_spherical"
        return spherical(to_vector=to_vector, wrap_lon_at=content["wrap_lon_at"])
    raise Unsupported(node)


def with_array_tag(node: Any, tag: str) -> Any:
    """Return a tree whose arrays have the tag of the file it goes into, not of the one it is from.

    Parameters
    ----------
    node : object
        Of a file of any version of the standard.
    tag : str
        What arrays are tagged in the other file: readers know one tag for each version.
    """
    if isinstance(node, Tagged):
        is_array = node.tag.startswith(f"{TAG}core/ndarray-")
        return Tagged(tag if is_array else node.tag, with_array_tag(node.value, tag))
    if isinstance(node, Mapping):
        return {key: with_array_tag(value, tag) for key, value in node.items()}
    if isinstance(node, list):
        return [with_array_tag(value, tag) for value in node]
    return node


def with_bounding_box(node: Tagged, box: Box, version: str = "1.0.0") -> Tagged:
    """Return the transform with the limits of what it is valid for.

    Parameters
    ----------
    node : Tagged
        Of two inputs.
    box : ((float, float), (float, float))
        Limits in x and in y [pixel].
    version : str
        Of the tag.
    """
    limits = {
        name: [float(low), float(high)]
        for name, (low, high) in zip(_inputs(node), box, strict=True)
    }
    tagged = Tagged(
        f"{TAG}transform/property/bounding_box-{version}",
        {"intervals": limits, "ignore": [], "order": "F"},
    )
    return Tagged(node.tag, {**node.value, "bounding_box": tagged})


def bounding_box(node: Tagged) -> Box | None:
    """Return the limits (in x, in y) a transform of two inputs is valid for, if it says so.

    Raises
    ------
    Unsupported
        If they are no plain numbers.
    """
    held = node.value.get("bounding_box") if isinstance(node.value, Mapping) else None
    if held is None:
        return None
    content = held.value if isinstance(held, Tagged) else held
    if isinstance(content, Mapping) and isinstance(content.get("intervals"), Mapping):
        intervals = content["intervals"]
        limits = [intervals.get(name) for name in _inputs(node)]
    elif isinstance(content, list):  # the older form: the last axis first
        limits = list(reversed(content))
    else:
        raise Unsupported(held)
    if len(limits) != 2:
        raise Unsupported(held)
    x, y = (_numbers(one).ravel() for one in limits)
    if x.size != 2 or y.size != 2:
        raise Unsupported(held)
    return (float(x[0]), float(x[1])), (float(y[0]), float(y[1]))


def _pair(kind: str, left: Tagged, right: Tagged, inputs: Any, outputs: Any) -> Tagged:
    return _node(f"{kind}-1.2.0", {"forward": [left, right]}, list(inputs), list(outputs))


def _one_axis(kind: str, key: str, value: float, name: str) -> Tagged:
    return named(_node(f"{kind}-1.2.0", {key: float(value)}, ["x"], ["y"]), name)


def _node(tag: str, content: dict[str, Any], inputs: list[str], outputs: list[str]) -> Tagged:
    whole = tag if tag.startswith("tag:") else f"{TAG}transform/{tag}"
    return Tagged(whole, {**content, "inputs": inputs, "outputs": outputs})


def _axes(letter: str, count: int) -> list[str]:
    return [f"{letter}{number}" for number in range(count)]


def _kind(node: Any) -> str:
    """Return the kind of a transform: its tag without organisation and version."""
    if not isinstance(node, Tagged):
        raise Unsupported(node)
    return node.tag.rpartition("/")[2].rpartition("-")[0]


def _inputs(node: Tagged) -> list[str]:
    return _ends(node, "inputs", "x", 0)


def _outputs(node: Tagged) -> list[str]:
    return _ends(node, "outputs", "y", -1)


def _ends(node: Tagged, key: str, letter: str, end: int) -> list[str]:
    """Return the names of the inputs or outputs; older nodes do not say them."""
    content = node.value if isinstance(node.value, Mapping) else {}
    said = content.get(key)
    if isinstance(said, list):
        return [str(name) for name in said]
    kind, parts = _kind(node), content.get("forward", [])
    if kind == "compose":
        count = len(_ends(parts[end], key, letter, end))
    elif kind == "concatenate":
        count = sum(len(_ends(part, key, letter, end)) for part in parts)
    elif kind == "remap_axes":
        mapping = content.get("mapping", [])
        count = len(mapping) if end else int(content.get("n_inputs", max(mapping, default=-1) + 1))
    elif kind == "identity":
        count = int(content.get("n_dims", 1))
    elif kind == "polynomial":
        count = 1 if end else _numbers(content.get("coefficients")).ndim
    else:
        count = {"affine": 2, "rotate2d": 2}.get(kind, 1)
    return _axes(letter, count)


# -- values ------------------------------------------------------------------------------------


def evaluate(node: Tagged, *inputs: Any) -> Arrays:
    """Return what a transform makes of coordinates.

    Parameters
    ----------
    node : Tagged
        The transform.
    *inputs : array_like
        One for each axis, of one shape.

    Returns
    -------
    outputs : tuple of ndarray of float64
        One for each axis.

    Raises
    ------
    Unsupported
        If a part of it is of a kind that is not known here.
    """
    arrays = tuple(np.asarray(one, np.float64) for one in inputs)
    try:
        return _apply(node, arrays)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise Unsupported(error) from error


def _apply(node: Tagged, inputs: Arrays) -> Arrays:
    known = _KINDS.get(_kind(node))
    if known is None or not isinstance(node.value, Mapping):
        raise Unsupported(node)
    return known(node, inputs)


def _compose(node: Tagged, inputs: Arrays) -> Arrays:
    for part in node.value["forward"]:
        inputs = _apply(part, inputs)
    return inputs


def _concatenate(node: Tagged, inputs: Arrays) -> Arrays:
    done: Arrays = ()
    for part in node.value["forward"]:
        count = len(_inputs(part))
        done, inputs = done + _apply(part, inputs[:count]), inputs[count:]
    return done


def _arithmetic(
    operator: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Callable[[Tagged, Arrays], Arrays]:
    def apply(node: Tagged, inputs: Arrays) -> Arrays:
        left, right = (_apply(part, inputs) for part in node.value["forward"])
        return tuple(operator(a, b) for a, b in zip(left, right, strict=True))

    return apply


def _remap(node: Tagged, inputs: Arrays) -> Arrays:
    return tuple(inputs[int(number)] for number in node.value["mapping"])


def _shift(node: Tagged, inputs: Arrays) -> Arrays:
    return (inputs[0] + float(node.value["offset"]),)


def _scale(node: Tagged, inputs: Arrays) -> Arrays:
    return (inputs[0] * float(node.value["factor"]),)


def _constant(node: Tagged, inputs: Arrays) -> Arrays:
    return (np.full(np.shape(inputs[0]), float(node.value["value"])),)


def _rotate2d(node: Tagged, inputs: Arrays) -> Arrays:
    angle = np.deg2rad(float(node.value["angle"]))
    x, y = inputs
    return (x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle))


def _affine(node: Tagged, inputs: Arrays) -> Arrays:
    matrix, offset = _numbers(node.value["matrix"]), _numbers(node.value["translation"]).ravel()
    x, y = inputs
    return tuple(matrix[i, 0] * x + matrix[i, 1] * y + offset[i] for i in (0, 1))


def _polynomial(node: Tagged, inputs: Arrays) -> Arrays:
    coefficients = _numbers(node.value["coefficients"])
    windows = [node.value.get(key) for key in ("domain", "window")]
    mapped = []
    for number, values in enumerate(inputs):
        domain, window = (_interval(one, number, len(inputs)) for one in windows)
        factor = (window[1] - window[0]) / (domain[1] - domain[0])
        same = domain == window
        mapped.append(values if same else window[0] + factor * (values - domain[0]))
    if coefficients.ndim == 1 and len(inputs) == 1:
        return (np.polynomial.polynomial.polyval(mapped[0], coefficients),)
    if coefficients.ndim != 2 or len(inputs) != 2:
        raise Unsupported(node)
    return (np.polynomial.polynomial.polyval2d(mapped[0], mapped[1], coefficients),)


def _interval(held: Any, number: int, count: int) -> tuple[float, float]:
    if held is None:
        return -1.0, 1.0
    values = _numbers(held)
    low, high = values.reshape(-1, 2)[number if count > 1 else 0]
    return float(low), float(high)


def _rotate3d(node: Tagged, inputs: Arrays) -> Arrays:
    if node.value.get("rotation_type") != "cartesian":
        raise Unsupported(node)
    matrix = np.eye(3)
    for angle, axis in zip(_numbers(node.value["angles"]), node.value["axes_order"], strict=True):
        matrix = _turn(axis, float(angle)) @ matrix
    return tuple(np.tensordot(matrix, np.stack(np.broadcast_arrays(*inputs)), axes=1))


def _turn(axis: str, angle: float) -> np.ndarray:
    """Return the matrix that turns the frame about an axis; a positive angle is counterclockwise."""
    sine, cosine = np.sin(np.deg2rad(angle)), np.cos(np.deg2rad(angle))
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = sine, -sine
    return matrix


def _spherical(node: Tagged, inputs: Arrays) -> Arrays:
    if node.value["transform_type"] == "spherical_to_cartesian":
        lon, lat = (np.deg2rad(one) for one in inputs)
        return np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)
    x, y, z = inputs
    lon, lat = np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arctan2(z, np.hypot(x, y)))
    if int(node.value["wrap_lon_at"]) == 360:
        lon = np.where(lon < 0, lon + 360.0, lon)
    return lon, lat


def _fits_plane(node: Tagged, inputs: Arrays) -> Arrays:
    projection = node.value["projection"]
    if _kind(projection) != "gnomonic" or projection.value.get("direction") != "pix2sky":
        raise Unsupported(node)
    crval, crpix, cdelt, pc = (
        _numbers(node.value[name]) for name in ("crval", "crpix", "cdelt", "pc")
    )
    return plane_to_sky(inputs, crval, crpix, cdelt[:, None] * pc)


def plane_to_sky(pixels: Arrays, crval: Any, crpix: Any, cd: np.ndarray) -> Arrays:
    """Return the places of pixels of a tangent plane.

    Parameters
    ----------
    pixels : (ndarray, ndarray)
        x and y, from 0.
    crval : (float, float)
        Right ascension and declination of the tangent point [deg].
    crpix : (float, float)
        Its pixel, from 0.
    cd : (2, 2) ndarray of float64
        From pixels to the plane [deg].

    Returns
    -------
    ra, dec : ndarray of float64
        Right ascension, 0 … 360, and declination [deg].
    """
    matrix = np.deg2rad(cd)
    dx, dy = pixels[0] - crpix[0], pixels[1] - crpix[1]
    east = matrix[0, 0] * dx + matrix[0, 1] * dy
    north = matrix[1, 0] * dx + matrix[1, 1] * dy
    ra0, dec0 = np.deg2rad(crval)
    depth = np.cos(dec0) - north * np.sin(dec0)
    ra = ra0 + np.arctan2(east, depth)
    dec = np.arctan2(np.sin(dec0) + north * np.cos(dec0), np.hypot(east, depth))
    return np.mod(np.rad2deg(ra), 360.0), np.rad2deg(dec)


def _numbers(held: Any) -> np.ndarray:
    """Return the numbers of a node: an array in the tree or in a block, or a list."""
    if isinstance(held, Tagged):
        if _kind(held) != "ndarray":
            raise Unsupported(held)
        held = held.value
        if isinstance(held, Mapping):
            held = held.get("data")
    values: np.ndarray = np.asarray(held, np.float64)
    return values


_KINDS: dict[str, Callable[[Tagged, Arrays], Arrays]] = {
    "compose": _compose,
    "concatenate": _concatenate,
    "add": _arithmetic(np.add),
    "subtract": _arithmetic(np.subtract),
    "multiply": _arithmetic(np.multiply),
    "divide": _arithmetic(np.divide),
    "remap_axes": _remap,
    "identity": lambda _, inputs: inputs,
    "shift": _shift,
    "scale": _scale,
    "multiplyscale": _scale,
    "constant": _constant,
    "rotate2d": _rotate2d,
    "affine": _affine,
    "polynomial": _polynomial,
    "rotate_sequence_3d": _rotate3d,
    "spherical_cartesian": _spherical,
    "fitswcs_imaging": _fits_plane,
}
