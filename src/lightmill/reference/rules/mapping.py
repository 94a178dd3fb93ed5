"""Rules of one type, of one instrument and of a whole observatory, ready to be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from lightmill.errors import LightmillError
from lightmill.reference.errors import (
    AmbiguousRulesError,
    DateFormatError,
    HeaderValueError,
    NoMatchError,
    RulesFormatError,
    RulesMissingError,
    UnknownInstrumentError,
)
from lightmill.reference.rules.aliases import other_names
from lightmill.reference.rules.expressions import Expression, UnknownFieldError, compile_expression
from lightmill.reference.rules.hooks import Hooks, hooks_of
from lightmill.reference.rules.matching import MatchOptions
from lightmill.reference.rules.nodes import MappingText
from lightmill.reference.rules.reading import compile_selector, read
from lightmill.reference.rules.selectors import Selector
from lightmill.reference.rules.text import verify_checksum
from lightmill.reference.rules.values import NOT_APPLICABLE, UNDEFINED, condition, remembered

if TYPE_CHECKING:
    from lightmill.reference.rules.explanation import Explanation

__all__ = [
    "OMIT",
    "Answer",
    "Context",
    "FolderSource",
    "InstrumentRules",
    "Row",
    "RulesFile",
    "Source",
    "TypeRules",
    "load",
]  # fmt: skip

Answer = Any  # a file name, "N/A", "OMIT", a tuple of files, or a dict of them
Header = Mapping[str, Any]
OMIT = "OMIT"
_SPECIAL: dict[Any, str] = {
    "N/A": NOT_APPLICABLE, "n/a": NOT_APPLICABLE, "TEMP_N/A": NOT_APPLICABLE,
    "OMIT": OMIT, "omit": OMIT, "TEMP_OMIT": OMIT, None: OMIT,
}  # fmt: skip
_KINDS = {".pmap": "pipeline", ".imap": "instrument", ".rmap": "reference"}
_REQUIRED = ("mapping", "name", "derived_from", "observatory", "parkey")
_MERGING = {"auto", "true", "1", "t"}
_SUBSTITUTIONS = {"SUBARRAY": {"GENERIC": "N/A"}, "META.SUBARRAY.NAME": {"GENERIC": "N/A"}}
_FAILED = (NoMatchError, HeaderValueError, DateFormatError)
_MISSING = object()


class Source(Protocol):
    """What gives the text of rules by name: a folder, a cache."""

    def read_mapping(self, name: str) -> tuple[str, str]:
        """Return text and place."""


class FolderSource:
    """The rules in one folder.

    Parameters
    ----------
    folder : path_like
        Where they are.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def read_mapping(self, name: str) -> tuple[str, str]:
        """Return text and place of a file of rules.

        Raises
        ------
        RulesMissingError
            If there is none of this name, or it cannot be read.
        """
        path = self.folder / Path(name).name
        try:
            return path.read_bytes().decode("utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise RulesMissingError(
                "rules cannot be read", place=path, found=str(error),
                expected="a file of rules", remedy="put it there, or correct what names it",
            ) from error  # fmt: skip


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
        extra = _names(header.get("extra_keys", ()))
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
            key.upper() for key in _names(self.header.get("comment_parkeys", ()))
        )
        self._has_expressions = bool(
            self._parkey_relevance or self._omitted.term or self._relevant.term
        )
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
            return _SPECIAL.get(answer, answer)
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
        return sorted({name for row in self.rows() for name in _files(row.answer)})

    def reference_names(self) -> list[str]:
        """Return the names of all reference files in the rows, each once, sorted."""
        return self.files()


