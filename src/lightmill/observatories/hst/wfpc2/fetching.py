"""Jitter files fetched into an archive's folder: each whole or not there, on from where it broke off.

What is being fetched lies in a hidden folder beside its place, with a note of what it is of. Whoever
is killed leaves it there, and the next one goes on with it if the server says that the file is
still the same. Only what has the size and the checksums of the list gets its name.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lightmill.errors import CorruptFileError, DataError, LightmillError, OutputError
from lightmill.models import synchronise
from lightmill.observatories.hst.wfpc2.exposures import root_of
from lightmill.observatories.hst.wfpc2.instance import inside
from lightmill.observatories.hst.wfpc2.jitter import LARGEST
from lightmill.observatories.hst.wfpc2.sources import NAME, Origin, Source
from lightmill.reference.config import FileInfo
from lightmill.reference.storing import Place, writing
from lightmill.reference.transfer import Task, Transfer
from lightmill.reference.transport import Patience

__all__ = ["Fetched", "Fetching", "Wanted"]

AT_ONCE = 4  # pairs; each waits for the server most of the time
REMEDY = "see to the source; it is tried again some time after"

Progress = Callable[[str, int, int], None]


class Wanted(NamedTuple):
    """A pair that is asked for.

    Parameters
    ----------
    dataset, gen_date_str : str
        Which generation of which jitter dataset.
    files : tuple of str
        Where table and statistics go, relative to the archive's folder; empty where the delivery
        did not say.
    """

    dataset: str
    gen_date_str: str
    files: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """Where the two files go, relative to the archive's folder."""
        if self.files:
            return self.files
        stem = f"{root_of(self.dataset).lower()}j_{self.gen_date_str}"
        return f"jitter/{stem}_jit.fits", f"jitter/{stem}_jif.fits"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of a pair that was asked for.

    Parameters
    ----------
    wanted : Wanted
        The pair.
    content : str
        SHA-256 of the bytes of both files; empty if they could not be fetched.
    error : LightmillError or None
        Why not.
    """

    wanted: Wanted
    content: str = ""
    error: LightmillError | None = None


@dataclass
class Fetching:
    """Fetches pairs of jitter files.

    Parameters
    ----------
    folder : path
        The archive.
    source : Source
        Where they can be had.
    patience : Patience
        Time-outs and retries of a server.
    progress : callable, optional
        Told the name of a file, the bytes so far and those in all (0: not known); by any thread.
    stop : threading.Event
        Set to end what is being fetched.
    """

    folder: Path
    source: Source
    patience: Patience = field(default_factory=Patience)
    progress: Progress | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def pairs(self, wanted: Iterable[Wanted], *, at_once: int = AT_ONCE) -> Iterator[Fetched]:
        """Fetch pairs, and yield each when it is there or cannot be had.

        Parameters
        ----------
        wanted : iterable of Wanted
            Those to fetch; what is there is replaced by what the source has.
        at_once : int
            How many at the same time.

        Yields
        ------
        fetched : Fetched
            As they end; one that cannot be had stops no other.
        """
        with ThreadPoolExecutor(max(1, at_once)) as pool:
            running = [pool.submit(self.pair, one) for one in wanted]
            try:
                for future in as_completed(running):
                    yield future.result()
            except BaseException:  # Ctrl-C: what is being fetched ends at its next block
                self.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def pair(self, wanted: Wanted) -> Fetched:
        """Fetch the two files of a pair.

        Parameters
        ----------
        wanted : Wanted
            Which.

        Returns
        -------
        fetched : Fetched
            With the error, if one of them cannot be had.
        """
        digest = hashlib.sha256()
        try:
            targets = [self._target(name) for name in wanted.places]
            origins = [self._origin(target.name) for target in targets]
            for origin, target in zip(origins, targets, strict=True):
                self._file(origin, target)
                digest.update(target.read_bytes())
        except OutputError as error:  # no fault of the pair
            raise OutputError(
                "the archive's folder cannot be written",
                place=error.place,
                found=error.found,
                remedy="make room, or give leave to write there, and run again: it goes on from here",
            ) from error
        except LightmillError as error:
            return Fetched(wanted, error=error)
        return Fetched(wanted, digest.hexdigest())

    def _target(self, name: str) -> Path:
        """Return where a file goes: in the archive's folder, under a name of a jitter file."""
        path = inside(self.folder, name)
        if not NAME.fullmatch(path.name.lower()):
            raise DataError(
                "this is not the name of a jitter file",
                place=self.folder,
                found=path.name,
                expected="u26k2s02j_199703130951_jit.fits, or _jif.fits",
                remedy="correct the delivery's list",
            )
        return path

    def _origin(self, name: str) -> Origin:
        found = self.source.find(name)
        if found is None:
            raise DataError(
                "the source does not have this file", place=name, found="no such name",
                remedy=REMEDY,
            )  # fmt: skip
        if found.size is not None and found.size > LARGEST:
            raise _too_large(name, found.size)
        return found

    def _file(self, origin: Origin, target: Path) -> None:
        """Fetch one file, and show it under its name when it is what it should be."""
        info = FileInfo(target.name, origin.size, origin.sha1)
        with writing(target, f"fetch {target.name}", info=info, keep=True) as place:
            try:
                self._bytes(origin, info, place)
                _check(origin, place)
            except CorruptFileError:
                place.discard()
                raise
            place.part.replace(target)
            synchronise(target.parent)
            place.discard()

    def _bytes(self, origin: Origin, info: FileInfo, place: Place) -> None:
        """Write a file's bytes aside."""
        if isinstance(origin.place, Path):
            self._copied(origin.place, info, place)
            return
        task = Task(
            origin.place, place.target, info, self.patience, self.progress, self.stop, True, LARGEST
        )
        try:
            Transfer(task, place).run()
        except (CorruptFileError, OutputError):
            raise
        except LightmillError as error:  # its remedies are about reference files
            raise DataError(
                error.fact, place=origin.place, found=error.found, remedy=REMEDY
            ) from error

    def _copied(self, path: Path, info: FileInfo, place: Place) -> None:
        """Copy a file of this machine."""
        try:
            with path.open("rb") as file:
                content = file.read(LARGEST + 1)
        except OSError as error:
            raise DataError(
                "the file cannot be read", place=path, found=error.strerror, remedy=REMEDY
            ) from error
        if len(content) > LARGEST:
            raise _too_large(path, f"more than {LARGEST}")
        with place.part.open("wb") as part:
            part.write(content)
            part.flush()
            os.fsync(part.fileno())
        if self.progress:
            self.progress(info.name, len(content), len(content))


def _check(origin: Origin, place: Place) -> None:
    """Compare what was written aside with size and checksums that the list tells.

    Raises
    ------
    CorruptFileError
        If one of them differs.
    """
    size = place.part.stat().st_size
    if origin.size not in {None, size}:
        raise CorruptFileError(
            "the file fetched is not the one that the list tells: its size differs",
            place=origin.place,
            found=f"{size} bytes",
            expected=f"{origin.size} bytes",
            remedy=REMEDY,
        )
    for kind, wanted in origin.checksums:
        with place.part.open("rb") as file:
            got = hashlib.file_digest(file, kind).hexdigest()
        if got != wanted:
            raise CorruptFileError(
                f"the file fetched is not the one that the list tells: {kind} differs",
                place=origin.place,
                found=got,
                expected=wanted,
                remedy=REMEDY,
            )


def _too_large(place: object, found: object) -> CorruptFileError:
    return CorruptFileError(
        "too large for a jitter file", place=place, found=f"{found} bytes",
        expected=f"at most {LARGEST} bytes",
    )  # fmt: skip
