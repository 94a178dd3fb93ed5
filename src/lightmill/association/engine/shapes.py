"""What a rule thinks of a row in any state: whether it may ever take it, what must agree.

The tree is evaluated with three values: yes, no, and that depends on the association. So rows
are left out that a rule can never take, and associations are found by what a row must agree in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lightmill.association.engine.conditions import Row, columns_of, compile_condition
from lightmill.association.engine.evaluate import patterns_of
from lightmill.association.engine.roles import Roles
from lightmill.association.language.rules import Attribute, Group, Node, Rule, Test, leaves_of

__all__ = ["Cells", "Shape", "Shapes"]

Cells = tuple["str | None", ...]  # of the columns of a rule


class Shape(NamedTuple):
    """What a rule thinks of a kind of rows, whatever the association."""

    possible: bool  # some association might take them
    leaves: tuple[int, ...]  # that must have their value, or be open; -1: no science member
    columns: tuple[int | None, ...]  # places of the columns whose value that is; None for -1


class Shapes:
    """Judges rows for one rule, whatever the association.

    Parameters
    ----------
    rule : Rule
    conditions : mapping
        By name.
    general : callable
        The observatory's role of a row.
    roles : Roles
        Those of the rule.
    columns : sequence of str
        Those whose cells make a difference to the rule.
    unclaimed : set of str
        Those of them that others than its claims on values look at.
    """

    def __init__(
        self,
        rule: Rule,
        conditions: Mapping[str, Any],
        general: Callable[[Row], str | None],
        roles: Roles,
        columns: tuple[str, ...],
        unclaimed: set[str],
    ) -> None:
        self.rule, self.conditions = rule, conditions
        self.general, self.roles = general, roles
        leaves = tuple(leaves_of(rule.accept))
        self.remembers = any(
            isinstance(leaf, Test) and leaf.word == "last_role_not" for leaf in leaves
        )
        compared = self.compared = set(unclaimed)  # with something written in the rules
        for leaf in leaves:
            if isinstance(leaf, Attribute) and (leaf.like or leaf.lacks or leaf.one_of):
                compared |= set(leaf.columns)
        self.columns = columns
        self._split = (
            [at for at, name in enumerate(columns) if name in compared],
            [at for at, name in enumerate(columns) if name not in compared],
        )
        self._shapes: dict[tuple[object, ...], Shape] = {}

    def __len__(self) -> int:
        return len(self._shapes)

    def forget(self) -> None:
        """Forget the judgements; what is asked again is worked out again."""
        self._shapes.clear()

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

    def shape(self, cells: Cells) -> Shape:
        """Return what is known of a row without asking an association.

        Only cells that claims compare with something written in the rule decide that, and
        whether the others are set; it is worked out once for all rows that agree in them.

        Parameters
        ----------
        cells : tuple of (str or None)
            Of the rule's columns.
        """
        selective, plain = self._split
        key = (*[cells[at] for at in selective], *[cells[at] is None for at in plain])
        shape = self._shapes.get(key)
        if shape is None:
            found: dict[int, str] = {}
            row = dict(zip(self.columns, cells, strict=True))
            possible = self.possible(row)
            if possible:
                self._required(self.rule.accept, row, found)
            shape = self._shapes[key] = Shape(
                possible,
                tuple(sorted(found)),
                tuple(
                    self.columns.index(found[index]) if found[index] else None
                    for index in sorted(found)
                ),
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
            fit = any(pattern.match(v) for pattern in patterns_of(node) for v in values)
            if not fit:
                return None if node.optional and len(node.columns) > 1 else False
        elif node.word == "each":
            return True
        return True if node.word == "each" and len(node.columns) == 1 else None

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
            return compile_condition(node.value, self.conditions)(row) is (node.word == "where")
        return True if node.word in ("record", "founds_too") else None
