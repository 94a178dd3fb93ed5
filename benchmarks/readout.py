"""Reads into frames: CPU beside the published library's, share of the memory's bandwidth, streaming.

    python -m benchmarks readout [--side 4096] [--reads 10] [--repeats 7]

One thread; int32 in. The published library is not run here: its CPU seconds are those recorded of it
on a machine of this kind (4096 x 4096 x 10; ../shared/specs/iris.md, section 4), and scale with the
number of pixels. "of copy" is the share of the bandwidth of a copy in memory (numpy, both ways, per CPU second) measured beside it;
"of bare" the stricter one: the time that the same bytes take with nothing computed, read in four
streams and written past the cache, over the time taken. The least of the repeats counts. Exit status
1 if less is reached than asked: 3 and 30 times less CPU, 60 % of bare, a read added in 40 ms.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import table
from lightmill.kernels import readout

PUBLISHED = {"utr": 0.52, "mcds": 0.10, "linearity": 39.0}  # CPU s


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks readout", description=__doc__)
    parser.add_argument("--side", type=int, default=4096, help="rows and columns")
    parser.add_argument("--reads", type=int, default=10, help="reads of the ramp")
    parser.add_argument("--repeats", type=int, default=7, help="runs of each; the least counts")
    parser.add_argument("--odd", type=float, default=0.0, help="fraction of pixels that saturate")
    given = parser.parse_args()
    bench = Bench(given.side, given.reads, given.repeats, given.odd)
    rows = bench.whole_ramps()
    head = ["one thread", "CPU s", "published", "ratio", "GB", "GB/s", "of copy", "of bare"]
    print(table(head, [row[:-1] for row in rows]))
    streaming, slowest = bench.streaming()
    print()
    print(table(["streaming, one thread", "CPU ms"], streaming))
    print(f"\ncopy in memory, both ways: {bench.copy / 1e9:.1f} GB/s")
    missed = [row[0] for row in rows if not row[-1]]
    if slowest >= 0.040 * bench.scale:
        missed.append("streaming")
    print(f"\nless than asked: {', '.join(missed)}" if missed else "\nall that is asked is reached")
    return int(bool(missed))


class Bench:
    """A ramp, and how long things take on it."""

    def __init__(self, side: int, nreads: int, repeats: int, odd: float) -> None:
        rng = np.random.default_rng(1)
        self.side, self.nreads, self.repeats = side, nreads, repeats
        self.times = np.arange(float(nreads))
        start = rng.integers(0, 2000, (side, side), dtype=np.int32)
        rate = rng.integers(1000, 1100, (side, side), dtype=np.int32)
        rate[rng.random((side, side)) < odd] = 60000 // max(nreads - 2, 1)
        self.reads = np.empty((nreads, side, side), np.int32)
        for k in range(nreads):
            np.minimum(start + k * rate, 65535, out=self.reads[k])
        self.plane = 4 * side * side  # byte
        self.limit = np.full((side, side), 55000, np.float32)
        self.frame = readout.empty_frame(side, side)
        for array in self.frame:
            array.fill(0)
        self.scale = side * side * nreads / (4096 * 4096 * 10)
        self.copy = self.copy_bandwidth()
        self._read, self._write = traffic()
        self._probe = np.zeros((side, side), np.uint32)

    def least(self, run, repeats=None) -> float:
        times = []
        for _ in range(repeats or self.repeats):
            began = time.process_time()
            run()
            times.append(time.process_time() - began)
        return min(times)

    def copy_bandwidth(self) -> float:
        """Bytes a CPU second of a copy between planes, both ways; wall time counts other people's work."""
        target = np.zeros_like(self.reads[: self.nreads // 2])
        source = self.reads[-len(target) :]
        return 2 * target.nbytes / self.least(lambda: np.copyto(target, source))

    def bare(self, nread: int, nwritten: int) -> None:
        """Do the same traffic with nothing computed."""
        words = self.plane // 8
        for first in range(0, nread, self.nreads):
            self._read(self.reads.ctypes.data, min(nread - first, self.nreads) * words)
        for _ in range(nwritten):
            self._write(self._probe.ctypes.data, words)

    def in_turn(self, run, nread: int, nwritten: int, repeats: int) -> tuple[float, float]:
        """Least CPU seconds of a run and of its traffic alone, measured in turn: others' load meets both."""
        pairs = [
            (self.least(run, 1), self.least(lambda: self.bare(nread, nwritten), 1))
            for _ in range(repeats)
        ]
        ours, bare = (min(times) for times in zip(*pairs, strict=True))
        return ours, bare

    def row(
        self, name, run, nread, nwritten, *, published=None, least=None, share=0.0, repeats=None
    ):
        cpu, floor = self.in_turn(run, nread, nwritten, repeats or self.repeats)
        size = (nread + nwritten) * self.plane
        theirs, of_copy = published and published * self.scale, size / cpu / self.copy
        well = floor / cpu >= share and (least is None or theirs / cpu >= least)
        ratio = theirs and theirs / cpu
        rates = [size / 1e9, size / cpu / 1e9, f"{of_copy:.0%}", f"{floor / cpu:.0%}"]
        return [name, cpu, theirs, ratio, *rates, well]

    def whole_ramps(self):
        sample, n = readout.sample_ramps, self.nreads
        full = {"saturation": self.limit, "readnoise": 9.0, "gain": 2.0, "out": self.frame}
        coeffs = np.zeros((5, self.side, self.side), np.float32)
        coeffs[1] = 1e-6
        return [
            self.row(
                "up the ramp: variances, DQ, saturation",
                lambda: sample(self.reads, self.times, **full),
                n + 1, 4, published=PUBLISHED["utr"], least=3, share=0.6,
            ),
            self.row(
                "MCDS of 2: variances, DQ, saturation",
                lambda: sample(self.reads, self.times, sampling="mcds", nfowler=2, **full),
                5, 4, published=PUBLISHED["mcds"], least=1,
            ),
            self.row(
                "CDS: variances, DQ, saturation",
                lambda: sample(self.reads, self.times, sampling="cds", **full),
                3, 4,
            ),
            self.row(
                "linearity alone, into float32",
                lambda: readout.linearize(self.reads, coeffs, form="gain"),
                n + 5, n, published=PUBLISHED["linearity"], least=30, repeats=3,
            ),
            self.row(
                "linearity and up the ramp in one pass",
                lambda: sample(self.reads, self.times, coeffs=coeffs, form="gain", **full),
                n + 6, 4, published=PUBLISHED["linearity"] + PUBLISHED["utr"], least=30, repeats=3,
            ),
        ]  # fmt: skip

    def streaming(self):
        shape, adds, looks, both, finishes = (self.side, self.side), [], [], [], []
        seen = readout.Glimpse(self.frame.signal, self.frame.dq)
        with readout.Readout(
            shape, "int32", saturation=self.limit, readnoise=9.0, gain=2.0
        ) as stream:
            for _ in range(3):
                for k, read in enumerate(self.reads):
                    adds.append([k, self.least(lambda k=k, read=read: stream.add(read, k), 1)])
                looks.append(self.least(lambda: stream.look(self.frame), 1))
                last = lambda: stream.add(self.reads[-1], self.nreads, look=seen)  # noqa: E731
                both.append(self.least(last, 1))
                finishes.append(self.least(lambda: stream.finish(self.frame), 1))
            memory = stream.nbytes
        each = [min(t for k, t in adds if k == read) for read in range(self.nreads)]
        rows = [
            ["a read added, median of the reads", 1e3 * float(np.median(each))],
            ["a read added, slowest of the reads", 1e3 * max(each)],
            ["a quick look with variances", 1e3 * min(looks)],
            ["a read added and looked at: signal and DQ", 1e3 * min(both)],
            ["the frame after the last read, and ready for the next", 1e3 * min(finishes)],
            ["memory of the readout, MB", memory / 1e6],
        ]
        return rows, max(each)


def traffic():
    """Compile the probe; returns its two functions."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "traffic.so"
        source = Path(__file__).with_name("_traffic.c")
        subprocess.run(["cc", "-O3", "-shared", "-fPIC", source, "-o", library], check=True)
        loaded = ctypes.CDLL(str(library))
    loaded.read_planes.restype = ctypes.c_uint64
    for function in (loaded.read_planes, loaded.write_planes):
        function.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return loaded.read_planes, loaded.write_planes
