"""Parameter files: TOML and YAML of our own, ASDF and INI as the field has them.

All say the same: what to run, its parameters, and those of its steps::

    run: calwebb_detector1          # a pipeline or step
    parameters: {save_calibrated_ramp: true}
    steps:
      jump: {rejection_threshold: 5.0}

ASDF files follow the schemas ``step_config`` 0.1.0 and 1.0.0; their YAML is
read as data, and no tag in it makes an object. INI files have ``[steps]`` with
``[[jump]]`` below, and may take in others with ``config_file = other.cfg``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError, UnknownNameError
from lightmill.pipeline.parameter_output import write
from lightmill.pipeline.settings import Settings, merge

__all__ = ["ParameterFile", "read", "target_of", "write"]

_TOP = frozenset({"run", "class", "name", "parameters", "steps", "config_file"})
_BESIDES = frozenset({"asdf_library", "history", "meta", "lightmill"})  # of an ASDF file


@dataclass(frozen=True)
class ParameterFile:
    """What a parameter file says.

    Attributes
    ----------
    path : Path
        The file.
    target : str or None
        What to run, by the name it has here (see `target_of`); None where the file does
        not say.
    settings : Settings
        The parameters, their origin ``file PATH``.
    name : str or None
        What the file calls the step.
    classes : mapping of str to str
        Step → the class the file gives for it.
    """

    path: Path
    target: str | None
    settings: Settings
    name: str | None = None
    classes: Mapping[str, str] = field(default_factory=dict)


def read(
    path: str | Path,
    *,
    aliases: Mapping[str, str] | None = None,
    trusted: bool = False,
    origin: str | None = None,
) -> ParameterFile:
    """Return what a parameter file says, whichever of the formats it has.

    Parameters
    ----------
    path : str or Path
        The file. Its first bytes, then its extension, tell the format.
    aliases : mapping of str to str, optional
        Class an ASDF or INI file may name → pipeline or step.
    trusted : bool
        Whether the file is the user's own; only then may its hooks be shell commands.
    origin : str, optional
        Who is said to set the values; ``file PATH`` by default.

    Returns
    -------
    file : ParameterFile
        What it says.

    Raises
    ------
    ConfigurationError
        The file cannot be read, or says something that cannot be meant.
    """
    return _read(Path(path), aliases or {}, trusted=trusted, within=(), origin=origin)


def target_of(class_name: str, aliases: Mapping[str, str], *, place: object = None) -> str:
    """Return the pipeline or step that a file calls `class_name`.

    Parameters
    ----------
    class_name : str
        A name of ours, or a dotted class such as ``package.module.JumpStep``.
    aliases : mapping of str to str
        Dotted class → name; only the last component counts.
    place : object, optional
        The file, for the error.

    Returns
    -------
    name : str
        A name without dots is returned as it is where no alias is known for it.

    Raises
    ------
    UnknownNameError
        A dotted name nobody knows.
    """
    last = class_name.rpartition(".")[2]
    known = {alias.rpartition(".")[2]: name for alias, name in aliases.items()}
    if last in known:
        return known[last]
    if "." in class_name or ":" in class_name:
        raise UnknownNameError("pipeline or step class", class_name, known, place=place)
    return class_name


def _read(
    path: Path,
    aliases: Mapping[str, str],
    *,
    trusted: bool,
    within: tuple[Path, ...],
    origin: str | None = None,
) -> ParameterFile:
    if path.resolve() in within:
        raise ConfigurationError(
            "parameter files take in each other in a circle",
            place=within[-1],
            found=" → ".join(str(one) for one in (*within, path)),
        )
    tree = _tree(path)
    inherited, origin = origin, origin or f"file {path}"
    included = [
        _read(
            path.parent / str(tree[key]),
            aliases,
            trusted=trusted,
            within=_and(within, path),
            origin=inherited,
        )
        for key in ("config_file",)
        if tree.get(key)
    ]
    step_layers, classes = [], {}
    for step, given in _steps(tree.get("steps"), path).items():
        values = dict(given)
        if values.get("class"):
            classes[step] = str(values["class"])
        values.pop("class", None)
        values.pop("name", None)
        other = values.pop("config_file", None)
        if other:
            inner = _read(
                path.parent / str(other),
                aliases,
                trusted=trusted,
                within=_and(within, path),
                origin=inherited,
            )
            step_layers.append(Settings(steps={step: inner.settings}))
        nested = values.pop("parameters", None)
        if nested is not None:
            values.update(_mapping(nested, f"{path}: steps.{step}.parameters"))
        inner_settings = Settings.of(values, origin, trusted=trusted)
        step_layers.append(Settings(steps={step: inner_settings}))
    parameters = _mapping(tree.get("parameters") or {}, f"{path}: parameters")
    own = Settings.of(parameters, origin, trusted=trusted)
    step_layers.append(_extensions(tree.get("lightmill"), path, origin, trusted=trusted))
    said = tree.get("run") or tree.get("class")
    target = target_of(str(said), aliases, place=path) if said else None
    for other_file in included:
        target = target or other_file.target
    settings = merge(*(file.settings for file in included), own, *step_layers)
    name = tree.get("name")
    return ParameterFile(path, target, settings, None if name is None else str(name), classes)


def _extensions(block: Any, path: Path, origin: str, *, trusted: bool) -> Settings:
    """Return the parameters that stand apart because other readers do not know them."""
    place = f"{path}: lightmill"
    given = _mapping(block or {}, place)
    own = _mapping(given.get("parameters") or {}, f"{place}.parameters")
    steps = _mapping(given.get("steps") or {}, f"{place}.steps")
    return Settings.of({**own, "steps": steps}, origin, trusted=trusted)


def _and(within: tuple[Path, ...], path: Path) -> tuple[Path, ...]:
    return (*within, path.resolve())


def _mapping(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            "this is not a table of names and values", place=place, found=value
        )
    return {str(key): item for key, item in value.items()}


def _steps(value: Any, path: Path) -> dict[str, Mapping[str, Any]]:
    """Return step → what is said of it, from a mapping or from a list with ``name``."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {str(k): _mapping(v or {}, f"{path}: steps.{k}") for k, v in value.items()}
    if not isinstance(value, list):
        raise ConfigurationError(
            "the steps are neither a list nor a table", place=f"{path}: steps", found=value
        )
    steps = {}
    for number, item in enumerate(value):
        place = f"{path}: steps[{number}]"
        step = _mapping(item, place)
        if "name" not in step:
            raise ConfigurationError(
                "the step has no name", place=place, found=dict(step), remedy="add name: …"
            )
        steps[str(step["name"])] = step
    return steps