class InstrumentRules(RulesFile):
    """The rules of one instrument, loaded type by type as they are needed."""

    level = "instrument"

    def __init__(
        self, name: str, place: str, header: dict[str, Any], sha1: str | None,
        table: dict[str, Any], loading: Callable[[str], RulesFile],
    ) -> None:  # fmt: skip
        super().__init__(name, place, header, sha1)
        self.instrument = self._said("instrument")
        self.types: dict[str, str] = {
            str(kind).lower(): _SPECIAL.get(value, str(value)) for kind, value in table.items()
        }
        self._loading = loading
        self._loaded: dict[str, TypeRules] = {}
        self._keys: dict[str, tuple[tuple[str, str], ...]] = {}

    def rules(self, reftype: str) -> TypeRules:
        """Return the rules of one type of reference.

        Raises
        ------
        UnknownInstrumentError
            If there is no such type, or it needs no rules.
        """
        kind = reftype.lower()
        found = self._loaded.get(kind)
        if found is None:
            name = self.types.get(kind)
            if name is None or name in {NOT_APPLICABLE, OMIT}:
                raise UnknownInstrumentError(
                    "type of reference with rules", kind, self.with_rules(), place=self.place
                )
            loaded = self._loading(name)
            if not isinstance(loaded, TypeRules):
                raise RulesFormatError(
                    "the table names rules of another level", place=self.place, found=name,
                    expected="an .rmap file",
                )  # fmt: skip
            found = self._loaded[kind] = loaded
        return found

    def with_rules(self) -> list[str]:
        """Return the types that have rules, sorted."""
        return sorted(k for k, name in self.types.items() if name not in {NOT_APPLICABLE, OMIT})

    def required_keys(self, types: Iterable[str] | None = None) -> list[str]:
        """Return the header fields that are needed to choose, sorted."""
        asked = self.with_rules() if types is None else self._asked(types)
        keys = {
            key for kind in asked if self.types.get(kind) not in {NOT_APPLICABLE, OMIT}
            for key in self.rules(kind).required_keys
        }  # fmt: skip
        return sorted(keys)

    def _asked(self, types: Iterable[str] | None) -> list[str]:
        if types is None:
            return sorted(self.types)
        asked = [kind.lower() for kind in types]
        unknown = [kind for kind in asked if kind not in self.types]
        if unknown:
            raise UnknownInstrumentError(
                "type of reference", unknown[0], self.types, place=self.place
            )
        return asked

    def best_references(
        self, header: Header, types: Iterable[str] | None = None
    ) -> dict[str, Answer | LightmillError]:
        """Return type → reference, or the error that says why there is none.

        Parameters
        ----------
        header : mapping
            Name of field → value.
        types : iterable of str, optional
            By default all.

        Raises
        ------
        UnknownInstrumentError
            If a type is not known.
        """
        answers: dict[str, Answer | LightmillError] = {}
        for kind in self._asked(types):
            name = self.types[kind]
            if name in {NOT_APPLICABLE, OMIT}:
                answers[kind] = name
                continue
            try:
                rules = self.rules(kind)
                asked = conditioned(header, self.keys_of(kind), self.observatory)
                answers[kind] = rules.choose(asked)
            except LightmillError as error:
                answers[kind] = error
        return answers

    def keys_of(self, reftype: str) -> tuple[tuple[str, str], ...]:
        """Return the fields that are needed for a type, in upper and lower case."""
        found = self._keys.get(reftype)
        if found is None:
            found = self._keys[reftype] = self.rules(reftype).keys_among(self.required_keys)
        return found

    def select_many(
        self, headers: Sequence[Header], types: Iterable[str] | None = None
    ) -> dict[str, list[Answer | LightmillError]]:
        """Return type → the answer for each of many headers; as `best_references`, only faster."""
        from lightmill.reference.rules.bulk import select_many

        return select_many(self, headers, self._asked(types))

    def explain(self, header: Header, reftype: str) -> Explanation:
        """Return how an exposure gets its reference of a type."""
        from lightmill.reference.rules.explanation import explained

        rules = self.rules(reftype)
        return explained(
            rules, conditioned(header, self.keys_of(reftype.lower()), self.observatory)
        )

    def mapping_names(self) -> list[str]:
        """Return the names of these rules and all below, sorted."""
        names = {name for name in self.types.values() if name not in {NOT_APPLICABLE, OMIT}}
        return sorted({self.name, *names})

    def reference_names(self) -> list[str]:
        """Return the names of all reference files, sorted."""
        return sorted({name for kind in self.with_rules() for name in self.rules(kind).files()})

    def load_all(self) -> None:
        """Load the rules of every type."""
        for kind in self.with_rules():
            self.rules(kind)


