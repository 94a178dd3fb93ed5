"""Run a chain of steps band by band: rows of the frame, all integrations and groups of them.

A ramp of many integrations does not fit in memory, and a step that reads and
writes all of it spends its time waiting for memory. Steps that say ``rows =
True`` are therefore joined: each band of rows is read once, goes through all
of them while it is in the processor's caches, and leaves as rows of the
products. Bands overlap by what the steps need around them, so the result does
not depend on how the frame is cut, nor on the number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lightmill.errors import LightmillError
from lightmill.models import Region
from lightmill.models.lineage import (
    frame_of,
    owned_part,
    primary_of,
    region_of,
    whole_of,
    window,
)
from lightmill.pipeline.beside import Aside
from lightmill.pipeline.spool import IN_MEMORY_BYTES, Spool
from lightmill.pipeline.step import Beside, Products, Skipped, Step

if TYPE_CHECKING:
    from lightmill.models import Model

__all__ = ["Gathered", "Rows", "Sink", "Stage", "through_bands"]

BAND_BYTES = 48 << 20  # of one band in all: its ramp, its references, its products
REFERENCE_BYTES = 100  # of the references of one pixel


@dataclass
class Stage:
    """A step made ready to run: references open, survey done."""

    step: Step
    name: str  # of the step in its pipeline
    references: dict[str, Model | None] = field(default_factory=dict)
    offsets: dict[str, tuple[int, int]] = field(default_factory=dict)  # frame → reference pixels
    halo: int = 0
    survey: Any = None
    status: str = ""
    reason: str | None = None
    answers: set[tuple[str, str | None]] = field(default_factory=set)  # of all bands
    beside: dict[str, Model] = field(default_factory=dict)  # suffix → side product, whole
    counts: dict[str, int] = field(default_factory=dict)  # of all bands
    skipped: dict[str, str] = field(default_factory=dict)  # exposure of several → why
    cpu_s: float = 0.0
    wall_s: float = 0.0

    def cut_references(self, region: Region) -> dict[str, Any]:
        """Return the references as they cover a part of the frame."""
        cuts = _Cuts()
        return {name: cuts.get(self, name, region) for name in self.references}

    def apply(self, part: Any, cuts: _Cuts, own: Region, aside: Aside | None = None) -> Any:
        """Apply the step to a band (to each product, when there are several).

        The band answers for the rows `own`; what the step makes beside its result goes to
        `aside`, and is lost without one.
        """
        if isinstance(part, Products):
            return Products({s: self._one(model, cuts, own, aside) for s, model in part.items()})
        return self._one(part, cuts, own, aside)

    def _one(self, part: Model, cuts: _Cuts, own: Region, aside: Aside | None) -> Any:
        begin, cpu = time.perf_counter(), time.thread_time()
        keywords: dict[str, Any] = {
            name: cuts.get(self, name, region_of(part)) for name in self.references
        }
        if self.survey is not None:
            keywords["survey"] = self.survey
        if self.step.counts:
            keywords["own"] = own
        result = self.step.apply(part, **keywords)
        if isinstance(result, Beside):
            if aside is not None:
                aside.add(self, result, own)
            result = result.result
        if isinstance(result, Skipped):
            self.status, self.reason = "SKIPPED", result.reason
            result = result.model
        else:
            self.status, self.reason = "COMPLETE", None
        self.answers.add((self.status, self.reason))
        self.cpu_s += time.thread_time() - cpu
        self.wall_s += time.perf_counter() - begin
        return result


class _Cuts:
    """The rows of the references that one band needs; read once, however many steps ask."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, tuple[int, int]], Model] = {}

    def get(self, stage: Stage, name: str, region: Region) -> Model | None:
        reference = stage.references[name]
        if reference is None:
            return None
        dy, dx = stage.offsets.get(name, (0, 0))
        key = (id(reference), (dy, dx))
        wanted = Region(region.y0 + dy, region.y1 + dy, region.x0 + dx, region.x1 + dx)
        kept = self._kept.get(key)
        if kept is None or (kept.region is not None and not _contains(kept.region, wanted)):
            kept = self._kept[key] = reference.cut(wanted) if reference._frame() else reference
        return window(kept, wanted)


