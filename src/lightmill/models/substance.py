"""What a file says, without how and when it was written: the same where only that differs."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import LightmillError
from lightmill.models.asdf_tree import AsdfSection, Tagged
from lightmill.models.fits_reader import Hdu, read_fits
from lightmill.models.lazy import FileBytes

__all__ = ["WRITING", "substance_of"]

# Keywords of the FITS standard that say how a file was written, or comment on it.
WRITING = ("DATE", "CHECKSUM", "DATASUM", "HISTORY", "COMMENT", "")
_NOT_SAID = {"asdf_library", "history", "lightmill", "meta"}  # of a tree; of meta see below
_LENGTH = ("NAXIS", "TFORM", "TDIM")  # keywords that tell how long the text of a tree is
BLOCK = 1 << 20


def substance_of(path: Path, left_out: Iterable[str] = ()) -> str:
    """Return the checksum of what a FITS file says.

    Data of all units, and all cards but those of `WRITING` and `left_out`, whatever their order
    and comments. Of an ASDF tree the world coordinates and what is in no other unit; not the record
    of how the product was made.

    Parameters
    ----------
    path : Path
    left_out : iterable of str
        More keywords that say nothing about the data; ``R_*`` stands for all that begin so.

    Returns
    -------
    digest : str
        SHA-256 in hexadecimal digits; empty for what is no FITS file, or a damaged one: it says its
        bytes.
    """
    patterns = [fnmatch.translate(one) for one in (*WRITING, *left_out)]
    is_left_out = re.compile("|".join(patterns)).match
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            if file.read(9) != b"SIMPLE  =":
                return ""
            for hdu in read_fits(FileBytes(path)).hdus:
                digest.update(_cards(hdu, is_left_out))
                if hdu.name == "ASDF":
                    digest.update(_tree(hdu))
                    continue
                file.seek(hdu.offset)
                left = hdu.size
                while left and (block := file.read(min(BLOCK, left))):
                    digest.update(block)
                    left -= len(block)
    except (LightmillError, OSError):
        return ""
    return digest.hexdigest()


def _cards(hdu: Hdu, is_left_out: Any) -> bytes:
    """Return keywords and values, sorted."""
    told = [
        f"{keyword}={hdu.header.get(keyword)!r}"
        for keyword in hdu.header.keywords()
        if not is_left_out(keyword) and not (hdu.name == "ASDF" and keyword.startswith(_LENGTH))
    ]
    return "\n".join([f"[{hdu.name},{hdu.version}]", *sorted(told)]).encode()


def _tree(hdu: Hdu) -> bytes:
    """Return what the tree of a product says that its other units do not."""
    data = hdu.data_bytes()
    tree = AsdfSection(lambda: data, hdu.place).tree()
    said: dict[str, Any] = {k: v for k, v in tree.items() if k not in _NOT_SAID}
    meta = tree.get("meta")
    if isinstance(meta, dict):
        said["wcs"] = meta.get("wcs")
    blocks = data.partition(b"\n...")[2].partition(b"#ASDF BLOCK INDEX")[0]
    return json.dumps(_plain(said), sort_keys=True).encode() + blocks


def _plain(node: Any) -> Any:
    """Return a node as JSON knows it, with its tags; what else there is by its words."""
    if isinstance(node, Tagged):
        return [node.tag, _plain(node.value)]
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_plain(one) for one in node]
    if isinstance(node, np.ndarray | np.generic):
        return node.tolist()
    return node if isinstance(node, str | int | float | bool | None) else repr(node)
