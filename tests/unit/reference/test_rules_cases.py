"""Rules give the answers of the field's client, case by case; its defects are decided in record 0011."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lightmill.app import discover
from lightmill.errors import LightmillError
from lightmill.reference.errors import RulesChecksumError
from lightmill.reference.rules import condition, load, parse_date
from lightmill.reference.rules.overlaps import covers, overlaps, weights_differ

ROOT = Path(__file__).parents[3]
CASES = Path(os.environ.get("LIGHTMILL_CASES", ROOT.parent / "shared" / "cases")) / "references"
FAMILIES = {
    "MatchingError": "lookup",
    "UseAfterError": "lookup",
    "VersionAfterError": "lookup",
    "CrdsLookupError": "lookup",
    "ValidationError": "validation",
    "InvalidDatetimeError": "validation",
    "AmbiguousMatchError": "ambiguous",
    "ChecksumError": "checksum",
    "MappingFormatError": "format",
    "MissingHeaderKeyError": "format",
    "SyntaxError": "format",
    "CrdsUnknownInstrumentError": "instrument",
    "CrdsError": "instrument",
}
ELSEWHERE = {"diff", "file_matches"}  # test_diff.py


@pytest.fixture(scope="module")
def cases() -> list[dict[str, Any]]:
    if not CASES.is_dir():
        pytest.skip(f"the cases of the field's client are not here: {CASES}")
    discover()
    return json.loads((CASES / "cases.json").read_text())["cases"]


def rules_of(name: str, seen: dict[str, Any]) -> Any:
    """Return rules, or why there are none; cases about answers were made with checks off."""
    if name not in seen:
        try:
            seen[name] = load(CASES / "mappings" / name)
        except RulesChecksumError:
            seen[name] = load(CASES / "mappings" / name, verify=False)
        except LightmillError as error:
            seen[name] = error
    return seen[name]


def told(answer: Any) -> Any:
    if isinstance(answer, LightmillError):
        return f"error: {getattr(answer, 'kind', answer.code)}"
    if isinstance(answer, tuple):
        return [told(one) for one in answer]
    if isinstance(answer, dict):
        return {key: told(one) for key, one in answer.items()}
    return answer


def chosen(rules: Any, header: dict[str, Any]) -> Any:
    if isinstance(rules, LightmillError):
        return told(rules)
    try:
        if hasattr(rules, "select"):
            return told(rules.select(header))
        return told(rules.best_references(header))
    except LightmillError as error:
        return told(error)


def raised(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except LightmillError as error:
        return told(error)


def answer(case: dict[str, Any], seen: dict[str, Any]) -> Any:
    op, asked = case["op"], case["header"]
    if op == "bestref":
        return chosen(rules_of(case["mapping"], seen), asked)
    if op == "load":
        return raised(lambda: load(CASES / "mappings" / case["mapping"]) and "OK")
    if op == "condition_value":
        return condition(asked)
    if op == "parse_date":
        return raised(parse_date, asked)
    if op == "match_superset":
        return [covers(*asked), weights_differ(*asked)]
    found = overlaps(rules_of(case["mapping"], seen))
    return sorted([list(one), list(other)] for one, other in found)


def agrees(expected: Any, found: Any) -> bool:
    if isinstance(expected, dict) and isinstance(found, dict):
        same = expected.keys() == found.keys()
        return same and all(agrees(expected[key], found[key]) for key in expected)
    if isinstance(expected, str) and expected.startswith("ERROR:"):
        family = FAMILIES.get(expected[6:])
        if family is None:  # the client crashes: any error of ours, or a sane answer
            return True
        return found == f"error: {family}"
    return expected == found


def test_every_case_gets_the_answer_of_the_client(cases: list[dict[str, Any]]) -> None:
    asked = [case for case in cases if case["op"] not in ELSEWHERE]
    seen: dict[str, Any] = {}

    differ = [
        f"{case['id']} {case['mapping']} {case['header']}: {found}, not {case['expected']}"
        for case in asked
        if not agrees(case["expected"], found := answer(case, seen))
    ]

    assert not differ, "\n".join(differ[:20])
    assert len(asked) == 1488


def test_duplicates_are_found_where_the_client_reports_them(cases: list[dict[str, Any]]) -> None:
    from lightmill.reference.rules.text import parse_mapping

    listed = [
        case for case in cases if case["op"] == "load" and isinstance(case["duplicates"], list)
    ]
    for case in listed:
        path = CASES / "mappings" / case["mapping"]
        found = parse_mapping(path.read_text(), path.name).duplicates
        assert len(found) == len(case["duplicates"]), path


def test_every_mapping_loads_or_is_refused_with_file_and_reason(
    cases: list[dict[str, Any]],
) -> None:
    del cases
    paths = sorted((CASES / "mappings").glob("*/*map"))
    refused = {path: error for path in paths if (error := _refusal(path))}

    assert len(paths) > 250
    assert all(path.name in str(error.place) and error.fact for path, error in refused.items())


def _refusal(path: Path) -> LightmillError | None:
    try:
        load(path)
    except LightmillError as error:
        return error
    return None
