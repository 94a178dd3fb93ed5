"""``lightmill asn validate``: whether association files are what programs can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lightmill.cli.commands import argument, command
from lightmill.errors import LightmillError

__all__ = ["validate"]

_BAD = 3  # exit status, as of other bad data
_SHOWN = 100  # faults of one file: where it is wrong throughout, more say nothing more


@command("validate")
@argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), help="Association files."
)
@click.option("--members", is_flag=True, help="Also ask that every member's file is in the folder.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
def validate(files: tuple[Path, ...], members: bool, as_json: bool, quiet: bool) -> int:
    """Check association files, and say where each fault is.

    Leaves with 3 if a program could not read one of them, or should not follow it.
    """
    found = [_of_file(path, members=members) for path in files]
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        for one in found:
            for error in one["errors"] + one["warnings"]:
                print(error["text"])
            if not one["errors"] and not quiet:
                print(
                    f"{one['file']}: good, {one['products']} products of {one['members']} members"
                )
    return _BAD if any(one["errors"] for one in found) else 0


def _of_file(path: Path, *, members: bool) -> dict[str, Any]:
    from lightmill.association.documents import Fault, error_of, faults_of_text, read_text

    result: dict[str, Any] = {
        "file": str(path), "products": 0, "members": 0, "errors": [], "warnings": [],
    }  # fmt: skip
    try:
        text = read_text(path)
    except LightmillError as error:
        result["errors"].append(_said(error))
        return result
    content, faults = faults_of_text(text)
    if path.suffix != ".json":
        fact = "the name does not end in '.json': the field's programs refuse it"
        faults.insert(0, Fault((), fact))
    if not any(fault.fatal for fault in faults):
        products = content["products"]
        result["products"] = len(products)
        result["members"] = sum(len(one["members"]) for one in products)
        if members:
            faults += [
                Fault(("products", i, "members", j, "expname"), "there is no such file", name)
                for i, product in enumerate(products)
                for j, member in enumerate(product["members"])
                if not (path.parent / (name := member["expname"])).is_file()
            ]
    if len(faults) > _SHOWN:
        faults.sort(key=lambda fault: not fault.fatal)
        faults[_SHOWN:] = [Fault((), f"{len(faults) - _SHOWN} more faults", None, fatal=False)]
    for fault in faults:
        said = _said(error_of(fault, path, text))
        if not fault.fatal:
            said["text"] = f"warning: {said['text']}"
        result["errors" if fault.fatal else "warnings"].append(said)
    return result


def _said(error: LightmillError) -> dict[str, Any]:
    return {**error.as_dict(), "text": error.story()}
