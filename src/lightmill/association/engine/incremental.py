"""Associations of a pool that grows: only the candidates that changed are worked on again."""

from __future__ import annotations

from array import array
from copy import copy
from dataclasses import dataclass, replace
from hashlib import blake2b

from lightmill.association.engine.candidates import Candidate
from lightmill.association.engine.drafts import Draft, Run
from lightmill.association.engine.members import Looks
from lightmill.association.engine.options import Options
from lightmill.association.engine.run import Engine
from lightmill.association.language.rules import RuleSet
from lightmill.association.pool_table import Pool
from lightmill.association.records import Association
from lightmill.errors import ConfigurationError

__all__ = ["Associator", "Done"]


@dataclass
class Done:
    """What a run gave, and of what."""

    content: bytes  # digest of its rows, in their order
    rows: array[int]  # where they stood
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

    Raises
    ------
    ConfigurationError
        If all candidates are to be worked on in one pass: then each depends on every row.
    """

    def __init__(self, rules: RuleSet, options: Options | None = None) -> None:
        self.rules, self.options = rules, options or Options()
        if self.options.per_pool:
            raise ConfigurationError("candidates in one pass cannot be worked on one by one")
        self.recomputed: list[Candidate] = []  # by the last call of `update`
        self.done: dict[Candidate, Done] = {}

    def update(self, pool: Pool) -> list[Association]:
        """Return the associations of a pool, mostly as of the pool before.

        Parameters
        ----------
        pool : Pool
            Folded; rows may have come, gone or changed.
        """
        engine = Engine(pool, self.rules, self.options)
        digests = _digests(pool)
        self.recomputed = []
        done: dict[Candidate, Done] = {}
        drafts: list[Draft] = []
        for run in engine.runs():
            rows = array("q", engine.rows_of_run(run))
            if run.cell is None:
                drafts += engine.run(run, rows)
                continue
            content = blake2b(b"".join([digests[row] for row in rows]), digest_size=16).digest()
            before = self.done.get(run.candidate)
            if before is None or before.content != content:
                self.recomputed.append(run.candidate)
                before = Done(content, rows, engine.run(run, rows))
            elif before.rows != rows:
                before = Done(content, rows, _moved(before, rows, run))
            done[run.candidate] = before
            drafts += before.drafts
        self.done = done
        return engine.completed(list(map(copy, drafts)))


def _digests(pool: Pool) -> list[bytes]:
    """Return what tells rows apart: a digest of the names of the columns and the cells."""
    names = "\x1f".join(pool.columns).encode()
    columns = [pool.column(name) for name in pool.columns]
    head = blake2b(names, digest_size=16)
    found: list[bytes] = []
    for cells in zip(*columns, strict=True):
        digest = head.copy()
        digest.update("\x1f".join(cells).encode())
        found.append(digest.digest())
    return found


def _moved(done: Done, rows: array[int], run: Run) -> list[Draft]:
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
