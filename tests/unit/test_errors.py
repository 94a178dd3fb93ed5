"""An error fits on a screen, whatever is wrong with the file it speaks of."""

import pytest

from lightmill.errors import DataError, IncompleteReferencesError

HUGE = "A" * 1_000_000


@pytest.mark.parametrize("part", ["fact", "place", "found", "expected", "remedy"])
def test_a_name_of_a_megabyte_is_shortened_wherever_it_is_told(part):
    error = DataError(**({"fact": "a value is wrong"} | {part: HUGE}))
    assert len(error.story()) < 2000
    assert "AAAA" in str(error)


def test_references_that_are_missing_for_a_huge_reason_are_told_in_short():
    why = DataError(HUGE, place=HUGE, found=HUGE, remedy=HUGE)
    error = IncompleteReferencesError([("dark", ["dark_current"], why)], place=HUGE)
    assert len(error.story()) < 6000
    assert "dark_current" in error.story()
