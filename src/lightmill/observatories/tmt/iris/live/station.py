"""One detector: its reads in order, into the readout; a look after each, a frame after the last."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from lightmill.errors import LightmillError
from lightmill.kernels.readout import Frame, Glimpse, Readout
from lightmill.models.dq import PIXEL
from lightmill.observatories.tmt.iris.live.order import Lost, Order, Taken, Unused
from lightmill.observatories.tmt.iris.live.reads import Exposure, Read
from lightmill.observatories.tmt.iris.live.reduction import Detectors, Planes

__all__ = ["Desk", "Done", "Look", "Station"]

ROOM = 2  # reads that wait for their turn; a source with more is made to wait
LATE = 2.0  # read times a look may be behind before it is said
SELDOM = 4  # one look to so many reads while frames wait to be reduced
DROPOUT, DO_NOT_USE = np.uint32(PIXEL["DROPOUT"]), np.uint32(PIXEL["DO_NOT_USE"])
_NOT_USED = np.uint8(PIXEL["DO_NOT_USE"])


@dataclass
class Look:
    """What a detector shows now.

    Attributes
    ----------
    exposure : Exposure or None
    template : RampModel or None
        The exposure's metadata.
    frame : Glimpse or None
        Of the reads so far; written anew with each, under ``guard``.
    raw : (ny, nx) ndarray or None
        The last read [DN].
    reads, lost : int
    behind : float
        From the read's coming to the frame [s].
    version : int
        Counts the changes.
    """

    exposure: Exposure | None = None
    template: Any = None
    frame: Glimpse | None = None
    raw: np.ndarray | None = None
    reads: int = 0
    lost: int = 0
    behind: float = 0.0
    version: int = 0
    guard: Any = field(default_factory=threading.RLock)


@dataclass
class Done:
    """An exposure whose reads are in its frame."""

    exposure: Exposure
    template: Any
    frame: Frame
    notes: list[str]
    parameters: dict[str, Any]
    last_came: float  # when the last read was there, monotonic [s]
    corrected: bool  # with the references of the readout


class Desk(Protocol):
    """Whom a station reports to."""

    @property
    def is_pressed(self) -> bool:
        """Whether frames wait for the reduction of others."""

    def tell(self, text: str) -> None:
        """Note a message."""

    def looked(self, station: Station, read: Read) -> None:
        """Note that the frame has one more read."""

    def finished(self, done: Done) -> None:
        """Take the frame of an exposure; return when the next one may be finished."""

    def begins(self, exposure: Exposure) -> tuple[Any, Planes | None]:
        """Return the model of an exposure and what is known of its pixels."""

    def refused(self, exposure: Exposure, error: LightmillError) -> None:
        """Note that there will be no frame of an exposure."""


class Station(threading.Thread):
    """Takes the reads of one detector.

    Parameters
    ----------
    detector : str
    desk : Desk
    patience : float
        How long to wait for a read before it is given up [s].
    nthreads : int
        Of the readout.
    """

    def __init__(self, detector: str, desk: Desk, *, patience: float, nthreads: int = 1) -> None:
        super().__init__(name=f"detector {detector}", daemon=True)
        self.detector = detector
        self.look = Look()
        self.error: BaseException | None = None
        self._desk = desk
        self._patience = patience
        self._nthreads = nthreads
        self._queue: queue.Queue[Read | tuple[Read, str] | None] = queue.Queue(ROOM)
        self._facts = Detectors()
        self._run: _Run | None = None
        self._readout: Readout | None = None
        self._kind: tuple[Any, ...] = ()
        self._late = False
        self._over: str | None = None  # the exposure that ended last: reads of it come too late

    def take(self, read: Read) -> None:
        """Take a read, as soon as there is room."""
        self._put(read)

    def damaged(self, read: Read, why: str) -> None:
        """Note that a read came damaged."""
        self._put((read, why))

    def stop(self) -> None:
        """Take no more; what has begun is finished with the reads there are."""
        self._put(None)

    def _put(self, item: Read | tuple[Read, str] | None) -> None:
        while self.error is None:
            try:
                self._queue.put(item, timeout=0.5)
            except queue.Full:
                continue
            return

    @property
    def waiting(self) -> int:
        """How many reads wait for their turn."""
        return self._queue.qsize()

    def run(self) -> None:
        """Work until told to stop."""
        try:
            while True:
                try:
                    item = self._queue.get(timeout=self._patience if self._run else None)
                except queue.Empty:
                    self._end(f"no read came for {self._patience:g} s")
                    continue
                if item is None:
                    self._end("it was told to stop")
                    return
                self._work(item)
        except BaseException as error:  # noqa: BLE001 - told to whoever waits for the thread
            self.error = error
        finally:
            if self._readout is not None:
                self._readout.close()

    def _work(self, item: Read | tuple[Read, str]) -> None:
        read, fault = item if isinstance(item, tuple) else (item, item.fault())
        exposure = read.exposure
        if exposure.name == self._over and (self._run is None or self._run.exposure != exposure):
            self._desk.tell(f"{read.label} was left out: its exposure is over")
            return
        if self._run is None or self._run.exposure != exposure:
            if self._run is not None and self._run.exposure.name == exposure.name:
                self._desk.tell(f"{read.label} was left out: it does not fit its exposure")
                return
            self._end(f"{exposure.name} has begun")
            try:
                self._begin(exposure)
            except LightmillError as error:
                self._run, self._over = None, exposure.name
                self._desk.refused(exposure, error)
                return
        run = self._run
        assert run is not None
        if fault is not None:
            self._desk.tell(f"{read.label} was left out: {fault}")
            if 1 <= read.ramp <= exposure.ramps and 1 <= read.number <= exposure.reads:
                self._apply(run.order.refuse(read.index, fault))
        else:
            run.last_came = max(run.last_came, read.came)
            self._apply(run.order.offer(read))
        if run.order.is_over:
            self._finish()

    def _begin(self, exposure: Exposure) -> None:
        template, planes = self._desk.begins(exposure)
        run = _Run(exposure, template, Order(exposure.reads, exposure.total), planes is not None)
        self._run = run
        run.sampling, run.nfowler = _mode(template, exposure)
        kind = (exposure.shape, exposure.dtype, run.sampling, run.nfowler, exposure.reads,
                exposure.ramps, id(planes) if planes else None)  # fmt: skip
        if kind != self._kind or self._readout is None:
            if self._readout is not None:
                self._readout.close()
            self._readout = self._opened(run, planes or Planes())
            self._kind, self._planes = kind, planes
        with self.look.guard:
            look = self.look
            if look.frame is None or look.frame.signal.shape != exposure.shape:
                look.frame = Glimpse(
                    np.empty(exposure.shape, np.float32), np.empty(exposure.shape, np.uint32)
                )
            look.frame.signal.fill(np.nan)
            look.frame.dq.fill(DO_NOT_USE)
            look.exposure, look.template = exposure, template
            look.reads = look.lost = 0
        self._late = False

    def _opened(self, run: _Run, planes: Planes) -> Readout:
        meta, exposure = run.template.meta, run.exposure
        gain = meta.get("exposure.gain") or self._facts.gain
        noise = meta.get("exposure.read_noise")
        noise = self._facts.read_noise if noise is None else noise
        return Readout(
            exposure.shape, exposure.dtype, sampling=run.sampling, nfowler=run.nfowler,
            nreads=exposure.reads, ncoadds=exposure.ramps, saturation=planes.saturation,
            coeffs=planes.coeffs, pixeldq=planes.dq, gain=float(gain),
            readnoise=float(noise) / float(gain), nthreads=self._nthreads,
        )  # fmt: skip

    def _apply(self, events: Any) -> None:
        events = list(events)
        last = next((one for one in reversed(events) if isinstance(one, Taken)), None)
        for event in events:
            if isinstance(event, Unused):
                self._desk.tell(f"{event.read.label} was left out: {event.why}")
            elif isinstance(event, Lost):
                self._lose(event)
            elif isinstance(event, Taken):
                self._add(event.read, is_last=event is last)

    def _add(self, read: Read, *, is_last: bool) -> None:
        """Add a read; the last of those that came together is looked at, if there is time."""
        run, readout = self._run, self._readout
        assert run is not None
        assert readout is not None
        self._advance(read.ramp)
        run.time, run.reads, run.in_ramp = read.time, run.reads + 1, run.in_ramp + 1
        if is_last and self._has_time(read):
            self._add_and_show(read)
        else:
            readout.add(read.pixels, read.time)

    def _advance(self, ramp: int) -> None:
        """Begin the ramp of a read, if it is another one and the last has any."""
        run = self._run
        assert run is not None
        assert self._readout is not None
        if ramp != run.ramp:
            if run.in_ramp:
                self._readout.next_ramp()
            run.ramp, run.in_ramp, run.time = ramp, 0, None

    def _add_nothing(self, ramp: int) -> None:
        """Put a read without a usable pixel where one was lost: the mode counts them."""
        run, readout = self._run, self._readout
        assert run is not None
        assert readout is not None
        self._advance(ramp)
        step = run.template.meta.get("exposure.group_time") or self._facts.read_time
        run.time = (run.time or 0.0) + float(step)
        readout.add(
            np.zeros(run.exposure.shape, run.exposure.dtype),
            run.time,
            np.full(run.exposure.shape, _NOT_USED, np.uint8),
        )
        run.in_ramp += 1

    def _lose(self, lost: Lost) -> None:
        run = self._run
        assert run is not None
        ramp, number = divmod(lost.place, run.exposure.reads)
        where = f"ramp {ramp + 1}, read {number + 1}" if run.exposure.ramps > 1 else (
            f"read {number + 1}")  # fmt: skip
        run.lost.append(f"{where} is not in the frame: {lost.why}")
        self.look.lost = len(run.lost)
        if run.sampling != "utr":
            self._add_nothing(ramp + 1)
        self._desk.tell(f"{run.exposure.name}: {run.lost[-1]}")

    def _has_time(self, read: Read) -> bool:
        """Say whether to make a frame.

        Not where the next read waits already; seldom where whole exposures wait to be reduced, which
        are more urgent.
        """
        run = self._run
        assert run is not None
        behind = time.monotonic() - read.came
        limit = LATE * max(self._facts.read_time, 0.1)
        if behind > limit and not self._late:
            self._late = True
            self._desk.tell(
                f"{run.exposure.name}: it does not keep up: read {read.number} is {behind:.1f} s old,"
                " and more wait; looks are left out, reads are not"
            )
        elif behind < limit / 2 and self._late:
            self._late = False
            self._desk.tell(f"{run.exposure.name}: it has caught up at read {read.number}")
        is_seldom = self._desk.is_pressed and read.index % SELDOM
        if (self.waiting or self._late or is_seldom) and read.index < run.exposure.total - 1:
            run.skipped += 1
            return False
        return True

    def _add_and_show(self, read: Read) -> None:
        """Add a read, and make the frame of the reads so far."""
        run, look = self._run, self.look
        assert run is not None
        assert self._readout is not None
        with look.guard:
            self._readout.add(read.pixels, read.time, look=look.frame)
            look.raw, look.reads = read.pixels, run.reads
            look.behind = time.monotonic() - read.came
            look.version += 1
        self._desk.looked(self, read)

    def _end(self, why: str) -> None:
        """Finish the exposure that has begun, with the reads there are."""
        run = self._run
        if run is None:
            return
        self._desk.tell(f"{run.exposure.name} is ended before its last read: {why}")
        self._apply(run.order.flush())
        self._finish()

    def _finish(self) -> None:
        run, readout = self._run, self._readout
        assert run is not None
        assert readout is not None
        self._run, self._over = None, run.exposure.name
        notes = list(run.lost)
        if not run.reads:
            self._desk.tell(
                f"{run.exposure.name}: there is no frame: none of its reads could be used"
            )
            readout.close()
            self._readout = None
            return
        frame = readout.finish()
        if run.lost:
            np.bitwise_or(frame.dq, DROPOUT, out=frame.dq)
        if run.skipped:
            self._desk.tell(
                f"{run.exposure.name}: {run.skipped} of {run.exposure.total} looks were left out;"
                " no read was"
            )
        parameters = {"sampling": run.sampling, "reads": run.reads, "lost": len(run.lost),
                      "nfowler": run.nfowler}  # fmt: skip
        self._desk.finished(
            Done(run.exposure, run.template, frame, notes, parameters, run.last_came, run.corrected)
        )


@dataclass
class _Run:
    """An exposure that is being read out."""

    exposure: Exposure
    template: Any
    order: Order
    corrected: bool
    sampling: str = "utr"
    nfowler: int = 1
    ramp: int = 1
    in_ramp: int = 0
    time: float | None = None
    reads: int = 0
    lost: list[str] = field(default_factory=list)
    skipped: int = 0
    last_came: float = 0.0


def _mode(template: Any, exposure: Exposure) -> tuple[str, int]:
    """Return the sampling, and how many reads are averaged at either end."""
    said = str(template.meta.get("exposure.sampling") or "UTR").lower()
    sampling = "mcds" if said in {"mcds", "mds"} else said
    number = int(template.meta.get("exposure.coadds") or 1) if sampling == "mcds" else 1
    if sampling != "utr" and exposure.reads < 2 * number:
        raise LightmillError(
            "an exposure has too few reads for its mode", place=exposure.name,
            found=f"{exposure.reads} reads, {number} at either end",
        )  # fmt: skip
    return sampling, number
