"""What is true of an archive, read piece by piece."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightmill.errors import CorruptFileError
from lightmill.observatories.hst.wfpc2.truth import Truth

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(PLAIN, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("truth")


@given(content=st.dictionaries(st.text(), VALUES), indent=st.sampled_from([None, 1]))
def test_pieces_are_what_the_whole_file_has(folder, content, indent):
    path = folder / "truth.json"
    path.write_text(json.dumps(content, indent=indent))

    truth = Truth(path)

    for name, value in content.items():
        assert name in truth
        assert truth.get(name) == value
        assert list(truth.each(name)) == (value if isinstance(value, list) else [])
        for below, one in value.items() if isinstance(value, dict) else ():
            assert truth.get(name, below) == one
            assert list(truth.each(name, below)) == (one if isinstance(one, list) else [])
    assert truth.get("not", "there") is None


@pytest.mark.parametrize(
    "content",
    ["", "{", '{"steps": [1, 2', '{"steps": [1 2]}', '{"steps" 1}', '{"steps": 1} more', "[1, 2]",
     '{"other": 1}', '{"steps": {"a": 1', "{1: 2}", "nonsense", '{"steps": 1 "other": 2}'],
)  # fmt: skip
def test_a_damaged_file_is_told(tmp_path, content):
    (tmp_path / "truth.json").write_text(content)

    with pytest.raises(CorruptFileError):
        Truth(tmp_path / "truth.json", needs=("steps",))


def test_only_one_piece_is_in_memory_at_a_time(tmp_path):
    member = {"dataset": "UZ010101T", "shifts": {"PC1": [1.5, 2.5]}, "q": "P"}
    many = [{"assoc_id": str(n), "members": [dict(member) for _ in range(4)]} for n in range(5000)]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"type_A": {"associations": many}}))
    del many

    def peak_of(what):
        tracemalloc.start()
        what()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    whole = peak_of(lambda: json.loads(path.read_text()))
    truth = Truth(path)
    pieces = peak_of(lambda: sum(1 for _ in truth.each("type_A", "associations")))

    assert pieces < whole / 100
