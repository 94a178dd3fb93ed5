"""The rules of an observatory that keeps them as YAML in its own folder.

No file is generated: mappings of the three levels are made in memory. Their
names hold a digest of what they say, so that a context's name fixes the rules
here as it does everywhere.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightmill.errors import ConfigurationError
from lightmill.reference.rules.text import MappingText, Node, checksum_of, format_mapping
from lightmill.reference.yaml_rules.document import MappingItem, Scalar, documents, refuse
from lightmill.reference.yaml_rules.reading import read_document

if TYPE_CHECKING:
    from lightmill.reference.rules.mapping import Context, RulesFile

__all__ = ["YamlRules", "collect", "has_rules", "rules_of"]

FOLDER = "reference"
_TELESCOPE = re.compile(r"^telescope:\s*['\"]?([A-Za-z0-9_-]+)", re.MULTILINE)
_NEITHER = re.compile(r"[^a-z0-9]+")


@dataclass
class YamlRules:
    """The rules of an observatory, as mappings made in memory.

    It is a source of mappings, as a folder of mapping files or a cache is.

    Parameters
    ----------
    observatory : str
        In lower case.
    """

    observatory: str
    mappings: dict[str, MappingText] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    context: str = ""

    def parsed_mapping(self, name: str) -> MappingText:
        """Return a mapping as parsed; its lines are those of the YAML file."""
        if name not in self.mappings:
            raise ConfigurationError(
                f"there are no rules called {name}", expected=", ".join(self.mappings)
            )
        return self.mappings[name]

    def read_mapping(self, name: str) -> tuple[str, str]:
        """Return the text of a mapping, as its file would be, and the YAML file it is from."""
        return format_mapping(self.parsed_mapping(name)), self.places[name]

    def loaded(self) -> Context:
        """Return the context, ready to select; rules of types are compiled when needed."""
        from lightmill.reference.rules.mapping import Context

        return Context(*self._facts(self.context), self._table(self.context), self._load)

    def _load(self, name: str) -> RulesFile:
        from lightmill.reference.rules.mapping import InstrumentRules, TypeRules

        mapping = self.parsed_mapping(name)
        if isinstance(mapping.selector, Node):
            return TypeRules(*self._facts(name), mapping)
        return InstrumentRules(*self._facts(name), self._table(name), self._load)

    def _facts(self, name: str) -> tuple[str, str, dict[str, Any], str]:
        sha1 = checksum_of(self.read_mapping(name)[0])
        return name, self.places[name], self.mappings[name].header, sha1

    def _table(self, name: str) -> dict[str, Any]:
        selector = self.parsed_mapping(name).selector
        assert isinstance(selector, dict)
        return selector

    def write(self, folder: str | Path) -> list[Path]:
        """Write every mapping as a file; those that are there stay.

        Parameters
        ----------
        folder : path_like
            Where to; made if it is not there.
        """
        home = Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        paths = []
        for name in self.mappings:
            path = home / name
            if not path.exists():  # its name says what is in it
                with path.open("x", encoding="utf-8") as file:
                    file.write(self.read_mapping(name)[0])
            paths.append(path)
        return paths


def has_rules(folder: str | Path) -> bool:
    """Return whether an observatory's folder holds rules."""
    return bool(_files(Path(folder)))


def rules_of(folder: str | Path) -> Context:
    """Return the rules an observatory's folder holds.

    Parameters
    ----------
    folder : path_like
        The observatory's: rules are in ``reference/*.yaml`` in it, those of one instrument
        in ``<instrument>/reference/*.yaml``.

    Returns
    -------
    context : Context
        Ready to select; no file is written.

    Raises
    ------
    ConfigurationError
        If there are none.
    RulesFormatError
        With file and line, if some cannot be read.
    """
    return collect(folder).loaded()


def collect(folder: str | Path) -> YamlRules:
    """Return the rules of an observatory's folder as a source of mappings."""
    home = Path(folder)
    files = _files(home)
    if not files:
        raise ConfigurationError(
            "this folder holds no rules", place=home,
            expected=f"{FOLDER}/<type>.yaml, or <instrument>/{FOLDER}/<type>.yaml",
        )  # fmt: skip
    found: list[tuple[MappingText, str]] = []
    for path, instrument in files:
        found += _read(path, instrument)
    names = {str(one.header["observatory"]) for one, _ in found if "observatory" in one.header}
    if len({name.lower() for name in names}) > 1:
        raise ConfigurationError(
            "rules of one folder are of one observatory", place=home, found=", ".join(sorted(names))
        )
    observatory = (names.pop() if names else _telescope(home)).lower()
    return _joined(found, YamlRules(observatory), _instruments(home))


def _files(home: Path) -> list[tuple[Path, str | None]]:
    """Return the files of rules, each with the instrument whose folder it is in."""
    own = [(path, None) for path in sorted((home / FOLDER).glob("*.yaml"))]
    below = sorted(home.glob(f"*/{FOLDER}/*.yaml"))
    return [*own, *((path, path.parent.parent.name) for path in below)]


