"""Which observatory a command is about: its folder, and the file there that says the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from lightmill.errors import ConfigurationError

__all__ = ["FILE", "Site", "root_option", "site_of"]

FILE = "observatory.yaml"


@dataclass(frozen=True)
class Site:
    """An observatory's folder, and what its file says.

    Attributes
    ----------
    root : Path
    store : str
        URL of the store; empty: a file in the folder.
    observatory : str
        Name of the leaf.
    run : tuple of str
        Words for every ``lightmill run``.
    """

    root: Path
    store: str = ""
    observatory: str = ""
    run: tuple[str, ...] = field(default=())

    @property
    def place(self) -> str:
        """Where the store is."""
        return self.store or str(self.root)

    def opened(self, who: str = "service") -> Any:
        """Return the store, with the policy of the observatory."""
        from lightmill.workflow.machine import Policy
        from lightmill.workflow.store import Store

        store = Store(self.place, who=who)
        store.policy = Policy(**store.setting("policy", {}))
        return store


def root_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option that names the folder."""
    option: Callable[..., Any] = click.option(
        "--root", default=".", show_default=True, envvar="LIGHTMILL_ROOT", metavar="DIR",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of the observatory; LIGHTMILL_ROOT names it, too.",
    )  # fmt: skip
    return option(function)


def site_of(root: Path) -> Site:
    """Return what an observatory's folder says.

    Raises
    ------
    ConfigurationError
        If it is none.
    """
    import yaml

    path = root / FILE
    if not path.exists():
        raise ConfigurationError(
            "this is no folder of an observatory",
            place=root,
            expected=f"the file {FILE}",
            remedy=f"lightmill ops init --root {root}",
        )
    try:
        facts = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "the observatory's file is no YAML", place=path, found=str(error).splitlines()[0]
        ) from error
    unknown = set(facts) - {"store", "observatory", "run"}
    if unknown:
        raise ConfigurationError(
            "the observatory's file says what nobody knows",
            place=path,
            found=", ".join(sorted(unknown)),
            expected="store, observatory, run",
        )
    return Site(
        root.resolve(), facts.get("store") or "", facts.get("observatory") or "",
        tuple(map(str, facts.get("run") or ())),
    )  # fmt: skip
