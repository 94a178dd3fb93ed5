"""Go on from kept results: what identifies them, the latest that serves, where to begin and stop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError
from lightmill.models import Model
from lightmill.pipeline import hooks, provenance
from lightmill.pipeline.cache import RunCache, file_or_value, identity, model_identity
from lightmill.pipeline.flow import Item, makes_beside, makes_product, position
from lightmill.pipeline.opening import Opener
from lightmill.pipeline.outcome import Options
from lightmill.pipeline.pipeline import Pipeline, Save
from lightmill.pipeline.saving import Saver
from lightmill.pipeline.several import sample_of
from lightmill.pipeline.step import Step

__all__ = ["Resumption", "Stop"]

log = logging.getLogger("lightmill.pipeline")


class Stop(Exception):  # noqa: N818 - not an error: the end the user asked for
    """Carries the result out of a pipeline that is to stop here.

    Parameters
    ----------
    result : Model or Products
        What was made so far.
    """

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


class Resumption:
    """Keeps results of one run, and finds those of earlier runs.

    Parameters
    ----------
    options : Options
        Whether to resume, where to start and where results are kept.
    record : Record
        Takes over what was noted about the steps of a result that is found.
    opener : Opener
        Opens the references that identify a result.
    saver : Saver
        Says where products go; results are kept beside them.

    Attributes
    ----------
    cache : RunCache or None
        None when this run neither keeps nor looks for results.
    taken : int
        How many results were found.
    """

    def __init__(
        self, options: Options, record: provenance.Record, opener: Opener, saver: Saver
    ) -> None:
        self.cache: RunCache | None = None
        self.taken = 0
        self._options = options
        self._record = record
        self._opener = opener
        self._saver = saver
        self._identities: dict[int, str] = {}  # of the reference files opened

    @property
    def place(self) -> Path:
        """The folder of the kept results."""
        return self._options.cache_dir or self._saver.directory / ".lightmill"

    def begin(self) -> None:
        """Make results available, if anything that was asked for needs them."""
        options = self._options
        if options.resume or options.stop_after or options.start_at:
            self.cache = RunCache(self.place)

    def keep(self, key: str, result: Any) -> None:
        """Keep a result under its identity, if this run keeps any."""
        if self.cache is not None:
            self.cache.keep(key, result, self._record.notes())

    def find(self, key: str, source: Model, items: Sequence[Item]) -> Any:
        """Return the result kept under an identity, None without; note the items that made it."""
        found = self.cache.find(key, source) if self.cache is not None else None
        if found is None:
            return None
        result, notes = found
        names = [name for name, _ in items]
        names += [inner for _, step in items for inner in getattr(step, "_steps", ())]
        self._record.restore(notes, names)
        self.taken += 1
        return result

    def latest(
        self, items: Sequence[Item], source: Model, keys: Sequence[str]
    ) -> tuple[int, Any] | None:
        """Return the latest kept result of a flow, and the number of items done.

        No result is taken that comes after a product the run has to write.
        """
        writes = [n for n, (_, step) in enumerate(items) if makes_product(step)]
        writes += [n - 1 for n, (_, step) in enumerate(items) if makes_beside(step)]
        for number in range(min([len(items) - 1, *writes]), -1, -1):
            if number and keys[number] == keys[number - 1]:
                continue  # this item adds nothing to the result of the one before
            result = self.find(keys[number], source, items[: number + 1])
            if result is not None:
                log.info("%s: taken from the run cache", items[number][0])
                return number + 1, result
        return None

    def start(
        self, items: list[Item], source: Model, name: str
    ) -> tuple[list[Item], tuple[int, Any] | None]:
        """Find where a flow begins that is to start at one of its steps.

        Parameters
        ----------
        items : list of Item
            The whole flow.
        source : Model
            The input of the run.
        name : str
            The step to start at.

        Returns
        -------
        items : list of Item
            The whole flow, or what remains of it when the input is that of the step to start at.
        found : tuple or None
            How many items are done, and their kept result.
        """
        at = position(items, name)
        keys = self.keys(items, source)
        found = self.latest(items[:at], source, keys[:at])
        if found is not None and keys[found[0] - 1] == keys[at - 1]:
            return items, found
        step = items[at][1]
        if isinstance(step, Step) and step.reads is not None and isinstance(source, step.reads):
            return items[at:], None
        before = [earlier for earlier, one in items[:at] if not isinstance(one, Save)]
        raise ConfigurationError(
            f"there is no result to start from: {name!r} comes after " + ", ".join(before),
            place=self.place,
            expected="a kept result of the step before, or an input of its kind",
            remedy=f"run once with --stop-after {(before or [name])[-1]}",
        )

    def keys(self, items: Sequence[Item], source: Any) -> list[str]:
        """Return the identity of the result after each item of a flow."""
        key = identity(provenance.VERSION, model_identity(source))
        keys = []
        for name, step in items:
            if isinstance(step, Step) and not self._options.leaves_out(name, step):
                key = identity(key, self._of_step(name, step, source))
            keys.append(key)
        return keys

    def key(self, name: str, step: Step, model: Any) -> str:
        """Return the identity of the result of one step."""
        return identity(provenance.VERSION, self._of_step(name, step, model), model_identity(model))

    def _of_step(self, name: str, step: Step, model: Any) -> str:
        """Return the identity of a step: its code's version, parameters, references and hooks."""
        inside: Any = {}
        if isinstance(step, Pipeline):
            inside = {
                "flow": [str(item) for item in step.order or ()],
                "steps": {
                    one: self._of_step(one, part, model)
                    for one, part in step._steps.items()
                    if not part.options["skip"]
                },
            }
        else:
            for reftype, cls in step.references.items():
                reference = self._opener.open(step, reftype, cls, sample_of(model))
                inside[reftype] = None if reference is None else self._of_reference(reference)
        called = [
            hooks.describe(hook, with_code=True)
            for kind in ("pre_hooks", "post_hooks", "every_step")
            for hook in (step.options[kind] or ())
        ]
        values = {n: file_or_value(v) for n, v in provenance.values(step).items()}
        return identity(name, type(step).__qualname__, step.version, values, inside, called)

    def _of_reference(self, reference: Model) -> str:
        """Return the identity of a reference, which nobody changes while the run lasts."""
        key = id(reference)
        if key not in self._identities:
            self._identities[key] = model_identity(reference)
        return self._identities[key]
