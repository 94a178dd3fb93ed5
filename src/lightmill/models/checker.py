"""Check one value against one JSON Schema node: the subset our schemas use, compiled.

A compiled check costs about a microsecond. The tests hold it against the
``jsonschema`` package on the same nodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["KEYWORDS", "compile_check", "plain"]

KEYWORDS = frozenset({
    "type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "pattern",
    "minLength", "maxLength", "items", "minItems", "maxItems",
})  # fmt: skip
"""What a value's node may ask."""

Check = Callable[[Any], "str | None"]


def plain(value: object) -> object:
    """Return NumPy scalars and arrays, tuples and paths as plain Python values."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "string": ("text", lambda value: isinstance(value, str)),
    "number": ("a number", _is_number),
    "integer": (
        "a whole number",
        lambda value: _is_number(value) and float(value).is_integer(),
    ),
    "boolean": ("true or false", lambda value: isinstance(value, bool)),
    "array": ("a list", lambda value: isinstance(value, list)),
    "object": ("a mapping", lambda value: isinstance(value, dict)),
    "null": ("nothing", lambda value: value is None),
}


def compile_check(node: Mapping[str, Any]) -> Check:
    """Return a function that says what is expected when a value breaks `node`.

    Parameters
    ----------
    node : mapping
        A JSON Schema node; keywords other than `KEYWORDS` are not looked at.

    Returns
    -------
    callable
        Takes a plain value, returns None when it is right, else the
        expectation it breaks, in words.
    """
    checks: list[Check] = []
    if "type" in node:
        checks.append(_type_check(node["type"]))
    if "enum" in node:
        checks.append(_enum_check(node["enum"]))
    for keyword, words, ok in _BOUNDS:
        if keyword in node:
            checks.append(_bound_check(node[keyword], words, ok))
    for keyword, words, ok in _LENGTHS:
        if keyword in node:
            checks.append(_length_check(keyword, node[keyword], words, ok))
    if "pattern" in node:
        checks.append(_pattern_check(node["pattern"]))
    if "items" in node:
        checks.append(_items_check(node["items"]))
    if len(checks) == 1:
        return checks[0]

    def check(value: object) -> str | None:
        for one in checks:
            problem = one(value)
            if problem is not None:
                return problem
        return None

    return check


def _type_check(types: str | list[str]) -> Check:
    chosen = [types] if isinstance(types, str) else types
    words = " or ".join(_TYPES[name][0] for name in chosen)
    tests = [_TYPES[name][1] for name in chosen]
    if len(tests) == 1:
        test = tests[0]
        return lambda value: None if test(value) else words
    return lambda value: None if any(test(value) for test in tests) else words


def _enum_check(allowed: list) -> Check:
    words = (
        f"one of {', '.join(map(repr, allowed))}" if len(allowed) <= 12
        else f"one of {len(allowed)} names, such as {', '.join(map(repr, allowed[:6]))}"
    )  # fmt: skip
    strings = frozenset(item for item in allowed if isinstance(item, str))

    def check(value: object) -> str | None:
        if isinstance(value, str):
            return None if value in strings else words
        same = any(
            value == item and isinstance(value, bool) == isinstance(item, bool) for item in allowed
        )
        return None if same else words

    return check


_BOUNDS = (
    ("minimum", "at least", lambda value, bound: value >= bound),
    ("maximum", "at most", lambda value, bound: value <= bound),
    ("exclusiveMinimum", "more than", lambda value, bound: value > bound),
    ("exclusiveMaximum", "less than", lambda value, bound: value < bound),
)
_LENGTHS = (
    ("minLength", "at least {} characters", lambda length, bound: length >= bound),
    ("maxLength", "at most {} characters", lambda length, bound: length <= bound),
    ("minItems", "at least {} items", lambda length, bound: length >= bound),
    ("maxItems", "at most {} items", lambda length, bound: length <= bound),
)


def _bound_check(bound: float, words: str, ok: Callable[[float, float], bool]) -> Check:
    text = f"{words} {bound}"
    return lambda value: text if _is_number(value) and not ok(value, bound) else None


def _length_check(keyword: str, bound: int, words: str, ok: Callable[[int, int], bool]) -> Check:
    kind = str if keyword.endswith("Length") else list
    text = words.format(bound)
    return lambda value: text if isinstance(value, kind) and not ok(len(value), bound) else None


def _pattern_check(pattern: str) -> Check:
    search = re.compile(pattern).search
    text = f"text of the form {pattern}"
    return lambda value: text if isinstance(value, str) and search(value) is None else None


def _items_check(node: Mapping[str, Any]) -> Check:
    one = compile_check(node)

    def check(value: object) -> str | None:
        if isinstance(value, list):
            for number, item in enumerate(value):
                problem = one(item)
                if problem is not None:
                    return f"{problem} in item {number}"
        return None

    return check
