"""A server for one page in one browser on this machine, until it is told to stop."""

from __future__ import annotations

import contextlib
import functools
import hmac
import http.server
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from lightmill.cli.view.page import page
from lightmill.cli.view.planes import summary
from lightmill.cli.view.product import Product
from lightmill.cli.view.sources import Sources
from lightmill.errors import ConfigurationError, LightmillError

__all__ = ["Viewer", "serving"]

HOST = "127.0.0.1"  # nobody else's business
_POINTS = 64  # places asked for at once
_READERS = 3  # tiles made at the same time: bounds the memory, and two processors have enough
_HEARTBEAT = 1.0  # s between signs of life
_GONE = 3.0  # s without a page before one that is reloaded counts as closed
Answer = tuple[str, bytes]
Numbers = dict[str, list[float]]


class Viewer:
    """What the page may ask; a question holds numbers only, never a name.

    Parameters
    ----------
    products : sequence of Product
        The files, in the order they are blinked.
    sources : Sources, optional
        A catalog that is laid over them.
    layer : str, optional
        Name of the extension that is shown first.
    planes : sequence of int
        Plane that is shown first, one number for each axis.
    """

    def __init__(
        self,
        products: Sequence[Product],
        *,
        sources: Sources | None = None,
        layer: str | None = None,
        planes: Sequence[int] = (),
    ) -> None:
        self.products = list(products)
        self.sources = sources
        self.first = [product.layer(layer) for product in self.products]
        self.planes = list(planes)
        self._readers = threading.Semaphore(_READERS)
        self._places: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        if sources is not None:
            for number in range(len(self.products)):
                self.places(number)

    def facts(self) -> dict[str, Any]:
        """Return what the page is told when it is made."""
        return {
            "files": [
                {
                    "name": product.path.name,
                    "title": product.title(),
                    "model": product.model.model_type,
                    "sky": product.sky is not None,
                    "layers": [
                        {**layer.facts(), "flags": bool(product.flag_planes(number, 0))}
                        for number, layer in enumerate(product.layers)
                    ],
                    "first": first,
                }
                for product, first in zip(self.products, self.first, strict=True)
            ],
            "planes": self.planes,
            "catalog": None
            if self.sources is None
            else {"name": self.sources.path.name, "count": len(self.sources)},
        }

    def answer(self, question: str, asked: Numbers) -> Answer | None:
        """Return the type and content of an answer, or None to a question there is not.

        Parameters
        ----------
        question : str
            ``tile``, ``flags``, ``summary``, ``at``, ``sky``, ``place``, ``sources`` or ``row``.
        asked : dict
            Names → numbers.

        Raises
        ------
        IndexError, KeyError, ValueError
            If a number is missing, or names nothing that there is.
        """
        known: dict[str, Callable[[Numbers], Any]] = {
            "tile": self._tile,
            "flags": self._flags,
            "summary": self._summary,
            "at": self._at,
            "sky": self._sky,
            "place": self._pixels,
            "sources": self._sources,
            "row": self._row,
        }
        if question not in known:
            return None
        found = known[question](asked)
        if isinstance(found, np.ndarray):
            little = found.astype(found.dtype.newbyteorder("<"), copy=False)
            return "application/octet-stream", np.ascontiguousarray(little).tobytes()
        return "application/json", json.dumps(found, allow_nan=False).encode()

    def _file(self, asked: Numbers) -> Product:
        return self.products[_index(asked, "file", len(self.products))]

    def _plane(self, asked: Numbers) -> tuple[Product, int, int]:
        product = self._file(asked)
        layer = _index(asked, "layer", len(product.layers))
        return product, layer, _index(asked, "plane", product.layers[layer].planes)

    def _square(self, asked: Numbers, how: str) -> np.ndarray:
        product, layer, plane = self._plane(asked)
        side = _index(asked, "bin", 1 << 16)
        if side < 1 or side & (side - 1):
            raise ValueError("bin")
        with self._readers:
            made = getattr(product, how)(
                layer, plane, side, _index(asked, "tx", 1 << 20), _index(asked, "ty", 1 << 20)
            )
        if made is None:
            raise IndexError("tile")
        return made if how == "flag_tile" else made.astype(np.float32, copy=False)

    def _tile(self, asked: Numbers) -> np.ndarray:
        return self._square(asked, "tile")

    def _flags(self, asked: Numbers) -> np.ndarray:
        return self._square(asked, "flag_tile")

    def _summary(self, asked: Numbers) -> dict[str, Any]:
        product, layer, plane = self._plane(asked)
        with self._readers:
            facts = summary(product.overview(layer, plane))
            counts: dict[str, dict[str, Any]] = {}
            for one, at in product.flag_planes(layer, plane):
                for flag in summary(product.overview(one, at))["flags"]:
                    before = counts.setdefault(flag["name"], {**flag, "count": 0})
                    # Flags of pixels and of groups overlap: the larger number is a lower bound.
                    before["count"] = max(before["count"], flag["count"])
        return {**facts, "flags": sorted(counts.values(), key=lambda flag: -flag["count"])}

    def _at(self, asked: Numbers) -> dict[str, Any]:
        product, layer, plane = self._plane(asked)
        x, y = asked["x"][0], asked["y"][0]
        facts = product.at(layer, plane, round(x), round(y))
        if product.sky is not None:
            ra, dec = product.sky.degrees(x, y)
            facts |= {"ra": _number(ra), "dec": _number(dec)}
        return facts

    def _sky(self, asked: Numbers) -> dict[str, Any]:
        sky = self._file(asked).sky
        x, y = asked["x"][:_POINTS], asked["y"][:_POINTS]
        if sky is None:
            return {"ra": [None] * len(x), "dec": [None] * len(x)}
        ra, dec = sky.degrees(x, y)
        return {"ra": _numbers(ra), "dec": _numbers(dec)}

    def _pixels(self, asked: Numbers) -> dict[str, Any]:
        sky = self._file(asked).sky
        if sky is None:
            return {"x": None, "y": None}
        x, y = sky.pixels(asked["ra"][0], asked["dec"][0])
        return {"x": _number(x), "y": _number(y)}

    def places(self, number: int) -> dict[str, list[float | None]]:
        """Return the pixels of the catalog's sources on a file, None where one has no place."""
        if self.sources is None:
            return {"x": [], "y": []}
        if number not in self._places:
            self._places[number] = self.sources.on(self.products[number].sky)
        x, y = self._places[number]
        return {"x": _numbers(x.round(3)), "y": _numbers(y.round(3))}

    def _sources(self, asked: Numbers) -> dict[str, Any]:
        return self.places(_index(asked, "file", len(self.products)))

    def _row(self, asked: Numbers) -> list[list[str]]:
        if self.sources is None:
            raise IndexError("row")
        return self.sources.row(_index(asked, "row", len(self.sources)))


