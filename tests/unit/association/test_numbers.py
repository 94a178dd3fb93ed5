"""The numbers associations get, and which of them are kept, where passes of the end are left out.

What is held here is what the field's generator was seen to do; `tests/peers` has it run.
"""

import pytest

from lightmill.association.engine import Options, associate
from lightmill.association.language import read_rules
from lightmill.association.pool import Pool

RULES = """
columns: {file: file, program: program, target: object, candidates: blocks}
file_name: '{program}-{candidate}_{type}_{sequence}_asn.json'
rules:
  - rule: Single
    about: One exposure by itself
    level: 2
    type: image2
    product: '{program}_{object}_{filter}'
    group_by: [program, object, filter, file]
    members: {science: {where: {kind: object}}}
  - rule: Stack
    about: Images of one object through one filter
    level: 3
    type: stack
    product: '{program}_{object}_{filter}_stack'
    group_by: [program, object, filter]
    members: {science: {where: {kind: object}, at_least: 2}}
"""

SINGLE = (
    "group_by: [program, object, filter, file]\n    members: {science: {where: {kind: object}}}"
)


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return read_rules(path)


def night(*rows):
    """A night's log; each row is the object and the observation."""
    return Pool.from_rows(
        [
            {
                "file": f"f{number}.fits",
                "program": "p1",
                "kind": "object",
                "object": target,
                "filter": "r",
                "blocks": f"[('{block}', 'observation')]",
            }
            for number, (target, block) in enumerate(rows)
        ],
        columns=["file", "program", "kind", "object", "filter", "blocks"],
        name="night.csv",
    )


@pytest.fixture
def pool():
    return night(("m31", "o001"), ("m31", "o001"), ("m33", "o002"), ("m33", "o002"))


def numbers(associations, level):
    return sorted((one.candidate, one.sequence) for one in associations if one.level == level)


def test_a_finished_run_counts_each_candidate_and_type_from_one(pool, rules):
    made = associate(pool, rules, Options(all_candidates=True))

    assert numbers(made, 2) == [("o001", 1), ("o001", 2), ("o002", 1), ("o002", 2)]
    assert numbers(made, 3) == [("o001", 1), ("o002", 1)]


@pytest.mark.parametrize("choice", [{"all_candidates": True}, {"ids": ("o001", "o002")}])
def test_an_unfinished_run_without_discovery_counts_level_2_from_two_over_all(pool, rules, choice):
    made = associate(pool, rules, Options(finalize=False, **choice))

    assert numbers(made, 2) == [("o001", 2), ("o001", 3), ("o002", 4), ("o002", 5)]
    assert numbers(made, 3) == [("o001", 1), ("o002", 2)]


def test_an_unfinished_run_with_discovery_counts_each_candidate(pool, rules):
    made = associate(pool, rules, Options(finalize=False))

    candidates = [one for one in numbers(made, 2) if one[0].startswith("o")]
    assert candidates == [("o001", 1), ("o001", 2), ("o002", 1), ("o002", 2)]


def test_merging_unfinished_ones_lets_the_first_decide(tmp_path):
    path = tmp_path / "rules.yaml"
    pairs = "group_by: [program, object, filter]\n    members: {science: {where: {kind: object}, at_least: 2}}"
    path.write_text(RULES[: RULES.index("  - rule: Stack")].replace(SINGLE, pairs))
    rules = read_rules(path)
    merging = Options(finalize=False, merge=True, all_candidates=True)

    pair_first = associate(night(("m31", "o001"), ("m31", "o001"), ("m33", "o001")), rules, merging)
    one_first = associate(night(("m33", "o001"), ("m31", "o001"), ("m31", "o001")), rules, merging)

    (merged,) = pair_first
    assert [product.name for product in merged.products] == ["p1_m31_r", "p1_m33_r"]
    assert one_first == []
