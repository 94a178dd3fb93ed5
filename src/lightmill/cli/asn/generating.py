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


def rule_options(function):
    """Add the options that say which rules to use."""
    for option in (
        click.option("--observatory", metavar="NAME", help="Whose rules.  [default: the only one]"),
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
    from lightmill.association.engine import Options, associate

    if more_ids and not ids:
        raise UsageError("one pool at a time", found=" ".join(more_ids), remedy="-i ID")
    if sum((bool(ids), discover, all_candidates)) > 1:
        raise UsageError("-i, --discover and --all-candidates exclude each other")
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
    used = rules_of(observatory, rules, ignore_default=ignore_default)
    table = checked_pool(pool, delimiter, used, quiet=quiet)
    if options.ids and not quiet:
        _tell_unknown(options.ids, table, used)
    associations = associate(table, used, options)
    if not quiet:
        for note in sorted({note for one in associations for note in one.notes}):
            print(f"warning: {note}", file=sys.stderr)
    if not dry_run:
        from lightmill.association.output import version_stamp, write_associations

        version = version_stamp() if version_id == _NOW else version_id
        pattern = used.shared.get("file_name")
        naming = {"pattern": pattern} if pattern else {}
        written = write_associations(associations, folder, version=version, **naming)
        for error in written.refused:
            print(error.story(), file=sys.stderr)
        if listed:
            for path in written.paths:
                print(path)
        if save_orphans:
            _save_orphans(table, associations, folder, save_orphans, delimiter)
    if not quiet:
        print(f"{pool}: {len(table)} exposures, {len(associations)} associations")
    return 0


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
