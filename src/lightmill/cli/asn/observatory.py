"""The rules and the pool the commands of associations were asked to use."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from lightmill.errors import ConfigurationError, UnknownNameError, UsageError
from lightmill.yaml_files import read_yaml

if TYPE_CHECKING:
    from lightmill.association.language import RuleSet
    from lightmill.association.pool_table import Pool

__all__ = ["checked_pool", "rules_of"]

FOLDER = "associations"
_OBSERVATORIES = Path(__file__).parents[2] / "observatories"
_SHOWN = 10  # findings named
_LOOKED_AT = 100  # lines of a pool, to know whose it is


def rules_of(
    observatory: str | None,
    files: tuple[Path, ...],
    *,
    ignore_default: bool,
    pool: Path | None = None,
    delimiter: str = "|",
) -> RuleSet:
    """Return the rules of an observatory, and of files besides.

    Parameters
    ----------
    observatory : str or None
        Its name; None is the only one that has rules, or the one that the pool is of: by its
        instrument, or else by its columns.
    files : tuple of Path
        Files of rules, or folders of such.
    ignore_default : bool
        Whether to take the rules of `files` alone.
    pool : Path, optional
        The exposures that rules are for.
    delimiter : str
        Between the cells of the pool.
    """
    from lightmill.association.language import read_rules

    if ignore_default and not files:
        raise UsageError("without the default rules, others must be given", remedy="-r FILE")
    if ignore_default:
        return read_rules(*files)
    return read_rules(_home(observatory, pool, delimiter), *files)


def _home(observatory: str | None, pool: Path | None, delimiter: str) -> Path:
    """Return the folder of an observatory's rules.

    Those of our own folders are found without importing the instruments, which takes longer
    than associating a small pool.
    """
    ours = {home.parent.name: home for home in _OBSERVATORIES.glob(f"*/{FOLDER}")}
    if observatory is None and len(ours) == 1:
        return next(iter(ours.values()))
    if observatory is None and pool is not None:
        observatory = _observatory_of(pool, delimiter, ours)
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


def _observatory_of(pool: Path, delimiter: str, homes: dict[str, Path]) -> str | None:
    """Return whose pool it is: whose instrument took its first exposure, or who knows its columns.

    An instrument has a folder of its name; only the beginning of the pool is read. None if two
    know as many of the columns.
    """
    owners = {
        leaf.name: name for name, home in homes.items() for leaf in home.parent.iterdir()
        if (leaf / "instrument.yaml").exists()
    }  # fmt: skip
    try:
        with pool.open(encoding="utf-8", errors="replace") as rows:
            lines = [[cell.strip().lower() for cell in row.split(delimiter)]
                     for row in islice(rows, _LOOKED_AT) if delimiter in row]  # fmt: skip
    except OSError:
        lines = []
    if not lines:
        return next(iter(homes))  # whoever reads the pool says what is wrong with it
    for column in range(len(lines[0])):
        if lines[0][column] == "instrume":
            named = (owners.get(cells[column]) for cells in lines[1:] if len(cells) > column)
            found = next(filter(None, named), None)
            if found is not None:
                return found
    known = {
        name: len({*(read_yaml(home / "pool.yaml") or {}).get("columns", ())} & {*lines[0]})
        for name, home in homes.items()
        if (home / "pool.yaml").exists()
    }
    best = [name for name, count in known.items() if count == max(known.values())]
    return best[0] if len(best) == 1 else None


def checked_pool(path: Path, delimiter: str, rules: RuleSet, *, quiet: bool) -> Pool:
    """Return a pool, without the rows that must not be used; tell which those are."""
    from lightmill.association.pool import read_pool
    from lightmill.association.pool_check import check_pool

    columns = rules.shared["columns"]
    needed = [*rules.shared.get("required", ()), columns["file"], columns["program"]]
    usable, findings = check_pool(
        read_pool(path, delimiter=delimiter, as_written=rules.as_written),
        required=dict.fromkeys(needed),
    )
    if not quiet:
        for finding in findings[:_SHOWN]:
            print(finding, file=sys.stderr)
        if len(findings) > _SHOWN:
            print(f"… and {len(findings) - _SHOWN} more such rows", file=sys.stderr)
    return usable
