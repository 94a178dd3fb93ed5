"""Why an exposure is, or is not, in the associations of every rule."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lightmill.association.engine.drafts import Draft, Facts, Run
from lightmill.association.engine.finish import finished, too_few
from lightmill.association.engine.options import Options
from lightmill.association.engine.prune import pruned
from lightmill.association.engine.run import Engine
from lightmill.association.engine.state import Work
from lightmill.association.engine.trees import CompiledRule
from lightmill.association.language.rules import Attribute, Group, Node, RuleSet, Test
from lightmill.association.pool_table import Pool
from lightmill.errors import UnknownNameError

__all__ = ["Explanation", "Verdict", "explain"]


@dataclass(frozen=True)
class Verdict:
    """What one rule made of the exposure in one run."""

    run: str  # candidate or discover
    candidate: str
    candidate_type: str
    rule: str
    state: str  # in, pruned, invalid, out
    role: str | None
    product: str | None
    reason: str

    def line(self) -> str:
        """Return it as a person reads it."""
        what = {"in": "in", "pruned": "was in", "invalid": "was in", "out": "out"}[self.state]
        role = f" as {self.role}" if self.role else ""
        product = f" of {self.product}" if self.product else ""
        return f"{self.rule}: {what}{role}{product}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class Explanation:
    """What all rules made of one exposure."""

    exposure: str
    verdicts: tuple[Verdict, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)

    def text(self) -> str:
        """Return it as a person reads it."""
        lines = [self.exposure]
        before = None
        for one in self.verdicts:
            head = (
                "discovered"
                if one.run == "discover"
                else f"candidate {one.candidate} ({one.candidate_type})"
            )
            if head != before:
                lines.append(f"  {head}")
                before = head
            lines.append(f"    {one.line()}")
        return "\n".join(lines)


def explain(
    pool: Pool, rules: RuleSet, exposure: str, options: Options | None = None
) -> list[Explanation]:
    """Return why an exposure is in or out of the associations of every rule, in which role.

    Parameters
    ----------
    pool : Pool
        Folded.
    rules : RuleSet
        Of the observatory.
    exposure : str
        File name, or the start of one.
    options : Options, optional
        As of the run to be explained.

    Returns
    -------
    explanations : list of Explanation
        One for each row whose file name starts so.

    Raises
    ------
    UnknownNameError
        If no row does.
    """
    engine = Engine(pool, rules, options or Options())
    names = pool.column(rules.shared["columns"]["file"])
    wanted = exposure.strip().lower()
    rows = [row for row, name in enumerate(names) if name.lower() == wanted] or [
        row for row, name in enumerate(names) if name.lower().startswith(wanted)
    ]
    if not rows:
        raise UnknownNameError("exposure of the pool", exposure, names, place=pool.name)
    fates = _fates(engine)
    return [Explanation(names[row], tuple(_verdicts(engine, fates, row))) for row in rows]


@dataclass
class _Fate:
    """What became of an association that had got its members."""

    draft: Draft
    kept: list[Draft]
    reason: str


def _fates(engine: Engine) -> list[_Fate]:
    facts = engine.facts
    fates: list[_Fate] = []
    level_of: dict[int, list[tuple[Draft, _Fate]]] = {}
    for draft in engine.drafts():
        before = draft.copied(draft.name, draft.members)
        ends = finished(draft, facts) if engine.options.finalize else [draft]
        reason = "" if ends else _invalid(before, facts)
        fate = _Fate(before, [], reason)
        fates.append(fate)
        level_of.setdefault(draft.rule.level, []).extend((end, fate) for end in ends)
    for pairs in level_of.values():
        kept, _ = pruned([end for end, _ in pairs], facts)
        staying = set(map(id, kept))
        for end, fate in pairs:
            if id(end) in staying:
                fate.kept.append(end)
            else:
                fate.reason = _superseded(end, kept, facts)
    return fates


def _invalid(draft: Draft, facts: Facts) -> str:
    if too_few(draft, facts):
        return f"a {draft.run.candidate[1]} candidate demands several observations"
    for claim in draft.rule.valid:
        if not facts.is_valid(_only(draft, claim)):
            return f"the association does not hold, its rule demands {_told(claim)}"
    return "no member is left that its rule demands"


def _only(draft: Draft, claim: Any) -> Draft:
    from dataclasses import replace

    return replace(draft, rule=replace(draft.rule, valid=(claim,)))


def _told(claim: Any) -> str:
    if "has" in claim:
        return f"a {claim['has']} member"
    if "at_least" in claim:
        return f"{claim['at_least']} members"
    if "candidate_not" in claim:
        return f"no candidate of type {' or '.join(claim['candidate_not'])}"
    return f"a candidate of type {' or '.join(claim['candidate'])}"


def _superseded(draft: Draft, kept: list[Draft], facts: Facts) -> str:
    book = facts.book

    def membership(one: Draft) -> set[tuple[str, str]]:
        return {(book.file(number), book.role(number)) for number in one.members}

    members = membership(draft)
    for one in kept:
        if membership(one) == members:
            return f"{one.rule.name} of {one.candidate} has the same members"
    for one in kept:
        if one.name == draft.name:
            return f"{one.rule.name} of {one.candidate} makes this product of more members"
    return "another association takes its place"


def _verdicts(engine: Engine, fates: list[_Fate], row: int) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for run in engine.runs():
        if run.name == "candidate" and row not in engine.rows_of_run(run):
            continue
        for memory in engine.memories:
            rule = memory.rule
            mine = [
                fate
                for fate in fates
                if fate.draft.rule is rule.rule
                and fate.draft.run.name == run.name
                and fate.draft.run.candidate == run.candidate
                and _roles_of(row, fate.draft, engine.facts)
            ]
            if mine:
                verdicts += [_inside(run, fate, row, engine.facts) for fate in mine]
            elif engine.hopeless(rule.rule, run.candidate[1].lower()):
                reason = f"makes nothing of candidates of type {run.candidate[1]}"
                verdicts.append(_outside(run, rule, reason))
            else:
                verdicts.append(_outside(run, rule, _why_not(rule, engine.cells(row, rule, run))))
    return verdicts


def _outside(run: Run, rule: CompiledRule, reason: str) -> Verdict:
    return Verdict(run.name, *run.candidate, rule.rule.name, "out", None, None, reason)


def _roles_of(row: int, draft: Draft, facts: Facts) -> list[str]:
    return [facts.book.role(one) for one in draft.members if facts.book.row(one) == row]


def _inside(run: Run, fate: _Fate, row: int, facts: Facts) -> Verdict:
    draft = fate.draft
    role = _roles_of(row, draft, facts)[0]
    founded = "founded it" if draft.born == row else "joined it"
    own = [end for end in fate.kept if _roles_of(row, end, facts)]
    if own:
        roles = sorted({role for end in own for role in _roles_of(row, end, facts)})
        name = own[0].name if len(own) == 1 else f"{len(own)} products"
        return Verdict(
            run.name, *run.candidate, draft.rule.name, "in", " and ".join(roles), name, founded
        )
    if fate.kept:
        reason, state = "left out when the association was finished", "invalid"
    else:
        reason, state = fate.reason, "pruned" if "demands" not in fate.reason else "invalid"
    return Verdict(run.name, *run.candidate, draft.rule.name, state, role, draft.name, reason)


def _why_not(rule: CompiledRule, row: dict[str, str | None]) -> str:
    """Return the claim that keeps a row from founding an association."""
    work = Work(rule.empty, row)
    reason = _refusal(rule, rule.rule.accept, work)
    return reason or "no association was there to join"


def _refusal(rule: CompiledRule, node: Node, work: Work) -> str:
    """Return why a node refuses a row, or nothing if it does not."""
    if not isinstance(node, Group):
        matched, _ = rule.compiled(node)(work)
        return "" if matched else _claim(rule, node, work)
    if node.word == "all":
        for child in node.children:
            reason = _refusal(rule, child, work)
            if reason:
                return reason
        return ""
    reasons: list[str] = []
    for child in node.children:
        reason = _refusal(rule, child, work)
        if node.word == "any" and not reason:
            return ""
        if node.word == "none" and not reason:
            return f"{_said(child, work)}, which the rule excludes"
        reasons.append(reason)
    if node.word == "any":
        return " and ".join(dict.fromkeys(reasons))
    if node.word == "not_all" and not any(reasons):
        return " and ".join(_said(child, work) for child in node.children) + ", excluded together"
    return ""


def _said(node: Node, work: Work) -> str:
    if isinstance(node, Group):
        return " and ".join(_said(child, work) for child in node.children)
    if isinstance(node, Attribute):
        return _cells(node, work)
    return f"{node.word} {node.value}"


def _cells(node: Attribute, work: Work) -> str:
    for column in node.columns:
        value = work.row.get(column)
        if value is not None:
            return f"{column} is {value!r}"
    return f"{' and '.join(node.columns)} not set"


def _claim(rule: CompiledRule, node: Attribute | Test, work: Work) -> str:
    if isinstance(node, Attribute):
        said = _cells(node, work)
        if node.word == "unset":
            return f"{said}, which must not be set"
        if node.like is not None:
            return f"{said}, not {' or '.join(node.like)}"
        if node.one_of is not None:
            return f"{said}, and no member has that {node.one_of}"
        return said
    if node.word in ("role", "role_not", "observatory_role"):
        role = rule.general(work.row) if node.word == "observatory_role" else rule.roles.of(work)
        negated = "" if node.word == "role_not" else "not "
        return f"its role is {role}, {negated}{node.value}"
    if node.word in ("where", "where_not"):
        name = node.value if isinstance(node.value, str) else "a condition"
        return f"{name} is {'not ' if node.word == 'where' else ''}true of it"
    if node.word == "offer_to_all":
        return "it is only offered to associations of other rules"
    return f"{node.word} {node.value}"
