"""Read rules from the YAML files of an observatory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from string import Formatter
from typing import Any

from lightmill.association.language.places import place_of
from lightmill.association.language.rules import Attribute, Group, Node, Rule, RuleSet, Test
from lightmill.association.language.short_form import DEFAULTS, expanded
from lightmill.errors import ConfigurationError, UnknownNameError
from lightmill.yaml_files import read_yaml

__all__ = ["TESTS", "read_rules", "rules_from"]

POOL = "pool.yaml"  # the columns of pools, which stands beside the rules
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
CLAIMS = (*GROUPS, *ATTRIBUTES, *TESTS, "use", "share", "the_rule")
_MORE = ("name", "like", "lacks", "one_of", "optional", "offer_again", "only_for")
_BESIDE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(GROUPS, ("name", "offer_again")),
    **dict.fromkeys(ATTRIBUTES, _MORE),
    "record": ("name",),
}
SHARED = (
    *("not_set", "required", "columns", "raw_suffix", "file_name", "program_width"),
    "names_as_written",
    *("discovered", "integrations_suffix", "levels", "observatory_role", "roles"),
    *("all_integrations", "name_parts", "products", "finishes", "conditions", "fragments"),
    *("suffixes", "about"),
)
_RULE_KEYS = {
    *("rule", "type", "roles", "product", "finish", "valid", "level_valid"),
    *("integrations", "wrap", "fragments", "accept", "level", "about", "group_by", "members"),
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
        Those of all files.

    Raises
    ------
    ConfigurationError
        If a file is no YAML, or says what rules cannot say; the place has file, line and rule.
    """
    files: list[Path] = []
    for folder in folders:
        found = sorted(folder.glob("*.yaml")) if folder.is_dir() else [folder]
        files += [file for file in found if file.name != POOL or not folder.is_dir()]
    if not files:
        raise ConfigurationError("there are no rules of association", place=folders[0])
    return rules_from((str(file), read_yaml(file)) for file in files)


def rules_from(documents: Iterable[tuple[str, Any]]) -> RuleSet:
    """Return the rules some documents hold, as `read_rules` does.

    Parameters
    ----------
    documents : iterable of (str, mapping)
        Place and content of each.
    """
    shared: dict[str, Any] = {}
    sources: dict[tuple[str, str], str] = {}
    written: list[tuple[str, int, int, Any]] = []
    for place, content in documents:
        if not isinstance(content, Mapping):
            raise ConfigurationError("a file of rules is a mapping", place=place, found=content)
        for key, value in content.items():
            if key == "rules":
                if not isinstance(value, list):
                    raise ConfigurationError(
                        "rules are a list", place=place_of(place, ["rules"]), found=value
                    )
                level = content.get("level", 0)
                written += [(place, level, index, rule) for index, rule in enumerate(value)]
            elif key == "level":
                continue
            elif key not in SHARED:
                raise UnknownNameError(
                    "word of a file of rules", key, SHARED, place=place_of(place, [key])
                )
            elif isinstance(value, Mapping) and isinstance(shared.get(key, {}), Mapping):
                known = shared.setdefault(key, {})
                for name, one in value.items():
                    if known.get(name, one) != one:
                        raise _twice(f"{key}: {name}", place, [key, name], sources)
                shared[key] = {**known, **value}
            elif shared.get(key, value) != value:
                raise _twice(key, place, [key], sources)
            else:
                shared[key] = value
            if isinstance(value, Mapping):
                sources.update({(key, str(name)): place for name in value})
    shared = {**DEFAULTS, **shared}
    rules = [
        _Builder(place, shared, sources, level, index, rule).rule()
        for place, level, index, rule in written
    ]
    rules.sort(key=lambda rule: (rule.level, rule.name))
    for one, other in pairwise(rules):
        if one.name == other.name:
            raise ConfigurationError(
                f"two rules are called {one.name!r}", place=other.place, found=one.place
            )
    return RuleSet(tuple(rules), shared)


def _twice(
    name: str, place: str, where: list[str], sources: Mapping[tuple[str, str], str]
) -> ConfigurationError:
    return ConfigurationError(
        f"{name!r} is said differently by two files of rules",
        place=place_of(place, where),
        found=sources.get((where[0], where[-1])),
        remedy="give it another name, or use the rules alone with --ignore-default",
    )


