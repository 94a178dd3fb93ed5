"""What is written to a card is what is read from it; astropy reads the same."""

import contextlib
import math

from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from lightmill.errors import CorruptFileError
from lightmill.models.cards import CARD, Header, fits_can_hold, format_card

keywords = st.from_regex(r"[A-Z][A-Z0-9_-]{0,7}", fullmatch=True).filter(
    lambda word: word not in {"END", "CONTINUE", "COMMENT", "HISTORY", "HIERARCH"}
)
texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300)
values = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    texts.filter(fits_can_hold),
)


@given(keywords, values, texts)
def test_a_value_survives_its_card(keyword, value, comment):
    cards = format_card(keyword, value, comment)

    got = Header(cards).get(keyword)

    assert all(len(card) == CARD for card in cards)
    assert got == value
    assert isinstance(got, bool) == isinstance(value, bool)


@given(keywords, values)
def test_astropy_reads_the_same(keyword, value):
    cards = format_card(keyword, value)

    theirs = fits.Header.fromstring(b"".join(cards) + b"END".ljust(CARD))[keyword]

    # astropy drops the trailing blanks of a string, as the standard allows
    same = theirs == value or (
        isinstance(value, float) and math.isclose(theirs, value, rel_tol=1e-15)
    )
    assert same


@given(st.binary(min_size=CARD, max_size=CARD))
def test_any_80_bytes_give_a_value_or_our_error(card):
    header = Header([card], "file")
    for keyword in list(header.keywords()):
        with contextlib.suppress(CorruptFileError):
            header.get(keyword)
