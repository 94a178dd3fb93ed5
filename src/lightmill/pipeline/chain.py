"""Run the items of a linear flow in order, joining the steps that can go through in bands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightmill.errors import ConfigurationError, LightmillError
from lightmill.pipeline.bands import Stage
from lightmill.pipeline.flow import Item, accept, can_follow, check_order, position
from lightmill.pipeline.pipeline import Pipeline, Save
from lightmill.pipeline.resuming import Stop
from lightmill.pipeline.step import Products, Step

if TYPE_CHECKING:
    from lightmill.pipeline.runner import Run

__all__ = ["Chain"]


class Chain:
    """One pass of a model through the items of a flow.

    A step that applies by rows is not run at once: it waits, with those that
    follow it, until the whole result is needed. Then each band of the frame
    goes through all that wait.

    Parameters
    ----------
    run : Run
        The run this is part of.
    items : list of Item
        What to run, in order.
    pipeline : Pipeline, optional
        Whose flow it is; none for one step alone, whose result the run keeps itself.
    """

    def __init__(self, run: Run, items: list[Item], pipeline: Pipeline | None = None) -> None:
        self._run = run
        self._items = items
        self._pipeline = pipeline
        self._keeps = pipeline is not None and run.resumption.cache is not None
        self._keys: list[str] = []  # of the result after each item, when results are kept
        self._waiting: list[Stage] = []

    def on(self, source: Any, found: tuple[int, Any] | None = None) -> Any:
        """Take a model through the flow.

        Parameters
        ----------
        source : Model or Products
            The input of the flow.
        found : tuple, optional
            How many items are done already, and their result.

        Returns
        -------
        result : Model or Products
            What the last item made.

        Raises
        ------
        Stop
            Carries the result, where the user wants to stop before the end.
        """
        end = self._end()
        begin, model = self._begin(source, end, found)
        if begin >= end < len(self._items):
            raise Stop(model)
        for number in range(begin, end):
            model, runs = self._item(number, model)
            if runs and self._needs_whole(number, model):
                model = self._flush(model)
                model = self._complete(number, model)
        if end < len(self._items):
            model = self._flush(model)
            self._keep(end - 1, model)
            raise Stop(model)
        return self._flush(model, self._path_of_result())

    def _end(self) -> int:
        """Return how many items are to be run, those before `begin` included."""
        stop_after = self._run.options.stop_after
        if self._pipeline is self._run.target and stop_after:
            return position(self._items, stop_after) + 1
        return len(self._items)

    def _begin(self, source: Any, end: int, found: tuple[int, Any] | None) -> tuple[int, Any]:
        """Return how many items are done already, and the model to go on with."""
        resumption = self._run.resumption
        if self._keeps:
            self._keys = resumption.keys(self._items, source)
            if found is None and self._run.options.resume:
                found = resumption.latest(self._items[:end], source, self._keys)
        if found is None:
            return 0, source
        done, model = found
        step = self._items[done - 1][1]
        if isinstance(step, Step):
            self._run.saver.save_result(step, model)
        return done, model

    def _item(self, number: int, model: Any) -> tuple[Any, bool]:
        """Run one item, or note why it does not; say whether it is a step that runs."""
        name, step = self._items[number]
        if isinstance(step, Save):
            return self._save_point(step, model), False
        if step is None:
            self._run.record.skipped(name, "not available yet")
            return model, False
        if self._run.options.leaves_out(name, step):
            self._run.record.skipped(name, "asked for", step)
            return model, False
        return self._step(name, step, model)

    def _step(self, name: str, step: Step, model: Any) -> tuple[Any, bool]:
        """Run a step or let it wait; say whether it does either, or stays out."""
        run = self._run
        if isinstance(step, Pipeline):
            return run.nested(step, self._flush(model)), True
        if step.options["pre_hooks"]:
            model = run.call_hooks(step, "pre_hooks", self._flush(model))
        try:
            if self._waiting:
                check_order(self._waiting[-1].step, step)
            else:
                model = accept(step, model)
        except LightmillError as error:
            raise self._explained(error, step) from error
        stage = run.opener.stage(name, step, model)
        if stage is None:
            return model, False
        if step.applies_by_rows(model):
            self._waiting.append(stage)
            return model, True
        model = run.computation.whole(stage, accept(step, self._flush(model)))
        run.record.step(stage)
        run.saver.save_beside(stage)
        return model, True

    def _explained(self, error: LightmillError, step: Step) -> LightmillError:
        """Return why a step cannot read what it gets: a step that makes it may have stayed out."""
        reasons = {
            note["name"]: note["reason"]
            for note in self._run.record.steps
            if note["status"] == "SKIPPED"
        }
        before = self._items[: [one for _, one in self._items].index(step)]
        for name, one in reversed(before):
            if name in reasons and isinstance(one, Step) and can_follow(one, step):
                return ConfigurationError(
                    f"step {step.name!r} needs what {name!r} makes, and that was left out: "
                    f"{reasons[name]}",
                    found=error.found,
                    expected=error.expected,
                    remedy=f"let {name} run, or leave out the other as well: --skip {step.name}",
                )
        return error

    def _needs_whole(self, number: int, model: Any) -> bool:
        """Say whether anything happens with the whole result of a step, so that it cannot wait."""
        name, step = self._items[number]
        assert isinstance(step, Step)
        options, pipeline = step.options, self._pipeline
        return bool(
            options["post_hooks"]
            or options["save_results"]
            or options["every_step"]
            or (pipeline is not None and pipeline.options["every_step"])
            or (self._keeps and self._run.options.resume and self._is_checkpoint(name))
            or (not isinstance(model, Products) and step.finishes(model))
        )

    def _complete(self, number: int, model: Any) -> Any:
        """Complete the result of a step, call its hooks, save it and keep it where asked for."""
        run = self._run
        name, step = self._items[number]
        assert isinstance(step, Step)
        if not isinstance(model, Products) and step.finishes(model):
            stage = run.opener.stage(name, step, model)
            if stage is not None:
                model = run.computation.finish(stage, model)
        model = run.call_hooks(step, "post_hooks", model)
        model = run.call_hooks(step, "every_step", model)
        if self._pipeline is not None:
            model = run.call_hooks(step, "every_step", model, self._pipeline)
        run.saver.save_result(step, model)
        if self._is_checkpoint(name):
            self._keep(number, model)
        return model

    def _save_point(self, point: Save, model: Any) -> Any:
        """Save the result so far; write it as it is computed, where steps wait.

        A point that no parameter switches is a product of the run like its result: it is saved
        when that is.
        """
        saver, target = self._run.saver, self._run.target
        if point.when is None and not saver.saves:
            model = self._flush(model)
        elif self._waiting:
            path_of = saver.path_of(target)
            model = self._flush(model, lambda _, part: path_of(point.suffix, part))
        else:
            saver.save(target, {point.suffix: model})
        if point.when is None:
            self._run.products[point.suffix] = model
        return model

    def _flush(self, model: Any, path_of: Callable[[str, Any], Path] | None = None) -> Any:
        """Take a model through the steps that wait; write the result as it comes to `path_of`."""
        if not self._waiting:
            return model
        result = self._run.computation.by_rows(model, self._waiting, path_of)
        for stage in self._waiting:
            self._run.record.step(stage)
        self._waiting = []
        return result

    def _path_of_result(self) -> Callable[[str, Any], Path] | None:
        """Return where the result goes, if it is the run's and can be written as it is computed."""
        run, pipeline = self._run, self._pipeline
        last_of_all = pipeline is run.target or (
            pipeline is None and not isinstance(run.target, Pipeline)
        )
        return run.saver.path_of(run.target) if last_of_all and run.saver.streams else None

    def _is_checkpoint(self, name: str) -> bool:
        return self._pipeline is not None and name in self._pipeline.checkpoints

    def _keep(self, number: int, model: Any) -> None:
        """Keep the result after an item, if results are kept."""
        if self._keeps:
            self._run.resumption.keep(self._keys[number], model)
