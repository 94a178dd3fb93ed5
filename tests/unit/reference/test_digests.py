"""A file is read once for its sum, by all processes together."""

import hashlib
import json
import subprocess
import sys

import pytest

from lightmill.reference import digests

REMEMBER = """
import sys
from pathlib import Path
from lightmill.reference.digests import sha1_of
for name in sys.argv[1:]:
    sha1_of(Path(name))
"""


@pytest.fixture(autouse=True)
def _own_table(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(digests, "_known", None)
    monkeypatch.setattr(digests, "_fresh", {})
    monkeypatch.setattr(digests, "_written", digests.time.monotonic())


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{number}.fits" for number in range(20)]
    for path in paths:
        path.write_text(path.name)
    return paths


@pytest.fixture
def table(tmp_path):
    return tmp_path / "home" / "lightmill" / "reference-sums.json"


def sums_in(table):
    return {key.partition("|")[0]: sha1 for key, sha1 in json.loads(table.read_text()).items()}


def sums_of(paths):
    return {str(path): hashlib.sha1(path.read_bytes()).hexdigest() for path in paths}


def test_the_table_is_written_once_for_a_batch(files, table, monkeypatch):
    written = []
    write = digests._write
    monkeypatch.setattr(digests, "_write", lambda *args: (written.append(1), write(*args)))

    for path in files:
        digests.sha1_of(path)
    before = len(written)
    digests.keep_sums()
    digests.keep_sums()

    assert (before, len(written)) == (0, 1)
    assert sums_in(table) == sums_of(files)


def test_a_process_that_ends_leaves_its_sums_to_the_next(files, table):
    subprocess.run([sys.executable, "-c", REMEMBER, *map(str, files)], check=True)

    assert sums_in(table) == sums_of(files)
    assert digests.known_sha1(files[0]) == sums_of(files)[str(files[0])]


def test_processes_that_end_together_lose_no_sums(files, table):
    running = [
        subprocess.Popen([sys.executable, "-c", REMEMBER, *map(str, files[start::4])])
        for start in range(4)
    ]

    assert [one.wait() for one in running] == [0] * 4
    assert sums_in(table) == sums_of(files)
    assert [path.name for path in table.parent.iterdir()] == [table.name]


def test_what_another_process_wrote_meanwhile_stays(files, table):
    digests.sha1_of(files[0])
    subprocess.run([sys.executable, "-c", REMEMBER, str(files[1])], check=True)

    digests.keep_sums()

    assert sums_in(table) == sums_of(files[:2])
    assert digests.known_sha1(files[1]) is not None


def test_a_sum_that_was_forgotten_is_forgotten_by_all(files, table):
    for path in files:
        digests.sha1_of(path)
    digests.keep_sums()

    digests.forget(files[0])
    digests.keep_sums()

    assert digests.known_sha1(files[0]) is None
    assert sums_in(table) == sums_of(files[1:])


def test_a_long_batch_is_kept_while_it_goes_on(files, table, monkeypatch):
    digests.sha1_of(files[0])
    monkeypatch.setattr(digests, "_written", digests.time.monotonic() - 2 * digests._EVERY)

    digests.sha1_of(files[1])

    assert sums_in(table) == sums_of(files[:2])


def test_a_table_that_cannot_be_written_is_no_failure(files, tmp_path):
    (tmp_path / "home").write_text("a file, where the folder should be")

    digests.sha1_of(files[0])
    digests.keep_sums()

    assert digests.known_sha1(files[0]) == sums_of(files)[str(files[0])]


def test_a_table_that_is_damaged_is_made_again(files, table):
    table.parent.mkdir(parents=True)
    table.write_text('{"half a tab')

    digests.sha1_of(files[0])
    digests.keep_sums()

    assert sums_in(table) == sums_of(files[:1])
