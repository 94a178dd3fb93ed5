"""Mappings whose entries are fetched, part by part, when they are asked for.

The state of a whole archive has more than half a million entries; a round of maintenance looks at
those of a few proposals. A `Shelf` is a dict of which a part, the entries whose keys begin alike, is
fetched when the first of them is missed. What would need all entries fetches all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Desk", "Part", "Shelf", "part_of"]

PREFIX = 4  # I and PPP of IPPPSSOOT: the instrument and the program
_NOTHING: Any = object()


class Part(NamedTuple):
    """What is known of a part that is not fetched.

    Parameters
    ----------
    digest : str
        Of its content.
    counts : dict
        Shelf → how many entries of it the part has.
    flags : dict
        Both flags of an exposure, as two characters → how many have them.
    """

    digest: str
    counts: dict[str, int]
    flags: dict[str, int]


def part_of(key: Any) -> str:
    """Return the part that a key belongs to.

    Parameters
    ----------
    key : str, int or tuple
        A name, a proposal, or what begins with a name.

    Returns
    -------
    part : str
        The name's first four characters, or the proposal after ``#``.
    """
    if isinstance(key, int):
        return f"#{key}"
    return (key if isinstance(key, str) else key[0])[:PREFIX]


class Desk:
    """Fetches parts, each once, for all shelves.

    Parameters
    ----------
    known : mapping
        Name of each part → what is known of it.

    Attributes
    ----------
    waiting : dict
        Names of the parts not fetched, as keys.
    damaged : set of str
        Those that were not as they had been written, and had to be had in another way.
    fetch : callable
        Names of parts → for each part, its entries: shelf → (key, value) pairs.
    """

    def __init__(self, known: Mapping[str, Part]) -> None:
        self.known = dict(known)
        self.waiting = dict.fromkeys(self.known)
        self.damaged: set[str] = set()
        self.shelves: dict[str, Shelf] = {}
        self.fetch: Callable[[list[str]], Iterable[Mapping[str, Iterable[tuple[Any, Any]]]]] = _none

    def shelf(self, name: str) -> Shelf:
        """Return a new shelf.

        Parameters
        ----------
        name : str
            Of what it holds.

        Returns
        -------
        shelf : Shelf
            With nothing fetched.
        """
        self.shelves[name] = Shelf(self, name)
        return self.shelves[name]

    def need(self, part: str) -> bool:
        """Fetch a part if it was not yet.

        Parameters
        ----------
        part : str
            Its name.

        Returns
        -------
        fetched : bool
            Whether it was fetched now.
        """
        if part not in self.waiting:
            return False
        self._take([part])
        return True

    def need_all(self) -> None:
        """Fetch all parts."""
        if self.waiting:
            self._take(list(self.waiting))

    def held_back(self, name: str) -> int:
        """Return how many entries of a shelf are not fetched.

        Parameters
        ----------
        name : str
            Of the shelf.

        Returns
        -------
        count : int
            Of entries.
        """
        return sum(self.known[part].counts.get(name, 0) for part in self.waiting)

    def flags(self) -> Counter[str]:
        """Count the flags of entries that are not fetched.

        Returns
        -------
        counts : Counter
            Both flags, as two characters → how often.
        """
        found: Counter[str] = Counter()
        for part in self.waiting:
            found.update(self.known[part].flags)
        return found

    def _take(self, parts: list[str]) -> None:
        for entries in self.fetch(parts):
            for name, pairs in entries.items():
                dict.update(self.shelves[name], pairs)
        for part in parts:
            del self.waiting[part]


def _none(_: list[str]) -> list[Any]:
    """Fetch nothing."""
    return []


class Shelf(dict[Any, Any]):
    """A dict that fetches what it is asked for.

    Parameters
    ----------
    desk : Desk
        Which fetches for it.
    name : str
        Of what it holds.
    """

    __slots__ = ("_desk", "_name")
    __hash__ = None  # as of any dict

    def __init__(self, desk: Desk, name: str) -> None:
        super().__init__()
        self._desk = desk
        self._name = name

    def __missing__(self, key: Any) -> Any:
        """Return what is there after its part was fetched."""
        if (
            self._desk.need(part_of(key))
            and (found := dict.get(self, key, _NOTHING)) is not _NOTHING
        ):
            return found
        raise KeyError(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key, or the default."""
        found = dict.get(self, key, _NOTHING)
        if found is _NOTHING and self._desk.need(part_of(key)):
            found = dict.get(self, key, _NOTHING)
        return default if found is _NOTHING else found

    def __contains__(self, key: Any) -> bool:
        """Return whether there is such a key."""
        return self.get(key, _NOTHING) is not _NOTHING

    def __setitem__(self, key: Any, value: Any) -> None:
        """Set a value; what was there is fetched before, and does not come again."""
        self._desk.need(part_of(key))
        dict.__setitem__(self, key, value)

    def __delitem__(self, key: Any) -> None:
        """Take a key away."""
        self._desk.need(part_of(key))
        dict.__delitem__(self, key)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key, set to the default if there is none."""
        self._desk.need(part_of(key))
        return dict.setdefault(self, key, default)

    def pop(self, key: Any, *default: Any) -> Any:
        """Take a key away, and return its value."""
        self._desk.need(part_of(key))
        return dict.pop(self, key, *default)

    def update(self, *others: Any, **named: Any) -> None:
        """Set the values of another mapping."""
        for key, value in dict(*others, **named).items():
            self[key] = value

    def __len__(self) -> int:
        """Return how many there are; nothing is fetched."""
        return dict.__len__(self) + self._desk.held_back(self._name)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over all keys."""
        self._desk.need_all()
        return dict.__iter__(self)

    def keys(self) -> Any:
        """Return all keys."""
        self._desk.need_all()
        return dict.keys(self)

    def values(self) -> Any:
        """Return all values."""
        self._desk.need_all()
        return dict.values(self)

    def items(self) -> Any:
        """Return all keys and values."""
        self._desk.need_all()
        return dict.items(self)

    def __eq__(self, other: object) -> bool:
        """Compare all entries."""
        self._desk.need_all()
        if isinstance(other, Shelf):
            other.keys()  # fetches
        return dict.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        """Compare all entries."""
        return not self == other

    def copy(self) -> dict[Any, Any]:
        """Return all entries as a plain dict."""
        return dict(self.items())

    def clear(self) -> None:
        """Refuse: nothing of an archive is forgotten."""
        raise TypeError("entries of an archive are not cleared")

    def popitem(self) -> Any:
        """Refuse: nothing of an archive is forgotten."""
        raise TypeError("entries of an archive are not taken at random")
