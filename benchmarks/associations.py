"""Associations beside the field's generator, and how they grow with the pool.

    python -m benchmarks associations                          every pool, ours and the peer's
    python -m benchmarks associations --pools mega_pool        only these
    python -m benchmarks associations --growth                 1,000 to 64,000 rows, ours only
    python -m benchmarks associations --growth --mode obs      the same, in one program
    python -m benchmarks associations --million                1,000,000 rows, ours only

Both generators are whole processes that read the pool and write its files. CPU seconds are the fair
figure on a shared machine: the least of our runs is compared with one run of the peer. Every file of
ours is compared with the peer's by `asn_compare.py`. Large pools are made of many copies of one:
with programs of their own, as observations of the same programs, or as exposures of the same
observations (`--mode program | obs | dither`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.cases import COMMAND, ROOT
from benchmarks.measure import Cost, best, measured, table

CASES = Path(os.environ.get("LIGHTMILL_CASES", ROOT.parent / "shared" / "cases")) / "associations"
LARGE = 60  # rows from which the higher ratio is asked
ASKED = {"mega_pool": 150.0}
SIZES = (1, 2, 4, 8, 16, 32, 64)  # thousand rows
LEAST = 3  # runs of the smaller half of the growth table; the larger run once


def rows_of(pool: Path) -> int:
    """Return how many exposures a pool has."""
    lines = pool.read_text(errors="replace").splitlines()
    return sum(1 for line in lines if line.strip() and not line.lstrip().startswith("#")) - 1


def empty(folder: Path) -> Path:
    """Return an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


class Bench:
    """Both generators, and the folder they write to."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.cases: Path = options.cases.resolve()
        self.work: Path = options.work.resolve()
        self.runs: int = options.runs
        self.command = options.lightmill.split() if options.lightmill else COMMAND
        self.peer: Path = options.peer.resolve() / "bin" / "asn_generate"
        self.with_peer = not options.no_peer
        if self.with_peer and not self.peer.exists():
            raise SystemExit(
                f"no peer at {self.peer}: python3 -m venv .peers/jwst && "
                ".peers/jwst/bin/pip install 'jwst==3.0.0', or --peer PATH, or --no-peer"
            )

    def ours(self, pool: Path, *words: str, runs: int = 1) -> tuple[Cost, Path]:
        """Return what our generator costs, and where its files are."""
        folder = self.work / "ours" / pool.stem
        costs = []
        for _ in range(runs):
            empty(folder)
            command = [*self.command, "asn", "generate", str(pool), "-q", "-p", str(folder), *words]
            costs.append(measured(command, self.work / "log" / f"ours-{pool.stem}"))
        return best(costs), folder

    def theirs(self, pool: Path) -> tuple[Cost, Path]:
        """Return what the peer's generator costs, and where its files are."""
        folder = empty(self.work / "peer" / pool.stem)
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        command = [str(self.peer), str(pool), "-p", str(folder)]
        return measured(command, self.work / "log" / f"peer-{pool.stem}", environment), folder

    def same(self, theirs: Path, ours: Path) -> str:
        """Return whether the files of both are the same associations."""
        command = [sys.executable, self.cases / "asn_compare.py", theirs, ours, "--allow-empty", "--quiet"]  # fmt: skip
        return "yes" if subprocess.run(command, capture_output=True, check=False).returncode == 0 else "NO"  # fmt: skip

    def replicated(self, source: Path, copies: int, mode: str) -> Path:
        """Return a pool of so many copies of another."""
        path = self.work / "pools" / f"{source.stem}-{mode}-{copies}.csv"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            script = self.cases / "replicate_pool.py"
            subprocess.run([sys.executable, script, source, path, str(copies), mode], check=True)
        return path


def beside_the_peer(bench: Bench, pools: list[Path]) -> tuple[str, bool]:
    """Return the table of all pools, smallest first, and whether all that is asked is reached."""
    rows: list[list[object]] = []
    fine = True
    sizes = {pool: rows_of(pool) for pool in pools}
    smallest = min(sizes.values())
    for pool in sorted(pools, key=lambda one: (sizes[one], one.stem)):
        ours, our_files = bench.ours(pool, runs=bench.runs)
        row: list[object] = [pool.stem, sizes[pool], ours.cpu, ours.peak_mb]
        if bench.with_peer:
            theirs, their_files = bench.theirs(pool)
            ratio = theirs.cpu / ours.cpu
            asked = 20.0 if sizes[pool] >= LARGE else 3.0 if sizes[pool] == smallest else None
            asked = ASKED.get(pool.stem, asked)
            same = bench.same(their_files, our_files)
            row += [theirs.cpu, theirs.peak_mb, ratio, asked, same]
            fine = fine and ratio >= (asked or 0.0) and same == "yes"
        rows.append(row)
        print(" ".join(map(str, row)), file=sys.stderr, flush=True)
    head = ["pool", "rows", "ours, CPU s", "MB"]
    if bench.with_peer:
        head += ["peer, CPU s", "MB", "ratio", "asked", "same files"]
    return table(head, rows), fine


