"""What is true of an archive, read piece by piece: of a whole one it is larger than the state."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightmill.errors import CorruptFileError

__all__ = ["Truth"]

DEEP = 2  # levels whose places are noted; what is below is read as a whole
_SPACE = re.compile(r"[ \t\n\r]*")


class Truth:
    """A large JSON file, of which pieces are read when they are asked for.

    Parameters
    ----------
    path : path
        Of the file: an object.
    needs : tuple of str
        Names it must have.

    Raises
    ------
    CorruptFileError
        If it cannot be read, or is something else.
    """

    def __init__(self, path: Path, needs: tuple[str, ...] = ()) -> None:
        self.path = Path(path)
        self._decoder = json.JSONDecoder()
        self._places: dict[tuple[str, ...], int] = {}
        try:
            self._text = self.path.read_text(encoding="utf-8")
            self._note_all()
        except (OSError, ValueError, IndexError, RecursionError) as error:
            raise CorruptFileError(
                "the file cannot be read", place=self.path, found=error
            ) from error
        names = [where[0] for where in self._places if len(where) == 1]
        if not self._text.lstrip().startswith("{") or not set(needs) <= set(names):
            raise CorruptFileError(
                "the file is not what it should be",
                place=self.path,
                found=", ".join(names)[:200] or self._text[:20],
                expected=", ".join(needs) or "an object",
            )

    def __contains__(self, name: str) -> bool:
        """Return whether it has something of this name."""
        return (name,) in self._places

    def get(self, *where: str) -> Any:
        """Return a piece as a whole.

        Parameters
        ----------
        *where : str
            Name, and names below it; at most two.

        Returns
        -------
        value : object
            None if it is not there.
        """
        start = self._places.get(where)
        return None if start is None else self._decoder.raw_decode(self._text, start)[0]

    def each(self, *where: str) -> Iterator[Any]:
        """Yield the entries of a list, one after the other.

        Parameters
        ----------
        *where : str
            Name, and names below it; at most two.

        Yields
        ------
        value : object
            Nothing, if there is no such list.
        """
        start = self._places.get(where)
        if start is not None and self._text[start] == "[":
            for value, _ in self._entries(start):
                yield value

    def _note_all(self) -> None:
        """Note where everything begins."""
        end = self._note((), _skip(self._text, 0))
        if _skip(self._text, end) != len(self._text):
            raise ValueError(f"something after the end, at {end}")

    def _note(self, where: tuple[str, ...], start: int) -> int:
        """Note where a value begins, and those in it; return where it ends."""
        text = self._text
        self._places[where] = start
        if len(where) < DEEP and text[start] == "{":
            end = _skip(text, start + 1)
            while text[end] != "}":
                name, end = self._decoder.raw_decode(text, end)
                end = _skip(text, end)
                if not isinstance(name, str) or text[end] != ":":
                    raise ValueError(f"a name is missing, at {end}")
                end = self._next(self._note((*where, name), _skip(text, end + 1)), "}")
            return end + 1
        if text[start] == "[":
            end = _skip(text, start + 1)
            for _, end in self._entries(start):  # noqa: B007 - the last counts
                pass
            return end + 1
        return self._decoder.raw_decode(text, start)[1]

    def _entries(self, start: int) -> Iterator[tuple[Any, int]]:
        """Yield the entries of a list, and where the next begins or the list ends."""
        end = _skip(self._text, start + 1)
        while self._text[end] != "]":
            value, end = self._decoder.raw_decode(self._text, end)
            end = self._next(end, "]")
            yield value, end

    def _next(self, end: int, last: str) -> int:
        """Return where the next entry begins, or the mark that ends them."""
        end = _skip(self._text, end)
        if self._text[end] == ",":
            return _skip(self._text, end + 1)
        if self._text[end] != last:
            raise ValueError(f"a comma is missing, at {end}")
        return end


def _skip(text: str, start: int) -> int:
    """Return where the next character is that is no blank."""
    found = _SPACE.match(text, start)
    return found.end() if found else start
