"""Pull the plug while a cache is filled: it ends right, or with an error that says what to do.

Whatever happens, no file is ever seen in the cache that is not the one its name means.
"""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from lightmill.errors import LightmillError, OutputError
from lightmill.reference.cache import Cache
from lightmill.reference.client import Client
from lightmill.reference.download import download
from lightmill.reference.transport import Patience
from lightmill.testing import make_uncal, write_exposure
from lightmill.testing.contexts import small_context
from lightmill.testing.loopback import loopback_server

NAMES = [f"tmt_wide_dark_{number:04}.fits" for number in range(1, 7)]
FILES = {name: random.Random(name).randbytes(400_000) for name in NAMES}
PATIENCE = Patience(attempts=2, delay=0.01, timeout=5.0)

FILL = """
import sys
from lightmill.reference.cache import Cache
from lightmill.reference.client import Client
from lightmill.reference.download import download
root, url, *names = sys.argv[1:]
print("go", flush=True)
found = download(names, Cache(root), Client(url, environ={}), observatory="tmt", workers=2)
print(len(found), flush=True)
"""


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


@pytest.fixture
def server():
    with loopback_server("tmt", dict(FILES)) as running:
        yield running


@pytest.fixture
def root(tmp_path):
    return tmp_path / "cache"


def fill(root, server, names=NAMES, **options):
    client = Client(server.url, patience=PATIENCE, environ={})
    return download(names, Cache(root), client, observatory="tmt", **options)


def start(root, server, names=NAMES):
    command = [sys.executable, "-c", FILL, str(root), server.url, *names]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def seen(root):
    """Visible references, each checked to be what its name means."""
    found = [p for p in Path(root).rglob("*.fits") if ".partial" not in p.parts]
    for path in found:
        assert path.read_bytes() == FILES[path.name], path
    return sorted(path.name for path in found)


def hidden(root):
    return [p for p in Path(root).rglob("*") if ".partial" in p.parts]


def test_several_processes_fill_one_cache_and_each_file_travels_once(server, root):
    server.faults.update({name: ["slow:0.02"] for name in NAMES})
    with ExitStack() as stack:
        processes = [stack.enter_context(start(root, server)) for _ in range(3)]
        answers = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], answers
    assert {out for out, _ in answers} == {f"go\n{len(NAMES)}\n"}
    assert seen(root) == NAMES
    assert not hidden(root)
    assert all(len(server.asked(name)) == 1 for name in NAMES)


def test_who_waits_for_another_process_says_so(server, root):
    server.faults[NAMES[0]] = ["slow:0.15"]
    with start(root, server, NAMES[:1]) as first:
        _wait_for(lambda: server.asked(NAMES[0]))
        with start(root, server, NAMES[:1]) as second:
            _, said = second.communicate(timeout=30)
        first.communicate(timeout=30)

    assert f"waiting to fetch {NAMES[0]}: process {first.pid} on" in said
    assert second.returncode == 0
    assert seen(root) == NAMES[:1]


def test_a_killed_process_is_followed_by_one_that_goes_on(server, root):
    server.faults[NAMES[0]] = ["slow:0.1"]
    with start(root, server, NAMES[:1]) as process:
        part = root / "references/tmt/wide/.partial" / f"{NAMES[0]}.part"
        _wait_for(lambda: part.exists() and part.stat().st_size >= 100_000)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert seen(root) == []
    left = part.stat().st_size
    assert 0 < left < 400_000

    fill(root, server, NAMES[:1])

    assert seen(root) == NAMES[:1]
    assert server.asked(NAMES[0]) == [None, f"bytes={left}-"]
    assert not hidden(root)


def test_a_server_that_dies_in_the_middle_leaves_what_was_whole(root):
    with loopback_server("tmt", dict(FILES)) as server:
        server.faults[NAMES[3]] = ["cut:100000", "503", "503", "503"]
        with pytest.raises(LightmillError) as caught:
            fill(root, server, NAMES[:4], workers=1)

    assert NAMES[3] in caught.value.story()
    assert caught.value.remedy
    assert seen(root) == NAMES[:3]


