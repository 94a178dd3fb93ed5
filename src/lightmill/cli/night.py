"""``lightmill demo`` and ``lightmill simulate``: nights that never were."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo", "simulate"]


def demo(
    directory: Annotated[Path, typer.Argument(help="Folder to make.")] = Path("demo"),
    scene: Annotated[str, typer.Option(metavar="NAME", help="What to observe.")] = "demo",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
) -> int:
    """Simulate a small night, process it, write a report."""
    from lightmill import app
    from lightmill.pipeline.logs import configured

    with configured("WARNING" if quiet else "INFO", format="%(message)s"):
        report = app.demo(directory, scene)
    if not quiet:
        print(report)
    return 0


def simulate(
    scene: Annotated[str, typer.Argument(help="Name of a scene, or a scene file.")],
    directory: Annotated[Path, typer.Argument(help="Folder to write to.")],
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors only.")] = False,
) -> int:
    """Make raw exposures of a known scene, with references and truth."""
    from lightmill import app
    from lightmill.pipeline.logs import configured

    with configured("WARNING" if quiet else "INFO", format="%(message)s"):
        written = app.simulate(scene, directory)
    if not quiet:
        for path in [written] if isinstance(written, str | Path) else written:
            print(path)
    return 0
