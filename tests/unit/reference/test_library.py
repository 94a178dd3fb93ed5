"""Data get the references their rules name, verified, fetched or refused together."""

import json
import subprocess
import sys
import zipfile

import pytest

from lightmill import app
from lightmill.errors import ConfigurationError, CorruptFileError, LightmillError
from lightmill.reference.bundle import read_bundle, write_bundle
from lightmill.reference.cache import Cache
from lightmill.reference.client import Client
from lightmill.reference.config import ServerConfig
from lightmill.reference.library import (
    BadReferenceError,
    Library,
    MissingReferenceError,
    Selected,
    raise_together,
)
from lightmill.reference.lock_file import ReferenceLock
from lightmill.reference.transport import Patience, ServerError
from lightmill.testing.contexts import small_context
from lightmill.testing.loopback import loopback_server
from lightmill.testing.observatory.glowcam import INSTRUMENT

DARK, FLAT = "lantern_glowcam_dark_0001.fits", "lantern_glowcam_flat_0001.fits"
NEWER = "lantern_glowcam_dark_0002.fits"
REFERENCES = {
    "dark": {"G1": [("2020-01-01 00:00:00", DARK), ("2025-01-01 00:00:00", NEWER)]},
    "flat": {"G1": [("2020-01-01 00:00:00", FLAT)], "G2": [("2020-01-01 00:00:00", "N/A")]},
}
HEADER = {
    "META.INSTRUMENT.NAME": "GLOWCAM",
    "META.INSTRUMENT.DETECTOR": "G1",
    "META.OBSERVATION.DATE": "2024-06-01",
    "META.OBSERVATION.TIME": "12:00:00",
}
CONTENT = {DARK: b"dark" * 100, NEWER: b"newer" * 100, FLAT: b"flat" * 100}


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


@pytest.fixture
def rules():
    return small_context(references=REFERENCES)


@pytest.fixture
def server(rules):
    with loopback_server("lantern", {**rules, **CONTENT}) as running:
        running.answers["get_mapping_names"] = list(rules)
        yield running


@pytest.fixture
def cache(tmp_path, rules):
    """A cache with the rules and no references."""
    made = Cache(tmp_path / "cache")
    for name, text in rules.items():
        made.store(name, [text])
    return made


@pytest.fixture
def filled(cache):
    for name, content in CONTENT.items():
        cache.store(name, [content])
    return cache


def client_of(server):
    return Client(server.url, patience=Patience(2, 0.0, 5.0), environ={})


def library(cache, server=None, **options):
    options.setdefault("environ", {})
    return Library(cache, client_of(server) if server else None, **options)


def select(library, header=HEADER, types=None):
    return library.select(header, "lantern", types)


def test_data_get_their_files_without_a_server(filled):
    answers = select(library(filled))

    assert answers["dark"].path.read_bytes() == CONTENT[DARK]
    assert answers["flat"].name == FLAT
    assert answers["dark"].context == "lantern_0001.pmap"


def test_an_answer_says_by_which_row(filled):
    answer = select(library(filled), types=["dark"])["dark"]

    assert "G1" in answer.row


def test_what_is_not_needed_has_no_path(filled):
    answer = select(library(filled), HEADER | {"META.INSTRUMENT.DETECTOR": "G2"}, ["flat"])["flat"]

    assert answer.name == "N/A"
    assert answer.path is None


def test_all_that_is_missing_is_told_together(cache):
    answers = select(library(cache))

    assert {type(one) for one in answers.values()} == {MissingReferenceError}
    with pytest.raises(MissingReferenceError) as caught:
        raise_together(answers, "night.fits")
    assert DARK in caught.value.found
    assert FLAT in caught.value.found
    assert "refs sync" in caught.value.remedy


def test_one_type_without_an_answer_does_not_hide_the_others(filled):
    answers = select(library(filled), HEADER | {"META.OBSERVATION.DATE": "2001-01-01"})

    assert all(isinstance(one, LightmillError) for one in answers.values())
    assert {one.kind for one in answers.values()} == {"lookup"}


def test_what_is_missing_is_fetched(cache, server):
    answers = select(library(cache, server))

    assert answers["dark"].path.read_bytes() == CONTENT[DARK]
    assert answers["dark"].sha1
    assert not server.asked(NEWER)


def test_the_next_time_no_server_is_needed_and_files_are_still_verified(cache, server):
    select(library(cache, server))

    answers = select(library(Cache(cache.root)))

    assert answers["dark"].sha1


