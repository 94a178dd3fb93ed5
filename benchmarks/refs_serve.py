"""Two hundred clients of one reference server at the same time: latencies, and no error.

A server is started on a free loopback port with the rules of the cases and a handful of generated
files, named as those rules name them. Each client keeps one connection and asks, one question after
the other, for best references, parts of files, whole rule files. Every answer is checked: the name of
the reference, the bytes of the file. Server and clients share the machine's processors, so latencies at
full load are queues; the table of one client tells what an answer costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.cases import ROOT
from benchmarks.measure import table

OBSERVATORY, CONTEXT = "hst", "hst_9001.pmap"
FILE_SIZE, PART = 4 << 20, 256 << 10  # bytes
QUESTIONS = ("best references", "all types of an instrument", "part of a file", "rule file")


@dataclass
class Load:
    """What is asked, and what came of it."""

    headers: list[tuple[dict, dict]]  # header, and the answers of the rules
    files: dict[str, bytes]
    rules: dict[str, bytes]
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5, help="times each client asks everything")
    parser.add_argument("--limit", type=float, default=180, help="seconds after which it ends")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument(
        "--cases", type=Path, default=ROOT.parent / "shared" / "cases" / "references"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        load = prepared(Path(name), arguments.cases)
        figures = measured(Path(name), load, arguments)
    for title, one in figures.items():
        print(f"\n{title}")
        print(
            table(
                ["question", "answers", "p50 ms", "p95 ms", "p99 ms", "largest ms"],
                [
                    [kind, f["answers"], *(f"{f[k]:.1f}" for k in ("p50", "p95", "p99", "max"))]
                    for kind, f in one["questions"].items()
                ],
            )
        )
        print(
            f"{one['answers']} answers in {one['wall']:.1f} s: {one['rate']:.0f} a second, "
            f"{len(one['errors'])} errors"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))
    errors = [text for one in figures.values() for text in one["errors"]]
    print("\n".join(errors[:10]))
    return 1 if errors else 0


def prepared(root: Path, cases: Path) -> Load:
    """Fill a cache, and ask its rules what the server should answer."""
    from lightmill.errors import LightmillError
    from lightmill.reference import rules

    if not (cases / "mappings" / OBSERVATORY / CONTEXT).is_file():
        raise SystemExit(f"there are no cases in {cases}: name them with --cases")
    shutil.copytree(cases / "mappings" / OBSERVATORY, root / "mappings" / OBSERVATORY)
    from lightmill.reference.cache import Cache

    context = rules.load(CONTEXT, Cache(root))
    headers, names = [], set()
    for case in json.loads((cases / "cases.json").read_text())["cases"]:
        if case.get("op") != "bestref" or case.get("mapping") != f"{OBSERVATORY}/{CONTEXT}":
            continue
        answers = context.best_references(case["header"])
        told = {
            kind.lower(): answer
            for kind, answer in answers.items()
            if isinstance(answer, str) and answer not in {"N/A", "OMIT"}
        }
        if told and not any(isinstance(one, LightmillError) for one in told.values()):
            headers.append((case["header"], told))
            names |= {one for one in told.values() if one.endswith(".fits")}
    noise = random.Random(1)
    files = {name: noise.randbytes(FILE_SIZE) for name in sorted(names)[:6]}
    folder = root / "references" / OBSERVATORY
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    some = sorted((root / "mappings" / OBSERVATORY).glob("*.rmap"))[::4]
    return Load(headers, files, {path.name: path.read_bytes() for path in some})


def measured(root: Path, load: Load, arguments: argparse.Namespace) -> dict:
    """Start a server, ask, and stop it, whatever happens."""
    environ = {**os.environ, "XDG_CACHE_HOME": str(root / "home")}
    server = subprocess.Popen(
        [sys.executable, "-m", "lightmill", "refs", "serve", "--port=0", f"--crds-path={root}"],
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    )
    try:
        line = server.stdout.readline()
        host, port = re.search(r"http://([\d.]+):(\d+)", line).groups()
        asyncio.run(ask(host, int(port), load, 1, 40))  # rules are loaded by the first questions
        load.seconds.clear()
        figures = {}
        for clients, rounds in ((1, 20), (arguments.clients, arguments.rounds)):
            began = time.perf_counter()
            asyncio.run(
                asyncio.wait_for(ask(host, int(port), load, clients, rounds), arguments.limit)
            )
            figures[f"{clients} client{'s' * (clients > 1)}"] = summary(
                load, time.perf_counter() - began
            )
            load.seconds, load.errors = defaultdict(list), []
        return figures
    finally:
        server.terminate()
        server.wait(timeout=30)


def summary(load: Load, wall: float) -> dict:
    def at(values: list[float], part: float) -> float:
        return 1e3 * sorted(values)[min(int(part * len(values)), len(values) - 1)]

    answers = sum(map(len, load.seconds.values()))
    questions = {
        kind: {
            "answers": len(values),
            "p50": at(values, 0.5),
            "p95": at(values, 0.95),
            "p99": at(values, 0.99),
            "max": 1e3 * max(values),
        }
        for kind, values in load.seconds.items()
    }
    return {
        "questions": questions,
        "answers": answers,
        "wall": wall,
        "rate": answers / wall,
        "errors": load.errors,
    }


async def ask(host: str, port: int, load: Load, clients: int, rounds: int) -> None:
    await asyncio.gather(*(client(host, port, load, number, rounds) for number in range(clients)))


async def client(host: str, port: int, load: Load, number: int, rounds: int) -> None:
    """Ask everything some times over one connection, in an order of one's own."""
    chance = random.Random(number)
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
    try:
        for _ in range(rounds):
            for kind in chance.sample(QUESTIONS, len(QUESTIONS)):
                request, is_right = question(kind, load, chance)
                began = time.perf_counter()
                writer.write(request)
                await writer.drain()
                status, content = await answer(reader)
                load.seconds[kind].append(time.perf_counter() - began)
                if not is_right(status, content):
                    load.errors.append(f"{kind}: status {status}, {content[:200]!r}")
    except (OSError, asyncio.IncompleteReadError, ValueError) as error:
        load.errors.append(f"client {number}: {error!r}")
    finally:
        writer.close()


