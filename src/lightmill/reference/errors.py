"""What can go wrong when rules are read, and when they are asked.

Every kind has a short name, `kind`, which never changes: it is what machines
are told, and what answers of different tools are compared by. `known_as` is the
name the CRDS client gives the same failure, for those who look for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from lightmill.errors import (
    ConfigurationError,
    CorruptFileError,
    DataError,
    LightmillError,
    NothingSelectedError,
    UnknownNameError,
)

__all__ = [
    "AmbiguousRulesError",
    "DateFormatError",
    "HeaderValueError",
    "NoMatchError",
    "RulesChecksumError",
    "RulesFormatError",
    "RulesKeyError",
    "RulesMissingError",
    "UnknownInstrumentError",
]


class _ToldWhenAsked:
    """An error whose story is written only when somebody reads it: most are passed over."""

    def __init__(
        self,
        fact: str,
        *,
        place: object = None,
        found: object = None,
        expected: object = None,
        remedy: str | None = None,
    ) -> None:
        self.fact, self.found, self.expected, self.remedy = fact, found, expected, remedy
        self.place = None if place is None else str(place)

    def __str__(self) -> str:
        return self.story()

    def story(self) -> str:
        """Return the message as a person reads it."""
        return LightmillError.story(self)  # type: ignore[arg-type]  # it is mixed into its kinds


class NoMatchError(_ToldWhenAsked, NothingSelectedError):
    """No row of the rules fits the data."""

    code = "no-matching-reference"
    kind = "lookup"
    known_as = "MatchingError"


class HeaderValueError(_ToldWhenAsked, NothingSelectedError):
    """A header value is not among those the rules know."""

    code = "header-value-unknown-to-rules"
    kind = "validation"
    known_as = "ValidationError"


class DateFormatError(_ToldWhenAsked, DataError):
    """A date is written in no known way, or does not exist."""

    code = "date-format"
    kind = "validation"
    known_as = "ValidationError"


class AmbiguousRulesError(ConfigurationError):
    """Several rows fit equally well, and their answers cannot be joined."""

    code = "ambiguous-rules"
    kind = "ambiguous"
    known_as = "AmbiguousMatchError"


class RulesFormatError(ConfigurationError):
    """A file of rules is not written as such files are.

    Parameters
    ----------
    line, column : int, optional
        Where it stops making sense, counted from 1.
    """

    code = "rules-format"
    kind = "format"
    known_as = "MappingFormatError"

    def __init__(
        self,
        fact: str,
        *,
        place: object = None,
        found: object = None,
        expected: object = None,
        remedy: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        self.line, self.column = line, column
        if line is not None:
            place = f"{place or 'rules'}:{line}"
        if column is not None:
            fact = f"{fact} (column {column})"
        super().__init__(fact, place=place, found=found, expected=expected, remedy=remedy)


class RulesKeyError(RulesFormatError):
    """A key of a row cannot be what its selector needs."""

    code = "rules-key"
    kind = "validation"
    known_as = "ValidationError"


class RulesChecksumError(CorruptFileError):
    """A file of rules is not what was released under its name."""

    code = "rules-checksum"
    kind = "checksum"
    known_as = "ChecksumError"


class RulesMissingError(ConfigurationError):
    """A file of rules is not there, or cannot be read."""

    code = "rules-missing"
    kind = "missing"
    known_as = "CrdsLookupError"


class UnknownInstrumentError(UnknownNameError):
    """The rules know no such instrument or type of reference, or the data name none.

    Parameters
    ----------
    kind : str
        ``instrument`` or ``type of reference``.
    name : str
        The name met.
    known : iterable of str
        The names there are.
    """

    code = "unknown-instrument"
    kind = "instrument"
    known_as = "CrdsUnknownInstrumentError"

    def __init__(self, kind: str, name: str, known: Iterable[str], *, place: object = None) -> None:
        super().__init__(kind, name, known, place=place)
