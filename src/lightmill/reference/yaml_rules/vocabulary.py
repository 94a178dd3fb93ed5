"""The words of the YAML form of rules, and what each stands for in a mapping file."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = [
    "BY_ENTRY",
    "BY_LEVEL",
    "BY_SELECTOR",
    "DATE_FIELDS",
    "EXPRESSIONS",
    "FIELD_LISTS",
    "HEADER_KEY",
    "KINDS",
    "TABLES",
    "WORD_OF_KEY",
    "Kind",
    "date_word",
    "expression_of",
    "expression_word",
    "field_word",
    "full_date",
    "key_of",
]


@dataclass(frozen=True)
class Kind:
    """A kind of selector: its class in mapping files, and its two words here.

    Parameters
    ----------
    selector : str
        As mapping files call it: ``UseAfter``.
    level : str
        The word that declares the level and its fields: ``use_after``.
    entry : str
        The word that gives an entry its key at this level: ``from``.
    """

    selector: str
    level: str
    entry: str


KINDS = (
    Kind("Match", "match", "match"),
    Kind("UseAfter", "use_after", "from"),
    Kind("VersionAfter", "version_after", "from_version"),
    Kind("SelectVersion", "select_version", "version"),
    Kind("ClosestTime", "closest_time", "time"),
    Kind("GeometricallyNearest", "nearest", "near"),
    Kind("Bracket", "bracket", "at"),
)
BY_SELECTOR = {kind.selector: kind for kind in KINDS}
BY_LEVEL = {kind.level: kind for kind in KINDS}
BY_ENTRY = {kind.entry: kind for kind in KINDS}

# Where `select: use_after` finds the date of an observation, if no field is named.
DATE_FIELDS = ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME")

# Word here -> key of a mapping file's header. What is in none of these stands under `header:`.
HEADER_KEY = {
    "observatory": "observatory",
    "instrument": "instrument",
    "type": "filekind",
    "name": "name",
    "derived_from": "derived_from",
    "description": "description",
    "classes": "classes",
    "extra_fields": "extra_keys",
    "comment_fields": "comment_parkeys",
    "relevant_when": "rmap_relevance",
    "omit_when": "rmap_omit",
    "field_relevant_when": "parkey_relevance",
    "substitutions": "substitutions",
    "required": "reffile_required",
    "merge_overlaps": "merge_overlaps",
    "reference_to_dataset": "reference_to_dataset",
    "hooks": "hooks",
    "row_keys": "row_keys",
}
WORD_OF_KEY = {key: word for word, key in HEADER_KEY.items()}
EXPRESSIONS = frozenset({"relevant_when", "omit_when"})
FIELD_LISTS = frozenset({"extra_fields", "comment_fields"})
# The word of a document's body -> what `mapping` says in the header of such a mapping file.
TABLES = {"entries": "REFERENCE", "types": "INSTRUMENT", "instruments": "PIPELINE"}

_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:\.\d{1,6})?)(?:Z|\+00:00)?\Z")
_WORDS = re.compile(r"""'[^']*'|"[^"]*"|[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*""")


def key_of(field: str) -> str:
    """Return the key of a header a field stands for.

    Parameters
    ----------
    field : str
        A path of metadata, ``instrument.detector``, or a FITS keyword.

    Returns
    -------
    key : str
        ``META.INSTRUMENT.DETECTOR``; a keyword in upper case.
    """
    upper = field.upper()
    is_path = "." in field and field == field.lower()
    if is_path and not upper.startswith("META.") and ".META." not in upper:
        return f"META.{upper}"
    return upper


def field_word(key: str) -> str | None:
    """Return how a key of a header is written as a field; None where no word gives it back."""
    short = key.removeprefix("META.").lower()
    if key.startswith("META.") and key_of(short) == key:
        return short
    return key if key_of(key) == key else None


def full_date(text: str) -> str:
    """Return a date as mapping files write it; what is not a plain ISO date stays as it is.

    Parameters
    ----------
    text : str
        ``2026-01-10``, ``2026-01-10T08:30:00Z`` or ``2026-01-10 08:30:00``; UTC.
    """
    if _DAY.match(text):
        return f"{text} 00:00:00"
    moment = _MOMENT.match(text)
    return f"{moment[1]} {moment[2]}" if moment else text


def date_word(text: str) -> str | None:
    """Return how a date is written here; None where no word gives it back."""
    day = text.removesuffix(" 00:00:00")
    for word in (day, text):
        if full_date(word) == text:
            return word
    return None


def expression_of(text: str) -> str:
    """Return an expression as mapping files write it: in parentheses, fields as keys.

    Parameters
    ----------
    text : str
        ``exposure.type == 'DARK'``; ALWAYS and NEVER stay.
    """
    bare = text.strip()
    if bare.upper() in {"ALWAYS", "NEVER"}:
        return text
    named = _WORDS.sub(lambda found: _key_in_expression(found[0]), text)
    return named if _is_bracketed(bare) else f"({named})"


def expression_word(expression: str) -> str | None:
    """Return how an expression is written here; None where no text gives it back."""
    short = _WORDS.sub(lambda found: _word_in_expression(found[0]), expression)
    candidates = [short[1:-1], short] if _is_bracketed(short) else [short]
    for word in [*candidates, expression]:
        if word.strip() == word and expression_of(word) == expression:
            return word
    return None


def _key_in_expression(word: str) -> str:
    return key_of(word) if "." in word and word[0] not in "'\"" else word


def _word_in_expression(word: str) -> str:
    return (field_word(word) or word) if "." in word and word[0] not in "'\"" else word


def _is_bracketed(text: str) -> bool:
    """Return whether one pair of parentheses encloses all of a text."""
    if not (text.startswith("(") and text.endswith(")")):
        return False
    depth = 0
    for position, character in enumerate(_WORDS.sub(lambda found: "x" * len(found[0]), text)):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return position == len(text) - 1
    return False
