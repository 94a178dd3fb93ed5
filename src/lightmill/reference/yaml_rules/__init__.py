"""Rules as their authors like to write them: one YAML file a type, the same rules as mapping files."""

from lightmill.reference.yaml_rules.folder import YamlRules, collect, has_rules, rules_of
from lightmill.reference.yaml_rules.reading import read_rules
from lightmill.reference.yaml_rules.writing import write_rules

__all__ = ["YamlRules", "collect", "has_rules", "read_rules", "rules_of", "write_rules"]
