"""The flow of a linear pipeline: its items in order, what they are called, what follows what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from lightmill.errors import ConfigurationError, DataError, UnknownNameError
from lightmill.models import CalModel, Exposures, RateModel
from lightmill.models.lineage import as_class
from lightmill.pipeline.outcome import Options
from lightmill.pipeline.pipeline import Pipeline, Save
from lightmill.pipeline.step import Products, Step

__all__ = [
    "Item",
    "accept",
    "can_follow",
    "check_names",
    "check_order",
    "items_of",
    "makes_beside",
    "makes_product",
    "names_of",
    "position",
]

Item: TypeAlias = tuple[str, Step | Save | None]
"""A name in a flow, and what it stands for; None for a step that is not available yet."""


def items_of(pipeline: Pipeline) -> list[Item]:
    """Return the items of a linear flow, without the save points nobody asked for."""
    items: list[Item] = []
    for item in pipeline.order or ():
        if isinstance(item, Save):
            if item.when is None or getattr(pipeline.parameters, item.when):
                items.append((item.suffix, item))
        else:
            items.append((item, pipeline._steps.get(item)))
    return items


def names_of(target: Step) -> list[str]:
    """Return the names of the steps in their linear order; none where there is no such order."""
    order = getattr(target, "order", None) or ()
    return [item for item in order if isinstance(item, str)]


def position(items: Sequence[Item], wanted: str | None) -> int:
    """Return where a step is in a flow."""
    return next(
        number
        for number, (name, step) in enumerate(items)
        if name == wanted and not isinstance(step, Save)
    )


def makes_product(step: Step | Save | None) -> bool:
    """Say whether an item of a flow makes a product."""
    return isinstance(step, Save) or (step is not None and bool(step.options["save_results"]))


def makes_beside(step: Step | Save | None) -> bool:
    """Say whether an item of a flow makes a product beside its result: it must be computed."""
    if step is None or isinstance(step, Save):
        return False
    inside: Iterable[Step] = getattr(step, "_steps", {}).values()
    return bool(step.side_products()) or any(makes_beside(one) for one in inside)


def check_names(target: Step, options: Options) -> None:
    """Refuse names of steps and of reference types that the target does not know."""
    names: Iterable[str] = getattr(target, "_steps", {target.name: target})
    if isinstance(target, Pipeline):
        names = {*names, *target.not_yet}
    for kind, asked in (
        ("--start-at", options.start_at),
        ("--stop-after", options.stop_after),
        *(("--skip", name) for name in options.skip),
    ):
        ignored = getattr(target, "also", ()) if kind == "--skip" else ()
        if asked is not None and asked not in names and asked not in ignored:
            raise UnknownNameError("step", asked, names, place=kind)
    known = _reference_types(target)
    for reftype in options.overrides:
        if reftype not in known:
            raise UnknownNameError("reference type", reftype, known, place="--override")


def can_follow(before: Step, step: Step) -> bool:
    """Say whether a step declares to read what another one writes."""
    made, wanted = _classes(before.writes), _classes(step.reads)
    return Exposures in wanted or any(
        issubclass(m, w) or (m is RateModel and w is CalModel) for m in made for w in wanted
    )


def check_order(before: Step, step: Step) -> None:
    """Refuse a step that cannot read what the one before it writes."""
    made, wanted = _classes(before.writes), _classes(step.reads)
    if made and wanted and not can_follow(before, step):
        raise ConfigurationError(
            f"step {step.name!r} cannot follow {before.name!r}",
            found=", ".join(cls.__name__ for cls in made),
            expected=" or ".join(cls.__name__ for cls in wanted),
            remedy="change the order, or leave one of them out",
        )


def accept(step: Step, model: Any) -> Any:
    """Take the model as the step reads it, or say why that cannot be."""
    wanted = _classes(step.reads)
    if not wanted or isinstance(model, (Products, *wanted)):
        return model
    if isinstance(model, Exposures):
        if len(model) == 1 and not issubclass(Exposures, wanted):
            return accept(step, model.science[0])  # nothing but the one is left to work on
    elif Exposures in wanted:
        return Exposures.of([model])
    for cls in wanted:
        if isinstance(model, Exposures):
            break
        accepted = as_class(model, cls)
        if accepted is not None:
            return accepted
    raise DataError(
        f"step {step.name!r} cannot read this",
        place=model.path,
        found=f"{len(model)} exposures" if isinstance(model, Exposures) else type(model).__name__,
        expected=" or ".join(cls.__name__ for cls in wanted),
        remedy="give it a file of that kind, or start at another step with --start-at",
    )


def _classes(declared: Any) -> tuple[type[Any], ...]:
    return declared if isinstance(declared, tuple) else () if declared is None else (declared,)


def _reference_types(step: Step) -> set[str]:
    """Return the types of reference that a step, or any step of a pipeline, takes."""
    inside = getattr(step, "_steps", {}).values()
    return set(step.references).union(*(_reference_types(one) for one in inside))
