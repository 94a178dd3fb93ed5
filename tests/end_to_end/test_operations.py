"""A night of an observatory, and the day after: the commands of an operator."""

import json
import re
import shutil

import pytest
from astropy.io import fits

pytest.importorskip("alembic", reason="operations need the extra `operations`")
pytest.importorskip("fastapi", reason="the dashboard needs the extra `server`")
pytest.importorskip("gwcs", reason="imaging needs the extra `imaging`")

from lightmill.cli.main import main
from lightmill.testing.contexts import with_checksum

pytestmark = pytest.mark.slow


def run(*words):
    with pytest.raises(SystemExit) as left:
        main([*map(str, words)])
    return left.value.code or 0


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The small field, delivered bit by bit to an observatory."""
    folder = tmp_path_factory.mktemp("night") / "demo"
    assert run("demo", folder, "--scene", "night-tiny", "--quiet") == 0
    return folder


def status(site, capsys):
    assert run("ops", "status", "--root", site, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_the_night_ends_with_mosaics_catalogs_and_a_report(demo, capsys):
    counts = status(demo / "site", capsys)
    kinds = {path.stem.rpartition("_")[2] for path in (demo / "products").iterdir()}

    assert counts["tasks"] == {"DONE": 9}  # four first stages, four second, one stack
    assert counts["jobs"] == {"DONE": 9}
    assert {"uncal", "rate", "cal", "i2d", "cat", "segm", "crf"} <= kinds
    report = (demo / "report.html").read_text()
    assert "A night" in report
    assert 'href="dashboard/index.html"' in report
    assert (demo / "dashboard" / "index.html").exists()
    assert list((demo / "inbox").iterdir()) == []


def test_what_is_in_the_archive_cannot_be_changed_by_accident(demo):
    files = [path for path in (demo / "site" / "archive").rglob("*") if path.is_file()]

    assert files
    assert all(path.stat().st_mode & 0o222 == 0 for path in files)


def watch(site, inbox):
    assert run("ops", "watch", inbox, "--root", site, "--settle", "0", "--quiet-time", "1",
               "--until-idle", "3", "--quiet") == 0  # fmt: skip


def test_a_newer_exposure_has_everything_made_of_it_made_again(demo, tmp_path, capsys):
    site, inbox = tmp_path / "site", tmp_path / "inbox"
    shutil.copytree(demo / "site", site)
    inbox.mkdir()
    before = status(site, capsys)
    raw = min((demo / "raw").glob("*_uncal.fits"))
    again = inbox / raw.name
    shutil.copy(raw, again)
    with fits.open(again, mode="update") as hdus:
        hdus[0].header["DATE"] = "2098-01-01T00:00:00.000"

    watch(site, inbox)  # newer, and it says the same

    assert status(site, capsys)["jobs"] == before["jobs"]
    assert status(site, capsys)["datasets"]["SUPERSEDED"] == 1

    shutil.copy(raw, again)
    with fits.open(again, mode="update") as hdus:
        hdus[0].header["DATE"] = "2099-01-01T00:00:00.000"
        hdus["SCI"].data[:, -1] += 100

    watch(site, inbox)

    after = status(site, capsys)
    assert after["tasks"] == before["tasks"]
    # its first stage, its second, and the stack
    assert after["jobs"]["DONE"] == before["jobs"]["DONE"] + 3
    assert after["datasets"]["SUPERSEDED"] >= 4

    assert run("ops", "ingest", raw, "--root", site) == 0
    assert "1 duplicate" in capsys.readouterr().out
    assert raw.exists()


def test_new_references_redo_what_was_made_with_the_old_ones(demo, tmp_path, capsys):
    site, cache = tmp_path / "site", tmp_path / "crds"
    shutil.copytree(demo / "site", site)
    shutil.copytree(demo / "raw" / "crds", cache)
    before = status(site, capsys)
    renamed(cache, "flat")
    cause = ("--because", "refs:jwst_0001.pmap..jwst_0002.pmap", "--crds-path", cache)

    assert run("ops", "reprocess", *cause, "--root", site, "--dry-run", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {one["type"] for one in told["owed"]} == {"image2"}
    assert {one["type"] for one in told["follows"]} == {"image3"}
    assert status(site, capsys) == before

    words = (site / "observatory.yaml").read_text().replace("jwst_0001", "jwst_0002")
    words = words.replace(str(demo / "raw" / "crds"), str(cache))
    (site / "observatory.yaml").write_text(words)
    assert run("ops", "reprocess", *cause, "--root", site) == 0
    assert run("ops", "watch", "--root", site, "--until-idle", "0.5", "--quiet") == 0
    capsys.readouterr()

    # The flat has another name and the same content: the second stages were made again, and gave
    # the same products, so the stack was not.
    after = status(site, capsys)
    assert after["jobs"]["DONE"] == before["jobs"]["DONE"] + len(told["owed"])
    assert run("ops", "reprocess", *cause, "--root", site, "--dry-run") == 0
    assert re.match(r"0 of [1-9]\d* tasks would be done again", capsys.readouterr().out)


def renamed(cache, kind):
    """Add a context in which a reference has another name."""
    folder = next(cache.rglob("jwst_0001.pmap")).parent
    chain = [f"jwst_niriss_{kind}_%04d.rmap", "jwst_niriss_%04d.imap", "jwst_%04d.pmap"]
    named = f"jwst_niriss_{kind}_%04d.fits"
    for name in chain:
        text = (folder / (name % 1)).read_text()
        text = re.sub(r"'sha1sum' : '\w+'", "'sha1sum' : 'SUM'", text)
        text = text.replace(name % 1, name % 2).replace(named % 1, named % 2)
        (folder / (name % 2)).write_bytes(with_checksum(text))
        named = name
    first = next(cache.rglob(f"jwst_niriss_{kind}_0001.fits"))
    shutil.copy(first, first.with_name(f"jwst_niriss_{kind}_0002.fits"))


def test_operators_hold_release_and_are_told_what_cannot_be(demo, tmp_path, capsys):
    site = tmp_path / "site"
    shutil.copytree(demo / "site", site)
    told = ("--root", site)

    assert run("ops", "hold", 1, *told, "--reason", "look first") == 0
    assert run("ops", "tasks", *told, "--state", "held") == 0
    assert "look first" in capsys.readouterr().out
    assert run("ops", "release", 1, *told) == 0
    assert run("ops", "priority", 7, 1, *told) == 0
    assert run("ops", "retry", 1, *told) == 2
    assert "cannot be asked to retry" in capsys.readouterr().err
    assert run("ops", "why", 1, *told) == 0
    story = capsys.readouterr().out
    assert "watch list (0 missing)" in story
    assert "lightmill run calwebb_detector1" in story
    assert "look first" in story
    assert run("ops", "why", 999, *told) == 5


def test_programs_are_told_what_happened(demo, capsys):
    assert run("ops", "events", "--root", demo / "site", "--after", 0, "--json",
               "--kind", "TaskSucceeded") == 0  # fmt: skip
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert len(events) == 9
    assert {event["told"]["to"] for event in events} == {"DONE"}
    assert run("ops", "events", "--root", demo / "site") == 0
    assert "RUNNING → DONE" in capsys.readouterr().out


def test_operators_say_what_becomes_of_files(demo, tmp_path, capsys):
    site = tmp_path / "site"
    shutil.copytree(demo / "site", site)
    told = ("--root", site)
    raw = min((demo / "raw").glob("*_uncal.fits")).name

    assert run("ops", "set", raw, "title=Stars", "targname=B", *told) == 0
    assert "'B'" in capsys.readouterr().out
    assert run("ops", "set", raw, "nonsense", *told) == 2
    assert run("ops", "quarantine", raw, "--reason", "shutter closed", *told) == 0
    assert run("ops", "why", 1, *told) == 0
    assert run("ops", "events", *told) == 0
    assert "shutter closed" in capsys.readouterr().out
    assert run("ops", "accept", raw, *told) == 0
    assert run("ops", "accept", raw, *told) == 5
    assert run("ops", "reprocess", *told) == 2
    assert run("ops", "reprocess", "--because", "whim", *told) == 2


def test_a_file_that_is_no_exposure_is_left_and_reported(demo, tmp_path, capsys):
    site = tmp_path / "site"
    shutil.copytree(demo / "site", site)
    bad = tmp_path / "jw1_uncal.fits"
    bad.write_bytes(b"no FITS at all")

    assert run("ops", "ingest", bad, "--root", site) == 3

    assert "1 refused" in capsys.readouterr().out
    assert bad.exists()


def test_an_exposure_that_was_announced_and_has_not_come_is_told(demo, tmp_path, capsys):
    site = tmp_path / "site"
    assert run("ops", "init", "--root", site, "--observatory", "jwst") == 0
    *some, last = sorted((demo / "raw").glob("*_uncal.fits"))
    assert run("ops", "ingest", *some, "--root", site) == 0
    capsys.readouterr()

    (short,) = status(site, capsys)["short"]

    assert short["expected"] - short["present"] == 1
    ((group, (present, announced)),) = short["lacking"].items()
    assert group.endswith("/NIS")
    assert present == announced - 1
    assert run("ops", "why", 1, "--root", site) == 0
    assert f"{group} {present} of {announced}" in capsys.readouterr().out
    assert run("ops", "ingest", last, "--root", site) == 0
    capsys.readouterr()
    assert status(site, capsys)["short"] == []


def test_a_file_that_was_cut_short_is_left_until_it_is_whole(demo, tmp_path, capsys):
    site = tmp_path / "site"
    shutil.copytree(demo / "site", site)
    raw = min((demo / "raw").glob("*_uncal.fits"))
    cut = tmp_path / raw.name
    cut.write_bytes(raw.read_bytes()[:-20_000])

    assert run("ops", "ingest", cut, "--root", site) == 3
    assert "1 refused" in capsys.readouterr().out

    shutil.copy(raw, cut)
    assert run("ops", "ingest", cut, "--root", site) == 0
    assert "1 duplicate" in capsys.readouterr().out


def test_a_folder_that_is_no_observatory_is_named(tmp_path, capsys):
    assert run("ops", "status", "--root", tmp_path) == 5

    assert "lightmill ops init" in capsys.readouterr().err
