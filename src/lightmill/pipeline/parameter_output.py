"""Write parameter files that make the same run again, here and with the peers' tools."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightmill.errors import ConfigurationError, OutputError
from lightmill.pipeline.hooks import describe
from lightmill.pipeline.parameters import BASE, declared

if TYPE_CHECKING:
    from lightmill.pipeline.step import Step

__all__ = ["write"]

_HOOKS = frozenset({"pre_hooks", "post_hooks", "every_step", "on_error", "on_save"})
# Ours alone: other readers of the format refuse names they do not know, so these stand in a
# block of their own, as does what a step lists in `extensions`.
_OURS = frozenset({"every_step", "on_error", "on_save", "hook_timeout"})
_ASDF_HEAD = """#ASDF 1.0.0
#ASDF_STANDARD 1.5.0
%YAML 1.1
%TAG ! tag:stsci.edu:asdf/
--- !core/asdf-1.1.0
"""


def write(
    path: str | Path,
    step: Step,
    *,
    overrides: Mapping[str, Any] | None = None,
    skip: Iterable[str] = (),
    aliases: Mapping[str, str] | None = None,
) -> Path:
    """Write every parameter in effect, and who set it.

    Parameters
    ----------
    path : str or Path
        ``.asdf`` (schema ``step_config`` 1.0.0) or ``.yaml``.
    step : Step
        A step or pipeline as it is about to run.
    overrides : mapping, optional
        Reference type → file, given for every step that uses the type.
    skip : iterable of str
        Steps left out for this run.
    aliases : mapping of str to str, optional
        Dotted class → name: what other readers of the format call a step.

    Returns
    -------
    path : Path
        The file.

    Raises
    ------
    ConfigurationError
        A hook or reference is an object in memory that no file can name.
    OutputError
        The file cannot be written.
    """
    import yaml

    path = Path(path)
    if path.suffix not in {".asdf", ".yaml", ".yml"}:
        raise OutputError(
            "parameters cannot be saved in this format",
            place=path,
            found=path.suffix or "no extension",
            expected=".asdf or .yaml",
        )
    tree = _tree(step, overrides or {}, frozenset(skip), aliases or {})
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100)
    if path.suffix == ".asdf":
        text = f"{_ASDF_HEAD}{text}...\n"
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise OutputError(
            "the parameters cannot be saved", place=path, found=error.strerror
        ) from error
    return path


def _tree(
    step: Step, overrides: Mapping[str, Any], skip: frozenset[str], aliases: Mapping[str, str]
) -> dict[str, Any]:
    classes = {name: dotted for dotted, name in aliases.items()}
    own, extra, origins = _parameters(step, overrides)
    tree: dict[str, Any] = {
        "class": classes.get(step.name, step.name),
        "name": step.name,
        "parameters": own,
    }
    listed, step_extra, step_origins = [], {}, {}
    for name, inner in getattr(step, "_steps", {}).items():
        parameters, step_extra[name], step_origins[name] = _parameters(inner, overrides)
        if name in skip:
            parameters["skip"], step_origins[name]["skip"] = True, "command line"
        listed.append(
            {"class": classes.get(inner.name, inner.name), "name": name, "parameters": parameters}
        )
    if listed:
        tree["steps"] = listed
    tree["lightmill"] = {
        "parameters": extra,
        "steps": _filled(step_extra),
        "origins": {"parameters": origins, "steps": _filled(step_origins)},
    }
    return tree


def _filled(by_step: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: values for name, values in by_step.items() if values}


def _parameters(
    step: Step, overrides: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Return a step's values, those of them only we know, and who set what is no default."""
    values = {d.name: getattr(step.parameters, d.name) for d in declared(type(step))}
    values.update(step.options)
    origins = {name: who for name, who in step.origins.items() if who != "default"}
    for reftype in step.references:
        if reftype in overrides and values.get(f"override_{reftype}") is None:
            values[f"override_{reftype}"] = overrides[reftype]
            origins[f"override_{reftype}"] = "command line"
    unset = {d.name: d.default for d in BASE if d.name in _OURS}
    ours = _OURS | getattr(step, "extensions", frozenset())
    plain = {
        name: _plain(name, value, step.name)
        for name, value in values.items()
        if name not in unset or value != unset[name]
    }
    shared = {name: value for name, value in plain.items() if name not in ours}
    return shared, {name: value for name, value in plain.items() if name in ours}, origins


def _plain(name: str, value: Any, step: str) -> Any:
    if name in _HOOKS:
        return [_hook_name(hook, f"{step}.{name}") for hook in value]
    if name.startswith("override_") and value is not None and not isinstance(value, str):
        path = value if isinstance(value, os.PathLike) else getattr(value, "path", None)
        if path is None:
            raise ConfigurationError(
                "the reference is in memory only, so that no file can name it",
                place=f"{step}.{name}",
                found=value,
                remedy="save it, and give the file",
            )
        return str(path)
    return list(value) if isinstance(value, tuple) else value


def _hook_name(hook: Any, place: str) -> str:
    name = describe(hook).replace(":", ".") if not isinstance(hook, str) else hook
    if "<" in name or "#" in name or (not isinstance(hook, str) and "__main__" in name):
        raise ConfigurationError(
            "the hook has no name by which another session could find it",
            place=place,
            found=name,
            remedy="put it into a module, and give it as module:function",
        )
    return name
