"""Jitter files are fetched: whole or not at all, on from where it broke off, each pair alone."""

import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lightmill.cli.main import app
from lightmill.errors import ConfigurationError, LightmillError
from lightmill.observatories.hst.wfpc2.fetching import AT_ONCE, Fetching, Wanted
from lightmill.observatories.hst.wfpc2.instance import Instance
from lightmill.observatories.hst.wfpc2.log import EventLog
from lightmill.observatories.hst.wfpc2.maintenance import Archive
from lightmill.observatories.hst.wfpc2.replay import replay
from lightmill.observatories.hst.wfpc2.request import owed_pairs, run, status, submit
from lightmill.observatories.hst.wfpc2.sources import FolderSource, ListSource, source_of
from lightmill.reference.transport import Patience
from tests.unit.observatories.wfpc2.serving import serving

KILLS = int(os.environ.get("LIGHTMILL_KILLS", "3"))
NO_PAUSE = Patience(attempts=3, delay=0.0, timeout=20.0)
GENERATION = "199703130951"
BLOCK = 1 << 18  # bytes that are read of a server at once
STEM = f"uz010100j_{GENERATION}"
JIT, JIF = f"{STEM}_jit.fits", f"{STEM}_jif.fits"
PAIR = Wanted("UZ010100J", GENERATION, (f"jitter/{JIT}", f"jitter/{JIF}"))


@pytest.fixture
def files(tmp_path):
    """Folder of a server: a pair of files whose content is not looked at."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / JIT).write_bytes(bytes(range(256)) * 1000)
    (folder / JIF).write_bytes(b"statistics " * 500)
    return folder


@pytest.fixture
def server(files):
    with serving(files) as (served, url):
        yield served, url


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "archive"
    found.mkdir()
    return found


def listed(tmp_path, *lines):
    path = tmp_path / "list.txt"
    path.write_text("# what there is\n" + "\n".join(lines) + "\n")
    return path


def both(tmp_path, url, facts=""):
    return ListSource(listed(tmp_path, f"{url}/{JIT} {facts}", f"{url}/{JIF}"))


def is_whole(folder, files):
    same = all(
        (folder / "jitter" / name).read_bytes() == (files / name).read_bytes()
        for name in (JIT, JIF)
    )
    return same and sorted(p.name for p in (folder / "jitter").iterdir()) == sorted([JIT, JIF])


def digest_of(files):
    return hashlib.sha256((files / JIT).read_bytes() + (files / JIF).read_bytes()).hexdigest()


def _until(holds, seconds=60.0):
    """Wait until something holds; say whether it does."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


# --------------------------------------------------------------------------------------- transfers


def test_a_pair_comes_from_a_server(server, folder, files, tmp_path):
    _, url = server
    seen = []

    fetching = Fetching(folder, both(tmp_path, url), NO_PAUSE, lambda *told: seen.append(told))
    found = fetching.pair(PAIR)

    assert found.error is None
    assert found.content == digest_of(files)
    assert is_whole(folder, files)
    assert (JIF, len((files / JIF).read_bytes()), 0) in seen


def test_a_pair_comes_from_a_folder(folder, files):
    found = Fetching(folder, FolderSource(files.parent)).pair(PAIR)

    assert found.content == digest_of(files)
    assert is_whole(folder, files)


@pytest.mark.parametrize("address", ["file://{}", "{}"])
def test_a_list_may_name_files_of_this_machine(folder, files, tmp_path, address):
    lines = [address.format(files / name) for name in (JIT, JIF)]

    found = Fetching(folder, ListSource(listed(tmp_path, *lines))).pair(PAIR)

    assert found.error is None
    assert is_whole(folder, files)


