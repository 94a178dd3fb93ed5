"""The dashboard as a folder of files: it can be looked at, and mailed, without a server."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lightmill.dashboard import render
from lightmill.dashboard.access import Visitor
from lightmill.dashboard.actions import ACTIONS
from lightmill.dashboard.api import dataset_facts, job_facts, task_facts
from lightmill.dashboard.job_files import JobFiles
from lightmill.dashboard.lists import MOST, Filter, Page
from lightmill.dashboard.pages import overview_facts
from lightmill.dashboard.preview import Previews
from lightmill.dashboard.queries import STATES, Questions
from lightmill.errors import DataError

__all__ = ["export"]


def export(
    store_url: str | Path,
    folder: str | Path,
    *,
    archive: Path,
    title: str = "",
    most: int = 1000,
    clock: Callable[[], float] = time.time,
) -> Path:
    """Write overview, lists, and a page for each task, job and dataset into a folder.

    Parameters
    ----------
    store_url : str or Path
        URL of the store, or folder of the observatory.
    folder : path
        Made if it is not there; files of the same names are written over.
    archive : Path
        Folder of the archive, for previews; beside it are ``jobs``.
    title : str
        Of the observatory; by default its folder's name.
    most : int
        Of each kind the newest so many have pages.
    clock : callable
        Seconds since 1970.

    Returns
    -------
    path : Path
        ``index.html`` in the folder; its links are relative, and lead nowhere else.
    """
    folder, root = Path(folder), Path(archive).resolve().parent
    state = SimpleNamespace(
        questions=Questions(store_url), job_files=JobFiles(root / "jobs"), clock=clock,
        previews=Previews(Path(archive), root / "previews"), title=title or root.name,
    )  # fmt: skip
    try:
        return _Export(state, folder, most).write()
    finally:
        state.questions.close()


class _Export:
    """One export."""

    def __init__(self, state: Any, folder: Path, most: int) -> None:
        self.state, self.folder, self.now = state, folder, state.clock()
        self.lists = {what: _newest(state.questions, what, most) for what in STATES}
        self.things = {what: {row["id"] for row in page.rows} for what, page in self.lists.items()}
        self.pictures: set[tuple[int, str]] = set()

    def write(self) -> Path:
        """Write everything; return the first page."""
        (self.folder / "static").mkdir(parents=True, exist_ok=True)
        for name in ("style.css", "icon.svg"):
            shutil.copyfile(render.STATIC / name, self.folder / "static" / name)
        for row in self.lists["datasets"].rows:
            if row["kind"] == "product":
                self._draw(row["id"])
        self._write("index.html", "overview", "/", **overview_facts(self.state))
        for what, page in self.lists.items():
            self._write(
                f"{what}.html", "list", f"/{what}", what=what, page=page, is_searched=False,
                is_newest=True, given={},
            )  # fmt: skip
        events = self.state.questions.newest_events(MOST)
        self._write("events.html", "events", "/events", events=events, older=None, is_first=True)
        told: tuple[tuple[str, str, Callable[[Any, int], Any]], ...] = (
            ("tasks", "task", task_facts), ("jobs", "job", job_facts),
            ("datasets", "dataset", dataset_facts),
        )  # fmt: skip
        for what, one, facts in told:
            for number in sorted(self.things[what]):
                found = {one: facts(self.state, number), "actions": ACTIONS}
                self._write(f"{what}/{number}.html", one, f"/{what}/{number}", **found)
        return self.folder / "index.html"

    def _draw(self, number: int) -> None:
        place = self.state.questions.place(number)
        for size in ("thumb", "preview"):
            try:
                content = self.state.previews.picture(place["path"], place["sha256"], size)
            except DataError:
                return
            path = self.folder / "pictures" / f"{number}-{size}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            self.pictures.add((number, size))

    def _write(self, name: str, template: str, address: str, **facts: Any) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        at = render.Exported(name.count("/"), self.things, self.pictures)
        shown = {
            "at": at, "now": self.now, "title": self.state.title, "path": address,
            "visitor": Visitor(), "csrf": "", "can_log_in": False, "can_act": False,
            "asked_for": "", **facts,
        }  # fmt: skip
        path.write_bytes(render.page(template, **shown))


def _newest(questions: Questions, what: str, most: int) -> Page:
    """Return the newest rows of a list, as one page."""
    rows: list[dict[str, Any]] = []
    older: int | None = None
    while len(rows) < most:
        page = questions.page(what, Filter(before=older, limit=min(MOST, most - len(rows))))
        rows += page.rows
        older = page.older
        if older is None:
            break
    return Page(rows, older)