def test_a_cache_half_filled_is_filled_up(server, root):
    fill(root, server, NAMES[:3])
    server.requests.clear()

    fill(root, server)

    assert seen(root) == NAMES
    assert not any(server.asked(name) for name in NAMES[:3])


def test_no_server_and_a_full_cache_is_no_failure(root):
    with loopback_server("tmt", dict(FILES)) as server:
        fill(root, server)
        cache = Cache(root)
        cache.save_config(Client(server.url, environ={}).server_info())

    assert all(Cache(root).verify(name) is None for name in NAMES)


def test_a_full_disk_is_an_error_that_says_so_before_anything_is_written(server, disk):
    with pytest.raises(LightmillError) as caught:
        fill(disk, server, NAMES[:1])

    story = caught.value.story()
    assert isinstance(caught.value, OutputError)
    assert "disk of the cache is full" in story
    assert NAMES[0] in story
    assert "free some space" in story
    assert seen(disk) == []
    assert not hidden(disk)
    assert not server.asked(NAMES[0])


def test_a_disk_that_fills_meanwhile_keeps_nothing_half(server, disk):
    server.announced[NAMES[0]] = {"sha1sum": hashlib.sha1(FILES[NAMES[0]]).hexdigest()}

    with pytest.raises(OutputError, match="No space left") as caught:
        fill(disk, server, NAMES[:1])

    assert "free some space" in caught.value.remedy
    assert seen(disk) == []
    assert not hidden(disk)


def test_after_space_is_freed_the_same_call_succeeds(server, disk):
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    with pytest.raises(OutputError):
        fill(disk, server, NAMES[:1])
    ballast.unlink()
    server.files[NAMES[0]] = FILES[NAMES[0]][:100_000]

    fill(disk, server, NAMES[:1])

    assert (disk / "references/tmt/wide" / NAMES[0]).stat().st_size == 100_000


