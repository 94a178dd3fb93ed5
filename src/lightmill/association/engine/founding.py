"""What comes of offering a row to an association that is still to be founded.

Most answers are of this kind, and they differ only in values no claim looks at: which program,
which target. So the tree is evaluated once for all rows that agree in what claims do look at, and
for the others the answer is filled in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lightmill.association.engine.conditions import Row
from lightmill.association.engine.state import EMPTY_LEAF, Answer, Leaf, settled_leaf
from lightmill.association.language.rules import Attribute, Rule, leaves_of

__all__ = ["Foundings"]


class _Form(NamedTuple):
    """An answer, and the leaves that take their value from the row."""

    answer: Answer
    filled: tuple[tuple[int, str, bool], ...]  # leaf, column, whether it is narrowed


class Foundings:
    """Answers to rows offered to nothing yet.

    Parameters
    ----------
    rule : Rule
    offer : callable
        Evaluates the rule for a row.
    columns : sequence of str
        Those whose cells make a difference to the rule.
    compared : set of str
        Those of them whose cells are compared with something written in the rules.
    """

    def __init__(
        self,
        rule: Rule,
        offer: Callable[[Row], Answer],
        columns: tuple[str, ...],
        compared: set[str],
    ) -> None:
        self._offer = offer
        leaves = [leaf for leaf in leaves_of(rule.accept) if isinstance(leaf, Attribute)]
        self._sources = {leaf.index: leaf.columns for leaf in leaves}
        looked_at = set(compared)
        for leaf in leaves:
            for name in (leaf.lacks, leaf.one_of):  # compared with the value of another claim
                other = rule.named.get(name or "")
                if isinstance(other, Attribute):
                    looked_at |= set(other.columns)
        self._compared = [name for name in columns if name in looked_at]
        self._plain = [name for name in columns if name not in looked_at]
        self._forms: dict[tuple[object, ...], _Form] = {}

    def __len__(self) -> int:
        return len(self._forms)

    def forget(self) -> None:
        """Forget the answers; what is asked again is worked out again."""
        self._forms.clear()

    def answer(self, row: Row) -> Answer:
        """Return what comes of offering a row, the same as evaluating it."""
        compared, plain = self._compared, self._plain
        key = (*[row[name] for name in compared], *[row[name] is None for name in plain])
        form = self._forms.get(key)
        if form is None:
            answer = self._offer(row)
            self._forms[key] = self._form(answer, row)
            return answer
        if not form.filled:
            return form.answer
        state = form.answer.state
        leaves = list(state.leaves)
        for index, column, narrowed in form.filled:
            value = row[column]
            assert value is not None
            last = leaves[index].last
            leaves[index] = (
                settled_leaf(column, value, last) if narrowed else Leaf(None, None, (value,), last)
            )
        return form.answer._replace(state=state._replace(leaves=tuple(leaves)))

    def _form(self, answer: Answer, row: Row) -> _Form:
        plain = frozenset(self._plain)
        filled: list[tuple[int, str, bool]] = []
        for index, leaf in enumerate(answer.state.leaves if answer.passed else ()):
            if leaf == EMPTY_LEAF or index not in self._sources or not leaf.found:
                continue
            column = next(name for name in self._sources[index] if row[name] is not None)
            if column in plain:
                filled.append((index, column, leaf.column is not None))
        return _Form(answer, tuple(filled))
