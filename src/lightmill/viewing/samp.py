"""Send images to a running viewer over SAMP, the messages astronomy's programs talk with.

The standard profile of the protocol is XML-RPC to a hub whose address is in a file of the user's.
Who only sends needs to listen to nobody, so this client is the few calls it makes.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import urllib.parse
import urllib.request
import xmlrpc.client
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError, DataError

__all__ = ["send_images"]

MESSAGE = "image.load.fits"
_PATIENCE = 60  # s a viewer may take to load an image
_LOCK = "std-lockurl:"
_LONGEST = 1 << 16  # bytes of a lock file; they have some hundred
_HOSTS = {"127.0.0.1", "localhost", "::1"}
_BROKEN = (OSError, http.client.HTTPException, xmlrpc.client.Error, ValueError)
Reply = dict[str, Any]


def send_images(paths: Sequence[Path], extension: str | None = None) -> list[str]:
    """Ask the viewers on this machine's SAMP hub to show images.

    Parameters
    ----------
    paths : sequence of Path
        FITS files.
    extension : str, optional
        Name of the extension to show; the viewer's own choice without it.

    Returns
    -------
    viewers : list of str
        Names of the programs that have loaded all of them.

    Raises
    ------
    ConfigurationError
        If there is no hub, or no program on it shows images.
    DataError
        If a file is not FITS, or a viewer refused it.

    References
    ----------
    .. [1] Taylor, M., et al. 2012, Simple Application Messaging Protocol 1.3, IVOA
       Recommendation, §3 and §5.
    """
    for path in paths:
        if path.suffix == ".asdf":
            raise DataError(
                "this cannot be sent to DS9",
                place=path,
                expected="a FITS file",
                remedy="lightmill view without --ds9 shows it in the browser",
            )
    hub = _Hub()
    try:
        viewers = sorted(hub.call("getSubscribedClients", MESSAGE))
        if not viewers:
            raise ConfigurationError(
                "no program on the SAMP hub shows images",
                place=hub.place,
                expected=f"one that takes {MESSAGE}",
                remedy="start DS9 (ds9 &) on this hub, wait until its window is there, and send again",
            )
        names = [str(hub.call("getMetadata", one).get("samp.name", one)) for one in viewers]
        for path in paths:
            for viewer, name in zip(viewers, names, strict=True):
                _send(hub, viewer, f"{path}, sent to {name}", path, extension)
    finally:
        hub.leave()
    return names


def _send(hub: _Hub, viewer: str, place: str, path: Path, extension: str | None) -> None:
    url = path.resolve().as_uri() + (f"[{extension}]" if extension else "")
    message = {
        "samp.mtype": MESSAGE,
        "samp.params": {"url": url, "image-id": path.name, "name": path.name},
    }
    try:
        reply: Reply = hub.call("callAndWait", viewer, message, str(_PATIENCE))
    except _BROKEN as error:
        raise ConfigurationError(
            "the viewer does not answer",
            place=place,
            found=getattr(error, "faultString", error),
            remedy="look whether a window of it asks something; restart it",
        ) from error
    if reply.get("samp.status") != "samp.ok":
        told = reply.get("samp.error", {}).get("samp.errortxt") or reply.get("samp.status")
        raise DataError("the viewer could not show the image", place=place, found=told)


class _Hub:
    """The hub of this user, with Lightmill registered at it."""

    def __init__(self) -> None:
        lock = _lock_file()
        self.place = str(lock)
        try:
            with lock.open("rb") as stream:
                text = stream.read(_LONGEST).decode("utf-8", "replace")
        except OSError as error:
            raise self._missing("there is no SAMP hub", error.strerror) from error
        known = dict(
            line.split("=", 1) for line in text.splitlines() if "=" in line and line[0] != "#"
        )
        url = known.get("samp.hub.xmlrpc.url", "").strip()
        if urllib.parse.urlsplit(url).scheme != "http":
            raise self._missing("the file of the SAMP hub names no address", url or "none")
        # Nobody but the loopback interface is asked: the file's secret stays on this machine.
        if urllib.parse.urlsplit(url).hostname not in _HOSTS | _own_names():
            raise self._missing("the SAMP hub is on another machine", url)
        self._hub = xmlrpc.client.ServerProxy(url, transport=_Patient(), allow_none=False)
        try:
            given: Any = self._hub.samp.hub.register(known.get("samp.secret", "").strip())
            self._key = str(given["samp.private-key"])
            self.call("declareMetadata", {"samp.name": "lightmill"})
        except (*_BROKEN, KeyError, TypeError) as error:
            raise self._missing(
                "the SAMP hub does not answer", getattr(error, "faultString", error)
            ) from error

    def _missing(self, fact: str, found: object) -> ConfigurationError:
        return ConfigurationError(
            fact,
            place=self.place,
            found=found,
            remedy="start a hub (samp_hub &, or TOPCAT, or Aladin), then DS9 (ds9 &), and send again",
        )

    def call(self, method: str, *given: Any) -> Any:
        """Return what the hub answers."""
        return getattr(self._hub.samp.hub, method)(self._key, *given)

    def leave(self) -> None:
        """Sign off; a hub that has gone needs no goodbye."""
        with contextlib.suppress(*_BROKEN):
            self.call("unregister")
        self._hub("close")()


class _Patient(xmlrpc.client.Transport):
    """Waits for a viewer that loads an image, and no longer."""

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = super().make_connection(host)
        connection.timeout = _PATIENCE + 10
        return connection


def _lock_file() -> Path:
    """Return where the hub writes its address: what SAMP_HUB says, or ``~/.samp``."""
    given = os.environ.get("SAMP_HUB", "")
    if not given:
        return Path.home() / ".samp"
    parts = urllib.parse.urlsplit(given.removeprefix(_LOCK))
    if not given.startswith(_LOCK) or parts.scheme != "file":
        raise ConfigurationError(
            "SAMP_HUB does not name a file",
            place="SAMP_HUB",
            found=given,
            expected="std-lockurl:file:///…",
        )
    return Path(urllib.request.url2pathname(parts.path))


def _own_names() -> set[str]:
    """Return what this machine is called: hubs write its name into their address."""
    import socket

    name = socket.gethostname().lower()
    names = {name, name.partition(".")[0]}
    try:
        return names | set(socket.gethostbyname_ex(name)[2])
    except OSError:
        return names