def _read(path: Path, instrument: str | None) -> list[tuple[MappingText, str]]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "rules cannot be read", place=path, found=getattr(error, "strerror", None) or str(error)
        ) from error
    found = []
    every = documents(text, str(path))
    for document in every:
        one = read_document(document, str(path))
        if not isinstance(one.selector, Node):
            raise refuse(
                "rules of a folder are those of types: they have entries", str(path), document.line
            )
        if "filekind" not in one.header:
            if len(every) > 1:
                raise refuse("each of several documents says its type", str(path), document.line)
            one.header["filekind"] = path.stem
        _is_plain(document, str(path))
        if instrument is not None:
            said = str(one.header.setdefault("instrument", instrument))
            if said.lower() != instrument.lower():
                raise refuse(
                    "these rules are in the folder of another instrument", str(path), document.line,
                    found=said, expected=instrument,
                )  # fmt: skip
        found.append((one, str(path)))
    return found


def _is_plain(document: MappingItem, place: str) -> None:
    """Refuse types and instruments whose names cannot be parts of a file's name."""
    for word, value, line in document.named(place):
        if word in {"type", "instrument", "observatory"}:
            text = value.text if isinstance(value, Scalar) else ""
            if _NEITHER.sub("", text.lower().replace("-", "").replace("_", "")) == "":
                raise refuse(f"{word} is a name of letters and digits", place, line, found=text)


def _joined(
    found: list[tuple[MappingText, str]], rules: YamlRules, instruments: list[str]
) -> YamlRules:
    """Return rules of types below those of instruments below a context."""
    by_instrument: dict[str, dict[str, tuple[MappingText, str]]] = {}
    shared = [one for one in found if "instrument" not in one[0].header]
    for one, place in found:
        if "instrument" in one.header:
            _add(by_instrument, str(one.header["instrument"]).lower(), one, place)
    for name in dict.fromkeys([*by_instrument, *instruments]):
        for one, place in shared:
            if str(one.header["filekind"]).lower() not in by_instrument.get(name, {}):
                _add(by_instrument, name, one, place)
    if not by_instrument:
        raise ConfigurationError(
            "rules name no instrument", place=found[0][1], remedy="add a line: instrument: NAME"
        )
    selector = {}
    for instrument, types in sorted(by_instrument.items()):
        table = {
            filekind: _named(rules, ("rmap", instrument, filekind), one, place)
            for filekind, (one, place) in sorted(types.items())
        }
        place = next(iter(types.values()))[1]
        head: dict[str, object] = {"instrument": instrument, "parkey": ("REFTYPE",)}
        text = _table("INSTRUMENT", head, table)
        selector[instrument] = _named(rules, ("imap", instrument), text, place)
    paths = any(
        "META." in field for one, _ in found for level in one.header["parkey"] for field in level
    )
    key = "META.INSTRUMENT.NAME" if paths else "INSTRUME"
    context = _table("PIPELINE", {"parkey": (key,)}, selector)
    rules.context = _named(rules, ("pmap",), context, found[0][1])
    return rules


def _add(
    found: dict[str, dict[str, tuple[MappingText, str]]],
    instrument: str,
    one: MappingText,
    place: str,
) -> None:
    types = found.setdefault(instrument, {})
    filekind = str(one.header["filekind"]).lower()
    if filekind in types:
        raise ConfigurationError(
            f"two files hold the rules of {filekind} of {instrument}",
            place=place, found=types[filekind][1], remedy="remove one of them",
        )  # fmt: skip
    types[filekind] = (one, place)


def _table(mapping: str, head: dict[str, object], selector: dict[str, str]) -> MappingText:
    header = {**head, "mapping": mapping}
    return MappingText(name="", header=header, selector=dict(selector), comment=None, duplicates=())


def _named(rules: YamlRules, parts: tuple[str, ...], one: MappingText, place: str) -> str:
    """Keep a mapping under a name that holds a digest of what it says; return the name."""
    suffix, *words = parts
    header = {
        **one.header,
        "observatory": rules.observatory,
        "derived_from": one.header.get("derived_from", Path(place).name),
        **({"instrument": words[0]} if words else {}),
        "name": "",
    }
    header = dict(sorted({**header, "sha1sum": ""}.items()))
    blank = replace(one, name="", header=header)
    digest = hashlib.sha1(format_mapping(blank).encode(), usedforsecurity=False).hexdigest()[:8]
    stem = "_".join(_NEITHER.sub("-", part.lower()) for part in (rules.observatory, *words))
    name = f"{stem}_{digest}.{suffix}"
    rules.mappings[name] = replace(one, name=name, header={**header, "name": name})
    rules.places[name] = place
    return name


def _telescope(home: Path) -> str:
    """Return the observatory's name: as its keywords say it, or that of its folder."""
    keywords = home / "keywords.yaml"
    if keywords.is_file():
        said = _TELESCOPE.search(keywords.read_text("utf-8"))
        if said:
            return said[1]
    return home.name


def _instruments(home: Path) -> list[str]:
    """Return the names of the observatory's instruments: the folders that describe one."""
    return sorted(path.parent.name for path in home.glob("*/instrument.yaml"))
