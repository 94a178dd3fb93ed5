"""Against the truth: bias, pulls, and cosmic rays found at equal false-alarm rate.

    python -m benchmarks accuracy                     three instruments, 256 x 256, both pipelines' defaults
    python -m benchmarks accuracy --size full

Residual = rate - true rate; pull = residual / ERR. A hit is complete when its group is flagged in
the difference it fell into; a false alarm is a flagged difference with no hit within two pixels.
The jump thresholds of both are scanned (neighbour flagging off) and the completeness is compared
at the false-alarm rate the peer has at its default.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.io import fits

from benchmarks import cases
from benchmarks.measure import table

DO_NOT_USE, SATURATED, JUMP_DET = 1, 2, 4
REFERENCE, DEAD, HOT, BAD_GAIN, CORE, SNOWBALL = 1, 2, 4, 32, 64, 128  # CLASS bits of truth.fits
BINS = ((3, 4), (4, 5), (5, 6), (6, 8), (8, 12), (12, np.inf))  # S/N of the hit in one difference
THRESHOLDS = (3.0, 3.5, 4.0, 4.5, 5.0, 6.0)


class Truth:
    """What the simulator knows of one exposure."""

    def __init__(self, case: Path) -> None:
        with fits.open(case / "truth.fits") as file:
            self.rate = file["RATE"].data.astype("f8")  # DN/s
            self.dark = file["DARK"].data.astype("f8")
            self.gain = file["GAIN"].data.astype("f8")  # e/DN
            self.noise = file["CDS"].data.astype("f8")  # DN, of a difference of two reads
            self.kind = file["CLASS"].data
            self.hits = np.array(file["JUMPS"].data)
            self.group_time = file[0].header["TGROUP"]  # s

    def significance(self, hits: np.ndarray) -> np.ndarray:
        """Return charge over the noise of one difference (photons and reads)."""
        y, x = hits["y"], hits["x"]
        photons = (self.rate + self.dark)[y, x] * self.gain[y, x] * self.group_time
        return hits["charge_e"] / np.sqrt(photons + (self.noise * self.gain)[y, x] ** 2)


def pulls(truth: Truth, rate_file: Path) -> list[list[object]]:
    """Return rows: class of pixels, count, median residual, mean and width of the pulls, chi²."""
    with fits.open(rate_file) as file:
        rate, error, dq = (file[n].data for n in ("SCI", "ERR", "DQ"))
    usable = ((dq & DO_NOT_USE) == 0) & np.isfinite(rate) & (error > 0)
    hit, full, kind = (dq & JUMP_DET) != 0, (dq & SATURATED) != 0, truth.kind
    groups = {
        "clean sky": (kind == 0) & ~hit & ~full,
        "sky with a hit": (kind == 0) & hit & ~full,
        "bright": (kind == CORE) & ~full & ~hit,
        "partly saturated": ((kind & ~np.uint8(CORE)) == 0) & full,
        "hot": (kind & HOT) != 0,
        "all": (kind & (REFERENCE | DEAD | BAD_GAIN)) == 0,
    }
    rows: list[list[object]] = []
    for name, chosen in groups.items():
        chosen = chosen & usable
        if chosen.sum() < 20:
            continue
        residual = (rate - truth.rate)[chosen].astype("f8")
        pull = residual / error[chosen]
        core = pull[np.abs(pull - np.median(pull)) < 5]
        rows.append(
            [
                name,
                int(chosen.sum()),
                f"{np.median(residual):+.4f}",
                f"{core.mean():+.3f}",
                f"{core.std():.3f}",
                f"{(core**2).mean():.3f}",
                f"{np.median(error[chosen]):.4f}",
            ]
        )
    return rows


def jumps(truth: Truth, ramp_file: Path) -> tuple[list[float], float]:
    """Return completeness in each S/N bin, and false alarms per usable difference."""
    with fits.open(ramp_file) as file:
        flags = file["GROUPDQ"].data
    usable = (flags & (DO_NOT_USE | SATURATED)) == 0
    usable[:, 1:] &= usable[:, :-1].copy()
    usable[:, 0] = False
    good_pixel = (truth.kind & (REFERENCE | DEAD | BAD_GAIN | SNOWBALL)) == 0
    hits = truth.hits[(truth.hits["kind"] == 0) & (truth.hits["group"] > 0)]
    where = (hits["integ"], hits["group"], hits["y"], hits["x"])
    hits_usable = usable[where] & good_pixel[hits["y"], hits["x"]]
    found = (flags[where] & JUMP_DET) != 0
    significance = truth.significance(hits)
    completeness = []
    for low, high in BINS:
        chosen = hits_usable & (significance >= low) & (significance < high)
        completeness.append(float(found[chosen].mean()) if chosen.any() else float("nan"))
    touched = np.zeros(flags.shape, bool)
    for hit in truth.hits:
        i, g, y, x = (int(hit[k]) for k in ("integ", "group", "y", "x"))
        touched[i, g : g + 2, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = True
    quiet = usable & ~touched & good_pixel
    false = ((flags & JUMP_DET) != 0) & quiet
    return completeness, float(false.sum() / max(1, quiet.sum()))


def at_false_alarm(curve: list[tuple[float, list[float]]], rate: float) -> list[float]:
    """Interpolate completeness, in the logarithm of the false-alarm rate, to `rate`."""
    points = sorted((max(r, 1e-7), c) for r, c in curve)
    x = np.log([p[0] for p in points])
    return [
        float(np.interp(np.log(max(rate, 1e-7)), x, [p[1][k] for p in points]))
        for k in range(len(BINS))
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cases.add_arguments(parser)
    parser.add_argument("--instrument", nargs="*", default=["niriss", "nircam", "miri"])
    parser.add_argument("--size", default="256")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--ngroups", type=int, default=8)
    parser.add_argument(
        "--weak", type=float, default=0.5, help="fraction of hits redrawn near the noise"
    )
    parser.add_argument("--cr-rate", type=float, default=4e-3, help="hits per pixel and group")
    parser.add_argument("--no-scan", action="store_true", help="leave out the scan of thresholds")
    options = parser.parse_args()
    bench = cases.Bench(options)
    for instrument in options.instrument:
        shape = ["--inst", instrument, "--size", options.size, "--ngroups", str(options.ngroups)]
        print(f"\n## {instrument}, {options.size}, {options.ngroups} groups\n", flush=True)
        name = f"{instrument}-{options.size}-1x{options.ngroups}-s{options.seeds[0]}"
        case = bench.case(name, *shape, "--seed", str(options.seeds[0]))
        rows = []
        for who, run in runners(bench):
            run(case, f"{who}-default")
            product = cases.product(case / f"{who}-default", "rate")
            rows += [[who, *row] for row in pulls(Truth(case), product)]
        rows.sort(key=lambda row: str(row[1]))
        head = [
            "",
            "pixels",
            "n",
            "median residual DN/s",
            "<pull>",
            "σ(pull)",
            "chi²",
            "median ERR",
        ]
        print(table(head, rows), flush=True)
        if not options.no_scan:
            hits = [
                "--weak",
                str(options.weak),
                "--cr-rate",
                str(options.cr_rate),
                "--snowballs",
                "0",
            ]
            name = f"hits-{instrument}-{options.size}-1x{options.ngroups}"
            scan(
                bench,
                [
                    bench.case(f"{name}-s{seed}", *shape, *hits, "--seed", str(seed))
                    for seed in options.seeds
                ],
            )
    return 0


def runners(bench: cases.Bench) -> list[tuple[str, object]]:
    """Return (name, function(case, output name)) of each pipeline at hand."""
    found = [("lightmill", lambda c, n: bench.run_ours(c, n, "--save-calibrated-ramp=true"))]
    if bench.peer is not None:
        found.append(("peer", lambda c, n: bench.run_peer(c, n, "--save-ramp")))
    return found


def scan(bench: cases.Bench, cubes: list[Path]) -> None:
    """Print completeness at equal false-alarm rate for both pipelines."""
    curves: dict[str, list[tuple[float, list[float]]]] = {}
    for who, run in runners(bench):
        for threshold in THRESHOLDS:
            results = []
            for cube in cubes:
                limits = dict.fromkeys(("rejection_threshold",), threshold) | {
                    "four_group_rejection_threshold": threshold + 1,
                    "three_group_rejection_threshold": threshold + 2,
                    "flag_4_neighbors": False,
                }
                variant = bench.variant(cube, f"t{threshold:g}", jump=limits)
                run(variant, who)
                results.append(jumps(Truth(variant), cases.product(variant / who, "ramp")))
            completeness = list(np.nanmean([r[0] for r in results], axis=0))
            curves.setdefault(who, []).append(
                (float(np.mean([r[1] for r in results])), completeness)
            )
    head = ["", "threshold", "false alarms / difference", *(f"{a:g}-{b:g}σ" for a, b in BINS)]
    rows = [
        [w, t, r, *c]
        for w, curve in curves.items()
        for t, (r, c) in zip(THRESHOLDS, curve, strict=True)
    ]
    print("\n" + table(head, rows))
    reference = curves.get("peer", curves["lightmill"])[THRESHOLDS.index(4.0)][0]
    rows = [[w, reference, *at_false_alarm(curve, reference)] for w, curve in curves.items()]
    print("\nAt equal false-alarm rate:\n\n" + table(["", "false alarms", *head[3:]], rows))
