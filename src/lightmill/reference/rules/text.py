"""The text of a mapping, read and written; nothing in it is ever executed.

The syntax is a small part of Python's: the assignments ``header = {…}``,
``selector = {…}`` or ``selector = Match({…})`` and ``comment = "…"``, of dicts,
tuples, lists, strings and numbers. All else is refused with line and column.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from lightmill.reference.errors import RulesChecksumError
from lightmill.reference.rules.nodes import SELECTORS, Duplicate, MappingText, Node
from lightmill.reference.rules.parser import Parser

__all__ = [
    "SELECTORS",
    "Duplicate",
    "MappingText",
    "Node",
    "checksum_of",
    "format_mapping",
    "parse_mapping",
    "parse_value",
    "verify_checksum",
]


def parse_mapping(text: str, name: str) -> MappingText:
    """Return what the text of a mapping says.

    Parameters
    ----------
    text : str
        The whole file.
    name : str
        Its name, for errors.

    Raises
    ------
    RulesFormatError
        With line and column, if the text is anything but header, selector and comment.
    """
    return Parser(text, name).mapping()


def parse_value(text: str, name: str, offset: int = 0, end: int | None = None) -> Any:
    """Return the dict, tuple, list, string or number that a part of a text spells.

    Parameters
    ----------
    text : str
        The whole file.
    name : str
        Its name, for errors.
    offset, end : int, optional
        Where the value begins, and where it must end; by default that is the whole text.
    """
    return Parser(text, name, offset, end).lone_value()


def checksum_of(text: str) -> str:
    """Return the SHA-1 of all lines of a mapping but those with ``sha1sum`` in them."""
    if text.count("sha1sum") == 1:
        where = text.index("sha1sum")
        start, end = text.rfind("\n", 0, where) + 1, text.find("\n", where) + 1
        kept = text[:start] + (text[end:] if end else "")
    else:
        kept = "".join(line for line in _lines(text) if "sha1sum" not in line)
    digest = hashlib.sha1(usedforsecurity=False)
    digest.update(kept.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def verify_checksum(text: str, name: str, said: object = None) -> str:
    """Return the checksum of a mapping if it is the one its header says.

    Parameters
    ----------
    text : str
        The whole file.
    name : str
        Where it is, for errors.
    said : str, optional
        What the header says, if it was read already.

    Raises
    ------
    RulesChecksumError
        If the header says another one, or none.
    """
    if said is None:
        said = parse_mapping(text, name).header.get("sha1sum")
    computed = checksum_of(text)
    if said == computed:
        return computed
    raise RulesChecksumError(
        "the rules are not what their checksum says" if said else "the rules have no checksum",
        place=name,
        found=f"{said} in the header, {computed} of the text" if said else None,
        expected=computed if not said else None,
        remedy="fetch the file again; if you edited it on purpose, correct sha1sum in its header",
    )


def format_mapping(mapping: MappingText) -> str:
    """Return the text of a mapping, with a fresh checksum."""
    header = {**mapping.header, "sha1sum": "0" * 40}
    parts = [f"header = {_spell(header, 0)}\n"]
    if mapping.comment is not None:
        parts.append(f"comment = {_long_string(mapping.comment)}\n")
    parts.append(f"selector = {_spell(mapping.selector, 0)}\n")
    text = "\n".join(parts)
    return text.replace("'sha1sum' : '" + "0" * 40, f"'sha1sum' : '{checksum_of(text)}", 1)


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+\Z", text)


# ---------------------------------------------------------------------------------- writing


def _spell(value: Any, depth: int) -> str:
    if isinstance(value, Node):
        rows = [(key, one) for key, one, _ in value.items]
        return f"{value.kind}({_table(rows, depth)})"
    if isinstance(value, dict):
        return _table(list(value.items()), depth)
    if isinstance(value, (tuple, list)):
        inner = ", ".join(_spell(one, depth) for one in value)
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float) and value in {float("inf"), float("-inf")}:
        return "1e999" if value > 0 else "-1e999"
    return repr(value)


def _table(rows: list[tuple[Any, Any]], depth: int) -> str:
    margin = "    " * (depth + 1)
    lines = [f"{margin}{_spell(k, depth)} : {_spell(v, depth + 1)},\n" for k, v in rows]
    return "{\n" + "".join(lines) + "    " * depth + "}"


def _long_string(text: str) -> str:
    safe = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"').replace("\r", "\\r")
    if safe.endswith('"'):
        safe = safe[:-1] + '\\"'
    return f'"""{safe}"""'
