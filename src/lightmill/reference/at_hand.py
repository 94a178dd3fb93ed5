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


def rules_are_at_hand(*named: str | Path | None) -> bool:
    """Say whether anything tells where rules are.

    Parameters
    ----------
    *named : path_like or None
        What the user named: a cache, a context, a lock file.
    """
    if any(one is not None for one in named) or any(os.environ.get(name) for name in _PLACES):
        return True
    from lightmill.reference.digests import cache_home

    return (cache_home() / "crds" / "mappings").is_dir()
