"""Association files are what the field's programs read, under names that stay in their folder."""

import datetime as dt
import json
from dataclasses import replace

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.association import documents, output
from lightmill.association.documents import faults_of, faults_of_text, load
from lightmill.association.from_list import EXPOSURE, from_list
from lightmill.association.json_places import position_of
from lightmill.association.names import file_name_fault, member_fault
from lightmill.association.output import (
    as_document,
    as_text,
    file_name,
    version_stamp,
    write_associations,
    write_document,
)
from lightmill.association.records import Association, Member, Product
from lightmill.errors import ConfigurationError, LightmillError, OutputError, ValidationError
from lightmill.pipeline.provenance import VERSION

MEMBER = Member("a_rate.fits", "science", (("exposerr", "null"),))
PAIR = Association(
    rule="candidate_Pair",
    type="image2",
    level=2,
    candidate="o001",
    program="99009",
    target="1",
    pool="night_pool.csv",
    products=(Product("a", (MEMBER,)),),
    sequence=7,
)


def test_the_file_name_has_program_candidate_version_type_and_number():
    assert file_name(PAIR) == "99009-o001_image2_00007_asn.json"
    assert (
        file_name(PAIR, pattern="jw" + output.FILE_NAME, version="20260102T030405")
        == "jw99009-o001_20260102t030405_image2_00007_asn.json"
    )
    assert file_name(replace(PAIR, duplicate=3)).startswith("dup00003_99009-")


def test_a_version_is_the_time_in_utc():
    summer = dt.datetime(2026, 1, 2, 5, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=2)))

    assert version_stamp(summer) == "20260102t030405"


def test_the_keys_of_level_2_and_3_have_the_orders_of_the_field():
    second = list(as_document(PAIR))
    third = list(as_document(replace(PAIR, level=3)))

    assert second[7:] == ["asn_id", "asn_pool", "target", "products"]
    assert third[7:] == ["asn_id", "target", "asn_pool", "products"]


def test_the_version_of_the_code_is_that_of_the_run_records():
    assert VERSION == output.CODE_VERSION


def test_associations_are_written_and_read_back(tmp_path):
    written = write_associations([PAIR, replace(PAIR, sequence=8)], tmp_path, version="v1")

    assert [path.parent for path in written.paths] == [tmp_path, tmp_path]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "99009-o001_v1_image2_00007_asn.json",
        "99009-o001_v1_image2_00008_asn.json",
    ]
    assert load(written.paths[0]) == as_document(PAIR, version="v1")


