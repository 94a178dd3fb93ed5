"""A selection tells how it came about, to people and to machines."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from lightmill.cli.main import app
from lightmill.reference.rules import load
from lightmill.reference.rules.text import MappingText, Node, format_mapping

DATES = Node(
    "UseAfter", [("2000-01-01 00:00:00", "old.fits", 0), ("2010-01-01 00:00:00", "new.fits", 0)]
)
LATE = Node("UseAfter", [("2030-01-01 00:00:00", "late.fits", 0)])
SELECTOR = Node(
    "Match", [(("A", "X"), LATE, 0), (("A", "N/A"), DATES, 0), (("B", "#>5#"), DATES, 0)]
)
HEADER = {
    "derived_from": "by hand", "filekind": "DARK", "instrument": "CAM", "mapping": "REFERENCE",
    "name": "obs_cam_dark_0001.rmap", "observatory": "OBS", "parkey": (("DET", "GAIN"), ("DATE-OBS", "TIME-OBS")),
}  # fmt: skip
EXPOSURE = {"DET": "A", "GAIN": "X", "DATE-OBS": "2015-01-01", "TIME-OBS": "00:00:00"}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "obs_cam_dark_0001.rmap"
    file.write_text(format_mapping(MappingText("x", HEADER, SELECTOR)))
    return file


@pytest.fixture
def rules(path):
    return load(path)


def test_it_names_the_row_its_line_weight_date_and_age(rules, path):
    found = rules.explain(EXPOSURE)

    assert found.answer == "new.fits"
    assert path.read_text().splitlines()[found.line - 1].strip().startswith("'2010-01-01")
    assert (found.weight, found.use_after) == (1, "2010-01-01 00:00:00")
    assert found.age_days == pytest.approx(1826.0)
    assert "(A, N/A)" in found.row


def test_it_tells_why_the_better_row_gave_nothing(rules):
    best = rules.explain(EXPOSURE).tried[0]
    assert best.key == ("A", "X")
    assert best.weight == 2
    assert "2030-01-01" in best.outcome


def test_it_tells_which_field_each_other_row_lost_by(rules):
    lost = [row for row in rules.explain(EXPOSURE).tried if row.weight is None]
    assert [str(one) for one in lost[0].mismatches] == [
        "DET is A, the row asks for B", "GAIN is X, the row asks for #>5#",
    ]  # fmt: skip


def test_where_nothing_fits_it_names_the_row_that_came_closest(rules):
    found = rules.explain({**EXPOSURE, "DET": "B", "GAIN": "4"})
    assert found.answer is None
    assert found.error["kind"] == "lookup"
    assert found.closest.key == ("B", "#>5#")
    assert [one.field for one in found.closest.mismatches] == ["GAIN"]
    assert "closest" in found.text()


def test_where_all_dates_are_too_late_it_says_so(rules):
    found = rules.explain({**EXPOSURE, "DATE-OBS": "1990-01-01"})
    assert found.answer is None
    assert "1990-01-01 00:00:00" in found.reason
    assert "2000-01-01 00:00:00" in found.reason


@pytest.mark.parametrize(
    "header",
    [{}, {**EXPOSURE, "DET": "Z"}, {**EXPOSURE, "DATE-OBS": "junk"}, {**EXPOSURE, "DET": "N/A"}],
)
def test_it_explains_every_header(rules, header):
    found = rules.explain(header)
    assert found.reason
    assert json.dumps(found.as_dict())
    assert found.text().startswith("dark: ")


def test_the_command_prints_one_answer_a_line(path, tmp_path):
    headers = tmp_path / "headers.jsonl"
    lines = [EXPOSURE, {**EXPOSURE, "DET": "Z"}, {**EXPOSURE, "DATE-OBS": "1990-01-01"}]
    headers.write_text("".join(json.dumps(one) + "\n" for one in lines))

    result = CliRunner().invoke(
        app, ["refs", "select", str(path), "--headers", str(headers), "--json"]
    )

    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert told[0] == {"answer": "new.fits"}
    assert [one.get("error") for one in told[1:]] == ["validation", "lookup"]
    assert "2000-01-01" in told[2]["message"]


def test_the_command_tells_machines_why_rules_cannot_be_used(path, tmp_path):
    path.write_text(path.read_text().replace("old.fits", "odd.fits"))
    headers = tmp_path / "headers.jsonl"
    headers.write_text(json.dumps(EXPOSURE) + "\n")
    arguments = ["refs", "select", str(path), "--headers", str(headers), "--json"]

    assert json.loads(CliRunner().invoke(app, arguments).stdout)["error"] == "checksum"
    assert json.loads(CliRunner().invoke(app, [*arguments, "--no-verify"]).stdout) == {
        "answer": "new.fits"
    }


def test_the_command_explains(path, tmp_path):
    headers = tmp_path / "headers.jsonl"
    headers.write_text(json.dumps(EXPOSURE) + "\n")
    result = CliRunner().invoke(
        app, ["refs", "select", str(path), "--headers", str(headers), "--explain"]
    )
    assert result.stdout.startswith("new.fits\ndark: new.fits\n")
    assert "rows that fit (2):" in result.stdout
    assert "5.0 years before the exposure" in result.stdout