class Context(RulesFile):
    """The rules of an observatory, loaded instrument by instrument as they are needed."""

    level = "pipeline"

    def __init__(
        self, name: str, place: str, header: dict[str, Any], sha1: str | None,
        table: dict[str, Any], loading: Callable[[str], RulesFile],
    ) -> None:  # fmt: skip
        super().__init__(name, place, header, sha1)
        self.instruments: dict[str, str] = {
            str(key).lower(): _SPECIAL.get(value, str(value)) for key, value in table.items()
        }
        keys = _names(header["parkey"])
        if len(keys) != 1:
            raise RulesFormatError(
                "the rules of an observatory choose by one field", place=place, found=keys
            )
        self.instrument_key = keys[0].upper()
        self._loading = loading
        self._loaded: dict[str, InstrumentRules] = {}

    def rules(self, instrument: str) -> InstrumentRules:
        """Return the rules of one instrument.

        Raises
        ------
        UnknownInstrumentError
            If there is no such instrument, or it needs no references.
        """
        key = instrument.lower()
        found = self._loaded.get(key)
        if found is None:
            name = self.instruments.get(key)
            if name is None or name in {NOT_APPLICABLE, OMIT}:
                known = [k for k, v in self.instruments.items() if v not in {NOT_APPLICABLE, OMIT}]
                raise UnknownInstrumentError("instrument", key, known, place=self.place)
            loaded = self._loading(name)
            if not isinstance(loaded, InstrumentRules):
                raise RulesFormatError(
                    "the table names rules of another level", place=self.place, found=name,
                    expected="an .imap file",
                )  # fmt: skip
            found = self._loaded[key] = loaded
        return found

    def instrument_of(self, header: Header) -> str:
        """Return the instrument a header names, lower case.

        Raises
        ------
        UnknownInstrumentError
            If it names none.
        """
        key = self.instrument_key
        value = conditioned(header, ((key, key.lower()),), self.observatory)[key]
        if value == UNDEFINED:
            error = UnknownInstrumentError(
                "instrument", UNDEFINED, self.instruments, place=f"{self.place}[{key}]"
            )
            error.known_as = "CrdsError"
            raise error
        return value.lower()

    def required_keys(self, instrument: str, types: Iterable[str] | None = None) -> list[str]:
        """Return the header fields needed to choose for an instrument, sorted."""
        return sorted({self.instrument_key, *self.rules(instrument).required_keys(types)})

    def best_references(
        self, header: Header, types: Iterable[str] | None = None
    ) -> dict[str, Answer | LightmillError]:
        """Return type → reference, or the error that says why there is none.

        Parameters
        ----------
        header : mapping
            Name of field → value.
        types : iterable of str, optional
            By default all the instrument has.

        Raises
        ------
        UnknownInstrumentError
            If the header names no known instrument, or a type is not known.
        """
        return self.rules(self.instrument_of(header)).best_references(header, types)

    def select_many(
        self, headers: Sequence[Header], types: Iterable[str]
    ) -> dict[str, list[Answer | LightmillError]]:
        """Return type → the answer for each of many headers.

        Parameters
        ----------
        headers : sequence of mappings
            Of any instruments.
        types : iterable of str
            A type an instrument does not have gives an error for its headers.

        Returns
        -------
        answers : dict
            Type → as many answers as there are headers.
        """
        from lightmill.reference.rules.bulk import select_many_of_context

        return select_many_of_context(self, headers, [kind.lower() for kind in types])

    def explain(self, header: Header, reftype: str) -> Explanation:
        """Return how an exposure gets its reference of a type."""
        return self.rules(self.instrument_of(header)).explain(header, reftype)

    def _with_rules(self) -> list[str]:
        known = self.instruments.items()
        return sorted(key for key, name in known if name not in {NOT_APPLICABLE, OMIT})

    def mapping_names(self) -> list[str]:
        """Return the names of these rules and all below, sorted."""
        names = {self.name}
        for instrument in self._with_rules():
            names.update(self.rules(instrument).mapping_names())
        return sorted(names)

    def reference_names(self) -> list[str]:
        """Return the names of all reference files, sorted."""
        found: set[str] = set()
        for instrument in self._with_rules():
            found.update(self.rules(instrument).reference_names())
        return sorted(found)

    def load_all(self) -> None:
        """Load the rules of every instrument and type."""
        for instrument in self._with_rules():
            self.rules(instrument).load_all()


