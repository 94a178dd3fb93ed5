"""What a user gives to run on: files, associations, folders; and what is one run of them.

An association with several products is several runs. A folder is the files in it that the
pipeline takes, put together by what they were taken through. Files given to a step or pipeline
that works on exposures together are one run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightmill import models
from lightmill.errors import DataError, LightmillError
from lightmill.models import Exposures
from lightmill.models.exposures import read_association
from lightmill.pipeline.naming import base_name
from lightmill.pipeline.step import Step

__all__ = ["Source", "meta_of", "sources_of", "works_on_several"]

_UNSAFE = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True)
class Source:
    """The input of one run.

    Attributes
    ----------
    path : Path
        A file, an association or a folder.
    product : int or None
        Which product of the association, from 0.
    files : tuple of Path
        The files of a run on several that no association names.
    name : str
        What their product is called.
    """

    path: Path
    product: int | None = None
    files: tuple[Path, ...] = ()
    name: str = ""

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name or self.path.name

    def open(self, *, leave_out: bool = False) -> Any:
        """Return the model or the exposures; only headers are read."""
        if self.files:
            return self._together(leave_out=leave_out)
        if self.product is not None:
            return Exposures.open(self.path, self.product, leave_out=leave_out)
        return models.open(self.path)

    def _together(self, *, leave_out: bool) -> Exposures:
        whole: list[Any] = []
        left_out: list[tuple[str, str]] = []
        for path in self.files:
            try:
                whole.append(models.open(path))
            except LightmillError as error:
                if not leave_out:
                    raise
                left_out.append((path.name, error.story()))
        found = Exposures.of(whole, self.name, path=self.path)
        return Exposures(found.members, found.product, {}, self.path, tuple(left_out))


def works_on_several(cls: type[Step]) -> bool:
    """Say whether a step or pipeline takes exposures together, and never one alone."""
    reads = cls.reads if isinstance(cls.reads, tuple) else (cls.reads,)
    return reads == (Exposures,)


def meta_of(path: Path, known: Sequence[str]) -> Any:
    """Return the metadata by which the pipeline for an input is chosen: those of a member of it.

    Parameters
    ----------
    path : Path
        A file, an association or a folder.
    known : sequence of str
        Suffixes that pipelines take from a folder, those of later stages last.
    """
    if path.is_dir():
        files = sorted(path.glob("*.fits"))
        wanted = [file for suffix in known for file in files if file.stem.endswith(f"_{suffix}")]
        if not (wanted or files):
            raise DataError("there is no exposure in the folder", place=path, expected="*.fits")
        return models.open((wanted or files)[-1]).meta
    if path.suffix == ".json":
        return Exposures.open(path, leave_out=True).meta
    return models.open(path).meta


def sources_of(
    paths: Sequence[Path], cls: type[Step], checked: Callable[[Path], Any] = read_association
) -> list[Source]:
    """Return the runs that some inputs make.

    Parameters
    ----------
    paths : sequence of Path
        As the user gave them.
    cls : type
        The step or pipeline that is to run.
    checked : callable, optional
        Reads an association, and says what is wrong with it.

    Raises
    ------
    DataError
        If a folder has nothing the pipeline takes.
    """
    found: list[Source] = []
    plain: list[Path] = []
    for path in paths:
        if path.suffix == ".json" and not path.is_dir():
            found += [
                Source(path, n, (), _name(p)) for n, p in enumerate(checked(path)["products"])
            ]
        elif path.is_dir():
            found += _of_folder(path, cls)
        else:
            plain.append(path)
    if not plain:
        return found
    if works_on_several(cls):
        name = base_name(plain[0].name)[0]
        return [*found, Source(plain[0].parent, None, tuple(plain), name)]
    return [*(Source(path) for path in plain), *found]


def _name(product: dict[str, Any]) -> str:
    return _UNSAFE.sub("-", product["name"])


def _of_folder(folder: Path, cls: type[Step]) -> list[Source]:
    """Return the runs on a folder's files: each, or those taken through the same elements."""
    wanted = tuple(getattr(cls, "inputs", ()))
    endings = tuple(f"_{suffix}" for suffix in wanted)
    files = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix == ".fits" and (not endings or path.stem.endswith(endings))
    ]
    if not files:
        kinds = " or ".join(f"*_{suffix}.fits" for suffix in wanted) or "*.fits"
        raise DataError(f"the folder has no input of {cls.name}", place=folder, expected=kinds)
    if not works_on_several(cls):
        return [Source(path) for path in files]
    together: dict[str, list[Path]] = {}
    for path in files:
        together.setdefault(_elements_of(path), []).append(path)
    name = folder.resolve().name
    return [
        Source(folder, None, tuple(some), f"{name}_{elements}" if elements else name)
        for elements, some in together.items()
    ]


def _elements_of(path: Path) -> str:
    """Return instrument and optical elements of an exposure, as part of a file name."""
    try:
        meta = models.open(path).meta
    except LightmillError:
        return ""  # what is damaged is said, or left out, when the run begins
    parts = [
        meta.get(f"instrument.{key}") for key in ("name", "filter", "pupil", "grating", "band")
    ]
    known = [str(part).lower() for part in parts if part not in (None, "N/A", "CLEAR", "GR")]
    return _UNSAFE.sub("-", "-".join(known))
