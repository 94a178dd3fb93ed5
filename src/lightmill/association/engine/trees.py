"""Evaluate the tree of a rule, which says whether a row may join an association.

The state of an association is a value: what each leaf of the tree has settled on and found, and
whether there is a science member. Associations of one rule in equal states answer alike, and so
do rows with equal cells in the columns the rule looks at; hence answers are worked out once for
each pair of state and kind of row, and remembered (decision record 12).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from lightmill.association.engine.conditions import (
    Condition,
    Row,
    columns_of,
    compile_condition,
    observatory_role,
)
from lightmill.association.language.rules import (
    Attribute,
    Group,
    Node,
    Rule,
    RuleSet,
    Test,
    leaves_of,
)
from lightmill.association.pool_check import parse_candidates

__all__ = ["EMPTY_LEAF", "Answer", "CompiledRule", "Leaf", "OpenCandidates", "State", "Work"]


class Leaf(NamedTuple):
    """What a leaf remembers."""

    column: str | None = None  # the column it is narrowed to
    value: str | None = None  # the value it is narrowed to
    found: tuple[str, ...] = ()  # values met, each once
    last: bool = False  # whether it was true when last looked at


@lru_cache(maxsize=100_000)  # a hundred states have the same memory of a filter
def _settled(column: str | None, value: str, last: bool) -> Leaf:
    return Leaf(column, value, (value,), last)


class State(NamedTuple):
    """All that decides what an association answers to a row."""

    leaves: tuple[Leaf, ...]
    science: bool = False  # it has a science member
    last_role: str | None = None  # the role last asked for, even in vain
    started: bool = False
    forced: bool = False  # what it takes founds an association of its own, too
    candidate: tuple[str, str] | None = None  # it has settled on, where all are worked on at once


@dataclass(frozen=True)
class OpenCandidates:
    """Associations settle on a candidate of their first row."""

    wanted: re.Pattern[str] | None = None  # which; any, by default

    def settled(self, settled: tuple[str, str] | None, cell: str | None) -> CandidateAnswer:
        """Return whether a row is of the candidate, which that is, or whether there are several."""
        single = cell is not None and cell.startswith("(")  # a row offered for one of a list
        found = tuple(parse_candidates(f"[{cell}]" if single else cell or "") or ())
        if settled is not None:
            return CandidateAnswer(settled in found, settled, False)
        if self.wanted is not None:
            match = next((one for one in found if self.wanted.match(str(one))), None)
            return CandidateAnswer(match is not None, match, False)
        if single and found:
            return CandidateAnswer(True, found[0], False)
        return CandidateAnswer(False, None, bool(found))


class CandidateAnswer(NamedTuple):
    """What the candidates of a row are to an association."""

    matched: bool
    candidate: tuple[str, str] | None
    several: bool


class Again(NamedTuple):
    """Rows to be offered again."""

    category: str  # both, to_existing or at_the_end
    to_all: bool  # to associations of all rules
    flag: bool  # only keeps lists apart


class Answer(NamedTuple):
    """What comes of offering a row to an association."""

    passed: bool  # it joins
    matched: bool  # it needs no association of its own
    state: State
    role: str | None
    integrations: bool  # each integration apart: the member's file is another
    again: tuple[Again, ...]


EMPTY_LEAF = Leaf()
_NOTHING: tuple[Again, ...] = ()
Result = tuple[bool, tuple[Again, ...]]


class Work:
    """An association's state while a row is being looked at."""

    __slots__ = ("candidate_type", "forced", "last_role", "leaves", "row", "science", "started")

    def __init__(self, state: State, row: Row) -> None:
        self.leaves = list(state.leaves)
        self.science = state.science
        self.last_role = state.last_role
        self.started = state.started
        self.forced = state.forced
        self.row = row
        self.candidate_type = row.get("@candidate_type")


Evaluate = Callable[[Work], Result]


class Shape(NamedTuple):
    """What a rule thinks of a kind of rows, whatever the association."""

    possible: bool  # some association might take them
    leaves: tuple[int, ...]  # that must have their value, or be open; -1: no science member
    columns: tuple[str, ...]  # whose value that is; empty for -1


