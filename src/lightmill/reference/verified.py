"""The files that rules name, verified: fetched where they are missing, replaced where damaged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from lightmill.errors import ConfigurationError, CorruptFileError, LightmillError
from lightmill.reference.cache import Cache
from lightmill.reference.client import Client
from lightmill.reference.config import FileInfo
from lightmill.reference.download import DownloadError, Progress, download
from lightmill.reference.layout import known_server
from lightmill.reference.lock_file import ReferenceLock
from lightmill.reference.selected import MissingReferenceError

__all__ = ["Verified", "VerifiedFiles"]

Verified: TypeAlias = tuple[Path, str | None]  # where it is, and the SHA-1 it was verified against


class VerifiedFiles:
    """Files of a cache, none of which is handed out unless it is what it should be.

    Parameters
    ----------
    cache : Cache
        Where they are.
    client : Client or None
        Whom to ask for what is missing or damaged.
    lock : ReferenceLock or None
        What says what they should be; otherwise the server has said it.
    """

    def __init__(self, cache: Cache, client: Client | None, lock: ReferenceLock | None) -> None:
        self.cache, self.client, self.lock = cache, client, lock

    def ensure(
        self,
        names: Iterable[str],
        observatory: str,
        *,
        instruments: Mapping[str, str] | Mapping[str, str | None],
        progress: Progress | None = None,
        workers: int = 4,
    ) -> dict[str, Verified | LightmillError]:
        """Return where files are, or what is wrong with them; see `Library.ensure`."""
        files: dict[str, Verified | LightmillError] = {}
        wrong: dict[str, LightmillError] = {}
        for name in dict.fromkeys(_with_pairs(names)):
            one = self._local(name, observatory, instruments.get(name))
            files[name] = one
            if isinstance(one, LightmillError):
                wrong[name] = one
        if not wrong or self.client is None or self.cache.readonly:
            return files
        known = {n: i for n, i in instruments.items() if i}
        try:
            download(
                wrong,
                self.cache,
                self.client,
                observatory=observatory,
                instruments=known,
                workers=workers,
                progress=progress,
                replace=True,
            )
        except DownloadError as error:
            files.update(error.errors)
        except LightmillError as error:
            files.update(dict.fromkeys(wrong, error))
        self._remember(observatory, [name for name in wrong if self.cache.has(name, observatory)])
        for name, problem in wrong.items():
            again = self._local(name, observatory, known.get(name))
            if not isinstance(again, LightmillError) or files[name] is problem:
                files[name] = again
        return files

    def _remember(self, observatory: str, names: Iterable[str]) -> None:
        """Keep what the server told of files that were fetched, to verify them without it."""
        assert self.client is not None
        names = list(names)
        if not names:
            return
        config = self.cache.config(observatory)
        if config is None:
            self.refresh(observatory)
            return
        new = [name for name in names if config.file_info(name) is None]
        if new:
            told = self.client.file_info(observatory, new)
            self.cache.save_config(config.with_files(told.values()), observatory)

    def refresh(self, observatory: str) -> None:
        """Ask the server for its contexts, bad files and checksums, and keep the answer.

        Raises
        ------
        ConfigurationError
            If there is no server, or it is another observatory's.
        """
        if self.client is None:
            raise ConfigurationError(
                "no server is named",
                place="CRDS_SERVER_URL",
                remedy="set CRDS_SERVER_URL, or give --server URL",
            )
        self.cache.save_config(self.client.for_observatory(observatory), observatory)

    def _local(
        self, name: str, observatory: str, instrument: str | None
    ) -> Verified | LightmillError:
        """Return a file of the cache, verified; the sum costs only the first time."""
        try:
            path = self.cache.path(name, observatory, instrument)
            info = self._info(name, observatory)
        except LightmillError as error:
            return error
        if not path.is_file():
            return MissingReferenceError(
                "this file is not in the cache",
                place=path,
                remedy="unset CRDS_READONLY_CACHE, or use a cache that has it (CRDS_PATH)"
                if self.cache.readonly
                else f"fetch it: lightmill refs sync FILES --server {known_server(observatory)}; or "
                "import a bundle that has it: lightmill refs unbundle",
            )
        problem = self.cache.verify(name, observatory, info=info, path=path)
        if problem:
            return CorruptFileError(
                f"the file in the cache is damaged: {problem}",
                place=path,
                remedy=f"lightmill refs verify --repair --server {known_server(observatory)}, or "
                "remove the file"
                if not self.lock
                else f"{self.lock.path} pins other content: restore the file, or write a new lock",
            )
        return path, info.sha1

    def _info(self, name: str, observatory: str) -> FileInfo:
        if self.lock:
            pinned = self.lock.info(name)
            if pinned is not None:
                return pinned
        return self.cache.file_info(name, observatory)


def _with_pairs(names: Iterable[str]) -> Iterator[str]:
    """Return names, and after the header of a GEIS image (``.r4h``) its data (``.r4d``)."""
    for name in names:
        yield name
        if re.search(r"\.r\dh$", name):
            yield name[:-1] + "d"
