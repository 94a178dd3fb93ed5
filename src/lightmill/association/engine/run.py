"""From a pool and rules to associations."""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace

from lightmill.association.engine.candidates import (
    Candidate,
    candidates_of,
    rows_of,
    text_of,
)
from lightmill.association.engine.conditions import columns_of
from lightmill.association.engine.drafts import Draft, Facts, Run
from lightmill.association.engine.finish import finished
from lightmill.association.engine.kinds import Kinds
from lightmill.association.engine.options import Options
from lightmill.association.engine.per_pool import drafts_of_one_pass
from lightmill.association.engine.prune import pruned
from lightmill.association.engine.state import Again, settled_leaf
from lightmill.association.engine.trees import CompiledRule
from lightmill.association.engine.work import Kind, RuleMemory, RuleWork
from lightmill.association.language.rules import Rule, RuleSet
from lightmill.association.pool_check import parse_candidates
from lightmill.association.pool_table import Pool
from lightmill.association.records import Association, Product

__all__ = ["Engine", "associate", "forget"]

KEPT = 200  # of what a rule has learnt of rows in general, between runs that have nothing in common

Later = dict[Again, list[tuple[int, Kind]]]


def associate(pool: Pool, rules: RuleSet, options: Options | None = None) -> list[Association]:
    """Return the associations that rules make of a pool.

    Parameters
    ----------
    pool : Pool
        Folded, as `read_pool` gives it.
    rules : RuleSet
        Of the observatory.
    options : Options, optional
        By default all candidates, and what can be discovered beyond them.

    Returns
    -------
    associations : list of Association
        Numbered, in the order of the field's generator: level by level.
    """
    options = options or Options()
    engine = Engine(pool, rules, options)
    drafts = engine.drafts()
    return engine.completed(drafts)


def forget(rules: RuleSet) -> None:
    """Let go of what rules remember of rows; what is asked again is worked out again.

    It is for those who associate for months: each observation has values of its own, which no
    other asks for again. Without it, answers are kept up to `RuleMemory.LARGEST` for each rule.

    Parameters
    ----------
    rules : RuleSet
        As given to `associate`.
    """
    memories: list[RuleMemory] = rules.memory.get("compiled", [])
    for memory in memories:
        memory.forget()
        memory.rule.forget(KEPT)
    settled_leaf.cache_clear()


