"""Who may look, and who may act: tokens with a role, sessions of browsers, forms that are ours.

A token is 256 random bits; the file of an observatory holds only its checksum. A session lives in
the memory of the server: after a restart people log in again.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError

__all__ = ["FILE", "Role", "Sessions", "Tokens", "Visitor", "new_token"]

FILE = "tokens.yaml"
LIFE = 12 * 3600.0  # seconds of a session
MOST = 1000  # sessions at the same time; the oldest end first
_NAME = re.compile(r"[A-Za-z0-9._@ -]{1,80}")
_WRITING = threading.Lock()


class Role(StrEnum):
    """What the holder of a token may do."""

    READ = "read"  # look at everything
    OPERATE = "operate"  # and hold, release, retry, cancel, reprocess, prioritise tasks


@dataclass(frozen=True)
class Visitor:
    """Who asks.

    Attributes
    ----------
    name : str
        Of the token; empty for nobody in particular.
    role : Role or None
    session : str
        Of a browser; what its forms are sealed with.
    by_header : bool
        The token came with the request, not with a cookie: no other site can have made it.
    """

    name: str = ""
    role: Role | None = None
    session: str = ""
    by_header: bool = False

    @property
    def may_operate(self) -> bool:
        """Whether tasks may be acted upon."""
        return self.role is Role.OPERATE


class Tokens:
    """The tokens of an observatory, read again when their file has changed.

    Parameters
    ----------
    root : path
        Folder of the observatory.
    """

    def __init__(self, root: str | Path) -> None:
        self.path = Path(root) / FILE
        self._state: tuple[int, int] | None = None
        self._known: dict[str, tuple[str, Role]] = {}
        self._lock = threading.Lock()

    def holder(self, token: str) -> tuple[str, Role] | None:
        """Return the name and the role of a token, None if it is not known.

        Raises
        ------
        ConfigurationError
            If the file of tokens cannot be read.
        """
        return self.of_checksum(_checksum(token))

    def of_checksum(self, checksum: str) -> tuple[str, Role] | None:
        """Return the name and the role of the token that has a checksum."""
        with self._lock:
            state = _state(self.path)
            if state != self._state:
                self._known = {row["sha256"]: (row["name"], Role(row["role"]))
                               for row in _rows(self.path)}  # fmt: skip
                self._state = state
            # Nobody can steer a checksum byte by byte: the time of a look-up tells nothing.
            return self._known.get(checksum)


def new_token(root: str | Path, role: str | Role, name: str = "") -> str:
    """Make a token, and keep its checksum in the observatory's folder.

    Parameters
    ----------
    root : path
        Folder of the observatory.
    role : str or Role
        ``read`` or ``operate``.
    name : str
        Whose it is: it is written into the events of what its holder does.

    Returns
    -------
    token : str
        It cannot be told a second time.

    Raises
    ------
    ConfigurationError
        If the role or the name cannot be, or the file cannot be read.
    """
    import yaml

    if role not in list(Role):
        raise ConfigurationError(
            "there is no such role", found=role, expected=" or ".join(Role), place=FILE
        )
    name = name or str(role)
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            "the name of a token is not usable", found=name, place=FILE,
            expected="1 to 80 letters, digits, spaces, or any of . _ @ -",
        )  # fmt: skip
    token, path = f"lm-{secrets.token_urlsafe(32)}", Path(root) / FILE
    with _WRITING:
        rows = _rows(path)
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        rows.append({"name": name, "role": str(role), "sha256": _checksum(token), "made": made})
        aside = path.with_name(f".{FILE}.{os.getpid()}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("# Who may use the dashboard. Take a row away, and its token is void.\n")
            yaml.safe_dump({"tokens": rows}, file, sort_keys=False)
        aside.replace(path)
    return token


class Sessions:
    """Browsers that logged in.

    Parameters
    ----------
    clock : callable
        Seconds; only differences count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = secrets.token_bytes(32)
        self._kept: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._clock = clock

    def begin(self, token: str) -> str:
        """Return the name of a new session of whoever holds a token."""
        session = secrets.token_urlsafe(32)
        with self._lock:
            self._kept[session] = (_checksum(token), self._clock() + LIFE)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return session

    def end(self, session: str) -> None:
        """Log a browser out."""
        with self._lock:
            self._kept.pop(session, None)

    def visitor(self, session: str, tokens: Tokens) -> Visitor | None:
        """Return who a session is of, None if it is over or the token was taken away."""
        with self._lock:
            checksum, until = self._kept.get(session, ("", 0.0))
        if not checksum or self._clock() >= until:
            self.end(session)
            return None
        holder = tokens.of_checksum(checksum)
        return None if holder is None else Visitor(holder[0], holder[1], session)

    def seal(self, session: str) -> str:
        """Return what the forms of a browser carry, which no other site can know."""
        return hmac.new(self._key, session.encode(), hashlib.sha256).hexdigest()

    def is_sealed(self, session: str, seal: str) -> bool:
        """Say whether a form is one we gave to this browser."""
        return bool(session) and hmac.compare_digest(
            self.seal(session).encode(), seal.encode("utf-8", "replace")
        )


def _checksum(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of tokens; none if there is no file."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        content = {} if content is None else content
    except FileNotFoundError:
        return []
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "the tokens of the dashboard cannot be read", place=path,
            found=str(error).splitlines()[0], remedy="correct the file, or make new tokens",
        ) from error  # fmt: skip
    rows = content.get("tokens", []) if isinstance(content, dict) else None
    for row in rows if isinstance(rows, list) else [None]:
        if (
            not isinstance(row, dict)
            or not re.fullmatch(r"[0-9a-f]{64}", str(row.get("sha256")))
            or row.get("role") not in list(Role)
            or not _NAME.fullmatch(str(row.get("name")))
        ):
            raise ConfigurationError(
                "a row of the dashboard's tokens is not one", place=path, found=row,
                expected="name, role (read or operate) and sha256",
                remedy="correct the file, or make new tokens",
            )  # fmt: skip
    return list(rows or [])
