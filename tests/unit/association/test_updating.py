"""A folder of associations is brought up to date: same result, the same files left alone."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import lightmill
import lightmill.observatories.jwst as observatory
from lightmill.association import updating
from lightmill.association.engine import Options, associate
from lightmill.association.language import read_rules
from lightmill.association.output import write_associations
from lightmill.association.pool import Pool
from lightmill.association.updating import MEMORY, update_associations
from lightmill.cli.main import main
from lightmill.errors import LightmillError

HOME = Path(observatory.__file__).parent / "associations"
COLUMNS = ["filename", "program", "obs_num", "asn_candidate", "pntgtype", "exp_type"]
COLUMNS += ["instrume", "detector", "filter", "pupil", "targetid", "subarray"]
PATTERN = "jw{program}-{candidate}{version}_{type}_{sequence}_asn.json"


@pytest.fixture
def rules():
    return read_rules(HOME)


def night(*observations):
    """Four images of each observation of a program; each is (number, filter)."""
    return Pool.from_rows(
        [
            {
                "filename": f"jw00101{number:03d}001_{count:05d}_uncal.fits",
                "program": "101",
                "obs_num": str(number),
                "asn_candidate": f"[('o{number:03d}', 'observation'), ('c1000', 'mosaic')]"
                if number < 3
                else f"[('o{number:03d}', 'observation')]",
                "pntgtype": "science",
                "exp_type": "mir_image",
                "instrume": "miri",
                "detector": "mirimage",
                "filter": colour,
                "pupil": "null",
                "targetid": "1",
                "subarray": "full",
            }
            for number, colour in observations
            for count in range(4)
        ],
        columns=COLUMNS,
        name="pool.csv",
    )


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.json")}


def full(pool, rules, folder, options=None):
    """What a run that knows of no other writes."""
    folder.mkdir()
    write_associations(associate(pool, rules, options), folder, pattern=PATTERN)
    return contents(folder)


def update(pool, folder, **more):
    """As a process does that starts anew."""
    return update_associations(pool, read_rules(HOME), folder, pattern=PATTERN, **more)


OLD = [(1, "f560w"), (2, "f560w"), (3, "f770w")]
CHANGES = {
    "an observation came": [*OLD, (4, "f560w")],
    "one came before": [(4, "f560w"), *OLD],
    "one went": OLD[1:],
    "one changed its filter": [*OLD[:2], (3, "f560w")],
    "others are in another order": OLD[::-1],
    "nothing changed": OLD,
}


@pytest.mark.parametrize("new", CHANGES.values(), ids=CHANGES.keys())
def test_an_update_makes_the_files_of_a_full_run(tmp_path, rules, new):
    made = tmp_path / "made"
    made.mkdir()
    update(night(*OLD), made)

    done = update(night(*new), made)

    expected = full(night(*new), rules, tmp_path / "full")
    for name in done.gone:
        (made / name).unlink()
    assert contents(made) == expected
    assert done.associations == associate(night(*new), rules)


def test_only_candidates_whose_rows_changed_are_worked_on(tmp_path):
    update(night(*OLD), tmp_path)

    done = update(night(*OLD[:2], (3, "f560w"), (4, "f560w")), tmp_path)

    assert [name for name, _ in done.recomputed] == ["o003", "o004"]


def test_files_that_say_the_same_are_not_touched(tmp_path):
    update(night(*OLD), tmp_path)
    for path in tmp_path.glob("*.json"):
        os.utime(path, (1, 1))

    done = update(night(*OLD, (4, "f1000w")), tmp_path)

    touched = {p.name for p in tmp_path.glob("*.json") if p.stat().st_mtime != 1}
    assert done.written.unchanged == len(done.written.paths) - len(touched)
    assert all("o004" in name for name in touched)
    assert touched


def test_files_no_longer_made_are_told_each_time_and_stay(tmp_path):
    update(night(*OLD), tmp_path)

    for _ in range(2):
        done = update(night(*OLD[:2]), tmp_path)
        assert done.gone
        assert all("o003" in name for name in done.gone)
        assert all((tmp_path / name).is_file() for name in done.gone)

    for name in done.gone:
        (tmp_path / name).unlink()
    assert update(night(*OLD[:2]), tmp_path).gone == []


def test_a_file_that_was_lost_or_changed_comes_back(tmp_path, rules):
    made = tmp_path / "made"
    made.mkdir()
    update(night(*OLD), made)
    first, second, *_ = sorted(made.glob("*.json"))
    first.unlink()
    second.write_text("{}")

    done = update(night(*OLD), made)

    assert done.recomputed == []
    assert contents(made) == full(night(*OLD), rules, tmp_path / "full")


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"lightmill associations\n{}", None])
def test_a_damaged_memory_is_told_and_all_is_made_anew(tmp_path, damage):
    update(night(*OLD), tmp_path)
    memory = tmp_path / MEMORY
    memory.write_bytes(memory.read_bytes()[:-5] if damage is None else damage)

    done = update(night(*OLD), tmp_path)

    assert MEMORY in done.anew
    assert len(done.recomputed) == 4
    assert update(night(*OLD), tmp_path).anew == ""


def test_other_options_make_all_anew(tmp_path, rules):
    made = tmp_path / "made"
    made.mkdir()
    update(night(*OLD), made)

    done = update(night(*OLD), made, options=Options(ids=("o001",)))

    assert "options" in done.anew
    expected = full(night(*OLD), rules, tmp_path / "full", Options(ids=("o001",)))
    assert expected.keys() == {path.name for path in done.written.paths}
    assert set(done.gone) == contents(made).keys() - expected.keys()


def test_a_dry_run_writes_nothing(tmp_path, rules):
    done = update(night(*OLD), tmp_path, dry_run=True)

    assert done.associations == associate(night(*OLD), rules)
    assert list(tmp_path.iterdir()) == []


def test_one_pass_for_all_candidates_cannot_be_updated(tmp_path):
    with pytest.raises(LightmillError):
        update(night(*OLD), tmp_path, options=Options(per_pool=True))


KILLED = """
    import os, pathlib, signal, sys
    from lightmill import models
    from lightmill.association import output
    from tests.unit.association.test_updating import night, update, OLD

    left, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])

    def or_die(function):
        def counted(*arguments, **more):
            global left
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return function(*arguments, **more)
        return counted

    pathlib.Path.replace = or_die(pathlib.Path.replace)
    pathlib.Path.write_bytes = or_die(pathlib.Path.write_bytes)
    update(night(*OLD[1:], (4, "f560w")), folder)
    print(left)
