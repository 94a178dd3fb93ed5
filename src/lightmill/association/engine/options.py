"""What a person can ask of an association run."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """Which associations to make, and what to do with those made."""

    ids: tuple[str, ...] | None = None  # only these candidates, in this order; none discovered
    discover: bool = False  # keep only what is discovered
    all_candidates: bool = False  # candidates only
    operations: bool = False  # widen `ids` to their backgrounds, then keep what was asked for
    finalize: bool = True
    merge: bool = False
    keep_duplicates: bool = False  # pruned associations are kept, and numbered
    per_pool: bool = False  # all candidates in one pass, as the field did before
