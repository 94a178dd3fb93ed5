"""When the preview of an association is to be made again: three answers, compared by what they miss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lightmill.errors import UnknownNameError

if TYPE_CHECKING:  # the commands name the policies, and begin without arrays
    from lightmill.observatories.hst.wfpc2.associations import Association

__all__ = ["DEFAULT_POLICY", "POLICIES", "mark_of"]

DEFAULT_POLICY = "content_hash"


def _gen_date_1997(association: Association, blanked: int) -> str:
    """By the association's generation date, as until 1997: it does not see new jitter files."""
    del blanked
    return association.gen_date_str


def _preview_field(association: Association, blanked: int) -> str:
    """By a field that extraction and SQL script blank, the correction of December 1997."""
    del association
    return str(blanked)


def _content_hash(association: Association, blanked: int) -> str:
    """By what a product depends on: members, shifts, times, filters."""
    del blanked
    return association.content


POLICIES: dict[str, Callable[[Association, int], str]] = {
    "gen_date_1997": _gen_date_1997,
    "preview_field": _preview_field,
    "content_hash": _content_hash,
}


def mark_of(policy: str, association: Association, blanked: int) -> str:
    """Return what a policy compares with the mark of the last preview: one is owed if they differ.

    Parameters
    ----------
    policy : str
        A key of `POLICIES`.
    association : Association
        As it is now.
    blanked : int
        How often its preview field was blanked.

    Returns
    -------
    mark : str
        Never later or earlier than another, only the same or not.

    Raises
    ------
    UnknownNameError
        If there is no such policy.
    """
    if policy not in POLICIES:
        raise UnknownNameError("preview policy", policy, POLICIES)
    return POLICIES[policy](association, blanked)
