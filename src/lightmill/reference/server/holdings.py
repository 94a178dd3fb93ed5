"""What a server can hand out: the files and contexts of a cache, as they are now.

Folders are listed again when they change, so that a context put into the cache
is served without a restart. Only what was listed is served: a name that leads
elsewhere is a name nobody has.
"""

from __future__ import annotations

import contextlib
import operator
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lightmill.errors import ConfigurationError, LightmillError, UnknownNameError
from lightmill.reference.cache import Cache, observatory_of
from lightmill.reference.config import STATES, FileInfo, ServerConfig, encoded, is_date
from lightmill.reference.layout import folders_in, is_mapping
from lightmill.reference.server.remembered import Remembered, stamp_of
from lightmill.reference.server.sums import Sums
from lightmill.reference.standing import version_of

if TYPE_CHECKING:
    from lightmill.reference.rules import Context

__all__ = ["Holdings", "NotHereError"]

_KEPT = 8  # contexts in memory; the rules of a mission take some 5 MB
_NAME = re.compile(r"[a-z0-9]{1,40}")  # of an observatory


class NotHereError(UnknownNameError):
    """A name the server does not have."""

    code = "not-here"


class Holdings:
    """The files and contexts of a cache.

    Parameters
    ----------
    cache : Cache
        Where they are; nothing is written to it.
    operational : iterable of str, optional
        Names of the contexts in use, at most one for each observatory. By default what
        the configuration of the cache says, and without one the context with the
        greatest number.
    only : iterable of str, optional
        The observatories to serve; by default all the cache has rules of.

    Raises
    ------
    ConfigurationError
        If a context or an observatory is not in the cache.
    """

    def __init__(
        self, cache: Cache, *, operational: Iterable[str] = (), only: Iterable[str] | None = None
    ) -> None:
        self.cache = cache
        self.only = None if only is None else {name.lower() for name in only}
        self._guard = threading.RLock()
        self._seen = Remembered()
        self._contexts: dict[str, tuple[object, Context]] = {}
        self._sums = Sums()
        self._told: dict[str, tuple[tuple[object, ...], int, dict[str, str]]] = {}
        self._operational: dict[str, str] = {}
        if self.only:
            for name in self.only:
                self.require_observatory(name)
        for name in operational:
            observatory = observatory_of(name)
            if name not in self.contexts(observatory):
                raise NotHereError("context", name, self.contexts(observatory))
            self._operational[observatory] = name

    # -- observatories and contexts -------------------------------------------------------

    def observatories(self) -> list[str]:
        """Return the names of the observatories the cache has rules of."""
        return [name for name in self.cache.observatories() if self._has_rules(name)]

    def require_observatory(self, name: str | None) -> str:
        """Return an observatory's name as it is written here; by default that of the only one.

        Raises
        ------
        ConfigurationError
            If there is none of this name, or several and none was named.
        """
        if name and self._has_rules(name.lower()):
            return name.lower()
        known = self.observatories()
        if name:
            raise NotHereError("observatory", name[:80], known)
        if len(known) == 1:
            return known[0]
        raise ConfigurationError(
            "this server has several observatories, and none was named"
            if known
            else "this server has no rules yet",
            found=", ".join(known) or None,
            remedy="add the name to the address of the server: CRDS_SERVER_URL=…/NAME"
            if known
            else "put contexts into the cache it serves",
        )

    def _has_rules(self, observatory: str) -> bool:
        if self.only is not None and observatory not in self.only:
            return False
        return _NAME.fullmatch(observatory) is not None and bool(self.mappings(observatory))

    def contexts(self, observatory: str) -> list[str]:
        """Return the names of an observatory's contexts, the newest first."""
        found = [name for name in self.mappings(observatory) if name.endswith(".pmap")]
        return sorted(found, key=version_of, reverse=True)

    def config(self, observatory: str) -> ServerConfig | None:
        """Return what the cache was told of its own server; None if nothing, or if unreadable."""
        path = self.cache.layout.folder("config", observatory) / "server_config"

        def read() -> ServerConfig | None:
            try:
                return ServerConfig.parse(path.read_text(encoding="utf-8"), path)
            except (OSError, UnicodeDecodeError, LightmillError):
                return None

        return self._seen.while_same(("config", observatory), [path], read)

    def operational(self, observatory: str) -> str:
        """Return the name of the context in use.

        Raises
        ------
        ConfigurationError
            If the observatory has no context.
        """
        known = self.contexts(observatory)
        if not known:
            raise ConfigurationError(f"there is no context of {observatory!r} here")
        named = self._operational.get(observatory)
        if named is None:
            config = self.config(observatory)
            named = config.context() if config else None
        return named if named in known else known[0]

    def state(self, observatory: str, state: str | None) -> str:
        """Return the name of the context in a state: ``operational``, ``latest``, ``edit``.

        The latest is that with the greatest number; what the configuration does not tell
        is the context in use.
        """
        if state == "latest":
            return self.contexts(observatory)[0]
        config = self.config(observatory)
        named = config.context(state) if config and state in STATES[2:] else None
        return named if named in self.contexts(observatory) else self.operational(observatory)

    def resolve(self, spec: str | None, observatory: str | None = None) -> str:
        """Return the name of the context somebody means.

        Parameters
        ----------
        spec : str or None
            A name, a state (``edit``, ``jwst-edit``), or a date; None is the one in use.
        observatory : str, optional
            Whose, where `spec` does not say it.

        Raises
        ------
        ConfigurationError
            If it is not here.
        """
        if spec and spec.endswith((".pmap", ".imap", ".rmap")):
            whose = self.require_observatory(observatory_of(spec))
            if spec not in self.mappings(whose):
                raise NotHereError("context", spec, self.contexts(whose))
            return spec
        known = [name for name in self.observatories() if (spec or "").startswith(name)]
        whose = self.require_observatory(known[0] if known else observatory)
        what = (spec or "").removeprefix(whose).removeprefix("-")
        if is_date(what):
            return self.at_date(what, whose)
        if what and what not in STATES:
            raise NotHereError("context", spec or "", self.contexts(whose))
        return self.state(whose, what)

    def at_date(self, date: str, observatory: str) -> str:
        """Return the context that was in use at a date.

        Raises
        ------
        ConfigurationError
            If the cache has no history of contexts, or that context is not here.
        """
        date = date.removeprefix(f"{observatory}-")
        config = self.config(observatory)
        named = config.context_at(date) if config and is_date(date) else None
        if named is None:
            raise ConfigurationError(
                "nobody told this server which context was in use then",
                place=observatory,
                found=date,
                remedy="name the context",
            )
        return self.resolve(named)

    def rules(self, name: str) -> Context:
        """Return a context, loaded once.

        Raises
        ------
        LightmillError
            If it is not here, or its rules cannot be read.
        """
        from lightmill.reference import rules

        name = self.resolve(name)
        path = self.mappings(observatory_of(name))[name]
        stamp = stamp_of(path)
        with self._guard:
            known, found = self._contexts.pop(name, (None, None))
            if found is None or known != stamp:
                found = rules.load(name, self.cache)
            self._contexts[name] = stamp, found  # the last one used is the last one dropped
            for old in list(self._contexts)[:-_KEPT]:
                del self._contexts[old]
        return found

    # -- files ----------------------------------------------------------------------------

    def mappings(self, observatory: str) -> dict[str, Path]:
        """Return the rule files: name → where it is."""
        folder = self.cache.layout.folder("mappings", observatory)

        def listed() -> dict[str, Path]:
            return {name: folder / name for name in self.cache.mappings(observatory)}

        return self._seen.while_same(("mappings", observatory), [folder], listed)

    def references(self, observatory: str) -> dict[str, Path]:
        """Return the reference files: name → where it is."""
        folder = self.cache.layout.folder("references", observatory)
        inside = self._seen.while_same(
            ("folders", observatory), [folder], lambda: folders_in(folder)
        )

        def listed() -> dict[str, Path]:
            return {path.name: path for path in self.cache.references(observatory)}

        return self._seen.while_same(("references", observatory), [folder, *inside], listed)

    def path(self, name: str, observatory: str) -> Path:
        """Return where a file is.

        Raises
        ------
        NotHereError
            If it is not here.
        """
        files = (self.mappings if is_mapping(name) else self.references)(observatory)
        if name not in files:
            raise NotHereError("file", name, ())
        return files[name]

    def info(self, name: str, observatory: str, *, wait: bool = False) -> FileInfo:
        """Return size and SHA-1 of a file.

        What the cache was told of a file counts more than what the file is now: a client
        that fetches a damaged one finds out. Of large files nobody told about, the sum is
        computed aside; until then it is not known.

        Parameters
        ----------
        name : str
            File name.
        observatory : str
            Whose file.
        wait : bool
            Whether to compute an unknown sum of a large file now.

        Raises
        ------
        NotHereError
            If it is not here.
        """
        path = self.path(name, observatory)
        try:
            return self._info(name, path, self.config(observatory), wait=wait)
        except OSError as error:
            raise NotHereError("file", name, ()) from error

    def infos(self, observatory: str) -> dict[str, FileInfo]:
        """Return size and SHA-1 of all files."""
        found, config = {}, self.config(observatory)
        files = {**self.mappings(observatory), **self.references(observatory)}
        for name, path in files.items():
            with contextlib.suppress(OSError):  # it has gone since it was listed
                found[name] = self._info(name, path, config)
        return found

    def metadata(self, observatory: str) -> dict[str, str]:
        """Return sizes and sums of all files, wrapped as clients are told them."""
        held = (
            self.mappings(observatory),
            self.references(observatory),
            self.config(observatory),
        )
        known = self._told.get(observatory)
        count = len(self._sums)
        if known is None or known[1] != count or any(map(operator.is_not, known[0], held)):
            told = {
                name: {"size": str(info.size or 0), "sha1sum": info.sha1 or "none"}
                for name, info in self.infos(observatory).items()
            }
            known = self._told[observatory] = held, len(self._sums), encoded(told)
        return known[2]

    def _info(
        self, name: str, path: Path, config: ServerConfig | None, *, wait: bool = False
    ) -> FileInfo:
        told = config.file_info(name) if config and not is_mapping(name) else None
        if told is not None and told.size is not None and told.sha1:
            return told
        status = path.stat()
        return FileInfo(name, status.st_size, self._sums.of(path, status, wait=wait))

    def unsummed(self) -> int:
        """Return how many files wait for their sum."""
        return self._sums.unsummed

    def problems(self) -> list[str]:
        """Return what keeps this server from serving; nothing when all is well."""
        root = self.cache.root
        try:
            next(root.iterdir(), None)
        except OSError as error:
            return [f"the cache cannot be read: {root} ({error.strerror})"]
        known = self.observatories()
        if not known:
            return [f"the cache has no rules: {root}"]
        return [
            f"{one}: there is no context, only parts of one"
            for one in known
            if not self.contexts(one)
        ]