def test_a_transfer_that_breaks_off_goes_on_from_there(server, folder, files, tmp_path):
    served, url = server
    served.doings[JIT] = ["drop"]

    found = Fetching(folder, both(tmp_path, url), NO_PAUSE).pair(PAIR)

    assert found.error is None
    assert is_whole(folder, files)
    half = (files / JIT).stat().st_size // 2
    assert [one for one in served.requests if one[0] == JIT] == [
        (JIT, None, 200), (JIT, f"bytes={half}-", 206)
    ]  # fmt: skip


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, folder, files, tmp_path):
    served, url = server
    served.doings[JIT] = ["drop", 503, 503]
    patience = Patience(attempts=2, delay=0.0)
    first = Fetching(folder, both(tmp_path, url), patience).pair(PAIR)
    assert first.error is not None
    (files / JIT).write_bytes(b"another " * 30_000)

    found = Fetching(folder, both(tmp_path, url), NO_PAUSE).pair(PAIR)

    assert found.error is None
    assert is_whole(folder, files)  # nothing of the first half is in it
    _, asked, answered = [one for one in served.requests if one[0] == JIT][-1]
    assert asked is not None
    assert answered == 200


def test_a_server_that_is_busy_is_asked_again(server, folder, files, tmp_path):
    served, url = server
    served.doings[JIT] = [503, 503]

    found = Fetching(folder, both(tmp_path, url), NO_PAUSE).pair(PAIR)

    assert found.error is None
    assert served.count[JIT] == 3
    assert is_whole(folder, files)


def test_what_a_server_does_not_have_is_asked_for_once(server, folder, files, tmp_path):
    served, url = server
    (files / JIF).unlink()

    found = Fetching(folder, both(tmp_path, url), NO_PAUSE).pair(PAIR)

    assert served.count[JIF] == 1
    story = found.error.story()
    assert JIF in story
    assert "404" in story
    assert "CRDS" not in story
    assert "tried again some time after" in story


def test_a_server_that_stays_away_is_given_up_for_now(folder, files, tmp_path):
    with serving(files) as (_, url):
        source = both(tmp_path, url)

    found = Fetching(folder, source, NO_PAUSE).pair(PAIR)

    assert "after 3 attempts" in found.error.story()
    assert not list(folder.rglob("*.fits"))


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256"])
def test_checksums_of_the_list_are_held(server, folder, files, tmp_path, kind):
    _, url = server
    right = hashlib.new(kind, (files / JIT).read_bytes()).hexdigest()
    size = (files / JIT).stat().st_size
    wrong = "0" * len(right)

    bad = Fetching(folder, both(tmp_path, url, f"{kind}={wrong}"), NO_PAUSE).pair(PAIR)
    assert not list(folder.rglob("*.fits"))
    good = Fetching(folder, both(tmp_path, url, f"size={size} {kind}={right}"), NO_PAUSE).pair(PAIR)

    assert f"{kind} differs" in bad.error.story()
    assert good.error is None
    assert is_whole(folder, files)


@pytest.mark.parametrize("where", ["web", "here"])
def test_a_size_of_the_list_is_held(server, folder, files, tmp_path, where):
    _, url = server
    address = url if where == "web" else f"file://{files}"

    found = Fetching(folder, both(tmp_path, address, "size=7"), NO_PAUSE).pair(PAIR)

    assert "size differs" in found.error.story()
    assert not list(folder.rglob("*.fits"))


@pytest.mark.parametrize("where", ["web", "here"])
def test_no_file_is_taken_that_is_too_large(server, folder, files, tmp_path, where, monkeypatch):
    _, url = server
    monkeypatch.setattr("lightmill.observatories.hst.wfpc2.fetching.LARGEST", 6000)
    address = url if where == "web" else f"file://{files}"

    found = Fetching(folder, both(tmp_path, address), NO_PAUSE).pair(PAIR)

    assert "6000 bytes" in found.error.story()
    assert not list(folder.rglob("*.fits"))


def test_nothing_is_taken_of_a_server_that_announces_too_much(server, folder, tmp_path):
    served, url = server
    served.doings[JIT] = ["huge"]

    found = Fetching(folder, both(tmp_path, url), NO_PAUSE).pair(PAIR)

    assert "at most" in found.error.story()
    assert served.count[JIT] == 1
    assert not list(folder.rglob("*.fits"))
    assert not list(folder.rglob("*.part"))


def test_a_server_that_sends_another_part_is_asked_for_all(server, folder, files, tmp_path):
    served, url = server
    served.doings[JIT] = ["drop", "another part"]

    found = Fetching(folder, both(tmp_path, url), NO_PAUSE).pair(PAIR)

    assert found.error is None
    assert is_whole(folder, files)
    assert served.requests[-2] == (JIT, None, 200)