def _contains(outer: Region, inner: Region) -> bool:
    return (
        outer.y0 <= inner.y0
        and inner.y1 <= outer.y1
        and outer.x0 <= inner.x0
        and inner.x1 <= outer.x1
    )


class Rows:
    """A ramp as it is after some stages: any part of it can be asked for."""

    def __init__(
        self, source: Model, stages: list[Stage], known: dict[Any, Any] | None = None
    ) -> None:
        self.source = source
        self.stages = stages
        self.frame = frame_of(source)
        self.known: dict[Any, Any] = (
            {} if known is None else known
        )  # what surveys found, for others

    @property
    def meta(self) -> Any:
        """Metadata of the ramp."""
        return self.source.meta

    def before(self, count: int) -> Rows:
        """Return the ramp as it is before stage `count`."""
        return Rows(self.source, self.stages[:count], self.known)

    def through(self, wanted: Callable[[Step], bool]) -> Rows:
        """Return the ramp as it would be after some of the steps only."""
        chosen = [stage for stage in self.stages if wanted(stage.step)]
        return Rows(self.source, chosen, self.known)

    def cut(self, region: Region, aside: Aside | None = None) -> Any:
        """Compute one part of the frame through all stages; see `Stage.apply` for `aside`."""
        ny, nx = self.frame
        halos = [stage.halo for stage in self.stages]
        has = region.grow(sum(halos), ny, nx)
        part: Any = owned_part(self.source, has)
        cuts = _Cuts()
        for number, stage in enumerate(self.stages):
            part = stage.apply(part, cuts, region, aside)
            if stage.halo:
                wanted = region.grow(sum(halos[number + 1 :]), ny, nx)
                part = _trimmed(part, wanted)
        return part

    def bands(self, height: int | None = None) -> Iterator[tuple[Region, Any]]:
        """Yield every band of the frame in order."""
        for region in band_regions(self, height):
            yield region, self.cut(region)


def _trimmed(part: Any, wanted: Region) -> Any:
    if isinstance(part, Products):
        return Products({suffix: window(model, wanted) for suffix, model in part.items()})
    return window(part, wanted)


