"""The language rules of association are written in: YAML files, read into a `RuleSet`."""

from lightmill.association.language.reading import read_rules
from lightmill.association.language.rules import Rule, RuleSet

__all__ = ["Rule", "RuleSet", "read_rules"]
