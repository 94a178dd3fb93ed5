"""Whether there are any rules to choose by: asked at every start, so it reads nothing."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["rules_are_at_hand"]

_PLACES = (
    "CRDS_PATH",
    "CRDS_PATH_SINGLE",
    "CRDS_DEFAULT_CACHE",
    "CRDS_MAPPATH",
    "CRDS_MAPPATH_SINGLE",
)


def rules_are_at_hand(crds_path: str | Path | None = None) -> bool:
    """Say whether anything tells where rules are.

    Parameters
    ----------
    crds_path : path_like, optional
        The cache the user named.
    """
    if crds_path is not None or any(os.environ.get(name) for name in _PLACES):
        return True
    from lightmill.reference.digests import cache_home

    return (cache_home() / "crds" / "mappings").is_dir()
