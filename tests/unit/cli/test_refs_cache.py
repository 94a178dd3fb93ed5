"""The commands that fill, show, carry and pin references."""

import json
import zipfile

import pytest

from lightmill.cli import main
from lightmill.cli.tables import counted
from lightmill.errors import ConfigurationError
from lightmill.reference.cache import Cache
from lightmill.reference.lock_file import ReferenceLock
from lightmill.testing import make_uncal, write_exposure
from lightmill.testing.contexts import small_context
from lightmill.testing.loopback import loopback_server

DARK, FLAT = "lantern_glowcam_dark_0001.fits", "lantern_glowcam_flat_0001.fits"
OTHER = "lantern_glowcam_dark_0002.fits"
REFERENCES = {
    "dark": {"SMALL": [("2020-01-01 00:00:00", DARK), ("2035-01-01 00:00:00", OTHER)]},
    "flat": {"SMALL": [("2020-01-01 00:00:00", FLAT)]},
}
CONTENT = {DARK: b"dark" * 100, OTHER: b"newer" * 100, FLAT: b"flat" * 100}


@pytest.fixture(autouse=True)
def _own_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CRDS_PATH", str(tmp_path / "cache"))
    for name in ("CRDS_SERVER_URL", "CRDS_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CRDS_CLIENT_RETRY_COUNT", "1")


@pytest.fixture
def raw(tmp_path):
    """A raw exposure of 2031."""
    uncal = make_uncal(shape=(32, 32), seed=1)
    uncal.meta["observation.date"] = "2031-05-04"
    uncal.meta["observation.time"] = "03:02:01"
    return write_exposure(tmp_path / "night", uncal).path


@pytest.fixture
def server():
    rules = small_context(references=REFERENCES)
    with loopback_server("lantern", {**rules, **CONTENT}) as running:
        running.answers["get_mapping_names"] = list(rules)
        running.answers["get_reference_names"] = list(CONTENT)
        yield running


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


@pytest.fixture
def ended(capsys):
    def ended(*typed):
        with pytest.raises(SystemExit) as caught:
            main(["refs", *(str(word) for word in typed)])
        said = capsys.readouterr()
        return caught.value.code, said.out, said.err

    return ended


@pytest.fixture
def synced(ended, raw, server):
    status, *said = ended("sync", raw, "--server", server.url)
    assert status == 0, said
    server.requests.clear()


def test_sync_fetches_what_data_need_and_no_more(ended, raw, server, cache):
    status, out, _ = ended("sync", raw, "--server", server.url)

    assert status == 0
    assert "2 were fetched" in out
    assert {path.name for path in cache.references("lantern")} == {DARK, FLAT}


@pytest.mark.usefixtures("synced")
def test_sync_again_has_nothing_to_do(ended, raw, server):
    status, out, _ = ended("sync", raw)

    assert status == 0
    assert "2 files were there" in out
    assert not server.requests


def test_a_dry_run_fetches_no_reference(ended, raw, server, cache):
    status, out, _ = ended("sync", raw, "--server", server.url, "--dry-run")

    assert status == 0
    assert "2 would be fetched" in out
    assert DARK in out
    assert not cache.references("lantern")


def test_sync_of_some_types_leaves_the_others(ended, raw, server, cache):
    ended("sync", raw, "--server", server.url, "--types", "dark")

    assert [path.name for path in cache.references("lantern")] == [DARK]


def test_sync_of_a_context_fetches_its_rules(ended, server, cache):
    status, *_ = ended("sync", "--contexts", "lantern-latest", "--server", server.url)

    assert status == 0
    assert len(cache.mappings("lantern")) == 4
    assert not cache.references("lantern")


def test_sync_of_a_context_with_all_its_references(ended, server, cache):
    ended("sync", "--contexts", "lantern-latest", "--all-references", "--server", server.url)

    assert len(cache.references("lantern")) == 3


def test_sync_of_a_context_without_a_server_misses_what_is_not_there(ended, server, cache):
    ended("sync", "--contexts", "lantern-latest", "--server", server.url)
    assert "4 files were there" in ended("sync", "--contexts", "lantern-latest")[1]

    cache.mapping_path("lantern_glowcam_dark_0001.rmap").unlink()
    rules = ended("sync", "--contexts", "lantern-latest")
    files = ended("sync", "--contexts", "lantern-latest", "--all-references")

    assert rules[0] == 4
    assert "lantern_glowcam_dark_0001.rmap" in rules[1]
    assert FLAT in files[1]


def test_sync_without_a_server_says_what_to_do(ended, raw, server):
    ended("sync", "--contexts", "lantern-latest", "--server", server.url)

    status, out, _ = ended("sync", raw)

    assert status == 4
    assert DARK in out
    assert FLAT in out
    assert "--server URL" in out


