"""``lightmill asn from-list``: an association of files named by hand."""

from __future__ import annotations

import re
from pathlib import Path

import click

from lightmill.cli.commands import argument, command

__all__ = ["from_list"]

_WITH_ROLE = re.compile(r"(.+),([a-z_]+)")


@command("from-list")
@argument(
    "files", nargs=-1, required=True, metavar="FILE[,ROLE]...",
    help="Members, by name; the role is science where none is given.",
)  # fmt: skip
@click.option(
    "-o", "--output-file", "output", required=True, metavar="FILE",
    type=click.Path(path_type=Path), help="Association to write; its name ends in .json.",
)  # fmt: skip
@click.option("--product-name", metavar="NAME", help="Name of the product of all files.")
@click.option(
    "-r", "--rule", default="DMS_Level3_Base", show_default=True, metavar="RULE",
    help="DMS_Level3_Base: one product of all; DMSLevel2bBase: one of each science file.",
)  # fmt: skip
@click.option(
    "-i", "--id", "candidate", default="a3001", show_default=True, metavar="ID",
    help="Identifier of the association.",
)  # fmt: skip
@click.option("-f", "--format", "form", type=click.Choice(["json"]), default="json", hidden=True)
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def from_list(
    files: tuple[str, ...],
    output: Path,
    product_name: str | None,
    rule: str,
    candidate: str,
    form: str,
    quiet: bool,
) -> int:
    """Write an association of files, whatever the rules say.

    The files need not exist yet.
    """
    del form
    from lightmill import app
    from lightmill.association.from_list import from_list as associated
    from lightmill.association.output import write_document
    from lightmill.pipeline.naming import base_name

    app.discover()  # knows what observatories put at the end of file names
    members = [_member(text) for text in files]
    document = associated(
        members,
        rule=rule,
        product=product_name,
        candidate=candidate,
        root=lambda name: base_name(name)[0],
    )
    path = write_document(document, output)
    if not quiet:
        print(path)
    return 0


def _member(text: str) -> tuple[str, str]:
    match = _WITH_ROLE.fullmatch(text)
    return (match.group(1), match.group(2)) if match else (text, "science")
