"""Associations kept in a store: requests that die and go on, on either database."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from lightmill.cli.main import app
from lightmill.errors import ConfigurationError, NothingSelectedError
from lightmill.observatories.hst.wfpc2.instance import Instance
from lightmill.observatories.hst.wfpc2.log import EventLog
from lightmill.observatories.hst.wfpc2.maintenance import Archive
from lightmill.observatories.hst.wfpc2.replay import replay
from lightmill.observatories.hst.wfpc2.request import run, status, submit

KILLS = int(os.environ.get("LIGHTMILL_KILLS", "4"))


@pytest.fixture(scope="module")
def truth(cases, lasting):
    """State that an undisturbed replay of all deliveries ends in."""
    *_, last = replay(Instance(cases / "small"))
    return lasting(last.archive.state)


@pytest.fixture
def small(cases):
    instance = Instance(cases / "small")
    yield instance
    instance.close()


def opened(place):
    log = EventLog(place)
    return log, Archive(log.state(), log.append)


def test_a_state_read_from_the_store_is_the_one_that_was_alive(
    place, small, truth, lasting, tmp_path
):
    for delivery in small.deliveries:
        log, archive = opened(place)
        submit(archive, small, [delivery])
        run(archive, small, products=tmp_path / "products")
        log.close()

    log, archive = opened(place)
    log.close()

    assert lasting(archive.state) == truth
    # products are what there is: none is missing, none is left of what was retired
    written = {path.stem.upper() for path in (tmp_path / "products").iterdir()}
    assert written == set(archive.state.associations)


def test_a_delivery_is_taken_in_once(place, small):
    log, archive = opened(place)

    first = submit(archive, small, [0, 1])
    again = submit(archive, small, [0, 1])

    assert first == {0: 210, 1: 10}  # of 11 arrivals of the second one is known already
    assert again == {}
    log.close()


def test_a_delivery_that_is_not_there_is_refused(place, small):
    log, archive = opened(place)
    with pytest.raises(NothingSelectedError, match="no such delivery"):
        submit(archive, small, [7])
    log.close()


def test_two_at_once_do_not_both_write(place, small):
    log, archive = opened(place)
    other, late = opened(place)
    submit(archive, small, [0])
    log.flush()

    submit(late, small, [0])
    with pytest.raises(ConfigurationError, match="another process"):
        other.flush()

    other.engine.dispose()
    log.close()


def test_what_the_log_holds_cannot_be_changed(place, small):
    from sqlalchemy import delete, exc, update

    from lightmill.workflow.store import tables as t

    log, archive = opened(place)
    submit(archive, small, [0])
    log.flush()
    for statement in (delete(t.events), update(t.events).values(kind="Other")):
        with pytest.raises(exc.DBAPIError), log.engine.begin() as connection:
            connection.execute(statement)
    log.close()


def test_the_status_tells_what_is_owed_and_what_failed(place, small):
    log, archive = opened(place)
    submit(archive, small, [0])
    before = status(archive.state)
    run(archive, small)
    submit(archive, small, [1])
    run(archive, small)
    after = status(archive.state)
    log.close()

    assert len(before["to_extract"]) == 102
    assert (after["to_extract"], after["to_build"]) == ([], [])
    assert after["previews_owed"] == {"content_hash": 0}
    (failed,) = after["unreadable"]
    assert failed["dataset"] == "UZ051300J"
    assert "ends too early" in failed["story"]
    assert json.dumps(after)


def lightmill(*arguments):
    return CliRunner().invoke(app, ["wfpc2", *map(str, arguments)], catch_exceptions=False)


def test_the_commands_take_in_run_and_explain(cases, tmp_path):
    store, archive = tmp_path / "store", cases / "small"

    taken = lightmill("submit", store, archive)
    ran = lightmill("run", store, archive, "--products", tmp_path / "products", "--json")
    told = lightmill("status", store)
    exposure = lightmill("why", store, "UZ050902T")
    retired = lightmill("why", store, "UZ050900A", "--json")

    rules = lightmill("rules", store, "--radius", "12", "--json")
    assert json.loads(rules.output)["would_change"]["content_changed"]
    lightmill("rules", store, "--radius", "12", "--adopt")
    assert "radius: 12" in lightmill("rules", store).output

    assert "delivery 0: 210 arrivals" in taken.output
    assert len(json.loads(ran.output)["previews"]["content_hash"]) == 32
    assert "CAL 'Y' OMS 'Y': 103" in told.output
    assert "alone, R5" in exposure.output
    assert "further than 10 arcsec" in exposure.output
    assert json.loads(retired.output)["candidates"][0]["rule"] == "R4: within the tolerances"


def test_the_probe_prints_counts_and_mismatches(cases):
    answer = lightmill("check", cases / "small", "--json")

    found = json.loads(answer.output)
    assert found["mismatches"] == 0
    assert found["transitions"] == 147
    assert found["deliveries"][1]["previews"]["content_hash"] == 8


def test_a_folder_without_an_archive_is_told(tmp_path):
    command = [sys.executable, "-m", "lightmill", "wfpc2", "check", tmp_path, "--json"]

    answer = subprocess.run([str(one) for one in command], capture_output=True, text=True)

    assert answer.returncode == 3
    assert "archive.sqlite" in answer.stderr
    assert json.loads(answer.stdout)["error"]["code"] == "data"


def test_a_kill_at_any_moment_loses_nothing_and_shows_nothing_twice(
    place, cases, small, truth, lasting, tmp_path
):
    # `kill -9` while deliveries are taken in and worked off; then once more, undisturbed
    products, rng = tmp_path / "products", random.Random(8)
    steps = [
        [
            "submit",
            place,
            cases / "small",
            *[x for d in small.deliveries for x in ("--delivery", d)],
        ],
        ["run", place, cases / "small", "--products", products],
    ]
    longest = {}
    killed = 0
    for attempt in range(KILLS):
        command = steps[attempt % 2]
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "lightmill", "wfpc2", *map(str, command)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(rng.uniform(0.2, longest.get(attempt % 2, 1.5)))
            longest[attempt % 2] = time.monotonic() - began
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1

    for command in steps:
        try:
            answer = lightmill(*command)
        except ConfigurationError:  # a server may yet finish what a killed client asked it for
            answer = lightmill(*command)
        assert answer.exit_code == 0, answer.output

    log, archive = opened(place)
    log.close()
    assert killed
    assert lasting(archive.state) == truth
    assert {path.stem.upper() for path in products.iterdir()} == set(archive.state.associations)
    assert not [path for path in products.iterdir() if path.suffix != ".asn"]


def test_names_of_files_cannot_lead_out_of_the_archive(cases, tmp_path):
    import shutil
    import sqlite3

    folder = tmp_path / "archive"
    folder.mkdir()
    shutil.copy(cases / "small" / "archive.sqlite", folder)
    (folder / "archive.sqlite").chmod(0o644)
    (tmp_path / "secret_jit.fits").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path)
    connection = sqlite3.connect(folder / "archive.sqlite")
    connection.execute("drop table jit_extracted")
    for number, name in enumerate(["../secret_jit.fits", "link/secret_jit.fits", "/etc/passwd"]):
        connection.execute(
            "update delivery_items set jit=?, jif=? where delivery=0 and dataset_name=?",
            (name, name, f"UZ01010{number}J"),
        )
    connection.commit()
    connection.close()

    *_, last = replay(Instance(folder))

    state = last.archive.state
    stories = [one.story for one in state.unreadable.values()]
    assert sum("leads out of the archive" in story for story in stories) == 3
    assert not state.pointings  # nothing else is there either, and each pair fails alone


def test_an_exposure_without_a_pointing_goes_through_either_database(place, make_exposure):
    import dataclasses
    import math

    from lightmill.observatories.hst.wfpc2 import events

    log, archive = opened(place)
    archive.record(events.Described(dataclasses.replace(make_exposure(1), ra_hdr=math.nan)))
    log.close()

    log, archive = opened(place)
    log.close()

    assert math.isnan(archive.state.exposures["UZ010101"].ra_hdr)
