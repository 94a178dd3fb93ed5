"""Look a pool over before associations are made of it: what is refused, what is only said."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import NamedTuple

from lightmill.association.names import member_fault
from lightmill.association.pool_table import Pool

__all__ = ["Finding", "check_pool", "parse_candidates"]

_USUAL = re.compile(r"\[\('\w+', '[\w -]*'\)(, \('\w+', '[\w -]*'\))*\]")
_PAIR = re.compile(r"\('(\w+)', '([\w -]*)'\)")
_WHOLE = re.compile(r"[+-]?\d+")
NONE = frozenset({"", "null", "--", "n", "f", "false", "n/a", "none"})
"""What stands for no candidate at all."""


class Finding(NamedTuple):
    """Something about a pool that a person should know.

    Parameters
    ----------
    row : int
        Which row, from 0.
    place : str
        ``file:line [column]``.
    fact : str
        What is wrong, in one clause.
    found : str
        The cell.
    refused : bool
        Whether the row is left out; else it is used as it is.
    """

    row: int
    place: str
    fact: str
    found: str
    refused: bool

    def __str__(self) -> str:
        does = "left out" if self.refused else "used"
        return f"{self.place}: {self.fact} ({does}); found {self.found[:120]!r}"


def parse_candidates(text: str) -> list[tuple[str, str]] | None:
    """Return the candidates a row is of.

    Parameters
    ----------
    text : str
        A cell, as ``[('o001', 'observation'), ('c1000', 'background')]``. A bare whole number
        is a candidate of type ``unknown``.

    Returns
    -------
    candidates : list of (str, str), or None
        Id and type; empty where the cell says there is none; None where it cannot be understood.
    """
    if _USUAL.fullmatch(text):
        return _PAIR.findall(text)
    stripped = text.strip()
    if stripped.lower() in NONE:
        return []
    if _WHOLE.fullmatch(stripped):
        return [(str(int(stripped)), "unknown")]
    if len(text) > 65536:
        return None
    try:
        value = ast.literal_eval(stripped)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    if not isinstance(value, (list, tuple)):
        return None
    pairs = [
        (str(one[0]), str(one[1]))
        for one in value
        if isinstance(one, (list, tuple))
        and len(one) == 2
        and all(isinstance(part, (str, int)) for part in one)
    ]
    return pairs if len(pairs) == len(value) else None


def check_pool(
    pool: Pool, *, required: Iterable[str] = ("filename", "asn_candidate")
) -> tuple[Pool, list[Finding]]:
    """Return the rows that may be used, and what is remarkable about the others.

    A row whose file has an absolute name, a name that leaves its folder or one a shell would
    read as a command is left out. Candidates that cannot be understood, and rows met before,
    are reported: such a row is in no candidate, a second row of a file adds nothing.

    Parameters
    ----------
    pool : Pool
        As rules see it (`Pool.folded`).
    required : iterable of str
        The columns it must have.

    Returns
    -------
    usable : Pool
        The pool itself, if all of it may be used.
    findings : list of Finding
        In the order of the rows.

    Raises
    ------
    ValidationError
        If a column is missing.
    """
    pool.require(required)
    findings = _names(pool) if pool.has("filename") else []
    if pool.has("asn_candidate"):
        findings += _candidates(pool)
    findings.sort()
    refused = {one.row for one in findings if one.refused}
    if refused:
        pool = pool.select([row for row in range(len(pool)) if row not in refused])
    return pool, findings


def _names(pool: Pool) -> list[Finding]:
    values, codes = pool.values("filename"), pool.codes("filename")
    faults = {code: fault for code, name in enumerate(values) if (fault := member_fault(name))}
    found = []
    if faults:
        for row, code in enumerate(codes):
            if code in faults:
                place = pool.place(row, "filename")
                found.append(Finding(row, place, faults[code], values[code], refused=True))
    if len(values) < len(pool):
        first: dict[int, int] = {}
        for row, code in enumerate(codes):
            if first.setdefault(code, row) != row and code not in faults:
                place = pool.place(row, "filename")
                same = pool.row(row) == pool.row(first[code])
                fact = f"the {'same row' if same else 'same file'} is at {pool.place(first[code])}"
                found.append(Finding(row, place, fact, values[code], refused=False))
    return found


def _candidates(pool: Pool) -> list[Finding]:
    values = pool.values("asn_candidate")
    unknown = {code for code, text in enumerate(values) if parse_candidates(text) is None}
    if not unknown:
        return []
    return [
        Finding(
            row,
            pool.place(row, "asn_candidate"),
            "the candidates cannot be understood, so the exposure is in none",
            values[code],
            refused=False,
        )
        for row, code in enumerate(pool.codes("asn_candidate"))
        if code in unknown
    ]
