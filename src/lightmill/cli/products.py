"""``lightmill info`` and ``lightmill explain``: what a file holds, and how it was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.tables import short, size, table
from lightmill.errors import DataError

if TYPE_CHECKING:
    from lightmill.models import Model

__all__ = ["explain", "info", "step_lines"]

_file = argument("file", metavar="FILE", type=click.Path(path_type=Path), help="FITS or ASDF file.")
_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@command("info")
@_file
@click.option("--meta", is_flag=True, help="All metadata, not only the main.")
@_json
def info(file: Path, meta: bool, as_json: bool) -> int:
    """Show what a file holds: arrays, metadata, data-quality flags."""
    from lightmill import open as open_model

    model = open_model(file)
    facts = _facts(model)
    if as_json:
        print(json.dumps(facts, indent=2, default=str))
        return 0
    print(f"{file}: {facts['model']}, {size(file.stat().st_size)}")
    print("\narrays:")
    print(table((a["name"], _shape(a), a["dtype"], a["unit"]) for a in facts["arrays"]))
    shown = facts["meta"] if meta else {k: v for k, v in facts["meta"].items() if _is_main(k)}
    if shown:
        print("\nmetadata:" if meta else "\nmetadata (--meta: all):")
        print(table((path, short(value)) for path, value in shown.items()))
    for name, flags in facts["flags"].items():
        print(f"\nflags in {name}, of {flags['elements']} elements:")
        rows = [(flag, f"{n}", _percent(n, flags["elements"])) for flag, n in flags["set"].items()]
        print(table(rows) or "  none")
    return 0


def _facts(model: Model) -> dict[str, Any]:
    from lightmill.models import dq

    arrays, flags = [], {}
    for name in model.arrays:
        held = model.array(name)
        columns = list(held.dtype.names or ())
        unit = model.unit(name) if hasattr(model, "unit") else ""
        arrays.append(
            {
                "name": name,
                "shape": list(held.shape),
                "dtype": f"{len(columns)} columns" if columns else held.dtype.name,
                "unit": unit,
                "columns": columns,
            }
        )
        if name in {"dq", "pixeldq", "groupdq"}:
            values = getattr(model, name)
            flags[name] = {"elements": values.size, "set": dq.counts(values)}
    filled = {path: value for path, value in model.meta.flat().items() if value is not None}
    return {"model": model.model_type, "arrays": arrays, "meta": filled, "flags": flags}


def _shape(array: dict[str, Any]) -> str:
    rows = " × ".join(str(length) for length in array["shape"])
    return f"{rows} rows" if array["columns"] else rows


def _is_main(path: str) -> bool:
    main = ("telescope", "instrument.", "exposure.type", "target.", "cal_step.", "filename")
    counts = ("exposure.nints", "exposure.ngroups", "exposure.nframes", "exposure.readpatt")
    return path.startswith(main) or path in counts or path.startswith("subarray.name")


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else ""


@command("explain")
@_file
@click.option("--all", "everything", is_flag=True, help="Also parameters that have their default.")
@_json
def explain(file: Path, everything: bool, as_json: bool) -> int:
    """Show how a product was made, step by step."""
    from lightmill import open as open_model

    record = open_model(file).record
    if record is None:
        raise DataError(
            "the file holds no record of how it was made",
            place=file,
            expected="a product of Lightmill",
            remedy=f"lightmill info {file} shows what it holds",
        )
    record = _with_run_log(dict(record), _run_log(file))
    if as_json:
        print(json.dumps(record, indent=2, default=str))
        return 0
    print(_story(file, record, everything=everything))
    return 0


def _run_log(product: Path) -> dict[str, Any]:
    """Return the run log that was written beside a product, or nothing."""
    path = product.with_name(product.stem.rpartition("_")[0] + "_run.json")
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _with_run_log(record: dict[str, Any], log: dict[str, Any]) -> dict[str, Any]:
    """Return the record with times and memory from the run log beside the product, if any."""
    same = [one.get("sha256") for one in log.get("inputs", [])] == [
        one.get("sha256") for one in record.get("inputs", [])
    ]
    if not log or not same:
        return record
    logged = {step.get("name"): step for step in log.get("steps", [])}
    steps = [{**logged.get(step.get("name"), {}), **step} for step in record.get("steps", [])]
    return {**log, **record, "steps": steps}


def _story(file: Path, record: dict[str, Any], *, everything: bool) -> str:
    software = record.get("software") or {}
    if isinstance(software, dict):
        software = ", ".join(f"{name} {version}" for name, version in software.items())
    lines = [f"{file} was made by {record.get('pipeline', 'a run')} with {software}"]
    if record.get("started"):
        how = [f"from {record['started']} to {record.get('finished', '?')}", _cost(record)]
        lines.append("  " + ", ".join(filter(None, [*how, record.get("platform")])))
    if record.get("inputs"):
        lines.append("\ninputs:")
        lines.append(table(_file_row(one) for one in record["inputs"]))
    if record.get("context"):
        lines.append(f"\nrules: {record['context']}")
        taken = record.get("parameter_references", [])
        lines += [table([("parameters", *_file_row(one), _rule(one)) for one in taken])] * bool(
            taken
        )
    if record.get("parameters"):
        lines += _parameters(record["parameters"], everything=everything)
    lines.append("\nsteps:")
    for step in record.get("steps", []):
        lines += step_lines(step, everything=everything)
    return "\n".join(lines)


def _cost(facts: dict[str, Any]) -> str:
    parts = []
    for key, text in (("cpu_s", "{} of CPU"), ("wall_s", "{}")):
        if isinstance(facts.get(key), int | float):
            parts.append(text.format(_duration(facts[key])))
    if isinstance(facts.get("peak_mb"), int | float):
        parts.append(f"{facts['peak_mb']:.0f} MB")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def _file_row(facts: dict[str, Any]) -> tuple[str, str, str]:
    digest = facts.get("sha256")
    length = facts.get("size")
    return (
        str(facts.get("name")),
        size(length) if isinstance(length, int | float) else "",
        f"sha256 {digest[:16]}…" if digest else "",
    )


def _rule(facts: dict[str, Any]) -> str:
    """Return by which row of the rules a file was chosen; nothing where no rules chose it."""
    return f"by {facts['rule']}" if facts.get("rule") else ""


def step_lines(step: dict[str, Any], *, everything: bool = False) -> list[str]:
    """Return what a run record says of one step, for people.

    Parameters
    ----------
    step : dict
        One of the record's ``steps``.
    everything : bool
        Also the parameters that have their default.

    Returns
    -------
    lines : list of str
        Name, status, reason, cost; then references and parameters.
    """
    line = f"  {step.get('name', '?'):<22} {step.get('status', '')}"
    if step.get("reason"):
        line += f" ({step['reason']})"
    ran = step.get("status") != "SKIPPED"
    cost = _cost(step) if ran else ""
    lines = [f"{line:<36}{cost}" if cost else line]
    references = step.get("references") or {}
    rows = [
        ("reference", reftype, *_file_row(facts), _rule(facts))
        for reftype, facts in references.items()
    ]
    lines += [
        f"      skipped {name} ({reason})"
        for name, reason in (step.get("skipped_exposures") or {}).items()
    ]
    if rows:
        lines.append(table(rows, indent=6))
    if ran:
        lines += _parameters(step.get("parameters") or {}, everything=everything, indent=6)
    return lines


def _parameters(parameters: dict[str, Any], *, everything: bool, indent: int = 2) -> list[str]:
    rows = []
    for name, setting in parameters.items():
        value, origin = setting, ""
        if isinstance(setting, dict) and "value" in setting:
            value, origin = setting["value"], str(setting.get("origin", ""))
        if everything or origin not in {"", "default"}:
            rows.append(("parameter", name, short(value), f"({origin})" if origin else ""))
    return [table(rows, indent=indent)] if rows else []
