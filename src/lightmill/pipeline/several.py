"""Results that are several models: products of different kinds, exposures that belong together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from lightmill.models import Exposures
from lightmill.models.lineage import Loan
from lightmill.pipeline.step import Products

__all__ = ["Lent", "evolved", "models_in", "sample_of"]


def models_in(result: Any) -> Iterator[Any]:
    """Yield the models of a result: itself, each of its products, each science exposure."""
    if isinstance(result, Products):
        for part in result.values():
            yield from models_in(part)
    elif isinstance(result, Exposures):
        yield from result.science
    else:
        yield result


def sample_of(model: Any) -> Any:
    """Return the model, or the first of several: references are the same for all of them."""
    return next(models_in(model))


def evolved(result: Any, *, copies: bool = False) -> Any:
    """Return the same result in models of their own, whose metadata may be written.

    Parameters
    ----------
    result : Model, Products or Exposures
    copies : bool
        Their arrays are their own, too.
    """
    if isinstance(result, Products):
        return Products({s: evolved(m, copies=copies) for s, m in result.items()})
    if isinstance(result, Exposures):
        return result.evolve([evolved(model, copies=copies) for model in result.science])
    return result.copy() if copies and hasattr(result, "copy") else result.evolve()


class Lent:
    """A result given to a step that may look at its arrays, but not write into them.

    Parameters
    ----------
    result : Model, Products or Exposures
    threads : int
        Exposures the step may work on at a time.
    tell : callable, optional
        Told (what is done, how many exposures are done, of how many).
    """

    def __init__(
        self,
        result: Any,
        threads: int = 1,
        tell: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self._loans: list[Loan] = []
        self.model = self._lent(result)
        if isinstance(self.model, Exposures):
            self.model = replace(self.model, threads=threads, tell=tell)

    def _lent(self, result: Any) -> Any:
        if isinstance(result, Products):
            return Products({suffix: self._lent(model) for suffix, model in result.items()})
        if isinstance(result, Exposures):
            return replace(
                result,
                members=tuple(
                    replace(member, model=self._lent(member.model)) for member in result.members
                ),
            )
        loan = Loan(result)
        self._loans.append(loan)
        return loan.model

    def end(self, result: Any) -> None:
        """Give models that were made meanwhile the arrays themselves, where they share them."""
        for model in models_in(result):
            for loan in self._loans:
                loan.end(model)
