"""Rules choose as a slow, readable reading of them does, one by one and in bulk."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from lightmill.errors import LightmillError
from lightmill.reference.rules import condition, load
from lightmill.reference.rules.nodes import MappingText, Node
from lightmill.reference.rules.reading import read
from lightmill.reference.rules.text import format_mapping, parse_mapping

VALUES = ["A", "B", "C", "1.0", "2.0", "7.5", "T"]
PATTERNS = [*VALUES, "N/A", "*", "A|B", "B|C|1.0", "BETWEEN 1 5", "NOT A", "NOT B|C", "#>1.5#"]
DATES = ["2000-01-01 00:00:00", "2004-02-29 12:00:00", "2010-06-30 00:00:01", "2020-12-31 23:59:59"]
HEADER = {
    "derived_from": "chance", "filekind": "DARK", "instrument": "CAM", "mapping": "REFERENCE",
    "name": "x.rmap", "observatory": "OBS", "parkey": (("P", "Q"), ("DATE-OBS", "TIME-OBS")),
}  # fmt: skip

tables = st.dictionaries(st.sampled_from(DATES), st.sampled_from(["a", "b", "c", "d"]), min_size=1)
rows = st.dictionaries(
    st.tuples(st.sampled_from(PATTERNS), st.sampled_from(PATTERNS)), tables, min_size=1, max_size=6
)
asked = st.fixed_dictionaries(
    {
        "P": st.sampled_from([*VALUES, "N/A", "*", "UNDEFINED", "Z", "1", "true"]),
        "Q": st.sampled_from([*VALUES, "N/A", "Z", 2]),
        "DATE-OBS": st.sampled_from(
            ["1999-01-01", "2004-02-29", "2010/06/30", "2021-01-01", "junk"]
        ),
        "TIME-OBS": st.sampled_from(["00:00:00", "12:00", "23:59:59.5"]),
    }
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
plain = st.one_of(
    texts, st.integers(-(10**12), 10**12), st.booleans(), st.none(), st.floats(allow_nan=False)
)
values = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(texts, inner, max_size=3),
    ),
    max_leaves=8,
)


class One:
    def __init__(self, text: str) -> None:
        self.text = text

    def read_mapping(self, name: str) -> tuple[str, str]:
        return self.text, name


def mapping(table, header=HEADER):
    items = [
        (key, Node("UseAfter", [(date, f"{number}{name}", 0) for date, name in dates.items()]), 0)
        for number, (key, dates) in enumerate(table.items())
    ]
    return format_mapping(MappingText("x", header, Node("Match", items)))


def loaded(table):
    return load("x.rmap", One(mapping(table)))


# ------------------------------------------------------------------ the readable twin


def weight(pattern: str, value: str) -> int | None:
    """Return what a pattern counts for a value, None where it does not fit: the whole rule book."""
    if pattern.startswith("NOT "):
        inner = weight(pattern[4:], value)
        return {None: 1, 0: 0, 1: None}[inner]
    if "N/A" in {value, pattern}:
        return 0
    if "*" in {value, pattern}:
        return 1
    if pattern.startswith(("BETWEEN", "#")):
        try:
            size = float(value)
        except ValueError:
            return None
        fits = 1 <= size < 5 if pattern.startswith("BETWEEN") else size > 1.5
        return 1 if fits else None
    return 1 if value in pattern.split("|") else None


def twin(table, header) -> str:
    """Return the file that rules name, or the kind of error."""
    said = [condition(header["P"]), condition(header["Q"])]
    for number, value in enumerate(said):
        column = [key[number] for key in table]
        free = any(one in {"N/A", "*"} or one.startswith(("BETWEEN", "NOT", "#")) for one in column)
        known = {part for one in column for part in one.split("|")} | {"N/A", "*"}
        if not free and value not in known:
            return "validation"
    fitting: dict[int, list[dict[str, str]]] = {}
    for number, (key, dates) in enumerate(table.items()):
        weights = [weight(one, value) for one, value in zip(key, said, strict=True)]
        if None not in weights:
            named = {date: f"{number}{name}" for date, name in dates.items()}
            fitting.setdefault(sum(weights), []).append(named)
    if not fitting:
        return "lookup"
    moment = _moment(header)
    if moment is None:
        return "validation"
    for one in sorted(fitting, reverse=True):
        joined: dict[str, str] = {}
        for dates in fitting[one]:
            for date, name in dates.items():
                joined[date] = max(name, joined.get(date, ""))
        early = [date for date in joined if date <= moment]
        if early:
            return joined[max(early)]
    return "lookup"


def _moment(header) -> str | None:
    day = header["DATE-OBS"].replace("/", "-")
    time = "12:00:00" if header["TIME-OBS"] == "12:00" else header["TIME-OBS"]
    return None if day == "junk" else f"{day} {time}"


def chosen(rules, header) -> str:
    try:
        return rules.select(header)
    except LightmillError as error:
        return error.kind


# ------------------------------------------------------------------------- properties


@settings(max_examples=300)
@given(rows, st.lists(asked, min_size=1, max_size=8))
def test_a_selection_equals_its_readable_twin(table, headers):
    rules = loaded(table)
    for header in headers:
        assert chosen(rules, header) == twin(table, header)


@given(rows, st.lists(asked, min_size=1, max_size=20))
def test_many_at_once_equal_one_by_one(table, headers):
    instrument = {"mapping": "INSTRUMENT", "parkey": ("REFTYPE",)}
    text = format_mapping(MappingText("x", {**HEADER, **instrument}, {"DARK": "x.rmap"}))
    sources = {"x.imap": text, "x.rmap": mapping(table)}
    source = type("Two", (), {"read_mapping": lambda _, name: (sources[name], name)})()
    many = load("x.imap", source).select_many(headers)["dark"]
    rules = loaded(table)
    assert [one if isinstance(one, str) else one.kind for one in many] == [
        chosen(rules, header) for header in headers
    ]


@given(rows, asked)
def test_an_explanation_tells_the_same_answer(table, header):
    rules = loaded(table)
    found = rules.explain(header)
    assert (found.answer or found.error["kind"]) == chosen(rules, header)
    assert found.text()
    if found.answer:
        line = rules.selector.place and found.line
        assert found.answer in mapping(table).splitlines()[line - 1]


@given(st.dictionaries(texts, values, max_size=4), st.one_of(st.none(), texts))
def test_every_header_and_comment_is_read_as_it_was_written(header, comment):
    header.pop("sha1sum", None)
    written = format_mapping(MappingText("x", header, {"a": "b"}, comment))
    read_back = parse_mapping(written, "x")
    read_back.header.pop("sha1sum")
    assert read_back.header == header
    assert str(read_back.header) == str(header)  # the kinds of numbers, too
    assert read_back.comment == comment


@given(
    rows, st.integers(0, 400), st.sampled_from(["", " ", "'", ",", "#", "\n", "A", "\\", "(", "}"])
)
def test_the_short_cut_reads_what_the_parser_reads(table, place, piece):
    text = mapping(table)
    text = text[:place] + piece + text[place:]
    refused = _refusal(parse_mapping, text)
    if refused is not None:
        assert _refusal(read, text) == refused
        return
    parsed = parse_mapping(text, "x")
    header, found = read(text, "x")
    assert header == parsed.header
    if isinstance(found, list):
        keys = [tuple(map(_text, key)) for key, _, _ in parsed.selector.items]
        assert [key for key, _, _ in found] == keys
        assert [line for _, _, line in found] == [line for _, _, line in parsed.selector.items]


def _refusal(reader, text: str) -> tuple[type, str] | None:
    try:
        reader(text, "x")
    except LightmillError as error:
        return type(error), str(error)
    return None


def _text(element) -> str:
    return element if isinstance(element, str) else repr(element)


@given(st.floats(allow_nan=False) | st.integers(-(10**9), 10**9))
def test_a_spelling_is_its_own_spelling(number):
    spelled = condition(number)
    assert condition(spelled) == spelled or math.isinf(number)
