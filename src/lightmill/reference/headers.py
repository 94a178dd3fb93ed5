"""What a file's header says, in the words rules ask for.

Rules name what they look at in one of two ways: paths of metadata
(``META.INSTRUMENT.DETECTOR``) or FITS keywords (``DETECTOR``). Either is
answered from any file: an observatory's overlay says which keyword stands for
which path. Only headers are read.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from os import PathLike
from typing import Any

from lightmill import models
from lightmill.models import Model
from lightmill.models.overlay import model_schema

__all__ = ["header_of", "path_of", "text_of"]

_META = "META."


def header_of(data: Model | str | PathLike[str], keys: Iterable[str]) -> dict[str, str]:
    """Return what the header of a model or file says to each of some keys.

    Parameters
    ----------
    data : Model or path_like
        A file is opened; its arrays are not read.
    keys : iterable of str
        Paths of metadata, ``META.EXPOSURE.READPATT``, or FITS keywords, ``READPATT``,
        whichever the rules use; upper or lower case.

    Returns
    -------
    header : dict
        Key, as it was asked for → text. What the header does not say is left out.
    """
    model = data if isinstance(data, Model) else models.open(data)
    found = {}
    for key in keys:
        text = text_of(_value(model, key))
        if text is not None:
            found[key] = text
    return found


def path_of(key: str, telescope: str | None = None, schema: str = "exposure-1.0.0") -> str | None:
    """Return the path of metadata a key of rules stands for.

    Parameters
    ----------
    key : str
        ``META.INSTRUMENT.DETECTOR``, ``ROMAN.META.INSTRUMENT.DETECTOR`` or ``DETECTOR``.
    telescope : str, optional
        Whose keywords are meant.
    schema : str
        The schema whose fields count beside the observatory's own.

    Returns
    -------
    path : str or None
        ``instrument.detector``; None for a FITS keyword that no schema knows.
    """
    name = key.strip().upper()
    before, found, path = name.partition(_META)
    if found and (not before or before.endswith(".")):
        return path.lower()
    return _paths(schema, telescope).get(name)


def text_of(value: object) -> str | None:
    """Return a value of a header as rules read it; None for what is no single value."""
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, int | float):
        return str(value)
    return None


def _value(model: Model, key: str) -> Any:
    """Return the value a model holds for a key: as metadata, or as a card of its headers."""
    path = path_of(key, model.meta.get("telescope"), model.schema)
    if path is not None:
        value = model.meta.get(path)
        if value is not None or _META in key.upper():
            return value
    return _card(model, key.strip().upper())


def _card(model: Model, keyword: str) -> Any:
    """Return the value of a FITS card no schema knows, of the primary header before others."""
    headers = model.foreign.headers
    for name, version in sorted(headers, key=lambda one: one != ("PRIMARY", 1)):
        value = headers[name, version].get(keyword)
        if value is not None:
            return value
    return None


@functools.cache
def _paths(schema: str, telescope: str | None) -> dict[str, str]:
    """Return FITS keyword → path; where several headers carry a keyword, the primary one's."""
    fields = model_schema(schema, telescope).keywords
    found: dict[str, str] = {}
    for (hdu, keyword), field in fields.items():
        if keyword not in found or hdu == "PRIMARY":
            found[keyword] = field.path
    return found
