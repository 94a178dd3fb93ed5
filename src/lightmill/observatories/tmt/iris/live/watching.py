"""Watch a source of reads: readouts, frames, products, and whoever wants to see them."""

from __future__ import annotations

import queue
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import LightmillError, OutputError
from lightmill.kernels.readout import empty_frame
from lightmill.observatories.tmt.iris.live.files import exposure_of
from lightmill.observatories.tmt.iris.live.reads import Exposure, Read
from lightmill.observatories.tmt.iris.live.reduction import Planes, Reducer
from lightmill.observatories.tmt.iris.live.sources import FolderSource, SocketSource
from lightmill.observatories.tmt.iris.live.station import Done, Station
from lightmill.pipeline.memory import keep_freed_memory

__all__ = ["Report", "Settings", "Watch", "watch"]

KEPT = 5000  # messages and times that are remembered
SCIENCE = "SCI"
PLANES = 26  # of float32, that frames, products and their reduction need at most, as measured
RETRY = 1.0  # s between attempts to write where there was no room


@dataclass(frozen=True)
class Settings:
    """How to watch.

    Attributes
    ----------
    output_dir : Path
        Of the products.
    crds_path, context : optional
        Where references are found; see `lightmill.pipeline.Options`.
    overrides : dict
        Type → file of a reference.
    skies : sequence of Path
        Raw frames of the sky, for the first exposures.
    nskies : int
        Frames of the sky that are used: the last ones of the detector and filter.
    patience : float
        How long a read is waited for [s].
    exposures : int or None
        End after so many exposures of all detectors.
    threads : int
        Of the reduction; 0 is as many as there are processors.
    readout_threads : int
        Of each detector's readout.
    room : float
        How long room on the disk is waited for [s].
    """

    output_dir: Path
    crds_path: Path | str | None = None
    context: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    skies: Sequence[Path] = ()
    nskies: int = 1
    patience: float = 5.0
    exposures: int | None = None
    threads: int = 0
    readout_threads: int = 1
    room: float = 60.0


@dataclass
class Report:
    """What came of it.

    Attributes
    ----------
    messages : deque of str
        The last of them.
    looks : deque of (str, int, float, float)
        Exposure, index of the read, when the frame with it was there (monotonic), how long after
        the read [s].
    written : deque of Path
        Products.
    frames : deque of (str, float, float)
        Exposure, when its last product was there (monotonic), how long after the last read [s].
    exposures, reads, lost, failed : int
        Exposures finished; reads in their frames and not; products that could not be made.
    """

    messages: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT))
    looks: deque[tuple[str, int, float, float]] = field(default_factory=lambda: deque(maxlen=KEPT))
    written: deque[Path] = field(default_factory=lambda: deque(maxlen=KEPT))
    frames: deque[tuple[str, float, float]] = field(default_factory=lambda: deque(maxlen=KEPT))
    exposures: int = 0
    reads: int = 0
    lost: int = 0
    failed: int = 0


