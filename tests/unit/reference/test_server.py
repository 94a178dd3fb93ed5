"""A server of references answers clients and people, and serves nothing else."""

import contextlib
import hashlib
import http.client
import json
import random
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from lightmill.errors import ConfigurationError
from lightmill.reference.cache import Cache
from lightmill.reference.client import Client
from lightmill.reference.download import download
from lightmill.reference.server.delivery import wanted_range
from lightmill.reference.server.holdings import Holdings
from lightmill.reference.server.pasted import header_from_text
from lightmill.reference.transport import Patience, ServerError
from lightmill.testing.contexts import small_context

FLAT = "lantern_glowcam_flat_0001.fits"
DARK = "lantern_glowcam_dark_0001.fits"
CONTENT = random.Random(1).randbytes(700_001)
HEADER = {
    "META.INSTRUMENT.NAME": "GLOWCAM",
    "META.INSTRUMENT.DETECTOR": "WIDE",
    "META.OBSERVATION.DATE": "2026-01-01",
    "META.OBSERVATION.TIME": "00:00:00",
}
ROWS = {
    "dark": {"WIDE": [("2020-01-01 00:00:00", DARK)]},
    "flat": {"WIDE": [("2020-01-01 00:00:00", FLAT)]},
}


@pytest.fixture(scope="module", autouse=True)
def _own_home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def put(root, files):
    folder = root / "mappings" / "lantern"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def fill(root):
    put(root, small_context("lantern", "glowcam", ROWS))
    folder = root / "references" / "lantern" / "glowcam"
    folder.mkdir(parents=True)
    (folder / FLAT).write_bytes(CONTENT)
    (folder / DARK).write_bytes(b"dark")
    (folder.parent / ".hidden").write_text("not for sale")
    (root / "secret.txt").write_text("not for sale")
    return root


@pytest.fixture
def root(tmp_path):
    """Return a cache of the test's own."""
    return fill(tmp_path / "cache")


@contextlib.contextmanager
def serving(root, **options):
    from lightmill.reference.server.app import create_app
    from lightmill.serving import running

    with running(create_app(Cache(root, readonly=True), **options)) as url:
        yield url


@pytest.fixture
def serve():
    """Start servers that end with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda root, **options: stack.enter_context(serving(root, **options))


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Address of a server whose cache no test changes."""
    with serving(fill(tmp_path_factory.mktemp("shared") / "cache")) as address:
        yield address


