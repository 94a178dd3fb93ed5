"""A store filled by hand, and the dashboard over it, asked without any network."""

import asyncio
import json
from types import SimpleNamespace
from urllib.parse import quote, urlencode

import pytest

pytest.importorskip("fastapi", reason="NO FASTAPI: pip install 'lightmill[server]'")

from sqlalchemy import insert

from lightmill.dashboard import Tokens, application, new_token
from lightmill.workflow.store import open_engine
from lightmill.workflow.store import tables as t

HOSTILE = "<script>document.body.id='x'</script>\"'`&{{7*7}}..%2f.fits"
NOW = 1_800_000_000.0


class Filling:
    """Rows for a store, with what the test does not care about filled in."""

    def __init__(self, root, place):
        self.root, self.place = root, place
        self.engine = open_engine(place)

    def row(self, table, **values):
        with self.engine.begin() as connection:
            result = connection.execute(insert(table).values(**values))
            return result.inserted_primary_key[0]

    def event(self, kind, subject, subject_id, **told):
        return self.row(t.events, at=NOW, kind=kind, subject=subject, subject_id=subject_id,
                        who="service", told=told)  # fmt: skip

    def dataset(self, name="a_uncal.fits", **values):
        values = {
            "revision": 1, "generation": "2026-01-01", "sha256": "0" * 64, "size": 8_000_000,
            "path": f"p1/{name}/1/{name}", "kind": "exposure", "suffix": "uncal",
            "state": "CURRENT", "program": "p1", "target": "M 51", "facts": {"filter": "F1"},
            "arrived_at": NOW - 60, **values,
        }  # fmt: skip
        number = self.row(t.datasets, name=name, **values)
        self.event("DatasetArrived", "dataset", number, name=name)
        return number

    def task(self, name="a_asn.json", awaits=(), **values):
        values = {
            "identity": f"{name}|{values.get('version', 1)}", "version": 1, "type": "image2",
            "level": 2, "pipeline": "imaging2", "program": "p1", "candidate": "o001",
            "target": "M 51", "state": "WAITING", "missing": sum(not there for _, there in awaits),
            "since_at": NOW - 3600, **values,
        }  # fmt: skip
        number = self.row(t.tasks, name=name, **values)
        for file, there in awaits:
            self.row(t.awaited, task_id=number, name=file, role="science", is_present=there)
        self.event("TaskPlanned", "task", number, name=name)
        return number

    def job(self, task_id, number=1, **values):
        values = {
            "state": "DONE", "engine": "local", "handle": "12:34", "queued_at": NOW - 90,
            "started_at": NOW - 60, "ended_at": NOW - 30, "exit_status": 0,
            "command": ["lightmill", "run", "imaging2", "in/a b.json"], **values,
        }  # fmt: skip
        return self.row(t.jobs, task_id=task_id, number=number, **values)

    def made_of(self, job_id, *datasets):
        for dataset_id in datasets:
            self.row(t.inputs, job_id=job_id, dataset_id=dataset_id)


class Asked:
    """An answer."""

    def __init__(self, status, headers, content):
        self.status, self.headers, self.content = status, headers, content
        self.text = content.decode("utf-8", "replace")

    @property
    def json(self):
        return json.loads(self.content)


class Browser:
    """Asks an ASGI application as a browser on this machine does."""

    def __init__(self, app, *, client="127.0.0.1", host="127.0.0.1:8780"):
        self.app, self.client, self.host = app, client, host
        self.cookies = {}

    def ask(self, path, *, method="GET", form=None, body=b"", until=None, **headers):
        """Return the answer; of an endless one what came until `until` of its text is true."""
        if form is not None:
            body = urlencode(form).encode()
            headers["content-type"] = "application/x-www-form-urlencoded"
        path, _, query = path.partition("?")
        given = {"host": self.host, "accept": "text/html", **headers}
        if self.cookies:
            given["cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "path": path, "raw_path": quote(path).encode(), "query_string": query.encode(),
            "root_path": "", "scheme": "http", "server": ("127.0.0.1", 8780),
            "client": (self.client, 50000),
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in given.items()],
        }  # fmt: skip
        found = SimpleNamespace(status=0, headers={}, content=b"")
        over = asyncio.Event()

        async def receive():
            if not over.is_set() and not found.content and not getattr(found, "given", False):
                found.given = True
                return {"type": "http.request", "body": body, "more_body": False}
            await over.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.start":
                found.status = message["status"]
                found.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            else:
                found.content += message.get("body", b"")
                if until is not None and until(found.content.decode()):
                    over.set()

        asyncio.run(asyncio.wait_for(self.app(scope, receive, send), 30))
        if "set-cookie" in found.headers:
            name, _, rest = found.headers["set-cookie"].partition("=")
            self.cookies[name] = rest.partition(";")[0].strip('"')
        return Asked(found.status, found.headers, found.content)

    def seal(self, path="/login"):
        """Return what the forms of a page carry."""
        return self.ask(path).text.partition('name="csrf" value="')[2].partition('"')[0]

    def log_in(self, token):
        """Log in; return the answer."""
        return self.ask("/login", method="POST", form={"token": token, "csrf": self.seal()})


@pytest.fixture
def root(tmp_path):
    """Folder of an observatory."""
    (tmp_path / "archive").mkdir()
    return tmp_path


@pytest.fixture
def fill(root, place):
    filling = Filling(root, place)
    yield filling
    filling.engine.dispose()


@pytest.fixture
def acts():
    """What operators asked for."""
    return []


@pytest.fixture
def app(root, place, acts):
    made = application(
        place, archive=root / "archive", tokens=Tokens(root), clock=lambda: NOW, pause=0.01,
        act=lambda *told: acts.append(told), title="test",
    )  # fmt: skip
    yield made
    made.state.questions.close()


@pytest.fixture
def browsers():
    """What a test makes other browsers of: at another address, or another name of ours."""
    return Browser


@pytest.fixture
def browser(app):
    return Browser(app)


@pytest.fixture
def operator(app, root):
    """A browser that logged in to act."""
    found = Browser(app)
    assert found.log_in(new_token(root, "operate", "Ada")).status == 303
    return found
