"""What the rules answer for one type of reference, and what may be wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightmill.errors import LightmillError, NothingSelectedError

if TYPE_CHECKING:
    from lightmill.reference.rules import Explanation

__all__ = ["BadReferenceError", "MissingReferenceError", "Selected", "raise_together"]

_NOTHING = {"N/A", "OMIT"}


class MissingReferenceError(NothingSelectedError):
    """A reference was selected, and is neither in the cache nor to be had."""

    code = "missing-reference"
    kind = "missing"


class BadReferenceError(NothingSelectedError):
    """What was selected is known to be wrong."""

    code = "bad-reference"
    kind = "bad"


@dataclass(frozen=True)
class Selected:
    """The answer of the rules for one type of reference.

    Parameters
    ----------
    reftype : str
        Type, ``dark``.
    name : str
        File name; ``N/A`` where the data need none, ``OMIT`` where the type does not count.
    path : Path or None
        The file, verified; None where there is none to be had or needed.
    sha1 : str or None
        SHA-1 the file was verified against; None where nobody told one.
    context : str
        Name of the context.
    """

    reftype: str
    name: str
    path: Path | None
    sha1: str | None
    context: str
    _source: tuple[Any, Mapping[str, Any]] | None = field(default=None, repr=False, compare=False)

    @property
    def is_file(self) -> bool:
        """Whether the answer is a file, and not that none is needed."""
        return self.name not in _NOTHING

    @property
    def explanation(self) -> Explanation | None:
        """How the rules came to this answer; None for one that was made by hand."""
        if self._source is None:
            return None
        context, header = self._source
        found: Explanation = context.explain(header, self.reftype)
        return found

    @property
    def row(self) -> str:
        """The row of the rules that was taken, as text; empty where it is not known."""
        row = getattr(self.explanation, "row", None)
        return "" if row is None else str(row)


def raise_together(answers: Mapping[str, Any], place: object = None) -> None:
    """Raise one error that tells all that went wrong, if anything did.

    Parameters
    ----------
    answers : mapping
        Type → answer, as `Library.select` returns them.
    place : object, optional
        The data they were selected for.

    Raises
    ------
    LightmillError
        The only error, as it is, or one that lists all.
    """
    errors = {kind: one for kind, one in answers.items() if isinstance(one, LightmillError)}
    if not errors:
        return
    if len(errors) == 1:
        raise next(iter(errors.values()))
    lines = [f"{kind}: {error.fact} ({error.place})" for kind, error in errors.items()]
    remedies = list(dict.fromkeys(e.remedy for e in errors.values() if e.remedy))
    raise MissingReferenceError(
        f"{len(errors)} of {len(answers)} references cannot be had",
        place=place,
        found="\n              ".join(lines),
        remedy="; ".join(remedies[:2]) or None,
    )
