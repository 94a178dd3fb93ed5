"""``lightmill refs affected``: which data would get other references, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.tables import table
from lightmill.errors import DataError, LightmillError, UsageError

if TYPE_CHECKING:
    from lightmill.reference.rules import Context

__all__ = ["affected"]


@command("affected")
@argument("old", help="The rules in force: a .pmap, a name in the cache, an observatory's folder.")
@argument("new", help="Those to come.")
@click.option(
    "--files", "files", metavar="FILE", multiple=True, type=click.Path(path_type=Path),
    help="Data files, or folders of them; may be given several times.",
)  # fmt: skip
@click.option(
    "--headers", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Headers instead of files: a JSON object a line, with a name under 'id'.",
)  # fmt: skip
@click.option("--types", metavar="TYPE", multiple=True, help="Only references of these types.")
@click.option(
    "--crds-path", metavar="DIR", type=click.Path(path_type=Path),
    help="The cache. [default: CRDS_PATH, or a folder of our own]",
)  # fmt: skip
@click.option("--list", "only_names", is_flag=True, help="Only the names of the data, one a line.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def affected(
    old: str,
    new: str,
    files: tuple[Path, ...],
    headers: Path | None,
    types: tuple[str, ...],
    crds_path: Path | None,
    only_names: bool,
    as_json: bool,
) -> int:
    """Show which data would get other references under other rules, and why.

    Leaves with 0 if none would, with 1 if some would.
    """
    from lightmill.cli.refs.named import context_named
    from lightmill.reference.affected import affected as changes_of

    if bool(files) == bool(headers):
        raise UsageError("name data: --files or --headers", expected="one of the two")
    before, after = (context_named(one, crds_path) for one in (old, new))
    known: dict[str, dict[str, Any]] = {}
    instrument_of: dict[str, str] = {}
    problems: list[str] = []
    if headers is not None:
        _read_headers(headers, known, instrument_of)
    else:
        problems = _headers_of(files, (before, after), known, instrument_of)
    found = changes_of(before, after, known, instrument_of=instrument_of, types=types or None)
    names = dict.fromkeys(one.data for one in found)
    if as_json:
        facts = {
            "old": before.name,
            "new": after.name,
            "looked_at": len(known),
            "affected": [one.as_dict() for one in found],
            "not_read": problems,
        }
        print(json.dumps(facts, indent=2))
    elif only_names:
        print("\n".join(names))
    else:
        print(table([(one.data, one.reftype, f"{one.old} → {one.new}", one.why) for one in found]))
        for problem in problems:
            print(f"  not read: {problem}")
        print(f"{len(names)} of {len(known)} data would get other references")
    return int(bool(found))


def _headers_of(
    files: tuple[Path, ...],
    contexts: tuple[Context, Context],
    known: dict[str, dict[str, Any]],
    instrument_of: dict[str, str],
) -> list[str]:
    """Read the headers of files; return what could not be read."""
    from lightmill import app, models
    from lightmill.reference.headers import header_of

    app.discover()
    problems = []
    keys: dict[str, list[str]] = {}
    for path in _each(files):
        try:
            model = models.open(path)
            instrument = str(model.meta.get("instrument.name") or "").lower()
            if not instrument:
                raise DataError("the file does not say which instrument it comes from", place=path)
            if instrument not in keys:
                asked = [key for one in contexts for key in _keys(one, instrument)]
                keys[instrument] = list(dict.fromkeys(asked))
            known[str(path)] = header_of(model, keys[instrument])
            instrument_of[str(path)] = instrument
        except LightmillError as error:
            problems.append(f"{path}: {error.fact}")
    if problems and not known:
        raise DataError("no file could be read", found=problems[0])
    return problems


def _keys(context: Context, instrument: str) -> list[str]:
    """Return what rules ask of data; nothing where they do not know the instrument."""
    names = {name.lower() for name in context.instruments}
    return list(context.required_keys(instrument)) if instrument in names else []


def _each(files: tuple[Path, ...]) -> list[Path]:
    found: list[Path] = []
    for path in files:
        if path.is_dir():
            found += sorted(one for one in path.iterdir() if one.suffix in {".fits", ".asdf"})
        else:
            found.append(path)
    return found


def _read_headers(
    path: Path, known: dict[str, dict[str, Any]], instrument_of: dict[str, str]
) -> None:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            header = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError("this is no JSON", place=f"{path}:{number}", found=str(error)) from None
        if not isinstance(header, dict):
            raise DataError("a header is a JSON object", place=f"{path}:{number}")
        name = str(header.pop("id", f"line {number}"))
        upper = {str(key).upper(): value for key, value in header.items()}
        instrument = upper.get("META.INSTRUMENT.NAME") or upper.get("INSTRUME")
        if not instrument:
            raise DataError(
                "the header names no instrument", place=f"{path}:{number}",
                expected="META.INSTRUMENT.NAME or INSTRUME",
            )  # fmt: skip
        known[name] = header
        instrument_of[name] = str(instrument).lower()
