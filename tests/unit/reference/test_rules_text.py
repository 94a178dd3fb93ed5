"""The text of rules is read without running it, and written so that it reads the same."""

from __future__ import annotations

import os
import random

import pytest

from benchmarks.rules_fuzz import run
from lightmill.errors import LightmillError
from lightmill.reference.errors import RulesChecksumError, RulesFormatError, RulesMissingError
from lightmill.reference.rules import load
from lightmill.reference.rules.text import (
    Duplicate,
    MappingText,
    Node,
    checksum_of,
    format_mapping,
    parse_mapping,
    verify_checksum,
)

HEADER = {
    "derived_from": "by hand",
    "filekind": "DARK",
    "instrument": "CAM",
    "mapping": "REFERENCE",
    "name": "obs_cam_dark_0001.rmap",
    "observatory": "OBS",
    "parkey": (("DETECTOR", "GAIN"), ("DATE-OBS", "TIME-OBS")),
}
DATES = Node(
    "UseAfter", [("2001-01-01 00:00:00", "old.fits", 0), ("2020-01-01 00:00:00", "new.fits", 0)]
)
SELECTOR = Node("Match", [(("A", 1.0), DATES, 0), (("B|C", "N/A"), "any.fits", 0)])
PLAIN = "header = {}\nselector = {}\n"


class Texts:
    def __init__(self, *mappings: str) -> None:
        self.texts = {parse_mapping(text, "x").header["name"]: text for text in mappings}

    def read_mapping(self, name: str) -> tuple[str, str]:
        return self.texts[name], f"cache/{name}"


def text(selector=SELECTOR, **header) -> str:
    return format_mapping(MappingText("x", {**HEADER, **header}, selector))


def refused(source: str) -> RulesFormatError:
    with pytest.raises(RulesFormatError) as caught:
        parse_mapping(source, "some.rmap")
    return caught.value


def test_what_is_written_reads_the_same():
    read = parse_mapping(text(), "x")

    assert {key: value for key, value in read.header.items() if key != "sha1sum"} == HEADER
    assert read.selector.kind == "Match"
    assert [key for key, _, _ in read.selector.items] == [("A", 1.0), ("B|C", "N/A")]
    assert read.selector.items[0][1].items[1][:2] == ("2020-01-01 00:00:00", "new.fits")


def test_rows_know_their_lines():
    source = text()
    read = parse_mapping(source, "x")
    line = read.selector.items[1][2]
    assert source.splitlines()[line - 1].strip().startswith("('B|C', 'N/A')")


def test_a_written_text_has_a_fresh_checksum():
    source = text(sha1sum="0" * 40)
    assert verify_checksum(source, "x") == checksum_of(source)
    with pytest.raises(RulesChecksumError, match="not what their checksum says"):
        verify_checksum(source.replace("new.fits", "other.fits"), "x")


def test_nothing_is_answered_from_a_text_whose_checksum_is_wrong():
    source = text().replace("new.fits", "odd.fits")
    with pytest.raises(RulesChecksumError) as caught:
        load("obs_cam_dark_0001.rmap", Texts(source))
    assert caught.value.kind == "checksum"
    assert load("obs_cam_dark_0001.rmap", Texts(source), verify=False).files() == [
        "any.fits", "odd.fits", "old.fits",
    ]  # fmt: skip


def test_a_key_that_stands_twice_is_reported_and_the_last_counts():
    source = PLAIN.replace("{}", "{'a' : 1,\n 'b' : 2,\n 'a' : 3}", 1)
    read = parse_mapping(source, "x")
    assert read.header == {"a": 3, "b": 2}
    assert read.duplicates == (Duplicate("a", 3, 1),)


@pytest.mark.parametrize(
    "source",
    [
        "import os\n" + PLAIN,
        PLAIN + "other = {}\n",
        "header = {'a' : open('x')}\nselector = {}\n",
        "header = {'a' : 'x'.upper()}\nselector = {}\n",
        "header = {'a' : [x for x in 'ab']}\nselector = {}\n",
        "header = {'a' : lambda: 0}\nselector = {}\n",
        "header = {'a' : 'b'[0]}\nselector = {}\n",
        "header = {'a' : 1 + 1}\nselector = {}\n",
        "header = {'a' : f'x'}\nselector = {}\n",
        "header = {}\nselector = Matchy({})\n",
        "header = {}\nselector = Match({}, merge=True)\n",
        "header = {}\nselector = 'text'\n",
        "header = {'a' : 'b\n}\nselector = {}\n",
        "header = {'a' : 007}\nselector = {}\n",
        "header = {['a'] : 1}\nselector = {}\n",
        "header = {} selector = {}\n",
        "header = {}\n",
        "",
        "header = " + "{'a' : " * 5000 + "1" + "}" * 5000,
        "header = {'a' : " + "(" * 100_000,
        "header = {'a' : " + "9" * 10_000 + "}\nselector = {}\n",
    ],
)
def test_all_but_plain_tables_is_refused_with_line_and_column(source):
    error = refused(source)
    assert error.place.startswith("some.rmap:")
    assert error.line >= 1
    assert error.column >= 1
    assert error.kind == "format"


