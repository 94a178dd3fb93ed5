"""``lightmill asn pool``: a pool of the headers of exposures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.progress import shown_progress, somebody_looks
from lightmill.errors import DataError, UsageError

if TYPE_CHECKING:
    from lightmill.association.pool_columns import Column
    from lightmill.association.pool_maker import MadePool

__all__ = ["definitions", "pool"]

_SHOWN = 10  # files named for one reason


@command("pool")
@argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path),
    help="Exposures, or folders with *_uncal.fits in them.",
)  # fmt: skip
@click.option(
    "-o", "--output", required=True, metavar="POOL", type=click.Path(path_type=Path),
    help="Pool to write.",
)  # fmt: skip
@click.option(
    "--asn-candidate", "candidate", metavar="TEXT",
    help="Candidates all are of besides their observation: \"[('c1000', 'background')]\".",
)  # fmt: skip
@click.option("--dms-note", metavar="TEXT", help="Note on all exposures.")
@click.option("--is-imprt", metavar="T|F", help="Whether all are imprint exposures.")
@click.option("--pntgtype", metavar="TYPE", help="What all were pointed for.  [default: science]")
@click.option(
    "--set", "cells", multiple=True, metavar="COLUMN=TEXT", help="A cell of all rows; repeatable."
)
@click.option("--all-keywords", is_flag=True, help="Add a column of every other keyword.")
@click.option("--folders", is_flag=True, help="Keep the folders in the files' names.")
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), default=8, show_default=True, metavar="N",
    help="Files to read at once.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Leave with 3 where a file was skipped.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def pool(
    files: tuple[Path, ...],
    output: Path,
    candidate: str | None,
    dms_note: str | None,
    is_imprt: str | None,
    pntgtype: str | None,
    cells: tuple[str, ...],
    all_keywords: bool,
    folders: bool,
    jobs: int,
    strict: bool,
    quiet: bool,
) -> int:
    """Make a pool of exposures from their headers.

    Files that cannot be read are skipped and named, and so is what headers do not say.
    """
    from lightmill.association.pool import write_pool
    from lightmill.association.pool_maker import exposures_in, make_pool

    fixed = {"dms_note": dms_note, "is_imprt": is_imprt, "pntgtype": pntgtype}
    given = {name: text for name, text in fixed.items() if text is not None} | _cells(cells)
    paths = [one for path in files for one in (exposures_in(path) if path.is_dir() else [path])]
    with shown_progress(shown=somebody_looks() and not quiet) as progress:
        made = make_pool(
            paths,
            definitions(),
            fixed=given,
            candidates=_candidates(candidate),
            every_keyword=all_keywords,
            folders=folders,
            threads=jobs,
            name=output.name,
            progress=progress,
        )
    _report(made, quiet=quiet)
    if not len(made.pool):
        raise DataError(
            "no exposure could be put in the pool",
            place=output,
            found=f"{len(made.skipped)} files skipped" if made.skipped else "no files",
        )
    write_pool(made.pool, output)
    if not quiet:
        print(f"{output}: {len(made.pool)} exposures")
    return 3 if strict and made.skipped else 0


def definitions() -> dict[str, dict[str, Column]]:
    """Return the columns of each observatory that defines some."""
    from lightmill import app
    from lightmill.association.pool_columns import read_columns
    from lightmill.instrument import observatories

    app.discover()
    return {
        one.name.upper(): read_columns(path)
        for one in observatories()
        if (path := one.home / "associations" / "pool.yaml").exists()
    }


def _candidates(text: str | None) -> list[tuple[str, str]]:
    from lightmill.association.pool_check import parse_candidates

    if text is None:
        return []
    found = parse_candidates(text)
    if found is None:
        raise UsageError(
            "these are no candidates", place="--asn-candidate", found=text,
            expected="[('c1000', 'background')]",
        )  # fmt: skip
    return found


def _cells(settings: tuple[str, ...]) -> dict[str, str]:
    cells = {}
    for text in settings:
        name, equals, cell = text.partition("=")
        if not equals or not name.strip():
            raise UsageError("this sets no cell", place="--set", found=text, expected="COLUMN=TEXT")
        cells[name.strip().lower()] = cell
    return cells


def _report(made: MadePool, *, quiet: bool) -> None:
    """Say what was skipped and what is missing, on the error stream."""
    for one in made.skipped:
        print(f"skipped {one.path}: {one.reason}", file=sys.stderr)
    if quiet:
        return
    for column, names in made.missing.items():
        some = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
        print(f"no {column} in {len(names)} of {len(made.pool)} headers: {some}", file=sys.stderr)
