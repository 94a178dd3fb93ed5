"""Rules choose: patterns, weights, dates, conditions; each claim is a sentence of docs/reference/rules.md."""

from __future__ import annotations

import pytest

from lightmill.errors import LightmillError
from lightmill.reference.errors import (
    AmbiguousRulesError,
    DateFormatError,
    HeaderValueError,
    NoMatchError,
    RulesFormatError,
    UnknownInstrumentError,
)
from lightmill.reference.rules import condition, load, parse_date
from lightmill.reference.rules.text import MappingText, Node, format_mapping

HEADER = {
    "derived_from": "by hand",
    "filekind": "DARK",
    "instrument": "CAM",
    "name": "obs_cam_dark_0001.rmap",
    "observatory": "OBS",
}
DAY = {"DATE-OBS": "2015-06-01", "TIME-OBS": "12:00:00"}


class Texts:
    def __init__(self, **mappings: str) -> None:
        self.texts = {name.replace("_dot_", "."): text for name, text in mappings.items()}

    def read_mapping(self, name: str) -> tuple[str, str]:
        return self.texts[name], name


def written(level, selector, **header):
    return format_mapping(MappingText("x", {**HEADER, "mapping": level, **header}, selector))


def match(rows, *fields, **header):
    """Return rules of one Match: {key: answer or {date: file}}."""
    items = [
        (
            key,
            Node("UseAfter", [(d, f, 0) for d, f in one.items()]) if isinstance(one, dict) else one,
            0,
        )
        for key, one in rows.items()
    ]
    dated = any(isinstance(one, dict) for one in rows.values())
    parkey = (fields, ("DATE-OBS", "TIME-OBS")) if dated else (fields,)
    source = written("REFERENCE", Node("Match", items), parkey=parkey, **header)
    return load("x.rmap", Texts(x_dot_rmap=source))


def one_level(kind, rows, *fields):
    node = Node(kind, [(key, value, 0) for key, value in rows.items()])
    return load("x.rmap", Texts(x_dot_rmap=written("REFERENCE", node, parkey=(fields,))))


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        (" foo ", "FOO"), ("34", "34.0"), (1, "1.0"), (True, "T"), ("false", "F"), (None, "NONE"), ("any", "*"),
        ("n/a (none)", "N/A"), ("-2147483648", "N/A"), ("4294967295", "-1.0"), ("nan", "NAN"), ("1_0", "1_0"),
    ],
)  # fmt: skip
def test_values_are_compared_in_one_spelling(value, spelled):
    assert condition(value) == spelled


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2024-02-29T01:02:03", "2024-02-29 01:02:03"), ("2024-01-31", "2024-01-31 00:00:00"),
        ("12/21/1999 05:42", "1999-12-21 05:42:00"), ("21/12/99 05:42:00 PM", "1999-12-21 17:42:00"),
        ("July 27, 1999", "1999-07-27 00:00:00"), ("19970114:053714", "1997-01-14 05:37:14"),
        ("2008-10-15 08:44:44.5", "2008-10-15 08:44:44.500000"),
    ],
)  # fmt: skip
def test_dates_are_read_as_observatories_write_them(text, date):
    assert parse_date(text) == date


@pytest.mark.parametrize(
    "text", ["", "junk", "2023-02-29", "2024-01-01T00:00:00Z", "UNDEFINED", "1/1/24", "31/12/45"]
)
def test_what_is_no_date_is_refused(text):
    with pytest.raises(DateFormatError):
        parse_date(text)


def test_the_row_with_most_matching_elements_wins():
    rules = match({("A", "N/A"): "any", ("A", "X"): "exact", ("N/A", "N/A"): "last"}, "P", "Q")
    assert rules.select({"P": "A", "Q": "X"}) == "exact"
    assert rules.select({"P": "A", "Q": "Y"}) == "any"
    assert rules.select({"P": "Z", "Q": "Y"}) == "last"


def test_a_star_counts_and_not_applicable_does_not():
    rules = match({("A", "*"): "star", ("N/A", "X"): "plain", ("A", "N/A"): "weaker"}, "P", "Q")
    assert rules.select({"P": "A", "Q": "X"}) == "star"


