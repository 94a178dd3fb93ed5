"""``lightmill refs index``: rules for a folder of reference files, from what they say."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.refs.new_file import write_new
from lightmill.cli.tables import counted

__all__ = ["index"]

_DOUBTFUL = 3  # exit status, as of other bad data


@command("index")
@argument("folder", type=click.Path(path_type=Path), help="The folder of reference files.")
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(path_type=Path),
    help="The new file of rules, such as OBSERVATORY/reference/rules.yaml. [default: print it]",
)  # fmt: skip
@click.option(
    "--field", "fields", metavar="FIELD", multiple=True,
    help="What references are chosen by: a path of metadata or a FITS keyword; may be given "
    "several times. [default: detector, filter and the like, where a file speaks of them]",
)  # fmt: skip
def index(folder: Path, output: Path | None, fields: tuple[str, ...]) -> int:
    """Write rules that choose among the reference files of a folder.

    Each file's row is what its header says it is for. Leaves with 3 if two files say the same.
    """
    from lightmill import app
    from lightmill.reference.index import index_folder

    app.discover()
    made = index_folder(folder, fields or None)
    text = made.text()
    if output is None:
        print(text, end="")
    else:
        write_new(output, text)
        print(f"{output}: rules of {counted(len(made.rules), 'type')}")
    for one in made.findings:
        print(f"{one.where}: {one.severity}: {one.fact} [{one.code}]", file=sys.stderr)
    return _DOUBTFUL if any(one.severity == "error" for one in made.findings) else 0
