"""The short form of a rule, in which most instruments can say all they need, and what it means.

``group_by`` and ``members`` become a tree of claims: see the reference of the language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["DEFAULTS", "MEMBER_KEYS", "expanded"]

MEMBER_KEYS = ("where", "group_by", "at_least", "optional")
Refuse = Callable[..., Exception]

DEFAULTS: dict[str, Any] = {
    "not_set": ["", "null", "--", "n/a"],
    "columns": {
        "file": "filename",
        "program": "program",
        "target": "target",
        "candidates": "asn_candidate",
    },
    "discovered": {"id": "a3001", "type": "discovered"},
    "levels": {
        "2": {"name": "product", "target": "cell", "details": [], "suffix": []},
        "3": {"name": "product", "target": "cell", "details": [], "suffix": []},
    },
    "observatory_role": {},
    "roles": {"observatory": {}},
}
"""What rules have in common, unless a file says otherwise."""


def expanded(written: Mapping[str, Any], refuse: Refuse) -> dict[str, Any]:
    """Return a rule in the long form.

    Parameters
    ----------
    written : mapping
        With ``group_by``, ``members`` or both; a rule without is returned as it is.
    refuse : callable
        Makes the error of a fact and the place of a part.
    """
    rule = dict(written)
    members = rule.get("members")
    if members is None and "group_by" not in rule:
        return rule
    if not isinstance(members, Mapping) or not members:
        raise refuse("members are roles, and which rows play them", ("members",), found=members)
    common = _columns(rule.get("group_by", []), ("group_by",), refuse)
    valid: list[dict[str, Any]] = list(rule.get("valid", ()))
    free: dict[str, list[str]] = {column: [] for column in common}
    for role, member in members.items():
        place = ("members", role)
        if not isinstance(member, Mapping):
            raise refuse("a role says which rows play it", place, found=member)
        for key in member:
            if key not in MEMBER_KEYS:
                raise refuse(f"no word of a role is called {key!r}", (*place, key), found=key)
        own = common
        if "group_by" in member:
            own = _columns(member["group_by"], (*place, "group_by"), refuse)
            odd = [column for column in own if column not in common]
            if odd:
                fact = "a role can be grouped by fewer columns than its rule, not by others"
                raise refuse(fact, (*place, "group_by"), found=", ".join(odd))
        for column in common:
            if column not in own:
                free[column].append(role)
        if not member.get("optional", False):
            valid.append({"at_least": member.get("at_least", 1), "role": role})
    claims: list[dict[str, Any]] = [
        {"where": {"any": [member.get("where", {}) for member in members.values()]}}
    ]
    for column in common:
        if len(free[column]) > 1:
            raise refuse(
                f"{column!r} can be left to one role only", ("members",), found=free[column]
            )
        claim: dict[str, Any] = {"same": column}
        if free[column]:
            claim |= {"only_for": {"role_not": free[column][0]}, "offer_again": "to_existing"}
        claims.append(claim)
    rule["accept"] = [*claims, *rule.get("accept", [])]
    rule["valid"] = valid
    rule.setdefault("roles", "observatory")
    return rule


def _columns(written: Any, where: tuple[str, ...], refuse: Refuse) -> list[str]:
    if not isinstance(written, list) or not all(isinstance(one, str) for one in written):
        raise refuse("group_by is a list of columns", where, found=written)
    return written