def test_an_empty_cache_and_a_server_are_enough(tmp_path, server):
    answers = select(library(Cache(tmp_path / "new"), server))

    assert answers["flat"].path.read_bytes() == CONTENT[FLAT]
    assert select(library(Cache(tmp_path / "new")))["flat"].sha1


def test_a_server_that_is_gone_does_no_harm_where_nothing_is_missing(filled, server):
    patient = library(filled, server)
    server.faults["rpc"] = ["503"] * 99

    assert isinstance(select(patient)["dark"], Selected)
    assert not server.requests


def test_a_server_that_is_gone_is_named_where_something_is_missing(cache, server):
    patient = library(cache, server)
    server.faults["rpc"] = ["503"] * 99

    answers = select(patient)

    assert {type(one) for one in answers.values()} == {ServerError}


def test_a_damaged_file_is_repaired_if_there_is_a_server(cache, server):
    path = select(library(cache, server))["dark"].path
    path.write_bytes(b"DARK" * 100)

    assert isinstance(select(library(Cache(cache.root)))["dark"], CorruptFileError)
    assert select(library(Cache(cache.root), server))["dark"].path.read_bytes() == CONTENT[DARK]


def test_a_damaged_file_is_an_error_that_names_it(cache, server):
    path = select(library(cache, server))["dark"].path
    path.write_bytes(b"DARK")

    error = select(library(Cache(cache.root)))["dark"]

    assert str(path) in error.place
    assert "--repair" in error.remedy


def test_a_readonly_cache_says_what_it_lacks(cache, server):
    answers = select(library(Cache(cache.root, readonly=True), server))

    assert "CRDS_READONLY_CACHE" in answers["dark"].remedy


@pytest.mark.parametrize(
    ("context", "environ", "name"),
    [
        (None, {}, "lantern_0002.pmap"),
        (None, {"CRDS_CONTEXT": "lantern_0001.pmap"}, "lantern_0001.pmap"),
        ("lantern_0003.pmap", {"CRDS_CONTEXT": "lantern_0001.pmap"}, "lantern_0003.pmap"),
    ],
)
def test_an_argument_goes_before_the_variable_and_that_before_the_cache(
    cache, context, environ, name
):
    for number in (2, 3):
        for file, text in small_context(references=REFERENCES, number=number).items():
            cache.store(file, [text])
    note = cache.root / "config/lantern/server_config"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text("{'operational_context': 'lantern_0002.pmap', 'observatory': 'lantern'}")

    assert library(cache, context=context, environ=environ).context("lantern").name == name


def test_a_context_can_be_a_path(filled, tmp_path):
    aside = tmp_path / "draft" / "lantern_9999.pmap"
    aside.parent.mkdir()
    aside.write_bytes(next(iter(small_context(references=REFERENCES, number=1).values())))

    answers = select(library(filled, context=str(aside)))

    assert answers["dark"].path.read_bytes() == CONTENT[DARK]


def test_an_observatory_that_keeps_its_rules_in_its_own_folder_needs_no_cache(tmp_path):
    app.register(INSTRUMENT)
    own = library(Cache(tmp_path / "new"))

    assert own.context("lantern").instruments
    with pytest.raises(ConfigurationError, match="cannot be bundled"):
        own.mappings_for("lantern", ["glowcam"])


def test_rules_of_a_cache_go_before_those_of_the_folder(cache):
    app.register(INSTRUMENT)

    assert library(cache).context("lantern").name == "lantern_0001.pmap"


def test_the_first_error_names_the_observatorys_own_server(tmp_path):
    app.discover()

    with pytest.raises(ConfigurationError, match="--server https://"):
        library(Cache(tmp_path / "new")).context("jwst")


@pytest.mark.parametrize("bad", ["lantern_0001.pmap", "lantern_glowcam_dark_0001.rmap"])
def test_rules_known_as_wrong_are_refused(filled, bad):
    _mark_bad(filled, bad)

    with pytest.raises(BadReferenceError, match="wrong"):
        select(library(filled))
    assert select(library(filled, environ={"CRDS_ALLOW_BAD_RULES": "1"}))


def test_a_reference_known_as_wrong_is_refused(filled):
    _mark_bad(filled, DARK)

    answers = select(library(filled))

    assert isinstance(answers["dark"], BadReferenceError)
    assert isinstance(answers["flat"], Selected)
    allowed = library(filled, environ={"CRDS_ALLOW_BAD_REFERENCES": "1"})
    assert isinstance(select(allowed)["dark"], Selected)


