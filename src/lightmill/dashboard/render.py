"""Pages from templates: the same for a server and for a folder of files, which differ in their links."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup

from lightmill.dashboard import charts
from lightmill.dashboard.queries import STATES

__all__ = ["STATIC", "Exported", "Served", "no_picture", "page"]

TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"


class Served:
    """Addresses on a server."""

    is_live = True

    def home(self) -> str:
        """Return the address of the overview."""
        return "/"

    def listed(self, what: str, **query: Any) -> str:
        """Return the address of a list, or of a part of it."""
        given = {name: value for name, value in query.items() if value not in (None, "")}
        return f"/{what}?{urlencode(given)}" if given else f"/{what}"

    def thing(self, what: str, number: int) -> str:
        """Return the address of one task, job or dataset."""
        return f"/{what}/{int(number)}"

    def dataset(self, number: int) -> str:
        """Return the address of a dataset."""
        return self.thing("datasets", number)

    def static(self, name: str) -> str:
        """Return the address of a style sheet or script."""
        return f"/static/{name}"

    def picture(self, number: int, size: str) -> str:
        """Return the address of a dataset's picture; empty if there is none."""
        return f"/datasets/{int(number)}/{size}.png"


class Exported:
    """Addresses from one file of a folder to another.

    Parameters
    ----------
    depth : int
        Folders between the page and the folder.
    things : mapping of str to set of int
        Which tasks, jobs and datasets have a page.
    pictures : set of (int, str)
        Which pictures there are: number of the dataset, size.
    """

    is_live = False

    def __init__(
        self, depth: int, things: Mapping[str, set[int]], pictures: set[tuple[int, str]]
    ) -> None:
        self.up, self.things, self.pictures = "../" * depth, things, pictures

    def home(self) -> str:
        """Return the address of the overview."""
        return f"{self.up}index.html"

    def listed(self, what: str, **query: Any) -> str:
        """Return the address of a list; its parts have none of their own."""
        state = query.get("state")
        return f"{self.up}{what}.html" + (f"#{state}" if state else "")

    def thing(self, what: str, number: int) -> str:
        """Return the address of one task, job or dataset; empty if it has no page."""
        return f"{self.up}{what}/{int(number)}.html" if number in self.things.get(what, ()) else ""

    def dataset(self, number: int) -> str:
        """Return the address of a dataset; empty if it has no page."""
        return self.thing("datasets", number)

    def static(self, name: str) -> str:
        """Return the address of a style sheet."""
        return f"{self.up}static/{name}"

    def picture(self, number: int, size: str) -> str:
        """Return the address of a dataset's picture; empty if there is none."""
        return (
            f"{self.up}pictures/{int(number)}-{size}.png" if (number, size) in self.pictures else ""
        )


def page(name: str, **facts: Any) -> bytes:
    """Return a page.

    Parameters
    ----------
    name : str
        Of the template.
    **facts
        ``at`` (`Served` or `Exported`), ``now`` and ``title``, and what the template shows.
    """
    text = _environment().get_template(f"{name}.html.j2").render(states=STATES, **facts)
    # Names may hold halves of characters, which no page can.
    return text.encode("utf-8", "backslashreplace")


def no_picture(reason: str) -> bytes:
    """Return what is shown, as SVG, where there is no picture; it tells why."""
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 60" width="480" height="60">'
            '<rect width="480" height="60" fill="#05060a"/><text x="16" y="36" fill="#93a0b4" '
            'font-family="system-ui, sans-serif" font-size="15">{}</text></svg>'
        ).format(reason and f"No preview: {reason}")
    ).encode("utf-8", "backslashreplace")


@functools.cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        when=_when,
        moment=_moment,
        size=_size,
        seconds=_seconds,
        told=_told,
        change=_change,
        json=_json,
    )
    environment.globals.update(rate_charts=charts.rate_charts, lineage_chart=charts.lineage_chart)
    return environment


def _when(at: float | None, now: float) -> Markup:
    """Return how long ago something was; the script of the page goes on counting."""
    if at is None:
        return Markup("")
    try:
        moment = time.gmtime(at)
    except (OverflowError, ValueError, OSError):
        return Markup("?")
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", moment)
    iso = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
    return Markup('<time datetime="{}" title="{}" data-at="{:.0f}">{}</time>').format(
        iso, text, at, _seconds(max(0, int(now - at)))
    )


def _moment(at: float) -> Markup:
    """Return a moment as a date [UTC]."""
    moment = time.gmtime(at)
    iso, text = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment), time.strftime("%Y-%m-%d %H:%M", moment)
    return Markup('<time datetime="{}">{} UTC</time>').format(iso, text)


def _seconds(value: float | None) -> str:
    """Return a duration as people say it."""
    if value is None:
        return ""
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if value >= size:
            return f"{value / size:.0f} {name}"
    if 0 < value < 0.1:
        return f"{1e3 * value:.0f} ms" if value >= 0.001 else "< 1 ms"
    return f"{value:.0f} s" if value >= 10 or value == int(value) else f"{value:.1f} s"


def _size(value: float | None) -> str:
    """Return a number of bytes as people say it."""
    if value is None:
        return ""
    for power, name in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if value >= 1000**power:
            return f"{value / 1000**power:.3g} {name}"
    return f"{value:.0f} B"


def _json(value: Any) -> str:
    """Return a document as people read it."""
    return json.dumps(value, indent=1, ensure_ascii=False)


def _told(event: Mapping[str, Any]) -> str:
    """Return what an event tells, besides a change of state."""
    told = event["told"] if isinstance(event["told"], dict) else {"told": event["told"]}
    found = []
    for key, value in told.items():
        if key in {"from", "to"} or value in (None, "", [], {}):
            continue
        if key == "sha256":
            text = str(value)[:12]
        elif isinstance(value, list):
            text = ", ".join(map(str, value[:5])) + (" …" if len(value) > 5 else "")
        else:
            text = str(value)
        found.append(f"{key.replace('_', ' ')} {text}"[:400])
    return "; ".join(found)


def _change(event: Mapping[str, Any]) -> str:
    """Return the change of state an event tells."""
    told = event["told"] if isinstance(event["told"], dict) else {}
    before, after = told.get("from"), told.get("to")
    if not after or before == after:
        return ""
    return f"{before} → {after}" if before else str(after)
