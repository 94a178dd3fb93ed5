"""Laws of associating: programs do not meet, order among them is no matter, growth is no matter."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import lightmill.observatories.jwst as observatory
from lightmill.association.engine import Associator, Options, associate
from lightmill.association.engine.memory import recall, told
from lightmill.association.engine.trees import CompiledRule
from lightmill.association.language import read_rules
from lightmill.association.pool import Pool

HOME = Path(observatory.__file__).parent / "associations"
RULES = read_rules(HOME)
COLUMNS = [
    *("filename", "program", "obs_num", "asn_candidate", "pntgtype", "exp_type", "instrume"),
    *("detector", "filter", "pupil", "targetid", "subarray", "bkgdtarg", "visitype", "patttype"),
    *("patt_num", "numdthpt", "expspcin", "is_psf", "is_imprt", "mostilno", "dithptin"),
]
OPTICS = {
    "mir_image": ("miri", "mirimage", ["f560w", "f770w"], "null"),
    "mir_lrs-fixedslit": ("miri", "mirimage", ["p750l"], "null"),
    "mir_taconfirm": ("miri", "mirimage", ["fnd"], "null"),
    "mir_tacq": ("miri", "mirimage", ["fnd"], "null"),
    "mir_mrs": ("miri", "mirifulong", ["null"], "null"),
    "nis_wfss": ("niriss", "nis", ["gr150r"], "f200w"),
    "nis_image": ("niriss", "nis", ["clear"], "f200w"),
    "nrc_coron": ("nircam", "nrca2", ["f210m"], "maskrnd"),
}


@st.composite
def programs(draw, number: int):
    """Rows of one program: a few observations, perhaps with a candidate that joins them."""
    rows = []
    joined = draw(st.sampled_from([None, "background", "group", "mosaic"]))
    for index in range(draw(st.integers(1, 7))):
        observation = draw(st.integers(1, 3))
        mode = draw(st.sampled_from(sorted(OPTICS)))
        instrument, detector, filters, pupil = OPTICS[mode]
        candidates = [(f"o{observation:03d}", "observation")]
        if joined is not None and draw(st.booleans()):
            candidates.append(("c1000", joined))
        flag = draw(st.sampled_from(["null", "null", "bkgdtarg", "is_psf", "is_imprt"]))
        row = dict.fromkeys(COLUMNS, "null")
        row |= {
            "filename": f"jw{number:05d}{observation:03d}001_{index:05d}_uncal.fits",
            "program": str(number),
            "obs_num": str(observation),
            "asn_candidate": str(candidates),
            "pntgtype": "target_acquisition" if mode == "mir_tacq" else "science",
            "exp_type": mode,
            "instrume": instrument,
            "detector": detector,
            "filter": draw(st.sampled_from(filters)),
            "pupil": pupil,
            "targetid": str(draw(st.integers(1, 2))),
            "subarray": "full",
            "patttype": draw(st.sampled_from(["along-slit-nod", "none", "null"])),
            "patt_num": str(draw(st.integers(1, 2))),
            "expspcin": str(index),
            "mostilno": "1",
        }
        if flag != "null":
            row[flag] = "t"
        rows.append(row)
    return rows


def content(associations):
    """What associations are, apart from their numbers, which all programs share."""
    return sorted(
        (
            (one.rule, one.candidate, one.program, one.target),
            [product.name for product in one.products],
            sorted(
                (m.expname, m.exptype, repr(m.details)) for p in one.products for m in p.members
            ),
        )
        for one in associations
    )


def pool_of(rows):
    return Pool.from_rows(rows, columns=COLUMNS, name="pool.csv")


@given(programs(101), programs(102))
def test_a_program_does_not_depend_on_another(first, second):
    alone = [*associate(pool_of(first), RULES), *associate(pool_of(second), RULES)]

    together = associate(pool_of(first + second), RULES)

    assert content(together) == content(alone)


@given(programs(101), programs(102), st.randoms(use_true_random=False))
def test_how_rows_of_programs_alternate_is_no_matter(first, second, random):
    order = [0] * len(first) + [1] * len(second)
    random.shuffle(order)
    sources = [iter(first), iter(second)]
    mixed = [next(sources[which]) for which in order]

    assert content(associate(pool_of(mixed), RULES)) == content(
        associate(pool_of(first + second), RULES)
    )


@given(programs(101), programs(102), st.integers(0, 14), st.booleans())
def test_a_pool_that_grew_gives_what_it_gives_at_once(first, second, cut, inserted):
    rows = first + second
    associator = Associator(RULES)
    associator.update(pool_of(rows[cut:] if inserted else rows[: max(cut, 1)] or rows))

    grown = associator.update(pool_of(rows))

    assert grown == associate(pool_of(rows), RULES)


@given(programs(101), programs(101), programs(102))
def test_a_pool_whose_rows_changed_gives_what_it_gives_at_once(before, after, others):
    associator = Associator(RULES)
    associator.update(pool_of(before + others))

    assert associator.update(pool_of(after + others)) == associate(pool_of(after + others), RULES)


@given(programs(101), programs(101), programs(102))
def test_a_process_that_goes_on_gives_what_it_gives_at_once(before, after, others):
    first = Associator(RULES)
    first.update(pool_of(before + others))
    rules = read_rules(HOME)  # as another process has them: looks are numbered anew
    second = Associator(rules)
    recall(second, json.loads(json.dumps(told(first))))

    now = second.update(pool_of(others + after))

    assert now == associate(pool_of(others + after), RULES)


@given(programs(101))
def test_an_unchanged_pool_is_not_worked_on_again(rows):
    associator = Associator(RULES, Options(all_candidates=True))
    before = associator.update(pool_of(rows))

    assert associator.update(pool_of(rows)) == before
    assert associator.recomputed == []


@given(programs(101))
def test_every_kept_association_has_science_and_no_file_in_two_roles(rows):
    for one in associate(pool_of(rows), RULES):
        for product in one.products:
            names = {member.expname for member in product.members}
            assert "science" in {member.exptype for member in product.members}
            assert len(names) == len(product.members)


COMPILED = [CompiledRule(rule, RULES) for rule in RULES]  # forms made of some rows serve others


@given(programs(101), programs(102))
def test_an_answer_filled_in_is_the_answer_evaluated(first, second):
    for row in first + second:
        cells = {name: None if row.get(name, "null") == "null" else row[name] for name in row}
        for rule in COMPILED:
            seen = {name: cells.get(name) for name in rule.columns} | {"@candidate_type": "mosaic"}
            assert rule.founded(seen) == rule.offer(rule.empty, seen)