@pytest.mark.parametrize(
    ("pattern", "fits", "fails"),
    [
        ("A|B", "b", "c"), ("F*2|G?", "FX2", "F3"), ("(^F[^13]$)", "F2", "F3"), ("{A|*}", "A|*", "A"),
        ("# >1 and <=20 #", "20", "1"), ("#>9 or <2#", "1", "5"), ("between 1 5", "1", "5"),
        ("not A|B", "C", "B"), ("not #>5#", "4", "6"),
    ],
)  # fmt: skip
def test_patterns(pattern, fits, fails):
    rules = match({(pattern, "1"): "hit", ("N/A", "N/A"): "miss"}, "P", "Q")
    assert rules.select({"P": fits, "Q": 1}) == "hit"
    assert rules.select({"P": fails, "Q": 1}) == "miss"


def test_a_value_no_row_names_is_an_error_that_lists_those_they_do():
    rules = match({("A", "1"): "x", ("B|C", "1"): "y"}, "P", "Q")
    with pytest.raises(HeaderValueError, match="P has a value") as caught:
        rules.select({"P": "D", "Q": "1"})
    assert (caught.value.found, caught.value.expected) == ("D", "A, B, C")
    assert caught.value.kind == "validation"


def test_of_the_dates_not_after_the_exposure_the_last_is_used():
    rules = match({("A",): {"2000-01-01 00:00:00": "old", "2015-06-01 12:00:00": "new"}}, "P")
    assert rules.select({"P": "A", **DAY}) == "new"
    assert rules.select({"P": "A", **DAY, "TIME-OBS": "11:59:59.999"}) == "old"


def test_rows_without_an_early_enough_date_leave_the_choice_to_less_specific_ones():
    rules = match(
        {
            ("A", "X"): {"2016-01-01 00:00:00": "exact"},
            ("A", "N/A"): {"2000-01-01 00:00:00": "any"},
        },
        "P",
        "Q",
    )
    assert rules.select({"P": "A", "Q": "X", **DAY}) == "any"


def test_when_all_dates_are_too_late_the_error_says_so():
    rules = match({("A",): {"2016-01-01 00:00:00": "late"}}, "P")
    with pytest.raises(NoMatchError, match="no reference is so old") as caught:
        rules.select({"P": "A", **DAY})
    assert "2016-01-01" in str(caught.value.expected)


def test_rows_that_fit_equally_well_act_as_one_list_of_dates():
    rules = match(
        {
            ("A|B",): {"2000-01-01 00:00:00": "m1", "2010-01-01 00:00:00": "m1_2010"},
            ("A|C",): {"2005-01-01 00:00:00": "m2", "2010-01-01 00:00:00": "m2_2010"},
        },
        "P",
    )
    assert rules.select({"P": "A", "DATE-OBS": "2006-01-01", "TIME-OBS": "0:00"}) == "m2"
    assert rules.select({"P": "A", **DAY}) == "m2_2010"  # of the same date the greater name


def test_rules_can_forbid_joining_rows():
    rows = {("A|B",): {"2000-01-01 00:00:00": "m1"}, ("A|C",): {"2005-01-01 00:00:00": "m2"}}
    with pytest.raises(AmbiguousRulesError, match="fit equally well") as caught:
        match(rows, "P", merge_overlaps=False).select({"P": "A", **DAY})
    assert "line" in str(caught.value.found)


def test_plain_answers_that_fit_equally_well_are_all_given():
    rules = match({("A|B",): "x.fits", ("A|C",): "y.fits"}, "P")
    assert rules.select({"P": "A"}) == ("x.fits", "y.fits")


def test_a_file_that_several_rows_give_is_repeated_among_others_and_alone_is_one_answer():
    rows = {("A|B",): "x.fits", ("A|C",): "y.fits", ("A|D",): "x.fits"}
    assert match(rows, "P").select({"P": "A"}) == ("x.fits", "y.fits", "x.fits")
    assert match({**rows, ("A|C",): "x.fits"}, "P").select({"P": "A"}) == "x.fits"


@pytest.mark.parametrize("pattern", ["(^F[^13]22$)", "(G(0|1|2)F?T)"])
def test_a_value_that_is_the_text_of_a_regular_expression_fits_it(pattern):
    assert match({(pattern,): "x.fits"}, "P").select({"P": pattern[1:-1]}) == "x.fits"


@pytest.mark.parametrize("time", ["24:00:00", "25:00:00", "12:30:60", "12:30:00", "12:00:00 PM"])
def test_a_packed_date_has_its_time_and_ignores_any_beside_it(time):
    assert parse_date(f"20031221:053714 {time}") == "2003-12-21 05:37:14"


