"""Files come whole and right into a cache, whatever the server does."""

import hashlib
import random
import threading

import pytest

from lightmill.errors import CorruptFileError, LightmillError, OutputError
from lightmill.reference.cache import Cache
from lightmill.reference.client import Client
from lightmill.reference.config import FileInfo
from lightmill.reference.download import DownloadError, download
from lightmill.reference.transport import Patience, ServerError
from lightmill.testing.loopback import loopback_server

NAME = "tmt_wide_dark_0001.fits"
CONTENT = random.Random(1).randbytes(500_000)
PATIENCE = Patience(attempts=3, delay=0.0, timeout=5.0)


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


@pytest.fixture
def server():
    with loopback_server("tmt", {NAME: CONTENT}) as running:
        yield running


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def get(server, cache, *names, **options):
    client = Client(server.url, patience=PATIENCE, environ={})
    return download(names or [NAME], cache, client, observatory="tmt", **options)


def visible(cache):
    files = [p for p in cache.root.rglob("*") if p.is_file() and ".partial" not in p.parts]
    return [p for p in files if p.relative_to(cache.root).parts[0] != "config"]


def hidden(cache):
    return [p for p in cache.root.rglob("*") if p.is_file() and ".partial" in p.parts]


def test_a_file_arrives_under_its_instrument(server, cache):
    paths = get(server, cache)

    assert paths[NAME] == cache.root / "references/tmt/wide" / NAME
    assert paths[NAME].read_bytes() == CONTENT
    assert not hidden(cache)


def test_a_flat_cache_stays_flat(server, cache):
    note = cache.root / "config/tmt/ref_cache_subdir_mode"
    note.parent.mkdir(parents=True)
    note.write_text("flat")

    assert get(server, cache)[NAME] == cache.root / "references/tmt" / NAME


def test_rules_arrive_beside_the_others(server, cache):
    server.files["tmt_0001.pmap"] = b"header = {}"

    assert get(server, cache, "tmt_0001.pmap")["tmt_0001.pmap"].parent.name == "tmt"
    assert cache.read_mapping("tmt_0001.pmap")[0] == "header = {}"


def test_a_transfer_that_breaks_off_goes_on_where_it_was(server, cache):
    server.faults[NAME] = ["cut:200000", "cut:100000"]

    assert get(server, cache)[NAME].read_bytes() == CONTENT
    assert server.asked(NAME) == [None, "bytes=200000-", "bytes=300000-"]


def test_a_server_that_breaks_off_at_once_again_and_again_is_given_up(server, cache):
    server.faults[NAME] = ["cut:0"] * 9

    with pytest.raises(ServerError, match="after 3 attempts") as caught:
        get(server, cache)

    assert NAME in caught.value.place
    assert "CRDS_SERVER_URL" in caught.value.remedy
    assert not visible(cache)


def test_progress_gives_a_server_new_chances(server, cache):
    server.faults[NAME] = ["cut:70000"] * 7

    assert get(server, cache)[NAME].read_bytes() == CONTENT


def test_the_next_process_goes_on_where_one_gave_up(server, cache):
    server.faults[NAME] = ["cut:300000", "503", "503"]
    with pytest.raises(ServerError):
        get(server, cache)
    assert not visible(cache)
    assert hidden(cache)

    assert get(server, cache)[NAME].read_bytes() == CONTENT
    assert server.asked(NAME)[-1] == "bytes=300000-"
    assert not hidden(cache)


def test_a_partial_file_of_another_version_is_not_continued(server, cache):
    server.faults[NAME] = ["cut:300000", "503", "503"]
    with pytest.raises(ServerError):
        get(server, cache)
    server.files[NAME] = CONTENT[::-1]

    assert get(server, cache)[NAME].read_bytes() == CONTENT[::-1]
    assert server.asked(NAME)[-1] is None


def test_a_partial_file_that_was_spoilt_is_fetched_anew(server, cache):
    server.faults[NAME] = ["cut:300000", "503", "503"]
    with pytest.raises(ServerError):
        get(server, cache)
    (part,) = [p for p in hidden(cache) if p.suffix == ".part"]
    part.write_bytes(bytes(300000))

    assert get(server, cache)[NAME].read_bytes() == CONTENT
    assert server.asked(NAME)[-2:] == ["bytes=300000-", None]


@pytest.mark.parametrize("fault", ["no-range", "wrong-part"])
def test_a_server_that_cannot_go_on_sends_all_again(server, cache, fault):
    server.faults[NAME] = ["cut:200000", fault]

    assert get(server, cache)[NAME].read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["wrong", "longer", "shorter", "lies:9", "lies:900000"])
def test_other_bytes_than_announced_are_never_shown(server, cache, fault):
    server.faults[NAME] = [fault] * 9

    with pytest.raises(LightmillError) as caught:
        get(server, cache)

    assert NAME in caught.value.story()
    assert caught.value.remedy
    assert not visible(cache)


def test_wrong_bytes_once_are_fetched_again(server, cache):
    server.faults[NAME] = ["wrong"]

    assert get(server, cache)[NAME].read_bytes() == CONTENT


@pytest.mark.parametrize("status", ["503", "500", "429"])
def test_a_busy_server_is_asked_again(server, cache, status):
    server.faults[NAME] = [status, status]
    server.faults["rpc"] = [status]

    assert get(server, cache)[NAME].read_bytes() == CONTENT


