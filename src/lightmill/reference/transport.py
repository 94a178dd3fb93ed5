"""Requests to servers: patience, retries, and errors that say whom we asked.

Only the standard library is used, and only ``http`` and ``https`` addresses are
followed, whatever an answer says.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightmill.errors import ConfigurationError, LightmillError

__all__ = ["Patience", "ServerError", "failure", "is_passing", "open_url"]

_PASSING = {408, 425, 429, 500, 502, 503, 504}  # statuses of a server that may be better soon


class ServerError(ConfigurationError):
    """A server cannot be reached, or does not answer as it should."""

    code = "server"
    kind = "server"


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, and how often to try.

    Parameters
    ----------
    attempts : int
        Requests without any progress before giving up.
    delay : float
        Pause before the second attempt [s]; it doubles with each, up to 30 s.
    timeout : float
        Longest silence of the server [s].
    """

    attempts: int = 4
    delay: float = 0.5
    timeout: float = 60.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Patience:
        """Return what the ``CRDS_CLIENT_*`` variables say."""
        environ = os.environ if environ is None else environ
        return cls(
            max(1, int(_number(environ, "CRDS_CLIENT_RETRY_COUNT", cls.attempts))),
            max(0.0, _number(environ, "CRDS_CLIENT_RETRY_DELAY_SECONDS", cls.delay)),
            max(0.1, _number(environ, "CRDS_CLIENT_TIMEOUT_SECONDS", cls.timeout)),
        )

    def pause(self, attempt: int, stop: threading.Event | None = None) -> None:
        """Wait after a failed attempt, the first being 1; end early if stopped."""
        seconds = min(self.delay * 2 ** (attempt - 1), 30.0)
        (stop or threading.Event()).wait(seconds)


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(
            "this is no number", place=f"environment variable {name}", found=text
        ) from None


def open_url(
    url: str, *, data: bytes | None = None, headers: Mapping[str, str] | None = None, timeout: float
) -> Any:
    """Open an address and return the response.

    Raises
    ------
    ServerError
        If the address is none of the web.
    OSError
        As `urllib.request` raises it.
    """
    import urllib.error
    import urllib.request

    if not url.lower().startswith(("http://", "https://")):
        raise ServerError(
            "this address cannot be fetched from",
            place=url,
            expected="an address that begins with https:// or http://",
            remedy="correct CRDS_SERVER_URL, CRDS_MAPPING_URI or CRDS_REFERENCE_URI",
        )
    _check_address(url)
    try:
        request = urllib.request.Request(url, data=data, headers=dict(headers or {}))  # noqa: S310 - checked above
        return _opener().open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()  # its text is for people who look at pages
        raise
    except ValueError as error:  # an address with a space or a bad port
        raise ServerError("this is no address", place=url, found=str(error)) from error


def _check_address(url: str) -> None:
    """Refuse what can never be an address: no later attempt makes it one.

    Raises
    ------
    ServerError
        If it has blanks or control characters, no host, or a port that cannot be.
    """
    from urllib.parse import urlsplit

    problem = None
    if any(character <= " " or character == "\x7f" for character in url):
        problem = "it has blanks, line ends or control characters"
    else:
        try:
            parts = urlsplit(url)
            if not parts.hostname:
                problem = "it names no host"
            elif parts.port == 0:
                problem = "its port is 0"
        except ValueError as error:
            problem = str(error)
    if problem:
        raise ServerError(
            "this is no address of a server",
            place=url if url.isprintable() else ascii(url),
            found=problem,
            expected="https://HOST or https://HOST:PORT/PATH",
            remedy="correct CRDS_SERVER_URL (or --server), CRDS_MAPPING_URI or CRDS_REFERENCE_URI",
        )


@functools.cache
def _opener() -> Any:
    """Return an opener that follows redirections within the web only."""
    import urllib.request as web

    opener = web.OpenerDirector()
    kinds = (web.ProxyHandler, web.HTTPHandler, web.HTTPSHandler, web.HTTPDefaultErrorHandler)
    for kind in (*kinds, web.HTTPRedirectHandler, web.HTTPErrorProcessor, web.UnknownHandler):
        opener.add_handler(kind())
    opener.addheaders = [("User-Agent", "lightmill"), ("Accept-Encoding", "identity")]
    return opener


def is_passing(error: BaseException) -> bool:
    """Say whether a failure may be gone at the next attempt."""
    import http.client
    import urllib.error

    if isinstance(error, urllib.error.HTTPError):
        return error.code in _PASSING
    if isinstance(error, LightmillError):
        return False
    return isinstance(error, OSError | http.client.HTTPException)


def failure(url: str, error: BaseException, *, attempts: int = 1) -> LightmillError:
    """Return the error to raise for one of the network's."""
    import http.client
    import urllib.error

    if isinstance(error, LightmillError):
        return error
    reason: Any = error
    if isinstance(error, urllib.error.HTTPError):
        if error.code == 404:
            return ServerError(
                "the server does not have this file",
                place=url,
                found="status 404",
                remedy="check the name and the context; another server: CRDS_SERVER_URL or --server",
            )
        reason = f"status {error.code} {error.reason}"
    elif isinstance(error, urllib.error.URLError):
        reason = error.reason
    elif isinstance(error, TimeoutError):
        reason = "no answer in time"
    elif isinstance(error, http.client.HTTPException):
        reason = f"{type(error).__name__}: {error}"
    text = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
    return ServerError(
        "the server cannot be reached, or breaks off",
        place=url,
        found=text if attempts == 1 else f"{text} (after {attempts} attempts)",
        remedy="try again later; check CRDS_SERVER_URL and the network; what is in the cache "
        "works without a server (CRDS_SERVER_URL=serverless)",
    )
