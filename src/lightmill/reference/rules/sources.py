"""Where the text of rules comes from."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

from lightmill.reference.errors import RulesMissingError

__all__ = ["FolderSource", "Source", "printable"]

_LARGEST = 64 << 20  # bytes of a file of rules; the largest released ones have some 5 MB


def printable(name: object) -> str:
    """Return a name as any terminal can show it: what no encoding has is escaped."""
    text = str(name).encode("utf-8", "backslashreplace").decode("utf-8")
    return text.replace("\0", "\\x00")


class Source(Protocol):
    """What gives the text of rules by name: a folder, a cache."""

    def read_mapping(self, name: str) -> tuple[str, str]:
        """Return text and place."""


class FolderSource:
    """The rules in one folder.

    Parameters
    ----------
    folder : path_like
        Where they are.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def read_mapping(self, name: str) -> tuple[str, str]:
        """Return text and place of a file of rules.

        Raises
        ------
        RulesMissingError
            If there is none of this name, or it cannot be read: a name no file can have, a device,
            a file of more than 64 MiB.
        """
        path = self.folder / Path(name).name
        try:
            return _bytes_of(path).decode("utf-8"), str(path)
        except (OSError, ValueError) as error:  # ValueError: no text, or no name of a file
            raise RulesMissingError(
                "rules cannot be read", place=printable(path), found=printable(error),
                expected="a file of rules", remedy="put it there, or correct what names it",
            ) from error  # fmt: skip


def _bytes_of(path: Path) -> bytes:
    """Return what is in a regular file of sensible size; others may never end."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise OSError("it is no regular file")
        if about.st_size > _LARGEST:
            raise OSError(f"it has more than {_LARGEST >> 20} MiB")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)
