"""A lock file: the context and the content of every file that calibrates some data.

It is small text, to be kept beside the data or a paper. With it, the same rules
and references are used years later, or the run ends and says what differs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightmill.errors import ConfigurationError, CorruptFileError
from lightmill.reference.config import FileInfo
from lightmill.reference.digests import sha1_of

if TYPE_CHECKING:
    from lightmill.reference.cache import Cache

__all__ = ["ReferenceLock"]

_FORMAT = "lightmill reference lock 1"


@dataclass(frozen=True)
class ReferenceLock:
    """What calibrates some data.

    Parameters
    ----------
    observatory : str
        Whose data.
    context : str
        Name of the context.
    mappings : mapping
        Name of rules → SHA-1 of the file.
    references : mapping
        Name of a reference → what it is.
    path : Path, optional
        Where the lock was read.
    """

    observatory: str
    context: str
    mappings: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, FileInfo] = field(default_factory=dict)
    path: Path | None = None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ReferenceLock:
        """Read a lock file.

        Raises
        ------
        ConfigurationError
            If there is none, or it is not a lock file.
        """
        path = Path(path)
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            if facts["format"] != _FORMAT:
                raise ValueError(facts["format"])  # noqa: TRY301 - one message for all that is wrong
            return cls(
                str(facts["observatory"]),
                str(facts["context"]),
                {str(name): str(sha1) for name, sha1 in facts["mappings"].items()},
                {
                    str(n): FileInfo(str(n), int(f["size"]), str(f["sha1"]))
                    for n, f in facts["references"].items()
                },
                path,
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigurationError(
                "this is not a lock file of references",
                place=path,
                found=getattr(error, "strerror", None) or f"{type(error).__name__}: {error}",
                expected=f"JSON with format {_FORMAT!r}",
                remedy="write one: lightmill refs lock LOCK FILES",
            ) from error

    @classmethod
    def of(
        cls, cache: Cache, observatory: str, rules: Sequence[str], references: Iterable[str]
    ) -> ReferenceLock:
        """Return a lock of files a cache has.

        Parameters
        ----------
        cache : Cache
            Where the files are.
        observatory : str
            Whose files.
        rules : sequence of str
            Names of rules; the first is the context.
        references : iterable of str
            Names of references.
        """
        held = {name: cache.path(name, observatory) for name in references}
        return cls(
            observatory,
            rules[0],
            {name: sha1_of(cache.mapping_path(name)) for name in rules},
            {name: FileInfo(name, p.stat().st_size, sha1_of(p)) for name, p in held.items()},
        )

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the lock file, whole or not at all, and return its path."""
        from lightmill.models import atomic

        with atomic(path) as file:
            file.write((json.dumps(self.as_dict(), indent=1) + "\n").encode())
        return Path(path)

    def as_dict(self) -> dict[str, Any]:
        """Return what the file says."""
        return {
            "format": _FORMAT,
            "observatory": self.observatory,
            "context": self.context,
            "mappings": dict(sorted(self.mappings.items())),
            "references": {
                name: {"size": info.size, "sha1": info.sha1}
                for name, info in sorted(self.references.items())
            },
        }

    def info(self, name: str) -> FileInfo | None:
        """Return what a file must be, if the lock says it."""
        if name in self.references:
            return self.references[name]
        return FileInfo(name, None, self.mappings[name]) if name in self.mappings else None

    def check_mapping(self, name: str, place: str | os.PathLike[str]) -> None:
        """Check that rules are those that were pinned.

        Raises
        ------
        CorruptFileError
            If they are not, or are none of the pinned ones.
        """
        sha1 = sha1_of(Path(place))
        if self.mappings.get(name) != sha1:
            raise CorruptFileError(
                "the rules are not those the lock file pins",
                place=place,
                found=f"sha1 {sha1}",
                expected=f"sha1 {self.mappings.get(name)} ({self.path})",
                remedy="restore the rules from where the lock was made, or write a new lock file",
            )