def test_sync_of_nothing_is_a_usage_error(ended):
    assert ended("sync")[0] == 2


def test_a_file_the_server_lost_is_named_and_the_rest_arrives(ended, raw, server, cache):
    server.faults[FLAT] = ["404"]

    status, out, _ = ended("sync", raw, "--server", server.url)

    assert status == 5
    assert FLAT in out
    assert cache.has(DARK)


@pytest.mark.usefixtures("synced")
def test_verify_finds_a_damaged_file_and_repairs_it(ended, server, cache):
    path = cache.reference_path(DARK)
    path.write_bytes(b"DARK" * 100)

    status, out, _ = ended("verify")
    assert status == 3
    assert str(path) in out

    status, out, _ = ended("verify", "--repair", "--server", server.url)
    assert status == 0
    assert "1 repaired" in out
    assert path.read_bytes() == CONTENT[DARK]


@pytest.mark.usefixtures("synced")
def test_verify_finds_damaged_rules(ended, cache):
    path = cache.mapping_path("lantern_glowcam_dark_0001.rmap")
    path.write_bytes(path.read_bytes().replace(b"0002", b"0001"))

    status, out, _ = ended("verify", "--json")

    assert status == 3
    assert str(path) in json.loads(out)["damaged"]


@pytest.mark.usefixtures("synced")
def test_sync_repairs_what_it_finds_damaged(ended, raw, server, cache):
    cache.reference_path(DARK).write_bytes(b"DARK" * 100)

    status, *_ = ended("sync", raw, "--repair", "--server", server.url)

    assert status == 0
    assert cache.reference_path(DARK).read_bytes() == CONTENT[DARK]


@pytest.mark.usefixtures("synced")
def test_sync_fetches_a_truncated_file_again_without_being_told(ended, raw, server, cache):
    cache.reference_path(DARK).write_bytes(b"dark")
    without = ended("sync", raw)
    with_server = ended("sync", raw, "--server", server.url)

    assert without[0] != 0
    assert DARK in without[1]
    assert with_server[0] == 0
    assert cache.reference_path(DARK).read_bytes() == CONTENT[DARK]


@pytest.mark.usefixtures("synced")
def test_list_tells_what_there_is(ended):
    _, out, _ = ended("list")
    assert "1 context, 4 rules, 2 references" in out
    assert "lantern_0001.pmap" in out

    _, out, _ = ended("list", "--contexts")
    assert out.split() == ["lantern_0001.pmap", "operational,", "latest,", "edit"]

    _, out, _ = ended("list", "--references")
    assert out.split() == [DARK, FLAT]


def test_list_of_an_empty_cache_says_how_to_fill_it(ended):
    status, out, _ = ended("list")

    assert status == 0
    assert "refs sync" in out


@pytest.mark.usefixtures("synced")
def test_list_of_what_is_not_there_is_an_error(ended):
    status, _, err = ended("list", "sunlight")

    assert status == 5
    assert "lantern" in err


@pytest.mark.usefixtures("synced")
def test_the_status_names_places_and_server(ended, server, cache):
    _, out, _ = ended("list", "--status")

    assert server.url in out
    assert str(cache.mapping_path("lantern_0001.pmap").parent) in out


@pytest.mark.usefixtures("synced")
def test_list_finds_the_rows_that_name_a_file(ended):
    status, out, _ = ended("list", "--matches", OTHER)

    assert status == 0
    assert "lantern_glowcam_dark_0001.rmap, line" in out
    assert out.splitlines()[1].split() == ["META.INSTRUMENT.DETECTOR", "SMALL"]
    assert "2035-01-01 00:00:00" in out.splitlines()[2]
    assert ended("list", "--matches", "nobody.fits")[0] == 4


@pytest.mark.usefixtures("synced")
def test_a_bundle_carries_all_that_data_need(ended, raw, tmp_path, monkeypatch):
    status, out, err = ended("bundle", tmp_path / "night.zip", raw)
    assert status == 0, err
    assert "4 rules of lantern_0001.pmap and 2 references" in out

    monkeypatch.setenv("CRDS_PATH", str(tmp_path / "elsewhere"))
    assert ended("unbundle", tmp_path / "night.zip")[0] == 0
    status, out, _ = ended("sync", raw)
    assert status == 0
    assert "2 files were there" in out


@pytest.mark.usefixtures("synced")
def test_a_bundle_of_what_is_missing_says_all_of_it(ended, raw, cache, tmp_path):
    for name in (DARK, FLAT):
        cache.reference_path(name).unlink()

    status, _, err = ended("bundle", tmp_path / "night.zip", raw)

    assert status == 4
    assert DARK in err
    assert FLAT in err
    assert not (tmp_path / "night.zip").exists()


