"""Rules of association as data: trees of what a row must be to join an association."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Attribute", "Group", "Node", "Rule", "RuleSet", "Test", "leaves_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    """A claim about the first of some columns that is set in a row."""

    index: int  # of its memory, in the state of an association
    word: str  # same: narrowed by the first value; each: never narrowed; unset: must not be set
    columns: tuple[str, ...]
    name: str = ""
    like: tuple[str, ...] | None = None  # regular expressions, any of which must fit the value
    lacks: str | None = None  # the value has not the narrowed value of that node in it
    one_of: str | None = None  # the value is one that node has found
    optional: bool = False  # a row in which no column is set is accepted
    offer_again: str | None = None  # to_existing or at_the_end
    only_for: Test | None = None  # rows of which this is not true are accepted unseen


@dataclass(frozen=True, slots=True, eq=False)
class Test:
    """A claim about a row and the association, other than about equal values."""

    word: str
    value: Any
    name: str = ""
    index: int = -1  # of its memory; tests that record a value have one


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Nodes, of which all, any, none or not all must be true."""

    word: str  # all, any, none, not_all
    children: tuple[Node, ...]
    name: str = ""
    offer_again: str | None = None


Node = Attribute | Test | Group


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One recipe: which rows come together, in which roles, and what is made of them."""

    name: str
    level: int
    type: str
    roles: str
    accept: Group
    leaves: int  # how many nodes have a memory
    named: Mapping[str, Node]  # first node of each name, depth first
    product: str | None = None
    finish: tuple[str, ...] = ()
    valid: tuple[Mapping[str, Any], ...] = ()
    integrations: tuple[str, ...] = ()
    members: tuple[tuple[str, Any], ...] = ()  # roles and their rows, if the rule itself says so
    place: str = ""


@dataclass(eq=False)
class RuleSet:
    """All rules of an observatory, in the order they are tried, and what they share."""

    rules: tuple[Rule, ...]
    shared: Mapping[str, Any]
    memory: dict[str, Any] = field(default_factory=dict)  # of the engine, between runs

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    @property
    def as_written(self) -> tuple[str, ...]:
        """The columns of a pool whose letters keep their case: that of file names, or none."""
        return (self.shared["columns"]["file"],) if self.shared.get("names_as_written") else ()


def leaves_of(node: Node) -> Iterator[Attribute | Test]:
    """Yield the leaves of a tree, depth first."""
    if isinstance(node, Group):
        for child in node.children:
            yield from leaves_of(child)
    else:
        yield node
