"""``lightmill refs select`` and ``refs bestrefs``: which references rules give, and why."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.refs.needs import cache_options, library_at
from lightmill.cli.tables import table
from lightmill.errors import DataError, LightmillError

__all__ = ["bestrefs", "select"]

_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
_types = click.option(
    "--types", metavar="TYPES", default="", help="Only these types of reference, with commas."
)


@command("select")
@argument(
    "mapping",
    metavar="MAPPING",
    help="Rules: a file, the folder of an observatory, or a name in the cache.",
)
@click.option(
    "--headers",
    metavar="FILE",
    required=True,
    help="Headers, one JSON object a line; - is standard input.",
)
@_types
@click.option("--explain", is_flag=True, help="Tell how each answer came about.")
@click.option(
    "--no-verify",
    "--ignore-checksum",
    "no_verify",
    is_flag=True,
    envvar="CRDS_IGNORE_MAPPING_CHECKSUM",
    show_envvar=True,
    help="Use rules whose checksum is wrong.",
)
@click.option(
    "--crds-path",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The cache. [default: CRDS_PATH, or a folder of our own]",
)
@_json
def select(
    mapping: str,
    headers: str,
    types: str,
    explain: bool,
    no_verify: bool,
    crds_path: Path | None,
    as_json: bool,
) -> int:
    """Choose references for headers, without data files."""
    rules = _rules(mapping, crds_path, verify=not no_verify)
    if isinstance(rules, LightmillError) and not as_json:
        raise rules
    wanted = _split(types)
    failed = False
    for header in _headers(headers):
        answer = rules if isinstance(rules, LightmillError) else _answer(rules, header, wanted)
        failed |= isinstance(answer, LightmillError)
        if as_json:
            told = _told(answer)
            if explain and not isinstance(rules, LightmillError):
                stories = _explanations(rules, header, wanted)
                told["explanation"] = [one.as_dict() for one in stories]
            print(json.dumps(told, default=str))
        else:
            print(_shown(answer))
            if explain:
                for story in _explanations(rules, header, wanted):
                    print(story.text())
    return 4 if failed and not as_json else 0


def _rules(mapping: str, crds_path: Path | None, *, verify: bool) -> Any:
    """Return the rules, or why there are none."""
    from lightmill import app
    from lightmill.reference.rules import load

    app.discover()  # observatories bring names of fields, and rules of their own
    try:
        if Path(mapping).is_dir():
            from lightmill.reference.yaml_rules import rules_of

            return rules_of(mapping)
        if Path(mapping).is_file() or "/" in mapping:
            return load(mapping, verify=verify)
        from lightmill.reference.cache import Cache

        return load(mapping, source=Cache(crds_path), verify=verify)
    except LightmillError as error:
        return error


def _headers(name: str) -> Iterator[dict[str, Any]]:
    if name == "-":
        yield from _parsed(sys.stdin, name)
        return
    try:
        with Path(name).open(encoding="utf-8") as file:
            yield from _parsed(file, name)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError("the headers cannot be read", place=name, found=str(error)) from error


def _parsed(lines: Iterable[str], name: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            header = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                "a line is no JSON", place=f"{name}:{number}", found=str(error)
            ) from error
        if not isinstance(header, dict):
            raise DataError(
                "a line is no header", place=f"{name}:{number}", expected="one JSON object"
            )
        yield header


def _split(types: str) -> list[str] | None:
    return [one.strip().lower() for one in types.split(",") if one.strip()] or None


def _answer(rules: Any, header: dict[str, Any], types: list[str] | None) -> Any:
    try:
        if hasattr(rules, "select"):
            return rules.select(header)
        return rules.best_references(header, types)
    except LightmillError as error:
        return error


def _explanations(rules: Any, header: dict[str, Any], types: list[str] | None) -> Iterator[Any]:
    if hasattr(rules, "select"):
        yield rules.explain(header)
        return
    try:
        found = rules.best_references(header, types)
        below = rules if hasattr(rules, "types") else rules.rules(rules.instrument_of(header))
    except LightmillError:
        return
    yield from _stories(below, header, found)


def _stories(below: Any, header: dict[str, Any], kinds: Iterable[str]) -> Iterator[Any]:
    """Tell how each answer came about; of rules that cannot be read the answer says it all."""
    for kind in kinds:
        if kind in below.with_rules():
            with contextlib.suppress(LightmillError):
                yield below.explain(header, kind)


def _told(answer: Any) -> dict[str, Any]:
    """Return an answer for machines."""
    if isinstance(answer, LightmillError):
        kind = getattr(answer, "kind", answer.code)
        return {"error": kind, "message": answer.story(), **_known_as(answer)}
    return {"answer": _plain(answer)}


def _plain(answer: Any) -> Any:
    if isinstance(answer, LightmillError):
        return f"ERROR:{getattr(answer, 'known_as', type(answer).__name__)}"
    if isinstance(answer, (tuple, list)):
        return [_plain(one) for one in answer]
    if isinstance(answer, dict):
        return {key: _plain(one) for key, one in answer.items()}
    return answer


def _known_as(error: LightmillError) -> dict[str, str]:
    name = getattr(error, "known_as", None)
    return {} if name is None else {"known_as": name}


def _shown(answer: Any) -> str:
    if isinstance(answer, LightmillError):
        return answer.story()
    if isinstance(answer, dict):
        return table((kind, _short(one)) for kind, one in answer.items())
    return _short(answer)


def _short(answer: Any) -> str:
    if isinstance(answer, LightmillError):
        found = "" if answer.found is None else f" ({answer.found})"
        return f"none: {answer.fact}{found}"
    if isinstance(answer, (tuple, list)):
        return " ".join(map(str, answer))
    return str(answer)


@command("bestrefs")
@argument(
    "files",
    metavar="FILES...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    help="Exposures, FITS or ASDF.",
)
@_types
@click.option("--explain", is_flag=True, help="Tell which rows were tried, and why each lost.")
@cache_options
@_json
def bestrefs(
    files: tuple[Path, ...],
    types: str,
    explain: bool,
    context: str | None,
    crds_path: Path | None,
    as_json: bool,
) -> int:
    """Show the references the rules in force give to data files."""
    from lightmill import app

    app.discover()
    library = library_at(crds_path, context)
    told, failed = [], False
    for path in files:
        one = _of_file(path, library, _split(types), explain=explain)
        failed |= any(isinstance(answer, LightmillError) for answer in one["answers"].values())
        told.append(one)
        if not as_json:
            print(f"{path}: {one['context']}")
            print(_shown(one["answers"]))
            for story in one["explanations"]:
                print()
                print(story.text())
    if as_json:
        print(json.dumps([_as_json(one) for one in told], indent=2, default=str))
    return 4 if failed else 0


def _of_file(path: Path, library: Any, types: list[str] | None, *, explain: bool) -> dict[str, Any]:
    from lightmill import models
    from lightmill.reference.headers import header_of

    model = models.open(path)
    telescope = str(model.meta.get("telescope") or "").lower()
    instrument = str(model.meta.get("instrument.name") or "").lower()
    if not telescope or not instrument:
        raise DataError(
            "the file does not say which observatory and instrument it comes from",
            place=path,
            expected="TELESCOP and INSTRUME in the primary header",
        )
    rules = library.context(telescope)
    below = rules.rules(instrument)
    header = header_of(model, _needed(rules, below, types))
    answers = rules.best_references(header, types)
    return {
        "file": str(path),
        "context": rules.name,
        "header": header,
        "answers": answers,
        "explanations": list(_stories(below, header, answers)) if explain else [],
    }


def _needed(rules: Any, below: Any, types: list[str] | None) -> list[str]:
    """Return the fields that rules ask for; those that cannot be read say so when they choose."""
    keys = {rules.instrument_key}
    for kind in below.with_rules() if types is None else types:
        with contextlib.suppress(LightmillError):
            keys.update(below.required_keys([kind]))
    return sorted(keys)


def _as_json(one: dict[str, Any]) -> dict[str, Any]:
    answers = {kind: _told(answer) for kind, answer in one["answers"].items()}
    told = {"file": one["file"], "context": one["context"], "references": answers}
    if one["explanations"]:
        told["explanations"] = {story.reftype: story.as_dict() for story in one["explanations"]}
    return told
