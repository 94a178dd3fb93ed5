"""``lightmill refs certify``: whether rules and reference files are fit to be released."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightmill.cli.commands import argument, command
from lightmill.errors import ConfigurationError

if TYPE_CHECKING:
    from lightmill.reference.findings import Finding
    from lightmill.reference.rules.text import MappingText

__all__ = ["certify"]

_RULES = {".pmap", ".imap", ".rmap", ".yaml", ".yml"}
_UNFIT = 3  # exit status, as of other bad data


@command("certify")
@argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path),
    help="Rules (.pmap, .imap, .rmap, .yaml) and reference files; folders of an observatory.",
)  # fmt: skip
@click.option(
    "--context", metavar="CONTEXT",
    help="Rules that references are to be inserted into: a file, a folder, or a name in the cache.",
)  # fmt: skip
@click.option(
    "--constraints", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of .tpn files that references have to keep.",
)  # fmt: skip
@click.option("--exist", is_flag=True, help="Ask whether the references that rules name are there.")
@click.option("--alone", is_flag=True, help="Do not look at the mappings that a mapping names.")
@click.option(
    "--crds-path", metavar="DIR", type=click.Path(path_type=Path),
    help="The cache. [default: CRDS_PATH, or a folder of our own]",
)  # fmt: skip
@click.option("--quiet", is_flag=True, help="Only errors.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def certify(
    files: tuple[Path, ...],
    context: str | None,
    constraints: Path | None,
    exist: bool,
    alone: bool,
    crds_path: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Check rules against their grammar, and references against schema, metadata and constraints.

    Leaves with 3 if there is an error, with 0 if there are only warnings.
    """
    from lightmill.reference.findings import ERROR

    rules = _Rules(context, crds_path)
    found: list[Finding] = []
    for path in files:
        if not path.exists():
            raise ConfigurationError("there is no such file", place=path)
        if path.is_dir() or path.suffix in _RULES:
            found += _certified_rules(path, crds_path, exist=exist, alone=alone)
        else:
            from lightmill import app
            from lightmill.reference.certify import certify_reference

            app.discover()
            found += certify_reference(path, rules=rules.of(path), constraints=constraints)
    if quiet:
        found = [one for one in found if one.severity == ERROR]
    bad = any(one.severity == ERROR for one in found)
    if as_json:
        print(json.dumps({"fit": not bad, "findings": [one.as_dict() for one in found]}, indent=2))
    else:
        _print(found, len(files))
    return _UNFIT if bad else 0


def _certified_rules(
    path: Path, crds_path: Path | None, *, exist: bool, alone: bool
) -> list[Finding]:
    from lightmill.reference.certify import certify_folder, certify_rules

    references: Any = None
    if exist:
        from lightmill.reference.cache import Cache

        cache = Cache(crds_path)

        def references(name: str) -> bool:
            return (path.parent / name).is_file() or cache.has(name)

    if path.is_dir():
        return certify_folder(path, references=references)
    return certify_rules(path, references=references, recurse=not alone)


class _Rules:
    """The rules references are to be inserted into."""

    def __init__(self, context: str | None, crds_path: Path | None) -> None:
        self.context = context
        self.crds_path = crds_path

    def of(self, path: Path) -> MappingText | None:
        """Return the rules of a reference's type, None if no context was named."""
        if self.context is None:
            return None
        from lightmill.cli.refs.named import rules_named
        from lightmill.reference.parsed import rules_for

        mapping, source, _ = rules_named(self.context, self.crds_path)
        return rules_for(mapping, source, path)


def _print(found: list[Finding], files: int) -> None:
    for one in found:
        print(f"{one.where}: {one.severity}: {one.fact} [{one.code}]")
        if one.remedy:
            print(f"    try:      {one.remedy}")
    counts = {
        word: sum(one.severity == word for one in found) for word in ("error", "warning", "note")
    }
    summary = ", ".join(
        f"{count} {word}{'s' * (count != 1)}" for word, count in counts.items() if count
    )
    print(f"{files} file{'s' * (files != 1)}: {summary or 'nothing to complain of'}")
