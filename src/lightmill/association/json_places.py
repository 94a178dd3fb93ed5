"""Where in a JSON text a value is: asked only when there is something to say about it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

__all__ = ["position_of"]

_PART = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+)')


def position_of(text: str, where: Sequence[str | int]) -> tuple[int, int]:
    """Return line and column, from 1, of a value.

    Parameters
    ----------
    text : str
        Valid JSON.
    where : sequence of str and int
        Keys and indices, from the outermost; the nearest part that is there is taken.

    Returns
    -------
    line, column : int
        Where the value starts.
    """
    wanted = list(where)
    best = depth_found = 0
    path: list[str | int] = []
    stack: list[str] = []
    key_next = False
    for match in _PART.finditer(text):
        part, at = match.group(1), match.start(1)
        if part in {"}", "]"}:
            stack.pop()
            path.pop()
            continue
        if part == ",":
            if stack[-1] == "[":
                path[-1] = int(path[-1]) + 1
            else:
                key_next = True
            continue
        if part == ":":
            continue
        if key_next:
            path[-1] = json.loads(part)
            key_next = False
            continue
        if path == wanted[: len(path)] and (len(path) > depth_found or not best):
            best, depth_found = at, len(path)
            if path == wanted:
                break
        if part in {"{", "["}:
            stack.append(part)
            path.append(0 if part == "[" else "")
            key_next = part == "{"
    return text.count("\n", 0, best) + 1, best - text.rfind("\n", 0, best)
