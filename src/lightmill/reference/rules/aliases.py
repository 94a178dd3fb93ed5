"""Fields that have two names: a path of metadata and a FITS keyword."""

from __future__ import annotations

import functools

__all__ = ["other_names"]

_SCHEMA = "exposure-1.0.0"  # whose fields every observation has


def other_names(key: str, observatory: str) -> tuple[str, ...]:
    """Return the other names under which a header may give a field.

    Parameters
    ----------
    key : str
        The name the rules use, upper case: ``META.INSTRUMENT.DETECTOR`` or ``DETECTOR``.
    observatory : str
        Whose names, lower case; those of an observatory nobody registered are not known.
    """
    return _names(observatory).get(key, ())


def _names(observatory: str) -> dict[str, tuple[str, ...]]:
    from lightmill.instrument import observatories

    known = {one.name.lower(): one.name for one in observatories()}
    return _table(known[observatory]) if observatory in known else {}


@functools.cache
def _table(observatory: str) -> dict[str, tuple[str, ...]]:
    from lightmill.models.overlay import model_schema

    found: dict[str, list[str]] = {}
    for (_, keyword), field in model_schema(_SCHEMA, observatory).keywords.items():
        path = f"META.{field.path.upper()}"
        found.setdefault(path, []).append(keyword)
        found.setdefault(keyword, []).append(path)
    return {key: tuple(dict.fromkeys(names)) for key, names in found.items()}
