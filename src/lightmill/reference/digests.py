"""SHA-1 sums of files, computed once while a file stays as it is.

What is known is kept per user under the cache home of the system
(``XDG_CACHE_HOME``), so that a cache that may not be written is checked once,
too. A file is known by its path, inode, size and time of change.

The table is read once by a process and written at its end, or when a batch of
files is done: never for each file, as it may hold those of a whole mission.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import threading
import time
from pathlib import Path

__all__ = ["cache_home", "forget", "keep_sums", "known_sha1", "remember_sha1", "sha1_of"]

_KEPT = 50000
_EVERY = 60.0  # s of work that a process that is killed may lose
_WAIT = 10.0  # s for another process that writes the table; to wait longer is not worth it
_known: dict[str, str] | None = None
_fresh: dict[str, str | None] = {}  # not in the file yet; None: to be taken out of it
_written = time.monotonic()
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
    """Keep the SHA-1 of a file, for this and the next processes; see `keep_sums`."""
    with contextlib.suppress(OSError), _guard:
        key = _key(path)
        _table()[key] = sha1
        _add(key, sha1)
    if time.monotonic() - _written > _EVERY:
        keep_sums()


def forget(path: Path) -> None:
    """Have the SHA-1 of a file computed again."""
    with contextlib.suppress(OSError), _guard:
        key = _key(path)
        if _table().pop(key, None) is not None:
            _add(key, None)


def keep_sums() -> None:
    """Write the sums of this process to the table, beside those of others: whole, or not at all.

    It is done at the end of a process by itself. A table that cannot be written is no
    failure: the sums are computed again.
    """
    global _known, _written  # noqa: PLW0603 - one table a process
    from lightmill.errors import OutputError
    from lightmill.reference.locking import file_lock

    with _guard:
        fresh = dict(_fresh)
        _fresh.clear()
        _written = time.monotonic()
        atexit.unregister(keep_sums)
    if not fresh:
        return
    with contextlib.suppress(OSError, RuntimeError, OutputError):
        target = _file()
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = target.with_suffix(".lock")  # what another process adds meanwhile would be lost
        with file_lock(lock, "keep sums of references", timeout=_WAIT, say=_say_nothing):
            known = dict(list(_changed(_read(), fresh).items())[-_KEPT:])
            _write(target, known)
        with _guard:
            _known = _changed(known, _fresh)  # other threads went on


def _add(key: str, sha1: str | None) -> None:
    if not _fresh:
        atexit.register(keep_sums)
    _fresh[key] = sha1


def _changed(known: dict[str, str], fresh: dict[str, str | None]) -> dict[str, str]:
    """Return a table with what is fresh, at its end."""
    kept = {key: sha1 for key, sha1 in known.items() if key not in fresh}
    return kept | {key: sha1 for key, sha1 in fresh.items() if sha1 is not None}


def _write(target: Path, known: dict[str, str]) -> None:
    aside = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        aside.write_text(json.dumps(known), encoding="utf-8")
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def _say_nothing(_: str) -> None:
    """Wait for another process without a word: nobody waits for the sums."""


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
