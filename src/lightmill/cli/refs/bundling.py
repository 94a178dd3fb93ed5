"""``lightmill refs bundle``, ``unbundle`` and ``lock``: references that travel with data."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.progress import shown_progress, somebody_looks
from lightmill.cli.refs.needs import (
    by_observatory,
    cache_options,
    library_at,
    needs_of,
    only_observatory,
    server_options,
    server_or_environment,
)
from lightmill.cli.tables import size

if TYPE_CHECKING:
    from lightmill.reference.library import Library

__all__ = ["bundle", "lock", "unbundle"]

_data = argument(
    "files",
    metavar="FILES...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    help="The data it is for.",
)
_types = click.option(
    "--types", metavar="TYPE", multiple=True, help="Only references of these types."
)


def _of_data(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command data as arguments, and hand it their rules and references: all are there."""

    @_data
    @_types
    @cache_options
    @server_options
    @functools.wraps(function)
    def run(
        *,
        files: tuple[Path, ...],
        types: tuple[str, ...],
        context: str | None,
        crds_path: Path | None,
        server: str | None,
        **others: Any,
    ) -> int:
        library = library_at(crds_path, context, server_or_environment(server))
        observatory, rules, references = _gather(library, files, types)
        return function(
            library=library,
            observatory=observatory,
            rules=rules,
            references=references,
            **others,
        )

    return run


def _checked_archive(_context: click.Context, _option: click.Parameter, out: Path) -> Path:
    """Refuse a name no bundle can have, before anything is fetched."""
    from lightmill.reference.bundle import check_archive_name

    check_archive_name(out)
    return out


@command("bundle")
@argument(
    "out",
    metavar="OUT.zip",
    type=click.Path(path_type=Path),
    callback=_checked_archive,
    help="The zip archive to write.",
)
@_of_data
def bundle(
    out: Path, library: Library, observatory: str, rules: list[str], references: dict[str, str]
) -> int:
    """Write the rules and references that data need as one archive."""
    from lightmill.reference.bundle import write_bundle

    made = write_bundle(
        out,
        library.cache,
        observatory=observatory,
        context=rules[0],
        names=[*rules, *references],
        instruments=references,
    )
    print(
        f"{out}: {len(rules)} rules of {made.context} and {len(references)} references, "
        f"{size(out.stat().st_size)}"
    )
    return 0


def _gather(
    library: Library, files: tuple[Path, ...], types: tuple[str, ...]
) -> tuple[str, list[str], dict[str, str]]:
    """Return the observatory, the rules and the references of data; all are in the cache then."""
    from lightmill.reference.library import raise_together

    needs = needs_of(files, library, types)
    observatory = only_observatory(needs)
    references = by_observatory(needs).get(observatory, {})
    rules = library.mappings_for(observatory, sorted({one.instrument for one in needs}))
    with shown_progress(shown=somebody_looks()) as progress:
        found = library.ensure(
            [*rules, *references], observatory, instruments=references, progress=progress
        )
    raise_together(found, library.cache.layout.story())
    return observatory, rules, references


@command("unbundle")
@argument(
    "archive", metavar="ARCHIVE", type=click.Path(path_type=Path), help="The archive to read."
)
@click.option(
    "--crds-path",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The cache to fill. [default: CRDS_PATH, or a folder of our own]",
)
def unbundle(archive: Path, crds_path: Path | None) -> int:
    """Put the files of a bundle into the cache, each one verified."""
    from lightmill.reference.bundle import read_bundle
    from lightmill.reference.cache import Cache

    cache = Cache(crds_path)
    held = read_bundle(archive, cache)
    print(f"{len(held.files)} files of {held.context} are in {cache.layout.story()}")
    return 0


@command("lock")
@argument("out", metavar="LOCK", type=click.Path(path_type=Path), help="The lock file to write.")
@_of_data
def lock(
    out: Path, library: Library, observatory: str, rules: list[str], references: dict[str, str]
) -> int:
    """Write down the context and the checksum of each file that calibrates data."""
    from lightmill.reference.lock_file import ReferenceLock

    made = ReferenceLock.of(library.cache, observatory, rules, references)
    made.write(out)
    print(f"{out}: {made.context}, {len(rules)} rules and {len(references)} references")
    return 0
