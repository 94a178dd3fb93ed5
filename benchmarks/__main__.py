"""Run one benchmark by name: ``python -m benchmarks stage1 --help``."""

from __future__ import annotations

import importlib
import sys

NAMES = {
    "associations": "associations beside the peer's generator, and their growth to a million rows",
    "dashboard": "pages of the dashboard over 100,000 tasks, jobs and more datasets",
    "stage1": "whole process and each step, beside the peer: CPU, wall, memory, bytes moved",
    "agreement": "how nearly two sets of products are the same",
    "accuracy": "bias, pulls and cosmic rays against the simulated truth, beside the peer",
    "imaging": "count rates to a mosaic and a catalog, beside the peer: CPU, wall, memory",
    "imaging-truth": "mosaics and catalogs against the simulated sky, beside the peer's",
    "iris-live": "detectors watched at their own cadence: no read dropped, how soon frames are there",
    "operations": "exposures a second into an observatory, at 1,000 to 100,000 of them",
    "orders": "the night of a demonstration in random orders of arrival: the same products",
    "overhead": "what the framework costs: no-op steps, start-up",
    "iris": "a detector of the IRIS imager from its reads to a reduced frame",
    "iris-cube": "a frame of the IRIS spectrograph, at the size of the slicer, to a cube",
    "memory": "peak memory against the number of integrations, and a large exposure",
    "fuzz": "a thousand mangled files: no traceback, no hang, nothing left behind",
    "references": "rules beside the official client's: loading, memory, one selection, a million",
    "rules-fuzz": "ten thousand mangled rules: no crash, no hang, no answer from a wrong checksum",
    "refs-serve": "two hundred clients of one reference server: latencies, and no error",
    "soak": "memory of an observatory over an hour: the service and the dashboard",
    "wfpc2": "association maintenance of a whole archive: CPU, memory",
    "readout": "reads of a detector into frames: CPU, share of the memory's bandwidth, streaming",
    "resume": "kill the run at random moments; resumed products are bit-identical",
}


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        print("usage: python -m benchmarks NAME [options]\n")
        for name, what in NAMES.items():
            print(f"  {name:10s} {what}")
        return 0 if len(sys.argv) > 1 and sys.argv[1] in {"-h", "--help"} else 2
    name = sys.argv.pop(1)
    return importlib.import_module(f"benchmarks.{name.replace('-', '_')}").main() or 0


if __name__ == "__main__":
    sys.exit(main())
