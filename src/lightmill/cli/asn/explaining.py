"""``lightmill asn explain``: why an exposure is in an association, or in none."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lightmill.cli.asn.generating import rule_options
from lightmill.cli.asn.observatory import checked_pool, rules_of
from lightmill.cli.commands import argument, command

__all__ = ["explain"]


@command("explain")
@argument("pool", type=click.Path(path_type=Path), help="Pool of exposures.")
@click.option(
    "-x", "--exposure", required=True, metavar="FILE", help="Its file name, or the start of it."
)
@click.option("-i", "--ids", multiple=True, metavar="ID", help="Only this candidate; repeatable.")
@click.option("--rule", "wanted", multiple=True, metavar="RULE", help="Only this rule; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@rule_options
def explain(
    pool: Path,
    exposure: str,
    ids: tuple[str, ...],
    wanted: tuple[str, ...],
    as_json: bool,
    observatory: str | None,
    rules: tuple[Path, ...],
    ignore_default: bool,
    delimiter: str,
) -> int:
    """Tell for every rule whether an exposure is in, in which role, and why not."""
    from dataclasses import replace

    from lightmill.association.engine import Options
    from lightmill.association.engine import explain as explained
    from lightmill.errors import UnknownNameError

    used = rules_of(
        observatory, rules, ignore_default=ignore_default, pool=pool, delimiter=delimiter
    )
    names = [rule.name for rule in used]
    for name in wanted:
        if name not in names:
            raise UnknownNameError("rule", name, names)
    table = checked_pool(pool, delimiter, used, quiet=True)
    found = explained(table, used, exposure, Options(ids=ids or None))
    if wanted:
        found = [
            replace(one, verdicts=tuple(v for v in one.verdicts if v.rule in wanted))
            for one in found
        ]
    if as_json:
        print(json.dumps([one.as_dict() for one in found], indent=2))
    else:
        print("\n".join(one.text() for one in found))
    return 0
