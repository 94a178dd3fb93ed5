"""Offer the rows of a run to one rule, in the order that decides which association takes which.

Rules do not meet: what one does with a row is no matter to another, except that a rule may have
rows offered again to all. So each rule is worked through by itself.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from lightmill.association.engine.members import Look, Looks
from lightmill.association.engine.shapes import Cells
from lightmill.association.engine.state import Again, Answer, State
from lightmill.association.engine.trees import CompiledRule

__all__ = ["Growing", "Kind", "RuleMemory", "RuleWork"]

Required = tuple[int, ...]  # leaves that must agree with a row


class Growing:
    """An association that may still get members."""

    __slots__ = ("born", "members", "state")

    def __init__(self, born: int, state: int, member: int) -> None:
        self.born = born  # position of the row that founded it
        self.state = state
        self.members = array("q", (member,))


class Kind:
    """Rows that a rule cannot tell apart."""

    __slots__ = ("cells", "key", "leaves", "number", "possible")

    def __init__(self, number: int, cells: Cells, rule: CompiledRule) -> None:
        self.number, self.cells = number, cells
        self.possible, self.leaves, columns = rule.shape(cells)
        self.key = tuple(["" if at is None else cells[at] for at in columns])


class RuleMemory:
    """What is known of a rule's answers; it holds for every run and every pool."""

    LARGEST = 20_000  # answers kept, and kinds

    def __init__(self, rule: CompiledRule, looks: Looks) -> None:
        self.rule, self.looks = rule, looks
        self.forget()

    def forget(self) -> None:
        """Forget all; what is asked again is worked out again."""
        self.states: list[State] = [self.rule.empty]
        self.numbers: dict[State, int] = {self.rule.empty: 0}
        self.answers: dict[tuple[int, int], tuple[Answer, int, int]] = {}
        self.kinds: dict[Cells, Kind] = {}
        self.counted = 0  # kinds met, also those forgotten

    def kind(self, cells: Cells) -> Kind:
        """Return the kind of the rows that have these cells in the rule's columns."""
        kind = self.kinds.get(cells)
        if kind is None:
            if len(self.kinds) >= self.LARGEST:
                self.kinds.clear()
            self.counted += 1
            kind = self.kinds[cells] = Kind(self.counted, cells, self.rule)
        return kind

    def answer(self, state: int, kind: Kind) -> tuple[Answer, int, int]:
        """Return what comes of offering a row, and the numbers of the state and look after it."""
        at = (state, kind.number)
        known = self.answers.get(at)
        if known is None:
            if len(self.answers) >= self.LARGEST:
                self.answers.clear()
            row = dict(zip(self.rule.columns, kind.cells, strict=True))
            answer = self.rule.offer(self.states[state], row) if state else self.rule.founded(row)
            number = self.numbers.get(answer.state)
            if number is None:
                number = self.numbers[answer.state] = len(self.states)
                self.states.append(answer.state)
            look = Look(self.rule.rule.level, answer.role, answer.role or "", answer.integrations)
            known = self.answers[at] = (answer, number, self.looks.of(look))
        return known