@pytest.mark.parametrize("time", ["noon", "1", "-1:-1"])
def test_what_is_no_time_beside_a_packed_date_is_refused(time):
    with pytest.raises(DateFormatError):
        parse_date(f"20031221:053714 {time}")


@pytest.mark.parametrize("value", [" CAM", "CAM ", "\tcam"])
def test_spaces_around_the_name_of_an_instrument_do_not_count(context, value):
    assert context.instrument_of({"INSTRUME": value}) == "cam"


@pytest.mark.parametrize(
    ("leaf", "answer"), [("N/A", "N/A"), ("TEMP_N/A", "N/A"), ("omit", "OMIT"), (None, "OMIT")]
)
def test_special_answers_have_one_spelling(leaf, answer):
    assert match({("A",): leaf}, "P").select({"P": "A"}) == answer


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        ({"rmap_relevance": "(P != 'A')"}, "N/A"), ({"rmap_omit": "(P in ['A', 'B'])"}, "OMIT"),
        ({"rmap_relevance": "(NOWHERE == 'A')"}, "x"), ({"rmap_relevance": "NEVER"}, "N/A"),
        ({"rmap_relevance": "(P >= 'A' and not (P == 'B' or P == 'C'))"}, "x"),
    ],
)  # fmt: skip
def test_conditions_decide_before_rows_do(header, answer):
    assert match({("A",): "x"}, "P", **header).select({"P": "A"}) == answer


@pytest.mark.parametrize(
    "text",
    [
        "(P == open('x'))",
        "(P.upper())",
        "(P ==)",
        "(P == 'A' 'B')x",
        "(P not 'A')",
        "(" * 500 + "P" + ")" * 500,
    ],
)
def test_a_condition_that_is_more_than_comparisons_is_refused(text):
    with pytest.raises(RulesFormatError, match="rmap_relevance"):
        match({("A",): "x"}, "P", rmap_relevance=text)


def test_a_field_that_is_not_relevant_counts_for_nothing():
    rules = match(
        {("IR", "2.0"): "ir2", ("UVIS", "N/A"): "uvis"}, "DETECTOR", "GAIN",
        parkey_relevance={"gain": "(DETECTOR == 'IR')"},
    )  # fmt: skip
    assert rules.select({"DETECTOR": "UVIS", "GAIN": "17"}) == "uvis"
    with pytest.raises(HeaderValueError):
        match({("IR", "2.0"): "x"}, "DETECTOR", "GAIN").select({"DETECTOR": "IR", "GAIN": "17"})


def test_texts_of_keys_can_stand_for_several_values():
    rules = match(
        {("UVIS", "SINGLE"): "one", ("UVIS", "ABCD"): "four"}, "DETECTOR", "AMP",
        substitutions={"AMP": {"SINGLE": ["A", "B", "C", "D"]}},
    )  # fmt: skip
    assert rules.select({"DETECTOR": "UVIS", "AMP": "C"}) == "one"


def test_rules_that_require_no_reference_answer_not_applicable():
    rules = match({("A",): "x"}, "P", reffile_required="NO")
    assert rules.select({"P": "B"}) == "N/A"


def test_lower_case_names_of_fields_count_more():
    assert match({("A",): "a", ("B",): "b"}, "P").select({"p": "B", "P": "A"}) == "b"


@pytest.mark.parametrize(
    ("kind", "rows", "value", "answer"),
    [
        ("VersionAfter", {"1.2.3": "a", "1.10": "b"}, "1.9.0", "a"),
        ("VersionAfter", {"1.2.3": "a", "1.10": "b"}, "2.0.0.dev3", "b"),
        ("SelectVersion", {"<3.1": "a", "<5": "b", "default": "c"}, "3.1", "b"),
        ("SelectVersion", {"<3.1": "a", "<5": "b", "default": "c"}, "7", "c"),
        (
            "ClosestTime",
            {"2017-04-24 00:00:00": "a", "2018-02-01 00:00:00": "b"},
            "2017-09-12 12:00:01",
            "b",
        ),
        ("GeometricallyNearest", {1.2: "a", 1.5: "b"}, "1.36", "b"),
        ("Bracket", {1.0: "a", 2.0: "b"}, "1.5", ("a", "b")),
        ("Bracket", {1.0: "a", 2.0: "b"}, "2", ("b", "b")),
        ("Bracket", {1.0: "a", 2.0: "b"}, "9", ("b", "b")),
        ("Bracket", {1.0: "a", 2.0: "b"}, "0", ("a", "a")),
    ],
)
def test_other_selectors(kind, rows, value, answer):
    assert one_level(kind, rows, "KEY").select({"KEY": value}) == answer


