"""Where the parts of a cache are: the layout and the variables the official client defined.

Each part is looked for in this order, here for the rules: ``CRDS_MAPPATH_SINGLE``,
``CRDS_MAPPATH/<observatory>``, ``CRDS_PATH_SINGLE/mappings``,
``CRDS_PATH/mappings/<observatory>``, and last a folder of our own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from lightmill.errors import ConfigurationError
from lightmill.reference.digests import cache_home

__all__ = ["Layout", "is_mapping", "is_plain_name", "is_true", "known_server", "plain_name"]

MAPPING_KINDS = (".pmap", ".imap", ".rmap")
_VARIABLES = {"mappings": "CRDS_MAPPATH", "references": "CRDS_REFPATH", "config": "CRDS_CFGPATH"}
_FALSE = {"", "0", "f", "false", "n", "no", "none", "off"}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@,~ -]*")


def is_true(text: str | None) -> bool:
    """Say whether the value of an environment variable means yes."""
    return text is not None and text.strip().lower() not in _FALSE


def is_mapping(name: str) -> bool:
    """Say whether a name is that of a rule file: ``.pmap``, ``.imap`` or ``.rmap``."""
    return name.endswith(MAPPING_KINDS)


def is_plain_name(name: object) -> bool:
    """Say whether a name is that of a file that stays in its folder."""
    return isinstance(name, str) and len(name) <= 240 and _NAME.fullmatch(name) is not None


def plain_name(name: str, place: object = None) -> str:
    """Return a file name that stays in its folder, whatever rules, servers or archives say.

    Raises
    ------
    ConfigurationError
        If the name has a folder in it, is hidden, or has characters no reference file has.
    """
    if not is_plain_name(name):
        raise ConfigurationError(
            "this is no name a file in a cache may have",
            place=place,
            found=name,
            expected="letters, digits and _ - . only, no folder",
            remedy="correct the rules or the archive that name it",
        )
    return name


def known_server(observatory: str) -> str:
    """Return the address of an observatory's server as its folder says it, else ``URL``.

    It is for messages only: nobody is asked who was not named by the user.
    """
    from lightmill.instrument import observatories
    from lightmill.yaml_files import read_yaml

    for one in observatories():
        facts = one.home / "references.yaml"
        if one.name.lower() == observatory.lower() and facts.is_file():
            return str((read_yaml(facts) or {}).get("server") or "URL")
    return "URL"


class Layout:
    """The folders of a cache.

    Parameters
    ----------
    root : path_like, optional
        The cache; then no variable is looked at.
    environ : mapping, optional
        The variables; by default those of this process.
    """

    def __init__(
        self, root: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self._environ = {} if root is not None else (os.environ if environ is None else environ)
        self.origin = "given"
        if root is not None:
            self.root = Path(root).expanduser()
        else:
            self.root = self._found_root()

    def _found_root(self) -> Path:
        for name in ("CRDS_PATH_SINGLE", "CRDS_PATH", "CRDS_DEFAULT_CACHE"):
            value = self._environ.get(name)
            if value:
                self.origin = name
                return Path(value).expanduser()
        self.origin = "default"
        return cache_home() / "crds"

    def folder(self, part: str, observatory: str) -> Path:
        """Return the folder of a part: mappings, references or config."""
        plain_name(observatory)
        variable = _VARIABLES[part]
        if self._environ.get(variable + "_SINGLE"):
            return Path(self._environ[variable + "_SINGLE"]).expanduser()
        if self._environ.get(variable):
            return Path(self._environ[variable]).expanduser() / observatory
        if self.origin == "CRDS_PATH_SINGLE":
            return self.root / part
        return self.root / part / observatory

    def observatories(self) -> list[str]:
        """Return the names of the observatories the cache has anything of."""
        found: set[str] = set()
        for part, variable in _VARIABLES.items():
            if self._environ.get(variable + "_SINGLE") or (
                self.origin == "CRDS_PATH_SINGLE" and not self._environ.get(variable)
            ):
                folder = self.folder(part, "any")
                found |= {
                    one.name.split("_")[0] for one in files_in(folder) if is_mapping(one.name)
                }
            else:
                folder = self.folder(part, "any").parent
                found |= {one.name for one in folders_in(folder)}
        return sorted(found)

    def check_root(self) -> None:
        """Refuse a cache that is no folder; one that is not there yet may still be made.

        Raises
        ------
        ConfigurationError
            If there is something else of that name.
        """
        if self.root.exists() and not self.root.is_dir():
            raise ConfigurationError(
                "the cache is no folder",
                place=self.story(),
                found="a file",
                remedy="set CRDS_PATH (or --crds-path) to the folder of a cache",
            )

    def emptiness(self) -> str:
        """Return what there is instead of a cache with something in it, for messages."""
        if self.root.is_dir():
            return "an empty cache"
        return "a file, which is no cache" if self.root.exists() else "no such folder"

    def story(self) -> str:
        """Return where the cache is and what says so, for messages."""
        if self.origin in {"given", "default"}:
            return str(self.root)
        return f"{self.root} ({self.origin})"


def files_in(folder: Path) -> list[Path]:
    """Return the visible files of a folder, sorted; none if there is no such folder."""
    return sorted(one for one in _entries(folder) if one.is_file())


def folders_in(folder: Path) -> list[Path]:
    """Return the visible folders of a folder, sorted; none if there is no such folder."""
    return sorted(one for one in _entries(folder) if one.is_dir())


def _entries(folder: Path) -> list[Path]:
    try:
        return [one for one in folder.iterdir() if not one.name.startswith(".")]
    except OSError:
        return []
