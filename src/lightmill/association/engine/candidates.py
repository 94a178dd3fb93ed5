"""Which candidates a pool has, and the rows of each."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from lightmill.association.pool_check import parse_candidates
from lightmill.association.pool_table import Pool

__all__ = ["Candidate", "candidates_of", "rows_of", "text_of"]

Candidate = tuple[str, str]  # identifier and type


def candidates_of(pool: Pool, column: str) -> list[Candidate]:
    """Return the candidates of a pool: types as they first appear, and so within each type."""
    if not pool.has(column):
        return []
    texts = pool.values(column)
    known: dict[str, dict[str, None]] = {}
    seen = [False] * len(texts)
    for code in pool.codes(column):
        if seen[code]:
            continue
        seen[code] = True
        for name, kind in parse_candidates(texts[code]) or ():
            known.setdefault(kind, {})[name] = None
    return [(name, kind) for kind, names in known.items() for name in names]


def rows_of(pool: Pool, column: str, names: Iterable[str]) -> dict[str, array[int]]:
    """Return, for each identifier, the rows in whose cell it stands anywhere, in their order."""
    wanted: dict[int, set[str]] = {}
    for name in names:
        wanted.setdefault(len(name), set()).add(name)
    rows: dict[int, array[int]] = {}
    for row, code in enumerate(pool.codes(column)):
        rows.setdefault(code, array("q")).append(row)
    codes: dict[str, list[int]] = {name: [] for one in wanted.values() for name in one}
    texts = pool.values(column)
    for code in rows:
        text = texts[code]
        for length, some in wanted.items():
            inside = {text[at : at + length] for at in range(len(text) - length + 1)}
            for name in inside & some:
                codes[name].append(code)
    return {
        name: rows[some[0]] if len(some) == 1 else _merged([rows[code] for code in some])
        for name, some in codes.items()
    }


def _merged(parts: Sequence[array[int]]) -> array[int]:
    return array("q", sorted(row for part in parts for row in part))


def text_of(candidate: Candidate) -> str:
    """Return what the cells of a candidate's rows say while it is worked on."""
    return f"[({candidate[0]!r}, {candidate[1]!r})]"
