"""What a server said about itself: contexts, bad files, sizes and checksums.

The last answer is kept in a cache as ``config/<observatory>/server_config``, in
the form the official client writes and reads, so that either may fill a cache
for the other.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lightmill.errors import ConfigurationError, CorruptFileError
from lightmill.reference.layout import is_plain_name
from lightmill.reference.literals import read_literal, write_literal

__all__ = ["STATES", "FileInfo", "ServerConfig", "decoded", "encoded", "is_date"]

STATES = ("operational", "latest", "edit", "versions", "build")  # what a context can be called
_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?$")
_LARGEST = 1 << 30  # bytes of an unpacked answer; a mission's whole catalogue takes 20 MB


@dataclass(frozen=True)
class FileInfo:
    """What is known of a file before it is fetched.

    Parameters
    ----------
    name : str
        File name, without a folder.
    size : int or None
        Length [byte].
    sha1 : str or None
        SHA-1 of the content, lower-case hexadecimal.
    """

    name: str
    size: int | None = None
    sha1: str | None = None

    @classmethod
    def of(cls, name: str, facts: Mapping[str, Any]) -> FileInfo:
        """Return the facts a server gives, whose numbers may be texts and whose sums ``none``."""
        size = str(facts.get("size", "")).strip()
        sha1 = str(facts.get("sha1sum", "")).strip().lower()
        return cls(
            name,
            int(size) if size.isdigit() else None,
            sha1 if re.fullmatch(r"[0-9a-f]{40}", sha1) else None,
        )


def encoded(value: Any) -> dict[str, str]:
    """Return a value wrapped as servers wrap large answers: JSON, gzip, base64."""
    packed = gzip.compress(json.dumps(value).encode(), mtime=0)
    return {"crds_encoded": "1.0", "crds_payload": base64.b64encode(packed).decode("ascii")}


def decoded(answer: Any, place: object = None) -> Any:
    """Return what an answer holds, unwrapped if it is wrapped.

    Raises
    ------
    CorruptFileError
        If the wrapping is damaged.
    """
    if not (isinstance(answer, dict) and "crds_encoded" in answer):
        return answer
    try:
        packed = base64.b64decode(answer["crds_payload"], validate=False)
        stream = zlib.decompressobj(wbits=31)  # gzip
        unpacked = stream.decompress(packed, _LARGEST)
        return json.loads(unpacked)  # one that is cut short is no JSON either
    except (KeyError, TypeError, ValueError, zlib.error, RecursionError) as error:
        raise CorruptFileError(
            "a wrapped answer cannot be unpacked", place=place, found=str(error)
        ) from error


def is_date(text: str) -> bool:
    """Say whether a text is a date as contexts are named by: ``2024-01-31T12:00:00``."""
    return _DATE.match(text) is not None


class ServerConfig:
    """The facts of one observatory's server.

    Parameters
    ----------
    facts : mapping
        What ``get_server_info`` answers.
    place : object, optional
        Where they come from: a file or an address.
    """

    def __init__(self, facts: Mapping[str, Any], place: object = None) -> None:
        self.facts = dict(facts)
        self.place = place

    @classmethod
    def parse(cls, text: str, place: object = None) -> ServerConfig:
        """Read the text of a ``server_config`` file; see `read_literal` for what is refused."""
        facts = read_literal(text, place)
        if not isinstance(facts, dict):
            raise CorruptFileError("the configuration is not a dict", place=place, found=facts)
        return cls({str(key): value for key, value in facts.items()}, place)

    def text(self) -> str:
        """Return the text of a ``server_config`` file."""
        return write_literal(self.facts)

    @property
    def observatory(self) -> str:
        """Name of the observatory, lower case; empty where it is not said."""
        return str(self.facts.get("observatory") or "").lower()

    def context(self, state: str | None = None) -> str | None:
        """Return the name of the context in a state; by default the one to be used.

        A name that leads out of the folder of rules is as good as none.
        """
        for name in (state,) if state else ("operational", "latest"):
            found = str(self.facts.get(f"{name}_context") or "")
            if found.endswith(".pmap") and is_plain_name(found):
                return found
        return None

    def check_names(self) -> None:
        """Refuse contexts whose names lead out of the folder of rules.

        Raises
        ------
        ConfigurationError
            If there are such names.
        """
        named = [self.facts.get(f"{state}_context") for state in STATES]
        for name in [*named, *(name for _, name in self.history)]:
            if name and not is_plain_name(str(name)):
                raise ConfigurationError(
                    "the server names a context that no cache may have",
                    place=self.place,
                    found=str(name),
                    expected="the name of a .pmap file, without a folder",
                    remedy="tell the people of the server; what is in the cache stays as it is",
                )

    def context_at(self, date: str) -> str | None:
        """Return the context in use at a date, from the history of contexts; None if unknown."""
        date = date.replace("T", " ")
        earlier = [(day, name) for day, name in self.history if day <= date]
        return max(earlier)[1] if earlier else None

    @functools.cached_property
    def history(self) -> tuple[tuple[str, str], ...]:
        """Dates and the contexts that came into use then, oldest first."""
        entries = self.facts.get("context_history")
        found = []
        for entry in entries if isinstance(entries, (list, tuple)) else ():
            values = entry.values() if isinstance(entry, dict) else entry
            texts = [str(v) for v in values] if not isinstance(values, str) else []
            names = [text for text in texts if text.endswith(".pmap")]
            dates = [text for text in texts if is_date(text[:19])]
            if names and dates:
                found.append((dates[0].replace("T", " "), names[0]))
        return tuple(sorted(found))

    @functools.cached_property
    def bad_files(self) -> frozenset[str]:
        """Rules and references known to be scientifically wrong."""
        listed = self.facts.get("bad_files_list")
        if not isinstance(listed, (list, tuple)):
            listed = str(self.facts.get("bad_files") or "").split()
        return frozenset(str(name) for name in listed)

    @property
    def mapping_names(self) -> list[str]:
        """Names of all rules the server has."""
        listed = self.facts.get("mappings")
        return [str(name) for name in listed] if isinstance(listed, (list, tuple)) else []

    @functools.cached_property
    def _metadata(self) -> dict[str, Any]:
        found = decoded(self.facts.get("download_metadata"), self.place)
        return found if isinstance(found, dict) else {}

    def file_info(self, name: str) -> FileInfo | None:
        """Return size and checksum of a file, where the server told them."""
        facts = self._metadata.get(name)
        return FileInfo.of(name, facts) if isinstance(facts, dict) else None

    def with_files(self, files: Iterable[FileInfo]) -> ServerConfig:
        """Return a configuration that also knows these files."""
        known = dict(self._metadata)
        for one in files:
            known[one.name] = {"size": str(one.size or ""), "sha1sum": one.sha1 or "none"}
        return ServerConfig({**self.facts, "download_metadata": encoded(known)}, self.place)

    def url_of(self, name: str, observatory: str) -> str:
        """Return the address of a file.

        Raises
        ------
        ConfigurationError
            If the server does not say where such files are.
        """
        section = "mapping_url" if name.endswith((".pmap", ".imap", ".rmap")) else "reference_url"
        address = self.facts.get(section)
        if isinstance(address, dict) and isinstance(address.get("unchecked"), (dict, str)):
            address = address["unchecked"]  # as older servers answer
        if isinstance(address, dict):
            address = address.get(observatory)
        if not isinstance(address, str) or not address or address == "none":
            raise ConfigurationError(
                f"the server does not say where its files are ({section})",
                place=self.place,
                found=self.facts.get(section),
                remedy="name the place in CRDS_REFERENCE_URI and CRDS_MAPPING_URI",
            )
        return address.rstrip("/") + "/" + name
