"""What changes from some rules to others."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from lightmill.cli.refs import refs
from lightmill.reference.diff import differences, file_matches


@pytest.fixture(scope="module")
def cases(root):
    folder = (
        Path(os.environ.get("LIGHTMILL_CASES", root.parent / "shared" / "cases")) / "references"
    )
    if not (folder / "cases.json").is_file():
        pytest.skip(f"NO CASES at {folder}: set LIGHTMILL_CASES")
    return folder


def with_operation(cases, operation):
    known = json.loads((cases / "cases.json").read_text())
    known = known if isinstance(known, list) else known["cases"]
    return [case for case in known if case["op"] == operation]


def as_lists(value):
    return [as_lists(one) for one in value] if isinstance(value, (tuple, list)) else value


def test_differences_are_the_known_ones(cases):
    compared = with_operation(cases, "diff")
    for case in compared:
        old, new = (cases / "mappings" / case[key] for key in ("mapping", "header"))
        found = [one.as_tuple() for one in differences(old, new)]
        assert as_lists(found) == case["expected"], case["id"]
    assert len(compared) == 8


def test_the_rows_of_a_file_are_the_known_ones(cases):
    compared = with_operation(cases, "file_matches")
    for case in compared:
        found = file_matches(cases / "mappings" / case["mapping"], case["header"])
        assert as_lists(found) == case["expected"], case["id"]
    assert len(compared) == 6


YAML = """
type: flat
observatory: TMT
instrument: IRIS
match: [instrument.detector, instrument.filter]
entries:
  - {match: [IRIS1, K], file: flat_k.fits}
  - {match: [IRIS1, J], file: flat_j.fits}
"""


def written(folder, name, text):
    path = folder / name
    path.write_text(text)
    return str(path)


def test_rules_in_yaml_are_compared_too(tmp_path):
    old = written(tmp_path, "old.yaml", YAML)
    new = written(
        tmp_path,
        "new.yaml",
        YAML.replace("flat_j", "flat_j2") + "  - {match: [IRIS1, H], file: h.fits}\n",
    )

    found = [one.sentence for one in differences(old, new)]

    assert found == ["replaced 'flat_j.fits' with 'flat_j2.fits'", "added Match rule for 'h.fits'"]


def test_the_command_leaves_with_one_if_anything_changes(tmp_path):
    old = written(tmp_path, "old.yaml", YAML)
    new = written(tmp_path, "new.yaml", YAML.replace("flat_j", "flat_j2"))

    same = CliRunner().invoke(refs, ["diff", old, old], standalone_mode=False)
    other = CliRunner().invoke(refs, ["diff", old, new, "--json"], standalone_mode=False)
    files = CliRunner().invoke(refs, ["diff", old, new, "--files"], standalone_mode=False)

    assert (same.return_value, same.output) == (0, "the rules are the same\n")
    assert other.return_value == 1
    facts = json.loads(other.output)
    assert facts["files"] == {"old": ["flat_j.fits"], "new": ["flat_j2.fits"]}
    assert files.output == "- flat_j.fits\n+ flat_j2.fits\n"


def test_convert_and_checksum_work_from_the_command_line(tmp_path):
    source = written(tmp_path, "flat.yaml", YAML)
    target = tmp_path / "tmt_iris_flat_0001.rmap"

    done = CliRunner().invoke(refs, ["convert", source, "-o", str(target)], standalone_mode=False)
    good = CliRunner().invoke(refs, ["checksum", str(target)], standalone_mode=False)
    target.write_text(target.read_text().replace("flat_k", "flat_x"))
    bad = CliRunner().invoke(refs, ["checksum", str(target)], standalone_mode=False)
    again = str(tmp_path / "again.rmap")
    CliRunner().invoke(refs, ["checksum", str(target), "--write", again], standalone_mode=False)
    mended = CliRunner().invoke(refs, ["checksum", again], standalone_mode=False)

    assert (done.return_value, good.return_value, bad.return_value, mended.return_value) == (
        0,
        0,
        3,
        0,
    )
    assert Path(again).read_text() != target.read_text()