def test_no_server_leads_to_files_of_this_machine(server, folder, files, tmp_path):
    served, url = server
    served.doings[JIT] = [f"to file://{files / JIT}"]

    found = Fetching(folder, both(tmp_path, url), NO_PAUSE).pair(PAIR)

    assert found.error is not None
    assert not list(folder.rglob("*.fits"))


def test_one_pair_that_cannot_be_had_stops_no_other(server, folder, tmp_path):
    _, url = server
    other = Wanted("UZ010101J", GENERATION)

    found = list(Fetching(folder, both(tmp_path, url), NO_PAUSE).pairs([other, PAIR]))

    assert {one.wanted.dataset: one.error is None for one in found} == {
        "UZ010100J": True, "UZ010101J": False
    }  # fmt: skip


def test_a_process_killed_within_a_file_leaves_what_the_next_goes_on_with(
    server, folder, files, tmp_path
):
    served, url = server
    (files / JIT).write_bytes(bytes(range(256)) * 8000)  # 2 MB: several blocks
    served.doings[JIT] = ["hang"]
    source = listed(tmp_path, f"{url}/{JIT}", f"{url}/{JIF}")
    program = (
        "import sys; from pathlib import Path\n"
        "from lightmill.observatories.hst.wfpc2.fetching import Fetching, Wanted\n"
        "from lightmill.observatories.hst.wfpc2.sources import ListSource\n"
        "folder, source, *pair = sys.argv[1:]\n"
        "fetching = Fetching(Path(folder), ListSource(Path(source)))\n"
        "fetching.pair(Wanted(pair[0], pair[1], tuple(pair[2:])))\n"
    )
    words = [sys.executable, "-c", program, folder, source, *PAIR[:2], *PAIR.files]
    process = subprocess.Popen(list(map(str, words)))
    try:
        assert served.halfway.wait(120)
        begun = folder / "jitter" / ".partial" / f"{JIT}.part"
        assert _until(lambda: begun.exists() and begun.stat().st_size >= BLOCK)
    finally:
        process.kill()
        process.wait()
    served.goes_on.set()
    left = begun.stat().st_size

    found = Fetching(folder, ListSource(source), NO_PAUSE).pair(PAIR)

    assert found.content == digest_of(files)
    assert is_whole(folder, files)
    assert served.requests[-2] == (JIT, f"bytes={left}-", 206)


# ----------------------------------------------------------------------------------- names, lists


@pytest.mark.parametrize(
    "name", ["../" + JIT, "/etc/passwd", "jitter/passwd", "link/" + JIT, "a\0b"]
)
def test_names_lead_nowhere_but_into_the_archive(server, folder, tmp_path, name):
    _, url = server
    (tmp_path / "elsewhere").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")

    found = Fetching(folder, both(tmp_path, url), NO_PAUSE).pair(
        PAIR._replace(files=(name, f"jitter/{JIF}"))
    )

    assert found.error is not None
    assert not list(tmp_path.glob(JIT))
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    "line",
    [
        "ftp://example.org/" + JIT,
        "http://example.org/passwd",
        "http://example.org/%2e%2e%2fpasswd",
        f"http://example.org/{JIT} size=many",
        f"http://example.org/{JIT} md5=abc",
        f"http://example.org/{JIT} colour=red",
        f"file://elsewhere/{JIT}",
        f"http://example.org/x name=../{JIT}",
    ],
)
def test_a_line_that_makes_no_sense_is_named(tmp_path, line):
    path = listed(tmp_path, line)
    with pytest.raises(LightmillError) as told:
        ListSource(path)
    assert str(told.value.place) == f"{path}:2"


ADDRESSES = st.sampled_from(
    [
        "http://",
        "https://",
        "file://",
        "file:///",
        "ftp://",
        "",
        "/",
        "../",
        "http://[",
        "http://a:b/",
    ]
)
WORDS = st.sampled_from(
    ["", " size=", " size=1", " md5=", " name=", f" name={JIT}", " x", " =", "\0", "%00", "\u2028"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ADDRESSES, st.sampled_from([JIT, JIF, ""]) | st.text(), WORDS)))
