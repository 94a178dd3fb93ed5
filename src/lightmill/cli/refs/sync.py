"""``lightmill refs sync`` and ``verify``: fill a cache, and look after what it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.progress import shown_progress, somebody_looks
from lightmill.cli.refs.needs import (
    Needs,
    by_observatory,
    cache_options,
    library_at,
    needs_of,
    server_options,
    server_or_environment,
)
from lightmill.cli.tables import size, table
from lightmill.errors import ConfigurationError, LightmillError, UsageError

if TYPE_CHECKING:
    from lightmill.reference.cache import Cache
    from lightmill.reference.library import Library

__all__ = ["sync", "verify"]

_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@command("sync")
@argument(
    "files",
    metavar="[FILES]...",
    nargs=-1,
    type=click.Path(path_type=Path),
    help="Data files: what they need is fetched.",
)
@click.option(
    "--contexts",
    "wanted",
    metavar="CONTEXT",
    multiple=True,
    help="Fetch all rules of a context: a .pmap, OBS-latest, OBS-DATE; asks the server for news.",
)
@click.option("--all-references", is_flag=True, help="With --contexts: also all its references.")
@click.option("--types", metavar="TYPE", multiple=True, help="Only references of these types.")
@cache_options
@server_options
@click.option("--dry-run", is_flag=True, help="Only say what would be fetched.")
@click.option("--check-sha1sum", is_flag=True, help="Read what is there again and check its SHA-1.")
@click.option("--repair", is_flag=True, help="Fetch damaged files again (implies --check-sha1sum).")
@click.option("--workers", default=4, show_default=True, help="Transfers at the same time.")
@_json
def sync(
    files: tuple[Path, ...],
    wanted: tuple[str, ...],
    all_references: bool,
    types: tuple[str, ...],
    context: str | None,
    crds_path: Path | None,
    server: str | None,
    dry_run: bool,
    check_sha1sum: bool,
    repair: bool,
    workers: int,
    as_json: bool,
) -> int:
    """Fetch the references and rules that data need into the cache."""
    if not files and not wanted:
        raise UsageError(
            "nothing is asked for",
            remedy="lightmill refs sync FILES --server URL, or lightmill refs sync --contexts OBS-latest",
        )
    url = server_or_environment(server)
    library = library_at(crds_path, context, url)
    sums: dict[str, dict[str, str]] = {}
    with shown_progress(shown=somebody_looks()) as progress:
        for spec in wanted:
            observatory, held = _context_files(spec, library, all_references=all_references)
            sums.setdefault(observatory, {}).update(dict.fromkeys(held, ""))
        needs = needs_of(files, library, types)
        for observatory, references in by_observatory(needs).items():
            sums.setdefault(observatory, {}).update(references)
        done = _Done()
        for observatory, names in sums.items():
            if check_sha1sum or repair:
                done.check(library, observatory, names)
            done.fetch(library, observatory, names, progress, workers, dry_run=dry_run)
    done.unanswered = _unanswered(needs)
    print(json.dumps(done.facts(), indent=2) if as_json else done.story(library, dry_run=dry_run))
    return done.status(dry_run=dry_run)


def _context_files(spec: str, library: Library, *, all_references: bool) -> tuple[str, list[str]]:
    """Return the observatory and all files of a context; the server is asked for news."""
    from lightmill.reference.cache import observatory_of
    from lightmill.reference.layout import is_plain_name

    if not is_plain_name(spec.replace(":", "")):
        raise ConfigurationError(
            "this is not the name of a context",
            place="--contexts",
            found=spec,
            expected="a .pmap without its folder, OBS-latest or OBS-DATE",
        )
    observatory = observatory_of(spec)
    cache, client = library.cache, library.client
    if client is None:
        name = cache.resolve_context(spec, observatory)
        found = cache.mapping_path(name)
        if not found.is_file():
            raise ConfigurationError(
                "this context is not in the cache, and no server is named",
                place=found,
                remedy="set CRDS_SERVER_URL, or give --server URL",
            )
        return observatory, _named(name, cache, all_references=all_references)
    if not cache.readonly:
        library.refresh(observatory)
    try:
        name = cache.resolve_context(spec, observatory)
    except ConfigurationError:
        name = library.told_by_server(spec, observatory)
    names = [name, *client.mapping_names(name)]
    if all_references:
        names += client.reference_names(name)
    return observatory, list(dict.fromkeys(names))


def _named(name: str, cache: Cache, *, all_references: bool) -> list[str]:
    """Return the files that the rules of a context name, as far as the cache has those rules."""
    from lightmill.reference.rules.mapping import Context, load

    names = [name]
    context = load(name, cache)
    if not isinstance(context, Context):
        return names
    for instrument, rules in context.instruments.items():
        if not rules.endswith(".imap"):  # N/A, OMIT
            continue
        names.append(rules)
        if not cache.mapping_path(rules).is_file():
            continue
        below = context.rules(instrument)
        for kind in below.with_rules():
            names.append(below.types[kind])
            if all_references and cache.mapping_path(names[-1]).is_file():
                names += below.rules(kind).files()
    return list(dict.fromkeys(names))


def _unanswered(needs: list[Needs]) -> dict[str, str]:
    """Return what the rules have no answer for: file and type → why."""
    return {f"{one.path.name}, {k}": e.fact for one in needs for k, e in one.errors.items()}


class _Done:
    """What was found and done."""

    def __init__(self) -> None:
        self.there: list[str] = []
        self.missing: dict[str, int] = {}  # name → bytes, 0 where unknown
        self.fetched: dict[str, int] = {}
        self.damaged: dict[str, str] = {}
        self.failed: dict[str, LightmillError] = {}
        self.unanswered: dict[str, str] = {}

    def check(self, library: Library, observatory: str, names: Mapping[str, str]) -> None:
        """Read the files again that are there."""
        from lightmill.reference.digests import forget

        for name in names:
            if library.cache.has(name, observatory):
                path = library.cache.path(name, observatory)
                forget(path)
                problem = library.cache.verify(name, observatory, path=path)
                if problem:
                    self.damaged[name] = problem

    def fetch(
        self,
        library: Library,
        observatory: str,
        names: Mapping[str, str],
        progress: Any,
        workers: int,
        *,
        dry_run: bool,
    ) -> None:
        """Fetch what is missing or damaged."""
        cache = library.cache
        asked = []
        for name in names:
            if _is_there(cache, name, observatory) and name not in self.damaged:
                self.there.append(name)
            else:
                asked.append(name)
        if dry_run:
            infos = library.client.file_info(observatory, asked) if library.client else {}
            self.missing.update({n: (infos[n].size or 0) if n in infos else 0 for n in asked})
            return
        instruments = {name: names[name] for name in asked if names[name]}
        found = library.ensure(
            asked, observatory, instruments=instruments, progress=progress, workers=workers
        )
        for name, one in found.items():
            if isinstance(one, LightmillError):
                self.failed[name] = one
            else:
                self.fetched[name] = one[0].stat().st_size
                self.damaged.pop(name, None)

    def facts(self) -> dict[str, Any]:
        """Return all as JSON."""
        return {
            "there": sorted(self.there),
            "missing": sorted(self.missing),
            "fetched": sorted(self.fetched),
            "damaged": self.damaged,
            "failed": {name: error.as_dict() for name, error in self.failed.items()},
            "without_reference": self.unanswered,
        }

    def story(self, library: Library, *, dry_run: bool) -> str:
        """Return all for people."""
        lines = [f"cache: {library.cache.layout.story()}"]
        lines.append(f"  {len(self.there)} files were there")
        if dry_run and self.missing:
            lines.append(
                f"  {len(self.missing)} would be fetched, {size(sum(self.missing.values()))}:"
            )
            lines.append(table((n, size(s) if s else "") for n, s in sorted(self.missing.items())))
        if self.fetched:
            lines.append(f"  {len(self.fetched)} were fetched, {size(sum(self.fetched.values()))}")
        for name, problem in sorted(self.damaged.items()):
            lines.append(f"  damaged: {name}: {problem}")
        for what, why in self.unanswered.items():
            lines.append(f"  no reference for {what}: {why}")
        lines += [error.story() for error in self.failed.values()]
        return "\n".join(lines)

    def status(self, *, dry_run: bool) -> int:
        """Return the exit status: that of the first failure."""
        if self.failed:
            return next(iter(self.failed.values())).exit_status
        return 3 if self.damaged and not dry_run else 0


def _is_there(cache: Cache, name: str, observatory: str) -> bool:
    """Whether the cache has a file, with as many bytes as were announced: a look is cheap."""
    if not cache.has(name, observatory):
        return False
    announced = cache.file_info(name, observatory).size
    return announced is None or cache.path(name, observatory).stat().st_size == announced


@command("verify")
@argument(
    "names",
    metavar="[NAMES]...",
    nargs=-1,
    help="Files of the cache, or observatories. [default: everything]",
)
@click.option("--repair", is_flag=True, help="Fetch damaged files again from the server.")
@click.option("--again", is_flag=True, help="Read also files that were found right before.")
@cache_options
@server_options
@_json
def verify(
    names: tuple[str, ...],
    repair: bool,
    again: bool,
    context: str | None,
    crds_path: Path | None,
    server: str | None,
    as_json: bool,
) -> int:
    """Check size and checksum of what the cache holds, and repair it."""
    from lightmill.reference.digests import forget
    from lightmill.reference.rules import load

    library = library_at(crds_path, context, server_or_environment(server) if repair else None)
    cache = library.cache
    checked, unknown, damaged = 0, [], {}
    with shown_progress(shown=somebody_looks()) as progress:
        found = list(_held(cache, names))
        for number, (observatory, path) in enumerate(found):
            if progress:
                progress("checking", number, len(found))
            if again:
                forget(path)
            info = cache.file_info(path.name, observatory)
            problem = cache.verify(path.name, observatory, info=info, path=path)
            if problem is None and info.sha1 is None:
                if path.suffix in {".pmap", ".imap", ".rmap"}:
                    try:
                        load(path.name, source=cache)
                    except LightmillError as error:
                        problem = error.fact
                else:
                    unknown.append(path.name)
            checked += 1
            if problem:
                damaged[path] = (observatory, problem)
    repaired = []
    if repair:
        for path, (observatory, _) in list(damaged.items()):
            folder = path.parent.name
            told = library.ensure([path.name], observatory, instruments={path.name: folder})
            one = told[path.name]
            if isinstance(one, LightmillError):
                damaged[path] = (observatory, one.fact)
            else:
                repaired.append(path.name)
                del damaged[path]
    problems = {str(path): problem for path, (_, problem) in damaged.items()}
    if as_json:
        facts = {"checked": checked, "damaged": problems, "repaired": repaired}
        print(json.dumps({**facts, "without_checksum": unknown}, indent=2))
        return 3 if damaged else 0
    print(f"cache: {cache.layout.story()}")
    print(f"  {checked} files checked, {len(damaged)} damaged, {len(repaired)} repaired")
    if unknown:
        print(f"  {len(unknown)} have no known checksum, as no server told one")
    for place, problem in problems.items():
        print(f"  {place}: {problem}")
    if damaged and not repair:
        print("    try:      lightmill refs verify --repair --server URL")
    return 3 if damaged else 0


def _held(cache: Any, names: tuple[str, ...]) -> Any:
    """Return the observatory and the path of each file meant."""
    known = cache.observatories()
    for one in [name for name in names if name in known] or ([] if names else known):
        yield from ((one, cache.mapping_path(name)) for name in cache.mappings(one))
        yield from ((one, path) for path in cache.references(one))
    for name in names:
        if name not in known:
            observatory = cache.observatory_of(name)
            path = cache.path(name, observatory)
            if not path.is_file():
                raise ConfigurationError("this file is not in the cache", place=path, found=name)
            yield observatory, path