def test_a_file_the_server_lost_is_not_asked_for_twice(server, cache):
    server.announced["tmt_wide_flat_0001.fits"] = {"size": "10", "sha1sum": "none"}

    with pytest.raises(ServerError, match="does not have this file"):
        get(server, cache, "tmt_wide_flat_0001.fits")

    assert len(server.asked("tmt_wide_flat_0001.fits")) == 1


def test_all_failures_are_told_together_and_the_rest_arrives(server, cache):
    with pytest.raises(DownloadError) as caught:
        get(server, cache, NAME, "tmt_wide_flat_0001.fits", "tmt_wide_flat_0002.fits")

    assert list(caught.value.errors) == ["tmt_wide_flat_0001.fits", "tmt_wide_flat_0002.fits"]
    assert cache.has(NAME)


def test_no_server_is_an_error_that_names_it(cache):
    with loopback_server("tmt", {}) as gone:
        pass

    with pytest.raises(ServerError, match="refused") as caught:
        get(gone, cache)

    assert gone.url in caught.value.place


def test_a_page_that_is_no_reference_server_is_named(server, cache):
    server.faults["rpc"] = ["wrong"]

    with pytest.raises(ServerError, match="not that of a reference server"):
        get(server, cache)


def test_an_announced_folder_outside_the_cache_is_refused(server, cache):
    evil = "../../etc/passwd"
    server.files[evil] = b"x"

    with pytest.raises(LightmillError, match="no name"):
        get(server, cache, evil)

    assert not cache.root.exists()


@pytest.mark.parametrize("url", ["file:///etc", "ftp://example.org", "s3://bucket"])
def test_only_addresses_of_the_web_are_followed(server, cache, url):
    server.facts["reference_url"] = {"tmt": url}

    with pytest.raises(ServerError, match="cannot be fetched from"):
        get(server, cache)


def test_a_file_that_is_there_is_not_fetched(server, cache):
    get(server, cache)
    get(server, cache)

    assert len(server.asked(NAME)) == 1


def test_a_damaged_file_is_replaced_when_asked(server, cache):
    path = get(server, cache)[NAME]
    path.write_bytes(CONTENT[:1000])

    get(server, cache, replace=True)

    assert path.read_bytes() == CONTENT


def test_progress_ends_with_all_bytes(server, cache):
    told = []

    get(server, cache, progress=lambda *facts: told.append(facts))

    assert told[-1] == (NAME, len(CONTENT), len(CONTENT))


def test_many_threads_ask_for_the_same_file_and_one_transfer_does(server, cache):
    server.faults[NAME] = ["slow:0.01"]
    threads = [threading.Thread(target=get, args=(server, cache)) for _ in range(5)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert cache.reference_path(NAME).read_bytes() == CONTENT
    assert len(server.asked(NAME)) == 1


def test_a_readonly_cache_is_not_written(server, cache):
    with pytest.raises(OutputError, match="read-only") as caught:
        get(server, Cache(cache.root, readonly=True))

    assert "CRDS_READONLY_CACHE" in caught.value.remedy
    assert not cache.root.exists()


# -- store ----------------------------------------------------------------------------------


def test_what_is_stored_must_be_what_was_announced(cache):
    with pytest.raises(CorruptFileError, match="sha1"):
        cache.store(NAME, [b"abc"], size=3, sha1="0" * 40)
    with pytest.raises(CorruptFileError, match="size"):
        cache.store(NAME, [b"abc"], size=4)

    assert not visible(cache)
    assert not hidden(cache)


def test_a_name_keeps_its_meaning(cache):
    path = cache.store(NAME, [b"abc"])
    assert cache.store(NAME, [b"a", b"bc"]) == path

    with pytest.raises(CorruptFileError, match="another file of this name"):
        cache.store(NAME, [b"abd"])

    assert path.read_bytes() == b"abc"


def test_an_error_while_storing_leaves_nothing(cache):
    def content():
        yield b"abc"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.store(NAME, content())

    assert not hidden(cache)


def test_a_checksum_is_computed_once_while_the_file_stays(cache, monkeypatch):
    cache.store(NAME, [b"abc"])
    sha1 = hashlib.sha1(b"abc").hexdigest()
    monkeypatch.setattr(hashlib, "file_digest", None)

    assert cache.verify(NAME, info=FileInfo(NAME, 3, sha1)) is None


def test_a_file_changed_in_place_is_noticed(cache):
    path = cache.store(NAME, [b"abc"])
    sha1 = hashlib.sha1(b"abc").hexdigest()
    path.write_bytes(b"abd")

    assert "sha1" in cache.verify(NAME, info=FileInfo(NAME, 3, sha1))


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:70000", "http://127.0.0.1:1\n2", "http:///x", "http://a b/", "http://h:x/"],
)
def test_what_can_be_no_address_is_asked_once_and_told_as_such(address):
    client = Client(address, patience=Patience(4, 0.0, 1.0), environ={})

    with pytest.raises(ServerError, match="no address of a server") as caught:
        client.server_info()

    assert "attempts" not in caught.value.story()
    assert "--server" in caught.value.remedy
