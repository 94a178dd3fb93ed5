"""``lightmill refs checksum``: whether mapping files are what their checksums say."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.refs.new_file import write_new
from lightmill.cli.tables import table
from lightmill.errors import ConfigurationError, LightmillError, UsageError

__all__ = ["checksum"]

_DAMAGED = 3  # exit status, as of other bad data


@command("checksum")
@argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), help="Mapping files.")
@click.option(
    "--write", "output", metavar="FILE", type=click.Path(path_type=Path),
    help="Write the file with a correct checksum to a new file (a folder, for several files).",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def checksum(files: tuple[Path, ...], output: Path | None, as_json: bool) -> int:
    """Check the checksums of mapping files, or write corrected copies.

    Leaves with 3 if a checksum is wrong or missing. Nothing is changed in place: a released
    file of rules never changes.
    """
    from lightmill.reference.rules.text import checksum_of, verify_checksum

    rows = []
    for path in files:
        text = _text(path)
        computed = checksum_of(text)
        try:
            verify_checksum(text, str(path))
            state = "good"
        except LightmillError as error:
            state = error.fact
        rows.append({"file": str(path), "sha1sum": computed, "state": state})
        if output is not None:
            _write(path, text, computed, output, several=len(files) > 1)
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print(table([(row["sha1sum"], row["file"], row["state"]) for row in rows]))
    bad = any(row["state"] != "good" for row in rows)
    return _DAMAGED if bad and output is None else 0


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "the file cannot be read",
            place=path,
            found=getattr(error, "strerror", None) or str(error),
        ) from error


def _write(path: Path, text: str, computed: str, output: Path, *, several: bool) -> None:
    """Write a copy that differs in its checksum only."""
    from lightmill.reference.rules.text import checksum_of, parse_mapping

    target = output / path.name if several or output.is_dir() else output
    lines = text.splitlines(keepends=True)
    places = [index for index, line in enumerate(lines) if "sha1sum" in line]
    new = f"    'sha1sum' : '{computed}',\n"
    if len(places) == 1:
        lines[places[0]] = new
    elif not places:
        head = next((i for i, line in enumerate(lines) if line.rstrip() == "header = {"), None)
        if head is None:
            raise UsageError("no line `header = {` to write the checksum below", place=path)
        lines.insert(head + 1, new)
    else:
        raise UsageError("several lines speak of sha1sum", place=path)
    whole = "".join(lines)
    said = parse_mapping(whole, str(path)).header.get("sha1sum")
    assert said == checksum_of(whole)
    write_new(target, whole)
