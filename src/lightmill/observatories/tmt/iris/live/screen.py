"""Who looks at the frames: a page in a browser, and DS9."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lightmill.errors import LightmillError
from lightmill.imaging.fits_wcs import AssignFitsWcs
from lightmill.models import CalModel
from lightmill.pipeline import Skipped
from lightmill.viewing.live import LiveImage, LiveViewer, NowArray
from lightmill.viewing.samp import send_images
from lightmill.viewing.sky import Sky

if TYPE_CHECKING:
    from lightmill.observatories.tmt.iris.live.station import Look, Station
    from lightmill.observatories.tmt.iris.live.watching import Watch

__all__ = ["Screen", "Senders", "screen_of"]


class Screen(LiveViewer):
    """The page of a watch: the live frame of each detector, and the last frames saved.

    What takes time (coordinates, files) is done in a thread of its own: detectors do not wait.
    """

    def __init__(self, *, last: int) -> None:
        super().__init__(last=last)
        self._images: dict[str, LiveImage] = {}
        self._of: dict[str, str] = {}  # detector → the exposure it shows
        self._later = ThreadPoolExecutor(1, "screen")

    def glimpsed(self, station: Station) -> None:
        """Show that the frame of a detector has one more read."""
        detector, look = station.detector, station.look
        exposure = look.exposure
        assert exposure is not None
        image = self._images.get(detector)
        if image is None:
            image = self._images[detector] = _image(detector, look)
            self.watch(image, detector)
        if self._of.get(detector) != exposure.name:
            self._of[detector] = exposure.name
            image.sky = None
            self._later.submit(self._place, image, look.template, exposure.shape)
        lost = f", {look.lost} lost" if look.lost else ""
        reads = f"{look.reads} of {exposure.total} reads"
        state = f"{exposure.name}, {reads}{lost}, {look.behind:.1f} s behind"
        self.changed(image, f"{exposure.name} · {reads}{lost}", state)

    def shown(self, detector: str, path: Path) -> None:
        """Show a product."""
        self._later.submit(self._add, path, detector)

    def end(self) -> None:
        """Wait for what is being done."""
        self._later.shutdown()

    def _place(self, image: LiveImage, template: Any, shape: tuple[int, int]) -> None:
        image.sky = _sky(template, shape)

    def _add(self, path: Path, detector: str) -> None:
        try:
            self.add(path, detector)
        except LightmillError as error:
            self.tell(error.story())


def screen_of(watch: Watch, last: int) -> Screen:
    """Return the page of a watch.

    Parameters
    ----------
    watch : Watch
        It tells the page what it makes from now on.
    last : int
        Frames that are kept.

    Returns
    -------
    screen : Screen
        To be served by `lightmill.viewing.server.serving`.
    """
    screen = Screen(last=last)
    watch.glimpsed.append(screen.glimpsed)
    watch.shown.append(screen.shown)
    watch.heard.append(screen.tell)
    return screen


def _image(detector: str, look: Look) -> LiveImage:
    """Return the live image of a detector: frame, flags, and the last read."""

    def of(name: str) -> Callable[[], np.ndarray]:
        def now() -> np.ndarray:
            assert look.frame is not None
            return np.asarray(getattr(look.frame, name))

        return now

    def raw() -> np.ndarray:
        assert look.raw is not None
        return look.raw

    layers = [
        ("SCI", "values", NowArray(of("signal")), "DN/s"),
        ("DQ", "flags", NowArray(of("dq")), ""),
        ("READ", "values", NowArray(raw), "DN"),
    ]
    return LiveImage(f"{detector} live", layers, look.guard)


def _sky(template: Any, shape: tuple[int, int]) -> Sky | None:
    """Return the world coordinates of an exposure, as those of its product will be."""
    nothing = np.broadcast_to(np.float32(0), shape)
    try:
        placed = AssignFitsWcs().apply(CalModel(meta=template.meta, data=nothing))
    except LightmillError:
        return None  # the product's reduction says why
    return None if isinstance(placed, Skipped) else Sky.of(placed)


class Senders:
    """Sends products to DS9, or who else listens, from a thread of its own.

    Only the newest product of each detector is sent: a viewer that is slow misses some, and no
    frame waits for it.

    Parameters
    ----------
    tell : callable
        Given messages.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._waiting: dict[str, Path] = {}
        self._turn: queue.Queue[str | None] = queue.Queue()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._send_all, name="samp", daemon=True)

    def __call__(self, detector: str, path: Path) -> None:
        """Send a product when its turn comes."""
        with self._lock:
            is_new = detector not in self._waiting
            self._waiting[detector] = path
        if is_new:
            self._turn.put(detector)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._turn.put(None)
        self._thread.join()

    def _send_all(self) -> None:
        while (detector := self._turn.get()) is not None:
            with self._lock:
                path = self._waiting.pop(detector)
            try:
                names = send_images([path], "SCI")
            except LightmillError as error:
                self._tell(error.story())
            else:
                self._tell(f"{path.name} sent to {', '.join(names)}")
