"""The claims of a rule as functions: does a row join an association in some state, and what then."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from lightmill.association.engine.conditions import Row, compile_condition
from lightmill.association.engine.roles import Roles
from lightmill.association.engine.state import (
    NOTHING,
    Again,
    Evaluate,
    Leaf,
    Result,
    Work,
    settled_leaf,
)
from lightmill.association.language.rules import Attribute, Node, Rule, Test

__all__ = ["Evaluator", "patterns_of"]


def patterns_of(node: Attribute) -> list[re.Pattern[str]]:
    """Return what the values of a claim have to be like."""
    return [re.compile(f"^{one}$", re.IGNORECASE) for one in node.like or ()]


class Evaluator:
    """Makes functions of the nodes of a rule's tree.

    Parameters
    ----------
    rule : Rule
    conditions : mapping
        By name.
    general : callable
        The observatory's role of a row.
    roles : Roles
        Those of the rule.
    """

    def __init__(
        self,
        rule: Rule,
        conditions: Mapping[str, Any],
        general: Callable[[Row], str | None],
        roles: Roles,
    ) -> None:
        self.rule, self.conditions = rule, conditions
        self.general, self.roles = general, roles
        self.watched = {passed for _, _, passed, _ in roles.refine}

    def compiled(self, node: Node) -> Evaluate:
        """Return a node of the tree as the function that evaluates it."""
        if isinstance(node, Attribute):
            return self._attribute(node)
        if isinstance(node, Test):
            return self._test(node)
        parts = tuple(self.compiled(child) for child in node.children)
        more = (Again(node.offer_again, False, False),) if node.offer_again else NOTHING
        if node.word == "all":
            return _all_of(parts, more)
        if node.word == "any":
            return _any_of(parts)
        inner = _any_of(parts) if node.word == "none" else _all_of(parts, NOTHING)

        def negated(work: Work) -> Result:
            matched, _ = inner(work)
            return not matched, NOTHING

        return negated

    def _attribute(self, node: Attribute) -> Evaluate:  # noqa: C901 - the claim's whole meaning
        index, columns, optional = node.index, node.columns, node.optional
        again = (Again(node.offer_again, False, True),) if node.offer_again else NOTHING
        patterns = patterns_of(node)
        only_for = None if node.only_for is None else self._test(node.only_for)
        narrows = node.word == "same"
        lacks = None if node.lacks is None else self._index_of(node.lacks, node)
        one_of = None if node.one_of is None else self._index_of(node.one_of, node)
        compared = bool(patterns) or lacks is not None or one_of is not None
        is_unset = node.word == "unset"

        fits = _fit(patterns, lacks, one_of)
        told = index in self.watched  # whether the last answer is asked for

        def attribute(work: Work) -> Result:  # noqa: C901, PLR0912 - in one place, and fast
            leaves = work.leaves
            memory = leaves[index]
            if only_for is not None and not only_for(work)[0]:
                if told:
                    leaves[index] = memory._replace(last=True)
                return True, again
            row = work.row
            column: str | None = memory.column
            if column is not None:
                value = row.get(column)
            else:
                value = None
                for column in columns:
                    value = row.get(column)
                    if value is not None:
                        break
            if value is None:
                if told:
                    leaves[index] = memory._replace(last=optional)
                return optional, NOTHING
            if is_unset:
                return False, NOTHING
            if memory.column is not None:
                matched = value == memory.value
            else:
                matched = fits(work, value) if compared else True
            if not matched:
                if told:
                    leaves[index] = memory._replace(last=False)
                return False, NOTHING
            if narrows:
                if memory.column is None or told:
                    leaves[index] = settled_leaf(column, value, told)
            elif value not in memory.found:
                leaves[index] = Leaf(None, None, (*memory.found, value), told)
            elif told:
                leaves[index] = memory._replace(last=True)
            return True, again

        return attribute

    def _index_of(self, name: str, node: Node) -> int:
        found = self.rule.named.get(name)
        if not isinstance(found, Attribute) or found is node:
            from lightmill.errors import UnknownNameError

            known = [n for n, one in self.rule.named.items() if isinstance(one, Attribute)]
            raise UnknownNameError("named claim", name, known, place=self.rule.place)
        return found.index

    def _test(self, node: Test) -> Evaluate:
        word, value, index = node.word, node.value, node.index
        roles = self.roles
        if word in ("role", "role_not"):
            wanted = word == "role"
            return lambda work: ((roles.of(work) == value) is wanted, NOTHING)
        if word == "no_member_yet":
            return lambda work: (not work.science, NOTHING)
        if word == "observatory_role":
            return lambda work: (self.general(work.row) == value, NOTHING)
        if word == "candidate_not":
            return lambda work: (not work.started or work.candidate_type != value, NOTHING)
        if word == "last_role_not":
            return lambda work: (work.last_role != value, NOTHING)
        if word == "offer_to_all":
            lists = (Again(value, True, False),)
            return lambda _work: (False, lists)
        if word in ("where", "where_not"):
            condition = compile_condition(value, self.conditions)
            wanted = word == "where"
            return lambda work: (condition(work.row) is wanted, NOTHING)

        def record(work: Work) -> Result:  # record, founds_too
            if word == "founds_too":
                work.forced = True
                work.leaves[index] = Leaf(None, None, (), True)
            else:
                work.leaves[index] = Leaf(None, None, (str(value),), True)
            return True, NOTHING

        return record


def _fit(
    patterns: list[re.Pattern[str]], lacks: int | None, one_of: int | None
) -> Callable[[Work, str], bool]:
    """Return what says whether a value is as a claim wants it."""
    if lacks is not None:
        return lambda work, value: (work.leaves[lacks].value or "None") not in value
    if one_of is not None:
        return lambda work, value: value in work.leaves[one_of].found
    return lambda _work, value: any(pattern.match(value) for pattern in patterns)


def _all_of(parts: tuple[Evaluate, ...], more: tuple[Again, ...]) -> Evaluate:
    def all_of(work: Work) -> Result:
        lists = more
        pending = NOTHING
        for part in parts:
            matched, again = part(work)
            if not matched:
                if not again:
                    return False, NOTHING
                pending = pending or again
            elif again:
                lists = lists + again
        if pending:
            return False, pending
        return True, lists

    return all_of


def _any_of(parts: tuple[Evaluate, ...]) -> Evaluate:
    def any_of(work: Work) -> Result:
        lists = NOTHING
        for part in parts:
            matched, again = part(work)
            if matched:
                return True, again
            lists = lists + again
        return False, lists

    return any_of
