"""The runner: one run of a step or a pipeline, from opening its input to the outcome.

Steps compute and know nothing of files. What they need is done here by others:
references are opened (`opening`), steps applied (`chain`, `computing`), products
saved (`saving`), results kept and found again (`resuming`). Whatever happens, a run
ends in one documented outcome: done, skipped with a reason, or failed with an error.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightmill import models
from lightmill.errors import ConfigurationError, CorruptFileError, LightmillError, OutputError
from lightmill.models import Exposures
from lightmill.pipeline import hooks, provenance
from lightmill.pipeline.border import check_exposure
from lightmill.pipeline.chain import Chain
from lightmill.pipeline.computing import Computation
from lightmill.pipeline.flow import check_names, items_of, makes_beside, names_of
from lightmill.pipeline.opening import Opener
from lightmill.pipeline.outcome import Options, Outcome, Status
from lightmill.pipeline.pipeline import Pipeline
from lightmill.pipeline.resuming import Resumption, Stop
from lightmill.pipeline.saving import Saver, parts_of, suffix_of
from lightmill.pipeline.several import evolved, models_in
from lightmill.pipeline.step import Products, Skipped, Step
from lightmill.reference import References

__all__ = ["Options", "Outcome", "Run", "Status", "run"]

log = logging.getLogger("lightmill.pipeline")

MISSING_MEMBERS = "missing_members"  # a pipeline's parameter: fail, or leave_out


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
    """One run of one step or pipeline on one input.

    Parameters
    ----------
    target : Step
        What runs, with its parameters.
    options : Options
        How.
    """

    def __init__(self, target: Step, options: Options) -> None:
        self.target = target
        self.options = options
        self.record = provenance.Record()
        self.record.take_parameters(options.parameter_references)
        self.opener = Opener(options, self.record)
        self.saver = Saver(target, options, self.record)
        self.resumption = Resumption(options, self.record, self.opener, self.saver)
        self.computation = Computation(target, options, self.record, self.saver)
        self.source: Any = None
        self.products: dict[str, Any] = {}  # of the save points of a flow
        self._begun = options.start_at is None  # else steps before it are not computed

    def on(self, data: Any) -> Outcome:
        """Run, and return the outcome; errors are raised as `LightmillError`."""
        begin = time.perf_counter()
        target = self.target
        source = self._open(data)
        try:
            for one in models_in(source):
                check_exposure(one)
            self.saver.check_directory()
            self.opener.select(target, source)
            results = self._results(source) if self.saver.saves else []
            for step in self._computing(target):
                self.saver.check_beside(step, results)
            self.resumption.begin()
            self.record.start(target, source, names_of(target))
            log.info("%s: %s begins", target.name, Path(self.saver.input_name).name)
            return self._outcome(self._with_what_is_whole(source), begin)
        except LightmillError as error:
            error.record = self._so_far()
            self.call_hooks(target, "on_error", error)
            raise
        except OSError as error:
            refused = OutputError(
                "the system refused", place=error.filename, found=error.strerror or error
            )
            refused.record = self._so_far()
            raise refused from error
        finally:
            self.saver.remove_empty_folders()

    def _so_far(self) -> dict[str, Any]:
        """Return the record of a run that failed: what ran, and how the rest would have run."""
        noted = {note["name"] for note in self.record.steps}
        for step in self._computing(self.target):
            if step.name not in noted:
                self.record.planned(step.name, step)
        return self.record.as_dict()

    def _open(self, data: Any) -> Any:
        check_names(self.target, self.options)
        self.source = source = models.open(data, leave_out=self._leaves_out)
        if isinstance(source, Exposures):
            self.saver.input_name = f"{source.product}.fits"
            paths = [member.model.path for member in source.members]
            self.saver.inputs = [Path(path) for path in (source.path, *paths) if path is not None]
        else:
            self.saver.input_name = str(
                source.path or source.meta.get("filename") or f"{self.target.name}.fits"
            )
        return source

    @property
    def _leaves_out(self) -> bool:
        """Whether the user lets the rest go on where a member is missing or damaged."""
        return getattr(self.target.parameters, MISSING_MEMBERS, "fail") == "leave_out"

    def _with_what_is_whole(self, source: Any) -> Any:
        """Run; where a member turns out damaged on the way, begin again without it if allowed.

        Nothing of the damaged member is in the product then, and the product names it.
        """
        while True:
            try:
                return self._top(source)
            except CorruptFileError as error:
                damaged = None
                if isinstance(source, Exposures) and self._leaves_out:
                    named = str(error.place or "")
                    damaged = next(
                        (name for name in source.names if Path(name).name in named), None
                    )
                if damaged is None:
                    raise
                log.warning("left out: %s", error.story())
                self.products.clear()
                self.source = source = source.without(damaged, error.story())
                self.record.restart(self.target, source, names_of(self.target))

    def _results(self, source: Any) -> list[Path]:
        """Return where the result of the run goes, as far as that is known before."""
        path_of = self.saver.path_of(self.target, make=False)
        products = getattr(self.target, "products", ()) or (suffix_of(self.target),)
        return [path_of(suffix, source) for suffix in products]

    def _computing(self, step: Step) -> Iterator[Step]:
        """Yield the steps that nobody asked to leave out, those of inner pipelines too."""
        for name, one in getattr(step, "_steps", {step.name: step}).items():
            if self.options.leaves_out(name, one):
                continue
            if isinstance(one, Pipeline):
                yield from self._computing(one)
            else:
                yield one

    def _own(self, result: Any) -> Any:
        """Return a result that may be stamped: never the input itself."""
        several = isinstance(result, Exposures)
        return evolved(result) if several or result is self.source else result

    def _input(self) -> Any:
        assert self.source is not None
        return self.source

    def _outcome(self, result: Any, begin: float) -> Outcome:
        """Save what was made, and say what became of the input."""
        target, reason, status = self.target, None, Status.DONE
        if isinstance(result, Skipped):
            status, reason, result = Status.SKIPPED, result.reason, result.model
        elif self.resumption.taken and not self.computation.count:
            status = Status.CACHED
        last = {s: self._own(m) for s, m in parts_of(target, result).items()}
        parts = {s: m for s, m in self.products.items() if s not in last} | last
        self.record.finish(time.perf_counter() - begin)
        if self.saver.saves:
            self.saver.save(target, last)
        else:
            for part in parts.values():
                names = part.names if isinstance(part, Exposures) else (None,)
                for model, name in zip(models_in(part), names, strict=True):
                    self.record.stamp(model, name)
        self.saver.write_log(parts)
        log.info("%s: %s after %.2f s", target.name, status, time.perf_counter() - begin)
        first = next(iter(parts.values()))
        return Outcome(
            status, first, parts, reason, None, self.saver.written, self.record.as_dict()
        )

    def plan(self, data: Any) -> Outcome:
        """Say what would be done: which steps, parameters, references and products; compute nothing."""
        source = self._open(data)
        self.opener.select(self.target, source)
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
        written = self._results(source)
        for step in self._computing(self.target):
            usual = (product for product in step.side_products() if product.usual)
            written += [self.saver.path_beside(step, product) for product in usual]
        return Outcome(Status.DONE, source, {}, "a dry run", None, written, self.record.as_dict())

    def _top(self, source: Any) -> Any:
        target = self.target
        if self.options.leaves_out(target.name, target):
            self.record.skipped(target.name, "asked for", target)
            return Skipped(source, "asked for")
        if isinstance(target, Pipeline):
            return self.nested(target, source)
        result = Chain(self, [(target.name, target)]).on(source)
        note = self.record.steps[-1]
        return Skipped(result, note["reason"]) if note["status"] == "SKIPPED" else result

    def nested(self, pipeline: Pipeline, source: Any) -> Any:
        """Run a pipeline, the target itself or a step of another one."""
        object.__setattr__(pipeline, "_run", self)
        try:
            model = self.call_hooks(pipeline, "pre_hooks", source)
            result = pipeline.process(model)
            return self.call_hooks(pipeline, "post_hooks", result)
        except Stop as stop:
            return stop.result
        finally:
            object.__setattr__(pipeline, "_run", None)

    def linear(self, pipeline: Pipeline, source: Any) -> Any:
        """Run the steps of a linear flow, those that can in bands, from the last kept result."""
        items, found, start_at = items_of(pipeline), None, self.options.start_at
        if pipeline is self.target and start_at:
            items, found = self.resumption.start(items, source, start_at)
        return Chain(self, items, pipeline).on(source, found)

    def call(self, pipeline: Pipeline, name: str, model: Any) -> Any:
        """Run one step of a pipeline whose order is Python; its result is kept for resuming."""
        step = pipeline.step(name)
        own = pipeline is self.target
        self._begun = self._begun or (own and name == self.options.start_at)
        skipped = self.options.leaves_out(name, step)
        key = None
        if self.resumption.cache is not None and not skipped:
            key = self.resumption.key(name, step, model)
            resumes = self.options.resume and not makes_beside(step)
            if resumes or (own and not self._begun):
                found = self.resumption.find(key, self._input(), [(name, step)])
                if found is not None:
                    self.saver.save_result(step, found)
                    return self._stop_at(pipeline, name, found)
        if own and not self._begun and not skipped:
            raise ConfigurationError(
                f"there is no result of {name!r} to start from",
                place=self.resumption.place,
                expected=f"a kept result of every step before {self.options.start_at!r}",
                remedy=f"run once with --stop-after {name}",
            )
        result = Chain(self, [(name, step)]).on(model)
        if key is not None:
            self.resumption.keep(key, result)
        return self._stop_at(pipeline, name, result)

    def _stop_at(self, pipeline: Pipeline, name: str, result: Any) -> Any:
        if pipeline is self.target and name == self.options.stop_after:
            raise Stop(result)
        return result

    def call_hooks(self, step: Step, kind: str, model: Any, pipeline: Step | None = None) -> Any:
        """Call the hooks of a step, or those its pipeline has for every step; return the model."""
        called = list((pipeline or step).options[kind] or ())
        if called and kind != "on_error" and not isinstance(model, Products):
            held = kind == "pre_hooks" or model is self.source
            model = evolved(model, copies=True) if held else model  # a hook may write into it
        for hook in called:
            model = hooks.call(hook, model, step=step, kind=kind)
        return model