Where = tuple["str | int", ...]


class _Builder:
    """Makes one rule of what is written of it."""

    def __init__(
        self,
        place: str,
        shared: Mapping[str, Any],
        sources: Mapping[tuple[str, str], str],
        level: Any,
        index: int,
        written: Any,
    ) -> None:
        self.file, self.shared, self.sources = place, shared, sources
        self.root: Where = ("rules", index)
        self.name = str(written.get("rule", "?")) if isinstance(written, Mapping) else "?"
        self.place = f"{place} [{self.name}]"
        if not isinstance(written, Mapping):
            raise self.wrong("a rule is a mapping", found=written)
        self.written = written = expanded(written, self.wrong)
        if "rule" not in written or "accept" not in written:
            raise self.wrong(
                "a rule has a name, and says what it accepts",
                expected="rule, and accept or members",
            )
        self.members: Mapping[str, Any] = written.get("members", {})
        self.level = written.get("level", level)
        self.fragments = {**shared.get("fragments", {}), **written.get("fragments", {})}
        self.again: dict[str, tuple[Node, ...]] = {}
        self.using: list[str] = []
        self.leaves = 0
        self.named: dict[str, Node] = {}

    def at(self, where: Where) -> str:
        """Return the place of a part: of the rule, or of what all rules share."""
        if where and where[0] == "/":
            file = self.sources.get((str(where[1]), str(where[2])), self.file)
            return f"{place_of(file, where[1:])} [{self.name}]"
        return f"{place_of(self.file, (*self.root, *where))} [{self.name}]"

    def wrong(self, fact: str, where: Where = (), **told: Any) -> ConfigurationError:
        return ConfigurationError(fact, place=self.at(where), **told)

    def choice(self, kind: str, name: Any, known: Iterable[str], where: Where) -> str:
        names = list(known)
        if name not in names:
            raise UnknownNameError(kind, str(name), names, place=self.at(where))
        return str(name)

    def rule(self) -> Rule:
        written, shared = self.written, self.shared
        for key in written:
            self.choice("word of a rule", key, _RULE_KEYS, (key,))
        levels = shared["levels"]
        level = levels[self.choice("level", str(self.level), levels, ("level",))]
        tree, where = written["accept"], ("accept",)
        if "wrap" in level and written.get("wrap", True):
            tree, where = level["wrap"], ("/", "levels", str(self.level), "wrap")  # type: ignore[assignment]
        accept = Group("all", self.nodes(tree, where))
        self.remember(accept)
        for index, finish in enumerate(written.get("finish", ())):
            known = shared.get("finishes", {})
            self.choice("way to finish", finish, known, ("finish", index))
        if "product" in written and "{" not in str(written["product"]):
            known = shared.get("products", {})
            self.choice("name of products", written["product"], known, ("product",))
        if "product" in written:
            self.check_product(str(written["product"]))
        kinds = shared.get("all_integrations", {}).get("kinds", {})
        valid = (*written.get("level_valid", level.get("valid", ())), *written.get("valid", ()))
        roles = self.choice("kind of roles", written.get("roles"), shared["roles"], ("roles",))
        return Rule(
            name=self.name,
            level=int(self.level),
            type=str(written.get("type", "none")),
            roles=roles,
            accept=accept,
            leaves=self.leaves,
            named=self.named,
            product=written.get("product"),
            finish=tuple(written.get("finish", ())),
            valid=tuple(valid),
            integrations=tuple(written.get("integrations", kinds)),
            members=tuple((role, member.get("where", {})) for role, member in self.members.items()),
            place=self.place,
        )

    def check_product(self, name: str) -> None:
        """Refuse a product whose name has parts that nothing gives."""
        pattern = self.shared.get("products", {}).get(name, name)
        known = {"program", "candidate", *self.shared.get("name_parts", {}), *self.named}
        try:
            parts = [part for _, part, _, _ in Formatter().parse(pattern) if part is not None]
        except ValueError as error:
            raise self.wrong(f"the product's name: {error}", ("product",), found=pattern) from error
        for part in parts:
            self.choice("part of a product's name", part, sorted(known), ("product",))

    def remember(self, node: Node) -> None:
        if node.name:
            self.named.setdefault(node.name, node)
        if isinstance(node, Group):
            for child in node.children:
                self.remember(child)

    def nodes(self, written: Any, where: Where) -> tuple[Node, ...]:
        if not isinstance(written, list):
            raise self.wrong("a tree is a list of claims", where, found=written)
        found: list[Node] = []
        for index, one in enumerate(written):
            found += self.node(one, (*where, index))
        return tuple(found)

    def node(self, written: Any, where: Where) -> tuple[Node, ...]:
        if not isinstance(written, Mapping):
            raise self.wrong("a claim is a mapping", where, found=written)
        words = [word for word in written if word in CLAIMS]
        if len(words) != 1:
            if not words:
                first = next(iter(written), "")
                raise UnknownNameError("claim", first, CLAIMS, place=self.at(where))
            raise self.wrong("these are several claims", where, found=" and ".join(words))
        word = words[0]
        for key in written:
            self.choice("word of a claim", key, (word, *_BESIDE.get(word, ())), (*where, key))
        if word in ("use", "share"):
            return self.fragment(word, written, where)
        if word == "the_rule":
            return (Group("all", self.nodes(self.written["accept"], ("accept",))),)
        if word in GROUPS:
            name = str(written.get("name", ""))
            children = self.nodes(written[word], (*where, word))
            return (Group(word, children, name, self.again_word(written, where)),)
        if word in ATTRIBUTES:
            return (self.attribute(word, written, where),)
        return (self.test(word, written, where),)

    def fragment(self, word: str, written: Mapping[str, Any], where: Where) -> tuple[Node, ...]:
        name = self.choice("fragment", written[word], self.fragments, (*where, word))
        if name in self.using:
            raise self.wrong(f"fragment {name!r} uses itself", where, found=" > ".join(self.using))
        own = name in self.written.get("fragments", {})
        inside: Where = ("fragments", name) if own else ("/", "fragments", name)
        if word == "share" and name in self.again:
            return self.again[name]
        self.using.append(name)
        nodes = self.nodes(self.fragments[name], inside)
        self.using.pop()
        if word == "share":
            self.again[name] = nodes
        return nodes

    def again_word(self, written: Mapping[str, Any], where: Where) -> str | None:
        word = written.get("offer_again")
        if word is None:
            return None
        return self.choice("time to offer a row again", word, AGAIN, (*where, "offer_again"))

    def attribute(self, word: str, written: Mapping[str, Any], where: Where) -> Attribute:
        columns = written[word]
        columns = tuple(columns) if isinstance(columns, list) else (columns,)
        if not columns or not all(isinstance(one, str) for one in columns):
            raise self.wrong("a claim is about columns", (*where, word), found=written[word])
        like = written.get("like")
        patterns = None if like is None else tuple(like if isinstance(like, list) else [like])
        for pattern in patterns or ():
            try:
                re.compile(f"^{pattern}$")
            except (re.error, RecursionError) as error:
                raise self.wrong(
                    f"this is no regular expression: {error}", (*where, "like"), found=pattern
                ) from error
        only_for = written.get("only_for")
        index, self.leaves = self.leaves, self.leaves + 1
        return Attribute(
            index=index,
            word=word,
            columns=columns,
            name=str(written.get("name", columns[0])),
            like=patterns,
            lacks=written.get("lacks"),
            one_of=written.get("one_of"),
            optional=bool(written.get("optional", False)) or word == "unset",
            offer_again=self.again_word(written, where),
            only_for=None if only_for is None else self.only_for(only_for, (*where, "only_for")),
        )

    def only_for(self, written: Any, where: Where) -> Test:
        (node,) = self.node(written, where)
        if not isinstance(node, Test):
            raise self.wrong("only_for is a test", where, found=written)
        return node

    def test(self, word: str, written: Mapping[str, Any], where: Where) -> Test:
        index = -1
        if word in ("record", "founds_too"):
            index, self.leaves = self.leaves, self.leaves + 1
        value = written[word]
        if word in ("where", "where_not") and isinstance(value, str):
            self.choice("condition", value, self.shared.get("conditions", {}), (*where, word))
        return Test(word, value, str(written.get("name", "")), index)