def test_a_readonly_disk_is_named(server, disk):
    mounted = subprocess.run(["mount", "-o", "remount,ro", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("remounting is not allowed here")

    with pytest.raises(OutputError, match="read-only") as caught:
        fill(disk, server, NAMES[:1])

    assert "CRDS_PATH" in caught.value.remedy


def test_a_readonly_cache_names_the_file_and_what_to_do(server, root, monkeypatch):
    monkeypatch.setenv("CRDS_READONLY_CACHE", "1")

    with pytest.raises(OutputError, match="read-only") as caught:
        fill(root, server, NAMES[:1])

    assert "CRDS_READONLY_CACHE" in caught.value.remedy
    assert not root.exists()


@pytest.mark.parametrize("part", ["", "references", "references/tmt", "references/tmt/wide"])
def test_a_file_in_the_place_of_a_folder_is_named(server, root, part):
    place = root / part
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("I am a file")

    with pytest.raises(OutputError) as caught:
        fill(root, server, NAMES[:1])

    assert str(place) in caught.value.story()
    assert "CRDS_PATH" in caught.value.remedy
    assert place.read_text() == "I am a file"


def test_a_folder_in_the_place_of_a_file_is_named(server, root):
    (root / "references/tmt/wide" / NAMES[0]).mkdir(parents=True)

    with pytest.raises(LightmillError) as caught:
        fill(root, server, NAMES[:1])

    assert NAMES[0] in caught.value.story()


def test_ctrl_c_ends_soon_and_leaves_what_can_be_resumed(server, root):
    server.faults.update({name: ["slow:0.2"] for name in NAMES})
    with start(root, server) as process:
        _wait_for(lambda: len(server.asked(NAMES[0])) > 0 and bool(hidden(root)))
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)

    assert process.returncode != 0
    seen(root)

    fill(root, server)

    assert seen(root) == NAMES
    assert not hidden(root)


def test_a_partial_file_is_never_taken_for_the_file(server, root):
    fill(root, server, NAMES[:1])
    aside = root / "references/tmt/wide/.partial"
    aside.mkdir()
    (aside / f"{NAMES[1]}.part").write_bytes(b"half")

    assert not Cache(root).has(NAMES[1])
    assert [p.name for p in Cache(root).references("tmt")] == NAMES[:1]


def test_notes_of_a_partial_file_that_are_nonsense_do_no_harm(server, root):
    aside = root / "references/tmt/wide/.partial"
    aside.mkdir(parents=True)
    for text in ("[]", "{", "null", json.dumps({"name": NAMES[0], "size": 400_000, "sha1": None})):
        (aside / f"{NAMES[0]}.part").write_bytes(b"x" * 1000)
        (aside / f"{NAMES[0]}.json").write_text(text)

        fill(root, server, NAMES[:1])

        assert seen(root) == NAMES[:1]
        (root / "references/tmt/wide" / NAMES[0]).unlink()
        aside.mkdir()


# -- the same from the command line ---------------------------------------------------------

LANTERN = "lantern_glowcam_dark_0001.fits"


@pytest.fixture
def night(tmp_path, monkeypatch):
    """A raw exposure, and the server that has its rules and its dark."""
    for name in ("CRDS_SERVER_URL", "CRDS_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CRDS_PATH", str(tmp_path / "cache"))
    monkeypatch.setenv("CRDS_CLIENT_RETRY_DELAY_SECONDS", "0")
    uncal = make_uncal(shape=(32, 32), seed=1)
    uncal.meta["observation.date"] = "2031-05-04"
    uncal.meta["observation.time"] = "03:02:01"
    raw = write_exposure(tmp_path / "night", uncal).path
    rules = small_context(references={"dark": {"SMALL": [("2020-01-01 00:00:00", LANTERN)]}})
    with loopback_server("lantern", {**rules, LANTERN: FILES[NAMES[0]]}) as running:
        running.answers["get_mapping_names"] = list(rules)
        yield raw, running


def sync(raw, server):
    code = (
        "import sys; from lightmill import app; from lightmill.cli import main;"
        "from lightmill.testing.observatory.glowcam import INSTRUMENT;"
        "app.register(INSTRUMENT); main(sys.argv[1:])"
    )
    typed = [sys.executable, "-c", code, "refs", "sync", str(raw), "--server", server.url]
    return subprocess.Popen(typed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_sync_goes_on_where_it_was_killed(night, root):
    raw, server = night
    server.faults[LANTERN] = ["slow:0.1"]
    part = root / "references/lantern/glowcam/.partial" / f"{LANTERN}.part"
    with sync(raw, server) as process:
        _wait_for(lambda: part.exists() and part.stat().st_size >= 100_000)
        process.kill()
    assert not Cache(root).has(LANTERN)

    with sync(raw, server) as process:
        out, err = process.communicate(timeout=60)

    assert process.returncode == 0, err
    assert "1 were fetched" in out
    assert (root / "references/lantern/glowcam" / LANTERN).read_bytes() == FILES[NAMES[0]]
    assert server.asked(LANTERN)[-1].startswith("bytes=")


def test_sync_with_a_server_that_lies_ends_with_the_name_of_the_file(night, root):
    raw, server = night
    server.faults[LANTERN] = ["wrong"] * 5

    with sync(raw, server) as process:
        out, err = process.communicate(timeout=60)

    assert process.returncode == 3
    assert LANTERN in out + err
    assert "sha1" in out + err
    assert not Cache(root).has(LANTERN)


def test_two_syncs_at_once_share_the_work(night, root):
    raw, server = night
    server.faults[LANTERN] = ["slow:0.05"]

    with sync(raw, server) as one, sync(raw, server) as two:
        said = [one.communicate(timeout=60), two.communicate(timeout=60)]

    assert [one.returncode, two.returncode] == [0, 0], said
    assert server.asked(LANTERN) == [None]
    assert Cache(root).verify(LANTERN) is None


@pytest.fixture
def disk(tmp_path):
    """A disk of 250 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=250k", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def _wait_for(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
