"""Who keeps the archive of a store: asked by every command, so that nothing heavy is imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["DELIVERED", "is_kept_by_operations"]

DELIVERED = ("exposure", "jit", "jif")  # suffixes of what operations take in


def is_kept_by_operations(engine: Engine) -> bool:
    """Say whether operations keep the archive of a store.

    Parameters
    ----------
    engine : Engine
        Of the store.
    """
    from sqlalchemy import select

    from lightmill.workflow.store import tables as t

    d = t.datasets.c
    with engine.connect().execution_options(reads_only=True) as connection:
        query = select(d.id).where(d.suffix.in_(DELIVERED)).limit(1)
        return connection.execute(query).first() is not None
