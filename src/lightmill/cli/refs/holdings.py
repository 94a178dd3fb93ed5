"""``lightmill refs list``: what a cache holds, and where a reference is used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.refs.needs import cache_options, library_at
from lightmill.cli.tables import counted, size, table
from lightmill.errors import ConfigurationError, LightmillError

if TYPE_CHECKING:
    from lightmill.reference.library import Library

__all__ = ["holdings"]


@command("list")
@argument(
    "observatories",
    metavar="[OBSERVATORIES]...",
    nargs=-1,
    help="Only of these. [default: all the cache has]",
)
@click.option("--contexts", is_flag=True, help="The contexts, and which states they have.")
@click.option("--mappings", is_flag=True, help="The names of all rules.")
@click.option("--references", is_flag=True, help="The names of all references.")
@click.option("--status", is_flag=True, help="Where the parts are, and what was told last.")
@click.option("--matches", metavar="NAME", help="The rows of the rules that name a reference.")
@click.option("--full-path", is_flag=True, help="Paths instead of names.")
@cache_options
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def holdings(
    observatories: tuple[str, ...],
    contexts: bool,
    mappings: bool,
    references: bool,
    status: bool,
    matches: str | None,
    full_path: bool,
    context: str | None,
    crds_path: Path | None,
    as_json: bool,
) -> int:
    """Show what the cache holds."""
    library = library_at(crds_path, context)
    known = library.cache.observatories()
    for name in observatories:
        if name not in known:
            raise ConfigurationError(
                f"the cache has nothing of {name!r}",
                place=library.cache.layout.story(),
                expected=", ".join(known) or "an observatory",
            )
    chosen = list(observatories) or known
    if matches:
        return _print_matches(library, matches, as_json=as_json)
    library.cache.layout.check_root()
    facts: dict[str, Any] = {"cache": str(library.cache.root), "readonly": library.cache.readonly}
    facts["observatories"] = {one: _facts(library, one, full_path=full_path) for one in chosen}
    if as_json:
        print(json.dumps(facts, indent=2))
        return 0
    asked = [
        ("contexts", contexts),
        ("mappings", mappings),
        ("references", references),
    ]
    names = [name for name, wanted in asked if wanted]
    if status or not names:
        print(f"cache: {library.cache.layout.story()}{', read-only' if facts['readonly'] else ''}")
        if not chosen:
            print("  empty; fill it: lightmill refs sync --contexts OBS-latest --server URL")
    for one in chosen:
        _print(one, facts["observatories"][one], names, status=status)
    return 0


def _facts(library: Library, observatory: str, *, full_path: bool) -> dict[str, Any]:
    cache = library.cache
    rules = cache.mappings(observatory)
    files = cache.references(observatory)
    try:
        config = cache.config(observatory)
        default: str | None = library.context_name(observatory)
        problem = None
    except LightmillError as error:
        config, default, problem = None, None, error.fact
    states: dict[str, list[str]] = {}
    for state in ("operational", "latest", "edit", "versions"):
        name = config.context(state) if config else None
        if name:
            states.setdefault(name, []).append(state)
    parts = ("mappings", "references", "config")
    return {
        "default_context": default,
        "problem": problem,
        "contexts": {n: states.get(n, []) for n in rules if n.endswith(".pmap")},
        "states": states,
        "mappings": [str(cache.mapping_path(n)) for n in rules] if full_path else rules,
        "references": [str(path) if full_path else path.name for path in files],
        "bytes": sum(path.stat().st_size for path in files),
        "places": {part: str(cache.layout.folder(part, observatory)) for part in parts},
        "layout": cache.subdir_mode(observatory),
        "server": str(config.facts.get("server") or "") if config else "",
        "last_synced": str(config.facts.get("last_synced") or "") if config else "",
        "bad_files": sorted(config.bad_files) if config else [],
    }


def _print(observatory: str, facts: dict[str, Any], names: list[str], *, status: bool) -> None:
    if not names and not status:
        print(
            f"{observatory}: {counted(len(facts['contexts']), 'context')}, "
            f"{counted(len(facts['mappings']), 'rule')}, "
            f"{counted(len(facts['references']), 'reference')} ({size(facts['bytes'])}); context in force: "
            f"{facts['default_context'] or facts['problem']}"
        )
    if status:
        rows = [
            ("context in force", facts["default_context"] or facts["problem"]),
            *((", ".join(held), name) for name, held in facts["states"].items()),
            *facts["places"].items(),
            ("layout", facts["layout"]),
            ("server", facts["server"] or "none"),
            ("last synchronised", facts["last_synced"] or "never"),
            ("known as bad", f"{len(facts['bad_files'])} files"),
        ]
        print(f"{observatory}:")
        print(table(rows))
    if "contexts" in names:
        for name, held in facts["contexts"].items():
            print(f"{name}  {', '.join(held)}".rstrip())
    for what in ("mappings", "references"):
        if what in names:
            print("\n".join(facts[what]))


def _print_matches(library: Library, name: str, *, as_json: bool) -> int:
    """Print the rows of the rules in force that name a reference."""
    found = []
    for observatory in library.cache.observatories():
        try:
            context = library.context(observatory)
        except LightmillError:
            continue  # another observatory's rules are not to be had
        found += _rows_naming(context, name)
    if as_json:
        print(json.dumps(found, indent=2))
    elif found:
        for row in found:
            print(f"{row['rules']}, line {row['line']}")
            print(table(row["keys"]))
    else:
        print(f"no rules in force name {name}")
    return 0 if found else 4


def _rows_naming(context: Any, name: str) -> list[dict[str, Any]]:
    found = []
    for instrument in context.instruments:
        try:
            rules = context.rules(instrument)
        except LightmillError:
            continue  # N/A, or not in a cache that was made for other instruments
        for reftype in rules.types:
            try:
                kind = rules.rules(reftype)
            except LightmillError:
                continue
            found += [
                {"rules": kind.name, "line": row.line, "keys": _paired(kind.parkey, row.keys)}
                for row in kind.rows()
                if row.answer == name or (isinstance(row.answer, tuple) and name in row.answer)
            ]
    return found


def _paired(
    parkey: Sequence[Sequence[str]], keys: Sequence[Sequence[str]]
) -> list[tuple[str, str]]:
    """Return what a row asks of the header, field by field; a date is asked of several at once."""
    found: list[tuple[str, str]] = []
    for fields, values in zip(parkey, keys, strict=False):
        if len(fields) == len(values):
            found += zip(fields, values, strict=True)
        else:
            found.append((" ".join(fields), " ".join(values)))
    return found
