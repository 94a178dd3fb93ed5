"""Progress on a terminal: a bar, where somebody looks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["shown_progress", "somebody_looks"]

Progress = Callable[[str, int, int], None]


def somebody_looks() -> bool:
    """Say whether messages go to a terminal."""
    return sys.stderr.isatty()


@contextlib.contextmanager
def shown_progress(*, shown: bool) -> Iterator[Progress | None]:
    """Give a function that draws bars on the terminal while the context lasts.

    Parameters
    ----------
    shown : bool
        Whether to draw at all.

    Yields
    ------
    progress : callable or None
        To be told what is done, steps done and steps in all.
    """
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                label = what if len(what) <= 48 else what[:47] + "…"
                tasks[what] = bar.add_task(label, total=total)
            elif done == 0:  # the next input goes through the same
                bar.reset(tasks[what])
            bar.update(tasks[what], completed=done, total=total)

        yield progress