def test_whatever_a_list_says_it_is_read_or_refused(tmp_path, lines):
    path = tmp_path / "list.txt"
    path.write_text(
        "\n".join("".join(words) for words in lines), encoding="utf-8", errors="replace"
    )
    try:
        source = ListSource(path)
    except LightmillError as error:
        assert error.story()  # noqa: PT017 - most lists are fine, and none must
        return
    for name in (JIT, JIF):
        origin = source.find(name)
        assert origin is None or origin.place


def test_two_addresses_of_one_file_are_refused(tmp_path):
    path = listed(tmp_path, f"http://a.example/{JIT}", f"http://b.example/{JIT}")
    with pytest.raises(LightmillError, match="two addresses"):
        ListSource(path)


def test_a_list_may_say_what_a_file_is_called(tmp_path):
    path = listed(tmp_path, f"https://a.example/get?id=7 name={JIT.upper()}")

    assert ListSource(path).find(JIT).place == "https://a.example/get?id=7"


def test_a_source_that_is_none_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match="nothing to fetch from"):
        source_of(tmp_path / "nowhere")


# --------------------------------------------------------------------------------------- requests


@pytest.fixture
def bare(cases, tmp_path):
    """A copy of an archive's tables, without any jitter file."""
    found = tmp_path / "bare"
    found.mkdir()
    shutil.copy(cases / "small" / "archive.sqlite", found)
    (found / "archive.sqlite").chmod(0o644)
    with sqlite3.connect(found / "archive.sqlite") as connection:
        connection.execute("drop table jit_extracted")
    connection.close()
    return found


@pytest.fixture(scope="module")
def truth(cases, lasting):
    """State that an undisturbed replay of all deliveries ends in, files at hand."""
    *_, last = replay(Instance(cases / "small"))
    return lasting(last.archive.state)


def test_what_is_owed_is_fetched_worked_off_and_closed(bare, cases, truth, lasting, tmp_path):
    log = EventLog(tmp_path / "store", create=True)
    archive, instance = Archive(log.state(), log.append, log.flush), Instance(bare)
    fetching = Fetching(bare, FolderSource(cases / "small" / "jitter"))
    submit(archive, instance)
    before = owed_pairs(archive.state, bare, now=0.0)

    first = run(archive, instance, fetching=fetching, now=1e9)
    again = run(archive, instance, fetching=fetching, now=1e9)
    log.close()

    state = archive.state
    assert len(first.fetched) == len(before) > 100
    assert again.fetched == again.extracted == again.built == []
    assert lasting(state) == truth
    assert status(state)["requests"] == []
    kinds = [type(one).__name__ for one in EventLog(tmp_path / "store").read()]
    assert kinds.index("Requested") < kinds.index("Extracted") < kinds.index("Built")
    assert kinds[-1] == "Closed"


def test_a_pair_that_cannot_be_had_is_asked_for_some_time_after(
    bare, cases, truth, lasting, tmp_path
):
    some = tmp_path / "some"
    shutil.copytree(cases / "small" / "jitter", some)
    for path in some.iterdir():
        path.chmod(0o644)
    (some / JIF).rename(tmp_path / JIF)
    archive, instance = Archive(), Instance(bare)
    submit(archive, instance)

    def round_at(now):
        return run(archive, instance, fetching=Fetching(bare, FolderSource(some)), now=now)

    first = round_at(1e9)
    (tmp_path / JIF).rename(some / JIF)
    soon = round_at(1e9 + 60)
    later = round_at(1e9 + 7200)

    assert first.not_fetched == ["UZ010100T"]
    assert soon.fetched == []
    assert later.fetched == later.extracted == ["UZ010100T"]
    assert lasting(archive.state) == truth


def test_a_damaged_pair_is_fetched_again(bare, cases, truth, lasting, tmp_path):
    some = tmp_path / "some"
    shutil.copytree(cases / "small" / "jitter", some)
    whole = (some / JIT).read_bytes()
    (some / JIT).chmod(0o644)
    (some / JIT).write_bytes(whole[:3000])
    archive, instance = Archive(), Instance(bare)
    submit(archive, instance)

    def round_at(now):
        return run(archive, instance, fetching=Fetching(bare, FolderSource(some)), now=now)

    first = round_at(1e9)
    (some / JIT).write_bytes(whole)
    later = round_at(1e9 + 7200)

    assert "UZ010100T" in first.unreadable
    assert later.fetched == later.extracted == ["UZ010100T"]
    assert lasting(archive.state) == truth


