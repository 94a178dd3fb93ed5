"""Fields that have two names: a path of metadata and a FITS keyword."""

from __future__ import annotations

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
    table = _tables.get(observatory)
    if table is None:
        table = _names(observatory)
        if table:  # the observatory may be registered later
            _tables[observatory] = table
    return table.get(key, ())


_tables: dict[str, dict[str, tuple[str, ...]]] = {}


def _names(observatory: str) -> dict[str, tuple[str, ...]]:
    from lightmill.instrument import observatories

    name = next((one.name for one in observatories() if one.name.lower() == observatory), None)
    if name is None:
        return {}

    from lightmill.models.overlay import model_schema

    found: dict[str, list[str]] = {}
    for (_, keyword), field in model_schema(_SCHEMA, name).keywords.items():
        path = f"META.{field.path.upper()}"
        found.setdefault(path, []).append(keyword)
        found.setdefault(keyword, []).append(path)
    return {key: tuple(dict.fromkeys(names)) for key, names in found.items()}
