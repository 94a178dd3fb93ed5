"""Read the header somebody pasted: FITS cards, ``key: value`` lines, or JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from lightmill.errors import DataError, LightmillError

__all__ = ["header_from_text", "in_words_of"]

_CARD = re.compile(
    r"""\s*(?:HIERARCH\s+)?(?P<key>[A-Za-z][A-Za-z0-9_.-]*(?:\s[A-Z0-9_]+)*?)\s*[=:]\s*
    (?:'(?P<text>(?:[^']|'')*)'|"(?P<quoted>[^"]*)"|(?P<bare>[^/]*?))\s*(?:[/,].*)?$""",
    re.VERBOSE,
)
_LINES = 5000


def header_from_text(text: str) -> dict[str, str]:
    """Return the keywords and values of a pasted header.

    Parameters
    ----------
    text : str
        A JSON object, or lines: FITS cards (with or without their comments) or
        ``key: value``. Other lines are left out.

    Returns
    -------
    header : dict
        Keyword → value as text.

    Raises
    ------
    DataError
        If nothing of it is a header.
    """
    if text.lstrip().startswith("{"):
        return _from_json(text)
    if "\n" not in text.strip() and len(text) >= 160 and len(text) % 80 == 0:
        text = "\n".join(text[at : at + 80] for at in range(0, len(text), 80))  # a header's block
    found: dict[str, str] = {}
    for line in text.splitlines()[:_LINES]:
        match = _CARD.match(line)
        if match is None:
            continue
        value = match["text"] if match["text"] is not None else match["quoted"] or match["bare"]
        found.setdefault(match["key"].upper(), (value or "").replace("''", "'").strip())
    if not found:
        raise DataError(
            "this text holds no header",
            found=text.strip()[:60],
            expected="lines such as DETECTOR= 'A' or META.INSTRUMENT.DETECTOR: A, or a JSON object",
        )
    return found


def _from_json(text: str) -> dict[str, str]:
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError("this text is no JSON object", found=str(error)) from error
    found: dict[str, str] = {}
    left = [("", facts)]
    while left and len(found) < _LINES:
        before, value = left.pop()
        if isinstance(value, dict):
            left += [(f"{before}.{key}" if before else str(key), one) for key, one in value.items()]
        elif isinstance(value, bool):
            found[before.upper()] = "T" if value else "F"
        elif isinstance(value, str | int | float):
            found[before.upper()] = str(value)
    return found


def in_words_of(
    header: Mapping[str, str], keys: Iterable[str], telescope: str
) -> tuple[dict[str, str], dict[str, str]]:
    """Return a header under the names rules ask for.

    Rules may ask for paths of metadata where the header has FITS keywords, or the other
    way round; an observatory's overlay knows which stands for which.

    Parameters
    ----------
    header : mapping
        What was pasted.
    keys : iterable of str
        What the rules look at.
    telescope : str
        Whose keywords they are.

    Returns
    -------
    said : dict
        The header, with what the rules ask for added.
    translated : dict
        Key the rules ask for → keyword of the header it was taken from.
    """
    said = {key.upper(): value for key, value in header.items()}
    missing = [key for key in keys if key.upper() not in said]
    translated: dict[str, str] = {}
    if missing:
        paths = {path: key for key in said if (path := _path(key, telescope))}
        for key in missing:
            source = paths.get(_path(key, telescope) or "")
            if source is not None:
                translated[key] = source
    return said | {key: said[source] for key, source in translated.items()}, translated


def _path(key: str, telescope: str) -> str | None:
    from lightmill.reference.headers import path_of

    for whose in (telescope.upper(), None):
        try:
            return path_of(key, whose)
        except LightmillError:
            continue
    return None