def _mark_bad(cache, name):
    note = cache.root / "config/lantern/server_config"
    note.write_text(
        repr(
            {
                "observatory": "lantern",
                "operational_context": "lantern_0001.pmap",
                "bad_files_list": [name],
            }
        )
    )


EVIL = "../../../../tmp/x/EVIL.pmap"


@pytest.mark.parametrize("state", ["operational_context", "edit_context", "context_history"])
def test_a_configuration_with_names_that_lead_elsewhere_is_not_kept(server, cache, state):
    library(cache, server).refresh("lantern")
    before = cache.config("lantern").text()
    server.facts[state] = EVIL if state != "context_history" else [["2020-01-01", EVIL, ""]]

    with pytest.raises(ConfigurationError, match="no cache may have"):
        library(cache, server).refresh("lantern")

    assert Cache(cache.root).config("lantern").text() == before


@pytest.mark.parametrize("name", [EVIL, "EVIL.pmap", "lantern_0666.pmap"])
def test_a_configuration_that_names_no_context_there_is_heals_with_the_next_server(
    server, tmp_path, name
):
    cache = Cache(tmp_path / "empty")
    cache.save_config(ServerConfig({"observatory": "lantern", "operational_context": name}))

    assert select(library(cache, server))["dark"].context == "lantern_0001.pmap"
    assert Cache(cache.root).config("lantern").context() == "lantern_0001.pmap"


def test_a_context_that_cannot_be_had_is_replaced_by_asking_for_the_one_in_use(tmp_path):
    cache = Cache(tmp_path / "empty")
    cache.save_config(ServerConfig({"observatory": "lantern", "operational_context": "EVIL.pmap"}))

    with pytest.raises(ConfigurationError) as caught:
        select(library(cache))

    assert "--contexts lantern-latest" in caught.value.remedy


def test_a_context_named_by_the_user_is_never_replaced_by_another(server, cache):
    with pytest.raises(ConfigurationError, match="lantern_0666"):
        select(library(cache, server, context="lantern_0666.pmap"))


def test_a_path_where_no_rules_are_is_no_name_of_a_context(cache):
    with pytest.raises(ConfigurationError, match="neither the name of a context") as caught:
        select(library(cache, context="../../x.pmap"))

    assert caught.value.found == "../../x.pmap"


@pytest.mark.parametrize(("is_file", "said"), [(True, "a file"), (False, "no such folder")])
def test_a_cache_that_is_no_folder_is_not_called_empty(tmp_path, is_file, said):
    place = tmp_path / "passwd"
    if is_file:
        place.write_text("root")

    with pytest.raises(ConfigurationError) as caught:
        Cache(place).default_context("lantern")

    assert said in caught.value.found


# -- bundles --------------------------------------------------------------------------------


@pytest.fixture
def bundle(filled, rules, tmp_path):
    path = tmp_path / "night.zip"
    names = [*rules, DARK, FLAT]
    where = {DARK: "glowcam", FLAT: "glowcam"}
    write_bundle(
        path,
        filled,
        observatory="lantern",
        context="lantern_0001.pmap",
        names=names,
        instruments=where,
    )
    return path


def test_a_bundle_fills_an_empty_cache(bundle, tmp_path):
    read_bundle(bundle, Cache(tmp_path / "new"))

    answers = select(library(Cache(tmp_path / "new")))
    assert answers["dark"].path.read_bytes() == CONTENT[DARK]
    assert answers["dark"].sha1


def test_a_bundle_leaves_alone_what_is_there(bundle, filled):
    before = filled.reference_path(DARK).stat().st_mtime_ns

    read_bundle(bundle, filled)

    assert filled.reference_path(DARK).stat().st_mtime_ns == before


def test_a_bundle_does_not_replace_another_file_of_the_same_name(bundle, cache):
    cache.reference_path(DARK).write_bytes(b"mine")

    with pytest.raises(CorruptFileError, match="another file of this name"):
        read_bundle(bundle, cache)

    assert cache.reference_path(DARK).read_bytes() == b"mine"


def test_a_bundle_that_is_cut_short_is_refused(bundle, tmp_path):
    bundle.write_bytes(bundle.read_bytes()[:-300])

    with pytest.raises(CorruptFileError, match=r"night\.zip"):
        read_bundle(bundle, Cache(tmp_path / "new"))


