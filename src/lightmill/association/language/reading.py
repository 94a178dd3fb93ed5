"""Read rules from the YAML files of an observatory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from lightmill.association.language.rules import Attribute, Group, Node, Rule, RuleSet, Test
from lightmill.errors import ConfigurationError, UnknownNameError
from lightmill.yaml_files import read_yaml

__all__ = ["TESTS", "read_rules", "rules_from"]

GROUPS = ("all", "any", "none", "not_all")
ATTRIBUTES = ("same", "each", "unset")
TESTS = (
    "role",
    "role_not",
    "no_member_yet",
    "observatory_role",
    "record",
    "candidate_not",
    "last_role_not",
    "founds_too",
    "offer_to_all",
    "where",
    "where_not",
)
AGAIN = ("to_existing", "at_the_end")
_ATTRIBUTE_KEYS = {
    *("same", "each", "unset", "name", "like", "lacks"),
    *("one_of", "optional", "offer_again", "only_for"),
}
_RULE_KEYS = {
    *("rule", "type", "roles", "product", "finish", "valid", "level_valid"),
    *("integrations", "wrap", "fragments", "accept", "level", "about"),
}


def read_rules(*folders: Path) -> RuleSet:
    """Return the rules of an observatory.

    Parameters
    ----------
    *folders : Path
        Folders of YAML files, or such files. Rules come in the order of their levels and names.

    Returns
    -------
    rules : RuleSet

    Raises
    ------
    ConfigurationError
        If a file is no YAML, or says what rules cannot say; the place has file and rule.
    """
    files: list[Path] = []
    for folder in folders:
        files += sorted(folder.glob("*.yaml")) if folder.is_dir() else [folder]
    if not files:
        raise ConfigurationError("there are no rules of association", place=folders[0])
    return rules_from((str(file), read_yaml(file)) for file in files)


def rules_from(documents: Iterable[tuple[str, Mapping[str, Any]]]) -> RuleSet:
    """Return the rules some documents hold, as `read_rules` does.

    Parameters
    ----------
    documents : iterable of (str, mapping)
        Place and content of each.
    """
    shared: dict[str, Any] = {}
    written: list[tuple[str, int, Mapping[str, Any]]] = []
    for place, content in documents:
        if not isinstance(content, Mapping):
            raise ConfigurationError("a file of rules is a mapping", place=place, found=content)
        for key, value in content.items():
            if key == "rules":
                written += [(place, int(content.get("level", 0)), rule) for rule in value]
            elif key == "level":
                continue
            elif isinstance(value, Mapping) and isinstance(shared.get(key), Mapping):
                shared[key] = {**shared[key], **value}
            else:
                shared[key] = value
    rules = [_Builder(place, shared, level, rule).rule() for place, level, rule in written]
    rules.sort(key=lambda rule: (rule.level, rule.name))
    for one, other in pairwise(rules):
        if one.name == other.name:
            raise ConfigurationError(
                f"two rules are called {one.name!r}", place=other.place, found=one.place
            )
    return RuleSet(tuple(rules), shared)


class _Builder:
    """Makes one rule of what is written of it."""

    def __init__(
        self, place: str, shared: Mapping[str, Any], level: int, written: Mapping[str, Any]
    ) -> None:
        self.written = written
        self.name = str(written.get("rule", "?"))
        self.place = f"{place} [{self.name}]"
        self.shared = shared
        self.level = int(written.get("level", level))
        self.fragments = {**shared.get("fragments", {}), **written.get("fragments", {})}
        self.again: dict[str, tuple[Node, ...]] = {}
        self.leaves = 0
        self.named: dict[str, Node] = {}

    def wrong(self, fact: str, **told: Any) -> ConfigurationError:
        return ConfigurationError(fact, place=self.place, **told)

    def choice(self, kind: str, name: str, known: Iterable[str]) -> str:
        names = list(known)
        if name not in names:
            raise UnknownNameError(kind, str(name), names, place=self.place)
        return name

    def rule(self) -> Rule:
        written, shared = self.written, self.shared
        for key in written:
            self.choice("word of a rule", key, _RULE_KEYS)
        if "accept" not in written or "rule" not in written:
            raise self.wrong("a rule has a name and what it accepts", expected="rule, accept")
        self.choice("level", str(self.level), shared.get("levels", {}))
        level = shared["levels"][str(self.level)]
        tree = written["accept"]
        if "wrap" in level and written.get("wrap", True):
            tree = level["wrap"]
        accept = Group("all", self.nodes(tree))
        self.remember(accept)
        for finish in written.get("finish", ()):
            self.choice("way to finish", finish, shared.get("finishes", {}))
        if "product" in written:
            self.choice("name of products", written["product"], shared.get("products", {}))
        kinds = shared.get("all_integrations", {}).get("kinds", {})
        valid = (*written.get("level_valid", level.get("valid", ())), *written.get("valid", ()))
        return Rule(
            name=self.name,
            level=self.level,
            type=str(written.get("type", "none")),
            roles=self.choice("kind of roles", written.get("roles", ""), shared.get("roles", {})),
            accept=accept,
            leaves=self.leaves,
            named=self.named,
            product=written.get("product"),
            finish=tuple(written.get("finish", ())),
            valid=tuple(valid),
            integrations=tuple(written.get("integrations", kinds)),
            place=self.place,
        )

    def remember(self, node: Node) -> None:
        if node.name:
            self.named.setdefault(node.name, node)
        if isinstance(node, Group):
            for child in node.children:
                self.remember(child)

    def nodes(self, written: Any) -> tuple[Node, ...]:
        if not isinstance(written, list):
            raise self.wrong("a tree is a list of claims", found=written)
        found: list[Node] = []
        for one in written:
            found += self.node(one)
        return tuple(found)

    def node(self, written: Any) -> tuple[Node, ...]:
        if not isinstance(written, Mapping):
            raise self.wrong("a claim is a mapping", found=written)
        if "use" in written or "share" in written:
            return self.fragment(written)
        if "the_rule" in written:
            return (Group("all", self.nodes(self.written["accept"])),)
        for word in GROUPS:
            if word in written:
                return (
                    Group(
                        word,
                        self.nodes(written[word]),
                        str(written.get("name", "")),
                        self.again_word(written),
                    ),
                )
        for word in ATTRIBUTES:
            if word in written:
                return (self.attribute(word, written),)
        for word in TESTS:
            if word in written:
                return (self.test(word, written),)
        known = [*GROUPS, *ATTRIBUTES, *TESTS, "use", "share"]
        raise UnknownNameError("claim", next(iter(written), ""), known, place=self.place)

    def fragment(self, written: Mapping[str, Any]) -> tuple[Node, ...]:
        name = str(written.get("use", written.get("share")))
        self.choice("fragment", name, self.fragments)
        if "use" in written:
            return self.nodes(self.fragments[name])
        if name not in self.again:
            self.again[name] = self.nodes(self.fragments[name])
        return self.again[name]

    def again_word(self, written: Mapping[str, Any]) -> str | None:
        word = written.get("offer_again")
        return None if word is None else self.choice("time to offer a row again", word, AGAIN)

    def attribute(self, word: str, written: Mapping[str, Any]) -> Attribute:
        for key in written:
            self.choice("word of a claim", key, _ATTRIBUTE_KEYS)
        columns = written[word]
        columns = tuple(columns) if isinstance(columns, list) else (columns,)
        like = written.get("like")
        only_for = written.get("only_for")
        index, self.leaves = self.leaves, self.leaves + 1
        return Attribute(
            index=index,
            word=word,
            columns=columns,
            name=str(written.get("name", columns[0])),
            like=None if like is None else tuple(like if isinstance(like, list) else [like]),
            lacks=written.get("lacks"),
            one_of=written.get("one_of"),
            optional=bool(written.get("optional", False)) or word == "unset",
            offer_again=self.again_word(written),
            only_for=None if only_for is None else self.only_for(only_for),
        )

    def only_for(self, written: Mapping[str, Any]) -> Test:
        (node,) = self.node(written)
        if not isinstance(node, Test):
            raise self.wrong("only_for is a test", found=written)
        return node

    def test(self, word: str, written: Mapping[str, Any]) -> Test:
        index = -1
        if word in ("record", "founds_too"):
            index, self.leaves = self.leaves, self.leaves + 1
        value = written[word]
        if word in ("where", "where_not") and isinstance(value, str):
            self.choice("condition", value, self.shared.get("conditions", {}))
        return Test(word, value, str(written.get("name", "")), index)
