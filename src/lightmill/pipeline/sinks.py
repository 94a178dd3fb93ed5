"""Products that are written while they are computed: nothing whole is ever in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightmill.models.lineage import force, frame_of
from lightmill.models.rows import RowWriter
from lightmill.pipeline.bands import Gathered
from lightmill.pipeline.step import Products

__all__ = ["Written"]


class Written:
    """A sink whose bands go straight into product files.

    Parameters
    ----------
    first : Model or Products
        The first band of the result.
    path_of : callable
        Suffix of a product → its file.
    stamp : callable
        Writes statuses, references and version into a model's metadata.
    told : callable
        Returns what was counted so far: metadata path → number.
    record : callable
        Returns the run record, when all is computed.
    suffix : str
        Of the only product, when `first` is a model.
    """

    def __init__(
        self,
        first: Any,
        path_of: Callable[[str, Any], Path],
        stamp: Callable[[Any], None],
        told: Callable[[], dict[str, Any]],
        record: Callable[[], dict[str, Any]],
        suffix: str,
    ) -> None:
        self._record = record
        self._told = told
        self._several = isinstance(first, Products)
        self._suffix = suffix
        self._writers: dict[str, RowWriter] = {}
        self._rest: dict[str, Gathered] = {}
        try:
            for name, part in self._parts(first).items():
                stamp(part)
                for path, value in told().items():  # room for what is known in the end
                    force(part, path, value)
                frame = frame_of(part)
                self._writers[name] = writer = RowWriter(path_of(name, part), part, frame)
                self._rest[name] = Gathered(frame, None, part, leave=writer.stored)
        except BaseException:
            self.abandon()
            raise

    @property
    def paths(self) -> list[Path]:
        """The files."""
        return [writer.path for writer in self._writers.values()]

    def add(self, part: Any) -> None:
        """Write the rows of a band."""
        for name, model in self._parts(part).items():
            self._writers[name].write(model)
            self._rest[name].add(model)

    def finish(self) -> Any:
        """Give the files their names; return the products, their arrays still in the files.

        All files are complete before the first gets its name.
        """
        try:
            for writer in self._writers.values():
                writer.complete(self._record(), self._told())
        except BaseException:
            self.abandon()
            raise
        done = {}
        for name, writer in self._writers.items():
            model = writer.publish()
            rest = self._rest[name].arrays[""]
            done[name] = model.evolve(**rest) if rest else model
        return Products(done) if self._several else done[self._suffix]

    def abandon(self) -> None:
        """Leave nothing behind."""
        for writer in self._writers.values():
            writer.abandon()

    def _parts(self, part: Any) -> dict[str, Any]:
        return dict(part) if isinstance(part, Products) else {self._suffix: part}
