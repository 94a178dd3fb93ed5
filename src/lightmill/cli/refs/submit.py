"""``lightmill refs submit``: new references into new rules; nothing that was there is touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.tables import table
from lightmill.errors import ConfigurationError, ValidationError

if TYPE_CHECKING:
    from lightmill.reference.submit import Submission

__all__ = ["submit"]


@command("submit")
@argument(
    "references", nargs=-1, required=True, type=click.Path(path_type=Path), help="Reference files."
)
@click.option(
    "--context", metavar="CONTEXT",
    help="The context to start from; or the folder of an observatory with rules in YAML: then the "
    "entries to add are printed. [default: the one of the cache]",
)  # fmt: skip
@click.option("--observatory", metavar="NAME", help="Whose cache is meant, where it has several.")
@click.option("--new-context", metavar="NAME", help="Name of the new context, not the next number.")
@click.option(
    "--crds-path", metavar="DIR", type=click.Path(path_type=Path),
    help="The cache. [default: CRDS_PATH, or a folder of our own]",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Also references that are not fit for release.")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def submit(
    references: tuple[Path, ...],
    context: str | None,
    observatory: str | None,
    new_context: str | None,
    crds_path: Path | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Add references to the rules: new files of new numbers, all of them or none.

    Each reference gets a number and its row in the rules of its type; these, the rules of
    the instrument and the context are written as new files. The context in force stays the
    same until somebody names the new one.
    """
    from lightmill import app
    from lightmill.reference.cache import Cache
    from lightmill.reference.submit import prepare

    app.discover()
    if context is not None and Path(context).is_dir():
        return _print_entries(references, Path(context))
    cache = Cache(crds_path)
    if not force:
        _certify(references)
    name = _context(cache, context, observatory)
    submission = prepare(references, cache, name, name=new_context)
    changes, findings = submission.changes(), submission.findings()
    if not dry_run:
        submission.write()
    if as_json:
        facts = {
            "context": name,
            "new_context": submission.new_context,
            "written": not dry_run,
            "references": {str(one.source): one.name for one in submission.references},
            "mappings": list(submission.mappings),
            "changes": [one.as_dict() for one in changes],
            "findings": [one.as_dict() for one in findings],
        }
        print(json.dumps(facts, indent=2))
        return 0
    _print(submission, dry_run=dry_run)
    for change in changes:
        print(f"  {'  '.join(', '.join(key) for key in change.keys)}  {change.sentence}")
    for one in findings:
        print(f"{one.where}: {one.severity}: {one.fact} [{one.code}]")
    if not dry_run:
        print(f"use the new rules: --context {submission.new_context}")
    return 0


def _context(cache: object, context: str | None, observatory: str | None) -> str:
    from lightmill.reference.cache import Cache

    assert isinstance(cache, Cache)
    known = cache.observatories()
    if context is not None:
        return cache.resolve_context(
            context, observatory or context.partition("_")[0].partition("-")[0]
        )
    if observatory is None and len(known) != 1:
        raise ConfigurationError(
            "the cache is not one of a single observatory", place=cache.layout.story(),
            found=", ".join(known) or "none", remedy="name it with --observatory or --context",
        )  # fmt: skip
    return cache.default_context(observatory or known[0])


def _certify(references: tuple[Path, ...]) -> None:
    """Refuse references that are not fit for release."""
    from lightmill.reference.certify import certify_reference

    wrong = [
        one for path in references for one in certify_reference(path) if one.severity == "error"
    ]
    if wrong:
        raise ValidationError(
            "a reference is not fit for release", place=wrong[0].place,
            found="; ".join(one.fact for one in wrong[:5]),
            remedy="correct it (lightmill refs certify FILE), or submit it with --force",
        )  # fmt: skip


def _print(submission: Submission, *, dry_run: bool) -> None:
    print("would write" if dry_run else "wrote")
    rows = [(one.name, f"from {one.source}") for one in submission.references]
    rows += [
        (name, f"from {mapping.header['derived_from']}")
        for name, mapping in submission.mappings.items()
    ]
    print(table(rows))


def _print_entries(references: tuple[Path, ...], folder: Path) -> int:
    """Print the entries that references would be in the YAML rules of a folder."""
    from lightmill.reference.headers import header_of
    from lightmill.reference.insertion import header_keys, place_of
    from lightmill.reference.parsed import rules_for
    from lightmill.reference.yaml_rules import collect

    rules = collect(folder)
    for path in references:
        mapping = rules_for(rules.parsed_mapping(rules.context), rules, path)
        place = place_of(mapping, header_of(path, header_keys(mapping)), str(path))
        print(f"# add to {rules.places[mapping.name]}, and put the file where references are:")
        print(f"  {place.as_entry(path.name)}")
    return 0