def test_files_that_were_lost_are_read_as_soon_as_they_are_fetched(bare, cases, truth, lasting):
    # they were there when the delivery was taken in, and gone when they were to be read
    shutil.copytree(cases / "small" / "jitter", bare / "jitter")
    archive, instance = Archive(), Instance(bare)
    submit(archive, instance)
    (bare / "jitter").rename(bare / "away")
    lost = run(archive, instance, now=1e9)

    fetching = Fetching(bare, FolderSource(cases / "small" / "jitter"))
    found = run(archive, instance, fetching=fetching, now=1e9 + 1, again=True)

    assert lost.extracted == []
    assert lost.unreadable
    assert found.extracted == found.fetched
    assert found.not_fetched == []
    assert lasting(archive.state) == truth


def test_a_run_killed_while_it_fetches_goes_on(bare, cases, truth, lasting, tmp_path):
    # kill -9 when half of one file or another has come, then once more undisturbed
    store, draw = tmp_path / "store", random.Random(5)
    submitted = CliRunner().invoke(app, ["wfpc2", "submit", str(store), str(bare)])
    assert submitted.exit_code == 0, submitted.output
    log = EventLog(store)
    wanted = [one.places for one in owed_pairs(log.state(), bare, now=0.0)]
    log.close()
    with serving(cases / "small" / "jitter") as (served, url):
        source = listed(tmp_path, *(f"{url}/{path.name}" for path in served.folder.iterdir()))
        words = ["wfpc2", "run", store, bare, "--from", source, "--quiet"]
        step = len(wanted) // (KILLS + 1)
        for pair in wanted[step::step][:KILLS]:  # they are asked for in this order
            name = Path(draw.choice(pair)).name
            served.doings[name] = ["send"] * served.count[name] + ["hang"]
            left = _killed_when_half_has_come(served, words)
            assert not (bare / "jitter" / name).exists()
            assert sum(one["pairs"] for one in left["requests"]) == len(wanted)
        done = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["not_fetched"] == []
    log = EventLog(store)
    state = log.state()
    log.close()
    assert lasting(state) == truth
    assert state.requests == {}
    assert not list(bare.rglob("*.part"))
    # what was whole before a kill was not asked for again, but for pairs that were under way
    twice = sum(count - 1 for count in served.count.values())
    assert twice <= 2 * AT_ONCE * KILLS


def _killed_when_half_has_come(served, words):
    """Run a command, kill it when a file hangs, and return what the status tells then."""
    served.halfway.clear()
    served.goes_on.clear()
    command = [sys.executable, "-m", "lightmill", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        assert served.halfway.wait(120)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    served.goes_on.set()
    log = EventLog(words[2])
    found = status(log.state())
    log.close()
    return found


def test_the_commands_tell_what_failed_and_release_it(bare, tmp_path):
    def lightmill(*words):
        return CliRunner().invoke(app, ["wfpc2", *map(str, words)], catch_exceptions=False)

    store, empty = tmp_path / "store", tmp_path / "empty"
    empty.mkdir()
    lightmill("submit", store, bare)
    ran = lightmill("run", store, bare, "--from", empty, "--quiet")
    for _ in range(4):
        lightmill("run", store, bare, "--from", empty, "--quiet", "--again")
    told = lightmill("status", store)
    released = lightmill("release", store, "UZ010100T")
    after = json.loads(lightmill("status", store, "--json").output)
    everything = lightmill("release", store, "--all")
    nothing = lightmill("release", store, "--all")

    assert "0 pairs fetched" in ran.output
    assert "UZ010100J, tried 5 times, in quarantine" in told.output
    assert "UZ010100J 199703130951: the next run tries it" in released.output
    states = {one["dataset"]: one["quarantined"] for one in after["unreadable"]}
    assert not states["UZ010100J"]
    assert states["UZ010101J"]
    assert "UZ010101J" in everything.output
    assert "nothing is in quarantine" in nothing.output
