"""How an exposure got its reference: the rows tried, why each lost, how near it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lightmill.errors import LightmillError
from lightmill.reference.rules.matching import Match, MatchRow
from lightmill.reference.rules.selectors import ClosestTime, Selector, UseAfter, VersionAfter
from lightmill.reference.rules.values import UNDEFINED

if TYPE_CHECKING:
    from lightmill.reference.rules.mapping import TypeRules

__all__ = ["Explanation", "Mismatch", "TriedRow", "explained"]


@dataclass(frozen=True)
class Mismatch:
    """Why a row lost: one field whose value its pattern does not fit.

    Parameters
    ----------
    field, value, pattern : str
        The header field, what it says, what the row asks for.
    """

    field: str
    value: str
    pattern: str

    def __str__(self) -> str:
        return f"{self.field} is {self.value}, the row asks for {self.pattern}"


@dataclass(frozen=True)
class TriedRow:
    """One row of a Match, and how it did.

    Parameters
    ----------
    line : int
        Where it stands.
    key : tuple of str
        Its patterns.
    weight : int or None
        How many of them count; None where the row does not fit.
    mismatches : tuple of Mismatch
        Why it does not fit.
    matched : int
        How many of its patterns fit and count, whether the row fits or not.
    outcome : str
        ``chosen``, ``does not fit``, ``less specific``, or why what it leads to failed.
    """

    line: int
    key: tuple[str, ...]
    weight: int | None
    mismatches: tuple[Mismatch, ...] = ()
    matched: int = 0
    outcome: str = ""


@dataclass
class Explanation:
    """How an exposure got its answer from the rules of one type.

    Parameters
    ----------
    mapping : str
        The file of rules.
    reftype : str
        The type of reference.
    header : dict
        The fields asked for, as compared.
    answer : object
        The answer; None where there is none.
    error : dict or None
        Why there is none.
    reason : str
        How it came about, in one sentence.
    tried : list of TriedRow
        The rows of the outermost table, best first.
    row : str or None
        The winning row, with its line.
    line : int or None
        The line of the answer.
    use_after : str or None
        The date from which the answer is used.
    age_days : float or None
        How much older than the exposure that date is [d].
    weight : int or None
        Weight of the winning row.
    closest : TriedRow or None
        Where nothing fits, the row that came closest.
    """

    mapping: str
    reftype: str
    header: dict[str, str]
    answer: Any = None
    error: dict[str, Any] | None = None
    reason: str = ""
    tried: list[TriedRow] = field(default_factory=list)
    row: str | None = None
    line: int | None = None
    use_after: str | None = None
    age_days: float | None = None
    weight: int | None = None
    closest: TriedRow | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the same for machines."""
        return asdict(self)

    def text(self, most: int = 12) -> str:
        """Return the story as a person reads it.

        Parameters
        ----------
        most : int
            How many rows that do not fit are shown.
        """
        return "\n".join(self._lines(most))

    def __str__(self) -> str:
        return self.text()

    def _lines(self, most: int) -> Iterator[str]:
        answer = self.answer if self.error is None else f"none: {self.error['message']}"
        yield f"{self.reftype}: {answer}"
        yield f"  rules:   {self.mapping}"
        yield "  header:  " + ", ".join(f"{key}={value}" for key, value in self.header.items())
        yield f"  because: {self.reason}"
        if self.row:
            yield f"  row:     {self.row}"
        if self.use_after:
            age = "" if self.age_days is None else f", {_age(self.age_days)}"
            yield f"  date:    used from {self.use_after}{age}"
        if self.closest is not None:
            yield f"  closest: line {self.closest.line} {_key(self.closest.key)}"
            for mismatch in self.closest.mismatches:
                yield f"           {mismatch}"
        fitting = [row for row in self.tried if row.weight is not None]
        others = [row for row in self.tried if row.weight is None]
        if fitting:
            yield f"  rows that fit ({len(fitting)}):"
            for row in fitting:
                yield f"    line {row.line:<5} weight {row.weight}  {_key(row.key)}  {row.outcome}"
        if others:
            yield f"  rows that do not fit ({len(others)}):"
            for row in others[:most]:
                lost = "; ".join(f"{m.field}={m.value} is not {m.pattern}" for m in row.mismatches)
                yield f"    line {row.line:<5} {_key(row.key)}  {lost}"
            if len(others) > most:
                yield f"    … and {len(others) - most} more"


def explained(rules: TypeRules, header: dict[str, str]) -> Explanation:
    """Return how a header of conditioned values gets its answer."""
    shown = {key: header[key] for key in rules.required_keys if key in header}
    found = Explanation(rules.name, rules.filekind, shown)
    try:
        found.answer = rules.choose(dict(header))
    except LightmillError as error:
        kind = getattr(error, "kind", error.code)
        found.error = {"kind": kind, "message": error.fact, "story": error.story()}
    try:
        prepared = rules.prepared(header)
    except LightmillError as error:
        found.reason = error.fact
        return found
    if isinstance(prepared, str):
        expression = "rmap_omit" if prepared == "OMIT" else "rmap_relevance"
        found.reason = f"{expression} of the rules says so: {rules.header.get(expression)}"
        return found
    replaced = [key for key in shown if prepared.get(key) != header.get(key)]
    found.header = {key: prepared.get(key, UNDEFINED) for key in rules.required_keys}
    _follow(found, rules.selector, prepared)
    if found.error is None and found.line is None and not found.reason:
        found.reason = "no row fits, and the rules do not require a reference"
    if found.error is not None and not found.reason:
        found.reason = found.error["message"]
    if replaced:
        found.reason += f" ({', '.join(replaced)} do not count for these data)"
    return found


