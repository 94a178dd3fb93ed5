"""What the commands on references share: the cache meant, and what data files need."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightmill.errors import ConfigurationError, DataError, LightmillError

if TYPE_CHECKING:
    from lightmill.reference.library import Library, Selected

__all__ = ["Needs", "by_observatory", "cache_options", "library_at", "needs_of", "server_options"]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def cache_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say which cache and context are meant."""
    for option in (
        click.option(
            "--context",
            metavar="CONTEXT",
            help="The rules to use: a .pmap, OBS-latest, OBS-DATE. [default: CRDS_CONTEXT, or what "
            "the cache was told last]",
        ),
        click.option(
            "--crds-path",
            metavar="DIR",
            type=click.Path(path_type=Path),
            help="The cache. [default: CRDS_PATH, or a folder of our own]",
        ),
    ):
        function = option(function)
    return function


def server_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option that says which server to ask."""
    return click.option(
        "--server",
        metavar="URL",
        help="The server to ask. [default: CRDS_SERVER_URL]",
    )(function)


def library_at(crds_path: Path | None, context: str | None, server: str | None = None) -> Library:
    """Return the references of a cache; a server is asked only if one is named."""
    from lightmill import app
    from lightmill.reference.cache import Cache
    from lightmill.reference.client import Client
    from lightmill.reference.library import Library

    app.discover()  # observatories say what their headers mean, and where their server is
    client = Client(server) if server else None
    return Library(Cache(crds_path), client, context=context)


def server_or_environment(server: str | None) -> str | None:
    """Return the address of the server to ask, or None if there is none."""
    from lightmill.reference.client import is_serverless

    url = server or os.environ.get("CRDS_SERVER_URL")
    return None if is_serverless(url) else url


@dataclass
class Needs:
    """What one data file needs.

    Parameters
    ----------
    path : Path
        The data.
    observatory, instrument : str
        Where they come from, lower case.
    answers : dict
        Type → what the rules say, or why they say nothing.
    """

    path: Path
    observatory: str
    instrument: str
    answers: dict[str, Selected | LightmillError] = field(default_factory=dict)

    @property
    def names(self) -> dict[str, str]:
        """Type → file."""
        from lightmill.reference.library import Selected

        return {
            kind: one.name
            for kind, one in self.answers.items()
            if isinstance(one, Selected) and one.is_file
        }

    @property
    def errors(self) -> dict[str, LightmillError]:
        """Type → why the rules name no file."""
        return {k: one for k, one in self.answers.items() if isinstance(one, LightmillError)}


def needs_of(files: Iterable[Path], library: Library, types: Sequence[str] = ()) -> list[Needs]:
    """Return what data files need, without looking whether it is there.

    Parameters
    ----------
    files : iterable of Path
        Data files, of any observatories.
    library : Library
        Their rules.
    types : sequence of str
        Types of reference; by default all the instrument has.

    Raises
    ------
    DataError
        If a file does not say which observatory and instrument it comes from.
    """
    from lightmill import models
    from lightmill.reference.headers import header_of

    found = []
    for path in files:
        model = models.open(path)
        observatory, instrument = (
            str(model.meta.get(key) or "").lower() for key in ("telescope", "instrument.name")
        )
        if not observatory or not instrument:
            raise DataError(
                "the file does not say which observatory and instrument it comes from",
                place=path,
                expected="TELESCOP and INSTRUME in the primary header",
                remedy="give exposures, not reference files or tables",
            )
        context = library.context(observatory)
        asked = list(types) or None
        header = header_of(model, context.required_keys(instrument, asked))
        needs = Needs(path, observatory, instrument)
        needs.answers = library.choose(header, observatory, asked)
        found.append(needs)
    return found


def by_observatory(needs: Iterable[Needs]) -> dict[str, dict[str, str]]:
    """Return, by observatory, the references that are needed, each with its instrument."""
    found: dict[str, dict[str, str]] = {}
    for one in needs:
        for name in one.names.values():
            found.setdefault(one.observatory, {})[name] = one.instrument
    return found


def only_observatory(needs: Sequence[Needs]) -> str:
    """Return the observatory of all data.

    Raises
    ------
    ConfigurationError
        If there are several, or no data.
    """
    names = sorted({one.observatory for one in needs})
    if len(names) != 1:
        raise ConfigurationError(
            "the data have to come from one observatory",
            found=", ".join(names) or "no data",
            remedy="make one file for each observatory",
        )
    return names[0]
