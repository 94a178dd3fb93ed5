"""The archive store: an SQL database of everything that arrived, waits, ran and was made."""

from lightmill.workflow.store.opening import create_store, open_engine
from lightmill.workflow.store.store import Store
from lightmill.workflow.store.values import Arrival, Outcome, Startable, TaskPlan, Verdict

__all__ = [
    "Arrival",
    "Outcome",
    "Startable",
    "Store",
    "TaskPlan",
    "Verdict",
    "create_store",
    "open_engine",
]
