"""Names that come from data and become names of files: which are let through.

A pool, a header and an association are written by others. A name from them that leaves the
folder it should be in, or that a shell would read as more than a name, never becomes a path.
"""

from __future__ import annotations

import re

__all__ = ["file_name_fault", "member_fault"]

_SHELL = re.compile(r"""[;&|`<>()!*?'"\\\x00-\x1f\x7f\u2028\u2029]|\$""")
_BRACES = re.compile(r"[{}]")
LONGEST = 255  # bytes a file's name may have


def member_fault(name: str) -> str | None:
    """Say what is wrong with the name of an exposure's file.

    Parameters
    ----------
    name : str
        As a pool or an association has it; folders below the one of the file are fine.

    Returns
    -------
    fault : str or None
        None for a name that may be used.
    """
    if name.startswith(("/", "~")) or re.match(r"[A-Za-z]:[\\/]", name):
        return "the name is an absolute path"
    if ".." in name.split("/"):
        return "the name leaves its folder by '..'"
    if name.startswith("-"):
        return "the name starts with '-', as an option of a command does"
    met = _SHELL.search(name) or _BRACES.search(name)
    if met:
        return f"the name has {met.group()!r} in it, which a shell reads as more than a name"
    return _length_fault(name)


def file_name_fault(name: str) -> str | None:
    """Say what is wrong with the name of a file that is to be written.

    Parameters
    ----------
    name : str
        Without folder.

    Returns
    -------
    fault : str or None
        None for a name that may be used.
    """
    if not name or name in {".", ".."}:
        return "there is no name"
    if "/" in name or "\\" in name:
        return "the name has a folder in it"
    if name.startswith("."):
        return "the name starts with '.', as hidden files do"
    return member_fault(name)


def _length_fault(name: str) -> str | None:
    longest = max((len(part.encode()) for part in name.split("/")), default=0)
    if longest > LONGEST:
        return f"the name is {longest} bytes long; a file's has at most {LONGEST}"
    return None
