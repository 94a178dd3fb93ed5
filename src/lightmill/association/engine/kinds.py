"""What one rule can tell apart of the rows of a pool."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from lightmill.association.engine.cells import PoolCells
from lightmill.association.engine.drafts import Run
from lightmill.association.engine.evaluate import patterns_of
from lightmill.association.engine.work import Kind, RuleMemory
from lightmill.association.language.rules import Attribute, leaves_of

__all__ = ["Kinds"]


class Kinds:
    """The kinds of a pool's rows for one rule.

    Parameters
    ----------
    memory : RuleMemory
        Of the rule.
    cells : PoolCells
        Of the pool.
    candidates : str
        The column of the candidates.
    """

    def __init__(self, memory: RuleMemory, cells: PoolCells, candidates: str) -> None:
        self.memory, self.cells, self.candidates = memory, cells, candidates
        self.names = memory.rule.columns
        self._known: dict[object, Kind] = {}
        self._ready = False

    def forget(self) -> None:
        """Forget the kinds met so far: their rule has."""
        self._known.clear()

    def _prepare(self) -> None:
        pool = self.cells.pool
        own = (self.candidates, "@candidate_type")  # what the run says of them counts
        stored = [name for name in self.names if pool.has(name) and name not in own]
        self.codes = [pool.codes(name) for name in stored]
        nothing: tuple[list[str | None], array[int]] = ([None], array("i", bytes(4 * len(pool))))
        self._cells: list[tuple[list[str | None], array[int]]] = [
            (self.cells.values(name), pool.codes(name)) if name in stored else nothing
            for name in self.names
        ]
        self.by_candidate, self.by_type = (name in self.names for name in own)
        self._own = [self.names.index(name) if name in self.names else None for name in own]
        self.patterns = [
            pattern
            for leaf in leaves_of(self.memory.rule.rule.accept)
            if isinstance(leaf, Attribute) and self.candidates in leaf.columns
            for pattern in patterns_of(leaf)
        ]
        self._ready = True

    def kinds(self, rows: Iterable[int], run: Run) -> Iterable[tuple[int, Kind]]:
        """Yield each row the rule might take, with its kind."""
        if not self._ready:
            self._prepare()
        codes, known = self.codes, self._known
        kind_of = run.candidate[1].lower() if self.by_type else ""
        token = self._token(run.cell) if self.by_candidate and run.cell is not None else ""
        own = self.by_candidate and run.cell is None
        cells = self.cells.pool.column(self.candidates) if own else []
        for row in rows:
            if own:
                token = self._token(cells[row])
            key = (token, kind_of, *[column[row] for column in codes])
            kind = known.get(key)
            if kind is None:
                if len(known) >= RuleMemory.LARGEST:
                    known.clear()
                kind = known[key] = self._kind(row, token, kind_of)
            if kind.possible:
                yield row, kind

    def _token(self, cell: str) -> str:
        """Return the cell if the rule has an eye on it, else a word that stands for all others."""
        return cell if any(pattern.match(cell) for pattern in self.patterns) else "-none-"

    def _kind(self, row: int, token: str, kind_of: str) -> Kind:
        cells: list[str | None] = [values[codes[row]] for values, codes in self._cells]
        for at, value in zip(self._own, (token, kind_of), strict=True):
            if at is not None:
                cells[at] = value
        return self.memory.kind(tuple(cells))
