"""The runner: opens, selects references, runs, records, names and saves.

Steps compute and know nothing of files. Whatever happens, a run ends in one
documented outcome: done, skipped with a reason, or failed with an error.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightmill import models
from lightmill.errors import (
    ConfigurationError,
    LightmillError,
    OutputError,
)
from lightmill.models import Model, Region
from lightmill.models.lineage import Loan, frame_of
from lightmill.pipeline import hooks as hooks_
from lightmill.pipeline import provenance
from lightmill.pipeline.bands import Stage, through_bands
from lightmill.pipeline.border import check_exposure
from lightmill.pipeline.cache import RunCache, file_or_value, identity, model_identity
from lightmill.pipeline.flow import (
    accept,
    check_names,
    check_order,
    items_of,
    makes_product,
    names_of,
    position,
)
from lightmill.pipeline.opening import Opener, sample_of
from lightmill.pipeline.outcome import Options, Outcome, Status
from lightmill.pipeline.pipeline import Pipeline, Save
from lightmill.pipeline.saving import Saver, parts_of, suffix_of
from lightmill.pipeline.sinks import Written
from lightmill.pipeline.step import Products, Skipped, Step
from lightmill.reference import References

__all__ = ["Options", "Outcome", "Run", "Status", "run"]

log = logging.getLogger("lightmill.pipeline")


def run(
    target: Step | type[Step], data: Any, options: Options | None = None, **more: Any
) -> Outcome:
    """Run a step or a pipeline on a model or a file.

    Parameters
    ----------
    target : Step or type
        A step or pipeline, with its parameters.
    data : Model or path_like
        A caller's model is not changed.
    options : Options, optional
        How to run.
    **more
        Fields of `Options`, parameters of the step, and ``override_<type>``.

    Returns
    -------
    outcome : Outcome
        How it ended, the models, and the products written.

    Raises
    ------
    LightmillError
        What went wrong; its ``exit_status`` says whose fault it is.
    """
    step = target() if isinstance(target, type) else target
    fields = set(Options.__dataclass_fields__)
    settings = {name: value for name, value in more.items() if name not in fields}
    options = replace(options or Options(), **{n: more[n] for n in fields & set(more)})
    options.overrides = dict(options.overrides)  # the caller's stay as they are
    options.skip = frozenset(options.skip)
    if isinstance(options.references, str | Path):
        options.references = References(options.references)
    for name in [n for n in settings if n.startswith("override_") and isinstance(step, Pipeline)]:
        options.overrides[name.removeprefix("override_")] = settings.pop(name)
    if settings:
        step = step.configured(settings, "python")
    return Run(step, options).on(data)


class Run:
    """One run of one step or pipeline on one input."""

    def __init__(self, target: Step, options: Options) -> None:
        self.target = target
        self.options = options
        self.threads = options.threads or len(os.sched_getaffinity(0))
        self.cache: RunCache | None = None
        self.record = provenance.Record()
        self.opener = Opener(options, self.record)
        self.saver = Saver(target, options, self.record)
        self.source: Model | None = None
        self._path: list[str] = []
        self._identities: dict[int, str] = {}  # of the reference files opened
        self._computed = 0  # stages that ran
        self._taken = 0  # results found in the run cache
        self._begun = options.start_at is None

    # ------------------------------------------------------------------ the whole run

    def on(self, data: Any) -> Outcome:
        """Run, and return the outcome; errors are raised as `LightmillError`."""
        begin = time.perf_counter()
        target, options = self.target, self.options
        source = self._open(data)
        try:
            check_exposure(source)
            self.saver.check_directory()
            if options.resume or options.stop_after or options.start_at:
                self.cache = RunCache(self._cache_place())
            self.record.start(target, source, names_of(target))
            log.info("%s: %s begins", target.name, Path(self.saver.input_name).name)
            return self._outcome(self._top(source), begin)
        except LightmillError as error:
            self._call_hooks(target, "on_error", error)
            raise
        except OSError as error:
            raise OutputError(
                "the system refused", place=error.filename, found=error.strerror or error
            ) from error
        finally:
            self.saver.remove_empty_folders()

    def _open(self, data: Any) -> Model:
        check_names(self.target, self.options)
        self.source = source = models.open(data)
        self.saver.input_name = str(
            source.path or source.meta.get("filename") or f"{self.target.name}.fits"
        )
        return source

    def _own(self, model: Model) -> Model:
        """Return a model that may be stamped: never the input itself."""
        return model.evolve() if model is self.source else model

    def _input(self) -> Model:
        assert self.source is not None
        return self.source

    def _outcome(self, result: Any, begin: float) -> Outcome:
        """Save what was made, and say what became of the input."""
        target, reason, status = self.target, None, Status.DONE
        if isinstance(result, Skipped):
            status, reason, result = Status.SKIPPED, result.reason, result.model
        elif self._taken and not self._computed:
            status = Status.CACHED
        parts = {s: self._own(m) for s, m in parts_of(target, result).items()}
        self.record.finish(time.perf_counter() - begin)
        if self.saver.saves:
            self.saver.save(target, parts)
        else:
            for model in parts.values():
                self.record.stamp(model)
        self.saver.write_log(parts)
        log.info("%s: %s after %.2f s", target.name, status, time.perf_counter() - begin)
        first = next(iter(parts.values()))
        return Outcome(
            status, first, parts, reason, None, self.saver.written, self.record.as_dict()
        )

    def plan(self, data: Any) -> Outcome:
        """Say what would be done: which steps, parameters, references and products; compute nothing."""
        source = self._open(data)
        self.record.start(self.target, source, names_of(self.target))
        steps = getattr(self.target, "_steps", {self.target.name: self.target})
        model: Any = source
        for name in names_of(self.target) or steps:
            step = steps.get(name)
            if step is None:
                self.record.skipped(name, "not available yet")
            elif self.options.leaves_out(name, step):
                self.record.skipped(name, "asked for", step)
            elif isinstance(step, Pipeline) or self.opener.stage(name, step, model) is not None:
                self.record.planned(name, step)
        path_of = self.saver.path_of(self.target, make=False)
        products = getattr(self.target, "products", ()) or (suffix_of(self.target),)
        written = [path_of(suffix, source) for suffix in products]
        return Outcome(Status.DONE, source, {}, "a dry run", None, written, self.record.as_dict())

    def _top(self, source: Model) -> Any:
        target = self.target
        if self.options.leaves_out(target.name, target):
            self.record.skipped(target.name, "asked for", target)
            return Skipped(source, "asked for")
        if isinstance(target, Pipeline):
            return self._pipeline(target, source)
        result = self._chain([(target.name, target)], source)
        note = self.record.steps[-1]
        return Skipped(result, note["reason"]) if note["status"] == "SKIPPED" else result

    def _pipeline(self, pipeline: Pipeline, source: Model) -> Any:
        object.__setattr__(pipeline, "_run", self)
        self._path.append(pipeline.name)
        try:
            model = self._call_hooks(pipeline, "pre_hooks", source)
            result = pipeline.process(model)
            return self._call_hooks(pipeline, "post_hooks", result)
        except _Stop as stop:
            return stop.result
        finally:
            self._path.pop()
            object.__setattr__(pipeline, "_run", None)

    # ------------------------------------------------------------------ linear pipelines

    def linear(self, pipeline: Pipeline, source: Any) -> Any:
        """Run the steps of a linear flow, those that can in bands, from the last kept result."""
        top = pipeline is self.target
        items = items_of(pipeline)
        if top and self.options.start_at:
            return self._from(pipeline, items, source)
        return self._chain(items, source, pipeline)

    def _from(self, pipeline: Pipeline, items: list[Any], source: Model) -> Any:
        names = [name for name, step in items if not isinstance(step, Save)]
        at = position(items, self.options.start_at)
        wanted = items[at][1].reads if items[at][1] is not None else None
        keys = self._keys(items, source)
        found = self._kept(items[:at], source, keys[:at])
        if found is None or keys[found[0] - 1] != keys[at - 1]:
            given = wanted is not None and isinstance(source, wanted)
            if not given:
                raise ConfigurationError(
                    f"there is no result to start from: {self.options.start_at!r} comes after "
                    + ", ".join(names[: names.index(self.options.start_at)]),
                    place=self._cache_place(),
                    expected="a kept result of the step before, or an input of its kind",
                    remedy=f"run once with --stop-after {names[max(0, names.index(self.options.start_at) - 1)]}",
                )
            return self._chain(items[at:], source, pipeline)
        return self._chain(items, source, pipeline, found)

    def _chain(
        self,
        items: list[Any],
        source: Any,
        pipeline: Pipeline | None = None,
        found: tuple[int, Any] | None = None,
    ) -> Any:
        cache = self.cache if pipeline is not None else None  # `call` keeps results itself
        keys = self._keys(items, source) if cache else []
        last = len(items)
        if pipeline is self.target and self.options.stop_after:
            last = position(items, self.options.stop_after) + 1
        if found is None and cache and self.options.resume:
            found = self._kept(items[:last], source, keys)
        model, begin = source, 0
        if found is not None:
            begin, model = found
            step = items[begin - 1][1]
            if isinstance(step, Step):
                self.saver.save_result(step, model)
        if begin >= last < len(items):
            raise _Stop(model)
        pending: list[tuple[int, Stage]] = []

        def flush(current: Any, save_as: Callable[[str, Any], Path] | None = None) -> Any:
            if not pending:
                return current
            stages = [stage for _, stage in pending]
            result = self._through(current, stages, save_as)
            for _, stage in pending:
                self.record.step(stage)
            pending.clear()
            return result

        for number in range(begin, len(items)):
            name, step = items[number]
            if isinstance(step, Save):
                model = self._save_point(step, model, flush, saving=bool(pending))
                continue
            if step is None:
                self.record.skipped(name, "not available yet")
            elif self.options.leaves_out(name, step):
                self.record.skipped(name, "asked for", step)
            else:
                model, ran = self._one(name, step, model, pending, flush, number)
                if ran and self._materialises(step, model, name, pipeline):
                    model = flush(model)
                    model = self._after(name, step, model, pipeline)
                    if cache and pipeline and name in pipeline.checkpoints:
                        cache.keep(keys[number], model, self.record.notes())
            if number + 1 == last < len(items):
                model = flush(model)
                if cache:
                    cache.keep(keys[number], model, self.record.notes())
                raise _Stop(model)
        target = self.target
        last_of_all = pipeline is target or (pipeline is None and not isinstance(target, Pipeline))
        if pending and last_of_all and self.saver.streams:
            return flush(model, self.saver.path_of(self.target))
        return flush(model)

    def _one(
        self, name: str, step: Step, model: Any, pending: Any, flush: Any, number: int
    ) -> tuple[Any, bool]:
        """Run a step, or note that it is to run; say whether it does not stay out."""
        if isinstance(step, Pipeline):
            return self._pipeline(step, flush(model)), True
        if step.options["pre_hooks"]:
            model = self._call_hooks(step, "pre_hooks", flush(model))
        if pending:
            check_order(pending[-1][1].step, step)
        else:
            model = accept(step, model)
        stage = self.opener.stage(name, step, model)
        if stage is None:
            return model, False
        if not step.applies_by_rows(model):
            model = self._whole(stage, flush(model))
            self.record.step(stage)
            return model, True
        pending.append((number, stage))
        return model, True

    def _materialises(self, step: Step, model: Any, name: str, pipeline: Pipeline | None) -> bool:
        options = step.options
        return bool(
            options["post_hooks"]
            or options["save_results"]
            or options["every_step"]
            or (pipeline is not None and pipeline.options["every_step"])
            or (
                self.cache
                and self.options.resume
                and pipeline is not None
                and name in pipeline.checkpoints
            )
            or (not isinstance(model, Products) and step.finishes(model))
        )

    def _after(self, name: str, step: Step, model: Any, pipeline: Pipeline | None) -> Any:
        """Complete the result of a step, call its hooks, save it where it is a product too."""
        if not isinstance(model, Products) and step.finishes(model):
            stage = self.opener.stage(name, step, model)
            if stage is not None:
                ny, nx = frame_of(model)
                begin, cpu = time.perf_counter(), time.process_time()
                model = step.finish(model, **stage.cut_references(Region(0, ny, 0, nx)))
                self.record.add_time(name, time.process_time() - cpu, time.perf_counter() - begin)
        model = self._call_hooks(step, "post_hooks", model)
        model = self._call_hooks(step, "every_step", model)
        if pipeline is not None:
            model = self._call_hooks(step, "every_step", model, pipeline)
        self.saver.save_result(step, model)
        return model

    def _through(
        self, model: Any, stages: list[Stage], save_as: Callable[[str, Any], Path] | None = None
    ) -> Any:
        labels = ", ".join(stage.step.name for stage in stages)
        progress = self.options.progress

        def report(done: int, total: int) -> None:
            if progress:
                progress(labels, done, total)

        def sink(first: Any) -> Written:
            for stage in stages:
                self.record.step(stage)
            assert save_as is not None
            return self.saver.sink(first, save_as)

        self._computed += len(stages)
        if isinstance(model, Products):
            return Products({s: self._through(m, stages) for s, m in model.items()})
        result = through_bands(
            model,
            stages,
            threads=self.threads,
            scratch=self.options.scratch_dir,
            progress=report,
            sink=sink if save_as is not None else None,
        )
        if save_as is not None:
            parts = result if isinstance(result, Products) else {"": result}
            for part in parts.values():
                self.saver.saved(self.target, Path(str(part.path)), part)
        return result

    def _whole(self, stage: Stage, model: Any) -> Any:
        """Apply a step that needs the whole model; it may look at its arrays, not write into them."""
        begin, cpu = time.perf_counter(), time.process_time()
        several = isinstance(model, Products)
        loans = {s: Loan(m) for s, m in (model.items() if several else (("", model),))}
        given = (
            Products({s: loan.model for s, loan in loans.items()}) if several else loans[""].model
        )
        try:
            result = stage.step.apply(given, **stage.references)
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise LightmillError(
                f"step {stage.name!r} writes into an array that is not its own",
                found=error,
                remedy="copy the array first, and return model.evolve(data=…)",
            ) from error
        stage.status = "COMPLETE"
        if isinstance(result, Skipped):
            stage.status, stage.reason, result = "SKIPPED", result.reason, result.model
        for loan in loans.values():
            for made in result.values() if isinstance(result, Products) else (result,):
                loan.end(made)
        self._computed += 1
        stage.wall_s += time.perf_counter() - begin
        stage.cpu_s += time.process_time() - cpu
        return result

    # ------------------------------------------------------------------ pipelines in Python

    def call(self, pipeline: Pipeline, name: str, model: Any) -> Any:
        """Run one step of a pipeline whose order is Python; its result is kept for resuming."""
        step = pipeline.step(name)
        own = pipeline is self.target
        self._begun = self._begun or (own and name == self.options.start_at)
        skipped = self.options.leaves_out(name, step)
        key = None
        if self.cache and not skipped:
            key = identity(
                provenance.VERSION, self._step_identity(name, step, model), model_identity(model)
            )
            if self.options.resume or (own and not self._begun):
                found = self.cache.find(key, self._input())
                if found is not None:
                    self._restore(found[1], [name, *getattr(step, "_steps", ())])
                    self.saver.save_result(step, found[0])
                    return self._stop_at(pipeline, name, found[0])
        if own and not self._begun and not skipped:
            raise ConfigurationError(
                f"there is no result of {name!r} to start from",
                place=self._cache_place(),
                expected=f"a kept result of every step before {self.options.start_at!r}",
                remedy=f"run once with --stop-after {name}",
            )
        result = self._chain([(name, step)], model, None)
        if self.cache and key is not None:
            self.cache.keep(key, result, self.record.notes())
        return self._stop_at(pipeline, name, result)

    def _stop_at(self, pipeline: Pipeline, name: str, result: Any) -> Any:
        if pipeline is self.target and name == self.options.stop_after:
            raise _Stop(result)
        return result

    # ------------------------------------------------------------------ identities

    def _step_identity(self, name: str, step: Step, model: Any) -> str:
        sample = sample_of(model)
        inside: Any = {}
        if isinstance(step, Pipeline):
            inside = {
                "flow": [str(item) for item in step.order or ()],
                "steps": {
                    one: self._step_identity(one, part, model)
                    for one, part in step._steps.items()
                    if not part.options["skip"]
                },
            }
        else:
            for reftype, cls in step.references.items():
                reference = self.opener.open(step, reftype, cls, sample)
                inside[reftype] = None if reference is None else self._content(reference)
        hooks = [
            hooks_.describe(hook, with_code=True)
            for kind in ("pre_hooks", "post_hooks", "every_step")
            for hook in (step.options[kind] or ())
        ]
        values = {n: file_or_value(v) for n, v in provenance.values(step).items()}
        return identity(name, type(step).__qualname__, step.version, values, inside, hooks)

    def _content(self, reference: Model) -> str:
        """Return the identity of a reference, which nobody changes while the run lasts."""
        key = id(reference)
        if key not in self._identities:
            self._identities[key] = model_identity(reference)
        return self._identities[key]

    def _keys(self, items: list[Any], source: Any) -> list[str]:
        """Return the identity of the result after each item of a flow."""
        key = identity(provenance.VERSION, model_identity(source))
        keys = []
        for name, step in items:
            out = step is None or isinstance(step, Save)
            if not out and not self.options.leaves_out(name, step):
                key = identity(key, self._step_identity(name, step, source))
            keys.append(key)
        return keys

    def _kept(self, items: list[Any], source: Model, keys: list[str]) -> tuple[int, Any] | None:
        """Return the latest kept result of a flow, and the number of items done.

        No result is taken that comes after a product the run has to write.
        """
        assert self.cache is not None
        writes = [n for n, (_, step) in enumerate(items) if makes_product(step)]
        for number in range(min([len(items) - 1, *writes]), -1, -1):
            if number and keys[number] == keys[number - 1]:
                continue  # this item adds nothing to the result of the one before
            found = self.cache.find(keys[number], source)
            if found is not None:
                done = items[: number + 1]
                names = [name for name, _ in done]
                names += [inner for _, step in done for inner in getattr(step, "_steps", ())]
                self._restore(found[1], names)
                log.info("%s: taken from the run cache", items[number][0])
                return number + 1, found[0]
        return None

    def _restore(self, notes: dict[str, Any], names: list[str]) -> None:
        self.record.restore(notes, names)
        self._taken += 1

    # ------------------------------------------------------------------ hooks, names, files

    def _call_hooks(self, step: Step, kind: str, model: Any, pipeline: Step | None = None) -> Any:
        called = list((pipeline or step).options[kind] or ())
        if called and kind != "on_error" and not isinstance(model, Products):
            held = kind == "pre_hooks" or model is self.source
            model = model.copy() if held else model  # a hook may write into what it gets
        for hook in called:
            model = hooks_.call(hook, model, step=step, kind=kind)
        return model

    def _cache_place(self) -> Path:
        return self.options.cache_dir or self.saver.directory / ".lightmill"

    def _save_point(self, point: Save, model: Any, flush: Any, *, saving: bool) -> Any:
        path_of = self.saver.path_of(self.target)
        if saving:
            return flush(model, lambda _, part: path_of(point.suffix, part))
        self.saver.save(self.target, {point.suffix: model})
        return model


class _Stop(Exception):  # noqa: N818 - not an error: the end the user asked for
    """Carries the result out of a pipeline that is to stop here."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result