@dataclass(frozen=True)
class _Roles:
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
        self.roles = self._roles(shared["roles"][rule.roles] or {})
        self._watched = {passed for _, _, passed, _ in self.roles.refine}
        self.leaves = tuple(leaves_of(rule.accept))
        self.remembers = any(
            isinstance(leaf, Test) and leaf.word == "last_role_not" for leaf in self.leaves
        )
        self.offers_to_all = any(
            isinstance(leaf, Test) and leaf.word == "offer_to_all" for leaf in self.leaves
        )
        self.columns = self._columns(shared)
        compared = self._compared()
        self._split = (
            [name for name in self.columns if name in compared],
            [name for name in self.columns if name not in compared],
        )
        self._shapes: dict[tuple[object, ...], Shape] = {}
        self.empty = State((EMPTY_LEAF,) * rule.leaves)
        self._evaluate = self.compiled(rule.accept)
        self._integrations = self._all_integrations(shared.get("all_integrations"))

    def _condition(self, written: Any) -> Condition:
        return compile_condition(written, self.conditions)

    def _roles(self, written: Mapping[str, Any]) -> _Roles:
        refine = []
        for one in written.get("refine", ()):
            node = self.rule.named.get(one.get("passed", ""))
            refine.append(
                (
                    one["role"],
                    self._condition(one["where"]) if "where" in one else None,
                    getattr(node, "index", None) if "passed" in one else None,
                    one["to"],
                )
            )
        members = [(role, self._condition(where)) for role, where in self.rule.members]

        def of_members(row: Row) -> str | None:
            return next((role for role, condition in members if condition(row)), None)

        return _Roles(
            of_members if members else self.general,
            written.get("replace", {}),
            written.get("always"),
            frozenset(written.get("but", ())),
            frozenset(written.get("but_after_science", ())),
            tuple(refine),
        )

    def _compared(self) -> set[str]:
        """Return the columns whose cells are compared with what the rules say."""
        found = set(self._columns(self.shared, plain=False))
        for leaf in self.leaves:
            if isinstance(leaf, Attribute) and (leaf.like or leaf.lacks or leaf.one_of):
                found |= set(leaf.columns)
        return found

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
                again = (again if not passed else both) if answer.several else _NOTHING
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

    # -------------------------------------------------------------- compiling

    def compiled(self, node: Node) -> Evaluate:
        """Return a node of the tree as the function that evaluates it."""
        if isinstance(node, Attribute):
            return self._attribute(node)
        if isinstance(node, Test):
            return self._test(node)
        parts = tuple(self.compiled(child) for child in node.children)
        more = (Again(node.offer_again, False, False),) if node.offer_again else _NOTHING
        if node.word == "all":
            return _all_of(parts, more)
        if node.word == "any":
            return _any_of(parts)
        inner = _any_of(parts) if node.word == "none" else _all_of(parts, _NOTHING)

        def negated(work: Work) -> Result:
            matched, _ = inner(work)
            return not matched, _NOTHING

        return negated

    def _attribute(self, node: Attribute) -> Evaluate:  # noqa: C901 - the claim's whole meaning
        index, columns, optional = node.index, node.columns, node.optional
        again = (Again(node.offer_again, False, True),) if node.offer_again else _NOTHING
        patterns = self.patterns(node)
        only_for = None if node.only_for is None else self._test(node.only_for)
        narrows = node.word == "same"
        lacks = None if node.lacks is None else self._index_of(node.lacks, node)
        one_of = None if node.one_of is None else self._index_of(node.one_of, node)
        compared = bool(patterns) or lacks is not None or one_of is not None
        is_unset = node.word == "unset"

        fits = _fit(patterns, lacks, one_of)
        told = index in self._watched  # whether the last answer is asked for

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
                return optional, _NOTHING
            if is_unset:
                return False, _NOTHING
            if memory.column is not None:
                matched = value == memory.value
            else:
                matched = fits(work, value) if compared else True
            if not matched:
                if told:
                    leaves[index] = memory._replace(last=False)
                return False, _NOTHING
            if narrows:
                if memory.column is None or told:
                    leaves[index] = _settled(column, value, told)
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
            return lambda work: ((roles.of(work) == value) is wanted, _NOTHING)
        if word == "no_member_yet":
            return lambda work: (not work.science, _NOTHING)
        if word == "observatory_role":
            return lambda work: (self.general(work.row) == value, _NOTHING)
        if word == "candidate_not":
            return lambda work: (not work.started or work.candidate_type != value, _NOTHING)
        if word == "last_role_not":
            return lambda work: (work.last_role != value, _NOTHING)
        if word == "offer_to_all":
            lists = (Again(value, True, False),)
            return lambda _work: (False, lists)
        if word in ("where", "where_not"):
            condition = self._condition(value)
            wanted = word == "where"
            return lambda work: (condition(work.row) is wanted, _NOTHING)

        def record(work: Work) -> Result:  # record, founds_too
            if word == "founds_too":
                work.forced = True
                work.leaves[index] = Leaf(None, None, (), True)
            else:
                work.leaves[index] = Leaf(None, None, (str(value),), True)
            return True, _NOTHING

        return record

    # -------------------------------------------------- what holds in any state

    def possible(self, row: Row, known: frozenset[str] | None = None) -> bool:
        """Say whether an association in any state whatever could take this row, or needs it.

        Parameters
        ----------
        row : mapping
            The row.
        known : frozenset of str, optional
            The columns of it that are known; all, by default.
        """
        self._asked, self._known = False, known
        return self._always(self.rule.accept, row) is not False

    def shape(self, row: Row) -> Shape:
        """Return what is known of a row without asking an association.

        Only cells that claims compare with something written in the rule decide that, and
        whether the others are set; it is worked out once for all rows that agree in them.
        """
        selective, plain = self._split
        key = (*[row[name] for name in selective], *[row[name] is None for name in plain])
        shape = self._shapes.get(key)
        if shape is None:
            found: dict[int, str] = {}
            possible = self.possible(row)
            if possible:
                self._required(self.rule.accept, row, found)
            shape = self._shapes[key] = Shape(
                possible, tuple(sorted(found)), tuple(found[index] for index in sorted(found))
            )
        return shape

    def _required(self, node: Node, row: Row, found: dict[int, str]) -> None:
        if isinstance(node, Attribute):
            if node.word != "same" or len(node.columns) != 1 or node.optional:
                return
            if node.only_for is not None and self._always(node.only_for, row) is not True:
                return
            if row.get(node.columns[0]) is not None:
                found[node.index] = node.columns[0]
        elif isinstance(node, Test):
            if node.word == "no_member_yet":
                found[-1] = ""
        elif node.word == "all":
            for child in node.children:
                self._required(child, row, found)
        elif node.word == "any":
            open_to = [c for c in node.children if self._always(c, row) is not False]
            if len(open_to) == 1:
                self._required(open_to[0], row, found)

    def _always(self, node: Node, row: Row) -> bool | None:
        """Return what a node answers in every state, or None if that depends on the state."""
        if isinstance(node, Attribute):
            return self._attribute_always(node, row)
        if isinstance(node, Test):
            return self._test_always(node, row)
        if node.word in ("all", "not_all"):
            answer = self._all_always(node, row)
        else:
            answers = [self._always(child, row) for child in node.children]
            answer = True if True in answers else None if None in answers else False
        if node.word in ("none", "not_all"):
            return None if answer is None else not answer
        return answer

    def _all_always(self, node: Group, row: Row) -> bool | None:
        sure = True
        for child in node.children:
            answer = self._always(child, row)
            if answer is False:  # unless something was remembered on the way
                return None if self._asked and self.remembers else False
            sure = sure and answer is True
        return True if sure else None

    def _attribute_always(self, node: Attribute, row: Row) -> bool | None:  # noqa: PLR0911 - one a case
        if self._known is not None and not self._known.issuperset(node.columns):
            return None
        if node.only_for is not None:
            if self._always(node.only_for, row) is False:
                return True
            if self._always(node.only_for, row) is None:
                return None
        values = [value for column in node.columns if (value := row.get(column)) is not None]
        if not values:
            return node.optional
        if node.word == "unset":
            return False
        if node.lacks is not None or node.one_of is not None:
            return None
        if node.like is not None:
            fit = any(pattern.match(v) for pattern in self.patterns(node) for v in values)
            if not fit:
                return None if node.optional and len(node.columns) > 1 else False
        elif node.word == "each":
            return True
        return True if node.word == "each" and len(node.columns) == 1 else None

    def patterns(self, node: Attribute) -> list[re.Pattern[str]]:
        """Return what the values of a claim have to be like."""
        return [re.compile(f"^{one}$", re.IGNORECASE) for one in node.like or ()]

    def _test_always(self, node: Test, row: Row) -> bool | None:
        if node.word in ("role", "role_not"):
            self._asked = True
            if self._known is not None and self.rule.members:
                return None
            role = self.roles.known(row)
            if role is None:
                return None
            return (role == node.value) is (node.word == "role")
        if node.word == "observatory_role":
            return self.general(row) == node.value
        if node.word in ("where", "where_not"):
            columns = columns_of(node.value, self.conditions)
            if self._known is not None and not self._known.issuperset(columns):
                return None
            return self._condition(node.value)(row) is (node.word == "where")
        return True if node.word in ("record", "founds_too") else None


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
        pending = _NOTHING
        for part in parts:
            matched, again = part(work)
            if not matched:
                if not again:
                    return False, _NOTHING
                pending = pending or again
            elif again:
                lists = lists + again
        if pending:
            return False, pending
        return True, lists

    return all_of


def _any_of(parts: tuple[Evaluate, ...]) -> Evaluate:
    def any_of(work: Work) -> Result:
        lists = _NOTHING
        for part in parts:
            matched, again = part(work)
            if matched:
                return True, again
            lists = lists + again
        return False, lists

    return any_of
