"""Images that change while they are looked at, and a page that shows the newest ones."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from lightmill.models import Region
from lightmill.viewing.planes import Overview
from lightmill.viewing.product import Layer, Product
from lightmill.viewing.viewer import Answer, Numbers, Viewer

__all__ = ["LiveImage", "LiveViewer", "NowArray"]

_PATIENCE = 10.0  # s a page waits for news before it is told that there are none
_TOLD = 30  # messages a page shows


class NowArray:
    """An array that is written anew now and then.

    Parameters
    ----------
    now : callable
        Returns the (ny, nx) array.
    """

    def __init__(self, now: Callable[[], np.ndarray]) -> None:
        self._now = now

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns now."""
        return tuple(self._now().shape)

    def read(self, region: Region, planes: int) -> np.ndarray:
        """Return the pixels of a region now."""
        del planes
        return self._now()[region.slices]


class LiveImage(Product):
    """Images in memory, that change while they are looked at.

    Parameters
    ----------
    name : str
        As the page calls it.
    layers : sequence of (str, str, NowArray, str)
        Name, kind (see `Layer`), array and unit of each image.
    guard : lock
        Held while an image is read; whoever writes it holds it too. It must be reentrant.
    """

    def __init__(
        self, name: str, layers: Sequence[tuple[str, str, NowArray, str]], guard: Any
    ) -> None:
        self.path = Path(name)
        self.model: Any = SimpleNamespace(model_type="live")
        self.layers = [
            Layer(label, "data" if label == "SCI" else label.lower(), array, kind, unit)
            for label, kind, array, unit in layers
        ]
        self.sky = None
        self.says = ""
        self._kept = OrderedDict()
        self._lock = guard

    def title(self) -> str:
        """Return in a few words what is shown now."""
        return self.says

    def changed(self) -> None:
        """Forget what was made of the images before they changed."""
        with self._lock:
            self._kept.clear()

    def overview(self, layer: int, plane: int) -> Overview:
        """Return a plane as small as a screen, as it is now."""
        with self._lock:
            return super().overview(layer, plane)

    def tile(self, layer: int, plane: int, side: int, tx: int, ty: int) -> np.ndarray | None:
        """Return a square of a plane as it is now."""
        with self._lock:
            found = super().tile(layer, plane, side, tx, ty)
            return None if found is None else np.array(found)

    def at(self, layer: int, plane: int, x: int, y: int) -> dict[str, Any]:
        """Return what is known of one pixel now."""
        with self._lock:
            return super().at(layer, plane, x, y)


@dataclass
class _Entry:
    """A file of the page: what it is, which of several it belongs to, how often it has changed."""

    product: Product
    group: str
    version: int
    is_live: bool


class LiveViewer(Viewer):
    """A viewer whose files come and change; the page asks for what is new.

    Parameters
    ----------
    last : int
        How many saved files of all groups are kept.
    """

    def __init__(self, *, last: int = 8) -> None:
        super().__init__([])
        self._last = last
        self._entries: list[_Entry] = []
        self._told: deque[str] = deque(maxlen=_TOLD)
        self._states: dict[str, str] = {}
        self._version = 0
        self._news = threading.Condition()
        nothing = np.full((16, 16), np.nan, np.float32)
        self._empty: LiveImage | None = LiveImage(
            "waiting for the first read",
            [("SCI", "values", NowArray(lambda: nothing), "")],
            threading.RLock(),
        )
        self.watch(self._empty, "")

    def watch(self, image: LiveImage, group: str) -> None:
        """Show an image that changes."""
        with self._news:
            if image is not self._empty:
                self._entries = [one for one in self._entries if one.product is not self._empty]
            at = sum(one.is_live for one in self._entries)
            self._entries.insert(at, _Entry(image, group, self._next(), is_live=True))
            self._arranged()

    def changed(self, image: LiveImage, says: str, state: str) -> None:
        """Tell that an image has changed.

        Parameters
        ----------
        image : LiveImage
            Shown already.
        says : str
            What it is now, for the title.
        state : str
            A line that says how things are.
        """
        image.says = says
        image.changed()
        with self._news:
            for entry in self._entries:
                if entry.product is image:
                    entry.version = self._next()
                    self._states[entry.group] = state
            self._news.notify_all()

    def add(self, path: Path, group: str) -> None:
        """Show a file, before those that were there; the oldest one is left."""
        product = Product(path)
        with self._news:
            at = sum(one.is_live for one in self._entries)
            self._entries.insert(at, _Entry(product, group, self._next(), is_live=False))
            del self._entries[at + self._last :]
            self._arranged()

    def tell(self, text: str) -> None:
        """Show a message."""
        with self._news:
            self._told.append(text)
            self._next()
            self._news.notify_all()

    def facts(self) -> dict[str, Any]:
        """Return what the page is told when it is made."""
        with self._news:
            return self._facts()

    def answer(self, question: str, asked: Numbers) -> Answer | None:
        """Return the answer to a question; ``news`` waits until there are some."""
        if question != "news":
            return super().answer(question, asked)
        import json

        since = asked["since"][0]
        with self._news:
            self._news.wait_for(lambda: self._version > since, _PATIENCE)
            found = self._facts()
        return "application/json", json.dumps(found, allow_nan=False).encode()

    def _facts(self) -> dict[str, Any]:
        found = super().facts()
        for file, entry in zip(found["files"], self._entries, strict=True):
            file |= {"group": entry.group, "version": entry.version, "live": entry.is_live,
                     "id": str(entry.product.path)}  # fmt: skip
        told = {"version": self._version, "told": list(self._told)}
        return {**found, "news": {**told, "states": dict(self._states)}}

    def _next(self) -> int:
        self._version += 1
        return self._version

    def _arranged(self) -> None:
        self.products = [one.product for one in self._entries]
        self.first = [0] * len(self._entries)
        self._news.notify_all()