def growth(bench: Bench, source: Path, mode: str) -> tuple[str, bool]:
    """Return the table of growing pools, and whether twice the rows never cost 2.3 times as much.

    The ratios are those of an interval that doubles the rows, of the cost beyond starting up.
    """
    each = rows_of_copies(bench, source, mode)
    rows: list[list[object]] = []
    before: tuple[int, float] | None = None
    worst = 0.0
    for thousand in SIZES:
        copies = max(1, round(thousand * 1000 / each))
        pool = bench.replicated(source, copies, mode)
        cost, _ = bench.ours(pool, "--dry-run", runs=LEAST if thousand < 16 else bench.runs)
        n_rows = rows_of(pool)
        ratio = None
        if before is not None:
            ratio = (cost.cpu / before[1]) ** (1.0 / _doublings(before[0], n_rows))
            worst = max(worst, ratio)
        rows.append([f"{n_rows}", cost.cpu, cost.cpu / n_rows * 1e6, cost.peak_mb, ratio])
        before = (n_rows, cost.cpu)
        print(" ".join(map(str, rows[-1])), file=sys.stderr, flush=True)
    return table(["rows", "CPU s", "CPU µs a row", "MB", "for twice the rows"], rows), worst <= 2.3


def _doublings(few: int, many: int) -> float:
    from math import log2

    return log2(many / few)


def rows_of_copies(bench: Bench, source: Path, mode: str) -> int:
    """Return how many rows one more copy adds."""
    return rows_of(bench.replicated(source, 1, mode))


def million(bench: Bench, source: Path, mode: str, *words: str) -> str:
    """Return the table of one pool of a million rows."""
    each = rows_of_copies(bench, source, mode)
    pool = bench.replicated(source, -(-1_000_000 // each), mode)
    cost, _ = bench.ours(pool, *words)
    row: list[object] = [f"{rows_of(pool)}", cost.cpu, cost.wall, cost.peak_mb]
    return table(["rows", "CPU s", "wall s", "MB"], [row])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=Path, default=ROOT / ".peers" / "jwst", help="its environment")  # fmt: skip
    parser.add_argument("--no-peer", action="store_true", help="measure only Lightmill")
    parser.add_argument("--cases", type=Path, default=CASES, help="folder with the pools")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "benchmarks" / "associations")
    parser.add_argument("--lightmill", default=None, help="the command (default: this Python's)")
    parser.add_argument("--runs", type=int, default=3, help="of ours; the least counts")
    parser.add_argument("--pools", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--skip", nargs="+", metavar="NAME", default=[], help="not these")
    parser.add_argument("--growth", action="store_true", help="1,000 to 64,000 rows instead")
    parser.add_argument("--million", action="store_true", help="1,000,000 rows instead")
    parser.add_argument("--write", action="store_true", help="write the files of the million, too")
    parser.add_argument("--copies-of", default="mega_pool", metavar="NAME", help="made large")
    parser.add_argument("--mode", choices=("program", "obs", "dither"), default="program")
    options = parser.parse_args()
    bench = Bench(options)
    source = bench.cases / "pools" / f"{options.copies_of}.csv"
    fine = True
    if options.growth:
        text, fine = growth(bench, source, options.mode)
        print(text)
    if options.million:
        print(million(bench, source, options.mode, *(() if options.write else ("--dry-run",))))
    if not options.growth and not options.million:
        pools = [
            pool
            for pool in sorted((bench.cases / "pools").glob("*.csv"))
            if (not options.pools or pool.stem in options.pools)
            and pool.stem not in options.skip
            and (bench.cases / "expected" / pool.stem).is_dir()
        ]
        if not pools:
            raise SystemExit(f"no such pools in {bench.cases / 'pools'}")
        text, fine = beside_the_peer(bench, pools)
        print(text)
    return 0 if fine else 1
