"""Which context is in force in a cache, and which one a person means."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from lightmill.errors import ConfigurationError
from lightmill.reference.config import STATES, is_date
from lightmill.reference.layout import known_server, plain_name

if TYPE_CHECKING:
    from lightmill.reference.cache import Cache

__all__ = ["default_context", "resolve_context", "version_of"]


def default_context(cache: Cache, observatory: str) -> str:
    """Return the context to use where nobody names one.

    It is the operational or latest one of the configuration; without a
    configuration the one with the greatest number in the cache.

    Parameters
    ----------
    cache : Cache
        Whose rules.
    observatory : str
        Whose contexts.

    Returns
    -------
    name : str
        File name of the context.

    Raises
    ------
    ConfigurationError
        If the cache knows no context.
    """
    config = cache.config(observatory)
    named = config.context() if config else None
    if named:
        return named
    contexts = [name for name in cache.mappings(observatory) if name.endswith(".pmap")]
    if contexts:
        return max(contexts, key=version_of)
    raise _unknown(cache, observatory)


def resolve_context(cache: Cache, spec: str | None, observatory: str) -> str:
    """Return the name of the context a person means.

    Parameters
    ----------
    cache : Cache
        Whose rules.
    spec : str or None
        A name (``jwst_1234.pmap``); ``latest``, ``operational``, ``edit``, ``versions``,
        ``build``; a date; or one of these after the observatory and a dash.
    observatory : str
        Whose contexts.

    Returns
    -------
    name : str
        File name of the context, or the path that was given.

    Raises
    ------
    ConfigurationError
        If the configuration does not tell, or the text is none of these.
    """
    if not spec:
        return default_context(cache, observatory)
    if spec.endswith(".pmap"):
        return spec if os.sep in spec else plain_name(Path(spec).name)
    what = spec.removeprefix(f"{observatory}-")
    config = cache.config(observatory)
    if what in STATES:
        found = config.context(what) if config else None
        if found is None and what in {"operational", "latest"}:
            return default_context(cache, observatory)
    elif is_date(what):
        found = config.context_at(what) if config else None
    else:
        raise ConfigurationError(
            "this names no context",
            place=spec,
            found=spec,
            expected=f"a .pmap name, a date, or one of {', '.join(STATES)}",
            remedy="lightmill refs list --contexts shows those of the cache",
        )
    if found is None:
        raise ConfigurationError(
            f"the cache does not know which context is {what!r}",
            place=cache.layout.folder("config", observatory) / "server_config",
            remedy="name the context (.pmap), or ask a server: lightmill refs sync --contexts "
            f"{observatory}-{what}",
        )
    return found


def _unknown(cache: Cache, observatory: str) -> ConfigurationError:
    others = cache.observatories()
    return ConfigurationError(
        f"the cache has no rules of {observatory!r}",
        place=cache.layout.story(),
        found=f"rules of {', '.join(others)}" if others else cache.layout.emptiness(),
        expected=str(cache.layout.folder("mappings", observatory) / "*.pmap"),
        remedy="set CRDS_PATH to a cache that has them; or fill this one: lightmill refs sync "
        f"--contexts {observatory}-latest --server {known_server(observatory)}; or lightmill refs "
        "unbundle FILE",
    )


def version_of(name: str) -> tuple[list[int], str]:
    """Return what the names of a context's versions are sorted by: their numbers.

    The digest in the name of a context that was made of YAML rules is no number: what was
    submitted to it afterwards has one, and is later.
    """
    numbered = re.sub(r"_[0-9a-f]{8}(?=\.)", "", name)
    return [int(number) for number in re.findall(r"\d+", numbered)], name
