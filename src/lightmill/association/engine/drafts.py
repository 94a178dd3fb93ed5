"""Associations while they are finished: their members' files, their names, whether they hold."""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from lightmill.association.engine.cells import PoolCells
from lightmill.association.engine.members import (
    KEPT,
    Looks,
    MemberBook,
    MemberList,
    Numbers,
    Source,
)
from lightmill.association.engine.state import Leaf, State
from lightmill.association.engine.work import Growing
from lightmill.association.language.rules import Attribute, Rule, RuleSet, leaves_of
from lightmill.association.pool_table import Pool
from lightmill.association.records import Association, Product

__all__ = ["Draft", "Facts", "Run"]


@dataclass(frozen=True)
class Run:
    """One pass over rows: of a candidate, or of all of a pool."""

    name: str  # candidate or discover
    candidate: tuple[str, str]
    cell: str | None  # what the candidates' column says meanwhile; None: what the pool says


@dataclass(eq=False, slots=True)
class Draft:
    """An association that is still being finished."""

    rule: Rule
    run: Run
    leaves: tuple[Leaf, ...]  # what the claims of its rule have settled on
    members: Numbers[int]  # never changed: others are put in their place
    born: int
    name: str = ""  # of its product
    sequence: int = 0
    duplicate: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def candidate(self) -> str:
        """Identifier of the candidate."""
        return self.run.candidate[0]

    def copied(self, name: str, members: Numbers[int]) -> Draft:
        """Return a copy with another product."""
        other = copy(self)
        other.name, other.members = name, members
        return other