def question(
    kind: str, load: Load, chance: random.Random
) -> tuple[bytes, Callable[[int, bytes], bool]]:
    """Return a request, and what tells whether its answer is right."""
    if kind == "part of a file":
        name = chance.choice(list(load.files))
        at = chance.randrange(FILE_SIZE - PART)
        part = load.files[name][at : at + PART]
        head = f"GET /{OBSERVATORY}/references/{name} HTTP/1.1\r\nHost: x\r\nRange: bytes={at}-{at + PART - 1}\r\n\r\n"
        return head.encode(), lambda status, content: status == 206 and content == part
    if kind == "rule file":
        name = chance.choice(list(load.rules))
        head = f"GET /{OBSERVATORY}/mappings/{name} HTTP/1.1\r\nHost: x\r\n\r\n"
        return head.encode(), lambda status, content: status == 200 and content == load.rules[name]
    header, told = chance.choice(load.headers)
    types = [chance.choice(list(told))] if kind == "best references" else None
    body = json.dumps(
        {"method": "get_best_references", "params": [CONTEXT, header, types], "id": "1"}
    )
    head = f"POST /{OBSERVATORY}/json/get_best_references/1/ HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"

    def is_right(status: int, content: bytes) -> bool:
        found = json.loads(content)["result"] if status == 200 else None
        return bool(found) and all(found.get(one) == told[one] for one in (types or told))

    return (head + body).encode(), is_right


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = re.search(r"content-length: *(\d+)", head)
    content = await reader.readexactly(int(length.group(1))) if length else b""
    return int(head.split()[1]), content
