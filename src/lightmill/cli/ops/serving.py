"""``lightmill ops serve`` and ``token``: the dashboard, and who may act there."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from lightmill.cli.commands import argument, command
from lightmill.cli.ops.place import root_option, site_of
from lightmill.errors import ConfigurationError

__all__ = ["serve", "token"]


@command("serve")
@root_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8780, show_default=True, help="Port; 0 takes a free one.")
@click.option("--name", "names", multiple=True, metavar="HOST",
              help="Name by which browsers elsewhere reach it; repeatable.")  # fmt: skip
@click.option(
    "--private", is_flag=True, help="Nobody reads without a login, on this machine either."
)
def serve(root: Path, host: str, port: int, names: tuple[str, ...], private: bool) -> int:
    """Serve the dashboard: what arrived, what waits, what runs, what failed."""
    application, tokens_of = _dashboard()
    from lightmill.dashboard.serving import run

    site = site_of(root)
    store = site.opened()
    app = application(
        site.place,
        archive=site.root / "archive",
        tokens=tokens_of(site.root),
        act=_acting(store),
        hosts=names,
        is_private=private,
        title=site.root.name,
    )

    def started(address: str) -> None:
        print(f"the dashboard is at {address}  (Ctrl-C ends it)", flush=True)
        print(f"to act there: lightmill ops token operate --root {shlex.quote(str(root))}",
              file=sys.stderr, flush=True)  # fmt: skip

    run(app, host, port, started)
    return 0


@command("token")
@argument("role", type=click.Choice(["read", "operate"]), metavar="ROLE",
          help="What its holder may do: read, or operate.")  # fmt: skip
@root_option
@click.option("--for", "name", default="", metavar="NAME", help="Who it is for.")
def token(role: str, root: Path, name: str) -> None:
    """Make a token to log in to the dashboard with; it is shown this once."""
    _dashboard()
    from lightmill.dashboard import new_token

    print(new_token(site_of(root).root, role, name))


def _dashboard() -> Any:
    try:
        from lightmill.dashboard import Tokens, application
    except ImportError as problem:
        raise ConfigurationError(
            "the dashboard needs packages that are not installed",
            place="lightmill ops serve",
            found=problem.name,
            remedy='pip install "lightmill[server]"',
        ) from problem
    return application, Tokens


def _acting(store: Any) -> Any:
    """Return what does to a task or file what somebody asked for in the dashboard."""
    from lightmill.workflow import machine

    events: Mapping[str, Any] = {
        "hold": machine.Hold, "release": machine.Release, "retry": machine.Retry,
        "cancel": machine.Cancel, "reprocess": machine.Reprocess, "priority": machine.Prioritise,
    }  # fmt: skip

    def act(number: int, action: str, facts: dict[str, Any], who: str) -> None:
        if action == "accept":
            store.accept(number, who=who)
        elif action == "quarantine":
            store.quarantine(number, facts["reason"], who=who)
        else:
            store.apply(number, events[action](**facts), who=who)

    return act
