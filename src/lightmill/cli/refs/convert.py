"""``lightmill refs convert``: mapping files as YAML, and YAML as mapping files."""

from __future__ import annotations

from pathlib import Path

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.refs.new_file import write_new
from lightmill.errors import ConfigurationError, UsageError

__all__ = ["convert"]


@command("convert")
@argument(
    "rules",
    type=click.Path(path_type=Path),
    required=False,
    help="A .pmap, .imap, .rmap or .yaml file; or the folder of an observatory with YAML rules.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="The new file (a folder, for the rules of a folder). [default: print it]",
)  # fmt: skip
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the YAML form, for editors.")
def convert(rules: Path | None, output: Path | None, schema: bool) -> int:
    """Write the same rules in the other form, without loss.

    Mapping files become YAML, YAML becomes mapping files. The rules of an observatory's
    folder become a context: a .pmap, its .imap and .rmap files.
    """
    if schema:
        from lightmill.reference.yaml_rules.schema import schema_text

        _put(schema_text(), output)
        return 0
    if rules is None:
        raise UsageError("name the rules to convert", expected="a file or a folder")
    if rules.is_dir():
        from lightmill.reference.yaml_rules import collect

        if output is None:
            raise UsageError("name the folder for the mapping files", remedy="-o FOLDER")
        for path in collect(rules).write(output):
            print(path)
        return 0
    if not rules.is_file():
        raise ConfigurationError(
            "there is no such file of rules",
            place=rules,
            remedy="give the path of a .pmap, .imap, .rmap or .yaml file, or of a folder",
        )
    from lightmill.reference.convert import converted

    _put(converted(rules, None if output is None else output.name), output)
    return 0


def _put(text: str, output: Path | None) -> None:
    """Print a text, or write it to a file that is not there yet."""
    if output is None:
        print(text, end="")
    else:
        write_new(output, text)
