"""A server of jitter files on this machine that does to requests what a test says."""

import contextlib
import http.server
import threading
from collections import Counter
from pathlib import Path


class Served:
    """What a server has, what it does to each request of a file, and what it was asked.

    Parameters
    ----------
    folder : path
        Files by their names.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.doings = {}  # name → what is done at the first, second … request; then it is sent
        self.requests = []  # (name, Range, status)
        self.tags = {}  # name → ETag; by default of the content
        self.count = Counter()
        self.halfway = threading.Event()  # half of a file that hangs is sent
        self.goes_on = threading.Event()  # it may go on

    def doing(self, name):
        self.count[name] += 1
        doings = self.doings.get(name, [])
        return doings[self.count[name] - 1] if self.count[name] <= len(doings) else "send"


def _handler(served):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            if served.halfway.is_set() and not served.goes_on.is_set():
                served.goes_on.wait(60)  # nothing else is sent meanwhile, however long it takes
                self.close_connection = True
                return
            name = self.path.rpartition("/")[2]
            doing = served.doing(name)
            path = served.folder / name
            if isinstance(doing, int):
                self.answer(name, doing, b"")
            elif isinstance(doing, str) and doing.startswith("to "):
                self.answer(name, 302, b"", {"Location": doing[3:]})
            elif not path.is_file():
                self.answer(name, 404, b"")
            else:
                self.send(name, path.read_bytes(), doing)

        def answer(self, name, status, body, headers=None):
            served.requests.append((name, self.headers.get("Range"), status))
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def send(self, name, content, doing):
            tag = served.tags.get(name, f'"{hash(content)}"')
            start, status = 0, 200
            wanted = self.headers.get("Range")
            if wanted and self.headers.get("If-Range") in {None, tag}:
                start, status = int(wanted.removeprefix("bytes=").partition("-")[0]), 206
            served.requests.append((name, wanted, status))
            self.send_response(status)
            if status == 206:
                begin = 7 if doing == "another part" else start
                span = f"bytes {begin}-{len(content) - 1}/{len(content)}"
                self.send_header("Content-Range", span)
            self.send_header("ETag", tag)
            length = 10**12 if doing == "huge" else len(content) - start
            self.send_header("Content-Length", str(length))
            self.end_headers()
            body = content[start:]
            self.close_connection = doing == "huge"
            if doing in {"drop", "hang"}:
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                if doing == "hang":
                    served.halfway.set()
                    served.goes_on.wait(60)
                self.close_connection = True
                return
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

    return Handler


@contextlib.contextmanager
def serving(folder):
    """Serve a folder while the context lasts; yield what is served, and the address."""
    served = Served(folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(served))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served, f"http://127.0.0.1:{server.server_port}"
    finally:
        served.goes_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
