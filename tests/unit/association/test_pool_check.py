"""What of a pool is not used, and what a person is told about the rest."""

import pytest

from lightmill.association.pool import Pool
from lightmill.association.pool_check import check_pool, parse_candidates
from lightmill.errors import ValidationError

GOOD = {"filename": "a_uncal.fits", "asn_candidate": "[('o001', 'observation')]"}


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        ("[('o001', 'observation')]", [("o001", "observation")]),
        (
            "[('o001', 'observation'), ('c1000', 'direct_image')]",
            [("o001", "observation"), ("c1000", "direct_image")],
        ),
        ('[ ["o001" ,"observation"] ]', [("o001", "observation")]),
        ("1000", [("1000", "unknown")]),
        ("null", []),
        ("n", []),
        ("", []),
        ("[]", []),
        ("o001", None),
        ("('o001', 'observation')", None),
        ("[('o001', 'observation')", None),
        ("1.5", None),
        ("__import__('os').system('id')", None),
        ("[" * 5000, None),
        ("[('o001',)]", None),
    ],
)
def test_candidates_are_read_as_the_field_writes_them(text, candidates):
    assert parse_candidates(text) == candidates


@pytest.mark.parametrize(
    "name", ["../a_uncal.fits", "/data/a_uncal.fits", "a;rm -rf x.fits", "$(x)"]
)
def test_a_row_with_a_dangerous_name_is_left_out_and_reported(name):
    pool = Pool.from_rows([GOOD, {**GOOD, "filename": name}], name="night.csv")

    usable, findings = check_pool(pool)

    assert list(usable) == [GOOD]
    (finding,) = findings
    assert finding.refused
    assert finding.place == "night.csv, row 2 [filename]"
    assert "left out" in str(finding)


def test_unknown_candidates_and_second_rows_are_reported_and_used():
    pool = Pool.from_rows([GOOD, GOOD, {**GOOD, "filename": "b.fits", "asn_candidate": "(o1)"}])

    usable, findings = check_pool(pool)

    assert usable is pool
    assert [finding.row for finding in findings] == [1, 2]
    assert "same row" in findings[0].fact
    assert "cannot be understood" in findings[1].fact


def test_a_pool_without_candidates_is_refused():
    with pytest.raises(ValidationError):
        check_pool(Pool.from_rows([{"filename": "a.fits"}]))