class Watch:
    """A source being watched: a sink of reads and the desk of every detector's station.

    Parameters
    ----------
    settings : Settings
    told : callable, optional
        Given each message.

    Attributes
    ----------
    report : Report
    stations : dict
        Detector → its station.
    heard : list of callable
        Given each message.
    shown : list of callable
        Given the detector and each product, when it is there.
    glimpsed : list of callable
        Given the detector's station, when its frame has one more read.
    """

    def __init__(
        self,
        settings: Settings,
        told: Callable[[str], None] | None = None,
    ) -> None:
        self.settings = settings
        self.report = Report()
        self.stations: dict[str, Station] = {}
        self.over = threading.Event()
        self.heard: list[Callable[[str], None]] = [] if told is None else [told]
        self.shown: list[Callable[[str, Path], None]] = []
        self.glimpsed: list[Callable[[Station], None]] = []
        self._lock = threading.Lock()
        self._reducer = Reducer(
            settings.output_dir, crds_path=settings.crds_path, context=settings.context,
            overrides=settings.overrides, skies=settings.skies, nskies=settings.nskies,
            threads=settings.threads,
        )  # fmt: skip
        self._planes: dict[tuple[Any, ...], Planes | None] = {}
        self._work: queue.Queue[Done | None] = queue.Queue()
        self._turns: dict[str, threading.Semaphore] = {}  # of each detector, one frame at a time
        self._worker = threading.Thread(target=self._reduce_all, name="reduction", daemon=True)

    # -- what a source tells -------------------------------------------------------------------

    def take(self, read: Read) -> None:
        """Give a read to its detector."""
        self._station(read.exposure.detector).take(read)

    def damaged(self, read: Read, why: str) -> None:
        """Note that a read came damaged."""
        self._station(read.exposure.detector).damaged(read, why)

    def tell(self, text: str) -> None:
        """Note a message."""
        with self._lock:
            self.report.messages.append(text)
        for hear in self.heard:
            hear(text)

    # -- what a station tells ------------------------------------------------------------------

    def begins(self, exposure: Exposure) -> tuple[Any, Planes | None]:
        """Return the model of an exposure, and what is known of the pixels of its detector."""
        template = self._reducer.template(exposure)
        meta = template.meta
        key = (exposure.detector, exposure.shape, *(
            meta.get(name) for name in ("subarray.xstart", "subarray.ystart", "instrument.filter")
        ))  # fmt: skip
        if key not in self._planes:
            try:
                found: Planes | None = self._reducer.planes(template)
            except LightmillError as error:
                self.tell(f"{exposure.name} is not corrected for non-linearity: {error.story()}")
                found = None
            for old in [one for one in self._planes if one[0] == exposure.detector]:
                del self._planes[old]  # of one detector, those of one setting are kept
            self._planes[key] = found
        return template, self._planes[key]

    def refused(self, exposure: Exposure, error: LightmillError) -> None:
        """Note that there will be no frame of an exposure: its keywords cannot be."""
        self.tell(f"{exposure.name}: there will be no frame of it: {error.story()}")
        self.report.failed += 1
        self._count()

    def looked(self, station: Station, read: Read) -> None:
        """Note that a frame has one more read."""
        look = station.look
        self.report.looks.append((read.exposure.name, read.index, time.monotonic(), look.behind))
        for show in self.glimpsed:
            show(station)

    @property
    def is_pressed(self) -> bool:
        """Whether frames wait for the reduction of others."""
        return not self._work.empty()

    def finished(self, done: Done) -> None:
        """Take the frame of an exposure; wait while the one before of its detector is reduced."""
        turn = self._turns.setdefault(done.exposure.detector, threading.Semaphore(1))
        if not turn.acquire(blocking=False):
            self.tell(
                f"{done.exposure.name}: the reduction does not keep up; its detector waits for it"
            )
            turn.acquire()
        self._work.put(done)

    def prepare(self, path: Path, detector: str | None = None) -> None:
        """Read the references of exposures like one, and go through a reduction for nothing.

        Parameters
        ----------
        path : Path
            A raw exposure.
        detector : str, optional
            Take it for one of this detector.

        Raises
        ------
        LightmillError
            If it is none, or its references are missing.
        """
        keep_freed_memory()
        exposure = exposure_of(path, detector=detector)
        template, planes = self.begins(exposure)
        if planes is None:
            return
        # Pages of memory cost more when they are first touched than what is done with them.
        warm = [np.ones(exposure.shape, np.float32) for _ in range(PLANES)]
        del warm
        frame = empty_frame(*exposure.shape)
        for plane in frame:
            plane.fill(1)
        frame.dq.fill(0)
        with tempfile.TemporaryDirectory(dir=self.settings.output_dir) as folder:
            self._reducer.rehearse(template, frame, Path(folder))

    # -- work ----------------------------------------------------------------------------------

    def run(self, source: FolderSource | SocketSource) -> Report:
        """Watch until it is over."""
        keep_freed_memory()
        self._worker.start()
        try:
            source.run(self, self.over.is_set)
        finally:
            self.over.set()
            source.close()
            for station in self.stations.values():
                station.stop()
            for station in self.stations.values():
                station.join()
            self._work.put(None)
            self._worker.join()
        for station in self.stations.values():
            if station.error is not None:
                raise station.error
        return self.report

    def _station(self, detector: str) -> Station:
        with self._lock:
            if detector not in self.stations:
                settings = self.settings
                self.stations[detector] = Station(
                    detector, self, patience=settings.patience, nthreads=settings.readout_threads
                )
                self.stations[detector].start()
            station = self.stations[detector]
        if station.error is not None:
            self.over.set()  # `run` raises it
        return station

    def _reduce_all(self) -> None:
        while (done := self._work.get()) is not None:
            report = self.report
            try:
                self._reduce(done)
            except LightmillError as error:
                report.failed += 1
                self.tell(f"{done.exposure.name}: {error.story()}")
            except Exception as error:  # noqa: BLE001 - the detectors go on; nothing is hidden
                report.failed += 1
                self.tell(f"{done.exposure.name}: a bug of ours: {type(error).__name__}: {error}")
            self._turns[done.exposure.detector].release()
            report.reads += done.parameters["reads"]
            report.lost += done.parameters["lost"]
            self._count()

    def _count(self) -> None:
        """Count an exposure that is over, and end with the last one that is awaited."""
        with self._lock:
            self.report.exposures += 1
            over = self.settings.exposures is not None and (
                self.report.exposures >= self.settings.exposures
            )
        if over:
            self.over.set()

    def _reduce(self, done: Done) -> None:
        """Save the raw frame, and at the same time reduce it if it is one of science."""
        reducer = self._reducer

        def sampled(*, saved: bool) -> Any:
            return reducer.sample(
                done.template, done.frame, done.notes, saved=saved, **done.parameters
            )

        def save() -> Path:
            (path,) = self._patiently(done, lambda: sampled(saved=True)).written
            self._there(done, path)
            return Path(path)

        kind = str(done.template.meta.get("exposure.kind") or SCIENCE)
        if kind != SCIENCE or not done.corrected:
            path = save()
            if kind == "SKY" and done.corrected:
                reducer.remember(path)
            return
        with ThreadPoolExecutor(1) as beside:
            saving = beside.submit(save)
            raw = sampled(saved=False).model
            if not reducer.skies(raw):
                self.tell(
                    f"{done.exposure.name}: no frame of the sky is known yet; the background is"
                    " not subtracted"
                )
            for product in self._patiently(done, lambda: reducer.reduce(raw)).written:
                self._there(done, product)
            saving.result()

    def _there(self, done: Done, path: Path) -> None:
        """Note a product, and show it."""
        now = time.monotonic()
        self.report.written.append(path)
        self.report.frames.append((path.name, now, now - done.last_came))
        self.tell(f"{path} ({now - done.last_came:.1f} s after the last read)")
        for show in self.shown:
            show(done.exposure.detector, path)

    def _patiently(self, done: Done, make: Callable[[], Any]) -> Any:
        """Make a product; where there is no room for it, wait for some."""
        until = time.monotonic() + self.settings.room
        told = False
        while True:
            try:
                return make()
            except OutputError as error:
                if time.monotonic() > until:
                    raise
                if not told:
                    told = True
                    self.tell(
                        f"{done.exposure.name} is not saved yet; it is tried again for"
                        f" {self.settings.room:g} s: {error.story()}"
                    )
                time.sleep(min(RETRY, self.settings.room / 4))


def watch(
    source: FolderSource | SocketSource,
    settings: Settings,
    told: Callable[[str], None] | None = None,
) -> Report:
    """Watch a source until it is over.

    Parameters
    ----------
    source : FolderSource or SocketSource
        See `lightmill.observatories.tmt.iris.live.sources.source_of`.
    settings : Settings
    told : callable, optional
        Given each message.

    Returns
    -------
    report : Report
        What came of it.

    Raises
    ------
    LightmillError
        If reads cannot be taken at all.
    """
    return Watch(settings, told).run(source)
