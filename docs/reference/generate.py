"""Write the reference pages that the code itself defines.

    python docs/reference/generate.py [FOLDER]

Pages: one per step (what it reads, needs, its parameters), error codes, quality flags, the commands,
schemas.
Sphinx calls `write` before every build; nothing written here is kept in the repository.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flags_drawing
import yaml

CAPABILITIES = ("detector", "imaging", "spectroscopy", "grism")


def write(folder: Path) -> list[Path]:
    """Write every page below `folder`; return what was written."""
    pages: dict[Path, str] = {}
    steps = all_steps()
    for name, step in steps.items():
        pages[folder / "steps" / f"{name}.md"] = step_page(step)
    pages[folder / "steps" / "index.md"] = index_page(
        "Steps",
        "Every step, by the name it has in pipelines, files and on the command line.",
        sorted(steps),
        extra=base_parameters(),
    )
    pages[folder / "errors.md"] = errors_page()
    pages[folder / "dq.md"] = dq_page()
    pages[folder / "states.md"] = states_page()
    pages[folder / "wfpc2-flags.md"] = flags_page()
    pages[folder / "command-line.md"] = command_line_page()
    schemas = all_schemas()
    for name, (path, schema) in schemas.items():
        pages[folder / "schemas" / f"{name}.md"] = schema_page(name, path, schema)
    pages[folder / "schemas" / "index.md"] = index_page(
        "Schemas",
        "What each kind of data holds: arrays with axes, type and unit; metadata with their keywords.",
        sorted(schemas),
    )
    pages[folder / "wfpc2-flags.svg"] = flags_drawing.drawing()
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for stale in set(folder.rglob("*.md")) - set(pages):
        stale.unlink()
    return sorted(pages)


def states_page() -> str:
    """Return what the states of operations promise, and which event leads from which to which."""
    from lightmill.workflow import machine, states

    lines = [
        "# States of operations",
        "",
        "What holds while something is in a state; commands and dashboard print the same words.",
    ]
    kinds = {
        "Datasets": states.DatasetState,
        "Candidates": states.CandidateState,
        "Tasks": states.TaskState,
        "Jobs": states.JobState,
    }
    for title, kind in kinds.items():
        lines += ["", f"## {title}", "", "| state | promises |", "|---|---|"]
        lines += [f"| {one} | {one.guarantee} |" for one in kind]
    lines += [
        "",
        "## What moves a task",
        "",
        "An event that a state does not name changes nothing; an operator who asks for it is told.",
        "",
        "| event | means | in the states |",
        "|---|---|---|",
    ]
    events: dict[type, list[str]] = {}
    for state, event in machine.TRANSITIONS:
        events.setdefault(event, []).append(str(state))
    for event in sorted(events, key=lambda one: one.__name__):
        lines.append(f"| {event.__name__} | {event.__doc__} | {', '.join(events[event])} |")
    return "\n".join(lines) + "\n"


def flags_page() -> str:
    """Return the flags of WFPC2 association maintenance, and what each event does to them."""
    from lightmill.observatories.hst.wfpc2.flags import CAL_FLAGS, OMS_FLAGS, transitions

    def spelled(flag: str) -> str:
        return "blank" if flag == " " else "none" if flag == "-" else flag

    lines = [
        "# Flags of WFPC2 associations",
        "",
        "What `lightmill wfpc2 status` shows of each exposure, as the archive's table had it in 1997.",
        "",
        "| CAL | means |", "|---|---|",
        *(f"| {spelled(flag)} | {text} |" for flag, text in CAL_FLAGS.items()),
        "",
        "| OMS | means |", "|---|---|",
        *(f"| {spelled(flag)} | {text} |" for flag, text in OMS_FLAGS.items()),
        "",
        "## What moves them",
        "",
        "![Flags of one exposure, and what moves it from one pair to another](wfpc2-flags.svg)",
        "",
        "Dashed: arrivals. Flags are written CAL/OMS. What is not listed changes nothing.",
        "",
        "| event | from | to |", "|---|---|---|",
    ]  # fmt: skip
    moves: dict[Any, dict[str, list[str]]] = {}
    for before, event, after in transitions():
        if before != after:
            to = f"{spelled(after.cal)}/{spelled(after.oms)}"
            here = f"{spelled(before.cal)}/{spelled(before.oms)}"
            moves.setdefault(event, {}).setdefault(to, []).append(here)
    for event, ends in moves.items():
        for to, begins in ends.items():
            lines.append(f"| {event.meaning} (`{event}`) | {', '.join(begins)} | {to} |")
    return "\n".join(lines) + "\n"


def all_steps() -> dict[str, Any]:
    """Return every step of Lightmill's own, found by importing the capabilities."""
    import lightmill
    from lightmill.pipeline.step import known_steps

    for name in CAPABILITIES:
        if importlib.util.find_spec(f"lightmill.{name}") is None:
            continue
        package = importlib.import_module(f"lightmill.{name}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    importlib.import_module("lightmill.app").steps()  # instruments have steps of their own, too
    root = lightmill.__name__ + "."
    return {
        name: cls for name, cls in sorted(known_steps().items()) if cls.__module__.startswith(root)
    }


def all_schemas() -> dict[str, tuple[Path, dict]]:
    """Return every schema file: name → (path in the package, content)."""
    import lightmill

    root = Path(lightmill.__file__).parent
    found = {}
    for path in sorted(root.rglob("schemas/*.yaml")):
        inside = path.relative_to(root)
        parts = [p for p in inside.parts[:-1] if p not in {"models", "schemas", "observatories"}]
        found["-".join([*parts, path.name.removesuffix(".yaml")])] = (
            inside,
            yaml.safe_load(path.read_text()),
        )
    return found


# ------------------------------------------------------------------------------------------- steps


def step_page(step: Any) -> str:
    """Return the page of one step."""
    from lightmill.pipeline.parameters import declared

    summary, _, rest = clean(step.__doc__ or "").partition("\n")
    lines = [f"# {step.name}", "", summary, ""]
    if rest.strip():
        lines += [rest.strip(), ""]
    lines += [
        f"Class `{step.__module__.rpartition('.')[0]}.{step.__name__}`, version {step.version}.",
        "",
        f"Reads {models(step.reads)}, writes {models(step.writes)}. "
        + ("Works on bands of rows." if step.rows else "Works on the whole frame.")
        + (" Left out unless asked for (`skip=false`)." if step.skip_by_default else ""),
        "",
    ]
    if step.references:
        lines += [
            "## Reference files",
            "",
            "| type | model | override | without it |",
            "|---|---|---|---|",
        ]
        optional = getattr(step, "optional", ())
        lines += [
            f"| {name} | {model.__name__} | `override_{name}` | {'goes on' if name in optional else 'skipped'} |"
            for name, model in step.references.items()
        ]
        lines.append("")
    own = declared(step)
    lines += ["## Parameters", ""]
    lines += parameter_table(own) if own else ["None of its own.", ""]
    lines += ["Every step also has the [common parameters](index.md#common-parameters).", ""]
    return "\n".join(lines)


def parameter_table(declarations: Any) -> list[str]:
    """Return a table of parameters."""
    lines = ["| name | default | type and bounds | unit | meaning |", "|---|---|---|---|---|"]
    for d in declarations:
        allowed = d.type + (f", {d.bounds}" if d.bounds else "")
        lines.append(
            f"| `{d.name}` | `{d.new_default()!r}` | {cell(allowed)} | {cell(d.unit or '')} | {cell(d.help)} |"
        )
    return [*lines, ""]


def base_parameters() -> list[str]:
    """Return the section on parameters that every step has."""
    from lightmill.pipeline.parameters import BASE

    return [
        "## Common parameters",
        "",
        *parameter_table(BASE.values() if isinstance(BASE, dict) else BASE),
    ]


def models(declared: Any) -> str:
    """Return the names of one or several model classes."""
    if declared is None:
        return "any model"
    classes = declared if isinstance(declared, tuple) else (declared,)
    return " or ".join(f"{c.__name__}" for c in classes)


# ------------------------------------------------------------------------------- errors, flags


def errors_page() -> str:
    """Return the page of error codes, those of every part that can be imported here."""
    import lightmill
    from lightmill import errors

    for module in pkgutil.walk_packages(lightmill.__path__, "lightmill."):
        script = ".migrations." in module.name  # run by Alembic, imported by nobody
        if not script and not module.name.endswith("__main__"):
            with contextlib.suppress(ImportError):  # a part whose extra is not installed
                importlib.import_module(module.name)
    lines = [
        "# Errors",
        "",
        "An error says where, what was found, what was expected, and what to do.",
        "Its code never changes; the exit status is that of the command.",
        "",
        "| code | exit status | class | meaning |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{kind.code}` | {kind.exit_status} | {kind.__name__} | {cell(clean(kind.__doc__ or '').splitlines()[0])} |"
        for kind in all_errors(errors.LightmillError)
    ]
    return "\n".join([*lines, ""])


def all_errors(root: type) -> Iterator[Any]:
    """Yield an error class and everything below it."""
    yield root
    for child in sorted(root.__subclasses__(), key=lambda c: c.__name__):
        if child.__module__.startswith("lightmill."):
            yield from all_errors(child)


def command_line_page() -> str:
    """Return the page of every command: what it does, its arguments and options."""
    lines = ["# Every command", "", "What `lightmill COMMAND --help` says, on one page.", ""]
    for name, command in all_commands():
        lines += [f"## `{name}`", "", *plain_help(command), ""]
        known = [one for one in command.params if not getattr(one, "hidden", False)]
        if known:
            lines += ["| argument or option | meaning |", "|---|---|"]
            lines += [f"| `{spelled(one)}` | {cell(meaning(one))} |" for one in known]
            lines.append("")
    return "\n".join(lines)


def all_commands() -> Iterator[tuple[str, Any]]:
    """Yield the name and object of every command, those of groups too."""
    import click

    from lightmill.cli.main import app

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        if not isinstance(command, click.Group):
            yield name, command
            return
        context = click.Context(command)
        for one in command.list_commands(context):
            yield from walk(f"{name} {one}", command.get_command(context, one))

    return walk("lightmill", app)


def plain_help(command: Any) -> list[str]:
    """Return the paragraphs of a command's help."""
    return [line.strip() for line in (command.help or "").replace("\b", "").splitlines()]


def spelled(parameter: Any) -> str:
    """Return how an argument or option is typed."""
    import click

    if isinstance(parameter, click.Argument):
        return str(parameter.human_readable_name)
    names = ", ".join([*parameter.opts, *parameter.secondary_opts])
    takes = "" if parameter.is_flag or parameter.count else f" {parameter.make_metavar(_context())}"
    return f"{names}{takes}"


def _context() -> Any:
    import click

    return click.Context(click.Command("lightmill"))


def meaning(parameter: Any) -> str:
    """Return the help of an argument or option, with its default."""
    text = str(getattr(parameter, "help", None) or "")
    default = parameter.default
    if getattr(parameter, "show_default", None) and default not in (None, (), False):
        text += f" [default: {default}]"
    return text


def dq_page() -> str:
    """Return the table of quality flags."""
    from lightmill.models import dq

    lines = [
        "# Quality flags",
        "",
        "The flags of a pixel. Those of a group of a ramp (`groupdq`) are the low eight bits.",
        "",
        "| bit | value | name | meaning |",
        "|--:|--:|---|---|",
    ]
    lines += [
        f"| {'–' if not value else value.bit_length() - 1} | {value} | {name} | {cell(dq.MEANING[name])} |"
        for name, value in dq.PIXEL.items()
    ]
    return "\n".join([*lines, ""])


# ---------------------------------------------------------------------------------------- schemas


def schema_page(name: str, path: Path, schema: dict) -> str:
    """Return the page of one schema file."""
    lines = [f"# {name}", "", clean(schema.get("title", "")), ""]
    if schema.get("description"):
        lines += [clean(schema["description"]), ""]
    lines += [f"File `{path}`.", ""]
    bases = [
        part["$ref"]
        for part in schema.get("allOf", ())
        if isinstance(part, dict) and "$ref" in part
    ]
    if bases:
        lines += ["Includes " + ", ".join(f"`{b}`" for b in bases) + ".", ""]
    arrays, values = [], []
    for where, node in leaves(schema):
        (arrays if "array" in node or "table" in node else values).append((where, node))
    if arrays:
        lines += ["| array | axes | type | unit | FITS | meaning |", "|---|---|---|---|---|---|"]
        for where, node in arrays:
            array = node.get("array") or node.get("table")
            array = array if isinstance(array, dict) else {}
            axes = ", ".join(map(str, array.get("axes", ())))
            lines.append(
                f"| `{where}` | {axes} | {array.get('dtype', 'table')} | {cell(str(array.get('unit', '')))} | {fits(node)} | {cell(node.get('title', ''))} |"
            )
        lines.append("")
    if values:
        lines += ["| value | type | unit | FITS | meaning |", "|---|---|---|---|---|"]
        for where, node in values:
            kind = node.get("type", "")
            kind = " or ".join(kind) if isinstance(kind, list) else kind
            if "enum" in node:
                shown = [repr(v) for v in node["enum"]]
                kind = (
                    "one of "
                    + ", ".join(shown[:8])
                    + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
                )
            lines.append(
                f"| `{where}` | {cell(kind)} | {cell(str(node.get('unit', '')))} | {fits(node)} | {cell(node.get('title', ''))} |"
            )
        lines.append("")
    return "\n".join(lines)


def leaves(node: Any, where: str = "") -> Iterator[tuple[str, dict]]:
    """Yield (path, node) of every property that has no properties of its own."""
    if not isinstance(node, dict):
        return
    for part in node.get("allOf", ()):
        yield from leaves(part, where)
    for name, child in (node.get("properties") or {}).items():
        path = f"{where}.{name}" if where else name
        if isinstance(child, dict) and ("properties" in child or "allOf" in child):
            yield from leaves(child, path)
        elif isinstance(child, dict):
            yield path, child


def fits(node: dict) -> str:
    """Return where a property stands in a FITS file."""
    place = node.get("fits")
    if not isinstance(place, dict):
        return str(place or "")
    return " ".join(str(place[k]) for k in ("hdu", "keyword") if k in place)


# ------------------------------------------------------------------------------------------- text


def index_page(title: str, lead: str, names: list[str], extra: list[str] = ()) -> str:
    """Return a page that lists others."""
    return "\n".join([f"# {title}", "", lead, "", "```{toctree}", *names, "```", "", *extra])


def clean(text: str) -> str:
    """Return a docstring without its indentation, its reST roles made Markdown."""
    import inspect

    return inspect.cleandoc(text).replace("``", "`")


def cell(text: str) -> str:
    """Return text that may stand in a table."""
    return " ".join(str(text).split()).replace("|", "\\|")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "generated"
    print(f"{len(write(target))} pages in {target}")
