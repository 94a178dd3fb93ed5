"""The YAML form of rules: the same rules, read by people."""

import contextlib
import json
import os
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lightmill.errors import ConfigurationError
from lightmill.reference.convert import converted
from lightmill.reference.diff import difference
from lightmill.reference.errors import RulesFormatError
from lightmill.reference.lint import lint
from lightmill.reference.rules.text import MappingText, Node, checksum_of, parse_mapping
from lightmill.reference.yaml_rules import read_rules, write_rules
from lightmill.reference.yaml_rules.schema import schema
from lightmill.reference.yaml_rules.vocabulary import KINDS

DARK = """
type: dark
observatory: TMT
instrument: IRIS
match: [instrument.detector, exposure.readpatt]
select: use_after
entries:
  - {match: [IRIS1, CDS], from: 2026-01-10, file: tmt_iris_dark_0003.asdf}
  - {match: [IRIS1, MCDS], from: 2026-01-10T08:30:00Z, file: tmt_iris_dark_0004.asdf}
  - {match: [IRIS1, CDS], from: 2027-01-01, file: tmt_iris_dark_0005.asdf}
"""


@pytest.fixture(scope="module")
def mappings(root):
    cases = os.environ.get("LIGHTMILL_CASES", root.parent / "shared" / "cases")
    folder = Path(cases) / "references" / "mappings"
    if not folder.is_dir():
        pytest.skip(f"NO MAPPINGS at {folder}: set LIGHTMILL_CASES")
    return folder


def exact(value):
    """A tree in which 1, 1.0 and '1' differ, and line numbers do not count."""
    if isinstance(value, Node):
        return (value.kind, [(repr(key), exact(one)) for key, one, _ in value.items])
    if isinstance(value, dict):
        return [(repr(key), repr(one)) for key, one in value.items() if key != "sha1sum"]
    return repr(value)


def same(one, other):
    return (exact(one.header), exact(one.selector), one.comment) == (
        exact(other.header),
        exact(other.selector),
        other.comment,
    )


def test_rules_read_like_sentences_mean_what_mapping_files_mean():
    rules = read_rules(DARK, "dark.yaml")

    assert rules.header["parkey"] == (
        ("META.INSTRUMENT.DETECTOR", "META.EXPOSURE.READPATT"),
        ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME"),
    )
    assert rules.header["mapping"] == "REFERENCE"
    rows = rules.selector.items
    assert [key for key, _, _ in rows] == [("IRIS1", "CDS"), ("IRIS1", "MCDS")]
    dates = [(key, file) for key, file, _ in rows[0][1].items]
    assert dates == [
        ("2026-01-10 00:00:00", "tmt_iris_dark_0003.asdf"),
        ("2027-01-01 00:00:00", "tmt_iris_dark_0005.asdf"),
    ]
    assert rows[1][1].items[0][0] == "2026-01-10 08:30:00"


def test_rows_know_their_lines():
    rules = read_rules(DARK, "dark.yaml")
    assert [line for _, _, line in rules.selector.items] == [8, 9]
    assert [line for _, _, line in rules.selector.items[0][1].items] == [8, 10]


def test_fields_of_a_row_can_be_named_and_the_others_do_not_matter():
    text = DARK.replace("[IRIS1, MCDS]", "{exposure.readpatt: MCDS}")
    rules = read_rules(text, "dark.yaml")
    assert rules.selector.items[1][0] == ("N/A", "MCDS")


def test_unquoted_words_are_text_whatever_yaml_thinks_of_them():
    text = "match: [A]\nentries:\n" + "".join(
        f"  - {{match: [{word}], file: x.fits}}\n"
        for word in ("no", "on", "007", "5.20", "1.0", "12")
    )
    rules = read_rules(text, "x.yaml")
    keys = [key[0] for key, _, _ in rules.selector.items]
    assert keys == ["no", "on", "007", "5.20", 1.0, 12]
    assert [type(key) for key in keys] == [str, str, str, str, float, int]


def test_every_mapping_file_comes_back_the_same(mappings):
    compared = 0
    for path in sorted(mappings.glob("*/*map")):
        try:
            mapping = parse_mapping(path.read_text("utf-8"), path.name)
        except RulesFormatError:
            continue
        text = write_rules(mapping)
        again = read_rules(text, path.name + ".yaml")
        assert same(mapping, again), path.name
        compared += 1
    assert compared >= 240


def test_the_schema_accepts_what_is_written(mappings):
    check = jsonschema.Draft202012Validator(schema())
    for path in sorted(mappings.glob("*/*map"))[::7]:
        try:
            text = write_rules(parse_mapping(path.read_text("utf-8"), path.name))
        except RulesFormatError:
            continue
        if "!exact" in text or "!list" in text or path.stat().st_size > 20000:
            continue
        plain = json.loads(json.dumps(yaml.safe_load(text), default=str))
        assert not [error.message for error in check.iter_errors(plain)], path.name


