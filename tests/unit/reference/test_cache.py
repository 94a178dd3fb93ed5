"""An existing cache is read as it stands."""

import pprint

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.errors import ConfigurationError, CorruptFileError, LightmillError
from lightmill.reference.cache import Cache
from lightmill.reference.config import FileInfo, ServerConfig, decoded, encoded
from lightmill.reference.literals import read_literal, write_literal


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


def put(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# -- where its parts are --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "part", "folder"),
    [
        ({"CRDS_PATH": "/c"}, "mappings", "/c/mappings/tmt"),
        ({"CRDS_PATH": "/c"}, "references", "/c/references/tmt"),
        ({"CRDS_PATH": "/c"}, "config", "/c/config/tmt"),
        ({"CRDS_PATH": "/c", "CRDS_PATH_SINGLE": "/s"}, "mappings", "/s/mappings"),
        ({"CRDS_PATH_SINGLE": "/s", "CRDS_MAPPATH": "/m"}, "mappings", "/m/tmt"),
        ({"CRDS_PATH_SINGLE": "/s", "CRDS_MAPPATH": "/m"}, "references", "/s/references"),
        ({"CRDS_MAPPATH": "/m", "CRDS_MAPPATH_SINGLE": "/ms"}, "mappings", "/ms"),
        ({"CRDS_PATH": "/c", "CRDS_REFPATH": "/r"}, "references", "/r/tmt"),
        ({"CRDS_PATH": "/c", "CRDS_CFGPATH_SINGLE": "/f"}, "config", "/f"),
        ({"CRDS_DEFAULT_CACHE": "/grp"}, "mappings", "/grp/mappings/tmt"),
        ({"CRDS_PATH": ""}, "mappings", "{home}/lightmill/crds/mappings/tmt"),
    ],
)
def test_the_variables_say_where_parts_are(environ, part, folder, tmp_path):
    cache = Cache(environ=environ)

    assert str(cache.layout.folder(part, "tmt")) == folder.format(home=tmp_path / "home")


def test_a_cache_that_is_given_ignores_the_variables(tmp_path):
    cache = Cache(tmp_path, environ={"CRDS_MAPPATH": "/elsewhere"})

    assert cache.mapping_path("tmt_0001.pmap") == tmp_path / "mappings/tmt/tmt_0001.pmap"


@pytest.mark.parametrize(
    ("text", "readonly"), [("1", True), ("TRUE", True), ("0", False), ("", False)]
)
def test_a_variable_makes_it_read_only(text, readonly):
    assert Cache(environ={"CRDS_READONLY_CACHE": text}).readonly is readonly


def test_references_are_found_flat_by_instrument_and_under_names_that_tell_nothing(tmp_path):
    flat = put(tmp_path / "references/tmt/tmt_wide_dark_0001.fits")
    own = put(tmp_path / "references/tmt/wide/tmt_wide_dark_0002.fits")
    old = put(tmp_path / "references/hst/narrow/q2312345_dkc.fits")
    cache = Cache(tmp_path)

    assert cache.reference_path("tmt_wide_dark_0001.fits") == flat
    assert cache.reference_path("tmt_wide_dark_0002.fits") == own
    assert cache.reference_path("q2312345_dkc.fits") == old
    assert cache.observatories() == ["hst", "tmt"]


@pytest.mark.parametrize(
    "name", ["../x.pmap", "a/b.fits", "", ".hidden", "a\0.fits", "x" * 300, "~x", "a\\b"]
)
def test_a_name_cannot_leave_the_cache(tmp_path, name):
    with pytest.raises(ConfigurationError, match="no name"):
        Cache(tmp_path).path(name, "tmt")


# -- the context to use ---------------------------------------------------------------------


@pytest.fixture
def configured(tmp_path):
    facts = {
        "observatory": "tmt",
        "operational_context": "tmt_0007.pmap",
        "latest_context": "tmt_0008.pmap",
        "edit_context": "tmt_0009.pmap",
        "bad_files_list": ["tmt_wide_dark_0001.fits"],
        "context_history": [
            ["2020-01-01 00:00:00", "tmt_0005.pmap", "first"],
            ["2022-06-01 12:00:00.5", "tmt_0007.pmap", "second"],
        ],
    }
    put(tmp_path / "config/tmt/server_config", pprint.pformat(facts))
    return Cache(tmp_path)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (None, "tmt_0007.pmap"),
        ("latest", "tmt_0008.pmap"),
        ("tmt-latest", "tmt_0008.pmap"),
        ("tmt-operational", "tmt_0007.pmap"),
        ("tmt-edit", "tmt_0009.pmap"),
        ("tmt_0001.pmap", "tmt_0001.pmap"),
        ("tmt-2021-05-05T00:00:00", "tmt_0005.pmap"),
        ("2023-01-01", "tmt_0007.pmap"),
    ],
)
def test_contexts_have_names_states_and_dates(configured, spec, name):
    assert configured.resolve_context(spec, "tmt") == name


