"""Mangle rules ten thousand ways: each is answered from, or refused with one clear error.

    python -m benchmarks rules-fuzz --count 10000

Bytes, tokens and lines of mapping files are changed, inserted, removed, moved and nested. Each text is
read twice, with its checksum and without; what loads is asked with random headers and explains itself.
Anything but an answer or an error of ours is a defect, and so is an answer from a text whose checksum
is wrong, or more than `--limit` seconds.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.measure import table
from lightmill.errors import LightmillError
from lightmill.reference.rules import load
from lightmill.reference.rules.text import checksum_of
from lightmill.testing.rule_headers import RandomHeaders

ROOT = Path(__file__).resolve().parents[1]
CASES = Path(os.environ.get("LIGHTMILL_CASES", ROOT.parent / "shared" / "cases")) / "references"
PIECES = (
    "{", "}", "(", ")", "[", "]", ",", ":", "'", '"', "'''", '"""', "\\", "\n", "\r", "\0", "#", "=", "-", "+", " ",
    "Match({", "UseAfter({", "Bracket({", "SelectVersion({", "ClosestTime({", "})", "None", "1e999", "0x1F", "007",
    "lambda: 0", "__import__('os')", "header", "selector", "comment", "sha1sum", "'N/A'", "'*'", "'NOT A'", "'(a+)+'",
    "'(('", "'#>1#'", "'BETWEEN 2 1'", "'A|B'", "'{x}'", "é", "\ud800", "\u2028", "9" * 200, "((((((((", "[[[[[[[[",
    "{'a':" * 50, "(" * 2000, "'a' " * 50, "rmap_relevance", "'(P1 == \"A\")'", "'(P1 in P1 in P1)'", "'(not not P1)'",
)  # fmt: skip

NAMES = (
    "x\0.rmap",
    "\0",
    "\ud800",
    "\ud800.imap",
    "",
    ".",
    "..",
    "/",
    "/dev/zero",
    "a" * 5000,
    "\n.rmap",
    "é\r.imap",
)


def mangled(text: str, dice: random.Random) -> str:
    """Change a text as disks, editors and people do."""
    for _ in range(dice.choice([1, 1, 1, 2, 5, 30])):
        start = dice.randrange(len(text) + 1)
        if dice.random() < 0.5:
            start = min(start, dice.randrange(1, 700))  # the header is where it hurts
        length = dice.choice([1, 1, 2, 8, 40, 400])
        kind = dice.randrange(7)
        if kind == 0:
            text = text[:start] + chr(dice.randrange(1, 300)) + text[start + 1 :]
        elif kind == 1:
            text = text[:start] + text[start + length :]
        elif kind == 2:
            text = text[:start] + dice.choice(PIECES) + text[start:]
        elif kind == 3:
            text = text[:start] + dice.choice(PIECES) + text[start + length :]
        elif kind == 4:
            other = dice.randrange(len(text) + 1)
            text = text[:start] + text[other : other + length] + text[start:]
        elif kind == 5 and dice.random() < 0.2:
            text = text[:start]
        else:
            lines = text.split("\n")
            dice.choice([dice.shuffle, list.reverse, list.pop])(lines) if len(lines) > 1 else None
            text = "\n".join(lines) if dice.random() < 0.3 else text
    return text


class Late(BaseException):
    """It took too long."""


class One:
    """A source of one text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read_mapping(self, name: str) -> tuple[str, str]:
        return self.text, name


def ended(text: str, name: str, dice: random.Random) -> str:
    """Return how reading and asking a text ended."""
    try:
        load(name, One(text))
    except LightmillError:
        pass
    else:
        if f"'{checksum_of(text)}'" not in text and f'"{checksum_of(text)}"' not in text:
            raise AssertionError("an answer from a text whose checksum is wrong")
    try:
        rules = load(name, One(text), verify=False)
    except LightmillError as error:
        return _end(error)
    if not hasattr(rules, "select"):
        return _followed(rules, text, name, dice)
    maker = RandomHeaders(rules, dice)
    answered = "asked, none"
    for _ in range(3):
        header = maker.header()
        try:
            rules.select(header)
            answered = "answered"
        except LightmillError as error:
            _end(error)
        assert rules.explain(header).text()
    return answered


def _followed(rules: Any, text: str, name: str, dice: random.Random) -> str:
    """Ask rules whose table names files: none is there, and some names no file can have."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            rules = load(path, verify=False)
        except LightmillError as error:  # surrogates are no UTF-8
            return _end(error)
        table = rules.types if hasattr(rules, "types") else rules.instruments
        for kind in [*table][:20]:
            table[kind] = dice.choice([table[kind], table[kind], *NAMES])
            try:
                rules.rules(kind)
            except LightmillError as error:
                _end(error)
    return "followed"


def _end(error: LightmillError) -> str:
    """Return how a text ended that is refused; the error must tell where."""
    if not error.place or not error.story().encode("utf-8", "backslashreplace"):
        raise AssertionError("an error that does not tell where")
    return f"refused: {getattr(error, 'kind', error.code)}"


def run(
    texts: list[tuple[str, str]], count: int, seed: int, limit: float
) -> tuple[collections.Counter[str], list[str], float]:
    """Return how often each end was met, the defects, and the longest time [s]."""
    dice = random.Random(seed)
    ends: collections.Counter[str] = collections.Counter()
    defects: list[str] = []
    longest = 0.0

    def late(*_: object) -> None:
        raise Late

    signal.signal(signal.SIGALRM, late)
    for number in range(count):
        name, text = dice.choice(texts)
        changed = mangled(text, dice)
        start = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, limit)
        try:
            ends[ended(changed, name, dice)] += 1
        except (Exception, Late) as error:  # noqa: BLE001 - any of them is the defect looked for
            trace = traceback.format_exc(limit=-4)
            defects.append(
                f"number {number} of seed {seed}, {name}: {type(error).__name__}\n{trace}"
            )
            ends["DEFECT"] += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        longest = max(longest, time.perf_counter() - start)
    return ends, defects, longest


def texts_of(folder: Path, largest: int) -> list[tuple[str, str]]:
    """Return name and text of the mappings that are not too large to mangle many times."""
    paths = [path for path in sorted(folder.glob("*/*map")) if path.stat().st_size <= largest]
    return [(path.name, path.read_text("utf-8")) for path in paths]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=5.0, help="seconds for one text")
    parser.add_argument("--largest", type=int, default=20_000, help="bytes of a mapping")
    parser.add_argument("--mappings", type=Path, default=CASES / "mappings")
    arguments = parser.parse_args()
    sys.setrecursionlimit(1000)
    texts = texts_of(arguments.mappings, arguments.largest)
    if not texts:
        print(f"no mappings in {arguments.mappings}")
        return 2
    start = time.process_time()
    ends, defects, longest = run(texts, arguments.count, arguments.seed, arguments.limit)
    spent = time.process_time() - start
    print(table(["end", "texts"], [[end, f"{n}"] for end, n in ends.most_common()]))
    print(f"\n{arguments.count} texts in {spent:.1f} CPU s, the longest took {longest:.3f} s")
    for defect in defects[:5]:
        print(f"\n{defect}")
    return 1 if defects else 0