class Engine:
    """The rules at work on one pool."""

    def __init__(self, pool: Pool, rules: RuleSet, options: Options) -> None:
        self.pool, self.rules, self.options = pool, rules, options
        self.facts = Facts(pool, rules)
        shared = rules.shared
        columns = shared["columns"]
        pool.require(shared.get("required", ()))
        self.candidates_column: str = columns["candidates"]
        self.discovered: Candidate = (shared["discovered"]["id"], shared["discovered"]["type"])
        if "compiled" not in rules.memory:
            looks = self.facts.looks
            rules.memory["compiled"] = [
                RuleMemory(CompiledRule(rule, rules), looks) for rule in rules
            ]
        self.memories: list[RuleMemory] = rules.memory["compiled"]
        self.files = pool.codes(columns["file"])
        self.repeats = len(pool.values(columns["file"])) < len(pool)
        self._rows: dict[str, array[int]] | None = None
        self._columns = [
            Kinds(memory, self.facts.cells, self.candidates_column) for memory in self.memories
        ]
        for number in range(len(self.memories)):
            self._forget(number)
        self._possible = self._possible_rules()

    def _possible_rules(self) -> Sequence[tuple[int, ...]]:
        """Return for each row the rules that might take it, as far as its role can tell."""
        role = self.rules.shared["observatory_role"]
        names = [role[key] for key in ("pointing", "column") if key in role]
        names += [name for name in role.get("flags", {}) if name not in names]
        conditions = self.rules.shared.get("conditions", {})
        for rule in self.rules:
            for _, where in rule.members:
                names += sorted(columns_of(where, conditions) - set(names))
        if not names:
            return [tuple(range(len(self.memories)))] * len(self.pool)
        known = frozenset(names)
        tables = [self.facts.cells.values(name) for name in names]
        memo: dict[tuple[int, ...], tuple[int, ...]] = {}
        found: list[tuple[int, ...]] = []
        codes = [self.pool.codes(n) if self.pool.has(n) else _zeros(self.pool) for n in names]
        for key in zip(*codes, strict=True):
            rules = memo.get(key)
            if rules is None:
                row = {n: t[c] for n, t, c in zip(names, tables, key, strict=True)}
                rules = memo[key] = tuple(
                    number
                    for number, memory in enumerate(self.memories)
                    if memory.rule.possible(row, known)
                )
            found.append(rules)
        return found

    def _forget(self, number: int) -> None:
        """Let go of a rule's states when they are many: they would fill the memory."""
        memory = self.memories[number]
        if len(memory.states) > RuleMemory.LARGEST:
            memory.forget()
            self._columns[number].forget()

    # ------------------------------------------------------------------- runs

    def candidates(self) -> list[Candidate]:
        """Return the candidates to work on, in order."""
        options = self.options
        known = candidates_of(self.pool, self.candidates_column)
        if options.ids is None:
            return known
        wanted = self._widened(options.ids) if options.operations else options.ids
        return [one for name in wanted for one in known if one[0] == name]

    def runs(self) -> list[Run]:
        """Return the passes over rows, in the order of their associations in the end."""
        options = self.options
        runs: list[Run] = []
        if options.ids is None and not options.all_candidates:
            runs.append(Run("discover", self.discovered, None))
        if not options.discover:
            runs += [Run("candidate", one, text_of(one)) for one in self.candidates()]
        return runs

    def rows_of_run(self, run: Run) -> Sequence[int]:
        """Return the rows of a run, in their order."""
        if run.cell is None:
            return range(len(self.pool))
        if self._rows is None:
            names = [name for name, _ in self.candidates()]
            self._rows = rows_of(self.pool, self.candidates_column, names)
        return self._rows[run.candidate[0]]

    def drafts(self) -> list[Draft]:
        """Return the associations before they are finished, in the order of the field."""
        if self.options.per_pool:
            return drafts_of_one_pass(self)
        return [draft for run in self.runs() for draft in self.run(run, self.rows_of_run(run))]

    def cells(self, row: int, rule: CompiledRule, run: Run) -> dict[str, str | None]:
        """Return what a rule sees of a row in a run."""
        cells = {name: self.facts.cell(row, name) for name in rule.columns}
        if run.cell is not None:
            cells[self.candidates_column] = run.cell
        cells["@candidate_type"] = run.candidate[1].lower()
        return cells

    def _widened(self, ids: tuple[str, ...]) -> list[str]:
        """Return identifiers, and those of the backgrounds of their rows."""
        found = dict.fromkeys(ids)
        texts = self.pool.values(self.candidates_column)
        for text in texts:
            if any(name in text for name in ids):
                for name, kind in parse_candidates(text) or ():
                    if kind.lower() == "background":
                        found[name] = None
        return list(found)

    def hopeless(self, rule: Rule, kind: str) -> bool:
        """Say whether no association of a rule could hold in a run of some type."""
        if not self.options.finalize or self.options.keep_duplicates:
            return False  # what does not hold counts when associations are numbered
        for claim in rule.valid:
            if "candidate" in claim and kind not in (
                *claim["candidate"],
                *claim.get("or_candidate", ()),
            ):
                return True
            if "candidate_not" in claim and kind in claim["candidate_not"]:
                return True
        return False

    def run(self, run: Run, rows: Iterable[int]) -> list[Draft]:
        """Work through the rows of one run with every rule.

        Each rule is done with before the next, so that the states of one rule only are in
        memory; but for what rules offer to all, which must be known before rows are offered
        again.
        """
        kind = run.candidate[1].lower()
        items: dict[int, array[int]] = {}
        possible = self._possible
        for row in rows:
            for number in possible[row]:
                if number in items:
                    items[number].append(row)
                else:
                    items[number] = array("q", (row,))
        numbers = [n for n in sorted(items) if not self.hopeless(self.rules.rules[n], kind)]
        first: dict[int, tuple[RuleWork, Later]] = {}
        offered = _Offered()
        for number in numbers:
            if self.memories[number].rule.offers_to_all:
                first[number] = self._first_pass(number, items.pop(number), run)
                offered.take(number, first[number][1])
        made: list[Draft] = []
        positions: dict[Rule, int] = {}
        for number in numbers:
            if number in first:
                work, later = first.pop(number)
            else:
                work, later = self._first_pass(number, items.pop(number), run)
            if work.made:
                positions[work.memory.rule.rule] = number
                self._later_passes(number, work, later, offered, run)
                made += self._drafts_of(work, run)
            self._forget(number)
        made.sort(key=lambda draft: (draft.born, positions[draft.rule]))
        return made

    def _first_pass(self, number: int, rows: Iterable[int], run: Run) -> tuple[RuleWork, Later]:
        work = RuleWork(self.memories[number])
        seen = self._columns[number].kinds(rows, run)
        return work, work.first_pass(seen, self.files, repeats=self.repeats)

    def _later_passes(
        self, number: int, work: RuleWork, later: Later, offered: _Offered, run: Run
    ) -> None:
        for category in ("to_existing", "at_the_end"):
            lists = [
                ((some[0][0], number), some)
                for again, some in later.items()
                if again.category == category
            ]
            if category in offered.rows:
                rows = [row for row in offered.rows[category] if number in self._possible[row]]
                seen = list(self._columns[number].kinds(rows, run))
                lists.append((offered.first[category], seen))
            for _, some in sorted(lists, key=lambda one: one[0]):
                work.later_pass(some, self.files)

    def _drafts_of(self, work: RuleWork, run: Run) -> Iterator[Draft]:
        """Yield the associations of a rule as they are; the work on them is over."""
        rule, states = work.memory.rule.rule, work.memory.states
        made, work.made = work.made[::-1], []
        work.groups.clear()
        while made:
            yield self.facts.draft(rule, run, made.pop(), states)

    # ----------------------------------------------------------------- the end

    def completed(self, drafts: list[Draft]) -> list[Association]:
        """Finish, prune and number associations; return what they are.

        The list of drafts is empty afterwards.
        """
        options = self.options
        # Those that will be pruned keep these numbers, and all do where nothing is finished.
        discovers = options.ids is None and not options.all_candidates
        first = _number if discovers and not options.per_pool else _number_as_made
        if options.keep_duplicates or not options.finalize:
            first(drafts)
        if options.finalize:
            drafts = self._finished_and_pruned(drafts)
        if options.per_pool:
            if options.discover:
                drafts = [draft for draft in drafts if draft.run.name == "discover"]
            drafts.sort(key=lambda draft: draft.run.name != "discover")
            if discovers:  # those that were pruned have their names already
                _number([draft for draft in drafts if draft.duplicate is None])
        if not options.finalize and not options.merge:  # else what is put together decides
            drafts = [draft for draft in drafts if self.facts.is_valid(draft)]
        if options.ids is not None and options.operations:
            drafts = [d for d in drafts if any(name in d.candidate for name in options.ids)]
        drafts.reverse()
        found: list[Association] = []
        invalid: set[int] = set()  # positions
        while drafts:
            draft = drafts.pop()
            if options.merge and not self.facts.is_valid(draft):
                invalid.add(len(found))
            found.append(self.facts.association(draft))
        self.facts.book.forget()
        return _merged(found, invalid) if options.merge else found

    def _finished_and_pruned(self, drafts: list[Draft]) -> list[Draft]:
        """Finish, prune and number associations level by level; the list is empty afterwards."""
        levels: dict[int, list[Draft]] = {}
        for draft in reversed(drafts):
            levels.setdefault(draft.rule.level, []).append(draft)
        drafts.clear()  # each is let go as soon as it is finished
        done: list[Draft] = []
        dropped: list[Draft] = []
        for level in sorted(levels):
            waiting, some = levels.pop(level), []
            while waiting:
                some += finished(waiting.pop(), self.facts)
            some, removed = pruned(some, self.facts)
            _number(some)
            done += some
            if self.options.keep_duplicates:
                dropped += removed
        for count, draft in enumerate(dropped, 1):
            draft.duplicate = count
        return done + dropped


