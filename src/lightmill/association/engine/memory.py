"""What an associator knows of a pool, as text that another process goes on with."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from lightmill.association.engine.candidates import text_of
from lightmill.association.engine.drafts import Draft, Run
from lightmill.association.engine.incremental import Associator, Done
from lightmill.association.engine.members import Look, Looks
from lightmill.association.engine.options import Options
from lightmill.association.engine.state import Leaf
from lightmill.association.language.rules import RuleSet

__all__ = ["fingerprint", "recall", "told"]

FORMAT = 1  # to be raised when what is remembered means something else


def fingerprint(rules: RuleSet, options: Options, version: str) -> str:
    """Return what tells runs apart whose results must not be mixed.

    Parameters
    ----------
    rules : RuleSet
        Of the run.
    options : Options
        Of the run.
    version : str
        Of the program.
    """
    shared = json.dumps(rules.shared, sort_keys=True, default=str)
    text = "\n".join([str(FORMAT), version, repr(options), shared, repr(rules.rules)])
    return blake2b(text.encode(), digest_size=16).hexdigest()


def told(associator: Associator) -> dict[str, Any]:
    """Return what is known of every candidate, as JSON has it.

    Rows are told by their place in the candidate: only their order there is of any account.
    """
    rules = {rule: number for number, rule in enumerate(associator.rules)}
    leaves: dict[Leaf, int] = {}
    candidates = []
    for (name, kind), done in associator.done.items():
        places = {row: place for place, row in enumerate(done.rows)}
        drafts = [
            [
                rules[draft.rule],
                places[draft.born],
                draft.name,
                [leaves.setdefault(leaf, len(leaves)) for leaf in draft.leaves],
                Looks.moved(draft.members, places).tolist(),
            ]
            for draft in done.drafts
        ]
        candidates.append([name, kind, done.content.hex(), len(done.rows), drafts])
    looks: Looks = associator.rules.memory.get("looks", Looks())
    return {"leaves": list(leaves), "looks": looks.known, "candidates": candidates}


def recall(associator: Associator, known: dict[str, Any]) -> None:
    """Let an associator go on with what another has told.

    Raises
    ------
    KeyError, IndexError, TypeError, ValueError
        If it was not told by `told`, of the same rules.
    """
    rules = associator.rules.rules
    looks: Looks = associator.rules.memory.setdefault("looks", Looks())
    numbers = [looks.of(Look(*one)) for one in known["looks"]]
    leaves = [
        Leaf(column, value, tuple(found), last) for column, value, found, last in known["leaves"]
    ]

    def drafts(run: Run, some: list[Any]) -> Iterator[Draft]:
        for rule, born, name, claims, members in some:
            yield Draft(
                rules[rule],
                run,
                tuple(leaves[claim] for claim in claims),
                looks.renumbered(members, numbers),
                born,
                name,
            )

    for name, kind, content, n_rows, some in known["candidates"]:
        run = Run("candidate", (name, kind), text_of((name, kind)))
        rows = array("q", range(n_rows))
        associator.done[name, kind] = Done(bytes.fromhex(content), rows, list(drafts(run, some)))
