"""Only data that would really get another reference are affected."""

import json

import pytest
from click.testing import CliRunner

from lightmill.cli.refs import refs
from lightmill.reference.affected import affected, changed_types
from lightmill.reference.rules.mapping import FolderSource, load
from lightmill.testing.contexts import small_context

OLD = {
    "dark": {"SMALL": [("2029-01-01 00:00:00", "d1.fits")]},
    "gain": {"N/A": [("2000-01-01 00:00:00", "g.fits")]},
}
NEW = {
    "dark": {
        "SMALL": [("2029-01-01 00:00:00", "d1.fits"), ("2030-01-01 00:00:00", "d2.fits")],
        "LARGE": [("2029-01-01 00:00:00", "d3.fits")],
    },
    "gain": {"N/A": [("2000-01-01 00:00:00", "g.fits")]},
}


def header(detector, date):
    return {
        "META.INSTRUMENT.NAME": "GLOWCAM",
        "META.INSTRUMENT.DETECTOR": detector,
        "META.OBSERVATION.DATE": date,
        "META.OBSERVATION.TIME": "00:00:00",
    }


HEADERS = {
    "early": header("SMALL", "2029-06-01"),
    "late": header("SMALL", "2030-06-01"),
    "large": header("LARGE", "2030-06-01"),
    "before": header("SMALL", "2001-01-01"),
}


@pytest.fixture
def folder(tmp_path):
    for number, references in ((1, OLD), (2, NEW)):
        for name, content in small_context(references=references, number=number).items():
            (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def contexts(folder):
    return [load(f"lantern_{number:04}.pmap", FolderSource(folder)) for number in (1, 2)]


def test_only_real_changes_are_told_with_their_rows(contexts):
    found = affected(*contexts, HEADERS, instrument_of=dict.fromkeys(HEADERS, "GLOWCAM"))

    assert [(one.data, one.reftype, one.new) for one in found] == [
        ("late", "dark", "d2.fits"),
        ("large", "dark", "d3.fits"),
    ]
    assert found[0].old == "d1.fits"
    assert found[1].old.startswith("error: ")
    assert "2030-01-01" in found[0].why
    assert found[0].why.startswith("another row: ")


def test_rules_that_are_the_same_are_not_asked(contexts):
    assert changed_types(contexts[0], contexts[0], "glowcam") == []


def test_the_command_leaves_with_one_if_anything_is_affected(folder):
    lines = "\n".join(json.dumps({"id": name, **one}) for name, one in HEADERS.items())
    headers = folder / "headers.jsonl"
    headers.write_text(lines)
    old, new = (str(folder / f"lantern_{number:04}.pmap") for number in (1, 2))
    base = ["affected", old, new, "--headers", str(headers)]

    told = CliRunner().invoke(refs, [*base, "--json"], standalone_mode=False)
    names = CliRunner().invoke(refs, [*base, "--list"], standalone_mode=False)
    none = CliRunner().invoke(
        refs, ["affected", old, old, "--headers", str(headers)], standalone_mode=False
    )

    assert (told.return_value, names.return_value, none.return_value) == (1, 1, 0)
    facts = json.loads(told.output)
    assert facts["looked_at"] == 4
    assert names.output.split() == ["late", "large"]