class _Offered:
    """Rows that rules want offered to the associations of all rules."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[int, None]] = {}  # by category
        self.first: dict[str, tuple[int, int]] = {}  # the first row, and the rule

    def take(self, number: int, later: Later) -> None:
        """Move out of the lists of a rule what is for all."""
        for again, some in list(later.items()):
            if again.to_all:
                del later[again]
                self.rows.setdefault(again.category, {}).update((row, None) for row, _ in some)
                at = (some[0][0], number)
                self.first[again.category] = min(self.first.get(again.category, at), at)


def _zeros(pool: Pool) -> array[int]:
    return array("i", bytes(4 * len(pool)))


def _number(drafts: list[Draft]) -> None:
    """Count the associations of each candidate and type."""
    counts: dict[tuple[str, str], int] = {}
    for draft in drafts:
        key = (draft.candidate, draft.rule.type)
        counts[key] = draft.sequence = counts.get(key, 0) + 1


def _number_as_made(drafts: list[Draft]) -> None:
    """Count associations as the field's generator does while it makes them.

    All of level 2 together, from 2; those of other levels by type, from 1. Candidates are not kept
    apart.
    """
    counts: dict[str, int] = {"": 1}
    for draft in drafts:
        key = "" if draft.rule.level == 2 else draft.rule.type
        counts[key] = draft.sequence = counts.get(key, 0) + 1


def _merged(associations: list[Association], invalid: Container[int]) -> list[Association]:
    """Make one association of those of level 2 that have candidate and type in common.

    The first decides what it is, and whether it holds; where nothing was finished, others that
    would not hold by themselves give it their products.
    """
    merged: dict[tuple[str, str], list[Association]] = {}
    holds: set[tuple[str, str]] = set()
    found = []
    for number, one in enumerate(associations):
        if one.level != 2:
            found += [one] * (number not in invalid)
            continue
        key = (one.type, one.candidate)
        if key not in merged and number not in invalid:
            holds.add(key)
        merged.setdefault(key, []).append(one)
    for key, same in merged.items():
        if key not in holds:
            continue
        products: dict[str, Product] = {}
        for product in (product for one in same for product in one.products):
            old = products.get(product.name)
            if old is None:
                products[product.name] = product
                continue
            names = {member.expname for member in old.members}
            new = [member for member in product.members if member.expname not in names]
            products[product.name] = Product(old.name, (*old.members, *new))
        found.append(replace(same[0], products=tuple(products.values())))
    return found
