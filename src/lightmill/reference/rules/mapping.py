"""Rules of an instrument and of a whole observatory, loaded as they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightmill.errors import LightmillError
from lightmill.reference.errors import (
    RulesFormatError,
    RulesMissingError,
    UnknownInstrumentError,
)
from lightmill.reference.rules.asked import Header, conditioned
from lightmill.reference.rules.nodes import MappingText
from lightmill.reference.rules.reading import read
from lightmill.reference.rules.sources import FolderSource, Source, printable
from lightmill.reference.rules.text import verify_checksum
from lightmill.reference.rules.type_rules import (
    OMIT,
    SPECIAL,
    Answer,
    Row,
    RulesFile,
    TypeRules,
    names_in,
)
from lightmill.reference.rules.values import NOT_APPLICABLE, UNDEFINED

if TYPE_CHECKING:
    from lightmill.reference.rules.explanation import Explanation

__all__ = [
    "Answer", "Context", "FolderSource", "InstrumentRules", "Row", "RulesFile", "Source", "TypeRules",
    "load",
]  # fmt: skip

_KINDS = {".pmap": "pipeline", ".imap": "instrument", ".rmap": "reference"}
_REQUIRED = ("mapping", "name", "derived_from", "observatory", "parkey")


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
            str(kind).lower(): SPECIAL.get(value, str(value)) for kind, value in table.items()
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
            str(key).lower(): SPECIAL.get(value, str(value)) for key, value in table.items()
        }
        keys = names_in(header["parkey"])
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
    if printable(name) != name:
        raise RulesMissingError(
            "no file of rules can have this name", place=printable(name),
            remedy="correct the table that names it",
        )  # fmt: skip
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
