"""Reference files: which one calibrates these data.

All but `References` is imported when it is asked for: a run with a folder of references needs
neither caches nor rules.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lightmill.reference.local import References

if TYPE_CHECKING:
    from lightmill.reference.cache import Cache
    from lightmill.reference.client import Client
    from lightmill.reference.library import Library
    from lightmill.reference.lock_file import ReferenceLock
    from lightmill.reference.rulebook import RuleBook
    from lightmill.reference.rules import (
        Context,
        Explanation,
        InstrumentRules,
        TypeRules,
        condition,
        load,
    )

__all__ = [
    "Cache", "Client", "Context", "Explanation", "InstrumentRules", "Library", "ReferenceLock",
    "References", "RuleBook", "TypeRules", "condition", "load",
]  # fmt: skip

_HOMES = {
    "Cache": "cache",
    "Client": "client",
    "Context": "rules",
    "Explanation": "rules",
    "InstrumentRules": "rules",
    "Library": "library",
    "ReferenceLock": "lock_file",
    "RuleBook": "rulebook",
    "TypeRules": "rules",
    "condition": "rules",
    "load": "rules",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
