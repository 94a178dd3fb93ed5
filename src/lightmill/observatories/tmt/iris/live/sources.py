"""Where reads come from: files that appear in a folder, or connections to a socket."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from lightmill.errors import ConfigurationError, DataError
from lightmill.observatories.tmt.iris.live import wire
from lightmill.observatories.tmt.iris.live.files import read_file
from lightmill.observatories.tmt.iris.live.reads import Read

__all__ = ["FolderSource", "Sink", "SocketSource", "source_of"]

POLL = 0.02  # s between looks into a folder
IDLE = 3600.0  # s a connection may say nothing: an exposure may be long
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Sink(Protocol):
    """Who is told of reads; called from the source's threads."""

    def take(self, read: Read) -> None:
        """Take a read; return when there is room for the next one."""

    def damaged(self, read: Read, why: str) -> None:
        """Note that a read came damaged; `read` has no pixels."""

    def tell(self, text: str) -> None:
        """Note anything else."""


def source_of(text: str, *, anywhere: bool = False) -> FolderSource | SocketSource:
    """Return what a command line names.

    Parameters
    ----------
    text : str
        A folder; ``tcp:PORT``, ``tcp:HOST:PORT`` or ``unix:PATH``.
    anywhere : bool
        Let other machines connect, too.

    Returns
    -------
    source : FolderSource or SocketSource
        A socket listens already.

    Raises
    ------
    ConfigurationError
        If there is no such folder, or it cannot be listened there.
    """
    kind, _, rest = text.partition(":")
    if kind == "unix":
        return SocketSource(socket.AF_UNIX, rest, text)
    if kind == "tcp":
        host, _, port = rest.rpartition(":")
        host = host.strip("[]") or "127.0.0.1"
        if host not in _LOOPBACK and not anywhere:
            raise ConfigurationError(
                "other machines would reach this address", place=text, found=host,
                expected="127.0.0.1",
                remedy="give --anywhere if that is meant: whoever connects can make frames",
            )  # fmt: skip
        if not port.isdigit():
            raise ConfigurationError("this is no port", place=text, found=port, expected="a number")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return SocketSource(family, (host, int(port)), text)
    folder = Path(text)
    if not folder.is_dir():
        raise ConfigurationError(
            "there is no such folder", place=text, expected="a folder, tcp:PORT, or unix:PATH",
            remedy="make it before the detector writes into it",
        )  # fmt: skip
    return FolderSource(folder)


class FolderSource:
    """Files that appear in a folder, in the order of their names.

    What is there already when it begins is not looked at, unless ``old`` is true. A file whose
    name begins with a dot is not finished.
    """

    def __init__(self, folder: Path, *, old: bool = False) -> None:
        self.folder = folder
        self.address = str(folder)
        self._seen = set() if old else {one.name for one in folder.iterdir()}

    def run(self, sink: Sink, ends: Callable[[], bool]) -> None:
        """Look for files until it ends."""
        while not ends():
            fresh = self._fresh()
            for name, written in fresh:
                try:
                    read = read_file(self.folder / name)
                except DataError as error:
                    sink.tell(error.story())
                    continue
                waited = max(time.time() - written, 0.0)
                sink.take(
                    Read(read.exposure, read.ramp, read.number, read.time, read.pixels,
                         time.monotonic() - waited)
                )  # fmt: skip
                if ends():
                    return
            if not fresh:
                time.sleep(POLL)

    def _fresh(self) -> list[tuple[str, float]]:
        """Return names and times of the files that are new; forget those that are gone."""
        found = [
            one
            for one in os.scandir(self.folder)
            if one.name.endswith(".fits") and not one.name.startswith(".")
        ]
        names = {one.name for one in found}
        fresh = []
        for one in sorted((o for o in found if o.name not in self._seen), key=lambda o: o.name):
            with contextlib.suppress(FileNotFoundError):
                fresh.append((one.name, one.stat().st_mtime))
        self._seen = names
        return fresh

    def close(self) -> None:
        """Nothing is open."""


class SocketSource:
    """Detectors that connect to a socket; each read is answered when it was taken.

    The answer comes when the frame has the read, so that a detector sees when it is not kept up
    with. Who was cut off connects again and sends what was not answered.
    """

    def __init__(self, family: int, place: str | tuple[str, int], text: str) -> None:
        self._path = place if isinstance(place, str) else None
        self._server = socket.socket(family, socket.SOCK_STREAM)
        self._links: set[socket.socket] = set()
        self._lock = threading.Lock()
        try:
            if family != socket.AF_UNIX:
                self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._server.bind(place)
            if self._path is not None:
                Path(self._path).chmod(0o600)
            self._server.listen(16)
        except (OSError, OverflowError) as error:
            self._server.close()
            raise ConfigurationError(
                "it cannot be listened there", place=text,
                found=getattr(error, "strerror", None) or str(error),
                remedy="choose another port, or remove the socket's file if nobody uses it",
            ) from error  # fmt: skip
        self._server.settimeout(0.1)
        if self._path is not None:
            self.address = f"unix:{self._path}"
        else:
            host, port = self._server.getsockname()[:2]
            self.address = f"tcp:{host}:{port}"

    def run(self, sink: Sink, ends: Callable[[], bool]) -> None:
        """Take connections until it ends."""
        number = 0
        while not ends():
            try:
                link, _ = self._server.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            number += 1
            with self._lock:
                self._links.add(link)
            threading.Thread(
                target=self._serve, args=(link, number, sink, ends), daemon=True,
                name=f"detector connection {number}",
            ).start()  # fmt: skip

    def _serve(
        self, link: socket.socket, number: int, sink: Sink, ends: Callable[[], bool]
    ) -> None:
        who = f"connection {number}"
        try:
            link.settimeout(IDLE)
            while not ends():
                try:
                    read = wire.receive(link)
                except wire.DamagedReadError as error:
                    sink.tell(f"{who}: {error.story()}")
                    if error.lost:
                        link.sendall(wire.REFUSED)
                        return
                    if error.read is not None:
                        sink.damaged(error.read, error.fact)
                    link.sendall(wire.AGAIN)
                    continue
                if read is None:
                    return
                sink.take(read)
                link.sendall(wire.TAKEN)
        except OSError as error:
            if not ends():
                sink.tell(f"{who} was lost: {error}; what was not answered is sent again")
        finally:
            with self._lock:
                self._links.discard(link)
            link.close()

    def close(self) -> None:
        """Listen no more, and end every connection."""
        self._server.close()
        with self._lock:
            for link in self._links:
                with contextlib.suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)
        if self._path is not None:
            with contextlib.suppress(OSError):
                Path(self._path).unlink()
