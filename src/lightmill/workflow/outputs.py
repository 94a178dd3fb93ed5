"""Files that a job made: which they are, and how one is written so that it is whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["listed", "written"]


def listed(folder: Path, name: str) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Return the files of a folder in a job's folder, and what there is not taken for one.

    Links are not followed, wherever they lead: like devices, pipes and names that are no text, they
    are refused.

    Parameters
    ----------
    folder : Path
        The job's.
    name : str
        Of the folder in it.

    Returns
    -------
    outputs : list of dict
        name, path in the job's folder, sha256, size.
    refused : list of dict
        name, and why.
    """
    outputs, refused = [], []
    home = folder / name
    if home.is_symlink() or not home.is_dir():
        return [], [{"name": name, "why": "no folder"}]
    for path in sorted(_found(home)):
        told = str(path.relative_to(home)).encode("utf-8", "surrogateescape")
        try:
            told.decode("utf-8")
            outputs.append(_output(path, home))
        except UnicodeDecodeError:
            refused.append({"name": told.decode("utf-8", "backslashreplace"), "why": "no text"})
        except _RefusedError as error:
            refused.append({"name": told.decode(), "why": str(error)})
        except OSError as error:
            refused.append({"name": told.decode(), "why": error.strerror or str(error)})
    return outputs, refused


def written(path: Path, text: str, *, is_new: bool = False) -> bool:
    """Write a file that is whole, on disk, or not there.

    Parameters
    ----------
    path : Path
    text : str
    is_new : bool
        Do nothing where the file exists.

    Returns
    -------
    is_written : bool
        False: it was there.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            os.link(aside, path)  # unlike a rename, this fails where there is one
        else:
            aside.replace(path)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return True


class _RefusedError(Exception):
    """What is not taken, and why."""


def _found(home: Path) -> Iterator[Path]:
    """Yield everything below a folder that is no folder itself; a link to one is none."""
    for place, folders, names in os.walk(home):
        yield from (Path(place, name) for name in names)
        yield from (Path(place, name) for name in folders if Path(place, name).is_symlink())


def _output(path: Path, home: Path) -> dict[str, Any]:
    if path.is_symlink():
        raise _RefusedError("a link")
    if not stat.S_ISREG(path.lstat().st_mode):
        raise _RefusedError("no file")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = os.fstat(file.fileno()).st_size
    return {
        "name": path.name,
        "path": path.relative_to(home.parent).as_posix(),
        "sha256": digest,
        "size": size,
    }
