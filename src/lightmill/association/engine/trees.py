"""A rule, ready to be asked whether a row may join an association.

The claims of its tree are functions (`evaluate`), what they remember is a value (`state`), and what
they say of a row in any state whatever is told beforehand (`shapes`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightmill.association.engine.conditions import (
    Condition,
    Row,
    columns_of,
    compile_condition,
    observatory_role,
)
from lightmill.association.engine.evaluate import Evaluator
from lightmill.association.engine.founding import Foundings
from lightmill.association.engine.roles import roles_of
from lightmill.association.engine.shapes import Shapes
from lightmill.association.engine.state import (
    EMPTY_LEAF,
    NOTHING,
    Again,
    Answer,
    OpenCandidates,
    State,
    Work,
)
from lightmill.association.language.rules import Attribute, Rule, RuleSet, Test, leaves_of

__all__ = ["CompiledRule"]


class CompiledRule:
    """A rule, ready to be asked.

    Parameters
    ----------
    rule : Rule
    rules : RuleSet
        It is one of; for what rules share.
    candidates : OpenCandidates, optional
        How associations settle on a candidate, if rows are not of one anyway.
    """

    def __init__(
        self, rule: Rule, rules: RuleSet, candidates: OpenCandidates | None = None
    ) -> None:
        self.rule, self.candidates = rule, candidates
        shared = self.shared = rules.shared
        self.conditions: Mapping[str, Any] = shared.get("conditions", {})
        self.general = observatory_role(shared["observatory_role"])
        roles = shared["roles"][rule.roles] or {}
        self.roles = roles_of(rule, roles, self.general, self.conditions)
        self.leaves = tuple(leaves_of(rule.accept))
        words = {leaf.word for leaf in self.leaves if isinstance(leaf, Test)}
        self.remembers = "last_role_not" in words
        self.offers_to_all = "offer_to_all" in words
        self.columns = self._columns(shared)
        asked = (rule, self.conditions, self.general, self.roles)
        looked_at = set(self._columns(shared, plain=False))
        self._shapes = Shapes(*asked, self.columns, looked_at)
        self.possible, self.shape = self._shapes.possible, self._shapes.shape
        self.compiled = Evaluator(*asked).compiled
        self.empty = State((EMPTY_LEAF,) * rule.leaves)
        self._evaluate = self.compiled(rule.accept)
        self._integrations = self._all_integrations(shared.get("all_integrations"))
        self._foundings = Foundings(
            rule,
            lambda row: self.offer(self.empty, row),
            self.columns,
            self._shapes.compared | self._sticky_columns(shared.get("all_integrations")),
        )

    def forget(self, kept: int) -> None:
        """Forget what rows were found to be, where that is more than so much."""
        for known in (self._shapes, self._foundings):
            if len(known) > kept:
                known.forget()

    def _sticky_columns(self, written: Mapping[str, Any] | None) -> set[str]:
        """Return the columns of claims whose value decides on what is done to integrations."""
        kinds = [written["kinds"][kind] for kind in self.rule.integrations] if written else []
        nodes = [self.rule.named.get(kind.get("node", "")) for kind in kinds]
        return {c for node in nodes if isinstance(node, Attribute) for c in node.columns}

    def _condition(self, written: Any) -> Condition:
        return compile_condition(written, self.conditions)

    def _columns(self, shared: Mapping[str, Any], *, plain: bool = True) -> tuple[str, ...]:
        """Return the columns whose cells make a difference to this rule."""
        found: set[str] = set() if self.candidates is None else {"@candidates"}
        for leaf in self.leaves:
            if isinstance(leaf, Attribute):
                found |= set(leaf.columns) if plain else set()
            elif leaf.word in ("where", "where_not"):
                found |= columns_of(leaf.value, self.conditions)
            elif leaf.word == "candidate_not":
                found.add("@candidate_type")
        role = shared["observatory_role"]
        found |= {role[key] for key in ("pointing", "column") if key in role}
        found |= set(role.get("flags", {}))
        for one in (shared["roles"][self.rule.roles] or {}).get("refine", ()):
            if "where" in one:
                found |= columns_of(one["where"], self.conditions)
        for _, where in self.rule.members:
            found |= columns_of(where, self.conditions)
        integrations = shared.get("all_integrations")
        if integrations:
            if "unless" in integrations:
                found |= columns_of(integrations["unless"], self.conditions)
            for kind in self.rule.integrations:
                found |= columns_of(integrations["kinds"][kind]["where"], self.conditions)
        return tuple(sorted(found))

    def _all_integrations(self, written: Mapping[str, Any] | None) -> Callable[[Work], bool]:
        if not written:
            return lambda _work: False
        unless = self._condition(written["unless"]) if "unless" in written else lambda _row: False
        kinds = [written["kinds"][kind] for kind in self.rule.integrations]
        where = [self._condition(kind["where"]) for kind in kinds]
        sticky: list[tuple[int, str]] = []
        for kind in kinds:
            node = self.rule.named.get(kind.get("node", ""))
            if isinstance(node, Attribute):
                sticky.append((node.index, kind["value"]))

        def answer(work: Work) -> bool:
            if unless(work.row):
                return False
            if any(work.leaves[index].value == value for index, value in sticky):
                return True
            return any(condition(work.row) for condition in where)

        return answer

    # ------------------------------------------------------------------ asking

    def founded(self, row: Row) -> Answer:
        """Return what comes of offering a row to an association still to be founded."""
        if self.candidates is not None:  # which candidate it is of is in no claim
            return self.offer(self.empty, row)
        return self._foundings.answer(row)

    def offer(self, state: State, row: Row) -> Answer:
        """Return what comes of offering a row to an association in some state.

        Parameters
        ----------
        state : State
            `empty` for an association still to be founded.
        row : mapping
            The values of `columns`; None where not set.
        """
        work = Work(state, row)
        settled = state.candidate
        if settled is not None:
            work.candidate_type = settled[1].lower()
        passed, again = self._evaluate(work)
        if self.candidates is not None and (passed or again):
            answer = self.candidates.settled(settled, row["@candidates"])
            settled = answer.candidate
            if not answer.matched:
                both = (Again("both", False, True),)
                again = (again if not passed else both) if answer.several else NOTHING
                passed = False
        if not passed:
            if work.last_role != state.last_role and self.remembers:
                state = state._replace(last_role=work.last_role)
            return Answer(False, False, state, None, False, again)
        role = self.roles.of(work)
        integrations = self._integrations(work)
        after = State(
            tuple(work.leaves),
            work.science or role == "science",
            work.last_role if self.remembers else None,
            True,
            work.forced,
            settled,
        )
        return Answer(True, not work.forced, after, role, integrations, again)
