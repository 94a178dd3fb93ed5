"""``lightmill view``: look at a product."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lightmill.cli.commands import argument, command
from lightmill.errors import UsageError

if TYPE_CHECKING:
    from lightmill.viewing.viewer import Viewer

__all__ = ["view"]


@command("view")
@argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    help="FITS or ASDF files; several are blinked.",
)
@click.option("--extension", metavar="NAME", help="Image shown first, as SCI, ERR, DQ or WHT.")
@click.option(
    "--plane", metavar="N[,N]", help="Plane shown first, from 0: INTEGRATION,GROUP of a ramp."
)
@click.option(
    "--catalog",
    metavar="CATALOG",
    type=click.Path(path_type=Path),
    help="Sources to lay over it (ECSV): sky_centroid, ra and dec, or xcentroid and ycentroid.",
)
@click.option(
    "--html",
    metavar="PAGE",
    type=click.Path(path_type=Path),
    help="Write one page with the image inside, binned, and serve nothing.",
)
@click.option("--ds9", is_flag=True, help="Send it to DS9, or who else listens, over SAMP.")
@click.option("--port", default=0, show_default=True, help="Port on this machine; 0: a free one.")
@click.option("--no-browser", is_flag=True, help="Print the address and open no browser.")
@click.option("--once", is_flag=True, help="End when the page is closed.")
def view(
    files: tuple[Path, ...],
    extension: str | None,
    plane: str | None,
    catalog: Path | None,
    html: Path | None,
    ds9: bool,
    port: int,
    no_browser: bool,
    once: bool,
) -> int:
    """Look at an image: in the browser, on one page, or in DS9."""
    if ds9:
        if catalog or html or plane:
            raise UsageError("--ds9 goes with none of --catalog, --html and --plane")
        return _send(files, extension)
    from lightmill import app
    from lightmill.viewing.product import Product
    from lightmill.viewing.sources import Sources
    from lightmill.viewing.viewer import Viewer

    app.discover()  # what the observatories' files call things
    viewer = Viewer(
        [Product(file) for file in files],
        sources=Sources(catalog) if catalog else None,
        layer=extension,
        planes=_numbers(plane),
    )
    if html is not None:
        from lightmill.viewing.page import write_page

        print(write_page(viewer, html))
        return 0
    return _serve(viewer, port, browser=not no_browser, once=once)


def _numbers(plane: str | None) -> list[int]:
    try:
        numbers = [int(one) for one in plane.split(",")] if plane else []
    except ValueError:
        numbers = [-1]
    if any(one < 0 for one in numbers):
        raise UsageError(
            "--plane is a number for each axis",
            found=plane,
            expected="N, or INTEGRATION,GROUP, from 0",
        )
    return numbers


def _send(files: tuple[Path, ...], extension: str | None) -> int:
    from lightmill.models import open as open_model
    from lightmill.viewing.samp import send_images

    for file in files:
        open_model(file)  # says what is wrong with it better than a viewer does
    for name in send_images(files, extension):
        print(f"sent to {name}")
    return 0


def _serve(viewer: Viewer, port: int, *, browser: bool, once: bool) -> int:
    from lightmill.viewing.server import serving

    with serving(viewer, port, once=once) as server:
        print(f"{server.url}  (Ctrl-C ends it)", flush=True)
        if browser:
            import webbrowser

            if not webbrowser.open(server.url):
                print("no browser was found; open the address yourself", file=sys.stderr)
        try:
            server.wait()
        except KeyboardInterrupt:
            print()
    return 0
