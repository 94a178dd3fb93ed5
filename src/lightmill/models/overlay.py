"""What one observatory adds to the schemas: its keywords and its names of the models.

An overlay is a directory with ``keywords.yaml``::

    telescope: NAME                        # TELESCOP of its files
    models: {TheirRampModel: RampModel}    # DATAMODL in files: our class; the first is written
    variants: {TheirImage: {CalModel: [AREA]}}  # … of a file that also has one of these extensions
    aliases: {cal_step.dark_current: cal_step.dark_sub}
    enums: {state: [COMPLETE, SKIPPED]}
    steps: {jump: S_JUMP}                  # meta.cal_step.<name>: keyword
    references: {dark: R_DARK}             # meta.ref_file.<type>.name: keyword
    keywords:
      exposure:
        title: Exposure parameters
        ngroups: [NGROUPS, integer, Groups in an integration]
        frame_time: [TFRAME, number, Time to read a frame, {unit: s}]
        ra_v1: [SCI/RA_V1, number, Right ascension of the axis, {unit: deg}]

and, where it has kinds of data of its own, ``schemas/*.yaml``.
"""

from __future__ import annotations

import functools
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError
from lightmill.models.schema import Field, ModelSchema, load_schema, schema_directories
from lightmill.yaml_files import read_yaml

__all__ = ["Overlay", "model_schema", "overlay_of", "overlays", "register_overlay"]


class Overlay:
    """One observatory's keywords and model names.

    Parameters
    ----------
    name : str
        What the observatory is called.
    directory : Path
        Where ``keywords.yaml`` is.
    """

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directories = [directory]
        self.shared: dict[str, Field] = {}  # path -> the keyword, made once for all schemas
        self._loaded = False

    def __getattr__(self, name: str) -> Any:
        if self._loaded or name.startswith("__"):
            raise AttributeError(name)
        self._load()
        return getattr(self, name)

    def _load(self) -> None:
        self._loaded = True
        self.models: dict[str, str] = {}
        self.variants: dict[str, dict[str, list[str]]] = {}
        self.aliases: dict[str, str] = {}
        self.sections: dict[str, str] = {}
        self.fields: dict[str, tuple[str | None, str, Mapping[str, Any]]] = {}
        for directory in self.directories:
            path = directory / "keywords.yaml"
            if path.is_file():
                self._read(path)

    def _read(self, path: Path) -> None:
        content = read_yaml(path) or {}
        if not isinstance(content, dict):
            raise ConfigurationError("an overlay must be a mapping", place=path, found=content)
        self.models.update(content.get("models", {}))
        self.variants.update(content.get("variants", {}))
        self.aliases.update(content.get("aliases", {}))
        enums = content.get("enums", {})
        for path_, entry in _entries("", content.get("keywords", {}), self.sections):
            try:
                self.fields[path_] = _field(entry, enums)
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise ConfigurationError(
                    "this keyword cannot be understood",
                    place=f"{path}: {path_}",
                    found=entry,
                    expected="[KEYWORD, type, title] or [KEYWORD, type, title, {unit:, enum:}]",
                ) from error
        state = {"type": "string", "enum": enums.get("state", ["COMPLETE", "SKIPPED", "FAILED"])}
        for step, keyword in content.get("steps", {}).items():
            node = {**state, "title": f"State of {step}"}
            self.fields[f"cal_step.{step}"] = (keyword, "PRIMARY", node)
        for kind, keyword in content.get("references", {}).items():
            node = {"type": "string", "title": f"Reference file: {kind}"}
            self.fields[f"ref_file.{kind}.name"] = (keyword, "PRIMARY", node)

    def name_of(self, model: str, current: str | None = None) -> str:
        """Return what the observatory calls one of our classes.

        Parameters
        ----------
        model : str
            Our class.
        current : str, optional
            What the file called itself; kept when it means the same class.
        """
        if current and (
            self.models.get(current) == model or model in self.variants.get(current, {})
        ):
            return current
        for theirs, ours in self.models.items():
            if ours == model or model in self.variants.get(theirs, {}):
                return theirs
        return model

    def class_of(self, name: str, extensions: Container[str]) -> str | None:
        """Return our class for what a file calls itself, or None.

        Parameters
        ----------
        name : str
            Its DATAMODL.
        extensions : container of str
            The names of its extensions.
        """
        for ours, telling in self.variants.get(name, {}).items():
            if any(one in extensions for one in telling):
                return ours
        return self.models.get(name)


def _entries(
    path: str, node: Mapping[str, Any], sections: dict[str, str]
) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if key == "title" and isinstance(value, str):
            sections[path] = value
        elif isinstance(value, dict):
            yield from _entries(f"{path}.{key}" if path else key, value, sections)
        else:
            yield (f"{path}.{key}" if path else key), value


def _field(entry: list, enums: Mapping[str, list]) -> tuple[str | None, str, Mapping[str, Any]]:
    keyword, kind, title, *more = entry
    hdu = "PRIMARY"
    if keyword and "/" in keyword:
        hdu, keyword = keyword.split("/")
    node = {"type": kind, "title": title, **(more[0] if more else {})}
    if isinstance(node.get("enum"), str):
        node["enum"] = enums[node["enum"]]
    return keyword, hdu, node


overlays: dict[str, Overlay] = {}
"""The overlays registered, by observatory."""


def register_overlay(observatory: str, directory: str | Path) -> None:
    """Make an observatory's keywords and schemas known; nothing is read yet.

    Parameters
    ----------
    observatory : str
        As its files call it in TELESCOP.
    directory : path
        Holds ``keywords.yaml`` and perhaps ``schemas/``. A second directory of
        the same observatory is read after the first.
    """
    directory = Path(directory)
    known = overlays.get(observatory)
    if known is None:
        overlays[observatory] = Overlay(observatory, directory)
    elif directory not in known.directories:
        fresh = Overlay(observatory, known.directories[0])
        fresh.directories = [*known.directories, directory]
        overlays[observatory] = fresh
    else:
        return
    if (directory / "schemas").is_dir() and directory / "schemas" not in schema_directories:
        schema_directories.append(directory / "schemas")
    model_schema.cache_clear()


def overlay_of(telescope: str | None) -> Overlay | None:
    """Return the overlay of a telescope, or None."""
    return overlays.get(telescope.strip().upper()) if telescope else None


@functools.cache
def model_schema(name: str, telescope: str | None) -> ModelSchema:
    """Return a schema with the keywords of a telescope's observatory."""
    schema = load_schema(name)
    overlay = overlay_of(telescope)
    return schema if overlay is None else schema.extended(overlay)
