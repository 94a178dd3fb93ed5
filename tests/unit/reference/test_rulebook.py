"""The rules in force, asked with data: what they are told of a header, and what they answer."""

from types import SimpleNamespace

import pytest

from lightmill.errors import (
    ConfigurationError,
    CorruptFileError,
    LightmillError,
    NothingSelectedError,
)
from lightmill.reference.at_hand import rules_are_at_hand
from lightmill.reference.rulebook import RuleBook
from lightmill.testing import make_ramp


class Library:
    """A library with one context, for two types of one instrument."""

    client = None

    def __init__(self):
        self.cache = SimpleNamespace(observatories=lambda: ["phare"])
        self.asked = []

    def context(self, observatory):
        if observatory != "phare":
            raise ConfigurationError(f"the cache has no rules of {observatory!r}")
        return self

    name = "phare_0042.pmap"
    header = {"parkey": ("META.INSTRUMENT.NAME",)}

    def rules(self, instrument):
        if instrument != "lantern":
            raise ConfigurationError(f"no instrument is called {instrument!r}")
        types = {"dark": "phare_lantern_dark_0001.rmap", "gain": "N/A"}
        return SimpleNamespace(types=types, rules=self.of_type)

    def of_type(self, reftype):
        if self.damaged:
            raise CorruptFileError(f"the rules of {reftype} are damaged")
        return SimpleNamespace(plain=self.plain)

    plain, damaged = True, False

    def required_keys(self, instrument, types=None):  # noqa: ARG002
        keys = ["META.INSTRUMENT.DETECTOR", "META.EXPOSURE.NGROUPS", "META.NO.SUCH"]
        return keys if types else [*keys, "META.EXPOSURE.NINTS"]

    def select(self, header, observatory, types):
        self.asked.append((header, observatory, list(types)))
        return dict.fromkeys(types, "answer")


@pytest.fixture
def ramp():
    model = make_ramp(shape=(6, 8), n_groups=4)
    model.meta.telescope = "PHARE"
    model.meta.instrument.name = "LANTERN"
    return model


@pytest.fixture
def library():
    return Library()


def test_rules_are_told_what_they_ask_and_no_more(ramp, library):
    RuleBook(library).choose(ramp, ["dark"])

    ((header, observatory, types),) = library.asked
    assert observatory == "phare"
    assert types == ["dark"]
    assert header["META.EXPOSURE.NGROUPS"] == "4"
    assert header["META.INSTRUMENT.NAME"] == "LANTERN"
    assert "META.NO.SUCH" not in header


def test_a_type_the_context_does_not_have_is_not_asked_for(ramp, library):
    answers = RuleBook(library).choose(ramp, ["dark", "mask"])

    assert answers["dark"] == "answer"
    assert isinstance(answers["mask"], NothingSelectedError)
    assert answers["mask"].place == "phare_0042.pmap"


def test_expressions_may_look_at_what_the_rules_of_other_types_do(ramp, library):
    library.plain = False

    RuleBook(library).choose(ramp, ["dark"])

    ((header, _, _),) = library.asked
    assert header["META.EXPOSURE.NINTS"] == "1"


def test_damaged_rules_of_one_type_leave_the_others_alone(ramp, library):
    library.damaged = True

    answers = RuleBook(library).choose(ramp, ["dark", "gain"])

    assert isinstance(answers["dark"], CorruptFileError)
    assert answers["gain"] == "answer"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("telescope", "OTHER", "no rules of 'other'"),
        ("instrument.name", "CANDLE", "no instrument is called 'candle'"),
        ("telescope", None, "which observatory"),
        ("instrument.name", None, "which instrument"),
    ],
)
def test_what_makes_all_types_miss_is_the_reason_of_each(ramp, library, path, value, said):
    ramp.meta[path] = value

    answers = RuleBook(library).choose(ramp, ["dark", "gain"])

    assert set(answers) == {"dark", "gain"}
    for answer in answers.values():
        assert isinstance(answer, LightmillError)
        assert said in answer.story()


def test_an_observatory_is_known_by_its_folder_in_the_cache(ramp, library):
    assert RuleBook(library).knows(ramp)
    ramp.meta.telescope = "OTHER"
    assert not RuleBook(library).knows(ramp)


def test_rules_are_looked_for_where_something_names_a_place(monkeypatch, tmp_path):
    for name in ("CRDS_PATH", "CRDS_PATH_SINGLE", "CRDS_DEFAULT_CACHE", "CRDS_MAPPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert not rules_are_at_hand(None)
    assert rules_are_at_hand(None, tmp_path)
    monkeypatch.setenv("CRDS_PATH", str(tmp_path))
    assert rules_are_at_hand()
    monkeypatch.delenv("CRDS_PATH")
    (tmp_path / "lightmill" / "crds" / "mappings").mkdir(parents=True)
    assert rules_are_at_hand()
