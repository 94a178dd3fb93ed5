"""The page: put together from its parts, with the answers of a server or with all it needs inside."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import zlib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightmill.models import Region
from lightmill.viewing.planes import summary

if TYPE_CHECKING:
    from lightmill.viewing.sources import Sources
    from lightmill.viewing.viewer import Viewer

__all__ = ["page", "write_page"]

_SCRIPTS = (
    "colours.js", "answers.js", "picture.js", "spectrum.js", "controls.js", "cuts.js", "news.js"
)  # fmt: skip
_WIDEST = 1024  # bins along the longer side of a picture inside a page: about 2 MB
_CELLS = 400_000  # of a catalog inside a page: about 5 MB
# The mantissa keeps 14 of its 24 bits, which is 3e-5 of the value and halves the page.
_KEPT_BITS = np.uint32(0xFFFFFC00)
_HALF_BIT = np.uint32(0x00000200)


def page(facts: dict[str, Any]) -> tuple[bytes, str]:
    """Return the page and the policy that its script and style alone may run.

    Parameters
    ----------
    facts : dict
        What the page is told; under ``inside`` what it would else ask the server.

    Returns
    -------
    page : bytes
        HTML, in UTF-8.
    policy : str
        Value of the header Content-Security-Policy; it is in the page, too.
    """
    here = resources.files("lightmill.viewing")
    style = (here / "viewer.css").read_text(encoding="utf-8")
    parts = [(here / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    script = '"use strict";\n(() => {\n' + "\n".join(parts) + "\n})();"
    network = "'none'" if "inside" in facts else "'self'"
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        f"img-src data:; connect-src {network}; base-uri 'none'; form-action 'none'"
    )
    pieces = {
        "POLICY": html.escape(policy),
        "TITLE": html.escape(", ".join(file["name"] for file in facts["files"]) or "live"),
        "STYLE": style,
        "FACTS": _harmless(facts),
        "SCRIPT": script,
    }
    text = (here / "page.html").read_text(encoding="utf-8")
    for name, piece in pieces.items():
        head, mark, tail = text.partition(f"<!--{name}-->")
        assert mark, name
        text = head + piece + tail
    return text.encode(), policy + "; frame-ancestors 'none'"


def write_page(viewer: Viewer, path: Path) -> Path:
    """Write a page that needs nothing but a browser.

    Parameters
    ----------
    viewer : Viewer
        Of each product the extension and plane that are shown first go into the page.
    path : Path
        It appears complete or not at all.

    Returns
    -------
    path : Path
        The page.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from lightmill.models import atomic

    facts = viewer.facts()
    inside = []
    for number, file in enumerate(facts["files"]):
        product, first = viewer.products[number], file["first"]
        layer = product.layers[first]
        plane = _plane(layer.lead, viewer.planes)
        file["layers"], file["first"] = [{**file["layers"][first], "axes": [], "channels": []}], 0
        inside.append({**_picture(product, first, plane), **_catalog(viewer, number)})
        if plane or layer.planes > 1:
            file["layers"][0]["name"] += f", plane {plane}"
    facts |= {"inside": inside, "planes": []}
    if viewer.sources is not None:
        facts["rows"] = [viewer.sources.row(row) for row in range(_rows(viewer.sources))]
    content, _ = page(facts)
    with atomic(path) as aside:
        aside.write(content)
    return path


def _picture(product: Any, number: int, plane: int) -> dict[str, Any]:
    """Return what the page would ask of one plane, made ready to be put into it."""
    layer = product.layers[number]
    ny, nx = layer.frame
    seen = product.overview(number, plane)
    side = seen.bin
    while max(ny, nx) / side > _WIDEST:
        side *= 2
    region = Region(0, ny, 0, nx)
    values = seen.at(side, region, layer.kind).astype(np.float32)
    flags: list[np.ndarray] = []
    facts = summary(seen)
    for one, at in product.flag_planes(number, plane):
        others = product.overview(one, at)
        flags.append(others.at(side, region, "flags"))
        facts["flags"] = facts["flags"] or summary(others)["flags"]
    return {
        "bin": side,
        "shape": list(values.shape),
        "values": _packed(values),
        "flags": _packed(np.bitwise_or.reduce(flags)) if flags else None,
        "summary": facts,
        "formula": product.sky.formula(ny, nx) if product.sky is not None else None,
    }


def _catalog(viewer: Viewer, number: int) -> dict[str, Any]:
    if viewer.sources is None:
        return {}
    rows = _rows(viewer.sources)
    return {"sources": {axis: values[:rows] for axis, values in viewer.places(number).items()}}


def _rows(sources: Sources) -> int:
    """Return how many rows of a catalog go into a page."""
    return min(len(sources), _CELLS // len(sources.names))


def _plane(lead: tuple[int, ...], chosen: list[int]) -> int:
    """Return the number of a plane, chosen by one number for each axis as far as it has them."""
    numbers = [*chosen, *[0] * len(lead)][: len(lead)]
    numbers = [min(one, length - 1) for one, length in zip(numbers, lead, strict=True)]
    return int(np.ravel_multi_index(numbers, lead)) if lead else 0


def _packed(values: np.ndarray) -> str:
    """Return an array compressed: all first bytes of its numbers, all second ones, and so on."""
    numbers = np.ascontiguousarray(values)
    bits = numbers.view(np.uint32).copy()
    if numbers.dtype.kind == "f":
        finite = np.isfinite(numbers)
        bits[finite] = (bits[finite] + _HALF_BIT) & _KEPT_BITS
    planes = bits.astype("<u4").view(np.uint8).reshape(-1, 4).T
    return base64.b64encode(zlib.compress(np.ascontiguousarray(planes).tobytes(), 9)).decode()


def _harmless(facts: dict[str, Any]) -> str:
    """Return JSON that no name in a file or catalog can make into a tag."""
    text = json.dumps(facts, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