# Words that YAML, dates, numbers, fields and expressions might each read as something else.
WORDS = st.sampled_from(
    [
        "A|B",
        "*",
        "N/A",
        "ANY",
        "1",
        "1.0",
        "007",
        "5.20",
        "1e3",
        "-999",
        ".inf",
        "true",
        "no",
        "null",
        "~",
        "{x}",
        "(a.*)",
        "#>1#",
        ">1",
        "<=3",
        "not|X",
        "!x",
        "&a",
        "*b",
        "|",
        ">",
        "a,b",
        "[x]",
        "x:y",
        "-a",
        "2004-07-02T08:09:00",
        "2004-07-02",
        "é",
        "\\",
        "'",
        '"',
        "%",
        "@",
        "`",
        "=",
        "<<",
        "-",
        "?",
        ":",
    ]
) | st.sampled_from(["between 1 5", "a: b", "x #y", " lead", "trail ", "", "two  spaces", "not X"])
TEXTS = WORDS | st.text(max_size=12)
NUMBERS = st.integers(-(10**12), 10**12) | st.floats(allow_nan=False)
ATOMS = TEXTS | NUMBERS | st.booleans() | st.none()
KEYS = ATOMS | st.lists(TEXTS | NUMBERS, max_size=3).map(tuple)
DATES = st.datetimes().map(lambda one: one.strftime("%Y-%m-%d %H:%M:%S")) | TEXTS
ANSWERS = TEXTS | st.lists(TEXTS, max_size=3).map(tuple) | st.dictionaries(TEXTS, TEXTS, max_size=2)


def nodes(depth):
    values = ANSWERS if depth == 0 else ANSWERS | nodes(depth - 1)

    def of(kind):
        keys = DATES if kind in {"UseAfter", "ClosestTime"} else KEYS
        return st.builds(
            Node,
            st.just(kind),
            st.lists(st.tuples(keys, values, st.just(0)), max_size=4),
        )

    return st.sampled_from([kind.selector for kind in KINDS]).flatmap(of)


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,10}", fullmatch=True)
VALUES = ATOMS | st.lists(ATOMS, max_size=2) | st.dictionaries(NAMES, ATOMS, max_size=2)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "parkey": st.lists(st.lists(NAMES | TEXTS, max_size=3).map(tuple), max_size=3).map(tuple)
        | VALUES,
        "mapping": st.sampled_from(["REFERENCE", "reference", "PIPELINE"]) | ATOMS,
        "filekind": TEXTS,
        "classes": st.just(("Match", "UseAfter")) | VALUES,
        "rmap_relevance": st.sampled_from(
            ["ALWAYS", "never", "(A == 'x')", "(A) and (B)", "(META.A.B in ('META.X.Y',))", "A"]
        )
        | VALUES,
        "parkey_relevance": st.dictionaries(NAMES | TEXTS, TEXTS | ATOMS, max_size=2) | VALUES,
        "substitutions": st.dictionaries(
            NAMES, st.dictionaries(TEXTS, TEXTS, max_size=2), max_size=2
        )
        | VALUES,
        "extra_keys": st.lists(NAMES, max_size=2).map(tuple) | VALUES,
        "reffile_required": st.sampled_from(["YES", "NO", "NONE", "yes"]) | VALUES,
        "anything": VALUES,
    },
)


@given(HEADERS, nodes(2), st.none() | st.text(max_size=40))
def test_any_rules_come_back_the_same(header, selector, comment):
    mapping = MappingText("x.rmap", header, selector, comment)
    text = write_rules(mapping)
    assert same(mapping, read_rules(text, "x.yaml")), text


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("match: [A]\nentries:\n  - {match: [*], file: x}\n", 3, "quotes"),
        ("match: [A]\nentries: [\n", 3, "YAML"),
        ("match: [A]\nmatch: [B]\nentries: []\n", 2, "twice"),
        ("mtach: [A]\nentries: []\n", 1, "match"),
        ("match: [A]\nentries:\n  - {match: [x], fiel: y}\n", 3, "file"),
        ("match: [A]\nentries:\n  - {match: [x], from: 2020-01-01, file: y}\n", 3, "use_after"),
        ("match: [A]\nentries:\n  - {match: [x]}\n", 3, "file"),
        ("match: [A]\nselect: use_before\nentries: []\n", 2, "use_after"),
        ("match: [A]\nentries:\n  - {match: !!python/name:os.system x, file: y}\n", 3, "tag"),
        ("match: &a [A]\nentries: []\n", 1, "anchors"),
        ("entries: []\n", 1, "match"),
        ("match: [A]\n", 1, "table"),
        ("- a\n", 1, "mapping"),
        ("match: [A]\nentries: " + "[" * 50 + "]" * 50, 2, "deeply"),
        ("match: [A]\nentries:\n  - {match: {b: x}, file: y}\n", 3, "A"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text, line, word):
    with pytest.raises(RulesFormatError) as caught:
        read_rules(text, "x.yaml")
    assert str(caught.value.place) == f"x.yaml:{line}"
    assert word in str(caught.value)


@given(st.text(alphabet="match:[]{}-, \n'\"*&!|>#AB1.", max_size=80))
def test_no_text_does_worse_than_be_refused(text):
    with contextlib.suppress(ConfigurationError):
        read_rules(text, "x.yaml")


def test_files_are_converted_there_and_back(tmp_path):
    source = tmp_path / "dark.yaml"
    source.write_text(DARK)
    text = converted(source, "tmt_iris_dark_0001.rmap")
    mapping = parse_mapping(text, "tmt_iris_dark_0001.rmap")

    assert mapping.header["name"] == "tmt_iris_dark_0001.rmap"
    assert mapping.header["sha1sum"] == checksum_of(text)
    (tmp_path / "tmt_iris_dark_0001.rmap").write_text(text)
    again = read_rules(converted(tmp_path / "tmt_iris_dark_0001.rmap"), "again.yaml")
    assert same(mapping, again)


@given(HEADERS, nodes(2), nodes(2))
def test_any_rules_can_be_looked_at_and_compared(header, one, other):
    old, new = (
        MappingText(f"{name}.rmap", header, node) for name, node in (("a", one), ("b", other))
    )
    for finding in lint(old, "a.rmap"):
        assert finding.fact
    for change in difference(old, new, None, None):
        assert change.sentence
    assert not list(difference(old, old, None, None))
