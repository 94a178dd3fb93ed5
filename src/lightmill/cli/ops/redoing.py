"""``lightmill ops reprocess`` and what else changes what is known: ``set``, ``accept``, ``quarantine``."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.ops.acting import apply
from lightmill.cli.ops.place import Site, root_option, site_of
from lightmill.cli.tables import table
from lightmill.errors import UsageError

if TYPE_CHECKING:
    from lightmill.operations import Observing
    from lightmill.reprocessing import Found

__all__ = ["accept", "quarantine", "reprocess", "set_values"]

CAUSES = "refs:OLD..NEW, refs:NEW, software, software:VERSION, rules, stale"


@command("reprocess")
@argument("tasks", nargs=-1, type=int, metavar="[TASK...]", help="Numbers of tasks.")
@root_option
@click.option("--reason", default="", metavar="TEXT", help="Why.")
@click.option(
    "--because", default="", metavar="CAUSE",
    help=f"Instead of numbers: all that a cause makes out of date. {CAUSES}.",
)  # fmt: skip
@click.option("--program", default="", metavar="NAME", help="With --because: only its tasks.")
@click.option("--dry-run", is_flag=True, help="With --because: list what would be done again.")
@click.option("--json", "as_json", is_flag=True, help="With --because: print the list as JSON.")
@click.option(
    "--crds-path", metavar="DIR", type=click.Path(path_type=Path),
    help="Where the contexts are. [default: CRDS_PATH, or a folder of our own]",
)  # fmt: skip
def reprocess(
    tasks: tuple[int, ...],
    root: Path,
    reason: str,
    because: str,
    program: str,
    dry_run: bool,
    as_json: bool,
    crds_path: Path | None,
) -> int:
    """Do tasks again: those named, or all that a cause makes out of date."""
    if bool(tasks) == bool(because):
        raise UsageError("name what is to be done again", expected="numbers of tasks, or --because")
    if tasks:
        return apply(tasks, root, "reprocess", {"reason": reason})
    from lightmill.reprocessing import redo

    site = site_of(root)
    store = site.opened()
    try:
        found = _found(site, store, because, program, crds_path)
        refused: list[str] = []
        if not dry_run and because == "rules":  # the service makes the associations anew
            store.reconsider(program, who=getpass.getuser())
        elif not dry_run:
            refused = redo(store, found, reason or because, who=getpass.getuser())
    finally:
        store.close()
    if as_json:
        print(json.dumps({"cause": because, **found.as_dict(), "refused": refused}, indent=2))
    else:
        _print(found, is_dry=dry_run, refused=refused)
    return 1 if refused else 0


def _found(site: Site, store: Any, because: str, program: str, crds_path: Path | None) -> Found:
    """Return what a cause makes out of date."""
    from lightmill import reprocessing

    kind, _, detail = because.partition(":")
    if kind == "refs" and detail:
        from lightmill.cli.refs.named import context_named

        old, dots, new = detail.rpartition("..")
        contexts = [context_named(one, crds_path) for one in ((old, new) if dots else (new,))]
        return reprocessing.by_references(
            store, site.root / "archive", contexts[-1], contexts[0] if dots else None,
            program=program, told=_progress(),
        )  # fmt: skip
    if kind == "software":
        return reprocessing.by_software(store, detail, program=program)
    if because == "rules":
        return reprocessing.by_rules(store, _observing(site), program=program)
    if because == "stale":
        return reprocessing.by_approval(store, program=program)
    raise UsageError("that is no cause", found=because, expected=CAUSES)


def _observing(site: Site) -> Observing:
    from lightmill.cli.ops.running import planner_of

    return planner_of(site)


def _progress() -> Callable[[int, int], None]:
    """Return what shows how far the comparison has come, where somebody looks."""
    if not sys.stderr.isatty():
        return lambda *_: None

    def told(done: int, everything: int) -> None:
        if done % 20 == 0 or done + 1 == everything:
            print(f"\r{done + 1} of {everything} tasks compared", end="", file=sys.stderr)
        if done + 1 == everything:
            print(file=sys.stderr)

    return told


def _print(found: Found, *, is_dry: bool, refused: list[str]) -> None:
    rows = [(one.task_id or "", one.type, one.name, one.scope, one.why) for one in found.owed]
    rows += [(one.task_id, one.type, one.name, "follows", one.why) for one in found.follows]
    if rows:
        print(table([tuple(map(str, row)) for row in rows]))
    for told in (*found.not_told, *(f"refused: {one}" for one in refused)):
        print(f"  {told}")
    data = sum(one.scope == "data" for one in found.owed)
    words = sum(one.scope == "description" for one in found.owed)
    verb = "would be" if is_dry else "will be"
    print(f"{data} of {found.looked_at} tasks {verb} done again, {words} only described anew; "
          f"{len(found.follows)} follow if products change")  # fmt: skip


@command("set")
@argument(
    "name", metavar="FILE", help="Name of a dataset, as `ops tasks` and the dashboard show it."
)
@argument("values", nargs=-1, required=True, metavar="KEY=VALUE...", help="What is so from now on.")
@root_option
def set_values(name: str, values: tuple[str, ...], root: Path) -> None:
    """Change what the store says of a file; what depends on that is looked at again."""
    site = site_of(root)
    pairs = {}
    for one in values:
        key, is_pair, value = one.partition("=")
        if not is_pair or not key:
            raise UsageError("that is no value", found=one, expected="KEY=VALUE")
        pairs[key] = value
    used = _observing(site).facts.get("values", ())
    store = site.opened()
    changed = store.describe(name, pairs, used=used, who=getpass.getuser())
    store.close()
    for key, (before, after) in changed.items():
        print(f"{name}: {key} was {before!r}, is {after!r}")
    if not changed:
        print(f"{name}: nothing changed")


@command("quarantine")
@argument("name", metavar="FILE", help="Name of a dataset.")
@root_option
@click.option("--reason", required=True, metavar="TEXT", help="Why it cannot be used.")
def quarantine(name: str, root: Path, reason: str) -> None:
    """Take a file out of everything; what waits for it waits until another arrives."""
    store = site_of(root).opened()
    store.quarantine(name, reason, who=getpass.getuser())
    store.close()
    print(f"{name} is in quarantine; `lightmill ops accept {name}` takes it back")


@command("accept")
@argument("name", metavar="FILE", help="Name of a dataset.")
@root_option
def accept(name: str, root: Path) -> None:
    """Make current what was kept aside: of two contents of one generation, or from quarantine."""
    store = site_of(root).opened()
    store.accept(name, who=getpass.getuser())
    store.close()
    print(f"{name} is current")