"""


def test_an_update_killed_anywhere_is_completed_by_the_next(tmp_path, rules):
    before = full(night(*OLD), rules, tmp_path / "before")
    after = full(night(*OLD[1:], (4, "f560w")), rules, tmp_path / "after")
    last = full(night(*OLD), rules, tmp_path / "last")
    root = Path(__file__).parents[3]
    source = Path(lightmill.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{root}"}

    killed = 0
    for steps in (0, 1, 5, 10, 12, 13, 14, 15, 16, 18, 20, 40):
        folder = tmp_path / f"killed-{steps}"
        folder.mkdir()
        update(night(*OLD), folder)
        command = [sys.executable, "-c", textwrap.dedent(KILLED), str(steps), str(folder)]
        status = subprocess.run(command, env=environment, capture_output=True, check=False)
        killed += status.returncode == -signal.SIGKILL

        # each file is as before or as after
        now = contents(folder)
        assert all(now[name] in (before.get(name), after.get(name)) for name in now)
        assert now.keys() >= before.keys()

        # going back to the first pool, all that was ever written is known
        done = update(night(*OLD), folder)
        assert {path.name for path in done.written.paths} == last.keys()
        assert set(done.gone) == contents(folder).keys() - last.keys()
        assert {name: contents(folder)[name] for name in last} == last
        assert not list(folder.glob(".*.part"))
    assert killed >= 5


def test_the_command_tells_what_it_did(tmp_path, capsys):
    from lightmill.association.pool import write_pool

    def run(pool):
        write_pool(pool, tmp_path / "pool.csv")
        with pytest.raises(SystemExit) as left:
            main(["asn", "generate", str(tmp_path / "pool.csv"), "--update", "-p", str(tmp_path)])
        assert not left.value.code
        return capsys.readouterr()

    assert "candidates worked on: 4; files: " in run(night(*OLD)).out
    told = run(night(*OLD[:2]))

    assert "candidates worked on: 0; files: 0 written" in told.out
    assert "no longer made" in told.out
    assert "no longer made, delete it" in told.err
    assert updating.MEMORY in {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("words", [["--per-pool-algorithm"], ["--version-id"]])
def test_options_that_leave_nothing_to_update_are_refused(tmp_path, words):
    with pytest.raises(SystemExit) as left:
        main(["asn", "generate", str(tmp_path / "pool.csv"), "--update", *words])

    assert left.value.code == 2
