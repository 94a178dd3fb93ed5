"""Rules and references that are known to be wrong: refused, unless the user allows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from lightmill.reference.cache import Cache
from lightmill.reference.layout import is_true
from lightmill.reference.selected import BadReferenceError

if TYPE_CHECKING:
    from lightmill.reference.rules import Context

__all__ = ["BadFiles"]


class BadFiles:
    """What the servers of a cache's observatories list as bad.

    Parameters
    ----------
    cache : Cache
        Where the lists are kept.
    environ : mapping
        The variables: ``CRDS_ALLOW_BAD_RULES`` and ``CRDS_ALLOW_BAD_REFERENCES``.
    """

    def __init__(self, cache: Cache, environ: Mapping[str, str]) -> None:
        self.cache = cache
        self._allow_bad_rules = is_true(environ.get("CRDS_ALLOW_BAD_RULES"))
        self._allow_bad_references = is_true(environ.get("CRDS_ALLOW_BAD_REFERENCES"))

    def refuse_rules(self, observatory: str, names: Iterable[str]) -> None:
        """Raise an error if rules are known to be wrong, unless that is allowed.

        Raises
        ------
        BadReferenceError
            If a name is in the list of bad files.
        """
        config = None if self._allow_bad_rules else self.cache.config(observatory)
        for name in names if config else ():
            if config and name in config.bad_files:
                raise BadReferenceError(
                    "these rules are known to be wrong",
                    place=name,
                    found=f"listed in bad_files_list of {config.place}",
                    remedy="use another context, or set CRDS_ALLOW_BAD_RULES=1",
                )

    def refuse_types(
        self, context: Context, observatory: str, instrument: str, types: list[str] | None
    ) -> None:
        """Raise an error if rules that will be asked are known to be wrong."""
        config = None if self._allow_bad_rules else self.cache.config(observatory)
        if config is None or not config.bad_files:
            return
        rules = context.rules(instrument)
        asked = {name.lower() for name in types} if types else None
        names = [n for kind, n in rules.types.items() if asked is None or kind.lower() in asked]
        self.refuse_rules(observatory, [rules.name, *names])

    def problem(self, name: str, observatory: str) -> BadReferenceError | None:
        """Return the error of a reference known to be wrong; None of others."""
        config = self.cache.config(observatory)
        if config and name in config.bad_files and not self._allow_bad_references:
            return BadReferenceError(
                "this reference is known to be wrong",
                place=name,
                found=f"listed in bad_files_list of {config.place}",
                remedy="use another context or file, or set CRDS_ALLOW_BAD_REFERENCES=1",
            )
        return None