def _tree(path: Path) -> dict[str, Any]:
    """Return the file's content as class, name, parameters and steps."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            "the parameter file cannot be read", place=path, found=error.strerror
        ) from error
    if data.startswith(b"#ASDF"):
        return _from_asdf(path, data)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            "not a parameter file", place=path, expected="ASDF, YAML, TOML or INI text"
        ) from error
    suffix = path.suffix.lower()
    if suffix == ".toml":
        return _checked(_from_toml(text, path), path)
    if suffix in {".yaml", ".yml", ".json"}:
        return _checked(_from_yaml(text, path), path)
    return _from_ini(text, path)


def _checked(tree: Any, path: Path) -> dict[str, Any]:
    tree = dict(_mapping(tree or {}, str(path)))
    for key in tree:
        if key not in _TOP | _BESIDES:
            error = UnknownNameError("entry of a parameter file", key, _TOP, place=path)
            error.remedy = error.remedy or f"parameters stand below `parameters:`, as {key}: …"
            raise error
    return tree


def _from_toml(text: str, path: Path) -> Any:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError("this is not TOML", place=path, found=str(error)) from error


def _from_yaml(text: str | bytes, path: Path) -> Any:
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # chosen at run time
        """Reads any tag as the plain value under it."""

    Loader.add_multi_constructor("", _plain)
    Loader.add_constructor("tag:yaml.org,2002:timestamp", Loader.construct_yaml_str)
    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506 - a safe loader with fewer objects
    except yaml.YAMLError as error:
        raise ConfigurationError("this is not YAML", place=path, found=str(error)) from error


def _plain(loader: Any, tag: str, node: Any) -> Any:  # noqa: ARG001 - signature of PyYAML
    import yaml

    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


def _from_asdf(path: Path, data: bytes) -> dict[str, Any]:
    end = re.search(rb"^\.\.\.\r?$", data, re.MULTILINE)
    if end is None:
        raise ConfigurationError(
            "the ASDF file is cut off", place=path, expected="a line ... after its YAML"
        )
    text = data[: end.start()]
    if b"!core/ndarray" in text and data.find(b"\xd3BLK", end.end()) >= 0:
        tree = _with_arrays(path)
    else:
        tree = _from_yaml(text, path)
    tree = dict(_mapping(tree or {}, str(path)))
    if "class" not in tree and isinstance(tree.get("parameters"), Mapping):
        tree = {**tree, **_from_old_schema(tree["parameters"])}
    if "class" not in tree and "run" not in tree:
        raise ConfigurationError(
            "not a parameter file",
            place=path,
            found=", ".join(sorted(tree)) or "nothing",
            expected="`class` and `parameters`",
        )
    return tree


def _from_old_schema(everything: Mapping[str, Any]) -> dict[str, Any]:
    """Take class, name and steps out of the parameters, where schema 0.1.0 has them."""
    parameters = dict(everything)
    tree: dict[str, Any] = {"parameters": parameters}
    for key in ("class", "name", "steps"):
        if key in parameters:
            tree[key] = parameters.pop(key)
    return tree


def _with_arrays(path: Path) -> Any:
    import asdf

    with asdf.open(path, lazy_load=False, memmap=False) as file:
        return _unpacked(file.tree)


def _unpacked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _unpacked(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_unpacked(item) for item in value] if isinstance(value, list) else value


def _from_ini(text: str, path: Path) -> dict[str, Any]:
    from configobj import ConfigObj, ConfigObjError

    try:
        given = ConfigObj(text.splitlines(), interpolation=False, raise_errors=True).dict()
    except ConfigObjError as error:
        raise ConfigurationError(
            "this is not an INI parameter file", place=path, found=str(error)
        ) from error
    steps = given.pop("steps", {})
    outside = {
        key: given.pop(key) for key in ("class", "run", "name", "config_file") if key in given
    }
    sections = [key for key, value in given.items() if isinstance(value, dict)]
    if sections:
        raise UnknownNameError("section of a parameter file", sections[0], ["steps"], place=path)
    return {**outside, "parameters": given, "steps": steps}
