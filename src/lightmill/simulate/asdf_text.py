"""Reference files whose content is a tree: ASDF written as text, without any array block.

Nodes with tags are those of the ASDF standard 1.5 and its transforms, which every reader of the
field's reference files knows. Nothing in the text depends on the day or on installed packages,
so that the same content is the same file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "Node",
    "affine",
    "array",
    "compose",
    "concatenate",
    "polynomial",
    "remap",
    "shift",
    "table",
    "unit",
    "write_tree",
]

_HEAD = "#ASDF 1.0.0\n#ASDF_STANDARD 1.5.0\n"
_ASDF = "tag:stsci.edu:asdf/"


class Node:
    """A node with a tag."""

    def __init__(self, tag: str, value: Any) -> None:
        self.tag = tag if tag.startswith("tag:") else _ASDF + tag
        self.value = value


def unit(name: str) -> Node:
    """Return a unit."""
    return Node("unit/unit-1.0.0", name)


def array(values: Any) -> Node:
    """Return an array of numbers or texts."""
    values = np.asarray(values)
    datatype: Any = "float64"
    if values.dtype.kind == "U":
        datatype = ["ucs4", values.dtype.itemsize // 4]
    content = {"data": values.tolist(), "datatype": datatype, "shape": list(values.shape)}
    return Node("core/ndarray-1.0.0", content)


def table(columns: Mapping[str, Sequence[Any]]) -> Node:
    """Return a table of columns of numbers or texts."""
    nodes = [
        Node("core/column-1.0.0", {"name": name, "data": array(values)})
        for name, values in columns.items()
    ]
    content = {"colnames": list(columns), "columns": nodes, "qtable": False, "meta": {}}
    return Node("tag:astropy.org:astropy/table/table-1.0.0", content)


def shift(offset: float) -> Node:
    """Return the transform of one coordinate that adds to it."""
    return Node("transform/shift-1.2.0", {"offset": float(offset)})


def remap(*axes: int) -> Node:
    """Return the transform that picks these of its inputs, in this order."""
    return Node("transform/remap_axes-1.3.0", {"mapping": list(axes)})


def affine(matrix: np.ndarray) -> Node:
    """Return the transform of two coordinates by a matrix."""
    content = {"matrix": array(np.asarray(matrix, float)), "translation": array([0.0, 0.0])}
    return Node("transform/affine-1.3.0", content)


def polynomial(coefficients: np.ndarray) -> Node:
    """Return the polynomial ``Σ c_ij x^i y^j`` of two coordinates."""
    n = len(coefficients)
    i, j = np.indices((n, n))
    kept = np.where(i + j < n, coefficients, 0.0)
    limits = {name: [[-1, 1], [-1, 1]] for name in ("domain", "window")}
    return Node("transform/polynomial-1.2.0", {"coefficients": array(kept), **limits})


def concatenate(*parts: Node) -> Node:
    """Return transforms side by side, each of its own inputs."""
    return _folded("transform/concatenate-1.2.0", parts)


def compose(*parts: Node, inverse: Node | None = None) -> Node:
    """Return transforms one after the other."""
    out = _folded("transform/compose-1.2.0", parts)
    if inverse is not None:
        out.value["inverse"] = inverse
    return out


def _folded(tag: str, parts: Sequence[Node]) -> Node:
    out = parts[0]
    for part in parts[1:]:
        out = Node(tag, {"forward": [out, part]})
    return out


def write_tree(path: Path, tree: Mapping[str, Any]) -> None:
    """Write a tree; the file gets its name only when it is complete."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            del data
            return True

    def represent(dumper: yaml.SafeDumper, node: Node) -> yaml.Node:
        if isinstance(node.value, str):
            return dumper.represent_scalar(node.tag, node.value)
        return dumper.represent_mapping(node.tag, node.value)

    Dumper.add_representer(Node, represent)
    text = yaml.dump(
        Node("core/asdf-1.1.0", dict(tree)),
        Dumper=Dumper,
        default_flow_style=None,
        width=120,
        version=(1, 1),
        tags={"!": _ASDF},
        explicit_start=True,
        explicit_end=True,
    )
    aside = path.with_name(path.name + ".part")
    aside.write_text(_HEAD + text, encoding="utf-8")
    aside.replace(path)
