"""Step: one algorithm, its parameters, the references it needs.

A step declares and computes; the runner opens, selects, records and saves.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from lightmill.errors import LightmillError, UnknownNameError
from lightmill.pipeline.parameters import BASE, accepted, build, convert, declared

if TYPE_CHECKING:
    from lightmill.models import Model
    from lightmill.pipeline.bands import Rows
    from lightmill.pipeline.runner import Outcome

__all__ = ["Beside", "Products", "SideProduct", "Skipped", "Step", "known_steps"]

_known: dict[str, type[Step]] = {}


class Products(dict[str, "Model"]):
    """What a step made when it makes more than one product: suffix → model."""


@dataclass(frozen=True)
class Skipped:
    """The answer of a step that had nothing to do: the model as it was, and why."""

    model: Any  # a model, or exposures
    reason: str


@dataclass(frozen=True)
class Beside:
    """The answer of a step that made more than what the next step takes.

    Attributes
    ----------
    result : Model, Products, Exposures or Skipped
        What the next step takes.
    products : dict
        Suffix → model: saved as they are, because the user asked for them (`Step.side_products`).
        Of a band, they hold its rows; arrays of four axes may differ in the second of them from
        band to band, and are filled up with zeros.
    counts : dict
        Whole numbers that add up over the bands of a frame; `Step.tell` says what they mean.
    skipped : dict
        Name of an exposure, of several, that the step left as it was → why.
    """

    result: Any
    products: dict[str, Model] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


class SideProduct(NamedTuple):
    """A product a step makes beside its result, when the user asks for it."""

    suffix: str
    file: str | None = None  # the user's name for it
    exact: bool = False  # the suffix is not put behind the user's name
    usual: bool = True  # false: the data may make it come instead of another


class Step:
    """One algorithm of a pipeline.

    A subclass declares its `name`, the model classes it `reads` and `writes` (`Exposures` for
    several exposures together),
    its `references` (keyword of `apply` → model class), its nested frozen
    dataclass ``Parameters``, and computes in `apply`.

    A step whose result at a pixel depends only on that pixel and on at most
    `halo_rows` rows or columns around it sets ``rows = True``: the runner then
    gives it the frame band by band, so that no whole ramp is ever in memory.
    If it must first learn something about other parts of the frame (reference
    pixels, for instance) it defines `survey`.
    """

    name: ClassVar[str] = ""
    reads: ClassVar[type[Any] | tuple[type[Any], ...] | None] = None
    writes: ClassVar[type[Any] | tuple[type[Any], ...] | None] = None
    references: ClassVar[dict[str, type[Model]]] = {}
    optional: ClassVar[frozenset[str]] = frozenset()  # references the step can do without
    rows: ClassVar[bool] = False
    skip_by_default: ClassVar[bool] = False
    leaves_groups_out: ClassVar[bool] = False  # may flag a group in every pixel of the frame
    flags_groups: ClassVar[bool] = False  # flags groups, looking at raw signal and flags alone
    extensions: ClassVar[frozenset[str]] = frozenset()  # parameters other software does not know
    counts: ClassVar[bool] = False  # it counts: `apply` gets ``own=``, the rows a band answers for
    version: ClassVar[str] = "1"

    @dataclass(frozen=True)
    class Parameters:
        """No parameters of its own."""

    parameters: Any
    options: dict[str, Any]  # what every step has: skip, save_results, hooks, overrides …
    origins: dict[str, str]  # parameter or option → who set it

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.__dict__.get("name"):
            _known.setdefault(cls.name, cls)

    def __init__(self, **values: Any) -> None:
        object.__setattr__(self, "options", {d.name: d.new_default() for d in BASE})
        object.__setattr__(self, "origins", {})
        object.__setattr__(self, "parameters", build(type(self), {}))
        self.options["skip"] = self.skip_by_default
        self.configure(values, "python")

    def configure(self, values: Mapping[str, Any], origin: str) -> None:
        """Set parameters and options; a misspelled name or a bad value is an error."""
        known = {d.name: d for d in accepted(type(self))}
        own = {d.name for d in declared(type(self))}
        for name in values:
            if name not in known:
                raise UnknownNameError("parameter", name, known, place=f"{self.name} ({origin})")
        changed = {name: value for name, value in values.items() if name in own}
        options = {
            name: convert(known[name], value, f"{self.name}.{name}")
            for name, value in values.items()
            if name not in own
        }
        if changed:
            now = {d: getattr(self.parameters, d) for d in own}
            object.__setattr__(self, "parameters", build(type(self), {**now, **changed}))
        self.options.update(options)  # only now, when nothing can be wrong any more
        self.origins.update(dict.fromkeys(values, origin))

    def configured(self, values: Mapping[str, Any], origin: str) -> Step:
        """Return the same step with other parameters; this one stays as it is."""
        twin = copy.copy(self)
        object.__setattr__(twin, "options", dict(self.options))
        object.__setattr__(twin, "origins", dict(self.origins))
        twin.configure(values, origin)
        return twin

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a parameter by its name; refuse a misspelled one at once."""
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        elif name == "parameters":
            self.configure(
                value if isinstance(value, dict) else dataclasses.asdict(value), "python"
            )
        else:
            self.configure({name: value}, "python")

    def __getattr__(self, name: str) -> Any:
        for place in ("parameters", "options"):
            holder = self.__dict__.get(place, {})
            if isinstance(holder, dict) and name in holder:
                return holder[name]
            if not isinstance(holder, dict) and hasattr(holder, name):
                return getattr(holder, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def apply(self, model: Any, **references: Any) -> Model | Skipped | Products | Beside:  # noqa: ARG002
        """Compute. The one method an author must write."""
        raise LightmillError(f"step {self.name!r} defines no apply method")

    def halo_rows(self, model: Model, **references: Any) -> int:  # noqa: ARG002
        """Rows (and columns) around a band that its result depends on."""
        return 0

    def uses(self, reftype: str) -> bool:  # noqa: ARG002 - subclasses look at their parameters
        """Say whether, with these parameters, an optional reference is looked at."""
        return True

    def settled(self, model: Any, **references: Any) -> Step:  # noqa: ARG002
        """Return the step as it runs on these data: references may set what nobody else has."""
        return self

    def applies_by_rows(self, model: Model) -> bool:  # noqa: ARG002 - subclasses look at the model
        """Say whether, with these parameters, a band can be computed on its own."""
        return self.rows

    def finishes(self, model: Model) -> bool:  # noqa: ARG002 - subclasses look at the model
        """Say whether `finish` has work to do on the whole result."""
        return False

    def finish(self, model: Any, **references: Any) -> Any:  # noqa: ARG002
        """Complete the result where rows were not enough; its arrays may be spools."""
        return model

    def side_products(self) -> tuple[SideProduct, ...]:
        """Return what these parameters ask for beside the result; it is saved in any case."""
        return ()

    def tell(self, counts: Mapping[str, int], model: Model) -> dict[str, Any]:  # noqa: ARG002
        """Return what counts mean: metadata path → number, the same paths whatever they are.

        Parameters
        ----------
        counts : mapping
            Sums over the bands.
        model : Model
            What the chain of steps began with.
        """
        return {}

    def survey(self, rows: Rows, **references: Any) -> Any:  # noqa: ARG002
        """Learn what a band cannot know; the answer reaches `apply` as ``survey=``."""
        return None

    def run(self, model: Any, **options: Any) -> Outcome:
        """Run this step alone on a model or a file; see `lightmill.pipeline.run`."""
        from lightmill.pipeline.runner import run

        return run(self, model, **options)


def known_steps() -> dict[str, type[Step]]:
    """Return every step class defined so far, by name."""
    return dict(_known)
