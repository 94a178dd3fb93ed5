"""``lightmill steps``: what there is to run, and what can be set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.tables import short, table
from lightmill.errors import UnknownNameError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from lightmill.app import StepInfo

__all__ = ["names_of_steps", "steps"]


def names_of_steps(
    _ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the pipelines and steps a shell may complete a word to, with their help."""
    from click.shell_completion import CompletionItem

    from lightmill import app

    return [
        CompletionItem(info.name, help=info.help)
        for info in app.steps()
        if info.name.startswith(incomplete)
    ]


@command("steps")
@argument(
    "name",
    metavar="[NAME]",
    required=False,
    shell_complete=names_of_steps,
    help="A pipeline or step; without: list them all.",
)
@click.option("--all", "base", is_flag=True, help="Also the parameters every step has.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of its parameter files.")
def steps(name: str | None, base: bool, as_json: bool, schema: bool) -> int:
    """List pipelines and steps, or the parameters of one."""
    from lightmill import app

    known = app.steps()
    if name is None:
        if as_json:
            print(json.dumps([_as_dict(info, base=False) for info in known], indent=2))
            return 0
        for kind in sorted({info.kind for info in known}):
            print(f"{kind}s:")
            rows = [(info.name, info.help) for info in known if info.kind == kind]
            print(table(rows) + "\n")
        print("lightmill steps NAME lists the parameters of one.")
        return 0
    wanted = name.rpartition("::")[2]
    infos = {info.name: info for info in known}
    if wanted not in infos:
        raise UnknownNameError("pipeline or step", wanted, infos)
    info = infos[wanted]
    if schema:
        print(json.dumps(_file_schema(info, infos), indent=2))
        return 0
    if as_json:
        print(json.dumps(_as_dict(info, base=base), indent=2, default=str))
        return 0
    print(_page(info, infos, base=base))
    return 0


def _page(info: StepInfo, infos: dict[str, StepInfo], *, base: bool) -> str:
    lines = [f"{info.name}: {info.help}"]
    if info.references:
        lines.append(f"\nreferences: {', '.join(info.references)}")
    if info.flow:
        lines.append("\nsteps:")
        lines.append(table((step, infos[step].help if step in infos else "") for step in info.flow))
    if info.parameters:
        lines.append("\nparameters:")
        lines.append(table(_rows(info.parameters)))
    if base:
        lines.append("\nparameters of every step:")
        lines.append(table(_rows(_base(info))))
    elif not info.parameters:
        lines.append("\nno parameters of its own (--all: those every step has)")
    return "\n".join(lines)


def _file_schema(info: StepInfo, infos: dict[str, StepInfo]) -> dict[str, Any]:
    """Return the schema of a parameter file in YAML or TOML for a pipeline or step."""
    from lightmill.pipeline.parameters import schema_of

    def parameters(one: StepInfo) -> dict[str, Any]:
        return schema_of(one.name, (*one.parameters, *_base(one)))

    steps = {name: parameters(infos[name]) for name in info.flow if name in infos}
    properties: dict[str, Any] = {"run": {"const": info.name}, "parameters": parameters(info)}
    if steps:
        properties["steps"] = {
            "type": "object",
            "additionalProperties": False,
            "properties": steps,
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Parameter file of {info.name}",
        "description": info.help,
        "type": "object",
        "required": ["run"],
        "additionalProperties": False,
        "properties": properties,
    }


def _base(info: StepInfo) -> tuple[Any, ...]:
    from lightmill.pipeline.parameters import BASE, override_declarations

    return (*BASE, *override_declarations(info.references))


def _rows(parameters: Any) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for one in parameters:
        unit = f" {one.unit}" if one.unit and one.default is not None else ""
        rows.append((one.name, one.type, f"{short(one.default, 30)}{unit}", one.bounds, one.help))
    return rows


def _as_dict(info: StepInfo, *, base: bool) -> dict[str, Any]:
    parameters = (*info.parameters, *(_base(info) if base else ()))
    keys = ("name", "type", "default", "unit", "ge", "gt", "le", "lt", "choices", "help")
    return {
        "name": info.name,
        "kind": info.kind,
        "help": info.help,
        "references": list(info.references),
        "steps": list(info.flow),
        "parameters": [{key: getattr(one, key) for key in keys} for one in parameters],
    }
