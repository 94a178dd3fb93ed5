"""The reference files of one folder: the one of each type that is made for the data."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightmill import models
from lightmill.errors import ConfigurationError, LightmillError, NothingSelectedError
from lightmill.models import Model

__all__ = ["References"]

_MATCHED = "instrument"  # branch of the metadata: name, detector, filter …
SEVERAL = "MULTIPLE"  # the field's word in data, and in files that serve all
_ANY = {"", "ANY", "N/A", "GENERIC", SEVERAL, "ALL"}
MOST_FILES = 4096  # whose headers are remembered
log = logging.getLogger("lightmill.reference")


class References:
    """Reference files found by what their headers say.

    Parameters
    ----------
    directory : path_like, optional
        A folder of FITS or ASDF reference files. Without one, nothing is found.
    """

    def __init__(self, directory: str | Path | None = None) -> None:
        self.directory = None if directory is None else Path(directory)
        self._found: dict[str, list[tuple[Path, Mapping[str, str]]]] | None = None
        self._opened: dict[Path, Model] = {}

    def find(self, reftype: str, model: Model) -> Model | None:
        """Return the reference of a type for a model's instrument and detector, or None.

        Its arrays are still in the file. Data of several detectors (a mosaic says MULTIPLE) get
        that of one of them, the first by name, which the log says.

        Raises
        ------
        NothingSelectedError
            If several files fit.
        """
        fits = [
            path
            for path, facts in self._files().get(reftype.lower(), [])
            if all(_fits(key, said, model.meta) for key, said in facts.items())
        ]
        if len(fits) > 1 and _of_several(model.meta):
            log.info(
                "%s: the data are of several detectors; %s stands for all: %s",
                reftype, fits[0].name, ", ".join(path.name for path in fits),
            )  # fmt: skip
            return self._open(fits[0])
        if len(fits) > 1:
            raise NothingSelectedError(
                f"several {reftype} references fit",
                place=self.directory,
                found=", ".join(sorted(path.name for path in fits)),
                expected="one",
                remedy=f"name it with --override-{reftype}=FILE",
            )
        return self._open(fits[0]) if fits else None

    def _open(self, path: Path) -> Model:
        if path not in self._opened:
            self._opened[path] = models.open(path)
        return self._opened[path]

    def _files(self) -> dict[str, list[tuple[Path, Mapping[str, str]]]]:
        if self.directory is None:
            return {}
        if self._found is None:
            if not self.directory.is_dir():
                raise ConfigurationError(
                    "there is no such folder of references", place=self.directory
                )
            self._found = {}
            for path in sorted(self.directory.iterdir()):
                if path.suffix not in {".fits", ".asdf"}:
                    continue
                try:
                    status = path.stat()
                except OSError:
                    continue  # a link to nothing
                known = _said(path, status.st_ino, status.st_size, status.st_mtime_ns)
                if known is not None:
                    reftype, facts = known
                    self._found.setdefault(reftype, []).append((path, facts))
        return self._found


@functools.lru_cache(maxsize=MOST_FILES)
def _said(path: Path, *_identity: int) -> tuple[str, Mapping[str, str]] | None:
    """Return the type of a reference file and what it is for; None of any other file.

    Many exposures are calibrated with one folder: a header is read again if the file has changed.
    """
    try:
        reference = models.open(path)
    except LightmillError:
        return None  # not a reference file; what is asked for and missing is said later
    reftype = str(reference.meta.get("reftype") or "").lower()
    if not reftype:
        return None
    said = reference.meta[_MATCHED].flat()
    return reftype, {f"{_MATCHED}.{key}": str(value) for key, value in said.items()}


def _fits(key: str, said: str, meta: Any) -> bool:
    """Say whether what a reference is for is what the data have; what either leaves open fits.

    A name that starts with ``p_`` lists alternatives, ``F150W|F200W|``: files of the field do so
    where one serves several filters.
    """
    branch, _, name = key.rpartition(".")
    several = name.startswith("p_")
    wanted = said.upper().strip("|").split("|") if several else [said.upper()]
    asked = meta.get(f"{branch}.{name.removeprefix('p_')}")
    known = _ANY.isdisjoint(wanted) and asked is not None and str(asked).upper() != SEVERAL
    return not known or str(asked).upper() in wanted


def _of_several(meta: Any) -> bool:
    """Say whether data are of several detectors, channels or modules."""
    values = (meta.get(f"{_MATCHED}.{name}") for name in ("detector", "channel", "module"))
    return any(str(value).upper() == SEVERAL for value in values)
