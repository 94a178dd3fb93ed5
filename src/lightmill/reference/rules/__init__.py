"""Rules that choose reference files: read safely, looked up fast, able to explain themselves."""

from lightmill.reference.rules.explanation import Explanation
from lightmill.reference.rules.mapping import (
    Context,
    FolderSource,
    InstrumentRules,
    Row,
    TypeRules,
    load,
)
from lightmill.reference.rules.values import condition, parse_date

__all__ = [
    "Context",
    "Explanation",
    "FolderSource",
    "InstrumentRules",
    "Row",
    "TypeRules",
    "condition",
    "load",
    "parse_date",
]
