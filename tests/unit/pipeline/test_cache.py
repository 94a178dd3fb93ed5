import numpy as np
import pytest

from lightmill import models
from lightmill.errors import OutputError
from lightmill.pipeline import Products
from lightmill.pipeline.cache import (
    RunCache,
    file_digest,
    file_or_value,
    identity,
    model_identity,
)
from lightmill.testing import make_ramp

NOTES = {"steps": [], "references": {}}


@pytest.fixture
def cache(tmp_path):
    return RunCache(tmp_path / "cache")


def test_a_result_comes_back_as_it_was(cache, ramp):
    result = ramp.evolve(
        data=ramp.data + 1,
        average_dark_current=np.full((6, 8), 0.5, np.float32),
        meta={"exposure.gain_factor": 2.0},
    )
    result.history.append("made for a test")

    cache.keep("key", result, NOTES)
    found, notes = cache.find("key", ramp)

    assert type(found) is type(result)
    for name in result.arrays:
        np.testing.assert_array_equal(getattr(found, name), getattr(result, name))
    assert found.meta.flat() == result.meta.flat()
    assert found.history == ["made for a test"]
    assert notes == NOTES


def test_several_results_come_back_by_their_suffix(cache, ramp):
    cache.keep("key", Products(a=ramp, b=ramp.evolve(data=ramp.data * 2)), NOTES)

    found, _ = cache.find("key", ramp)

    assert set(found) == {"a", "b"}
    np.testing.assert_array_equal(found["b"].data, 2 * ramp.data)


def test_what_was_not_kept_is_not_found(cache, ramp):
    assert cache.find("key", ramp) is None


def test_large_results_stay_on_disk(cache, ramp, monkeypatch):
    monkeypatch.setattr("lightmill.pipeline.cache.IN_MEMORY_BYTES", 100)
    cache.keep("key", ramp, NOTES)

    found, _ = cache.find("key", ramp)

    assert type(found.array("data")).__name__ == "Spool"
    np.testing.assert_array_equal(found.data, ramp.data)


@pytest.mark.parametrize("name", ["state.json", ".data"])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_damaged_entry_is_removed_and_made_again(cache, ramp, name, how):
    cache.keep("key", ramp, NOTES)
    file = cache.directory / "key" / name
    if how == "cut":
        file.write_bytes(file.read_bytes()[:-10])
    else:
        file.unlink()

    assert cache.find("key", ramp) is None
    cache.keep("key", ramp, NOTES)
    assert cache.find("key", ramp) is not None


def test_what_a_killed_run_left_half_is_removed(cache, ramp):
    half = cache.directory / ".abcdef.part"
    half.mkdir(parents=True)
    (half / "data").write_bytes(b"half")

    cache.keep("key", ramp, NOTES)

    assert [p.name for p in cache.directory.iterdir()] == ["key"]


def test_a_folder_that_cannot_be_made_is_an_error_with_a_remedy(ramp, tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError, match="--cache-dir"):
        RunCache(tmp_path / "file").keep("key", ramp, NOTES)


# -- identities -----------------------------------------------------------------------------


def test_the_same_model_has_the_same_identity():
    assert model_identity(make_ramp(seed=1)) == model_identity(make_ramp(seed=1))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.data.__setitem__((0, 0, 0, 0), 7),
        lambda m: m.groupdq.__setitem__((0, 0, 0, 0), 1),
        lambda m: setattr(m.meta.exposure, "group_time", 11.0),
        lambda m: setattr(m, "zeroframe", np.zeros((1, 6, 8), np.float32)),
    ],
)
def test_whatever_is_changed_changes_the_identity(change):
    ramp = make_ramp()
    before = model_identity(ramp)

    change(ramp)

    assert model_identity(ramp) != before


def test_a_file_has_an_identity_without_being_read(file):
    model = models.open(file)

    model_identity(model)

    assert not any(isinstance(held, np.ndarray) for held in model.arrays.values())


def test_the_digest_of_a_file_follows_its_content(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    before = file_digest(path)
    path.write_bytes(b"other")

    assert file_digest(path) != before


def test_a_table_of_digests_that_is_damaged_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("lightmill.pipeline.cache._memory", None)
    (tmp_path / "lightmill").mkdir()
    (tmp_path / "lightmill" / "digests.json").write_text("[1, 2]")
    path = tmp_path / "a"
    path.write_bytes(b"one")

    assert len(file_digest(path)) == 64


def test_a_parameter_that_names_a_file_stands_for_its_content(tmp_path):
    path = tmp_path / "mask.fits"
    path.write_bytes(b"one")
    before = file_or_value(str(path))
    path.write_bytes(b"other")

    assert file_or_value(str(path)) != before
    assert file_or_value("median") == "median"
    assert file_or_value("x" * 10_000) == "x" * 10_000


def test_the_order_of_facts_matters():
    assert identity("a", "b") != identity("b", "a")
    assert identity("ab") != identity("a", "b")
