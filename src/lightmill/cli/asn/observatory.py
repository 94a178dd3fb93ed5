"""The rules and the pool the commands of associations were asked to use."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lightmill.errors import ConfigurationError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from lightmill.association.language import RuleSet
    from lightmill.association.pool_table import Pool

__all__ = ["checked_pool", "rules_of"]

FOLDER = "associations"
_OBSERVATORIES = Path(__file__).parents[2] / "observatories"
_SHOWN = 10  # findings named


def rules_of(observatory: str | None, files: tuple[Path, ...], *, ignore_default: bool) -> RuleSet:
    """Return the rules of an observatory, and of files besides.

    Parameters
    ----------
    observatory : str or None
        Its name; None is the only one that has rules.
    files : tuple of Path
        Files of rules, or folders of such.
    ignore_default : bool
        Whether to take the rules of `files` alone.
    """
    from lightmill.association.language import read_rules

    if ignore_default and not files:
        raise UsageError("without the default rules, others must be given", remedy="-r FILE")
    return read_rules(*files) if ignore_default else read_rules(_home(observatory), *files)


def _home(observatory: str | None) -> Path:
    """Return the folder of an observatory's rules.

    Those of our own folders are found without importing the instruments, which takes longer
    than associating a small pool.
    """
    ours = {home.parent.name: home for home in _OBSERVATORIES.glob(f"*/{FOLDER}")}
    if observatory is None and len(ours) == 1:
        return next(iter(ours.values()))
    if observatory is not None and observatory.lower() in ours:
        return ours[observatory.lower()]
    from lightmill import app
    from lightmill.instrument import observatories

    app.discover()
    homes = {one.name: one.home / FOLDER for one in observatories() if (one.home / FOLDER).is_dir()}
    if observatory is None:
        raise ConfigurationError(
            "several observatories have rules of association",
            found=", ".join(sorted(homes)),
            remedy="--observatory NAME",
        )
    for name, home in homes.items():
        if name.lower() == observatory.lower():
            return home
    raise UnknownNameError("observatory with rules", observatory, homes)


def checked_pool(path: Path, delimiter: str, rules: RuleSet, *, quiet: bool) -> Pool:
    """Return a pool, without the rows that must not be used; tell which those are."""
    from lightmill.association.pool import read_pool
    from lightmill.association.pool_check import check_pool

    columns = rules.shared["columns"]
    needed = [*rules.shared.get("required", ()), columns["file"], columns["program"]]
    usable, findings = check_pool(
        read_pool(path, delimiter=delimiter), required=dict.fromkeys(needed)
    )
    if not quiet:
        for finding in findings[:_SHOWN]:
            print(finding, file=sys.stderr)
        if len(findings) > _SHOWN:
            print(f"… and {len(findings) - _SHOWN} more such rows", file=sys.stderr)
    return usable