@pytest.mark.parametrize("spec", ["tmt-versions", "tmt-1999-01-01", "newest", "hst-latest"])
def test_a_context_nobody_knows_is_an_error_with_a_way_on(configured, spec):
    with pytest.raises(ConfigurationError) as caught:
        configured.resolve_context(spec, "tmt")

    assert caught.value.remedy


def test_without_a_configuration_the_newest_rules_count(tmp_path):
    for number in (2, 10, 9):
        put(tmp_path / f"mappings/tmt/tmt_{number}.pmap")

    assert Cache(tmp_path).default_context("tmt") == "tmt_10.pmap"


@pytest.mark.parametrize("digest", ["8bbfe687", "12345678", "deadbeef"])
def test_what_was_submitted_to_rules_with_a_digest_is_newer_than_they_are(tmp_path, digest):
    for version in (digest, "0001", "0002"):
        put(tmp_path / f"mappings/tmt/tmt_{version}.pmap")

    assert Cache(tmp_path).default_context("tmt") == "tmt_0002.pmap"


def test_an_empty_cache_says_how_to_fill_it():
    with pytest.raises(ConfigurationError) as caught:
        Cache(environ={"CRDS_PATH": "/nowhere"}).default_context("tmt")

    story = caught.value.story()
    assert "/nowhere (CRDS_PATH)" in story
    assert "lightmill refs sync" in story


def test_missing_rules_name_the_file_and_the_remedy(tmp_path):
    with pytest.raises(ConfigurationError, match=r"tmt_0001\.pmap.*not in the cache"):
        Cache(tmp_path).read_mapping("tmt_0001.pmap")


# -- its configuration ----------------------------------------------------------------------

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(st.text(), plain, max_size=5))
def test_what_is_written_is_read_and_is_what_python_reads(facts):
    import ast

    text = write_literal(facts)

    assert read_literal(text) == facts
    assert ast.literal_eval(text) == facts


@given(st.dictionaries(st.text(), plain, max_size=5))
def test_the_pretty_printing_of_the_official_client_is_read(facts):
    assert read_literal(pprint.pformat(facts)) == facts


@given(st.text() | st.text(alphabet="{}[]():,'\"\\ \n0a1_.-"))
def test_any_text_is_a_value_or_an_error_with_a_place(text):
    refused = None
    try:
        read_literal(text, "file")
    except CorruptFileError as error:
        refused = error
    assert refused is None or "line" in refused.place


@pytest.mark.parametrize(
    "text", ["__import__('os')", "1+1", "{'a': open}", "[" * 5000, "{'a': 1", "{[]: 1}"]
)
def test_nothing_but_values_is_accepted(text):
    with pytest.raises(CorruptFileError):
        read_literal(text)


@given(plain)
def test_wrapped_answers_are_unwrapped(value):
    assert decoded(encoded(value)) == value


@pytest.mark.parametrize(
    "payload", ["", "!!!", "AAAA", None, encoded({"a": 1})["crds_payload"][:20]]
)
def test_a_damaged_wrapping_is_an_error(payload):
    with pytest.raises(CorruptFileError):
        decoded({"crds_encoded": "1.0", "crds_payload": payload})


def test_a_saved_configuration_is_read_again(tmp_path):
    cache = Cache(tmp_path)
    config = ServerConfig({"observatory": "tmt", "operational_context": "tmt_0001.pmap"})
    info = FileInfo("tmt_wide_dark_0001.fits", 12, "a" * 40)

    cache.save_config(config.with_files([info]))

    assert Cache(tmp_path).default_context("tmt") == "tmt_0001.pmap"
    assert Cache(tmp_path).file_info(info.name) == info
    assert (tmp_path / "config/tmt/ref_cache_subdir_mode").read_text() == "instrument"


def test_a_damaged_configuration_names_file_and_line(tmp_path):
    put(tmp_path / "config/tmt/server_config", "{'observatory': 'tmt',\n 'latest")

    with pytest.raises(LightmillError, match="server_config, line 2"):
        Cache(tmp_path).default_context("tmt")
