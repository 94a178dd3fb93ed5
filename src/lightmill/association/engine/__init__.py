"""Evaluate rules of association on a pool."""

from lightmill.association.engine.explain import explain
from lightmill.association.engine.incremental import Associator
from lightmill.association.engine.options import Options
from lightmill.association.engine.run import associate, forget

__all__ = ["Associator", "Options", "associate", "explain", "forget"]