def load(name: str | Path, source: Source | None = None, *, verify: bool = True) -> Any:
    """Return the rules in a file, ready to be asked.

    Parameters
    ----------
    name : path_like
        A ``.pmap``, ``.imap`` or ``.rmap`` file, or one in YAML; with a source, its name there.
    source : Source, optional
        Gives the text of it and of all rules it names. By default the folder of the file.
    verify : bool
        Whether the checksums must be right.

    Returns
    -------
    rules : Context, InstrumentRules or TypeRules
        By the level of the rules. What they name is loaded when it is needed.

    Raises
    ------
    RulesMissingError, RulesFormatError, RulesChecksumError
        If they cannot be read, make no sense, or are not what was released.
    """
    if source is None:
        path = Path(name)
        source, name = FolderSource(path.parent), path.name
    name = str(name)
    text, place = source.read_mapping(name)
    suffix = Path(name).suffix
    rows: list[Any] | MappingText
    sha1 = None
    if suffix in {".yaml", ".yml"}:
        from lightmill.reference.yaml_rules import read_rules

        rows = read_rules(text, place, name=Path(name).name)
        header = rows.header
    else:
        header, rows = read(text, place)
        _check_header(header, _KINDS.get(suffix, ""), place)
        if verify:
            sha1 = verify_checksum(text, place, header.get("sha1sum", ""))
    level = _KINDS.get(suffix) or str(header.get("mapping", "")).lower()
    if level == "reference":
        return TypeRules(name, place, header, sha1, rows)
    if level not in {"instrument", "pipeline"}:
        raise RulesFormatError(
            "this is none of the levels of rules", place=place, found=header.get("mapping", suffix),
            expected="a .pmap, .imap or .rmap file",
        )  # fmt: skip
    kind = InstrumentRules if level == "instrument" else Context
    return kind(name, place, header, sha1, _table(rows, place), _Loader(source, verify=verify))


class _Loader:
    """Loads what rules name, from where they came from."""

    def __init__(self, source: Source, *, verify: bool) -> None:
        self.source, self.verify = source, verify

    def __call__(self, name: str) -> RulesFile:
        found = load(name, self.source, verify=self.verify)
        assert isinstance(found, RulesFile)
        return found


def conditioned(
    header: Header, keys: Iterable[tuple[str, str]], observatory: str
) -> dict[str, str]:  # fmt: skip
    """Return the fields asked for, each in the spelling rules compare.

    Parameters
    ----------
    header : mapping
        Name of field → value.
    keys : iterable of (str, str)
        Names in upper and lower case; the lower-case one counts if the header has both.
    observatory : str
        Whose header: some have two names for one field.
    """
    found = {}
    get, known = header.get, remembered
    for key, lower in keys:
        value = get(lower, _MISSING)
        if value is _MISSING:
            value = get(key, _MISSING)
            if value is _MISSING:
                value = by_other_name(header, key, observatory)
        spelled = known(value) if value.__class__ is str else None
        found[key] = condition(value) if spelled is None else spelled
    return found


def by_other_name(header: Header, key: str, observatory: str) -> Any:
    for name in other_names(key, observatory):
        for spelled in (name.lower(), name):
            if spelled in header:
                return header[spelled]
    return UNDEFINED


def _check_header(header: dict[str, Any], level: str, place: str) -> None:
    needed = {"reference": (*_REQUIRED, "instrument", "filekind")}.get(level, _REQUIRED)
    missing = [key for key in needed if key not in header]
    if missing:
        raise RulesFormatError(
            f"the header of the rules lacks {', '.join(missing)}", place=place,
            expected=", ".join(needed),
        )  # fmt: skip


def _table(rows: list[Any] | MappingText, place: str) -> dict[str, Any]:
    if isinstance(rows, MappingText) and isinstance(rows.selector, dict):
        strange = [k for k, v in rows.selector.items() if not isinstance(v, str | None)]
        if not strange:
            return rows.selector
        raise RulesFormatError("a table of rules names files", place=place, found=strange[0])
    raise RulesFormatError(
        "rules of this level have a plain table, not a selector", place=place,
        expected="selector = {NAME : FILE, …}",
    )  # fmt: skip


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


def _names(said: Any) -> tuple[str, ...]:
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
        return _SPECIAL.get(answer, answer)
    return answer


def _rows(selector: Selector, above: tuple[tuple[str, ...], ...]) -> Iterator[Row]:
    for key, choice, line in selector.rows():
        if isinstance(choice, Selector):
            yield from _rows(choice, (*above, key))
        else:
            yield Row((*above, key), _plain(choice), line)


def _files(answer: Answer) -> Iterator[str]:
    if isinstance(answer, str):
        if answer not in {NOT_APPLICABLE, OMIT}:
            yield answer
    elif isinstance(answer, (tuple, list)):
        for one in answer:
            yield from _files(one)
    elif isinstance(answer, dict):
        for one in answer.values():
            yield from _files(one)