class RuleWork:
    """The associations of one rule in one run."""

    def __init__(self, memory: RuleMemory) -> None:
        self.memory = memory
        self.made: list[Growing] = []
        self.groups: dict[int, list[Growing]] = {}  # by state
        self.indexes: dict[Required, dict[tuple[str | None, ...], dict[int, None]]] = {}
        self.loose: dict[Required, dict[int, None]] = {}
        self.holders: dict[int, list[Growing]] | None = None  # file → associations that have it

    # -------------------------------------------------------------- indexing

    def _key(self, state: State, leaves: Required) -> tuple[str | None, ...] | bool | None:
        """Return what a row must have; None if more than that fits, False if none can join."""
        key: list[str | None] = []
        for index in leaves:
            if index < 0:
                if state.science:
                    return False
                key.append("")
            else:
                value = state.leaves[index].value
                if value is None:
                    return None
                key.append(value)
        return tuple(key)

    def _enter(self, number: int, leaves: Required) -> None:
        key = self._key(self.memory.states[number], leaves)
        if key is None:
            self.loose[leaves][number] = None
        elif key is not False:
            self.indexes[leaves].setdefault(key, {})[number] = None  # type: ignore[arg-type]

    def _leave(self, number: int, leaves: Required) -> None:
        key = self._key(self.memory.states[number], leaves)
        if key is None:
            del self.loose[leaves][number]
        elif key is not False:
            del self.indexes[leaves][key][number]  # type: ignore[index]

    def _open_to(self, kind: Kind) -> list[int]:
        """Return the states of associations that might take a row."""
        leaves = kind.leaves
        if leaves not in self.indexes:
            self.indexes[leaves], self.loose[leaves] = {}, {}
            for number in self.groups:
                self._enter(number, leaves)
        return [*self.indexes[leaves].get(kind.key, ()), *self.loose[leaves]]

    def _join_group(self, number: int, some: list[Growing]) -> None:
        group = self.groups.get(number)
        if group is None:
            self.groups[number] = some
            for leaves in self.indexes:
                self._enter(number, leaves)
        else:
            group.extend(some)

    def _leave_group(self, number: int, staying: list[Growing]) -> None:
        if staying:
            self.groups[number] = staying
        else:
            del self.groups[number]
            for leaves in self.indexes:
                self._leave(number, leaves)

    # ---------------------------------------------------------------- working

    def watch(self, files: Sequence[int]) -> None:
        """Note from now on which association has which file: rows may come a second time."""
        self.holders = {}
        for one in self.made:
            for row in Looks.rows(one.members):
                self.holders.setdefault(files[row], []).append(one)

    def offer(self, row: int, file: int, kind: Kind, again: dict[Again, None]) -> bool:
        """Offer a row to every association there is; say whether one of them matched."""
        holders = () if self.holders is None else self.holders.get(file, ())
        matched = bool(holders)
        moves: list[tuple[int, int, list[Growing], list[Growing]]] = []
        for number in self._open_to(kind):
            answer, after, look = self.memory.answer(number, kind)
            for offered in answer.again:
                again[offered] = None
            if not answer.passed and after == number:
                continue
            group = self.groups[number]
            if holders:
                inside = set(map(id, holders))
                staying = [one for one in group if id(one) in inside]
                going = [one for one in group if id(one) not in inside]
                if not going:
                    continue
            else:
                staying, going = [], group
            if answer.passed:
                matched = matched or answer.matched
                member = Looks.number(row, look)
                for one in going:
                    one.members.append(member)
                if self.holders is not None:
                    self.holders.setdefault(file, [])
                    self.holders[file] = [*self.holders[file], *going]
            if after != number:
                for one in going:
                    one.state = after
                moves.append((number, after, staying, going))
        for number, _, staying, _ in moves:
            self._leave_group(number, staying)
        for _, after, _, going in moves:
            self._join_group(after, going)
        return matched

    def found(self, row: int, file: int, kind: Kind, again: dict[Again, None], born: int) -> bool:
        """Found an association on a row, if it can; say whether it did."""
        answer, after, look = self.memory.answer(0, kind)
        for offered in answer.again:
            again[offered] = None
        if not answer.matched:
            return False
        one = Growing(born, after, Looks.number(row, look))
        self.made.append(one)
        if self.holders is not None:
            self.holders[file] = [*self.holders.get(file, ()), one]
        self._join_group(after, [one])
        return True

    def first_pass(
        self, items: Iterable[tuple[int, Kind]], files: Sequence[int], *, repeats: bool
    ) -> dict[Again, list[tuple[int, Kind]]]:
        """Offer every row, founding associations; return what is to be offered again, and when."""
        if repeats:
            self.watch(files)
        later: dict[Again, list[tuple[int, Kind]]] = {}
        for row, kind in items:
            again: dict[Again, None] = {}
            file = files[row]
            if not (self.groups and self.offer(row, file, kind, again)):
                self.found(row, file, kind, again, row)
            for one in again:
                later.setdefault(one, []).append((row, kind))
        return later

    def later_pass(self, items: Iterable[tuple[int, Kind]], files: Sequence[int]) -> None:
        """Offer rows again to the associations there are."""
        if not self.made:
            return
        if self.holders is None:
            self.watch(files)
        for row, kind in items:
            self.offer(row, files[row], kind, {})
