"""Trees spelled as YAML by us mean to a YAML parser what was to be said."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lightmill.models.asdf_tree import TAG, AsdfSection, Tagged, dump_any, dump_tree
from lightmill.models.yaml_text import NotPlain, block

TEXT = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["yes", "No", "null", "~", "1", "1e5", "0x1f", "2026-01-01", "12:30:45", "a: b",
                     "- a", "a #b", "#a", "*a", "&a", "!a", "%a", "@a", "`a", "{a", "[a", "a,b",
                     "", " a", "a ", "a\nb", "\t", "é", "\x7f", "\x85", "\u2028", "\ufeff", "=",
                     "<<", ".inf", "+1", "a\\b", '"', "'"]),
)  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT
)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=5)),
    max_leaves=25,
)


def _untagged(value: object) -> None:
    del value


@given(st.dictionaries(TEXT, TREES, max_size=6))
def test_a_parser_reads_what_was_spelled(tree):
    try:
        text = block(tree, _untagged)
    except NotPlain:
        return  # left to PyYAML
    assert yaml.safe_load(text) == tree


@given(st.dictionaries(st.text("abc_", min_size=1, max_size=5), TREES, max_size=5))
def test_an_asdf_file_holds_the_tree_it_was_made_of(tree):
    tree = {f"x{key}": value for key, value in tree.items()}
    tree["tagged"] = Tagged(f"{TAG}core/ndarray-1.1.0", {"source": "fits:SCI,1", "shape": [2, 3]})
    tree["inside"] = {"list": [Tagged("!other/thing-1.0", [1, "a"]), {"deep": [[1], [2, []]]}]}

    def read(content: bytes) -> dict:
        return AsdfSection(lambda: content, "file[ASDF]").tree()

    found = read(dump_tree(tree))
    found.pop("asdf_library")
    assert found == tree
    slowly = dump_any(Tagged(f"{TAG}core/asdf-1.1.0", tree))
    assert read(b"#ASDF 1.0.0\n" + slowly) == tree


def test_numbers_that_are_none_come_back():
    found = yaml.safe_load(
        block({"a": math.nan, "b": -math.inf, "c": 1e-300, "d": 1e22}, _untagged)
    )
    assert math.isnan(found["a"])
    assert found["b"] == -math.inf
    assert (found["c"], found["d"]) == (1e-300, 1e22)


@pytest.mark.parametrize("value", [{"a": object()}, {"a": "\x00"}])
def test_what_is_not_plain_is_left_to_others(value):
    with pytest.raises(NotPlain):
        block(value, _untagged)


def test_a_tree_without_end_is_left_to_others():
    tree: dict = {}
    tree["again"] = tree
    with pytest.raises(NotPlain):
        block(tree, _untagged)
