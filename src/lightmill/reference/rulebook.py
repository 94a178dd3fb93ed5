"""The rules in force: asked with data, they answer with reference files.

Which cache holds them is said by the user or by the ``CRDS_*`` variables, which context is in force
by the user, by ``CRDS_CONTEXT``, or by the cache. Nothing is loaded before something is asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lightmill.errors import ConfigurationError, LightmillError, NothingSelectedError
from lightmill.models import Model
from lightmill.reference.headers import header_of

if TYPE_CHECKING:
    from lightmill.reference.library import Library
    from lightmill.reference.rules import Context
    from lightmill.reference.selected import Selected

__all__ = ["RuleBook", "rule_of"]

_books: dict[tuple[object, ...], RuleBook] = {}


class RuleBook:
    """The rules of a cache, and the files they name.

    Parameters
    ----------
    library : Library
        The cache, its context, and perhaps a server.
    """

    def __init__(self, library: Library) -> None:
        self.library = library

    @classmethod
    def at(
        cls,
        crds_path: str | Path | None = None,
        context: str | None = None,
        lock: str | Path | None = None,
    ) -> RuleBook:
        """Return the rules of a cache; read once, however many exposures ask.

        Parameters
        ----------
        crds_path : path_like, optional
            The cache; by default what the ``CRDS_*`` variables say.
        context : str, optional
            The context; by default what the lock file, ``CRDS_CONTEXT`` or the cache say.
        lock : path_like, optional
            A lock file: nothing but what it pins is used.
        """
        from lightmill.reference.cache import Cache
        from lightmill.reference.client import Client
        from lightmill.reference.library import Library
        from lightmill.reference.lock_file import ReferenceLock

        pinned = None if lock is None else ReferenceLock.read(lock)
        cache = Cache(crds_path)
        said = tuple(sorted((n, v) for n, v in os.environ.items() if n.startswith("CRDS_")))
        key = (str(cache.root.absolute()), context, repr(pinned), said, _age(cache.root))
        if key not in _books:
            _books.clear()  # one is enough: another is asked for when something changed
            client = Client.from_environment()
            _books[key] = cls(Library(cache, client, context=context, lock=pinned))
        return _books[key]

    def knows(self, model: Model) -> bool:
        """Say whether there are any rules for the observatory a model comes from."""
        telescope = str(model.meta.get("telescope") or "").lower()
        known = telescope in self.library.cache.observatories()
        return bool(telescope) and (known or self.library.client is not None)

    def choose(self, model: Model, types: Iterable[str]) -> dict[str, Selected | LightmillError]:
        """Return the files that serve a model, or why there is none.

        Parameters
        ----------
        model : Model
            The data; only their header counts.
        types : iterable of str
            Types of reference.

        Returns
        -------
        answers : dict
            Type → the file, or the error that says why there is none.
        """
        types = list(types)
        try:
            context, instrument = self._context(model), _instrument(model)
            known = set(self.types(model))
        except LightmillError as error:
            return dict.fromkeys(types, error)
        answers: dict[str, Selected | LightmillError] = {
            one: NothingSelectedError(
                f"the context has no rules for references of type {one}", place=context.name
            )
            for one in types
            if one not in known
        }
        keys: dict[str, None] = dict.fromkeys(context.header["parkey"])
        asked = []
        for one in types:
            if one not in known:
                continue
            try:
                keys.update(dict.fromkeys(_keys(context, instrument, one)))
                asked.append(one)
            except LightmillError as error:  # the rules of this type are damaged
                answers[one] = error
        if asked:
            header = header_of(model, keys)
            answers.update(self.library.select(header, _observatory(model), asked))
        return answers

    def types(self, model: Model) -> list[str]:
        """Return the types of reference that the context knows for a model's instrument."""
        rules = self._context(model).rules(_instrument(model))
        return [name.lower() for name in rules.types]

    def _context(self, model: Model) -> Context:
        return self.library.context(_observatory(model))


def rule_of(selected: Selected) -> str:
    """Return the file of rules and the row in it that chose a reference; empty where none did."""
    try:
        found = selected.explanation
    except LightmillError:  # the context answers without asking rules
        return ""
    if found is None or not found.row:
        return ""
    since = f", from {found.use_after}" if found.use_after else ""
    return f"{Path(found.mapping).name} {found.row}{since}"


def _keys(context: Context, instrument: str, reftype: str) -> list[str]:
    """Return what the rules of a type look at; expressions may look at what other types do."""
    rules = context.rules(instrument)
    if rules.types.get(reftype) in {"N/A", "OMIT"} or rules.rules(reftype).plain:
        return context.required_keys(instrument, [reftype])
    return context.required_keys(instrument)


def _observatory(model: Model) -> str:
    return _said(model, "telescope", "TELESCOP", "which observatory they come from")


def _instrument(model: Model) -> str:
    return _said(model, "instrument.name", "INSTRUME", "which instrument took them")


def _said(model: Model, path: str, keyword: str, what: str) -> str:
    """Return what the data say of their origin, lower case; it is an error if they say nothing."""
    value = model.meta.get(path)
    if not value:
        raise ConfigurationError(
            f"the data do not say {what}",
            place=f"{model.path or model.model_type}[PRIMARY/{keyword}]",
            remedy=f"set {keyword}, or give the references with --references DIR or --override-TYPE",
        )
    return str(value).lower()


def _age(root: Path) -> tuple[int, ...]:
    """Return what changes when a cache is told of a new context."""
    found = []
    for path in sorted((root / "config").glob("*/server_config")):
        try:
            found.append(path.stat().st_mtime_ns)
        except OSError:
            continue
    return tuple(found)