@contextlib.contextmanager
def serving(viewer: Viewer, port: int = 0, *, once: bool = False) -> Iterator[_Server]:
    """Serve a viewer from a thread while the context lasts.

    Parameters
    ----------
    viewer : Viewer
    port : int
        0 takes a free one.
    once : bool
        Whether `_Server.wait` ends when the page was closed.

    Yields
    ------
    server : _Server
        Its ``url`` answers; whoever does not know the token in it gets nothing.

    Raises
    ------
    ConfigurationError
        If the port cannot be had.
    """
    try:
        server = _Server(viewer, port, once=once)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            "the viewer cannot listen there",
            place=f"{HOST}:{port}",
            found=getattr(error, "strerror", None) or str(error),
            remedy="choose another --port (0 takes a free one)",
        ) from error
    listen = functools.partial(server.serve_forever, poll_interval=0.05)  # s until it ends
    thread = threading.Thread(target=listen, name="viewer", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(http.server.ThreadingHTTPServer):
    """Listens on the loopback interface, one thread a connection."""

    daemon_threads = True
    block_on_close = False  # a page that is open holds its connection
    request_queue_size = 64

    def __init__(self, viewer: Viewer, port: int, *, once: bool) -> None:
        super().__init__((HOST, port), _Handler)
        self.viewer = viewer
        self.token = secrets.token_urlsafe(18)
        self.once = once
        self.over = threading.Event()  # the viewer ends
        self.page, self.policy = page(viewer.facts())
        self._open = 0
        self._closing: threading.Timer | None = None
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def wait(self) -> None:
        """Return when the page was closed, if it is served once; else never."""
        while not self.over.wait(3600):  # a wait without end cannot be interrupted everywhere
            pass

    def opened(self) -> None:
        """Note that a page is looked at."""
        with self._lock:
            self._open += 1
            if self._closing is not None:
                self._closing.cancel()

    def closed(self) -> None:
        """Note that a page was closed or left for a reload."""
        with self._lock:
            self._open -= 1
            if self.once and self._open == 0 and not self.over.is_set():
                self._closing = threading.Timer(_GONE, self.over.set)
                self._closing.daemon = True
                self._closing.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a browser hangs up in the middle of an answer."""
        import sys

        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server_version = "lightmill"
    sys_version = ""
    timeout = 60  # s a connection may be idle
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer a question of the page."""
        if not self._is_for_us():
            self._send(404, "text/plain", b"not found\n")
            return
        address = urlsplit(self.path)
        question = address.path.split("/", 2)[2]
        if question == "":
            self._send(200, "text/html; charset=utf-8", self.server.page)
        elif question == "alive":
            self._stay()
        else:
            self._answer(question, address.query)

    do_HEAD = do_GET  # noqa: N815 - the name the base class looks for

    def _is_for_us(self) -> bool:
        """Whether the address holds the token, and the browser knows whom it talks to.

        A page of another site can make a browser ask us under that site's name (DNS
        rebinding); the name is in the header Host.
        """
        hosts = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        parts = self.path.split("?")[0].split("/", 2)
        token = parts[1] if len(parts) == 3 else ""
        return self.headers.get("Host") in hosts and hmac.compare_digest(
            token.encode(), self.server.token.encode()
        )

    def _answer(self, question: str, query: str) -> None:
        try:
            asked = {name: [float(v) for v in given] for name, given in parse_qs(query).items()}
            found = self.server.viewer.answer(question, asked)
        except (IndexError, KeyError, ValueError, OverflowError):
            self._send(400, "text/plain", b"there is no such part of the image\n")
            return
        except (LightmillError, MemoryError) as error:
            story = error.story() if isinstance(error, LightmillError) else "not enough memory"
            self._send(500, "text/plain; charset=utf-8", story.encode())
            return
        if found is None:
            self._send(404, "text/plain", b"not found\n")
        else:
            self._send(200, *found)

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self._headers(kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _headers(self, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Content-Security-Policy", self.server.policy)

    def _stay(self) -> None:
        """Send a sign of life now and then, until one of the two is gone."""
        self.close_connection = True
        self.send_response(200)
        self._headers("text/plain")
        self.send_header("Connection", "close")
        self.end_headers()
        self.server.opened()
        try:
            while not self.server.over.wait(_HEARTBEAT):
                self.wfile.write(b".")
        except OSError:
            pass  # the page was closed
        finally:
            self.server.closed()


def _index(asked: Numbers, name: str, length: int) -> int:
    """Return a number that counts from 0 to below `length`."""
    value = asked[name][0]
    if not (value.is_integer() and 0 <= value < length):
        raise IndexError(name)
    return int(value)


def _number(value: Any) -> float | None:
    """Return a number as JSON can hold it."""
    return float(value) if np.isfinite(value) else None


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]
