"""Where jitter files can be had: a folder, or a list of addresses."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from lightmill.errors import ConfigurationError, DataError, LightmillError, ValidationError

__all__ = ["FolderSource", "ListSource", "Origin", "Source", "source_of"]

# Of jitter files, and of what GEIS files were converted to. Nothing else is made part of a path.
NAME = re.compile(r"u[a-z0-9]{8}(_\d{12})?_(ji[tfh]|cm[ih])\.fits")
DIGITS = {"md5": 32, "sha1": 40, "sha256": 64}  # hexadecimal, of a checksum
LONGEST = 64 << 20  # bytes of a list


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one file is, and what is known of it.

    Parameters
    ----------
    place : str or Path
        Address of the web, or path.
    size : int or None
        Length [byte].
    checksums : tuple of (str, str)
        Name of the algorithm, value in lower-case hexadecimal.
    """

    place: str | Path
    size: int | None = None
    checksums: tuple[tuple[str, str], ...] = ()

    @property
    def sha1(self) -> str | None:
        """Its SHA-1, where that is known."""
        return dict(self.checksums).get("sha1")


class Source(Protocol):
    """Knows where files are."""

    def find(self, name: str) -> Origin | None:
        """Return where a file of this name is, None if it is not to be had."""


class FolderSource:
    """A folder with jitter files, wherever below it.

    Parameters
    ----------
    folder : path
        Looked through once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._paths: dict[str, Path] = {}
        for place, folders, names in os.walk(self.folder):
            folders.sort()
            for name in sorted(names):
                if NAME.fullmatch(name.lower()):
                    self._paths.setdefault(name.lower(), Path(place, name))

    def find(self, name: str) -> Origin | None:
        """Return where a file of this name is, None if it is not there."""
        path = self._paths.get(name.lower())
        return None if path is None else Origin(path)


class ListSource:
    """A list of addresses: a line for each file.

    ``ADDRESS [name=NAME] [size=BYTES] [md5=…] [sha1=…] [sha256=…]``; addresses begin with
    ``https://``, ``http://`` or ``file://``, or are paths beside the list. Lines that begin with
    ``#`` are comments. A file is called as the address ends, unless the list says otherwise.

    Parameters
    ----------
    path : path
        The list.

    Raises
    ------
    DataError
        If it cannot be read, or a line makes no sense.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._origins: dict[str, Origin] = {}
        for number, line in enumerate(self._lines(), 1):
            if line and not line.startswith("#"):
                name, origin = _entry(line, self.path, number)
                if self._origins.setdefault(name, origin) != origin:
                    raise ValidationError(
                        "the list has two addresses of one file",
                        place=f"{self.path}:{number}",
                        found=name,
                        remedy="leave one of them",
                    )

    def find(self, name: str) -> Origin | None:
        """Return where a file of this name is, None if the list does not have it."""
        return self._origins.get(name.lower())

    def _lines(self) -> Iterator[str]:
        try:
            if self.path.stat().st_size > LONGEST:
                raise DataError(
                    "the list is too long", place=self.path, expected=f"{LONGEST} bytes"
                )
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                "the list of addresses cannot be read", place=self.path, found=error
            ) from error
        for line in text.splitlines():
            yield line.strip()


def source_of(place: Path) -> FolderSource | ListSource:
    """Return the source that a path names.

    Parameters
    ----------
    place : path
        A folder, or a list of addresses.

    Raises
    ------
    ConfigurationError
        If there is neither.
    DataError
        If the list makes no sense.
    """
    place = Path(place)
    if place.is_dir():
        return FolderSource(place)
    if place.is_file():
        return ListSource(place)
    raise ConfigurationError(
        "there is nothing to fetch from",
        place=place,
        expected="a folder of jitter files, or a list of addresses",
        remedy="correct --from",
    )


def _entry(line: str, path: Path, number: int) -> tuple[str, Origin]:
    """Return name and origin that a line of a list tells."""
    place = f"{path}:{number}"
    address, *words = line.split()
    facts: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in {"name", "size", *DIGITS}:
            raise ValidationError(
                "the list says what nobody knows", place=place, found=word,
                expected="name=, size=, md5=, sha1= or sha256=",
            )  # fmt: skip
        facts[key] = value.lower()
    where = _place(address, path.parent, place)
    text = str(where)
    name = facts.pop(
        "name", unquote(urlsplit(text).path if "://" in text else text).rpartition("/")[2]
    )
    name = name.lower()
    if not NAME.fullmatch(name):
        raise ValidationError(
            "this is not the name of a jitter file",
            place=place,
            found=name,
            expected="u26k2s02j_199703130951_jit.fits, or _jif.fits",
            remedy="say it in the list: ADDRESS name=NAME",
        )
    size = facts.pop("size", None)
    if size is not None and not size.isdecimal():
        raise ValidationError("this is no size", place=place, found=size, expected="bytes")
    for kind, value in facts.items():
        if not re.fullmatch(rf"[0-9a-f]{{{DIGITS[kind]}}}", value):
            raise ValidationError(
                f"this is no {kind}", place=place, found=value,
                expected=f"{DIGITS[kind]} hexadecimal digits",
            )  # fmt: skip
    return name, Origin(where, None if size is None else int(size), tuple(sorted(facts.items())))


def _place(address: str, folder: Path, place: str) -> str | Path:
    """Return an address of the web as it is, and any other as a path."""
    scheme, colon, _ = address.partition("://")
    scheme = scheme.lower()
    if not colon and "\0" not in address:
        return folder / address
    try:
        parts = urlsplit(address)
        if scheme in {"http", "https"} and parts.hostname:
            return address
        if scheme == "file" and parts.netloc in {"", "localhost"}:
            path = unquote(parts.path)
            if "\0" not in path:
                return Path(path)
    except ValueError:
        pass
    error: LightmillError = ValidationError(
        "this address cannot be fetched from",
        place=place,
        found=address,
        expected="https://, http://, file:///, or a path beside the list",
    )
    raise error
