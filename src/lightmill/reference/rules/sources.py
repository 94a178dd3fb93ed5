"""Where the text of rules comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from lightmill.reference.errors import RulesMissingError

__all__ = ["FolderSource", "Source"]


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
            If there is none of this name, or it cannot be read.
        """
        path = self.folder / Path(name).name
        try:
            return path.read_bytes().decode("utf-8"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise RulesMissingError(
                "rules cannot be read", place=path, found=str(error),
                expected="a file of rules", remedy="put it there, or correct what names it",
            ) from error  # fmt: skip