class Facts:
    """What a pool and its rules say of members: their files, and parts of names."""

    def __init__(self, pool: Pool, rules: RuleSet) -> None:
        shared = rules.shared
        self.pool, self.shared = pool, shared
        self.columns: Mapping[str, str] = shared["columns"]
        self.cells = cells = PoolCells(pool, shared)
        self.not_set, self.holds = cells.not_set, cells.holds
        self.raw_cell, self.cell, self.number = cells.raw_cell, cells.cell, cells.number
        self.levels = {int(level): one for level, one in shared["levels"].items()}
        raw = shared.get("raw_suffix")
        endings = sorted(shared.get("suffixes", ()), key=len, reverse=True) or ["(?!)"]
        choice = "|".join(map(re.escape, endings)) if "suffixes" in shared else endings[0]
        self.ending = re.compile(f"^(.+?)[_-](?:{choice})$")
        self.looks: Looks = rules.memory.setdefault("looks", Looks())
        self.book = MemberBook(
            self.looks,
            Source(
                cells.raw_cell,
                cells.holds,
                self.columns,
                self.levels,
                re.compile(f"(.+){re.escape(raw)}(\\..+)") if raw else None,
                shared.get("integrations_suffix", ""),
            ),
        )
        self._leaves: dict[tuple[str, str], list[int]] = {}
        self._roots: dict[str, str] = {}
        self._constraints: dict[tuple[str, tuple[Leaf, ...]], str] = {}
        self._programs: dict[str, str] = {}
        self.notes: set[str] = set()

    # ------------------------------------------------------------------- files

    def root(self, name: str) -> str:
        """Return a file name without extension and without the suffix of a product."""
        known = self._roots.get(name)
        if known is None:
            if len(self._roots) >= KEPT:
                self._roots.clear()
            stem = name.rpartition(".")[0] or name
            match = self.ending.match(stem)
            known = self._roots[name] = match[1] if match else stem
        return known

    # ------------------------------------------------------------------ drafts

    def draft(self, rule: Rule, run: Run, growing: Growing, states: Sequence[State]) -> Draft:
        """Return an association that has got all its members."""
        members = growing.members
        if len(members) > 1:
            seen: dict[tuple[str, str], int] = {}
            for number in members:
                seen.setdefault((self.book.file(number), self.book.role(number)), number)
            if len(seen) < len(members):
                members = array("q", seen.values())
        draft = Draft(rule, run, states[growing.state].leaves, members, growing.born)
        draft.name = self.product_name(draft)
        return draft

    def product_name(self, draft: Draft) -> str:
        """Return the name of an association's product."""
        if self.levels[draft.rule.level]["name"] == "first_science":
            for number in draft.members:
                if self.book.role(number) == "science":
                    return self.root(self.book.file(number))
            return "undefined"
        if draft.rule.product is None:
            return "undefined"
        return self.named(draft, draft.rule.product)

    def named(self, draft: Draft, pattern: str, **given: str) -> str:
        """Return a name made by one of the patterns for products."""
        parts = {
            name: "-".join(sorted(map(re.escape, self.found(draft, name))))
            for name in draft.rule.named
        }
        parts |= {
            key: given[key] if key in given else self._part(draft, written)
            for key, written in self.shared.get("name_parts", {}).items()
        }
        parts["program"] = self.program(draft)
        parts["candidate"] = re.sub(r"[^\w-]", "", draft.candidate)
        text = self.shared.get("products", {}).get(pattern, pattern).format_map(parts)
        return str(text).lower()

    def target(self, draft: Draft) -> str:
        """Return the target as the level of the association tells it."""
        if self.levels[draft.rule.level]["target"] == "cell":
            return self.raw_cell(draft.born, self.columns["target"]) or ""
        return self._part(draft, self.shared["name_parts"]["target"])

    def program(self, draft: Draft) -> str:
        """Return the program as file names have it."""
        text = self.raw_cell(draft.born, self.columns["program"]) or ""
        known = self._programs.get(text)
        if known is None:
            width = int(self.shared.get("program_width", 0))
            known = self._programs[text] = text.zfill(width)
        return known

    def found(self, draft: Draft, name: str, *, first_found: bool = False) -> tuple[str, ...]:
        """Return the values that the node of some name has found."""
        if first_found:
            for leaf in self._leaves_named(draft.rule, name):
                if draft.leaves[leaf].found:
                    return draft.leaves[leaf].found
            return ()
        node = draft.rule.named.get(name)
        index = getattr(node, "index", -1)
        return draft.leaves[index].found if index >= 0 else ()

    def _leaves_named(self, rule: Rule, name: str) -> list[int]:
        known = self._leaves.get((rule.name, name))
        if known is None:
            known = self._leaves[rule.name, name] = [
                leaf.index
                for leaf in leaves_of(rule.accept)
                if leaf.name == name and leaf.index >= 0
            ]
        return known

    def _part(self, draft: Draft, written: Mapping[str, Any]) -> str:
        parts: list[str] = []
        for name in written["nodes"]:
            values = self.found(draft, name, first_found=written.get("first_found", False))
            text = "-".join(sorted(re.escape(value) for value in values))
            if text and text not in self.not_set and text not in parts:
                parts.append(text)
        text = "-".join(sorted(parts))
        if not text:
            text = written.get("missing", "")
            return text and f"{written.get('prefix', '')}{text}"
        if text in written.get("omit", ()):
            return ""
        text = text.zfill(int(written.get("width", 0)))
        return f"{written.get('before', '')}{written.get('prefix', '')}{text}"

    # --------------------------------------------------------------- judgement

    def is_valid(self, draft: Draft) -> bool:
        """Say whether an association has what its rule demands."""
        return all(self._claim(draft, claim) for claim in draft.rule.valid)

    def _claim(self, draft: Draft, claim: Mapping[str, Any]) -> bool:
        kind = draft.run.candidate[1].lower()
        roles = list(map(self.book.role, draft.members))
        if "has" in claim:
            return claim["has"] in roles
        if "at_least" in claim:
            wanted = claim.get("role")
            count = sum(1 for role in roles if wanted is None or role == wanted)
            return count >= int(claim["at_least"])
        if "candidate_not" in claim:
            return kind not in claim["candidate_not"]
        if kind in claim["candidate"]:
            return True
        return kind in claim.get("or_candidate", ()) and claim.get("having") in roles

    def association(self, draft: Draft) -> Association:
        """Return what was made of a draft."""
        error = self.columns.get("error", "")
        degraded = any(
            (value := self.book.detail(number, error, draft.run.cell)) is not None
            and value not in self.not_set
            for number in draft.members
        )
        members = MemberList(self.book, draft.members, draft.run.cell)
        return Association(
            rule=f"{draft.run.name}_{draft.rule.name}",
            type=draft.rule.type,
            level=draft.rule.level,
            candidate=draft.candidate,
            program=self.program(draft),
            target=self.target(draft),
            pool=self.pool.name,
            products=(Product(draft.name, members),),
            sequence=draft.sequence,
            candidate_type=draft.run.candidate[1],
            constraints=self.constraints(draft),
            degraded=degraded,
            duplicate=draft.duplicate,
            notes=draft.notes,
        )

    def constraints(self, draft: Draft) -> str:
        """Return what the members share, for a person: ``name = value`` of each narrowed claim."""
        key = (draft.rule.name, draft.leaves)
        known = self._constraints.get(key)
        if known is None:
            if len(self._constraints) >= KEPT:
                self._constraints.clear()
            known = self._constraints[key] = self._constraints_of(draft)
        return known

    def _constraints_of(self, draft: Draft) -> str:
        shared = {
            name: draft.leaves[node.index].value
            for name, node in draft.rule.named.items()
            if isinstance(node, Attribute)
        }
        return "\n".join(f"{name} = {value}" for name, value in shared.items() if value is not None)
