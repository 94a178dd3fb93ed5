"""Read the YAML files that say what instruments, schemas and pipelines are.

They are read at every start and hardly ever change, and a YAML parser takes a
hundred times longer than a JSON parser: what a file held is kept as JSON in
the user's cache folder, under its path, inode, size and time.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError

__all__ = ["read_yaml"]

LARGEST = 1 << 20  # bytes of a file worth keeping


def read_yaml(path: Path) -> Any:
    """Return what a YAML file of ours holds.

    Parameters
    ----------
    path : Path
        Of an installed file, or of one an instrument's folder has.

    Returns
    -------
    content : object
        For the caller to look at, not to change.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or is not YAML.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ConfigurationError(
            "the file cannot be read", place=path, found=error.strerror
        ) from error
    stamp = f"{status.st_ino}|{status.st_size}|{status.st_mtime_ns}"
    kept = _table().get(str(path))
    if isinstance(kept, list) and len(kept) == 2 and kept[0] == stamp:
        return kept[1]
    content = _parsed(path)
    if status.st_size <= LARGEST and _is_json(content):
        _keep(str(path), stamp, content)
    return content


def _parsed(path: Path) -> Any:
    import yaml  # 25 ms, and what is known already does without

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506 - the safe loader in C
    except (yaml.YAMLError, OSError) as error:
        raise ConfigurationError(
            "the file cannot be understood",
            place=path,
            found=" ".join(str(error).split()),
            expected="YAML",
        ) from error


def _is_json(value: Any) -> bool:
    """Say whether JSON gives a value back as it is: text keys, no dates, no tuples."""
    if isinstance(value, dict):
        return all(type(key) is str and _is_json(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or type(value) in (str, int, float, bool)


_memory: dict[str, Any] | None = None


def _file() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "lightmill" / "yaml.json"


def _table() -> dict[str, Any]:
    global _memory  # noqa: PLW0603 - one table a process
    if _memory is None:
        _memory = _stored()
    return _memory


def _stored() -> dict[str, Any]:
    try:
        found = json.loads(_file().read_bytes())
    except (OSError, ValueError, RuntimeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _keep(path: str, stamp: str, content: Any) -> None:
    """Remember what a file holds; a cache that cannot be written is no failure."""
    import atexit

    table = _table()
    if not _fresh:
        atexit.register(_store)
    _fresh[path] = table[path] = [stamp, content]


_fresh: dict[str, Any] = {}  # of this process, not stored yet


def _store() -> None:
    """Add what this process has read to what others have, at its end: one file at once."""
    import tempfile

    with contextlib.suppress(OSError, RuntimeError, ValueError):  # a full disk; no home
        target = _file()
        target.parent.mkdir(parents=True, exist_ok=True)
        known = {**_stored(), **_fresh}
        known = {path: one for path, one in known.items() if os.path.exists(path)}  # noqa: PTH110
        with tempfile.NamedTemporaryFile("w", dir=target.parent, delete=False) as file:
            json.dump(known, file)
        Path(file.name).replace(target)
