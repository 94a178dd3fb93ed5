"""How many exposures a candidate has, as far as headers announce it.

Exposures announce it of a group, such as a visit and a detector; the groups of a candidate become
known as they arrive. Kept with the candidate: name of the group → [announced, present].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["expected_of", "lacking", "merged"]

Groups = dict[str, list[int]]


def merged(
    known: Mapping[str, list[int]], announced: Iterable[Mapping[str, int]], new: int
) -> Groups:
    """Return the groups of a candidate, after exposures have arrived.

    Parameters
    ----------
    known : mapping
        Before.
    announced : iterable of mapping
        Of each exposure: the groups it belongs to → how many exposures they have.
    new : int
        1 if they arrived for the first time, else 0.
    """
    groups = {name: list(counts) for name, counts in known.items()}
    for one in announced:
        for name, number in one.items():
            counts = groups.setdefault(name, [0, 0])
            counts[0] = max(counts[0], number)
            counts[1] += new
    return groups


def expected_of(groups: Mapping[str, list[int]]) -> int | None:
    """Return how many exposures groups have together; None if nothing is announced."""
    return sum(max(counts) for counts in groups.values()) if groups else None


def lacking(groups: Mapping[str, list[int]]) -> dict[str, tuple[int, int]]:
    """Return the groups that lack exposures → present, announced."""
    return {
        name: (present, number)
        for name, (number, present) in sorted(groups.items())
        if present < number
    }
