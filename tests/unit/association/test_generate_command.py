"""The commands that make associations of a pool, and explain them."""

import json
from pathlib import Path

import pytest

import lightmill.testing
from lightmill.cli.main import main

RULES = Path(lightmill.testing.__file__).parent / "ground" / "associations.yaml"
NIGHT = """file|program|object|filter|binning|kind
n1.fits|p1|m31|r|1|object
n2.fits|p1|m31|r|1|object
n3.fits|p1|m33|r|1|object
"""


@pytest.fixture
def pool(tmp_path):
    path = tmp_path / "night.csv"
    path.write_text(NIGHT)
    return path


def run(*words):
    with pytest.raises(SystemExit) as left:
        main(["asn", *map(str, words)])
    return left.value.code or 0


def options():
    return ("-r", RULES, "--ignore-default")


def test_a_pool_becomes_files_and_the_rest_orphans(pool, tmp_path):
    assert run("generate", pool, "-p", tmp_path, "--save-orphans", *options()) == 0

    (made,) = tmp_path.glob("*.json")
    assert made.name == "p1-a3001_stack_00001_asn.json"
    assert [m["expname"] for m in json.loads(made.read_text())["products"][0]["members"]] == [
        "n1.fits",
        "n2.fits",
    ]
    assert "n3.fits" in (tmp_path / "orphaned.csv").read_text()


def test_a_dry_run_writes_nothing(pool, tmp_path):
    assert run("generate", pool, "-p", tmp_path, "--dry-run", *options()) == 0

    assert list(tmp_path.iterdir()) == [pool]


def test_options_that_exclude_each_other_are_a_usage_error(pool):
    assert run("generate", pool, "--discover", "--all-candidates", *options()) == 2


def test_a_candidate_the_pool_has_not_is_told(pool, capsys, tmp_path):
    assert run("generate", pool, "-i", "o009", "-p", tmp_path, *options()) == 0

    assert "no candidate 'o009'" in capsys.readouterr().err


def test_an_explanation_names_rule_role_and_reason(pool, capsys):
    assert run("explain", pool, "-x", "n1", "--json", *options()) == 0

    (told,) = json.loads(capsys.readouterr().out)
    stack = next(one for one in told["verdicts"] if one["rule"] == "DitheredImage")
    assert (stack["state"], stack["role"], stack["reason"]) == ("in", "science", "founded it")


def test_an_association_that_cannot_be_written_is_told_and_leaves_with_3(tmp_path, capsys):
    path = tmp_path / "night.csv"
    path.write_text(NIGHT.replace("|p1|", "|../../p1|"))

    assert run("generate", path, "-p", tmp_path, *options()) == 3

    assert "cannot be part of a file's name" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]
