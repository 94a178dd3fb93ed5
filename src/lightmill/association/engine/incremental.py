"""Associations of a pool that grows: only the candidates that changed are worked on again."""

from __future__ import annotations

from array import array
from copy import copy
from dataclasses import dataclass, replace

from lightmill.association.engine.candidates import Candidate
from lightmill.association.engine.drafts import Draft, Run
from lightmill.association.engine.members import Looks
from lightmill.association.engine.options import Options
from lightmill.association.engine.run import Engine
from lightmill.association.language.rules import RuleSet
from lightmill.association.pool_table import Pool
from lightmill.association.records import Association

__all__ = ["Associator"]


@dataclass
class _Done:
    """What a run gave, and of what."""

    content: array[int]  # which row each was
    rows: array[int]  # and where
    drafts: list[Draft]


class Associator:
    """Makes the associations of a pool again and again, as rows come in.

    What can be discovered depends on every row and is always worked out anew.

    Parameters
    ----------
    rules : RuleSet
        Of the observatory.
    options : Options, optional
        As of `associate`, whose result it gives.
    """

    def __init__(self, rules: RuleSet, options: Options | None = None) -> None:
        self.rules, self.options = rules, options or Options()
        self.recomputed: list[Candidate] = []  # by the last call of `update`
        self._done: dict[Candidate, _Done] = {}
        self._contents: dict[tuple[str, ...], int] = {}
        self._columns: tuple[str, ...] = ()

    def update(self, pool: Pool) -> list[Association]:
        """Return the associations of a pool, mostly as of the pool before.

        Parameters
        ----------
        pool : Pool
            Folded; rows may have come, gone or changed.
        """
        if pool.columns != self._columns:
            self._done.clear()
            self._contents.clear()
            self._columns = pool.columns
        engine = Engine(pool, self.rules, self.options)
        columns = [pool.column(name) for name in pool.columns]
        known = self._contents
        contents = [known.setdefault(cells, len(known)) for cells in zip(*columns, strict=True)]
        self.recomputed = []
        done: dict[Candidate, _Done] = {}
        drafts: list[Draft] = []
        for run in engine.runs():
            rows = array("q", engine.rows_of_run(run))
            if run.cell is None:
                drafts += engine.run(run, rows)
                continue
            content = array("q", map(contents.__getitem__, rows))
            before = self._done.get(run.candidate)
            if before is None or before.content != content:
                self.recomputed.append(run.candidate)
                before = _Done(content, rows, engine.run(run, rows))
            elif before.rows != rows:
                before = _Done(content, rows, _moved(before, rows, run))
            done[run.candidate] = before
            drafts += before.drafts
        self._done = done
        return engine.completed(list(map(copy, drafts)))


def _moved(done: _Done, rows: array[int], run: Run) -> list[Draft]:
    """Return associations of rows that stand elsewhere in the pool now."""
    now = dict(zip(done.rows, rows, strict=True))
    return [
        replace(
            draft,
            run=run,
            born=now[draft.born],
            members=Looks.moved(draft.members, now),
        )
        for draft in done.drafts
    ]
