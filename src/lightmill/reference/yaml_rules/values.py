"""Values of rules as YAML spells them, both ways without loss.

In a key of an entry everything unquoted is text, except a number spelled as
Python would print it: ``1.0`` is a number, while ``007``, ``5.20``, ``no`` and
``2026-01-10`` are text. In a header ``true``, ``false`` and ``null`` mean what
they say.
"""

from __future__ import annotations

import math
import re
from typing import Any

from lightmill.errors import ConfigurationError
from lightmill.reference.yaml_rules.document import EXACT, LIST, Item, MappingItem, Scalar, refuse

__all__ = ["number", "quoted", "read_cell", "read_value", "spell", "spell_cell", "spell_exact"]

_CONSTANTS = {"true": True, "false": False, "null": None, "~": None, "": None}
_PLAIN = re.compile(
    r"[A-Za-z0-9_./(+<=][A-Za-z0-9_./()+<=:;^$|>?*-]*(?: [A-Za-z0-9_./()+<=;^$|>?*-]+)*\Z"
)
_NUMERIC = re.compile(r"[-+.]?[0-9]")
_YAML_WORDS = frozenset(
    [
        "y",
        "yes",
        "n",
        "no",
        "true",
        "false",
        "on",
        "off",
        "null",
        "~",
        ".inf",
        ".nan",
        "-.inf",
        "+.inf",
    ]
)
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_LONGEST = 4000  # digits Python turns into a number without complaint


def number(text: str) -> int | float | None:
    """Return the number a text spells as Python prints it, or None.

    Parameters
    ----------
    text : str
        ``1.0``, ``-999`` and ``1e-05`` are numbers; ``007``, ``5.20`` and ``+1`` are not.
    """
    if not _NUMERIC.match(text) or len(text) > _LONGEST:
        return None
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if repr(value) == text and not math.isinf(value):
            return value
    return None


def read_cell(item: Item, place: str) -> Any:
    """Return the value of a key: everything unquoted that is no number is text."""
    if isinstance(item, Scalar):
        return _scalar(item, place, constants=False)
    if isinstance(item, MappingItem):
        raise refuse(
            "a key cannot be a mapping", place, item.line,
            remedy="put quotes around a text that begins with {",
        )  # fmt: skip
    values = [read_cell(one, place) for one in item.items]
    return values if item.tag == LIST else tuple(values)


def read_value(item: Item, place: str) -> Any:
    """Return a value of a header; a sequence is a tuple."""
    if isinstance(item, Scalar):
        return _scalar(item, place, constants=True)
    if isinstance(item, MappingItem):
        found: dict[Any, Any] = {}
        for key, value in item.pairs:
            name = read_cell(key, place)
            if name in found:
                raise refuse(f"{name!r} stands twice", place, key.line)
            found[name] = read_value(value, place)
        return found
    values = [read_value(one, place) for one in item.items]
    return values if item.tag == LIST else tuple(values)


def _scalar(item: Scalar, place: str, *, constants: bool) -> Any:
    kind = (item.tag or "").rpartition(":")[2]
    if kind == "float":
        try:
            return float(item.text.replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            raise refuse("this is no number", place, item.line, found=item.text) from None
    if kind in {"bool", "null"} or (constants and item.plain and item.tag is None):
        if item.text in _CONSTANTS:
            return _CONSTANTS[item.text]
        if kind in {"bool", "null"}:
            raise refuse(f"this is no {kind}", place, item.line, found=item.text)
    if item.plain and item.tag is None:
        value = number(item.text)
        return item.text if value is None else value
    return item.text


def spell_cell(value: Any) -> str:
    """Return a value of a key as YAML, on one line."""
    if value is None:
        return "!!null null"
    if isinstance(value, bool):
        return f"!!bool {str(value).lower()}"
    return _spell(value, spell_cell)


def spell(value: Any) -> str:
    """Return a value of a header as YAML, on one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return _spell(value, spell)


def spell_exact(text: str) -> str:
    """Return a text that is not to be read as a date, a field or an expression."""
    return f"{EXACT} {quoted(text)}"


def _spell(value: Any, inner: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (int, float)):
        if isinstance(value, float) and not math.isfinite(value):
            return f"!!float {'-' if value < 0 else ''}{'.nan' if math.isnan(value) else '.inf'}"
        return repr(value)
    if isinstance(value, (tuple, list)):
        tag = f"{LIST} " if isinstance(value, list) else ""
        return f"{tag}[{', '.join(inner(one) for one in value)}]"
    if isinstance(value, dict):
        pairs = (f"{spell_cell(key)}: {inner(one)}" for key, one in value.items())
        return f"{{{', '.join(pairs)}}}"
    raise ConfigurationError(
        f"the YAML form has no way to say a {type(value).__name__} here",
        remedy="keep these rules as a mapping file",
    )


def _text(value: str) -> str:
    plain = (
        _PLAIN.match(value) is not None
        and not value.endswith(":")
        and ": " not in value
        and value.lower() not in _YAML_WORDS
        and number(value) is None
    )
    return value if plain else quoted(value)


def quoted(text: str) -> str:
    """Return a text in quotes, on one line."""
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return '"' + "".join(_ESCAPES.get(one) or _escaped(one) for one in text) + '"'


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