def _follow(found: Explanation, selector: Selector, header: dict[str, str]) -> bool:
    """Tell how a selector picks; return whether it leads to an answer."""
    if isinstance(selector, Match):
        return _follow_match(found, selector, header)
    if isinstance(selector, UseAfter):
        return _follow_dates(found, selector, header)
    try:
        selector.choose(header)
    except LightmillError as error:
        found.reason = error.fact
        return False
    keys = ", ".join(key[0] for key, _, _ in selector.rows())
    fields = ", ".join(f"{name}={header.get(name)}" for name in selector.fields)
    found.reason = f"{selector.kind} of {fields} among {keys}"
    found.line = next((line for _, _, line in selector.rows()), None)
    return True


def _follow_dates(found: Explanation, selector: UseAfter, header: dict[str, str]) -> bool:
    try:
        moment = selector.moment(header)
    except LightmillError as error:
        found.reason = error.story()
        return False
    keys = selector.keys
    if isinstance(selector, ClosestTime):
        found.reason = f"nearest to {moment} among {', '.join(keys)}"
        return bool(keys)
    position = sum(1 for key in keys if key <= moment) - 1
    if position < 0:
        earliest = keys[0] if keys else "none"
        found.reason = f"the data are of {moment}; the first reference is used from {earliest} on"
        return False
    found.line = selector.lines[position]
    if isinstance(selector, VersionAfter):
        found.reason = f"version {_dotted(keys[position])} is the last not after {_dotted(moment)}"
    else:
        found.use_after, found.age_days = keys[position], _days(keys[position], moment)
        found.reason = f"of the dates not after {moment}, {keys[position]} is the last"
    choice = selector.choices[position]
    return _follow(found, choice, header) if isinstance(choice, Selector) else True


def _follow_match(found: Explanation, selector: Match, header: dict[str, str]) -> bool:
    table = selector.table
    judged = [_judged(row, selector.fields, header) for row in table]
    try:
        groups = selector.groups(header)
    except LightmillError as error:
        found.reason = error.story()
        _remember(found, judged)
        return False
    outcome: dict[int, str] = {}
    done = False
    for group in groups:
        if done:
            outcome.update(dict.fromkeys(group.rows, "fits, but less of it counts"))
            continue
        lines = [table[number].line for number in group.rows]
        if isinstance(group.choice, Selector):
            done = _follow(found, group.choice, header)
            why = "chosen" if done else f"fits, but {found.reason}"
        elif isinstance(group.choice, LightmillError):
            found.reason, why, done = group.choice.fact, "ambiguous", True
        else:
            found.line, found.reason, why, done = lines[0], "the row gives it", "chosen", True
        if done and why == "chosen":
            found.weight = group.weight
            keys = "; ".join(_key(table[number].key) for number in group.rows)
            joined = " joined" if len(lines) > 1 else ""
            places = ", ".join(map(str, lines))
            found.row = f"line {places}{joined}: {keys}, weight {group.weight}"
        outcome.update(dict.fromkeys(group.rows, why))
    rows = [
        replace(one, outcome=outcome.get(number, "does not fit"))
        for number, one in enumerate(judged)
    ]
    _remember(found, rows)
    if not done and not groups:
        found.reason = "no row fits"
    return done


def _remember(found: Explanation, rows: list[TriedRow]) -> None:
    ordered = sorted(rows, key=lambda row: (len(row.mismatches), -row.matched, row.line))
    if not found.tried:
        found.tried = ordered
    if ordered and all(row.weight is None for row in rows):
        found.closest = ordered[0]


def _judged(row: MatchRow, fields: tuple[str, ...], header: dict[str, str]) -> TriedRow:
    weight, mismatches = 0, []
    for name, pattern, element in zip(fields, row.key, row.elements, strict=True):
        value = header.get(name, UNDEFINED)
        counts = element.match(value)
        if counts < 0:
            mismatches.append(Mismatch(name, value, pattern))
        weight += max(counts, 0)
    return TriedRow(row.line, row.key, None if mismatches else weight, tuple(mismatches), weight)


def _days(key: str, moment: str) -> float | None:
    try:
        return (
            datetime.fromisoformat(moment) - datetime.fromisoformat(key)
        ).total_seconds() / 86400
    except ValueError:
        return None


def _age(days: float) -> str:
    if days >= 365.25:
        return f"{days / 365.25:.1f} years before the exposure"
    return f"{days:.1f} days before the exposure"


def _dotted(version: Any) -> str:
    return ".".join(map(str, version))


def _key(key: tuple[str, ...]) -> str:
    return "(" + ", ".join(key) + ")"
