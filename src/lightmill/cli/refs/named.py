"""Rules as the command line names them: a file, an observatory's folder, or a context of the cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightmill.errors import ConfigurationError

if TYPE_CHECKING:
    from lightmill.reference.parsed import Source
    from lightmill.reference.rules.mapping import Context
    from lightmill.reference.rules.text import MappingText

__all__ = ["context_named", "rules_named"]


def rules_named(spec: str, crds_path: Path | None) -> tuple[MappingText, Source, str]:
    """Return the parse of rules, the source of the mappings they name, and their place.

    Parameters
    ----------
    spec : str
        Path of a mapping file or YAML file, folder of an observatory with YAML rules, or
        name of a context or mapping of the cache: ``jwst_1234.pmap``, ``jwst-latest``.
    crds_path : Path, optional
        The cache.
    """
    from lightmill.reference.parsed import opened, parsed

    path = Path(spec)
    if path.is_dir():
        from lightmill.reference.yaml_rules import collect

        rules = collect(path)
        return rules.parsed_mapping(rules.context), rules, str(path)
    if path.is_file():
        mapping, source = opened(path)
        return mapping, source, str(path)
    if path.parent != Path():
        raise ConfigurationError(
            "there are no such rules", place=path,
            expected="a .pmap, .imap, .rmap or .yaml file, the folder of an observatory, or the name "
            "of a context in the cache",
        )  # fmt: skip
    from lightmill.reference.cache import Cache

    cache = Cache(crds_path)
    name = spec
    if path.suffix not in {".pmap", ".imap", ".rmap"}:
        name = cache.resolve_context(spec, spec.partition("-")[0].lower())
    return parsed(name, cache), cache, str(cache.mapping_path(name))


def context_named(spec: str, crds_path: Path | None) -> Context:
    """Return the rules of an observatory, ready to select.

    Parameters
    ----------
    spec : str
        As for `rules_named`; they have to be a context's.
    crds_path : Path, optional
        The cache.
    """
    from lightmill.reference.rules.mapping import Context, load

    path = Path(spec)
    if path.is_dir():
        from lightmill.reference.yaml_rules import rules_of

        return rules_of(path)
    mapping, source, place = rules_named(spec, crds_path)
    loaded = load(path) if path.is_file() else load(mapping.name, source)
    if not isinstance(loaded, Context):
        raise ConfigurationError(
            "these are not the rules of an observatory", place=place,
            expected="a .pmap, or a folder of YAML rules",
        )  # fmt: skip
    return loaded
