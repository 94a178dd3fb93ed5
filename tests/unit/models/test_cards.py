"""FITS header cards are read and written as the standard says."""

import pytest

from lightmill.errors import CorruptFileError
from lightmill.models.cards import CARD, Header, fits_can_hold, format_card


def header(*texts):
    return Header([text.encode().ljust(CARD) for text in texts], "file[SCI]")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("KEY     =                    T / yes", True),
        ("KEY     =                    F", False),
        ("KEY     =                  -12 / count", -12),
        ("KEY     = 1.5D-3", 1.5e-3),
        ("KEY     =                 2.E5", 2e5),
        ("KEY     =                   .5", 0.5),
        ("KEY     = 'O''Neill / Smith' / a name", "O'Neill / Smith"),
        ("KEY     = '  lead   '", "  lead"),
        ("KEY     = ''", ""),
        ("KEY     =                      / nothing", None),
        ("KEY     = (1.0, -2.0)", complex(1, -2)),
    ],
)
def test_a_card_gives_its_value(text, value):
    got = header(text).get("KEY")

    assert got == value
    assert type(got) is type(value)


def test_a_long_string_goes_on_in_continue_cards():
    long = header("KEY     = 'one &'", "CONTINUE  'two &' / and", "CONTINUE  'three' / so on")

    assert long.value_at(0) == ("one two three", "and so on")


def test_a_keyword_met_twice_counts_once():
    assert header("KEY     = 1", "KEY     = 2").get("KEY") == 1


@pytest.mark.parametrize("text", ["KEY     = 'open", "KEY     = 1.2.3", "KEY     = maybe"])
def test_a_card_that_breaks_the_standard_is_named(text):
    with pytest.raises(CorruptFileError) as caught:
        header(text).get("KEY")

    assert caught.value.place == "file[SCI]/KEY"
    assert caught.value.remedy


def test_a_hierarch_card_has_no_value_and_is_kept():
    kept = header("HIERARCH ESO DET = 'x'")

    assert "HIERARCH" not in kept
    assert kept.cards[0].startswith(b"HIERARCH ESO")


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "line\nbreak", "é", "trailing ", "x&"]
)
def test_some_values_do_not_fit_a_card(value):
    assert not fits_can_hold(value)


def test_a_comment_is_cut_where_the_card_ends():
    cards = format_card("KEY", "x" * 60, "a comment that is too long")

    assert [len(card) for card in cards] == [CARD]


def test_a_float_keeps_its_last_digit():
    value = 60735.000068562964

    assert Header(format_card("KEY", value)).get("KEY") == value