@pytest.mark.usefixtures("synced")
def test_a_lock_file_names_all_files_with_their_sums(ended, raw, tmp_path):
    status, out, _ = ended("lock", tmp_path / "night.lock", raw)

    facts = json.loads((tmp_path / "night.lock").read_text())
    assert status == 0
    assert "4 rules and 2 references" in out
    assert set(facts["references"]) == {DARK, FLAT}
    assert facts["references"][DARK]["size"] == 400


@pytest.mark.usefixtures("synced")
def test_data_that_do_not_say_where_they_come_from_are_refused(ended, tmp_path):
    path = (
        make_uncal(shape=(32, 32))
        .evolve(meta={"instrument.name": None})
        .save(tmp_path / "a_uncal.fits")
    )

    status, _, err = ended("sync", path)

    assert status == 3
    assert "INSTRUME" in err


@pytest.mark.usefixtures("synced")
def test_damaged_rules_of_one_type_leave_the_answers_of_the_others(ended, raw, cache):
    cache.mapping_path("lantern_glowcam_dark_0001.rmap").write_text("header = {'name': 'another'}")

    status, out, _ = ended("bestrefs", raw, "--explain", "--json")

    answers = json.loads(out)[0]["references"]
    assert status == 4
    assert answers["flat"] == {"answer": FLAT}
    assert "error" in answers["dark"]


@pytest.mark.usefixtures("synced")
def test_json_nested_too_deep_is_told_as_wrong_data_wherever_it_is_read(ended, tmp_path):
    deep = tmp_path / "deep"
    deep.write_text("[" * 100_000)
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as archive:
        archive.write(deep, "bundle.json")

    assert ended("select", "lantern_0001.pmap", "--headers", deep)[0] == 3
    assert ended("affected", "lantern_0001.pmap", "lantern_0001.pmap", "--headers", deep)[0] == 3
    assert ended("unbundle", tmp_path / "deep.zip")[0] == 3
    with pytest.raises(ConfigurationError, match="not a lock file"):
        ReferenceLock.read(deep)


def test_select_takes_the_folder_of_an_observatory_with_rules_in_yaml(ended, tmp_path):
    folder = tmp_path / "myobs" / "camera" / "reference"
    folder.mkdir(parents=True)
    (folder / "dark.yaml").write_text(
        "type: dark\nmatch: [instrument.detector]\nentries:\n  - {match: [DET1], file: a.fits}\n"
    )
    header = {"META.INSTRUMENT.NAME": "CAMERA", "META.INSTRUMENT.DETECTOR": "DET1"}
    (tmp_path / "headers").write_text(json.dumps(header))

    status, out, _ = ended(
        "select", tmp_path / "myobs", "--headers", tmp_path / "headers", "--json"
    )

    assert status == 0
    assert json.loads(out) == {"answer": {"dark": "a.fits"}}


@pytest.mark.parametrize(
    ("name", "said"), [("b2.tar.gz", "b2.zip"), ("nonexist/x.zip", "make the folder first")]
)
def test_a_bundle_that_cannot_be_written_is_refused_before_anything_is_fetched(
    ended, raw, server, tmp_path, name, said
):
    status, _, err = ended("bundle", tmp_path / name, raw, "--server", server.url)

    assert status == 5
    assert said in err
    assert not server.requests
    assert not (tmp_path / name).exists()


def test_a_path_is_no_name_of_a_context_to_fetch(ended, server):
    status, _, err = ended("sync", "--contexts", "../../x.pmap", "--server", server.url)

    assert status == 5
    assert "not the name of a context" in err


def test_what_is_missing_is_told_without_numbers_of_the_system(ended, tmp_path):
    for typed in (("convert", tmp_path / "none.rmap"), ("checksum", tmp_path / "none.rmap")):
        status, _, err = ended(*typed)

        assert status == 5
        assert "Errno" not in err


@pytest.mark.usefixtures("synced")
def test_a_corrected_copy_never_takes_the_place_of_a_file(ended, cache, tmp_path):
    rules = cache.mapping_path("lantern_0001.pmap")
    (tmp_path / "copy.pmap").write_text("mine")

    status, _, err = ended("checksum", rules, "--write", tmp_path / "copy.pmap")

    assert status == 5
    assert "try:" in err
    assert (tmp_path / "copy.pmap").read_text() == "mine"


def test_a_cache_that_is_a_file_is_not_listed_as_empty(ended, tmp_path):
    (tmp_path / "passwd").write_text("root")

    status, out, err = ended("list", "--crds-path", tmp_path / "passwd")

    assert status == 5
    assert "no folder" in err
    assert "empty" not in out + err


def test_one_thing_is_counted_as_one_and_others_as_many():
    assert [counted(number, "type") for number in (0, 1, 2)] == ["0 types", "1 type", "2 types"]
