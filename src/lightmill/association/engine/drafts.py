"""Associations while they are finished: their members' files, their names, whether they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lightmill.association.engine.conditions import Condition, compile_condition
from lightmill.association.engine.trees import State
from lightmill.association.engine.work import Growing
from lightmill.association.language.rules import Attribute, Rule, RuleSet, leaves_of
from lightmill.association.pool_table import Pool
from lightmill.association.records import Association, Member, Product

__all__ = ["Draft", "Facts", "Run"]

KEPT = 100_000  # names worked out and remembered


@dataclass(frozen=True)
class Run:
    """One pass over rows: of a candidate, or of all of a pool."""

    name: str  # candidate or discover
    candidate: tuple[str, str]
    cell: str | None  # what the candidates' column says meanwhile; None: what the pool says


@dataclass(eq=False)
class Draft:
    """An association that is still being finished."""

    rule: Rule
    run: Run
    state: State
    members: list[Member]
    born: int
    name: str = ""  # of its product
    sequence: int = 0
    duplicate: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def candidate(self) -> str:
        """Identifier of the candidate."""
        return self.run.candidate[0]

    def copied(self, name: str, members: list[Member]) -> Draft:
        """Return a copy with another product."""
        return replace(self, name=name, members=members)


class Facts:
    """What a pool and its rules say of members: their files, and parts of names."""

    def __init__(self, pool: Pool, rules: RuleSet) -> None:
        shared = rules.shared
        self.pool, self.shared = pool, shared
        self.columns: Mapping[str, str] = shared["columns"]
        self.not_set = frozenset(shared["not_set"])
        self.levels = {int(level): one for level, one in shared["levels"].items()}
        self.conditions: Mapping[str, Any] = shared.get("conditions", {})
        self._compiled: dict[str, Condition] = {}
        raw = shared.get("raw_suffix")
        self.raw = re.compile(f"(.+){re.escape(raw)}(\\..+)") if raw else None
        endings = sorted(shared.get("suffixes", ()), key=len, reverse=True) or ["(?!)"]
        choice = "|".join(map(re.escape, endings)) if "suffixes" in shared else endings[0]
        self.ending = re.compile(f"^(.+?)[_-](?:{choice})$")
        self.integrations = shared.get("integrations_suffix", "")
        self._files: dict[tuple[int, int, str | None, bool], str] = {}
        self._leaves: dict[tuple[str, str], list[int]] = {}
        self._roots: dict[str, str] = {}
        self._constraints: dict[tuple[str, State], str] = {}
        self._cells: dict[str, list[str]] = {}
        self.notes: set[str] = set()

    # -------------------------------------------------------------------- rows

    def raw_cell(self, row: int, column: str) -> str | None:
        """Return a cell as it is; None if there is no such column."""
        cells = self._cells.get(column)
        if cells is None:
            if not self.pool.has(column):
                return None
            cells = self._cells[column] = self.pool.column(column)
        return cells[row]

    def cell(self, row: int, column: str) -> str | None:
        """Return what is set in a cell."""
        value = self.raw_cell(row, column)
        return None if value is None or value in self.not_set else value

    def number(self, row: int, *columns: str) -> int | None:
        """Return the first of some cells that is a whole number."""
        for column in columns:
            value = self.raw_cell(row, column)
            if value is not None:
                try:
                    return int(value)
                except ValueError:
                    continue
        return None

    def holds(self, written: Any, row: int) -> bool:
        """Say whether a condition is true of a row."""
        key = repr(written)
        condition = self._compiled.get(key)
        if condition is None:
            condition = self._compiled[key] = compile_condition(written, self.conditions)
        return condition(_Cells(self, row))

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

    def file(self, row: int, level: int, role: str | None, integrations: bool) -> str:
        """Return the file of a row that an association of a level has as member."""
        key = (row, level, role, integrations)
        known = self._files.get(key)
        if known is None:
            if len(self._files) >= KEPT:
                self._files.clear()
            known = self._files[key] = self._file(row, level, role, integrations)
        return known

    def _file(self, row: int, level: int, role: str | None, integrations: bool) -> str:
        name = self.raw_cell(row, self.columns["file"]) or ""
        match = self.raw.fullmatch(name) if self.raw else None
        if match is None:
            return name
        suffix = ""
        for one in self.levels[level]["suffix"]:
            if "role" in one and one["role"] != role:
                continue
            if "where" in one and not self.holds(one["where"], row):
                continue
            suffix = one["is"]
            break
        ints = self.integrations if integrations else ""
        return f"{match[1]}_{suffix}{ints}{match[2]}"

    # ------------------------------------------------------------------ drafts

    def draft(self, rule: Rule, run: Run, growing: Growing, states: Sequence[State]) -> Draft:
        """Return an association that has got all its members."""
        level = self.levels[rule.level]
        members: list[Member] = []
        seen: set[tuple[str, str]] = set()
        for row, role, integrations in growing.members:
            name = self.file(row, rule.level, role, integrations)
            if (name, role or "") in seen:
                continue
            seen.add((name, role or ""))
            details = tuple((key, self._detail(key, row, run)) for key in level["details"])
            members.append(Member(name, role or "", details, row))
        draft = Draft(rule, run, states[growing.state], members, growing.born)
        draft.name = self.product_name(draft)
        return draft

    def _detail(self, key: str, row: int, run: Run) -> str | None:
        if key == self.columns["candidates"] and run.cell is not None:
            return run.cell
        return self.raw_cell(row, key)

    def product_name(self, draft: Draft) -> str:
        """Return the name of an association's product."""
        if self.levels[draft.rule.level]["name"] == "first_science":
            for member in draft.members:
                if member.exptype == "science":
                    return self.root(member.expname)
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
        return text.zfill(int(self.shared.get("program_width", 0)))

    def found(self, draft: Draft, name: str, *, first_found: bool = False) -> tuple[str, ...]:
        """Return the values that the node of some name has found."""
        if first_found:
            for leaf in self._leaves_named(draft.rule, name):
                if draft.state.leaves[leaf].found:
                    return draft.state.leaves[leaf].found
            return ()
        node = draft.rule.named.get(name)
        index = getattr(node, "index", -1)
        return draft.state.leaves[index].found if index >= 0 else ()

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
        roles = [member.exptype for member in draft.members]
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
            (value := dict(member.details).get(error)) is not None and value not in self.not_set
            for member in draft.members
        )
        return Association(
            rule=f"{draft.run.name}_{draft.rule.name}",
            type=draft.rule.type,
            level=draft.rule.level,
            candidate=draft.candidate,
            program=self.program(draft),
            target=self.target(draft),
            pool=self.pool.name,
            products=(Product(draft.name, tuple(draft.members)),),
            sequence=draft.sequence,
            candidate_type=draft.run.candidate[1],
            constraints=self.constraints(draft),
            degraded=degraded,
            duplicate=draft.duplicate,
            notes=draft.notes,
        )

    def constraints(self, draft: Draft) -> str:
        """Return what the members share, for a person: ``name = value`` of each narrowed claim."""
        key = (draft.rule.name, draft.state)
        known = self._constraints.get(key)
        if known is None:
            if len(self._constraints) >= KEPT:
                self._constraints.clear()
            known = self._constraints[key] = self._constraints_of(draft)
        return known

    def _constraints_of(self, draft: Draft) -> str:
        shared = {
            name: draft.state.leaves[node.index].value
            for name, node in draft.rule.named.items()
            if isinstance(node, Attribute)
        }
        return "\n".join(f"{name} = {value}" for name, value in shared.items() if value is not None)


class _Cells(Mapping[str, "str | None"]):
    """A row of a pool, as conditions see it."""

    def __init__(self, facts: Facts, row: int) -> None:
        self.facts, self.row = facts, row

    def __getitem__(self, column: str) -> str | None:
        return self.facts.cell(self.row, column)

    def get(self, column: str, default: Any = None) -> Any:
        found = self.facts.cell(self.row, column)
        return default if found is None else found

    def __iter__(self) -> Any:
        return iter(self.facts.pool.columns)

    def __len__(self) -> int:
        return len(self.facts.pool.columns)