def test_a_bundle_with_a_changed_file_is_refused(bundle, tmp_path):
    bundle.write_bytes(bundle.read_bytes().replace(b"darkdark", b"darkdarq"))

    with pytest.raises(CorruptFileError, match=r"night\.zip") as caught:
        read_bundle(bundle, Cache(tmp_path / "new"))

    assert DARK in caught.value.found
    assert "server" not in caught.value.story()
    assert not Cache(tmp_path / "new").has(DARK, "lantern")


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/b.fits", ".bashrc"])
def test_a_bundle_cannot_write_outside_the_cache(bundle, tmp_path, name):
    crafted = tmp_path / "evil.zip"
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(crafted, "w") as new:
        contents = json.loads(old.read("bundle.json"))
        contents["files"] = [{"name": name, "size": 4, "sha1": "0" * 40}]
        new.writestr("bundle.json", json.dumps(contents))
        new.writestr(f"references/{name}", b"evil")

    with pytest.raises(ConfigurationError, match="no name"):
        read_bundle(crafted, Cache(tmp_path / "new"))

    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("key", ["observatory", "context", "instrument"])
def test_a_bundle_cannot_name_a_folder_outside_the_cache(bundle, tmp_path, key):
    crafted = tmp_path / "evil.zip"
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(crafted, "w") as new:
        contents = json.loads(old.read("bundle.json"))
        (contents["files"][-1] if key == "instrument" else contents)[key] = "../.."
        new.writestr("bundle.json", json.dumps(contents))

    with pytest.raises(ConfigurationError, match="no name"):
        read_bundle(crafted, Cache(tmp_path / "new"))


# -- locks ----------------------------------------------------------------------------------


@pytest.fixture
def lock(filled, rules, tmp_path):
    made = ReferenceLock.of(filled, "lantern", list(rules), [DARK, FLAT])
    return ReferenceLock.read(made.write(tmp_path / "night.lock"))


def test_a_lock_pins_context_and_content(filled, lock):
    for name, text in small_context(references={"dark": {}}, number=2).items():
        filled.store(name, [text])

    answers = select(library(filled, lock=lock))

    assert answers["dark"].context == "lantern_0001.pmap"
    assert answers["dark"].sha1 == lock.references[DARK].sha1


def test_other_content_than_the_lock_pins_is_an_error(filled, lock):
    filled.reference_path(DARK).write_bytes(b"kard" * 100)

    error = select(library(filled, lock=lock))["dark"]

    assert isinstance(error, CorruptFileError)
    assert "night.lock" in error.remedy


def test_other_rules_than_the_lock_pins_are_an_error(filled, lock):
    path = filled.mapping_path("lantern_glowcam_dark_0001.rmap")
    path.write_bytes(
        small_context(references={"dark": {"*": [("2020-01-01 00:00:00", FLAT)]}})[path.name]
    )

    with pytest.raises(CorruptFileError, match="not those the lock file pins"):
        raise_together(select(library(filled, lock=lock), types=["dark"]))


def test_a_reference_the_lock_does_not_have_is_an_error(filled, lock):
    answers = select(library(filled, lock=lock), HEADER | {"META.OBSERVATION.DATE": "2026-01-01"})

    assert "lock file does not have" in answers["dark"].fact
    assert isinstance(answers["flat"], Selected)


def test_a_lock_and_another_context_cannot_both_be_meant(filled, lock):
    with pytest.raises(ConfigurationError, match="another context"):
        library(filled, lock=lock, context="lantern_0002.pmap")


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "other"}'])
def test_a_file_that_is_no_lock_is_refused(tmp_path, text):
    path = tmp_path / "x.lock"
    path.write_text(text)

    with pytest.raises(ConfigurationError, match="not a lock file"):
        ReferenceLock.read(path)


def test_the_package_hands_out_its_classes_and_imports_them_only_then():
    code = """
import sys
import lightmill.reference as reference
before = {"cache", "client", "library", "lock_file", "rulebook", "rules"} & {
    name.removeprefix("lightmill.reference.") for name in sys.modules
}
print(sorted(before), *(getattr(reference, name).__name__ for name in reference.__all__))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.split() == [
        "[]", "Cache", "Client", "Context", "Explanation", "InstrumentRules", "Library",
        "ReferenceLock", "References", "RuleBook", "TypeRules", "condition", "load",
    ]  # fmt: skip