@pytest.mark.parametrize(
    "change",
    [
        {"program": "../../etc"},
        {"program": "/etc"},
        {"candidate": "o001;rm"},
        {"candidate": ""},
        {"type": "image2\n"},
        {"program": "9" * 300},
        {"products": ()},
        {"products": (Product("a", ()),)},
        {"products": (Product("../a", (MEMBER,)),)},
        {"products": (Product("a", (Member("/etc/passwd", "science"),)),)},
        {"products": (Product("a", (Member("$(id).fits", "science"),)),)},
        {"sequence": 7},  # the name of the one before
    ],
)
def test_what_may_not_be_a_file_is_refused_and_the_others_are_written(tmp_path, change):
    folder = tmp_path / "out"
    folder.mkdir()

    written = write_associations([PAIR, replace(PAIR, **{"sequence": 8, **change})], folder)

    assert [path.name for path in written.paths] == ["99009-o001_image2_00007_asn.json"]
    assert len(written.refused) == 1
    assert written.refused[0].place.startswith("night_pool.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert len(list(folder.iterdir())) == 1


def test_nothing_is_written_where_making_them_fails(tmp_path):
    def some():
        yield PAIR
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_associations(some(), tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_and_a_version_that_is_a_path_are_refused(tmp_path):
    with pytest.raises(OutputError):
        write_associations([PAIR], tmp_path / "no")
    with pytest.raises(OutputError):
        write_associations([PAIR], tmp_path, version="../1")


def test_a_file_must_end_in_json(tmp_path):
    with pytest.raises(OutputError):
        write_document(as_document(PAIR), tmp_path / "a.txt")


texts = st.text(max_size=8)
members = st.builds(
    lambda name, role, more: {"expname": name, "exptype": role, **more},
    texts,
    texts,
    st.dictionaries(texts, st.none() | texts, max_size=2),
)
products = st.builds(
    lambda name, inside: {"name": name, "members": inside}, texts, st.lists(members, max_size=3)
)
scalars = st.none() | texts | st.integers() | st.booleans()


@given(st.dictionaries(texts, scalars, max_size=4), st.lists(products, max_size=3))
def test_the_text_is_what_json_writes_with_four_blanks(head, listed):
    document = {**head, "products": listed}

    assert as_text(document) == json.dumps(document, indent=4)


loose = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["products", "members", "expname", "exptype", "name", "asn_type"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(loose | st.fixed_dictionaries({"products": st.lists(loose, max_size=2)}))
def test_the_schema_is_checked_as_the_jsonschema_package_does(content):
    schema = documents._schema("association-1.0.0")
    theirs = jsonschema.Draft4Validator(schema).is_valid(content)

    ours = [f for f in documents._against(schema, content, ()) if f.fatal]

    assert (not ours) == theirs
    faults_of(content)


@given(loose)
def test_every_value_of_a_text_is_found_at_its_place(content):
    text = json.dumps(content, indent=2)

    def each(value, where):
        yield where, value
        inside = value.items() if isinstance(value, dict) else ()
        for key, item in enumerate(value) if isinstance(value, list) else inside:
            yield from each(item, (*where, key))

    lines = text.split("\n")
    for where, value in each(content, ()):
        line, column = position_of(text, where)
        assert lines[line - 1][column - 1 :].startswith(json.dumps(value, indent=2).split("\n")[0])


@given(st.text(max_size=40) | st.text(st.sampled_from('{}[]",:1 \n\\'), max_size=40))
def test_any_text_is_an_association_or_has_faults(text):
    content, faults = faults_of_text(text)

    assert faults or content["products"]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('{\n  "products": [\n', ":3:1", "no JSON"),
        ('{"products": 3}', ":1:14 [products]", "not a list"),
        ("[1]", ":1:1", "not an object"),
        ('{"products": [{"members": [\n{"expname": "a"}]}]}', ":2:1 [", "no 'exptype'"),
        ('{"products": [], "products": []}', ":1:1", "twice"),
        ('{"products": [NaN]}', ":1:1", "NaN"),
        ("[" * 100_000, ":1:1", "without end"),
    ],
)
def test_a_file_that_is_no_association_has_the_place_of_its_fault(tmp_path, text, place, words):
    path = tmp_path / "x_asn.json"
    path.write_text(text)

    with pytest.raises(ValidationError) as caught:
        load(path)

    assert place in caught.value.place
    assert words in caught.value.fact


def test_bytes_that_are_no_text_are_refused_with_their_place(tmp_path):
    path = tmp_path / "x_asn.json"
    path.write_bytes(b'{\n"a\xff')

    with pytest.raises(ValidationError) as caught:
        load(path)

    assert caught.value.place.endswith(":2:3")


@pytest.mark.parametrize(
    "name",
    ["../a.fits", "/a.fits", "~/a", "a/../b", "a;b", "a|b", "a b`c`", "$x", "-rf", "a\nb", "C:\\a",
     "x" * 256, "{a}", "a>b"],
)  # fmt: skip
def test_names_that_are_more_than_names_are_refused(name):
    assert member_fault(name)
    assert file_name_fault(name)


@pytest.mark.parametrize(
    "name", ["a_uncal.fits", "set acid", "night 1/a+b=c,d@e#f[1].fits", "ä.fits"]
)
def test_other_names_are_let_through(name):
    assert member_fault(name) is None


def test_a_list_of_files_is_one_product_of_all():
    made = from_list(["a_cal.fits", ("b_cal.fits", "background")], product="both")

    (product,) = made["products"]
    assert product["name"] == "both"
    assert [m["exptype"] for m in product["members"]] == ["science", "background"]
    assert made["asn_id"] == "a3001"


def test_a_list_of_exposures_is_a_product_of_each():
    files = ["n1/a_rate.fits", "b_rate.fits", ("c_rate.fits", "background")]

    made = from_list(files, rule=EXPOSURE, candidate="o999", root=lambda name: name.split("_")[0])

    assert [product["name"] for product in made["products"]] == ["n1/a", "b"] or made["products"]
    assert [len(product["members"]) for product in made["products"]] == [2, 2]


@pytest.mark.parametrize(
    ("files", "options", "kind"),
    [
        (["a.fits"], {}, ConfigurationError),
        ([], {"product": "x"}, LightmillError),
        (["a.fits"], {"rule": "NoSuchRule"}, ConfigurationError),
        (["../a.fits"], {"product": "x"}, ValidationError),
        ([("a.fits", "sci;")], {"product": "x"}, ValidationError),
        (["a.fits", "b.fits"], {"rule": EXPOSURE, "product": "x"}, ConfigurationError),
        ([("a.fits", "background")], {"product": "x"}, LightmillError),
    ],
)
def test_a_list_that_is_no_association_is_refused(files, options, kind):
    with pytest.raises(kind):
        from_list(files, **options)
