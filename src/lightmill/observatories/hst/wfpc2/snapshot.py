"""A state as bytes, in parts, and back: so that the log need not be read from its beginning.

A snapshot follows from the log and from the code that reads it, and may be thrown away. Its parts
hold the entries of a program or of a proposal, each as JSON, compressed; the head holds what is
short, and the digest of every part. The same state is the same bytes, whichever way it came about.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightmill.errors import CorruptFileError
from lightmill.observatories.hst.wfpc2 import records
from lightmill.observatories.hst.wfpc2.flags import Flags
from lightmill.observatories.hst.wfpc2.shelves import Desk, Part, part_of
from lightmill.observatories.hst.wfpc2.state import State

__all__ = ["ShelvedState", "Snapshot", "code_digest", "snapshot_of", "state_of"]

CACHES = frozenset({"desk", "digests"})  # attributes that are no part of what is known
NESTED = "previewed"  # a mapping of mappings: preview policy → association → mark
_QUICK = 1  # compression: a fifth of the size; the best would be a sixth, at ten times the cost

Entries = dict[str, list[list[Any]]]  # shelf → pairs of key and value, as JSON has them


@dataclass(frozen=True)
class Snapshot:
    """A state as bytes.

    Parameters
    ----------
    head : bytes
        What is short, and which parts there are.
    parts : dict
        Name → content of those that are not as they were written before.
    digests : dict
        Name of every part → digest of its content.
    """

    head: bytes
    parts: dict[str, bytes]
    digests: dict[str, str]


class ShelvedState(State):
    """A state that fetches what it is asked for from a snapshot.

    Parameters
    ----------
    desk : Desk
        Which fetches for all its mappings.
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        for name in records.KINDS:
            if name != NESTED:
                setattr(self, name, desk.shelf(name))
        self.previewed = {
            policy: desk.shelf(f"{NESTED} {policy}") for policy in sorted(self.previewed)
        }

    def flag_counts(self) -> Counter[Flags]:
        """Count the exposures by their flags; nothing is fetched."""
        fetched = Counter(dict.values(self.flags))
        return fetched + Counter({Flags(*one): n for one, n in self.desk.flags().items()})


def code_digest() -> str:
    """Return the digest of the code that events are read by.

    Returns
    -------
    digest : str
        Of all modules of this folder: 64 hexadecimal digits. A snapshot made by other code says
        nothing here.
    """
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def snapshot_of(state: State, written: Mapping[str, str] | None = None) -> Snapshot:
    """Return the snapshot of a state.

    Parameters
    ----------
    state : State
        Only what was fetched of it is looked at: the rest is as it was.
    written : mapping, optional
        Parts that were written before → digests of their content.

    Returns
    -------
    snapshot : Snapshot
        The same bytes for the same state, whether it was read from a snapshot or the whole log.
    """
    desk = state.desk if isinstance(state, ShelvedState) else Desk({})
    manifest: dict[str, tuple[Any, ...]] = {name: desk.known[name] for name in desk.waiting}
    parts = {}
    for name, entries in _sorted(state):
        content = _packed(entries)
        digest = hashlib.sha256(content).hexdigest()  # as the store knows it
        counts = {shelf: len(pairs) for shelf, pairs in entries.items()}
        flags = Counter("".join(value) for _, value in entries.get("flags", ()))
        manifest[name] = Part(digest, counts, dict(sorted(flags.items())))
        if not written or written.get(name) != digest:
            parts[name] = content
    short = {
        name: records.tagged(value)
        for name, value in sorted(vars(state).items())
        if name not in records.KINDS and name not in CACHES
    }
    ordered = dict(sorted(manifest.items()))
    head = _packed({"short": short, "parts": ordered})
    return Snapshot(head, parts, {name: one[0] for name, one in ordered.items()})


def _packed(values: Any) -> bytes:
    return zlib.compress(json.dumps(values, separators=(",", ":")).encode(), _QUICK)


def state_of(
    head: bytes,
    fetch: Callable[[Mapping[str, str]], Iterable[tuple[str, bytes]]],
    again: Callable[[], State],
) -> ShelvedState:
    """Return the state of a snapshot.

    Parameters
    ----------
    head : bytes
        Of the snapshot.
    fetch : callable
        Names of parts and digests of their content → (name, content) of those that are as they were.
    again : callable
        Returns the same state, read from the log: asked for where a part is missing or damaged.

    Returns
    -------
    state : ShelvedState
        Its parts are fetched when they are asked for.

    Raises
    ------
    CorruptFileError
        If this is no head, or one of a state with other attributes.
    """
    try:
        found = json.loads(zlib.decompress(head))
        short = {name: records.untagged(value) for name, value in found["short"].items()}
        known = {name: Part(*one) for name, one in found["parts"].items()}
    except (zlib.error, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptFileError("this is no snapshot", found=error) from error
    desk = Desk(known)
    state = ShelvedState(desk)
    desk.fetch = lambda names: _fetched(names, desk, fetch, again)
    if short.keys() != vars(state).keys() - records.KINDS.keys() - CACHES:
        raise CorruptFileError("a snapshot of something else", found=", ".join(short))
    for name, value in short.items():
        setattr(state, name, value)
    return state


def _fetched(
    names: list[str],
    desk: Desk,
    fetch: Callable[[Mapping[str, str]], Iterable[tuple[str, bytes]]],
    again: Callable[[], State],
) -> Iterator[Mapping[str, Iterable[tuple[Any, Any]]]]:
    """Yield the entries of parts; of those that are not as they were, from the log."""
    missing = set(names)
    for name, content in fetch({name: desk.known[name].digest for name in names}):
        missing.discard(name)
        yield _read(json.loads(zlib.decompress(content)))
    if missing:
        desk.damaged |= missing
        for _, entries in _sorted(again(), missing):
            yield _read(json.loads(json.dumps(entries)))


def _read(entries: Entries) -> dict[str, list[tuple[Any, Any]]]:
    """Return the entries of a part as a state has them."""
    found = {}
    for shelf, pairs in entries.items():
        kind = records.KINDS[shelf.split(" ", 1)[0]]
        found[shelf] = [(kind.key(key), kind.read(value)) for key, value in pairs]
    return found


def _sorted(state: State, wanted: set[str] | None = None) -> Iterator[tuple[str, Entries]]:
    """Yield the entries of each part that was fetched, in order of names and keys."""
    shelves = {}
    for name in sorted(records.KINDS):
        value = getattr(state, name)
        if name == NESTED:
            shelves.update({f"{NESTED} {policy}": value[policy] for policy in sorted(value)})
        else:
            shelves[name] = value
    parts: dict[str, dict[str, list[Any]]] = {}
    for shelf, entries in shelves.items():
        for key in dict.keys(entries):
            parts.setdefault(part_of(key), {}).setdefault(shelf, []).append(key)
    for part in sorted(parts if wanted is None else wanted & parts.keys()):
        found: Entries = {}
        for shelf, keys in parts[part].items():
            write = records.KINDS[shelf.split(" ", 1)[0]].write
            found[shelf] = [[key, write(shelves[shelf][key])] for key in sorted(keys)]
        yield part, found
