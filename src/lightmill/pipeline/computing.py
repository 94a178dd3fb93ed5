"""Apply steps to models: band by band where they can, or to the whole."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightmill.errors import LightmillError
from lightmill.models import Model, Region
from lightmill.models.lineage import force, frame_of
from lightmill.pipeline.bands import Stage, through_bands
from lightmill.pipeline.outcome import Options
from lightmill.pipeline.provenance import Record
from lightmill.pipeline.saving import Saver
from lightmill.pipeline.several import Lent, models_in, sample_of
from lightmill.pipeline.sinks import Written
from lightmill.pipeline.step import Beside, Products, Skipped, Step

__all__ = ["Computation"]

log = logging.getLogger("lightmill.pipeline")


class Computation:
    """Applies the steps of one run.

    Parameters
    ----------
    target : Step
        What runs: products written while they are computed are its own.
    options : Options
        Threads, scratch folder and progress.
    record : Record
        Notes what ran, and for how long.
    saver : Saver
        Writes what is to be written while it is computed.

    Attributes
    ----------
    count : int
        How many times a step was applied.
    """

    def __init__(self, target: Step, options: Options, record: Record, saver: Saver) -> None:
        self.count = 0
        self._target = target
        self._options = options
        self._threads = options.threads or len(os.sched_getaffinity(0))
        self._record = record
        self._saver = saver
        self._counts: dict[str, dict[str, int]] = {}  # of each step, to be added to in `finish`

    def by_rows(
        self,
        model: Any,
        stages: list[Stage],
        path_of: Callable[[str, Any], Path] | None = None,
    ) -> Any:
        """Take a model through stages band by band; write the result as it comes to `path_of`."""
        self.count += len(stages)
        if isinstance(model, Products):
            return Products({s: self.by_rows(m, stages) for s, m in model.items()})

        def sink(first: Any) -> Written:
            for stage in stages:
                self._record.step(stage)
            assert path_of is not None
            return self._saver.sink(first, path_of, lambda: _told(stages, model))

        def complete() -> None:
            for stage in stages:
                self._counts[stage.name] = stage.counts
                if stage.beside:
                    self._record.step(stage)
                    self._saver.save_beside(stage)

        result = through_bands(
            model,
            stages,
            threads=self._threads,
            scratch=self._options.scratch_dir,
            progress=self._reporter(stages),
            sink=sink if path_of is not None else None,
            complete=complete,
        )
        for stage in stages:
            _say_skipped(stage)
        if path_of is None:
            _tell(_told(stages, model), result)
        if path_of is not None:
            for part in result.values() if isinstance(result, Products) else (result,):
                self._saver.saved(self._target, Path(str(part.path)), part)
        return result

    def whole(self, stage: Stage, model: Any) -> Any:
        """Apply a step that needs the whole model; it may look at its arrays, not write into them."""
        begin, cpu = time.perf_counter(), time.process_time()
        lent = Lent(model, self._threads, self._options.progress)
        result = _apply(stage, lent.model)
        stage.status = "COMPLETE"
        beside = result if isinstance(result, Beside) else None
        if beside is not None:
            stage.beside, stage.counts, result = beside.products, beside.counts, beside.result
            stage.skipped = beside.skipped
        if isinstance(result, Skipped):
            stage.status, stage.reason, result = "SKIPPED", result.reason, result.model
        if beside is not None:
            _tell(_told([stage], sample_of(lent.model)), result)
        _say_skipped(stage)
        lent.end(result)
        self.count += 1
        stage.wall_s += time.perf_counter() - begin
        stage.cpu_s += time.process_time() - cpu
        return result

    def finish(self, stage: Stage, model: Any) -> Any:
        """Complete the whole result of a step that was applied by rows."""
        ny, nx = frame_of(model)
        begin, cpu = time.perf_counter(), time.process_time()
        done = stage.step.finish(model, **stage.cut_references(Region(0, ny, 0, nx)))
        self._record.add_time(stage.name, time.process_time() - cpu, time.perf_counter() - begin)
        if isinstance(done, Beside):
            stage.counts = {**self._counts.get(stage.name, {}), **done.counts}
            done = done.result
            _tell(_told([stage], model), done)
        return done

    def _reporter(self, stages: list[Stage]) -> Callable[[int, int], None]:
        """Return what tells the user of each band done."""
        labels = ", ".join(stage.step.name for stage in stages)
        progress = self._options.progress

        def report(done: int, total: int) -> None:
            if progress:
                progress(labels, done, total)

        return report


def _say_skipped(stage: Stage) -> None:
    """Tell who reads the log that a step had nothing to do, and why."""
    if stage.status == "SKIPPED":
        log.info("%s: skipped: %s", stage.name, stage.reason)


def _told(stages: list[Stage], model: Model) -> dict[str, Any]:
    """Return what the counts of some stages mean: metadata path → number."""
    told: dict[str, Any] = {}
    for stage in stages:
        if stage.counts:
            told |= stage.step.tell(stage.counts, model)
    return told


def _tell(told: dict[str, Any], result: Any) -> None:
    """Put numbers into the metadata of a result."""
    for model in models_in(result):
        for path, value in told.items():
            force(model, path, value)


def _apply(stage: Stage, model: Any) -> Any:
    """Apply a step to a model on loan; say what is wrong where it writes into the arrays."""
    try:
        return stage.step.apply(model, **stage.references)
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise LightmillError(
            f"step {stage.name!r} writes into an array that is not its own",
            found=error,
            remedy="copy the array first, and return model.evolve(data=…)",
        ) from error
