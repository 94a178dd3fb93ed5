"""Rules as data: what they put together, what they refuse, and where they say it is wrong."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

import lightmill.testing
from lightmill.association.engine import Options, associate, explain
from lightmill.association.language import read_rules
from lightmill.association.language.reading import CLAIMS, rules_from
from lightmill.association.pool import Pool
from lightmill.errors import ConfigurationError, UnknownNameError

TESTING = Path(lightmill.testing.__file__).parent


@pytest.fixture(scope="module")
def ground():
    return read_rules(TESTING / "ground" / "associations.yaml")


def night(*rows):
    """A night's log; each row is kind, object, filter, and what else is to be said."""
    return Pool.from_rows(
        [
            {"file": f"f{number:03d}.fits", "program": "p1", "binning": "1", "kind": kind}
            | {"object": target, "filter": colour, **more}
            for number, (kind, target, colour, more) in enumerate(rows)
        ],
        columns=[
            *("file", "program", "kind", "object", "filter", "binning", "grism", "slit", "nod"),
        ],
        name="night.csv",
    )


def members(association):
    return [(m.expname, m.exptype) for p in association.products for m in p.members]


def test_dithered_images_of_a_ground_based_night_come_with_their_sky(ground):
    pool = night(
        ("object", "m31", "r", {}),
        ("sky", "blank", "r", {}),
        ("object", "m31", "r", {}),
        ("object", "m31", "g", {}),
        ("object", "m31", "g", {}),
    )

    stacks = associate(pool, ground)

    assert {one.products[0].name: members(one) for one in stacks} == {
        "p1_m31_r_stack": [
            ("f000.fits", "science"),
            ("f001.fits", "sky"),
            ("f002.fits", "science"),
        ],
        "p1_m31_g_stack": [("f003.fits", "science"), ("f004.fits", "science")],
    }


def test_a_sky_taken_first_serves_every_object_after_it(ground):
    pool = night(
        ("sky", "blank", "r", {}),
        *[("object", name, "r", {}) for name in ("m31", "m31", "m33", "m33")],
    )

    stacks = associate(pool, ground)

    assert sorted((one.products[0].name, len(members(one))) for one in stacks) == [
        ("p1_m31_r_stack", 3),
        ("p1_m33_r_stack", 3),
    ]


def test_too_few_exposures_make_nothing(ground):
    assert associate(night(("object", "m31", "r", {}), ("flat", "dome", "r", {})), ground) == []


def test_nods_along_a_slit_have_the_arc_of_their_set_up(ground):
    slit = {"grism": "300l", "slit": "1.0"}
    pool = night(
        ("object", "star", "null", {**slit, "nod": "a"}),
        ("object", "star", "null", {**slit, "nod": "b"}),
        ("arc", "lamp", "null", slit),
    )

    (one,) = associate(pool, ground)

    assert [role for _, role in members(one)] == ["science", "science", "arc"]


def test_an_invented_observatory_has_rules_of_its_own():
    rules = read_rules(TESTING / "observatory" / "associations")
    rows = [
        {"aim": "sky", "filename": "a_raw.fits", "target": "veil", "trouble": "null"},
        {"aim": "sky", "filename": "b_raw.fits", "target": "veil", "trouble": "cloud"},
        {"aim": "shutter", "filename": "d_raw.fits", "target": "null", "trouble": "null"},
    ]
    common = {"proposal": "7", "camera": "1", "readout": "fast", "filter": "j"}
    pool = Pool.from_rows([{**row, **common} for row in rows], name="night.csv")

    made = associate(pool, rules)

    assert {one.products[0].name: (one.type, members(one)) for one in made} == {
        "a": ("one", [("a_slopes.fits", "science"), ("d_slopes.fits", "dark")]),
        "b": ("one", [("b_slopes.fits", "science"), ("d_slopes.fits", "dark")]),
        "7_veil_j": ("mosaic", [("a_image.fits", "science"), ("b_image.fits", "science")]),
    }
    assert [one.degraded for one in made if one.products[0].name == "b"] == [True]


