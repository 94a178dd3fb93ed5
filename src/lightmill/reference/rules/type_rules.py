"""The rules that choose references of one type for one instrument."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from lightmill.errors import LightmillError
from lightmill.reference.errors import (
    AmbiguousRulesError,
    DateFormatError,
    HeaderValueError,
    NoMatchError,
    RulesFormatError,
)
from lightmill.reference.rules.asked import Header, conditioned
from lightmill.reference.rules.expressions import Expression, UnknownFieldError, compile_expression
from lightmill.reference.rules.hooks import Hooks, hooks_of
from lightmill.reference.rules.matching import MatchOptions
from lightmill.reference.rules.reading import compile_selector
from lightmill.reference.rules.selectors import Selector, UseAfter
from lightmill.reference.rules.values import NOT_APPLICABLE

if TYPE_CHECKING:
    from lightmill.reference.rules.explanation import Explanation

__all__ = ["OMIT", "SPECIAL", "Answer", "Row", "RulesFile", "TypeRules", "names_in"]

Answer = Any  # a file name, "N/A", "OMIT", a tuple of files, or a dict of them
OMIT = "OMIT"
SPECIAL: dict[Any, str] = {  # spellings, and what they mean
    "N/A": NOT_APPLICABLE, "n/a": NOT_APPLICABLE, "TEMP_N/A": NOT_APPLICABLE,
    "OMIT": OMIT, "omit": OMIT, "TEMP_OMIT": OMIT, None: OMIT,
}  # fmt: skip
_NO_FILES = {name for name in SPECIAL if name}
_MERGING = {"auto", "true", "1", "t"}
_SUBSTITUTIONS = {"SUBARRAY": {"GENERIC": "N/A"}, "META.SUBARRAY.NAME": {"GENERIC": "N/A"}}
_FAILED = (NoMatchError, HeaderValueError, DateFormatError)


class Row(NamedTuple):
    """One answer that rules can give, and what leads to it.

    Parameters
    ----------
    keys : tuple of tuples of str
        The elements of the key of each level.
    answer : object
        The answer.
    line : int
        Where it stands.
    """

    keys: tuple[tuple[str, ...], ...]
    answer: Answer
    line: int


class RulesFile:
    """A file of rules, read and verified.

    Parameters
    ----------
    name : str
        Its name.
    place : str
        Where it is.
    header : dict
        Its header, as written.
    sha1 : str or None
        Its checksum, if it was verified.
    """

    level: ClassVar[str] = ""

    def __init__(self, name: str, place: str, header: dict[str, Any], sha1: str | None) -> None:
        self.name, self.place, self.header, self.sha1 = name, place, header, sha1

    @property
    def kind(self) -> str:
        """``pipeline``, ``instrument`` or ``reference``."""
        return self.level

    @property
    def observatory(self) -> str:
        """Name of the observatory, lower case."""
        return self._said("observatory")

    def _said(self, key: str) -> str:
        return str(self.header.get(key, "")).lower()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class TypeRules(RulesFile):
    """The rules that choose references of one type for one instrument."""

    level = "reference"

    def __init__(
        self, name: str, place: str, header: dict[str, Any], sha1: str | None, rows: Any
    ) -> None:
        super().__init__(name, place, header, sha1)
        self.instrument, self.filekind = self._said("instrument"), self._said("filekind")
        self.parkey = _levels(header["parkey"], place)
        self.hooks: Hooks = hooks_of(self.observatory, self.instrument, self.filekind, header)
        self.switch = str(header.get("reffile_switch", "NONE")).upper()
        extra = names_in(header.get("extra_keys", ()))
        switch = () if self.switch == "NONE" else (self.switch,)
        keys = [key.upper() for level in self.parkey for key in level]
        keys += [key.upper() for key in extra] + list(switch)
        self.required_keys: tuple[str, ...] = tuple(sorted(set(keys)))
        self._keys = tuple((key, key.lower()) for key in self.required_keys)
        self._read_expressions()
        self.optional = str(header.get("reffile_required", "YES")).upper() not in {"YES", "NONE"}
        options = MatchOptions(_merges(header), _substitutions(header, place))
        self.selector: Selector = compile_selector(rows, self.parkey, place, options)

    def _read_expressions(self) -> None:
        self._omitted = self._expression("rmap_omit", "NEVER")
        self._relevant = self._expression("rmap_relevance", "ALWAYS")
        said = self.header.get("parkey_relevance", {})
        if not isinstance(said, dict):
            raise RulesFormatError("parkey_relevance is a table", place=self.place, found=said)
        self._parkey_relevance = {
            str(key).upper(): compile_expression(text, self.place, f"parkey_relevance {key}")
            for key, text in said.items()
        }
        self._comments = tuple(
            key.upper() for key in names_in(self.header.get("comment_parkeys", ()))
        )
        always = self._omitted.is_always(False) and self._relevant.is_always(True)
        self._has_expressions = bool(self._parkey_relevance) or not always
        self.plain = not (self._has_expressions or self._comments or self.hooks.precondition)
        expressions = (self._omitted, self._relevant, *self._parkey_relevance.values())
        self._names = frozenset(name for one in expressions for name in one.names)
        self.looks_at = self._names | {*self.hooks.fields}

    def _expression(self, key: str, default: str) -> Expression:
        return compile_expression(self.header.get(key, default), self.place, key)

    # ------------------------------------------------------------------ asking

    def select(self, header: Header) -> Answer:
        """Return the reference for an exposure.

        Parameters
        ----------
        header : mapping
            Name of field → value; a lower-case spelling counts more than an upper-case one.

        Returns
        -------
        answer : str, tuple or dict
            File name; ``N/A`` if none is needed; ``OMIT`` if the type does not count; several.

        Raises
        ------
        NoMatchError, HeaderValueError, DateFormatError, AmbiguousRulesError
            If there is none.
        """
        return self.choose(conditioned(header, self._keys, self.observatory))

    def choose(self, header: dict[str, str]) -> Answer:
        """Return the reference for a header of conditioned values that has all fields needed."""
        if self.plain:
            try:
                answer = self.selector.choose(header)
            except _FAILED as error:
                answer = self._failed(error, header)
        else:
            answer = self._choose(header)
        if answer.__class__ is str:
            return SPECIAL.get(answer, answer)
        return _plain(answer)

    @staticmethod
    def told(answer: Any) -> Answer:
        """Return an answer as rows have it in the form it is told: special values in one spelling."""
        return _plain(answer)

    def keys_among(self, every: Callable[[], Iterable[str]]) -> tuple[tuple[str, str], ...]:
        """Return the fields needed, in upper and lower case.

        Parameters
        ----------
        every : callable
            Returns all fields that the rules of the instrument need: expressions may ask for one of
            another type. Called only if that can be.
        """
        own = set(self.required_keys)
        if self.looks_at <= own:
            return self._keys
        others = [
            key
            for key in every()
            if key not in own and (key in self.looks_at or key.replace(".", "_") in self.looks_at)
        ]
        return (*self._keys, *((key, key.lower()) for key in others))

    def asks(self, fields: Iterable[str]) -> bool:
        """Return whether anything but the selector looks at one of some fields."""
        if self.hooks.precondition and self.hooks.epochs is None:
            return True
        names = {name.replace(".", "_") for name in self._names}
        return any(
            field.replace(".", "_") in names
            or field in self._comments
            or field in self._parkey_relevance
            for field in fields
        )

    def _choose(self, header: dict[str, str]) -> Answer:
        prepared = self.prepared(header)
        if isinstance(prepared, str):
            return prepared
        try:
            return self.selector.choose(prepared)
        except _FAILED as error:
            return self._failed(error, prepared)

    def prepared(self, header: dict[str, str]) -> dict[str, str] | str:
        """Return a header as the selector is asked with it; or the answer, where none is needed."""
        fields = self._fields(header)
        if self._holds(self._omitted, fields, otherwise=False):
            return OMIT
        if not self._holds(self._relevant, fields, otherwise=True):
            return NOT_APPLICABLE
        changed = header
        if self.hooks.precondition:
            changed = self.hooks.precondition(self, header)
        irrelevant = list(self._comments)
        if self._parkey_relevance:
            fields = self._fields(changed)
            irrelevant += [
                key
                for key, expression in self._parkey_relevance.items()
                if not self._is_relevant(key, expression, fields)
            ]
        if irrelevant:
            changed = {**changed, **dict.fromkeys(irrelevant, NOT_APPLICABLE)}
        return changed

    def _is_relevant(self, key: str, expression: Expression, fields: dict[str, str]) -> bool:
        try:
            return expression(fields)
        except UnknownFieldError as error:
            raise RulesFormatError(
                f"parkey_relevance of {key} cannot be told: {error}", place=self.place,
                found=expression.text, remedy="add the field to extra_keys of the rules",
            ) from None  # fmt: skip

    def _fields(self, header: Mapping[str, str]) -> dict[str, str]:
        """Return what expressions may ask for."""
        found = {}
        for name in self._names:
            if name in header:
                found[name.replace(".", "_")] = header[name]
            elif "_" in name:  # a path of metadata, written as one word
                for key, value in header.items():
                    if key.replace(".", "_") == name:
                        found[name] = value
        return found

    @staticmethod
    def _holds(expression: Expression, fields: dict[str, str], *, otherwise: bool) -> bool:
        try:
            return expression(fields)
        except UnknownFieldError:
            return otherwise

    def _failed(self, error: LightmillError, header: dict[str, str]) -> Answer:
        if self.hooks.did_not_run and self.hooks.did_not_run(self, header):
            return NOT_APPLICABLE
        if self.hooks.fallback:
            found = self.hooks.fallback(self, header)
            if found is not None:
                return self.selector.choose(found) if isinstance(found, dict) else found
        if self.optional:
            return NOT_APPLICABLE
        raise error

    def explain(self, header: Header) -> Explanation:
        """Return how an exposure gets its answer: the rows tried, and why each lost."""
        from lightmill.reference.rules.explanation import explained

        return explained(self, conditioned(header, self._keys, self.observatory))

    # ----------------------------------------------------------------- content

    def rows(self) -> Iterator[Row]:
        """Return every row."""
        yield from _rows(self.selector, ())

    def files(self) -> list[str]:
        """Return the names of all reference files in the rows, each once, sorted."""
        return sorted(set(_answers(self.selector)) - _NO_FILES)

    def referencenames_in(self) -> list[str]:
        """Return the names of all reference files in the rows, each once, sorted."""
        return self.files()


def _levels(parkey: Any, place: str) -> tuple[tuple[str, ...], ...]:
    if not isinstance(parkey, (tuple, list)) or not all(
        isinstance(level, (tuple, list)) and all(isinstance(key, str) for key in level)
        for level in parkey
    ):
        raise RulesFormatError(
            "parkey is a tuple of tuples of fields, one for each level", place=place, found=parkey,
            expected="(('FIELD', …), ('DATE-OBS', 'TIME-OBS'))",
        )  # fmt: skip
    return tuple(tuple(level) for level in parkey)


def names_in(said: Any) -> tuple[str, ...]:
    """Return the names a value of a header lists."""
    if isinstance(said, str):
        return (said,)
    return tuple(map(str, said)) if isinstance(said, (tuple, list)) else ()


def _merges(header: dict[str, Any]) -> bool:
    said = header.get("merge_overlaps", True)
    return said is True or str(said).lower() in _MERGING


def _substitutions(header: dict[str, Any], place: str) -> dict[str, dict[str, Any]]:
    said = header.get("substitutions", {})
    if not isinstance(said, dict) or not all(isinstance(one, dict) for one in said.values()):
        raise RulesFormatError(
            "substitutions is a table of tables", place=place, expected="{FIELD : {TEXT : VALUES}}"
        )
    return {**_SUBSTITUTIONS, **{str(key).upper(): dict(one) for key, one in said.items()}}


def _plain(answer: Any) -> Answer:
    """Return an answer with a special value in its one spelling; lists stay as they are."""
    if isinstance(answer, list):
        return tuple(answer)
    if isinstance(answer, AmbiguousRulesError):
        raise answer
    if answer is None or isinstance(answer, str):
        return SPECIAL.get(answer, answer)
    return answer


def _rows(selector: Selector, above: tuple[tuple[str, ...], ...]) -> Iterator[Row]:
    for key, choice, line in selector.rows():
        if isinstance(choice, Selector):
            yield from _rows(choice, (*above, key))
        else:
            yield Row((*above, key), _plain(choice), line)


def _answers(selector: Selector) -> Iterator[str]:
    """Return every name in the rows, special ones too."""
    choices = (
        selector.choices
        if isinstance(selector, UseAfter)
        else [choice for _, choice, _ in selector.rows()]
    )
    for choice in choices:
        if choice.__class__ is str:
            yield choice
        elif isinstance(choice, Selector):
            yield from _answers(choice)
        else:
            yield from _files(choice)


def _files(answer: Answer) -> Iterator[str]:
    if isinstance(answer, str):
        yield answer
    elif isinstance(answer, (tuple, list)):
        for one in answer:
            yield from _files(one)
    elif isinstance(answer, dict):
        for one in answer.values():
            yield from _files(one)