@pytest.mark.parametrize("kind", ["GeometricallyNearest", "Bracket", "SelectVersion"])
def test_what_is_no_number_is_refused_where_one_is_needed(kind):
    rules = one_level(kind, {"<5" if kind == "SelectVersion" else 1.0: "a"}, "KEY")
    with pytest.raises(HeaderValueError):
        rules.select({"KEY": "FOO"})


@pytest.fixture
def context():
    dark = Node("Match", [(("A",), Node("UseAfter", [("2000-01-01 00:00:00", "d.fits", 0)]), 0)])
    gain = Node("Match", [(("A",), "g.fits", 0)])
    sources = {
        "o.pmap": written("PIPELINE", {"CAM": "cam.imap", "SPEC": "N/A"}, parkey=("INSTRUME",)),
        "cam.imap": written("INSTRUMENT", {"DARK": "d.rmap", "gain": "g.rmap", "flat": "N/A", "ipc": "OMIT"}, parkey=("REFTYPE",)),
        "d.rmap": written("REFERENCE", dark, parkey=(("P",), ("DATE-OBS", "TIME-OBS"))),
        "g.rmap": written("REFERENCE", gain, parkey=(("P",),), filekind="GAIN", rmap_relevance="(TIME_OBS != 'X')"),
    }  # fmt: skip
    return load(
        "o.pmap", Texts(**{name.replace(".", "_dot_"): text for name, text in sources.items()})
    )


def test_a_context_answers_every_type_of_the_instrument(context):
    answers = context.best_references({"INSTRUME": "cam", "P": "A", **DAY})
    assert answers == {"dark": "d.fits", "flat": "N/A", "gain": "g.fits", "ipc": "OMIT"}


def test_types_fail_one_by_one(context):
    answers = context.best_references(
        {"INSTRUME": "CAM", "P": "A", "DATE-OBS": "1990-01-01", "TIME-OBS": "0:00"}
    )
    assert isinstance(answers["dark"], NoMatchError)
    assert answers["gain"] == "g.fits"


@pytest.mark.parametrize("header", [{"INSTRUME": "NONE"}, {}, {"INSTRUME": "SPEC"}])
def test_an_instrument_without_rules_is_an_error_that_names_those_with(context, header):
    with pytest.raises(UnknownInstrumentError) as caught:
        context.best_references(header)
    assert caught.value.kind == "instrument"


def test_a_context_tells_what_it_needs_and_holds(context):
    assert context.required_keys("CAM") == ["DATE-OBS", "INSTRUME", "P", "TIME-OBS"]
    assert context.required_keys("CAM", ["gain"]) == ["INSTRUME", "P"]
    assert context.mapping_names() == ["cam.imap", "d.rmap", "g.rmap", "o.pmap"]
    assert context.reference_names() == ["d.fits", "g.fits"]
    assert [row.keys for row in context.rules("cam").rules("dark").rows()] == [
        (("A",), ("2000-01-01 00:00:00",))
    ]


def test_many_headers_get_what_each_gets_alone(context):
    headers = [
        {"INSTRUME": "CAM", "P": "A", **DAY},
        {"instrume": "cam", "p": "a", "date-obs": "1990-01-01", "time-obs": "00:00"},
        {"INSTRUME": "CAM", "P": "B", **DAY},
        {"INSTRUME": "CAM", "P": "A", "DATE-OBS": "junk", "TIME-OBS": "00:00"},
        {"INSTRUME": "XXX"},
        {"INSTRUME": "CAM", "P": True, "DATE-OBS": None},
    ]
    many = context.select_many(headers, ["dark", "gain", "flat", "other"])
    assert context.select_many([], ["dark"]) == {"dark": []}
    for kind, answers in many.items():
        for header, answer in zip(headers, answers, strict=True):
            try:
                alone = context.best_references(header, [kind])[kind]
            except LightmillError as error:
                alone = error
            assert type(answer) is type(alone)
            assert isinstance(answer, LightmillError) or answer == alone