def ask(url, method, path, body=None, **headers):
    """Return status, headers and content of one request, sent exactly as it is given."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def get(url, path, **headers):
    return ask(url, "GET", path, **headers)


def post(url, path, facts):
    kind = {"Content_Type": "application/json"}
    status, _, content = ask(url, "POST", path, json.dumps(facts), **kind)
    return status, json.loads(content)


def client_of(url):
    return Client(url, patience=Patience(attempts=2, delay=0.0, timeout=20.0), environ={})


# -- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (None, None),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=90-200", (90, 100)),
        ("bytes=-30", (70, 100)),
        ("bytes=-300", (0, 100)),
        ("bytes=100-", (100, 100)),
        ("bytes=5-2", None),
        ("bytes=0-1,5-6", None),
        ("lines=0-1", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
    ],
)
def test_a_range_is_read_as_the_standard_says(text, part):
    assert wanted_range(text, 100) == part


def test_a_file_comes_whole_with_its_length_and_sum(url):
    status, headers, content = get(url, f"/lantern/references/{FLAT}")

    assert (status, content) == (200, CONTENT)
    assert headers["content-length"] == str(len(CONTENT))
    assert headers["etag"] == f'"{hashlib.sha1(CONTENT).hexdigest()}"'
    assert headers["accept-ranges"] == "bytes"


def test_a_part_comes_with_its_place(url):
    status, headers, content = get(url, f"/lantern/references/{FLAT}", Range="bytes=300000-")

    assert (status, content) == (206, CONTENT[300_000:])
    assert headers["content-range"] == f"bytes 300000-{len(CONTENT) - 1}/{len(CONTENT)}"
    assert headers["content-length"] == str(len(CONTENT) - 300_000)


def test_a_part_behind_the_end_is_refused(url):
    status, headers, content = get(url, f"/lantern/references/{DARK}", Range="bytes=4-")

    assert (status, content) == (416, b"")
    assert headers["content-range"] == "bytes */4"


def test_a_part_of_another_file_is_not_joined_to_it(url):
    tag = f'"{hashlib.sha1(CONTENT).hexdigest()}"'
    path = f"/lantern/references/{FLAT}"

    same = get(url, path, Range="bytes=700000-", If_Range=tag)
    other = get(url, path, Range="bytes=700000-", If_Range='"0000"')

    assert (same[0], same[2]) == (206, CONTENT[700_000:])
    assert (other[0], other[2]) == (200, CONTENT)


def test_a_file_the_client_has_is_not_sent_again(url):
    tag = f'"{hashlib.sha1(CONTENT).hexdigest()}"'

    status, headers, content = get(url, f"/lantern/references/{FLAT}", If_None_Match=tag)

    assert (status, content, headers["etag"]) == (304, b"", tag)


def test_the_length_is_told_without_the_file(url):
    status, headers, content = ask(url, "HEAD", f"/lantern/references/{FLAT}")

    assert (status, content) == (200, b"")
    assert headers["content-length"] == str(len(CONTENT))


@pytest.mark.parametrize(
    "path",
    [
        "/lantern/references/../../../secret.txt",
        "/lantern/references/..%2f..%2f..%2fsecret.txt",
        "/lantern/references/%2e%2e/%2e%2e/secret.txt",
        "/../secret.txt",
        "/lantern/references/glowcam",
        "/lantern/references/.hidden",
        "/..%2f/references/" + FLAT,
        "/lantern/mappings/" + FLAT,
        "/lantern/references/lantern_0001.pmap",
        "/lantern/references/" + "x" * 3000,
        "/lantern/references/%00",
        "/nobody/references/" + FLAT,
        "/static/../app.py",
        "/static/..%2fapp.py",
    ],
)
def test_what_is_not_listed_is_not_there(url, path):
    status, _, content = get(url, path)

    assert status == 404
    assert b"not for sale" not in content


def test_a_file_put_into_the_cache_is_served_at_once(serve, root):
    url = serve(root)
    assert get(url, "/lantern/references/new.fits")[0] == 404

    (root / "references/lantern/glowcam/new.fits").write_bytes(b"new")

    assert get(url, "/lantern/references/new.fits")[2] == b"new"


# -- our client -----------------------------------------------------------------------------


def test_our_client_learns_contexts_sizes_and_sums(url):
    client = client_of(url)

    assert client.default_context("lantern") == "lantern_0001.pmap"
    assert client.file_info("lantern", [FLAT])[FLAT].sha1 == hashlib.sha1(CONTENT).hexdigest()
    assert client.file_info("lantern", [FLAT])[FLAT].size == len(CONTENT)


class Breaking:
    """Pass connections on to a server, and break the first answers with a file off."""

    def __init__(self, url, after):
        self.target, self.after = urlsplit(url), list(after)
        self.asked = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.pass_on, args=(near,), daemon=True).start()

    def pass_on(self, near):
        with near, socket.create_connection((self.target.hostname, self.target.port)) as far:
            question = near.recv(1 << 16)
            head, _, body = question.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            length = [
                int(one.split(":")[1]) for one in lines if one.lower().startswith("content-length")
            ]
            while length and len(body) < length[0]:
                more = near.recv(1 << 16)
                body, question = body + more, question + more
            left = None
            if FLAT in lines[0]:
                spans = [one.split(": ")[1] for one in lines if one.lower().startswith("range")]
                self.asked += spans or [None]
                left = self.after.pop(0) if self.after else None
            far.sendall(question)
            while block := far.recv(1 << 16):
                near.sendall(block if left is None else block[:left])
                if left is not None:
                    left -= len(block)
                    if left <= 0:
                        return


def test_a_transfer_that_breaks_off_goes_on_where_it_was(serve, root, tmp_path):
    # the client must learn the address of the breaking way, which the Host header tells
    way = Breaking(serve(root), [300_000, 100_000])
    cache = Cache(tmp_path / "mine", environ={})

    paths = download([FLAT], cache, client_of(way.url), observatory="lantern")
    way.listener.close()

    assert paths[FLAT].read_bytes() == CONTENT
    assert len(way.asked) == 3
    assert way.asked[0] is None
    assert all(span.startswith("bytes=") and span != "bytes=0-" for span in way.asked[1:])


def test_questions_tell_what_is_wrong_with_them(url):
    client = client_of(url)

    for ask_it, said in (
        (lambda: client.call("get_nothing"), "get_nothing"),
        (lambda: client.call("get_default_context", 1, 2, 3), "parameters"),
        (lambda: client.call("get_mapping_names", "lantern_0009.pmap"), "lantern_0009.pmap"),
        (lambda: client.call("get_url", "lantern_0001.pmap", "../x"), "../x"),
        (lambda: client.call("get_dataset_ids", "lantern_0001.pmap", "glowcam"), "answers"),
        (lambda: client.call("get_context_by_date", "2020-01-01", "lantern"), "2020-01-01"),
        (lambda: client.call("__init__", "x"), "question"),
        (lambda: client.call("_whose", "x"), "question"),
    ):
        with pytest.raises(ServerError) as caught:
            ask_it()
        assert said in str(caught.value.found)


def test_a_question_that_is_no_question_is_answered(url):
    for text in (b"", b"[]", b"{", b"[" * 100_000, b'{"method": 1, "params": {}}'):
        status, _, content = ask(url, "POST", "/json/get_server_info/1/", text)

        assert status == 200
        assert json.loads(content)["error"]["message"]


def test_a_long_question_is_refused_unread(url):
    status, _, content = ask(
        url, "POST", "/json/get_server_info/1/", b"x", Content_Length=str(1 << 40)
    )

    assert status == 413
    assert json.loads(content)["error"]["code"] == "question-too-large"


def test_what_a_server_was_told_is_told_on(serve, root):
    put(root, small_context("lantern", "glowcam", ROWS, number=2))
    config = root / "config" / "lantern" / "server_config"
    config.parent.mkdir(parents=True)
    config.write_text(
        repr(
            {
                "observatory": "lantern",
                "operational_context": "lantern_0001.pmap",
                "edit_context": "lantern_0002.pmap",
                "bad_files_list": [DARK],
                "context_history": [
                    ["2025-01-01 00:00:00", "lantern_0001.pmap", ""],
                    ["2026-01-01 00:00:00", "lantern_0002.pmap", ""],
                ],
            }
        )
    )
    client = client_of(serve(root))
    info = client.server_info()

    assert info.context() == "lantern_0001.pmap"
    assert info.context("latest") == info.context("edit") == "lantern_0002.pmap"
    assert info.bad_files == {DARK}
    assert client.context_by_date("2025-06-01", "lantern") == "lantern_0001.pmap"


# -- contexts -------------------------------------------------------------------------------


def test_a_context_put_into_the_cache_is_served_at_once(serve, root):
    client = client_of(serve(root))
    assert client.default_context("lantern") == "lantern_0001.pmap"

    put(root, small_context("lantern", "glowcam", ROWS, number=2))

    assert client.default_context("lantern") == "lantern_0002.pmap"


def test_the_context_in_use_can_be_named(serve, root):
    put(root, small_context("lantern", "glowcam", ROWS, number=2))
    client = client_of(serve(root, operational=["lantern_0001.pmap"]))

    assert client.default_context("lantern") == "lantern_0001.pmap"
    assert client.default_context("lantern", "latest") == "lantern_0002.pmap"


def test_a_context_in_use_that_is_not_there_is_an_error_at_once(root):
    with pytest.raises(ConfigurationError) as caught:
        Holdings(Cache(root), operational=["lantern_0007.pmap"])

    assert "lantern_0007.pmap" in str(caught.value)


def test_the_newest_context_is_that_with_the_greatest_number(root):
    put(root, {"lantern_0010.pmap": b"", "lantern_9.pmap": b""})

    assert Holdings(Cache(root)).contexts("lantern")[:2] == ["lantern_0010.pmap", "lantern_9.pmap"]


def test_several_observatories_are_told_apart_by_the_address(serve, root):
    (root / "mappings/attic").mkdir()
    (root / "mappings/attic/attic_0003.pmap").write_text("header = {}\nselector = {}\n")
    url = serve(root)

    assert client_of(f"{url}/attic").server_info().context() == "attic_0003.pmap"
    assert client_of(f"{url}/lantern").server_info().context() == "lantern_0001.pmap"
    with pytest.raises(ServerError) as caught:
        client_of(url).server_info()
    assert "attic, lantern" in str(caught.value.found)


def test_health_says_what_keeps_it_from_serving(serve, root, tmp_path):
    well = get(serve(root), "/health")
    empty = tmp_path / "empty"
    empty.mkdir()
    ill = get(serve(empty), "/health")

    assert well[0] == 200
    assert json.loads(well[2])["observatories"]["lantern"]["operational"] == "lantern_0001.pmap"
    assert ill[0] == 503
    assert json.loads(ill[2])["problems"]


# -- best references ------------------------------------------------------------------------


def test_the_best_references_are_those_of_the_rules(url):
    found = client_of(url).best_references("lantern_0001.pmap", HEADER, ["dark", "flat"])

    assert found == {"dark": (True, DARK), "flat": (True, FLAT)}


def test_a_header_no_rule_fits_is_told_why(url):
    header = {**HEADER, "META.INSTRUMENT.DETECTOR": "NARROW"}

    found = client_of(url).best_references("lantern_0001.pmap", header, ["dark"])

    assert found["dark"][0] is False
    assert found["dark"][1].startswith("NOT FOUND")


def test_names_and_keys_of_a_context_are_told(url):
    client = client_of(url)

    assert set(client.mapping_names("lantern-operational")) == set(
        small_context("lantern", "glowcam", ROWS)
    )
    assert client.reference_names("lantern_0001.pmap") == sorted([DARK, FLAT])
    assert "META.INSTRUMENT.DETECTOR" in client.required_parkeys("lantern_0001.pmap")["glowcam"]


def test_many_headers_are_answered_in_their_order(url):
    other = {**HEADER, "META.INSTRUMENT.DETECTOR": "NARROW"}

    status, found = post(
        url, "/api/best-references/many", {"headers": [HEADER, other, HEADER], "types": ["dark"]}
    )

    assert status == 200
    assert [one.get("file") for one in found["references"]["dark"]] == [DARK, None, DARK]
    assert found["references"]["dark"][1]["error"] in {"lookup", "validation"}


def test_the_interface_describes_itself(url):
    status, _, content = get(url, "/openapi.json")

    assert status == 200
    assert "/api/best-references" in json.loads(content)["paths"]


def test_a_header_that_is_none_is_refused(url):
    assert post(url, "/api/best-references", {"header": {"A": [1]}})[0] == 422
    assert (
        post(url, "/api/best-references", {"header": HEADER, "context": "nobody_1.pmap"})[0] == 404
    )


@pytest.mark.parametrize(
    "question",
    [
        {"context": "lantern_0001.pmap", "header": {"META.INSTRUMENT.NAME": "\ud800"}},
        {"context": "\ud800.pmap", "header": HEADER},
        {"observatory": "\ud800", "header": HEADER},
        {"header": {**HEADER, "META.INSTRUMENT.DETECTOR": "\udfff"}},
        {"header": {"\ud800": "1", **HEADER}, "types": ["\ud800"]},
    ],
)
@pytest.mark.parametrize("path", ["/api/best-references", "/api/explain"])
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_text_that_is_no_unicode_gets_an_answer_and_no_traceback(
    url, path, accept, question, caplog
):
    status, _, content = ask(
        url, "POST", path, json.dumps(question), Content_Type="application/json", Accept=accept
    )

    assert status in {200, 404, 422}, content
    assert content.decode("utf-8")
    assert not caplog.records


def test_an_observatory_that_is_not_served_expects_nothing_where_there_is_none(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        Holdings(Cache(tmp_path / "none", readonly=True), only=["tmt"])

    assert "expected:" not in caught.value.story()


def test_a_refused_question_is_told_in_one_line(url):
    with pytest.raises(ServerError) as caught:
        Client(url, patience=Patience(1, 0.0, 5.0), environ={}).mapping_names("lantern_0009.pmap")

    assert caught.value.story().count("found:    ") == 1
    assert "lantern_0009.pmap" in caught.value.found
    assert "\n" not in caught.value.found


def test_two_hundred_clients_at_once_get_what_each_asked_for(url):
    question = {"header": HEADER, "types": ["dark"]}
    start = threading.Barrier(200)
    wrong = []

    def ask_both(number):
        start.wait(timeout=60)
        at = 3000 * number
        part = get(url, f"/lantern/references/{FLAT}", Range=f"bytes={at}-{at + 2999}")
        found = post(url, "/api/best-references", question)
        if part[2] != CONTENT[at : at + 3000] or found[1]["references"] != {"dark": {"file": DARK}}:
            wrong.append((number, part[0], found))

    threads = [threading.Thread(target=ask_both, args=(number,)) for number in range(200)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert not wrong


# -- pages ----------------------------------------------------------------------------------


def test_pages_show_contexts_instruments_and_types(url):
    index = get(url, "/")[2].decode()
    context = get(url, "/contexts/lantern_0001.pmap")[2].decode()

    assert "lantern_0001.pmap" in index
    assert "in use" in index
    assert "GLOWCAM" in context
    assert "lantern_glowcam_dark_0001.rmap" in context


@pytest.mark.parametrize("path", ["/", "/explain", "/api", "/contexts/lantern_0001.pmap"])
def test_pages_load_nothing_from_elsewhere(url, path):
    status, headers, content = get(url, path)

    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    assert b"//" not in content.replace(url.encode(), b"").replace(b"http://www.w3.org", b"")


def test_a_page_explains_a_pasted_header(url):
    text = "\n".join(f"{key}: {value}" for key, value in HEADER.items())

    status, _, content = ask(url, "POST", "/explain", urlencode({"header": text, "types": "dark"}))

    assert status == 200
    assert DARK in content.decode()
    assert "META.INSTRUMENT.DETECTOR" in content.decode()


def test_pasted_text_is_shown_as_text(url):
    text = "META.INSTRUMENT.NAME: <script>alert(1)</script>"

    content = ask(url, "POST", "/explain", urlencode({"header": text}))[2].decode()

    assert "<script>alert" not in content
    assert "&lt;script&gt;alert" in content


def test_a_browser_reads_errors_as_pages_and_a_program_as_json(url):
    page = get(url, "/lantern/mappings/x.rmap", Accept="text/html")
    facts = get(url, "/lantern/mappings/x.rmap")

    assert (page[0], facts[0]) == (404, 404)
    assert b"<h1>" in page[2]
    assert json.loads(facts[2])["error"]["code"] == "not-here"


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("DETECTOR= 'WIDE    '           / which", {"DETECTOR": "WIDE"}),
        ("EXPTIME =                 10.5 / [s] time", {"EXPTIME": "10.5"}),
        ("NAME    = 'O''Neil / Co'", {"NAME": "O'Neil / Co"}),
        ("meta.instrument.detector: WIDE", {"META.INSTRUMENT.DETECTOR": "WIDE"}),
        ('"META.A": "b",', {}),
        (
            '{"meta": {"a": "b", "n": 2, "flag": true}}',
            {"META.A": "b", "META.N": "2", "META.FLAG": "T"},
        ),
        ("DATE-OBS= '2026-01-01'\nEND", {"DATE-OBS": "2026-01-01"}),
        ("TIME-OBS: 12:30:01", {"TIME-OBS": "12:30:01"}),
        (
            "A       = 'x'".ljust(80) + "B       = 2".ljust(80) + "END".ljust(80),
            {"A": "x", "B": "2"},
        ),
    ],
)
def test_a_pasted_header_is_read_in_any_of_its_forms(text, header):
    if header:
        assert header_from_text(text) == header
    else:
        with pytest.raises(Exception, match="no header"):
            header_from_text(text)


# -- the command ----------------------------------------------------------------------------


def test_the_command_serves_until_it_is_interrupted(root):
    import signal

    command = [sys.executable, "-m", "lightmill", "refs", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--crds-path", str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        line = process.stdout.readline()
        try:
            url = next(word for word in line.split() if word.startswith("http://"))
            status, _, _ = get(url, "/health")
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)

    assert status == 200
    assert "Traceback" not in errors
    assert process.returncode in {0, 130}


def test_a_taken_port_is_told():
    from lightmill.serving import listening

    with listening("127.0.0.1", 0) as taken, pytest.raises(ConfigurationError) as caught:
        listening("127.0.0.1", taken.getsockname()[1])

    assert "--port" in caught.value.remedy


def test_only_the_server_needs_what_servers_need():
    code = "import lightmill.reference.server, sys; print({'fastapi', 'uvicorn', 'jinja2'} & set(sys.modules))"

    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert answer.stdout.strip() == "set()"


def test_the_packages_of_pages_are_installed_with_the_code():
    folder = Path(header_from_text.__code__.co_filename).parent / "templates"

    assert {"index.html.j2", "explain.js", "style.css"} <= {one.name for one in folder.iterdir()}
