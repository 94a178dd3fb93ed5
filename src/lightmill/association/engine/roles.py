"""The role a row plays for a rule: the observatory's, changed as the rule says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lightmill.association.engine.conditions import Condition, Row, compile_condition
from lightmill.association.engine.state import Work
from lightmill.association.language.rules import Rule

__all__ = ["Roles", "roles_of"]


@dataclass(frozen=True)
class Roles:
    """How a rule changes the observatory's roles."""

    general: Callable[[Row], str | None]
    replace: Mapping[str, str]
    always: str | None
    but: frozenset[str]
    but_after_science: frozenset[str]
    refine: tuple[tuple[str, Condition | None, int | None, str], ...]

    def of(self, work: Work) -> str | None:
        """Return the role of the row, and remember having been asked."""
        general = self.general(work.row)
        work.last_role = general
        role = self.replace.get(general, general) if general is not None else None
        if self.always is not None:
            work.last_role = role
            if role in self.but or (work.science and role in self.but_after_science):
                return role
            return self.always
        for old, where, passed, new in self.refine:
            if role != old or (where is not None and not where(work.row)):
                continue
            if passed is None or work.leaves[passed].last:
                role = new
        return role

    def known(self, row: Row) -> str | None:
        """Return the role if it does not depend on the association, else None."""
        general = self.general(row)
        role = self.replace.get(general, general) if general is not None else None
        if self.always is not None:
            if role in self.but:
                return role
            return None if role in self.but_after_science else self.always
        for old, where, passed, new in self.refine:
            if role != old or (where is not None and not where(row)):
                continue
            if passed is not None:
                return None
            role = new
        return role


def roles_of(
    rule: Rule,
    written: Mapping[str, Any],
    general: Callable[[Row], str | None],
    conditions: Mapping[str, Any],
) -> Roles:
    """Return how a rule changes roles: as a set of roles says that rules share, or itself."""
    refine = []
    for one in written.get("refine", ()):
        node = rule.named.get(one.get("passed", ""))
        refine.append(
            (
                one["role"],
                compile_condition(one["where"], conditions) if "where" in one else None,
                getattr(node, "index", None) if "passed" in one else None,
                one["to"],
            )
        )
    members = [(role, compile_condition(where, conditions)) for role, where in rule.members]

    def of_members(row: Row) -> str | None:
        return next((role for role, condition in members if condition(row)), None)

    return Roles(
        of_members if members else general,
        written.get("replace", {}),
        written.get("always"),
        frozenset(written.get("but", ())),
        frozenset(written.get("but_after_science", ())),
        tuple(refine),
    )
