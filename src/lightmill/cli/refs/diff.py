"""``lightmill refs diff``: what changes from some rules to others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.refs.named import rules_named
from lightmill.cli.tables import table

if TYPE_CHECKING:
    from lightmill.reference.diff import Change

__all__ = ["diff"]


@command("diff")
@argument("old", help="A context, a file of rules, or the folder of an observatory.")
@argument("new", help="Another one of the same kind.")
@click.option("--files", "only_files", is_flag=True, help="Only the files that come and go.")
@click.option(
    "--crds-path",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The cache. [default: CRDS_PATH, or a folder of our own]",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def diff(old: str, new: str, only_files: bool, crds_path: Path | None, as_json: bool) -> int:
    """Show what changes from some rules to others: rows, and files.

    Leaves with 0 if nothing does, with 1 if something does.
    """
    from lightmill.reference.diff import difference

    before, old_source, _ = rules_named(old, crds_path)
    after, new_source, _ = rules_named(new, crds_path)
    changes = list(difference(before, after, old_source, new_source))
    gone: set[str] = set()
    come: set[str] = set()
    for one in changes:
        gone |= one.files[0]
        come |= one.files[1]
    if as_json:
        facts = {
            "old": before.name,
            "new": after.name,
            "changes": [one.as_dict() for one in changes],
            "files": {"old": sorted(gone - come), "new": sorted(come - gone)},
        }
        print(json.dumps(facts, indent=2))
        return int(bool(changes))
    if not changes:
        print("the rules are the same")
        return 0
    if only_files:
        print("\n".join([f"- {name}" for name in sorted(gone - come)] +
                        [f"+ {name}" for name in sorted(come - gone)]))  # fmt: skip
        return 1
    _print(changes)
    print(f"{len(changes)} changes; {len(come - gone)} files come, {len(gone - come)} go")
    return 1


def _print(changes: list[Change]) -> None:
    """Print changes below the mappings they are in."""
    groups: dict[tuple[str, str], list[Change]] = {}
    for one in changes:
        groups.setdefault(one.mappings[-1], []).append(one)
    for (old, new), ones in groups.items():
        print(f"{old} → {new}" if old != new else old)
        print(table([_cells(one) for one in ones]))


def _cells(one: Change) -> tuple[str, str, str]:
    sign = {"added": "+", "deleted": "-", "replaced": "~"}.get(one.action, "!")
    row = "  ".join(", ".join(key) if len(key) != 2 or ":" not in key[1] else " ".join(key)
                    for key in one.keys)  # fmt: skip
    if one.action == "replaced":
        return sign, row, f"{one.old} → {one.new}"
    if one.action == "different":
        return sign, row, one.sentence
    return sign, row, str(one.new if one.action == "added" else one.old)