def test_an_exposure_hears_from_every_rule_why(ground):
    pool = night(("object", "m31", "r", {}), ("object", "m31", "r", {}), ("flat", "x", "r", {}))

    (told,) = explain(pool, ground, "f000")
    (flat,) = explain(pool, ground, "f002")

    assert {one.rule: one.state for one in told.verdicts} == {
        "DitheredImage": "in",
        "NightFlat": "out",
        "NoddedSpectrum": "out",
    }
    assert {one.rule: one.state for one in flat.verdicts}["NightFlat"] == "invalid"
    assert "3 members" in flat.text()


def test_an_unknown_exposure_is_refused_by_name(ground):
    with pytest.raises(UnknownNameError, match="f00x"):
        explain(night(("object", "m31", "r", {})), ground, "f00x")


WRONG = {
    "word of a claim": ("- rule: A\n    accept:\n      - {same: filter, likes: x}", 4, "likes"),
    "claim": ("- rule: A\n    accept:\n      - {sam: filter}", 4, "sam"),
    "fragment": ("- rule: A\n    accept:\n      - use: nothing", 4, "nothing"),
    "expression": ("- rule: A\n    accept:\n      - {same: filter, like: '('}", 4, "("),
    "role": ("- rule: A\n    members:\n      science: {were: {a: b}}", 4, "were"),
    "product": ("- rule: A\n    product: '{x}'\n    accept: []", 3, "x"),
    "word of a rule": ("- rule: A\n    acept: []\n    accept: []", 3, "acept"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_rules_cannot_say_is_refused_with_its_line(name, tmp_path):
    text, line, found = WRONG[name]
    path = tmp_path / "rules.yaml"
    path.write_text(f"rules:\n  {text}\n    roles: observatory\n    level: 3\n")

    with pytest.raises(ConfigurationError) as caught:
        read_rules(path)

    assert f"rules.yaml:{line}:" in str(caught.value.place)
    assert found in str(caught.value)


def test_a_fragment_that_uses_itself_is_refused():
    loop = {
        "fragments": {"a": [{"use": "a"}]},
        "rules": [{"rule": "A", "level": 3, "roles": "observatory", "accept": [{"use": "a"}]}],
    }

    with pytest.raises(ConfigurationError, match="uses itself"):
        rules_from([("here", loop)])


def test_two_rules_of_one_name_are_refused():
    rule = {"rule": "A", "level": 3, "roles": "observatory", "accept": []}

    with pytest.raises(ConfigurationError, match="two rules are called 'A'"):
        rules_from([("here", {"rules": [rule]}), ("there", {"rules": [rule]})])


def test_what_two_files_say_differently_is_refused():
    one, other = {"fragments": {"a": [{"same": "x"}]}}, {"fragments": {"a": [{"same": "y"}]}}

    with pytest.raises(ConfigurationError, match="said differently"):
        rules_from([("here", one), ("there", other)])


def test_a_candidate_gathers_only_its_own_rows():
    rules = read_rules(TESTING / "ground" / "associations.yaml")
    pool = night(*[("object", "m31", "r", {})] * 4).replaced(
        "blocks", ["[('b1', 'block')]", "[('b1', 'block')]", "null", "null"]
    )

    made = associate(pool, rules, Options(all_candidates=True))

    assert [(one.candidate, len(members(one))) for one in made] == [("b1", 2)]


HOME = Path(lightmill.__file__).parent
PATTERNS = ("observatories/*/associations/*.yaml", "testing/*/associations*/*.yaml")
FILES = sorted(
    path
    for pattern in (*PATTERNS, "testing/*/associations.yaml")
    for path in HOME.glob(pattern)
    if path.name != "pool.yaml"
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-3:]))
def test_every_file_of_rules_fits_the_schema_of_the_language(path):
    schema = json.loads((HOME / "association/language/schemas/rules-1.0.0.json").read_text())

    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(path.read_text()))


def test_the_schema_knows_every_claim():
    schema = json.loads((HOME / "association/language/schemas/rules-1.0.0.json").read_text())

    known = {word for claim in schema["$defs"]["claim"]["oneOf"] for word in claim["required"]}

    assert known == set(CLAIMS)
