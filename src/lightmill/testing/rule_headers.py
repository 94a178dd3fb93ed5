"""Random headers for rules: most as the rules expect them, some as archives really hold them."""

from __future__ import annotations

import random
from typing import Any

from lightmill.reference.rules import TypeRules

__all__ = ["RandomHeaders"]

_ODD = (
    "N/A", "UNDEFINED", "*", "ANY", "", "1", "-1", "4294967295", "-2147483648", "1.0", "01", "1e400", "NaN",
    "T", "f", "TRUE", "NOT APPLICABLE", "N/AX", "()", "A|B", "ZZZ", " x ", "0", "None", "GENERIC", "FULL",
    "1.5e3", "OMIT", "PERFORM", "SKIPPED", "COMPLETE", "NONE", "NOT A", "#>1#", "{A}", "(.*)", "BETWEEN 1 2",
)  # fmt: skip
_DAYS = (
    "{Y}-{m}-{d}", "{Y}/{m}/{d}", "{m}/{d}/{Y}", "{d}/{m}/{y}", "{b} {d} {Y}", "{d}-{b}-{Y}",
    "{Y}-{m}-{d}T{t}", "{Y}{m}{d}:{p}", "junk", "UNDEFINED", "N/A", "", "{b} {d}, {Y}", "{Y}-{m}-31",
)  # fmt: skip
_TIMES = (
    "{t}", "{t}.25", "{h}", "{t} PM", "UNDEFINED", "", "{t}.1234567", "{t}Z", "{t} UT", "24:00:00",
)  # fmt: skip
_MOMENTS = ("{Y}-{m}-{d}T{t}", "{Y}-{m}-{d}T{t}.5", "{Y}-{m}-{d} {t}", "{Y}-{m}-{d}", *_DAYS[7:])
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class RandomHeaders:
    """Makes headers for the rules of one type.

    Parameters
    ----------
    rules : TypeRules
        The rules; values are drawn from their keys.
    dice : random.Random
        Where chance comes from.
    odd : float
        How often a value is one nobody expects; with 0, every value is one of the rules.
    """

    def __init__(self, rules: TypeRules, dice: random.Random, *, odd: float = 0.06) -> None:
        self.rules, self.dice, self.odd = rules, dice, odd
        self.rows = list(rules.rows())
        self.pool: dict[str, list[str]] = {}
        pools: dict[str, set[str]] = {}
        for row in self.rows:
            for key, fields in zip(row.keys, rules.parkey, strict=False):
                for name, text in zip(fields, _parts(key, len(fields)), strict=False):
                    pools.setdefault(name.upper(), set()).update(text.split("|"))
        self.pool = {name: sorted(values) for name, values in pools.items()}
        self.dates = {
            name.upper()
            for level in rules.parkey
            for name in level
            if any(word in name.upper() for word in ("DATE", "TIME", "START"))
        }

    def header(self) -> dict[str, Any]:
        """Return one header."""
        dice, row = self.dice, self.dice.choice(self.rows) if self.rows else None
        moment = self._moment()
        header: dict[str, Any] = {}
        for key in self.rules.required_keys:
            if key in self.dates and dice.random() < max(0.7, 1 - 5 * self.odd):
                header[key] = self._date(key, moment)
            elif dice.random() < self.odd:
                header[key] = dice.choice(_ODD)
            elif dice.random() >= self.odd:
                header[key] = self._value(key, row)
        if dice.random() < self.odd:
            return {key.lower(): value.lower() for key, value in header.items()}
        return header

    def _value(self, key: str, row: Any) -> str:
        """Return a value of a row, or of the column, or any."""
        dice, pool = self.dice, self.pool.get(key)
        if row is not None and dice.random() > 3 * self.odd:
            for texts, fields in zip(row.keys, self.rules.parkey, strict=False):
                names = [name.upper() for name in fields]
                if key in names:
                    text = _parts(texts, len(names))[names.index(key)]
                    found = dice.choice(text.split("|"))
                    if found not in {"N/A", "*"} and not found.startswith(("BETWEEN", "#", "(")):
                        return found
        plain = [one for one in pool or () if one not in {"N/A", "*"}]
        return dice.choice(plain) if plain and dice.random() < 0.8 else dice.choice(_ODD)

    def _moment(self) -> dict[str, str]:
        dice = self.dice
        year, month, day = dice.randint(1990, 2024), dice.randint(1, 12), dice.randint(1, 28)
        time = f"{dice.randint(0, 23):02d}:{dice.randint(0, 59):02d}:{dice.randint(0, 59):02d}"
        return {
            "Y": str(year), "m": f"{month:02d}", "d": f"{day:02d}", "y": f"{year % 100:02d}",
            "b": _MONTHS[month - 1], "t": time, "p": time.replace(":", ""), "h": time[:5],
        }  # fmt: skip

    def _date(self, key: str, moment: dict[str, str]) -> str:
        forms = _MOMENTS if "START" in key else _TIMES if "TIME" in key else _DAYS
        usual = self.dice.random() > 5 * self.odd
        return (forms[0] if usual else self.dice.choice(forms)).format(**moment)


def _parts(key: tuple[str, ...], fields: int) -> tuple[str, ...]:
    """Return a key field by field: a date is one text, and may be for two fields."""
    if len(key) == 1 and fields == 2:
        return (*key[0].split(" ", 1), "")[:2]
    return key + ("N/A",) * (fields - len(key))
