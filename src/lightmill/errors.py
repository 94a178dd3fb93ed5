"""Errors that say where, what was found, what was expected and what to do.

Each kind of failure is one class with a ``code`` that never changes and an
exit status: 2 usage, 3 bad data, 4 no reference file, 5 bad configuration,
70 a bug of ours, 75 something that is away for now.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = [
    "ConfigurationError",
    "CorruptFileError",
    "DataError",
    "HookError",
    "IncompleteReferencesError",
    "LightmillError",
    "NothingSelectedError",
    "OutputError",
    "ShapeError",
    "UnknownNameError",
    "UsageError",
    "ValidationError",
    "suggestion",
]


class LightmillError(Exception):
    """A failure a person can act on.

    Parameters
    ----------
    fact : str
        What is wrong, in one clause.
    place : str, optional
        Where: file, extension and keyword, or step and parameter.
    found, expected : object, optional
        The value met, and what would have been right.
    remedy : str, optional
        What to do now.
    """

    code = "bug"
    exit_status = 70
    record: dict[str, Any] | None = None  # of the run that ended so, as far as it came

    def __init__(
        self,
        fact: str,
        *,
        place: object = None,
        found: object = None,
        expected: object = None,
        remedy: str | None = None,
    ) -> None:
        self.fact = fact
        self.place = None if place is None else str(place)
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(self.story())

    def __reduce__(self) -> tuple[object, ...]:
        """Travel from one process to another, whatever the kind's own arguments are."""
        return _again, (type(self), self.__dict__)

    def story(self) -> str:
        """Return the message as a person reads it, at most one screen."""
        lines = [self._headline()]
        if self.found is not None:
            lines.append(f"    found:    {_shortened(self.found)}")
        if self.expected is not None:
            lines.append(f"    expected: {_shortened(self.expected)}")
        if self.remedy:
            lines.append(f"    try:      {_shortened(self.remedy, 1000)}")
        return "\n".join(lines)

    def _headline(self) -> str:
        """Return where and what: damaged files can have names of a megabyte in both."""
        fact = _shortened(self.fact, 1000)
        return f"{_shortened(self.place, 1000)}: {fact}" if self.place else fact

    def as_dict(self) -> dict[str, object]:
        """Return the same facts for machines."""
        return {
            "code": self.code,
            "exit_status": self.exit_status,
            "place": self.place,
            "fact": self.fact,
            "found": None if self.found is None else str(self.found),
            "expected": None if self.expected is None else str(self.expected),
            "remedy": self.remedy,
        }


class UsageError(LightmillError):
    """The command line cannot be understood."""

    code = "usage"
    exit_status = 2


class DataError(LightmillError):
    """The data given cannot be calibrated as they are."""

    code = "data"
    exit_status = 3


class CorruptFileError(DataError):
    """A file is truncated, unreadable, or not of the format its name says."""

    code = "corrupt-file"


class ValidationError(DataError):
    """A value or an array breaks its schema."""

    code = "validation"


class ShapeError(DataError):
    """Arrays that belong together differ in shape."""

    code = "shape"


class NothingSelectedError(LightmillError):
    """No reference file answers the question asked."""

    code = "nothing-selected"
    exit_status = 4


class IncompleteReferencesError(NothingSelectedError):
    """Reference files that a run needs and nothing gives, all of them together.

    Parameters
    ----------
    missing : iterable of (str, list of str, LightmillError)
        Type, the steps that need it, and why there is none.
    place : str, optional
        The data.
    remedy : str, optional
        What to do now.
    """

    code = "incomplete-references"

    def __init__(
        self,
        missing: Iterable[tuple[str, list[str], LightmillError]],
        *,
        place: object = None,
        remedy: str | None = None,
    ) -> None:
        self.missing: list[dict[str, Any]] = [
            {"type": kind, "steps": list(steps), **_reason(error)} for kind, steps, error in missing
        ]
        many = len(self.missing) > 1
        super().__init__(
            f"{len(self.missing)} references are missing" if many else "a reference is missing",
            place=place,
            found="; ".join(f"{one['type']}: {one['reason']}" for one in self.missing),
            remedy=remedy,
        )

    def story(self) -> str:
        """Return the message as a person reads it: a line for each type, and each reason once."""
        lines = [self._headline()]
        width = max((len(one["type"]) for one in self.missing), default=0)
        last: tuple[str, str | None] | None = None
        for one in self.missing:
            why = one["reason"], one["remedy"]
            if last is not None and why != last:
                lines += _reason_lines(*last)
            last = why
            lines.append(f"    {one['type']:<{width}}  for {', '.join(one['steps'])}")
        if last is not None:
            lines += _reason_lines(*last)
        if self.remedy:
            lines.append(f"    try:  {self.remedy}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """Return the same facts for machines, each missing type by itself."""
        return {**super().as_dict(), "missing": self.missing}


class ConfigurationError(LightmillError):
    """A parameter, parameter file, hook or output place is wrong."""

    code = "configuration"
    exit_status = 5


class UnknownNameError(ConfigurationError):
    """A name of a step, parameter, pipeline or model that does not exist."""

    code = "unknown-name"

    def __init__(self, kind: str, name: str, known: Iterable[str], *, place: object = None) -> None:
        known = sorted(known)
        super().__init__(
            f"no {kind} is called {name!r}",
            place=place,
            found=name,
            expected=(", ".join(known) or None)
            if len(known) <= 20
            else f"one of {len(known)} names",
            remedy=suggestion(name, known),
        )


class HookError(ConfigurationError):
    """A hook could not be found, or failed."""

    code = "hook"


class OutputError(ConfigurationError):
    """A product cannot be written where it should go."""

    code = "output"


def suggestion(name: str, known: Iterable[str]) -> str | None:
    """Return ``did you mean 'x'?`` for the known name nearest to `name`, or None."""
    import difflib  # only a mistake needs it

    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else None


def _reason_lines(reason: str, remedy: str | None) -> list[str]:
    """Return why the types of the lines above are missing, and what to do."""
    return [f"        {reason}", *([f"        try: {_shortened(remedy, 1000)}"] if remedy else [])]


def _reason(error: LightmillError) -> dict[str, str | None]:
    """Return why, in one line, and what to do."""
    reason = _shortened(error.fact, 1000)
    if error.place:
        reason += f" ({_shortened(error.place, 1000)})"
    if error.found is not None:
        reason += f"; found {_shortened(error.found, 200)}"
    return {"reason": reason, "remedy": error.remedy}


def _again(kind: type[LightmillError], facts: dict[str, object]) -> LightmillError:
    error = kind.__new__(kind)
    error.__dict__.update(facts)
    error.args = (error.story(),)
    return error


def _shortened(value: object, limit: int = 500) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
