"""``lightmill asn generate``: the associations of a pool."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lightmill.cli.asn.observatory import checked_pool, rules_of
from lightmill.cli.commands import argument, command
from lightmill.errors import UsageError

__all__ = ["generate", "rule_options"]

_NOW = "now"
_BAD = 3  # exit status, as of other bad data: an association could not be written


def rule_options(function):
    """Add the options that say which rules to use."""
    for option in (
        click.option("--observatory", metavar="NAME", help="Whose rules.  [default: as the pool says]"),
        click.option(
            "-r", "--rules", multiple=True, metavar="FILE", type=click.Path(path_type=Path),
            help="More rules: a file, or a folder of them; repeatable.",
        ),
        click.option("--ignore-default", is_flag=True, help="Use the rules of -r alone."),
        click.option(
            "-d", "--delimiter", default="|", show_default=True, metavar="CHAR",
            help="Between the cells of the pool.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


@command("generate")
@argument("pool", type=click.Path(path_type=Path), help="Pool of exposures.")
@argument("more_ids", nargs=-1, metavar="[ID]...", help="More candidates for -i.")
@click.option(
    "-i", "--ids", multiple=True, metavar="ID",
    help="Only this candidate, and nothing discovered; repeatable, and further IDs may follow.",
)  # fmt: skip
@click.option("--discover", is_flag=True, help="Keep only what no candidate asked for.")
@click.option("--all-candidates", is_flag=True, help="All candidates, and nothing discovered.")
@click.option(
    "-p", "--path", "folder", default=".", metavar="DIR", type=click.Path(path_type=Path),
    help="Folder to write to.  [default: .]",
)  # fmt: skip
@click.option(
    "--save-orphans", is_flag=False, flag_value="orphaned.csv", metavar="[FILE]",
    help="Write the rows that are in no association to DIR/FILE.",
)  # fmt: skip
@click.option(
    "--version-id", is_flag=False, flag_value=_NOW, metavar="[TEXT]",
    help="Stamp the files with a version; without TEXT, with the time.",
)  # fmt: skip
@click.option(
    "--update", is_flag=True,
    help="Work only on candidates that changed since the last --update into DIR; same result.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Write no files.")
@click.option("--DMS", "operations", is_flag=True, help="As operations: widen -i to backgrounds.")
@click.option("--no-finalize", is_flag=True, help="Leave out pruning and splitting.")
@click.option("--merge", is_flag=True, help="One association of a candidate's exposures by type.")
@click.option("--no-merge", is_flag=True, hidden=True)
@click.option("-D", "--keep-duplicates", is_flag=True, help="Write pruned associations, too.")
@click.option("--per-pool-algorithm", "per_pool", is_flag=True, help="All candidates in one pass.")
@click.option("--list", "listed", is_flag=True, help="Print the files made.")
@click.option("-v", "--verbose", is_flag=True, hidden=True)
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@rule_options
def generate(
    pool: Path,
    more_ids: tuple[str, ...],
    ids: tuple[str, ...],
    discover: bool,
    all_candidates: bool,
    folder: Path,
    save_orphans: str | None,
    version_id: str | None,
    update: bool,
    dry_run: bool,
    operations: bool,
    no_finalize: bool,
    merge: bool,
    no_merge: bool,
    keep_duplicates: bool,
    per_pool: bool,
    listed: bool,
    verbose: bool,
    quiet: bool,
    observatory: str | None,
    rules: tuple[Path, ...],
    ignore_default: bool,
    delimiter: str,
) -> int:
    """Put the exposures of a pool together for processing."""
    del no_merge, verbose
    from lightmill.association.engine import Options

    _refuse_contradictions(
        more_ids, ids, discover, all_candidates, update, per_pool, version_id == _NOW
    )
    options = Options(
        ids=(*ids, *more_ids) if ids else None,
        discover=discover,
        all_candidates=all_candidates,
        operations=operations,
        finalize=not no_finalize,
        merge=merge,
        keep_duplicates=keep_duplicates,
        per_pool=per_pool,
    )
    used = rules_of(
        observatory, rules, ignore_default=ignore_default, pool=pool, delimiter=delimiter
    )
    table = checked_pool(pool, delimiter, used, quiet=quiet)
    if options.ids and not quiet:
        _tell_unknown(options.ids, table, used)
    version = None
    if version_id is not None:
        from lightmill.association.output import version_stamp

        version = version_stamp() if version_id == _NOW else version_id
    pattern = used.shared.get("file_name")
    naming = {"version": version, **({"pattern": pattern} if pattern else {})}
    if update:
        associations, written, told = _updated(
            table, used, folder, options, naming, dry_run=dry_run, quiet=quiet
        )
    else:
        associations, written, told = _made(table, used, folder, options, naming, dry_run=dry_run)
    if not quiet:
        for note in sorted({note for one in associations for note in one.notes}):
            print(f"warning: {note}", file=sys.stderr)
    if written is not None:
        for error in written.refused:
            print(error.story(), file=sys.stderr)
        if listed:
            for path in written.paths:
                print(path)
        if save_orphans:
            _save_orphans(table, associations, folder, save_orphans, delimiter)
    if not quiet:
        print(f"{pool}: {len(table)} exposures, {len(associations)} associations{told}")
    return _BAD if written is not None and written.refused else 0


def _refuse_contradictions(
    more_ids, ids, discover: bool, all_candidates: bool, update: bool, per_pool: bool, timed: bool
) -> None:
    if more_ids and not ids:
        raise UsageError("one pool at a time", found=" ".join(more_ids), remedy="-i ID")
    if sum((bool(ids), discover, all_candidates)) > 1:
        raise UsageError("-i, --discover and --all-candidates exclude each other")
    if update and per_pool:
        raise UsageError("--update and --per-pool-algorithm exclude each other")
    if update and timed:
        raise UsageError(
            "with the time in their names all files are new: there is nothing to update",
            remedy="--version-id TEXT, or no --version-id",
        )


def _made(table, used, folder: Path, options, naming, *, dry_run: bool):
    """Make all associations and their files."""
    from lightmill.association.engine import associate

    associations = associate(table, used, options)
    if dry_run:
        return associations, None, ""
    from lightmill.association.output import write_associations

    return associations, write_associations(associations, folder, **naming), ""


def _updated(table, used, folder: Path, options, naming, *, dry_run: bool, quiet: bool):
    """Make what changed, and tell what became of the files of the last time."""
    from lightmill.association.updating import update_associations

    done = update_associations(table, used, folder, options, dry_run=dry_run, **naming)
    told = f"; candidates worked on: {len(done.recomputed)}"
    if done.written is not None:
        new = len(done.written.paths) - done.written.unchanged
        told += f"; files: {new} written, {done.written.unchanged} as they were"
        told += f", {len(done.gone)} no longer made" if done.gone else ""
    if not quiet:
        if done.anew:
            print(f"all is made anew: {done.anew}", file=sys.stderr)
        for name in done.gone:
            print(
                f"no longer made, delete it if nothing needs it: {folder / name}", file=sys.stderr
            )
    return done.associations, done.written, told


def _tell_unknown(ids: tuple[str, ...], table, used) -> None:
    """Warn of candidates the pool does not have."""
    from lightmill.association.engine.candidates import candidates_of

    known = {name for name, _ in candidates_of(table, used.shared["columns"]["candidates"])}
    for name in ids:
        if name not in known:
            print(f"warning: the pool has no candidate {name!r}", file=sys.stderr)


def _save_orphans(table, associations, folder: Path, name: str, delimiter: str) -> None:
    """Write the rows that are member of no association."""
    from lightmill.association.names import file_name_fault
    from lightmill.association.pool import write_pool

    fault = file_name_fault(name)
    if fault:
        raise UsageError(fault, place="--save-orphans", found=name)
    members = {
        member.row for one in associations for product in one.products for member in product.members
    }
    orphans = table.select([row for row in range(len(table)) if row not in members])
    write_pool(orphans, folder / name, delimiter=delimiter)
