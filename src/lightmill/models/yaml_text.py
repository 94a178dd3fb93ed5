"""Spell a tree as YAML: the plain trees of products, many times faster than PyYAML does.

PyYAML's serialiser is written in Python and takes longer than fitting the
ramps of a small exposure. What is not plain (or not certainly plain) is left
to it; a property test holds the two to the same meaning.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["NotPlain", "block"]

MAX_DEPTH = 50
_BARE = re.compile(r"[A-Za-z/][A-Za-z0-9_./+-]*(?: [A-Za-z0-9_./+-]+)*\Z")
_RESERVED = frozenset(("y", "yes", "n", "no", "true", "false", "on", "off", "null"))
_QUOTABLE = re.compile(
    r"[\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff]*\Z"
)  # the same in JSON and in YAML
_LINE = 88  # columns a mapping on one line may take


class NotPlain(Exception):  # noqa: N818 - says which way to take, nothing is wrong
    """The tree holds something this module does not spell."""


def block(value: Any, tag_of: Callable[[Any], tuple[str, Any] | None]) -> str:
    """Return a tree as block-style YAML, ending with a line break.

    Parameters
    ----------
    value : object
        Mappings with text keys, lists, text, numbers, and what `tag_of` knows.
    tag_of : callable
        Returns (tag as spelled in the document, content) of a tagged node, None of others.

    Raises
    ------
    NotPlain
        If there is anything else in it, or it is nested too deeply.
    """
    text = _Text(tag_of)
    text.node(value, "", "", 0)
    return "\n".join(text.lines) + "\n"


class _Text:
    """The lines so far.

    A value is appended after its `head` (``indent + "key:"`` or ``indent + "-"``; empty at the
    top).
    """

    def __init__(self, tag_of: Callable[[Any], tuple[str, Any] | None]) -> None:
        self.lines: list[str] = []
        self.tag_of = tag_of

    def node(self, value: Any, head: str, indent: str, depth: int) -> None:
        """Append any value."""
        if depth > MAX_DEPTH:
            raise NotPlain
        tagged = self.tag_of(value)
        if tagged is not None:
            tag, value = tagged
            head = f"{head} {tag}" if head else tag
            if not isinstance(value, (dict, Mapping, list, tuple)):
                self.lines.append(f"{head} {_quoted(str(value))}")
                return
        if isinstance(value, (dict, Mapping)):
            self.mapping(value, head, indent, depth)
        elif isinstance(value, (list, tuple)):
            self.sequence(value, head, indent, depth)
        else:
            self.lines.append(f"{head} {scalar(value)}" if head else scalar(value))

    def mapping(self, value: Mapping[Any, Any], head: str, indent: str, depth: int) -> None:
        """Append keys and values: on one line if they are few and short."""
        if len(value) <= 3 or not head:
            try:
                text = ", ".join(f"{scalar(key)}: {scalar(one)}" for key, one in value.items())
            except NotPlain:
                text = None
            if text is not None and len(head) + len(text) < _LINE:
                self.lines.append(f"{head} {{{text}}}" if head else f"{{{text}}}")
                return
        if head:
            self.lines.append(head)
        inner = indent + "  " if head and depth else indent
        for key, one in value.items():
            if type(key) is not str:
                raise NotPlain
            self.node(one, f"{inner}{scalar(key)}:", inner, depth + 1)

    def sequence(
        self, value: list[Any] | tuple[Any, ...], head: str, indent: str, depth: int
    ) -> None:
        """Append the elements: on one line if that is short."""
        try:
            text: str | None = ", ".join(scalar(one) for one in value)
        except NotPlain:
            text = None
        if text is not None and (len(head) + len(text) < _LINE or not head):
            self.lines.append(f"{head} [{text}]" if head else f"[{text}]")
            return
        if head:
            self.lines.append(head)
        inner = indent + "  " if depth else indent
        for one in value:
            self.node(one, f"{inner}-", inner, depth + 1)


def scalar(value: Any) -> str:
    """Return one value as YAML 1.1 spells it.

    Raises
    ------
    NotPlain
        If it is not text, a number, a truth value or nothing.
    """
    kind = type(value)
    if kind is str:
        if _BARE.match(value) and value.lower() not in _RESERVED:
            return str(value)
        return _quoted(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if kind is float:
        return _number(value)
    if isinstance(value, np.generic) and value.ndim == 0:
        return scalar(value.item())
    raise NotPlain


def _number(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)
    if "e" in text and "." not in text:
        return text.replace("e", ".0e")  # YAML 1.1 wants the point
    return text


def _quoted(text: str) -> str:
    if not _QUOTABLE.match(text):
        raise NotPlain
    return json.dumps(text, ensure_ascii=False)
