"""FITS header cards: 80 bytes each, read on demand, written again as they were."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from lightmill.errors import CorruptFileError

__all__ = ["CARD", "Header", "fits_can_hold", "format_card", "section_cards"]

CARD = 80
Value = bool | int | float | complex | str | None

_STRING = re.compile(r"\s*'((?:[^']|'')*)'\s*(?:/(.*))?$", re.DOTALL)
_INTEGER = re.compile(r"[+-]?\d+$")
_REAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][+-]?\d+)?$")
_COMPLEX = re.compile(r"\(\s*([^,\s]+)\s*,\s*([^)\s]+)\s*\)$")
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}$")
_COMMENTARY = frozenset({"", "COMMENT", "HISTORY", "CONTINUE", "HIERARCH", "END"})
_PRINTABLE = re.compile(r"[ -~]*$")


class Header:
    """The cards of one header-data unit, without END and padding.

    Parameters
    ----------
    cards : list of bytes
        80 bytes each, in file order.
    place : str
        Name for error messages, ``file[SCI]``.
    """

    __slots__ = ("_index", "cards", "place")

    def __init__(self, cards: list[bytes] | None = None, place: str = "") -> None:
        self.cards = [] if cards is None else cards
        self.place = place
        self._index: dict[str, int] | None = None

    @classmethod
    def from_bytes(cls, block: bytes, place: str = "") -> Header:
        """Split a header block, END excluded, into cards."""
        return cls([block[i : i + CARD] for i in range(0, len(block), CARD)], place)

    @property
    def index(self) -> dict[str, int]:
        """Position of the first card of each keyword that has a value."""
        if self._index is None:
            index: dict[str, int] = {}
            for position, card in enumerate(self.cards):
                if card[8:10] == b"= ":
                    index.setdefault(card[:8].decode("latin-1").rstrip(), position)
            self._index = index
        return self._index

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.index

    def __len__(self) -> int:
        return len(self.cards)

    def keywords(self) -> Iterator[str]:
        """Yield the keywords that have a value, in file order."""
        return iter(self.index)

    def get(self, keyword: str, default: Value = None) -> Value:
        """Return a keyword's value, or `default` when it has no card.

        Raises
        ------
        CorruptFileError
            If the card is not written as the FITS standard asks.
        """
        position = self.index.get(keyword)
        if position is None:
            return default
        return self.value_at(position)[0]

    def integer(self, keyword: str, default: int | None = None) -> int:
        """Return a keyword that must be a whole number."""
        value = self.get(keyword, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise CorruptFileError(
                "the header is damaged",
                place=f"{self.place}/{keyword}",
                found="no such card" if value is None else value,
                expected="a whole number",
                remedy="fetch the file again",
            )
        return value

    def number(self, keyword: str, default: float) -> float:
        """Return a keyword that must be a finite number."""
        value = self.get(keyword, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float))
            or not math.isfinite(value)
        ):
            raise CorruptFileError(
                "the header is damaged",
                place=f"{self.place}/{keyword}",
                found=value,
                expected="a number",
                remedy="fetch the file again",
            )
        return value

    def text(self, keyword: str, default: str = "") -> str:
        """Return a keyword as text, stripped; `default` when absent or not text."""
        try:
            value = self.get(keyword, default)
        except CorruptFileError:
            return default
        return value.strip() if isinstance(value, str) else default

    def value_at(self, position: int) -> tuple[Value, str]:
        """Return value and comment of the card at a position, CONTINUE cards joined."""
        card = self.cards[position]
        rest = card[10:].decode("latin-1")
        plain = rest.split("/", 1)[0].strip()
        if not plain.startswith("'"):
            comment = rest.partition("/")[2].strip()
            return self._scalar(plain, card), comment
        value, comment = self._string(rest, card)
        following = position + 1
        while value.endswith("&") and following < len(self.cards):
            more = self.cards[following]
            if more[:8] != b"CONTINUE":
                break
            piece, extra = self._string(more[8:].decode("latin-1"), more)
            value = value[:-1] + piece
            comment = f"{comment} {extra}".strip() if extra else comment
            following += 1
        return value, comment

    def history(self) -> list[str]:
        """Return the texts of the HISTORY cards."""
        return [
            card[8:].decode("latin-1").strip() for card in self.cards if card[:8] == b"HISTORY "
        ]

    def to_dict(self) -> dict[str, Value]:
        """Return keyword -> value; damaged cards as their raw text."""
        values: dict[str, Value] = {}
        for keyword, position in self.index.items():
            try:
                values[keyword] = self.value_at(position)[0]
            except CorruptFileError:
                values[keyword] = self.cards[position][10:].decode("latin-1").strip()
        return values

    def _string(self, text: str, card: bytes) -> tuple[str, str]:
        match = _STRING.match(text)
        if match is None:
            raise self._damaged(card, "a string in quotes")
        return match[1].replace("''", "'").rstrip(), (match[2] or "").strip()

    def _scalar(self, text: str, card: bytes) -> Value:
        if text == "T":
            return True
        if text == "F":
            return False
        if not text:
            return None
        if _INTEGER.match(text):
            return int(text)
        if _REAL.match(text):
            return float(text.replace("D", "E").replace("d", "e"))
        match = _COMPLEX.match(text)
        if match and _REAL.match(match[1]) and _REAL.match(match[2]):
            return complex(float(match[1]), float(match[2]))
        raise self._damaged(card, "a FITS value")

    def _damaged(self, card: bytes, expected: str) -> CorruptFileError:
        return CorruptFileError(
            "the header is damaged",
            place=f"{self.place}/{card[:8].decode('latin-1').strip()}",
            found=card.decode("latin-1").rstrip(),
            expected=expected,
            remedy="fetch the file again",
        )


def fits_can_hold(value: object) -> bool:
    """Whether a header card can carry a value exactly."""
    if isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -(10**60) < value < 10**60
    if isinstance(value, float):
        return math.isfinite(value)
    return (
        isinstance(value, str)
        and value == value.rstrip()
        and _PRINTABLE.match(value) is not None
        and "\n" not in value
        and not value.endswith("&")
    )


def format_card(keyword: str, value: Value, comment: str = "") -> list[bytes]:
    """Return the card of a value: one, or several with CONTINUE for a long string.

    Parameters
    ----------
    keyword : str
        At most eight characters of A-Z, 0-9, ``-`` and ``_``.
    value : bool, int, float, str or None
        None writes a card without a value.
    comment : str
        Cut where the card ends.
    """
    if not _KEYWORD.match(keyword):
        raise ValueError(f"not a FITS keyword: {keyword!r}")
    if isinstance(value, str):
        return _string_cards(keyword, value, comment)
    text = f"{keyword:<8}= {_literal(value):>20}"
    if comment:
        text += f" / {comment}"
    return [_card(text)]


def section_cards(title: str) -> list[bytes]:
    """Return the three cards that set a group of keywords apart."""
    return [b" " * CARD, _card(f"        {title}"), b" " * CARD]


def commentary_cards(keyword: str, text: str) -> list[bytes]:
    """Return HISTORY or COMMENT cards that hold a text, 72 characters each."""
    lines = [line[i : i + 72] for line in text.splitlines() for i in range(0, len(line), 72)]
    return [_card(f"{keyword:<8}{line}") for line in lines or [""]]


def _literal(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        text = repr(value).upper()
        if "." not in text:
            text = text.replace("E", ".0E") if "E" in text else f"{text}.0"
        return text
    raise TypeError(f"not a FITS value: {value!r}")


def _string_cards(keyword: str, value: str, comment: str) -> list[bytes]:
    escaped = value.replace("'", "''")
    if len(escaped) <= 68:
        text = f"{keyword:<8}= '{escaped:<8}'"
        if comment:
            text = f"{text:<30} / {comment}"
        return [_card(text)]
    cards: list[bytes] = []
    start = 0
    while start < len(escaped) or not cards:
        end = min(start + 67, len(escaped))
        # A doubled quote may not be split between two cards.
        if end < len(escaped) and (end - len(escaped[:end].rstrip("'"))) % 2:
            end -= 1
        piece = escaped[start:end]
        # Blanks before the closing quote are not significant: keep them off the edge.
        more = end < len(escaped)
        label = f"{keyword:<8}= " if not cards else "CONTINUE  "
        cards.append(_card(f"{label}'{piece}{'&' if more else ''}'"))
        start = end
    last = cards[-1].rstrip().decode("ascii")
    if comment and len(last) + 3 + len(comment) <= CARD:
        cards[-1] = _card(f"{last} / {comment}")
    return cards


def _card(text: str) -> bytes:
    return text.encode("ascii", "replace")[:CARD].ljust(CARD)
