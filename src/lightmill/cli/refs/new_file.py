"""Write a file for the user, never over one that is there."""

from __future__ import annotations

from pathlib import Path

from lightmill.errors import OutputError

__all__ = ["write_new"]


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet, in a folder that may not be there either.

    Parameters
    ----------
    path : Path
        The new file.
    text : str
        Its content.

    Raises
    ------
    OutputError
        If there is a file of this name, or it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            raise OutputError(
                "the file is there already", place=path, remedy="name another one, or remove it"
            ) from None
        raise OutputError("the file cannot be written", place=path, found=error.strerror) from error
