"""A readout program that is none: plays the reads of raw exposures at the cadence of a detector."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lightmill.errors import ConfigurationError, DataError, LightmillError
from lightmill.observatories.tmt.iris.live import wire
from lightmill.observatories.tmt.iris.live.files import exposure_of, reads_of, write_read
from lightmill.observatories.tmt.iris.live.reads import Read
from lightmill.pipeline.memory import keep_freed_memory

__all__ = ["Played", "play"]

AHEAD = 8  # reads a detector keeps that were not taken yet
PATIENCE = 60.0  # s a detector tries to connect


@dataclass
class Played:
    """What was played.

    Attributes
    ----------
    due : list of (str, int, float)
        Exposure, index of the read, when it was there (monotonic) [s].
    dropped : list of (str, int)
        Reads that were given up because those before them were not taken.
    late : float
        The most a read was taken after it was there [s].
    errors : list of Exception
    """

    due: list[tuple[str, int, float]] = field(default_factory=list)
    dropped: list[tuple[str, int]] = field(default_factory=list)
    late: float = 0.0
    errors: list[Exception] = field(default_factory=list)


def play(
    exposures: Sequence[Path],
    to: str,
    *,
    cadence: float = 0.72,
    detectors: Sequence[str] | None = None,
    told: Callable[[str], None] | None = None,
) -> Played:
    """Play exposures: those of one detector after each other, detectors at the same time.

    Parameters
    ----------
    exposures : sequence of Path
        Raw exposures.
    to : str
        A folder, ``tcp:HOST:PORT`` or ``unix:PATH``.
    cadence : float
        From read to read [s]; 0 is as fast as they are taken.
    detectors : sequence of str, optional
        Play every exposure on each of these.
    told : callable, optional
        Given messages.

    Returns
    -------
    played : Played
        What was sent, and what could not be.
    """
    plan: dict[str, list[tuple[Path, str | None]]] = {}
    for path in exposures:
        for detector in detectors or (exposure_of(path).detector,):
            plan.setdefault(detector, []).append((path, detector))
    keep_freed_memory()  # a read takes the place of the one before
    played, begin = Played(), time.monotonic() + 0.2
    threads = [
        threading.Thread(
            target=_play_detector, args=(many, to, cadence, begin, played, told), daemon=True
        )
        for many in plan.values()
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return played


def _play_detector(
    plan: list[tuple[Path, str | None]], to: str, cadence: float, begin: float, played: Played,
    told: Callable[[str], None] | None,
) -> None:  # fmt: skip
    try:
        outlet = _outlet(to, played, told)
        try:
            number = 0
            for path, detector in plan:
                for read in reads_of(path, detector=detector):
                    number += 1
                    wait = begin + number * cadence - time.monotonic()
                    if cadence and wait > 0:
                        time.sleep(wait)
                    played.due.append((read.exposure.name, read.index, time.monotonic()))
                    outlet.put(read, block=not cadence)
        finally:
            outlet.close()
    except (LightmillError, OSError) as error:
        played.errors.append(error)
        if told is not None:
            told(str(error))


def _outlet(to: str, played: Played, told: Callable[[str], None] | None) -> _Folder | _Link:
    if to.startswith(("tcp:", "unix:")):
        return _Link(to, played, told)
    folder = Path(to)
    if not folder.is_dir():
        raise ConfigurationError("there is no such folder", place=to, remedy="make it first")
    return _Folder(folder)


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, read: Read, *, block: bool) -> None:
        del block
        write_read(self._folder, read)

    def close(self) -> None:
        pass


class _Link:
    """A connection that is made again when it was lost; what was not answered is sent again."""

    def __init__(self, to: str, played: Played, told: Callable[[str], None] | None) -> None:
        self._to, self._played, self._told = to, played, told
        self._reads: deque[tuple[Read, float]] = deque()
        self._turn = threading.Condition()
        self._over = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._send_all, daemon=True)
        self._thread.start()

    def put(self, read: Read, *, block: bool) -> None:
        """Keep a read until it is taken; one that finds no room is dropped, and that is said."""
        with self._turn:
            if block:
                self._turn.wait_for(lambda: len(self._reads) <= AHEAD or self._error)
            if self._error is not None:
                raise self._error
            if len(self._reads) > AHEAD:
                self._played.dropped.append((read.exposure.name, read.index))
                self._tell(f"{read.label} is dropped: {len(self._reads)} before it were not taken")
                return
            self._reads.append((read, time.monotonic()))
            self._turn.notify_all()

    def close(self) -> None:
        with self._turn:
            self._over = True
            self._turn.notify_all()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _tell(self, text: str) -> None:
        if self._told is not None:
            self._told(text)

    def _send_all(self) -> None:
        link: socket.socket | None = None
        try:
            while True:
                with self._turn:
                    self._turn.wait_for(lambda: self._reads or self._over)
                    if not self._reads:
                        return
                    read, there = self._reads[0]
                link = self._sent(link, read)
                self._played.late = max(self._played.late, time.monotonic() - there)
                with self._turn:
                    self._reads.popleft()
                    self._turn.notify_all()
        except (LightmillError, OSError) as error:
            with self._turn:
                self._error = error
                self._turn.notify_all()
        finally:
            if link is not None:
                link.close()

    def _sent(self, link: socket.socket | None, read: Read) -> socket.socket:
        """Send a read until it is taken; return the connection it went through."""
        while True:
            link = link or self._connected()
            try:
                answer = wire.send(link, read)
            except OSError as error:
                self._tell(f"the connection was lost ({error}); {read.label} is sent again")
                link.close()
                link = None
                continue
            if answer == wire.TAKEN:
                return link
            if answer != wire.AGAIN:
                raise DataError("the reads are refused", place=self._to, found=read.label)
            self._tell(f"{read.label} came damaged and is sent again")

    def _connected(self) -> socket.socket:
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return _connect(self._to)
            except OSError as error:
                if time.monotonic() > until:
                    raise ConfigurationError(
                        "nobody takes the reads", place=self._to, found=error,
                        remedy=f"lightmill iris live {self._to}",
                    ) from error  # fmt: skip
                time.sleep(0.1)


def _connect(to: str) -> socket.socket:
    kind, _, rest = to.partition(":")
    if kind == "unix":
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(rest)
        except OSError:
            link.close()
            raise
        return link
    host, _, port = rest.rpartition(":")
    found = socket.create_connection((host or "127.0.0.1", int(port)), timeout=10)
    found.settimeout(None)
    found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found
