"""How people spell values: on a command line and in INI files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

__all__ = ["CONVERTERS", "Text", "split", "unquoted"]

_TRUE = frozenset({"true", "on", "1", "yes", "y", "t"})
_FALSE = frozenset({"false", "off", "0", "no", "n", "f"})


class Text(str):
    """A value as somebody typed it: on a command line, or in an INI file.

    Quotes around it are taken off and commas separate the items of lists. A
    plain `str` from Python is taken as it is.
    """

    __slots__ = ()


_ITEM = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^,]*))\s*(?:,|$)""")


def split(text: str) -> list[str]:
    """Split at commas, but not within quotes; ``[1, 2]`` and ``1, 2,`` are lists too."""
    text = text.strip()
    if text[:1] in {"[", "("} and text[-1:] in {"]", ")"}:
        text = text[1:-1].strip()
    items, position = [], 0
    while position < len(text):
        match = _ITEM.match(text, position)
        if match is None:  # a quote within a word: take everything up to the next comma
            end = text.find(",", position)
            end = len(text) if end < 0 else end
            items.append(text[position:end].strip())
            position = end + 1
            continue
        quoted = next((g for g in match.groups()[:2] if g is not None), None)
        items.append(quoted if quoted is not None else match.group(3).strip())
        position = match.end()
    return items


def unquoted(value: Any) -> Any:
    """Return typed text without the quotes around it; anything else as it is."""
    if not isinstance(value, Text):
        return value
    text = value.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return str(text)


def _to_bool(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else None
    if isinstance(value, int):
        return bool(value) if value in {0, 1} else None
    return bool(value) if type(value).__name__ in {"bool", "bool_"} else None  # NumPy's


def _to_int(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            number = _to_float(value)
    else:
        number = _to_float(value)
        if hasattr(value, "__index__"):
            return int(value)
    exact = number is not None and math.isfinite(number) and number.is_integer()
    return int(number) if exact and number is not None else None


def _to_float(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) or hasattr(value, "__float__") or hasattr(value, "__index__"):
        try:
            return float(value)
        except (TypeError, ValueError):
            return None
    return None


def _to_str(value: Any) -> str | None:
    if isinstance(value, str):
        return str(value)
    return str(value) if hasattr(value, "__fspath__") else None


CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "bool": _to_bool,
    "int": _to_int,
    "float": _to_float,
    "str": _to_str,
}
