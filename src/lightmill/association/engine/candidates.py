"""Which candidates a pool has, and the rows of each."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from lightmill.association.pool_table import Pool
from lightmill.errors import ValidationError

__all__ = ["Candidate", "candidates_of", "parsed", "rows_of", "text_of"]

Candidate = tuple[str, str]  # identifier and type


def parsed(text: str) -> tuple[Candidate, ...] | None:
    """Return the candidates a cell names.

    Parameters
    ----------
    text : str
        ``[('o001', 'observation'), …]``, or a bare number; what else stands there names none.

    Returns
    -------
    candidates : tuple of (str, str), or None
        None for what is neither: a value that is no text, no list and no whole number.
    """
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return ()
    if isinstance(value, int) and not isinstance(value, bool):
        return ((str(value), "unknown"),)
    try:
        items = list(value)
    except TypeError:
        return None
    try:
        return tuple((str(name), str(kind)) for name, kind in items)
    except (TypeError, ValueError):
        return ()


def candidates_of(pool: Pool, column: str) -> list[Candidate]:
    """Return the candidates of a pool: types as they first appear, and so within each type."""
    texts = pool.values(column)
    known: dict[str, dict[str, None]] = {}
    seen = [False] * len(texts)
    for row, code in enumerate(pool.codes(column)):
        if seen[code]:
            continue
        seen[code] = True
        found = parsed(texts[code])
        if found is None:
            raise ValidationError(
                "the candidates of a row cannot be understood",
                place=pool.place(row, column),
                found=texts[code],
                expected="[('o001', 'observation'), …]",
            )
        for name, kind in found:
            known.setdefault(kind, {})[name] = None
    return [(name, kind) for kind, names in known.items() for name in names]


def rows_of(pool: Pool, column: str, names: Iterable[str]) -> dict[str, list[int]]:
    """Return, for each identifier, the rows in whose cell it stands anywhere, in their order."""
    wanted: dict[int, set[str]] = {}
    for name in names:
        wanted.setdefault(len(name), set()).add(name)
    rows: dict[int, list[int]] = {}
    for row, code in enumerate(pool.codes(column)):
        rows.setdefault(code, []).append(row)
    codes: dict[str, list[int]] = {name: [] for one in wanted.values() for name in one}
    texts = pool.values(column)
    for code in rows:
        text = texts[code]
        for length, some in wanted.items():
            inside = {text[at : at + length] for at in range(len(text) - length + 1)}
            for name in inside & some:
                codes[name].append(code)
    return {
        name: list(rows[some[0]]) if len(some) == 1 else _merged([rows[code] for code in some])
        for name, some in codes.items()
    }


def _merged(parts: Sequence[list[int]]) -> list[int]:
    return sorted(row for part in parts for row in part)


def text_of(candidate: Candidate) -> str:
    """Return what the cells of a candidate's rows say while it is worked on."""
    return f"[({candidate[0]!r}, {candidate[1]!r})]"
