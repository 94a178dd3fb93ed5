"""SHA-1 sums of files, computed once while a file stays as it is.

What is known is kept per user under the cache home of the system
(``XDG_CACHE_HOME``), so that a cache that may not be written is checked once,
too. A file is known by its path, inode, size and time of change.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import threading
import time
from pathlib import Path

__all__ = ["cache_home", "forget", "known_sha1", "remember_sha1", "sha1_of"]

_KEPT = 50000
_EVERY = 2.0  # seconds between two writes of the table
_known: dict[str, str] | None = None
_saved = float("-inf")
_unsaved = False
_guard = threading.Lock()


def cache_home() -> Path:
    """Return the folder in which this user's programs keep what can be made again."""
    home = os.environ.get("XDG_CACHE_HOME")
    if home:
        return Path(home) / "lightmill"
    try:
        return Path.home() / ".cache" / "lightmill"
    except RuntimeError:  # a user without a home
        return Path("/tmp") / f"lightmill-{os.getuid()}"  # noqa: S108 - the last resort


def sha1_of(path: Path) -> str:
    """Return the SHA-1 of a file; it is read only if it changed since it was read last."""
    known = known_sha1(path)
    if known is None:
        import hashlib  # loads OpenSSL, which most runs do without

        before = _key(path)
        with path.open("rb") as file:
            known = hashlib.file_digest(file, "sha1").hexdigest()
        if _key(path) == before:
            remember_sha1(path, known)
    return known


def known_sha1(path: Path) -> str | None:
    """Return the SHA-1 of a file if it was computed before and the file is unchanged."""
    with _guard:
        return _table().get(_key(path))


def remember_sha1(path: Path, sha1: str) -> None:
    """Keep the SHA-1 of a file, for this and the next processes.

    A table that cannot be written is no failure: the sum is computed again.
    """
    global _unsaved  # noqa: PLW0603 - one table a process
    with _guard, contextlib.suppress(OSError):
        _table()[_key(path)] = sha1
        if not _unsaved:
            atexit.register(_save)
        _unsaved = True
        if time.monotonic() - _saved > _EVERY:
            _write()


def _save() -> None:
    with _guard:
        _write()


def _write() -> None:
    """Write the table, with what other processes added meanwhile."""
    global _known, _saved, _unsaved  # noqa: PLW0603 - one table a process
    table = {**_read(), **_table()}
    _known = dict(list(table.items())[-_KEPT:])
    _saved, _unsaved = time.monotonic(), False
    atexit.unregister(_save)
    with contextlib.suppress(OSError, RuntimeError):
        target = _file()
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            aside.write_text(json.dumps(_known), encoding="utf-8")
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)


def forget(path: Path) -> None:
    """Have the SHA-1 of a file computed again."""
    with _guard, contextlib.suppress(OSError):
        _table().pop(_key(path), None)


def _key(path: Path) -> str:
    status = path.stat()
    return f"{os.path.realpath(path)}|{status.st_ino}|{status.st_size}|{status.st_mtime_ns}"


def _file() -> Path:
    return cache_home() / "reference-sums.json"


def _table() -> dict[str, str]:
    global _known  # noqa: PLW0603 - one table a process
    if _known is None:
        _known = _read()
    return _known


def _read() -> dict[str, str]:
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