def test_an_error_names_line_column_what_was_found_and_what_was_expected():
    error = refused("header = {\n    'a' : 1\n    'b' : 2,\n}\nselector = {}\n")
    assert (error.line, error.column) == (3, 5)
    assert error.found == "'b'"
    assert "','" in error.expected


def test_a_comment_may_hold_anything():
    comment = 'quotes """ and \\ and \'\'\' \n# no comment "'
    written = format_mapping(MappingText("x", HEADER, SELECTOR, comment))
    assert parse_mapping(written, "x").comment == comment


@pytest.mark.parametrize(
    "missing", ["mapping", "name", "derived_from", "observatory", "parkey", "filekind"]
)
def test_a_header_without_what_is_needed_is_refused(missing):
    header = {key: value for key, value in HEADER.items() if key != missing}
    source = format_mapping(MappingText("x", header, SELECTOR))
    with pytest.raises(RulesFormatError, match=missing):
        load("x.rmap", type("One", (), {"read_mapping": lambda _, name: (source, name)})())


@pytest.mark.parametrize(
    ("selector", "fact"),
    [
        (Node("Match", [(("A",), "x", 7)]), "1 elements for 2 fields"),
        (Node("Match", [(("A", 1), "x", 7), (("a", "1.0"), "y", 8)]), "mean the same"),
        (Node("Match", [(("([a", 1), "x", 7)]), None),
        (Node("Match", [(("([a)", 1), "x", 7)]), "makes no sense"),
        (Node("Match", [(("((a+)+)", 1), "x", 7)]), "makes no sense"),
        (Node("Match", [(("between 5 1", 1), "x", 7)]), "makes no sense"),
        (Node("Match", [(("#>x#", 1), "x", 7)]), "makes no sense"),
        (
            Node("Match", [(("A", 1), Node("UseAfter", [("d", Node("UseAfter", []), 1)]), 7)]),
            "deeper",
        ),
        (Node("VersionAfter", [("x.y", "z", 7)]), "no version"),
        (Node("SelectVersion", [("about 5", "z", 7)]), "no relation"),
        (Node("Bracket", [("five", "z", 7)]), "is a number"),
        (Node("ClosestTime", [("today", "z", 7)]), "is a date"),
    ],
)
def test_rows_that_make_no_sense_are_refused_when_they_are_loaded(selector, fact):
    source = text(selector)
    if fact is None:
        load("obs_cam_dark_0001.rmap", Texts(source))
        return
    with pytest.raises(RulesFormatError, match=fact):
        load("obs_cam_dark_0001.rmap", Texts(source))


def test_mangled_rules_are_answered_from_or_refused_with_one_clear_error():
    texts = [
        ("a.rmap", text()),
        ("b.rmap", text(Node("Bracket", [(1.5, "x", 0)]), parkey=(("P",),))),
    ]
    seed = random.Random(1).randrange(10**6)
    _, defects, _ = run(texts, 300, seed, 5.0)
    assert not defects, "\n".join(defects[:3])


@pytest.mark.parametrize("name", ["x\x00.rmap", "\ud800", "\ud800.rmap", "", ".", "é" * 300])
@pytest.mark.parametrize("level", ["instrument", "pipeline"])
def test_a_table_that_names_what_no_file_is_called_fails_for_that_entry_only(tmp_path, level, name):
    suffix = {"instrument": ".imap", "pipeline": ".pmap"}[level]
    keys = ("REFTYPE",) if level == "instrument" else ("INSTRUME",)
    path = tmp_path / f"f{suffix}"
    header = {**HEADER, "mapping": level.upper(), "parkey": keys}
    table = {"cam": name, "dark": name}
    path.write_text(format_mapping(MappingText("x", header, table)))
    rules = load(path)

    with pytest.raises(LightmillError) as caught:
        rules.rules("cam")

    assert caught.value.place
    assert caught.value.story().encode("utf-8")
    if level == "instrument":
        answers = rules.best_references({})
        assert all(isinstance(one, LightmillError) for one in answers.values())


def test_only_regular_files_are_read_as_rules(tmp_path):
    pipe = tmp_path / "p.rmap"
    os.mkfifo(pipe)
    for path in ("/dev/zero", pipe, tmp_path):
        with pytest.raises(RulesMissingError, match="cannot be read"):
            load(path)


def test_a_file_too_large_to_be_rules_is_refused_before_it_is_parsed(tmp_path):
    path = tmp_path / "large.rmap"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(RulesMissingError) as caught:
        load(path)
    assert "64 MiB" in str(caught.value.found)