def band_regions(rows: Rows, height: int | None = None) -> list[Region]:
    """Cut the frame into full-width bands that fit the caches (or hold at least a few rows)."""
    ny, nx = rows.frame
    if height is None:
        shape = rows.source.array(primary_of(rows.source)).shape[:-2]
        planes = int(np.prod(shape, dtype=np.int64))
        products = 20 * (1 + (shape[0] if shape else 0))
        row = (5 * planes + products + REFERENCE_BYTES) * nx
        halo = sum(stage.halo for stage in rows.stages)
        height = max(BAND_BYTES // row - 2 * halo, 2 * halo, 4)
    return [Region(y, min(y + height, ny), 0, nx) for y in range(0, ny, height)]


class Sink(Protocol):
    """Where the bands of a result go."""

    def add(self, part: Any) -> None:
        """Take a band: a model, or Products."""

    def finish(self) -> Any:
        """Return the whole result."""

    def abandon(self) -> None:
        """Leave nothing behind."""


class Gathered:
    """The whole products, filled band by band."""

    def __init__(
        self, frame: tuple[int, int], scratch: Any, part: Any, leave: frozenset[str] = frozenset()
    ) -> None:
        self.arrays: dict[str, dict[str, np.ndarray | Spool]] = {}
        self.first = part
        parts = part if isinstance(part, Products) else {"": part}
        total = 0
        for suffix, model in parts.items():
            self.arrays[suffix] = {}
            rows = region_of(model).shape
            for name, array in model.arrays.items():
                if getattr(array, "shape", ())[-2:] != rows or name in leave:
                    continue
                shape = (*array.shape[:-2], *frame)
                size = int(np.prod(shape, dtype=np.int64)) * array.dtype.itemsize
                total += size
                self.arrays[suffix][name] = (
                    np.empty(shape, array.dtype)
                    if total <= IN_MEMORY_BYTES
                    else Spool(shape, array.dtype, scratch)
                )

    def add(self, part: Any) -> None:
        """Take the rows of a band."""
        parts = part if isinstance(part, Products) else {"": part}
        for suffix, model in parts.items():
            y0, y1 = region_of(model)[:2]
            for name, whole in self.arrays[suffix].items():
                rows = model.arrays[name]
                if isinstance(whole, Spool):
                    whole.write(y0, rows)
                else:
                    whole[..., y0:y1, :] = rows

    def abandon(self) -> None:
        """Let the arrays go."""
        self.arrays.clear()

    def finish(self) -> Any:
        """Return the whole model, or Products."""
        parts = self.first if isinstance(self.first, Products) else {"": self.first}
        done = {}
        for suffix, model in parts.items():
            done[suffix] = whole_of(model, self.arrays[suffix])
        return Products(done) if isinstance(self.first, Products) else done[""]


def through_bands(
    source: Model,
    stages: list[Stage],
    *,
    threads: int = 1,
    scratch: Any = None,
    progress: Callable[[int, int], None] | None = None,
    height: int | None = None,
    sink: Callable[[Any], Sink] | None = None,
    complete: Callable[[], None] | None = None,
) -> Any:
    """Take a model through a chain of stages and return the whole result.

    Parameters
    ----------
    source : Model
        Not changed; its arrays may be lazy.
    stages : list of Stage
        Their surveys are made here, in order.
    threads : int
        Bands computed at the same time. The result does not depend on it.
    scratch : path_like, optional
        Directory for what does not fit in memory.
    progress : callable, optional
        Called with (bands done, bands in all).
    height : int, optional
        Rows in a band; chosen by the size of the ramp otherwise.
    sink : callable, optional
        Gets the first band of the result, returns where all bands go; they are
        gathered otherwise.
    complete : callable, optional
        Called when all bands are computed, and the stages have what was made beside.

    Returns
    -------
    result : Model or Products
        What the last stage returned, for the whole frame: what `sink` makes of its bands.
    """
    rows = Rows(source, stages)
    for number, stage in enumerate(stages):
        stage.halo = stage.step.halo_rows(source, **stage.references)
        begin, cpu = time.perf_counter(), time.process_time()
        stage.survey = stage.step.survey(rows.before(number), **_whole(stage))
        for earlier in stages[:number]:
            earlier.answers.clear()
        stage.wall_s += time.perf_counter() - begin
        stage.cpu_s += time.process_time() - cpu
    regions = band_regions(rows, height)
    aside = Aside(rows.frame, scratch)
    first = rows.cut(regions[0], aside)
    gathered = Gathered(rows.frame, scratch, first) if sink is None else sink(first)
    try:
        _fill(gathered, rows, first, regions, threads, progress, aside)
        aside.finish()
        if complete is not None:
            complete()
    except BaseException:
        gathered.abandon()
        raise
    return gathered.finish()


def _fill(
    gathered: Sink,
    rows: Rows,
    first: Any,
    regions: list[Region],
    threads: int,
    progress: Callable[[int, int], None] | None,
    aside: Aside,
) -> None:
    """Compute every band after the first, and hand them all on."""
    gathered.add(first)
    if progress:
        progress(1, len(regions))
    for done, _ in enumerate(_each(rows, regions[1:], gathered, threads, aside), start=2):
        if progress:
            progress(done, len(regions))
    for stage in rows.stages:
        if len({status for status, _ in stage.answers}) > 1:
            raise LightmillError(
                f"step {stage.name!r} did its work in one band and skipped another",
                remedy="let the step decide in `survey`, which sees the whole frame",
            )


def _whole(stage: Stage) -> dict[str, Any]:
    return dict(stage.references)


def _each(
    rows: Rows, regions: list[Region], sink: Sink, threads: int, aside: Aside
) -> Iterator[None]:
    """Compute every band and hand it on, at most `threads` at a time; yield as each is done."""

    def one(region: Region) -> None:
        sink.add(rows.cut(region, aside))

    if threads <= 1 or len(regions) <= 1:
        for region in regions:
            one(region)
            yield
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="band") as pool:
        running: set[Future[None]] = set()
        try:
            for region in regions:
                running.add(pool.submit(one, region))
                if len(running) > threads:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
            for future in running:
                yield future.result()
        finally:
            for future in running:
                future.cancel()
