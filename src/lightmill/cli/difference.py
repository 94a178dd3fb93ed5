"""``lightmill diff``: in what two products differ, as science sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.tables import short, table

if TYPE_CHECKING:
    from lightmill.models import Model

__all__ = ["compare", "diff"]

# What differs whenever a file is written again.
_VOLATILE = frozenset({"date", "filename"})
_FLAGS = frozenset({"dq", "pixeldq", "groupdq"})


@command("diff")
@argument("first", metavar="A", type=click.Path(path_type=Path), help="A product.")
@argument("second", metavar="B", type=click.Path(path_type=Path), help="Another one.")
@click.option(
    "--rtol",
    type=click.FloatRange(min=0),
    metavar="X",
    default=0.0,
    show_default=True,
    help="Relative difference to let pass.",
)
@click.option(
    "--atol",
    type=click.FloatRange(min=0),
    metavar="X",
    default=0.0,
    show_default=True,
    help="Absolute difference to let pass.",
)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def diff(first: Path, second: Path, rtol: float, atol: float, as_json: bool) -> int:
    """Compare two products: values, flags, metadata, history.

    Exit status 0: no difference; 1: they differ.
    """
    from lightmill import open as open_model

    found = compare(open_model(first), open_model(second), rtol=rtol, atol=atol)
    if as_json:
        print(json.dumps(found, indent=2, default=str))
    else:
        print(_told(found))
    return 0 if found["same"] else 1


def compare(one: Model, other: Model, *, rtol: float = 0.0, atol: float = 0.0) -> dict[str, Any]:
    """Return in what two models differ.

    Parameters
    ----------
    one, other : Model
        Of any class.
    rtol, atol : float
        Values pass where they differ by no more than ``atol + rtol * abs(other)``; NaN
        equals NaN.

    Returns
    -------
    differences : dict
        ``same`` (bool), ``model``, ``arrays``, ``flags``, ``meta``, ``record``; empty where
        nothing differs.
    """
    arrays: dict[str, Any] = {}
    flags: dict[str, Any] = {}
    for name in sorted({*one.arrays, *other.arrays}):
        if not (one.has(name) and other.has(name)):
            arrays[name] = {"only_in": "A" if one.has(name) else "B"}
            continue
        a, b = getattr(one, name), getattr(other, name)
        if a.shape != b.shape:
            arrays[name] = {"shapes": [list(a.shape), list(b.shape)]}
        elif a.dtype.names or b.dtype.names:
            arrays.update(_of_tables(name, a, b, rtol, atol))
        elif name in _FLAGS:
            flags.update(_of_flags(name, a, b))
        else:
            arrays.update(_of_values(name, a, b, rtol, atol, _errors(one, name)))
    found: dict[str, Any] = {"arrays": arrays, "flags": flags, "meta": _of_meta(one, other)}
    if one.model_type != other.model_type:
        found["model"] = [one.model_type, other.model_type]
    same = not any(found.values())
    return {"same": same, **found, "record": _of_records(one.record, other.record)}


def _errors(model: Model, name: str) -> Any:
    """Return the standard errors that belong to an array, or None."""
    if name != "data" or not model.has("err"):
        return None
    return model.err if model.err.shape == model.data.shape else None


def _of_values(name: str, a: Any, b: Any, rtol: float, atol: float, errors: Any) -> dict[str, Any]:
    import numpy as np

    differs = ~np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=True)
    count = int(np.count_nonzero(differs))
    if not count:
        return {}
    a, b = np.asarray(a[differs], np.float64), np.asarray(b[differs], np.float64)
    delta = np.abs(a - b)
    measured = np.isfinite(delta)
    largest = {
        "differ": count,
        "of": differs.size,
        "not_both_finite": int(count - np.count_nonzero(measured)),
    }
    if measured.any():
        delta, b = delta[measured], np.abs(b[measured])
        largest["largest"] = float(delta.max())
        largest["median"] = float(np.median(delta))
        with np.errstate(divide="ignore", invalid="ignore"):
            largest["largest_relative"] = float(np.max(np.where(b > 0, delta / b, np.inf)))
            if errors is not None:
                sigma = delta / np.asarray(errors[differs], np.float64)[measured]
                if np.isfinite(sigma).any():
                    largest["largest_in_errors"] = float(np.nanmax(sigma[np.isfinite(sigma)]))
    return {name: largest}


def _of_tables(name: str, a: Any, b: Any, rtol: float, atol: float) -> dict[str, Any]:
    import numpy as np

    if a.dtype.names != b.dtype.names:
        return {name: {"columns": [list(a.dtype.names or ()), list(b.dtype.names or ())]}}
    found = {}
    for column in a.dtype.names:
        if np.issubdtype(a[column].dtype, np.number):
            found.update(_of_values(f"{name}.{column}", a[column], b[column], rtol, atol, None))
        elif count := int(np.count_nonzero(a[column] != b[column])):
            found[f"{name}.{column}"] = {"differ": count, "of": a[column].size}
    return found


def _of_flags(name: str, a: Any, b: Any) -> dict[str, Any]:
    import numpy as np

    from lightmill.models import dq

    changed = int(np.count_nonzero(a != b))
    if not changed:
        return {}
    only_a, only_b = dq.counts(a & ~b), dq.counts(b & ~a)
    names = dict.fromkeys([*only_a, *only_b])
    by_flag = {flag: {"A": only_a.get(flag, 0), "B": only_b.get(flag, 0)} for flag in names}
    return {name: {"differ": changed, "of": a.size, "only_in": by_flag}}


def _of_meta(one: Model, other: Model) -> dict[str, Any]:
    first, second = one.meta.flat(), other.meta.flat()
    found = {}
    for path in sorted({*first, *second}):
        a, b = first.get(path), second.get(path)
        if path not in _VOLATILE and a != b and not (a is None and b is None):
            found[path] = [a, b]
    return found


def _of_records(one: dict[str, Any] | None, other: dict[str, Any] | None) -> dict[str, Any]:
    """Return what was done otherwise: the reasons, where both products tell."""
    if not one or not other:
        return {}
    first, second = _flat(one), _flat(other)
    return {
        key: [first.get(key), second.get(key)]
        for key in sorted({*first, *second})
        if first.get(key) != second.get(key)
    }


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {f"software.{k}": v for k, v in (record.get("software") or {}).items()}
    for number, file in enumerate(record.get("inputs") or []):
        facts[f"inputs[{number}]"] = (file.get("sha256") or file.get("name") or "")[:16]
    for step in record.get("steps") or []:
        name = step.get("name")
        facts[f"{name}.status"] = step.get("status")
        facts[f"{name}.version"] = step.get("version")
        for parameter, setting in (step.get("parameters") or {}).items():
            if parameter == "skip":  # the status says it
                continue
            value = setting.get("value") if isinstance(setting, dict) else setting
            facts[f"{name}.{parameter}"] = value
        for reftype, file in (step.get("references") or {}).items():
            facts[f"{name}.override_{reftype}"] = (file.get("sha256") or file.get("name", ""))[:16]
    return facts


def _told(found: dict[str, Any]) -> str:
    if found["same"]:
        lines = ["the products do not differ"]
    else:
        lines = []
        if "model" in found:
            lines.append(f"kinds: {found['model'][0]} and {found['model'][1]}")
        for name, facts in found["arrays"].items():
            lines.append(f"{name}: {_array_line(facts)}")
        for name, facts in found["flags"].items():
            lines.append(f"{name}: {facts['differ']} of {facts['of']} differ")
            rows = [
                (f, f"A only {n['A']}", f"B only {n['B']}") for f, n in facts["only_in"].items()
            ]
            lines.append(table(rows))
        if found["meta"]:
            lines.append("metadata:")
            lines.append(_pairs(found["meta"]))
    if found["record"]:
        lines.append("made differently:")
        lines.append(_pairs(found["record"]))
    return "\n".join(lines)


def _pairs(facts: dict[str, Any]) -> str:
    return table((path, short(a, 40), "→", short(b, 40)) for path, (a, b) in facts.items())


def _array_line(facts: dict[str, Any]) -> str:
    if "only_in" in facts:
        return f"only in {facts['only_in']}"
    for key in ("shapes", "columns"):
        if key in facts:
            return f"{key} {facts[key][0]} and {facts[key][1]}"
    line = f"{facts['differ']} of {facts['of']} differ"
    if "largest" in facts:
        line += (
            f", by {facts['largest']:.4g} at most ({facts['largest_relative']:.2g} relative),"
            f" {facts['median']:.2g} in the median"
        )
    if "largest_in_errors" in facts:
        line += f"; at most {facts['largest_in_errors']:.2g} standard errors"
    if facts.get("not_both_finite"):
        line += f"; {facts['not_both_finite']} are not finite in one of them"
    return line
