"""Pipeline: named steps and the order they run in.

A linear order is data: a list of step names, in the class or in a YAML file.
Any other order is a Python method `process`, which calls the steps by name:
``self.jump(ramp)``. Pipelines are steps, so they nest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lightmill.errors import ConfigurationError, LightmillError, UnknownNameError
from lightmill.pipeline.parameters import param
from lightmill.pipeline.step import Products, Step, known_steps
from lightmill.yaml_files import read_yaml

if TYPE_CHECKING:
    from lightmill.models import Model
    from lightmill.pipeline.runner import Run

__all__ = ["Pipeline", "Save", "pipeline_class"]

_TYPES = {"bool": bool, "int": int, "float": float, "str": str}


@dataclass(frozen=True)
class Save:
    """A point of a flow where the result so far is also a product."""

    suffix: str
    when: str | None = None  # the pipeline's parameter that asks for it; None: as the result is


class Pipeline(Step):
    """Steps, by the name they have in this pipeline, and how they follow each other.

    Attributes
    ----------
    steps : dict
        Name → step class.
    flow : tuple
        Names (and `Save` points) in order; None when `process` says the order.
    checkpoints : frozenset of str
        Steps whose results are kept for ``resume``.
    not_yet : frozenset of str
        Names that are part of the flow but not available: skipped, and an
        error when somebody asks for them.
    also : frozenset of str
        Names whose parameters are accepted and ignored.
    products : tuple of str
        Suffixes of what it makes.
    inputs : tuple of str
        Suffixes of the files it takes from a folder.
    """

    steps: ClassVar[dict[str, type[Step]]] = {}
    flow: ClassVar[tuple[str | Save, ...] | None] = None
    checkpoints: ClassVar[frozenset[str]] = frozenset()
    not_yet: ClassVar[frozenset[str]] = frozenset()
    also: ClassVar[frozenset[str]] = frozenset()
    products: ClassVar[tuple[str, ...]] = ()
    inputs: ClassVar[tuple[str, ...]] = ()

    _run: Run | None = None

    def __init__(
        self, *, steps: dict[str, dict[str, Any] | Step] | None = None, **parameters: Any
    ) -> None:
        object.__setattr__(self, "_steps", {name: cls() for name, cls in self.steps.items()})
        super().__init__(**parameters)
        for name, given in (steps or {}).items():
            if isinstance(given, Step):
                self.replace(name, given)
            else:
                self.step(name).configure(given, "python")

    def __getattr__(self, name: str) -> Any:
        """Return a step by its name: to set its parameters, or to call it in `process`."""
        steps = self.__dict__.get("_steps", {})
        if name in steps:
            return _Callable(self, name) if self._run is not None else steps[name]
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_steps", {}) and isinstance(value, Step):
            self.replace(name, value)
        else:
            super().__setattr__(name, value)

    def step(self, name: str) -> Step:
        """Return one of the steps by its name."""
        try:
            return self._steps[name]
        except KeyError:
            raise UnknownNameError("step", name, self._steps, place=self.name) from None

    def all_steps(self) -> dict[str, Step]:
        """Return the steps by name, with what was replaced and inserted."""
        return dict(self._steps)

    @property
    def order(self) -> tuple[str | Save, ...] | None:
        """The linear order, with what was inserted; None when `process` says it."""
        return self.__dict__.get("_order", self.flow)

    def replace(self, name: str, step: Step) -> None:
        """Run `step` in the place of the step called `name`."""
        self.step(name)
        self._steps[name] = step

    def insert(self, step: Step, *, before: str | None = None, after: str | None = None) -> None:
        """Run `step` before or after one of the steps of a linear pipeline."""
        anchor = before or after
        order = self.order
        if order is None or anchor is None:
            raise ConfigurationError(
                "a step can be inserted in a linear pipeline only, before or after another",
                place=self.name,
            )
        self.step(anchor)
        if step.name in self._steps:
            raise ConfigurationError(
                f"there is a step {step.name!r} already", place=self.name, remedy="use replace"
            )
        at = order.index(anchor) + (1 if after else 0)
        self._steps[step.name] = step
        object.__setattr__(self, "_order", (*order[:at], step.name, *order[at:]))

    def process(self, model: Any) -> Any:
        """Call the steps; override it for an order that is not linear."""
        if self.order is None or self._run is None:
            raise LightmillError(f"pipeline {self.name!r} has neither a flow nor a process method")
        return self._run.linear(self, model)

    def apply(self, model: Any, **references: Any) -> Any:  # noqa: ARG002
        """Run the pipeline as a step of another one."""
        return self.process(model)


class _Callable:
    """A step of a running pipeline: called, it runs; asked, it answers as the step."""

    def __init__(self, pipeline: Pipeline, name: str) -> None:
        self._pipeline, self._name = pipeline, name

    def __call__(self, model: Model | Products) -> Any:
        run = self._pipeline._run
        assert run is not None
        return run.call(self._pipeline, self._name, model)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline.step(self._name), name)


def _read_by(first: type[Step] | None, *, together: bool) -> Any:
    """Return what a flow reads: what its first step does, or several exposures together."""
    if together:
        from lightmill.models import Exposures

        return Exposures
    return first.reads if first else None


def pipeline_class(
    path: str | Path, known: Mapping[str, type[Step]] | None = None
) -> type[Pipeline]:
    """Make a pipeline class of a YAML file: name, title, flow, parameters.

    Parameters
    ----------
    path : path_like
        The file.
    known : mapping, optional
        Name → class of the steps a flow may name; all that are defined otherwise.

    Returns
    -------
    pipeline : type
        A subclass of `Pipeline`.
    """
    path = Path(path)
    data = read_yaml(path)
    if not isinstance(data, dict) or not isinstance(data.get("flow"), list) or "name" not in data:
        raise ConfigurationError(
            "not a pipeline", place=path, expected="a mapping with `name` and a list `flow`"
        )
    known = known_steps() if known is None else known
    flow: list[str | Save] = []
    steps: dict[str, type[Step]] = {}
    not_yet = frozenset(data.get("not_yet", ()))
    for item in data["flow"]:
        if isinstance(item, dict):
            flow.append(Save(item["save"], item.get("when")))
            continue
        name, cls = item, item
        if name in not_yet:
            flow.append(name)
            continue
        if cls not in known:
            raise UnknownNameError("step", cls, known, place=path)
        steps[name] = known[cls]
        flow.append(name)
    fields = [
        (
            name,
            _TYPES[spec["type"]],
            param(spec["default"], spec["help"], choices=spec.get("choices")),
        )
        for name, spec in data.get("parameters", {}).items()
    ]
    parameters = dataclasses.make_dataclass("Parameters", fields, frozen=True)
    parameters.__doc__ = f"Parameters of {data['name']}."
    first = next((steps[n] for n in flow if isinstance(n, str) and n in steps), None)
    return type(
        data["name"],
        (Pipeline,),
        {
            "__doc__": f"{data.get('title', data['name'])}.",
            "name": data["name"],
            "steps": steps,
            "flow": tuple(flow),
            "checkpoints": frozenset(data.get("checkpoints", ())),
            "not_yet": not_yet,
            "products": tuple(data.get("products", ())),
            "inputs": tuple(data.get("inputs", ())),
            "also": frozenset(data.get("also", ())) - frozenset(steps),
            "reads": _read_by(first, together=bool(data.get("together"))),
            "Parameters": parameters,
            "__module__": __name__,
        },
    )
