"""A reference server on loopback, for tests, that can be told to fail.

It answers the questions a client asks for contexts and files, and fails as real
servers do: it breaks off, ignores ranges, sends other bytes, is busy.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lightmill.reference.config import encoded

__all__ = ["LoopbackServer", "loopback_server"]


@dataclass
class LoopbackServer:
    """What the server holds, how it fails, and what it was asked.

    Parameters
    ----------
    observatory : str
        Whose files it has.
    files : dict
        Name → content.
    faults : dict
        Name → faults, one for each request, then none: ``cut:N`` (break off after N bytes),
        ``no-range``, ``wrong``, ``longer``, ``shorter``, ``lies:N`` (another Content-Length),
        ``wrong-part``, ``slow:SECONDS`` (a pause after each 64 KiB), or a status such as ``503``.
        Questions are named ``rpc``.
    announced : dict
        Name → facts of a file to announce instead of the true ones.
    facts : dict
        More facts for what the server says about itself.
    answers : dict
        Name of a question → the answer.
    """

    observatory: str
    files: dict[str, bytes]
    faults: dict[str, list[str]] = field(default_factory=dict)
    announced: dict[str, dict[str, str]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    url: str = ""
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def asked(self, name: str) -> list[str | None]:
        """Return the ranges a file was asked for, one for each request."""
        return [span for path, span in self.requests if path.endswith("/" + name)]

    def fault(self, name: str) -> str:
        """Return the next fault of a file, or nothing."""
        left = self.faults.get(name) or []
        return left.pop(0) if left else ""

    def info(self) -> dict[str, Any]:
        """Return what the server says about itself."""
        files = {
            name: {"size": str(len(data)), "sha1sum": hashlib.sha1(data).hexdigest()}  # noqa: S324
            for name, data in self.files.items()
        }
        contexts = sorted(name for name in self.files if name.endswith(".pmap"))
        context = contexts[-1] if contexts else None
        where = {self.observatory: f"{self.url}/files"}
        return {
            "observatory": self.observatory,
            "operational_context": context,
            "latest_context": context,
            "edit_context": context,
            "bad_files_list": [],
            "bad_files": "",
            "mappings": sorted(n for n in self.files if n.endswith((".pmap", ".imap", ".rmap"))),
            "mapping_url": where,
            "reference_url": where,
            "force_remote_mode": False,
            "last_synced": "2026-01-01 00:00:00",
            "crds_version": {"str": "14.0.0"},
            "download_metadata": encoded({**files, **self.announced}),
            **self.facts,
        }

    def answer(self, method: str, params: list[Any]) -> Any:
        """Return the answer to a question."""
        info = self.info()
        if method in self.answers:
            return self.answers[method]
        if method == "get_server_info":
            return info
        if method == "get_default_context":
            return info[
                f"{params[1]}_context" if len(params) > 1 and params[1] else "latest_context"
            ]
        if method == "get_context_by_date":
            return info["latest_context"]
        if method == "get_file_info_map":
            return {}
        raise LookupError(f"no method {method}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    loopback: LoopbackServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        loopback = self.loopback
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        loopback.requests.append((f"rpc/{body['method']}", None))
        fault = loopback.fault("rpc")
        if fault.isdigit():
            self.send_error(int(fault))
            return
        result, error = None, None
        try:
            result = loopback.answer(body["method"], body["params"])
        except LookupError as missing:
            error = {"message": str(missing)}
        text = json.dumps({"result": result, "error": error, "id": body["id"]}).encode()
        if fault == "wrong":
            text = b"<html>It works!</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self) -> None:
        loopback = self.loopback
        name, span = self.path.rpartition("/")[2], self.headers.get("Range")
        loopback.requests.append((self.path, span))
        fault, _, number = loopback.fault(name).partition(":")
        if name not in loopback.files or fault.isdigit():
            self.send_error(int(fault or 404))
            return
        data = loopback.files[name]
        start = 0 if span is None or fault == "no-range" else int(span[6:].partition("-")[0])
        if start >= len(data) > 0:
            self.send_error(416)
            return
        if fault == "wrong":
            data = bytes(byte ^ 1 for byte in data)
        elif fault == "longer":
            data += b"x"
        elif fault == "shorter":
            data = data[:-1]
        shown = max(start - 7, 0) if fault == "wrong-part" else start
        sent = data[shown:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {shown}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", number if fault == "lies" else str(len(sent)))
        self.end_headers()
        if fault == "cut":
            self.wfile.write(sent[: int(number)])
            self.wfile.flush()
            self.close_connection = True
            return
        for at in range(0, len(sent), 1 << 16):
            self.wfile.write(sent[at : at + (1 << 16)])
            if fault == "slow":
                self.wfile.flush()
                time.sleep(float(number))


@contextlib.contextmanager
def loopback_server(observatory: str, files: dict[str, bytes]) -> Iterator[LoopbackServer]:
    """Run a server while the context lasts.

    Parameters
    ----------
    observatory : str
        Whose files.
    files : dict
        Name → content.

    Yields
    ------
    server : LoopbackServer
        What it holds; faults may be added at any time.
    """
    loopback = LoopbackServer(observatory, files)
    handler = type("_Bound", (_Handler,), {"loopback": loopback})

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Say nothing of a client that went away."""

    server = Quiet(("127.0.0.1", 0), handler)
    loopback.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield loopback
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
