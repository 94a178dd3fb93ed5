"""``lightmill refs serve``: contexts, best references and files for everyone near."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from lightmill.cli.commands import command
from lightmill.errors import ConfigurationError

__all__ = ["serve"]


@command("serve")
@click.option(
    "--crds-path",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The cache to serve; by default what CRDS_PATH says. It is only read.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8770, show_default=True, help="Port; 0 takes a free one.")
@click.option(
    "--operational",
    metavar="CONTEXT",
    multiple=True,
    help="The context in use (.pmap), one for each observatory.",
)
@click.option(
    "--observatory", metavar="NAME", multiple=True, help="Serve these only; by default all."
)
@click.option("--url", metavar="URL", help="Address clients know, if a proxy hides this one.")
def serve(
    crds_path: Path | None,
    host: str,
    port: int,
    operational: tuple[str, ...],
    observatory: tuple[str, ...],
    url: str | None,
) -> int:
    """Serve a cache of references: for Lightmill, the official client, and browsers."""
    from lightmill.reference.cache import Cache

    try:
        from lightmill.reference.server.app import create_app
        from lightmill.serving import listening, run
    except ImportError as problem:
        raise ConfigurationError(
            "the server needs packages that are not installed",
            place="lightmill refs serve",
            found=problem.name,
            remedy='pip install "lightmill[server]"',
        ) from problem
    from lightmill import app as observatories

    observatories.discover()  # their keywords, to read pasted headers
    cache = Cache(crds_path, readonly=True)
    application = create_app(cache, operational=operational, only=observatory or None, url=url)
    for line in application.state.holdings.problems():
        print(f"warning: {line}", file=sys.stderr)

    def started(address: str) -> None:
        print(f"serving {cache.root} at {address}  (Ctrl-C ends it)", flush=True)

    run(application, listening(host, port), started)
    return 0
