"""Which data would get other references under other rules, and why: the input of reprocessing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightmill.errors import LightmillError

if TYPE_CHECKING:
    from lightmill.reference.rules.mapping import Context

_LINE = re.compile(r"^line \d+: ")

__all__ = ["Affected", "affected", "changed_types"]


@dataclass(frozen=True)
class Affected:
    """A reference that changes for some data.

    Parameters
    ----------
    data : str
        The file, or its name.
    instrument, reftype : str
        In lower case.
    old, new : str
        Name of the reference before and after; ``N/A``, ``OMIT``, or ``error: …``.
    old_row, new_row : str
        The row of the rules that was taken; empty where there was none.
    """

    data: str
    instrument: str
    reftype: str
    old: str
    new: str
    old_row: str = ""
    new_row: str = ""

    @property
    def why(self) -> str:
        """The reason in words."""
        if self.old.startswith("error: "):
            return f"now a row fits: {self.new_row}" if self.new_row else "no error any more"
        if self.new.startswith("error: "):
            return f"no row fits any more: {self.new.removeprefix('error: ')}"
        if self.old_row == self.new_row:
            return f"the row has another file: {self.new_row}" if self.new_row else "another answer"
        return f"another row: {self.old_row or 'none'} → {self.new_row or 'none'}"

    def as_dict(self) -> dict[str, str]:
        """Return the same for machines."""
        return {
            "data": self.data,
            "instrument": self.instrument,
            "type": self.reftype,
            "old": self.old,
            "new": self.new,
            "old_row": self.old_row,
            "new_row": self.new_row,
            "why": self.why,
        }


def changed_types(old: Context, new: Context, instrument: str) -> list[str]:
    """Return the types of reference whose rules differ; those of the others need not be asked.

    Parameters
    ----------
    old, new : Context
        Rules before and after.
    instrument : str
        Of the data.
    """
    before, after = (_types(one, instrument) for one in (old, new))
    return sorted(
        kind for kind in before.keys() | after.keys() if before.get(kind) != after.get(kind)
    )


def affected(
    old: Context,
    new: Context,
    headers: Mapping[str, Mapping[str, Any]],
    *,
    instrument_of: Mapping[str, str],
    types: Iterable[str] | None = None,
) -> list[Affected]:
    """Return what changes for data from some rules to others.

    Parameters
    ----------
    old, new : Context
        Rules before and after.
    headers : mapping
        Name of the data → header, with the keys both rules ask for.
    instrument_of : mapping
        Name of the data → instrument, in lower case.
    types : iterable of str, optional
        Types to look at; by default all.

    Returns
    -------
    found : list of Affected
        Real changes only, in the order of the data; the same error before and after is none.
    """
    wanted = None if types is None else {one.lower() for one in types}
    found: list[Affected] = []
    groups: dict[str, list[str]] = {}
    for name in headers:
        groups.setdefault(instrument_of[name].lower(), []).append(name)
    for instrument, names in groups.items():
        kinds = [
            kind for kind in changed_types(old, new, instrument) if wanted is None or kind in wanted
        ]
        asked = [headers[name] for name in names]
        before, after = (_answers(one, instrument, asked, kinds) for one in (old, new))
        for kind in kinds:
            for name, was, now in zip(names, before[kind], after[kind], strict=True):
                if was != now:
                    header = headers[name]
                    rows = [_row(one, header, kind) for one in (old, new)]
                    found.append(Affected(name, instrument, kind, was, now, *rows))
    order = {name: place for place, name in enumerate(headers)}
    return sorted(found, key=lambda one: (order[one.data], one.reftype))


def _types(context: Context, instrument: str) -> dict[str, str]:
    names = {name.lower(): name for name in context.instruments}
    if instrument not in names:
        return {}
    rules = context.rules(names[instrument])
    return {kind.lower(): str(name) for kind, name in rules.types.items()}


def _answers(
    context: Context, instrument: str, headers: Sequence[Mapping[str, Any]], kinds: Sequence[str]
) -> dict[str, list[str]]:
    """Return for each type one answer a header; for a type without rules, that it is left out."""
    known = [kind for kind in kinds if kind in _types(context, instrument)]
    answers = context.select_many(headers, known) if known else {}
    return {
        kind: [_text(one) for one in answers[kind]] if kind in answers else ["OMIT"] * len(headers)
        for kind in kinds
    }


def _text(answer: Any) -> str:
    if isinstance(answer, LightmillError):
        return f"error: {answer.fact}"
    if isinstance(answer, (tuple, list)):
        return ", ".join(map(str, answer))
    return str(answer)


def _row(context: Context, header: Mapping[str, Any], kind: str) -> str:
    """Return the row that was taken: its key and date, wherever it stands in the text."""
    try:
        found = context.explain(header, kind)
    except LightmillError:
        return ""
    row = _LINE.sub("", found.row or "")
    return f"{row}, from {found.use_after}" if found.use_after else row
