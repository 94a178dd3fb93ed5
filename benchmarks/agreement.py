"""How nearly two sets of count-rate products are the same.

    python -m benchmarks agreement OURS_DIR THEIRS_DIR
    python -m benchmarks agreement --cases FOLDER      every case in it that the peer has calibrated

For `_rate` and `_rateints`: the fraction of pixels whose rate agrees within 1e-3 of the pixel's
error, whose DQ is identical, and whose ERR and VAR_* agree within 1e-4 relative. With `_ramp` in
both folders: group DQ and the corrected signal.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from astropy.io import fits

from benchmarks import cases
from benchmarks.measure import table

RATE, ERROR = 1e-3, 1e-4  # of the pixel's ERR; relative


def same(a: np.ndarray, b: np.ndarray, tolerance: np.ndarray | float) -> np.ndarray:
    """Return where `a` and `b` agree: both not a number, or nearer than `tolerance`."""
    return (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= tolerance)


def compare(ours: Path, theirs: Path) -> list[list[object]]:
    """Return one row per array: name, fraction that agrees, pixels that do not, largest difference."""
    rows = []
    with (
        fits.open(ours) as a,
        fits.open(theirs) as b,
        np.errstate(invalid="ignore", divide="ignore"),
    ):
        error = b["ERR"].data.astype("f8")
        for name in ("SCI", "DQ", "ERR", "VAR_POISSON", "VAR_RNOISE"):
            x, y = a[name].data, b[name].data
            if x.shape != y.shape:
                rows.append([name, 0.0, x.size, f"shapes {x.shape}, {y.shape}"])
                continue
            if name == "DQ":
                ok = x == y
                bits = sorted({int(v) for v in np.unique(x[~ok] ^ y[~ok])})[:8]
                rows.append([name, float(ok.mean()), int((~ok).sum()), f"bits {bits}"])
                continue
            x, y = x.astype("f8"), y.astype("f8")
            limit = RATE * error if name == "SCI" else ERROR * np.abs(y)
            ok = same(x, y, limit)
            size = np.abs(x - y) / (error if name == "SCI" else np.abs(y))
            worst = float(np.nanmax(np.where(np.isfinite(size), size, 0)))
            rows.append(
                [
                    name,
                    float(ok.mean()),
                    int((~ok).sum()),
                    f"worst {worst:.2g}{' ERR' if name == 'SCI' else ''}",
                ]
            )
    return rows


def compare_ramps(ours: Path, theirs: Path) -> list[list[object]]:
    """Return rows for the corrected ramp and its flags."""
    rows = []
    with fits.open(ours) as a, fits.open(theirs) as b:
        for name in ("SCI", "GROUPDQ", "PIXELDQ"):
            x, y = a[name].data, b[name].data
            if name == "SCI":
                with np.errstate(invalid="ignore"):
                    ok = same(
                        x.astype("f8"), y.astype("f8"), 0.02
                    )  # DN: float32 rounding of 65 000 DN is 0.004
                    worst = f"worst {float(np.nanmax(np.abs(x.astype('f8') - y))):.2g} DN"
            else:
                ok = x == y
                worst = f"bits {sorted({int(v) for v in np.unique(x[~ok] ^ y[~ok])})[:8]}"
            rows.append([name, float(ok.mean()), int((~ok).sum()), worst])
    return rows


def show(ours: Path, theirs: Path) -> bool:
    """Print the tables for two folders; return whether every fraction reaches 0.9999."""
    good = True
    for suffix, function in (("rate", compare), ("rateints", compare), ("ramp", compare_ramps)):
        pair = [next(iter(sorted(d.glob(f"*_{suffix}.fits"))), None) for d in (ours, theirs)]
        if None in pair:
            continue
        rows = function(*pair)
        good &= suffix == "ramp" or all(row[1] >= 0.9999 for row in rows)
        print(f"\n_{suffix}: {pair[0]} | {pair[1]}\n")
        print(
            table(
                ["array", "agree", "pixels that differ", ""],
                [[r[0], f"{r[1]:.6f}", *r[2:]] for r in rows],
            )
        )
    return good


COMPATIBLE = ("--profile", "jwst-3.0")


def options_like(peer: dict) -> list[str]:
    """Return our options for what the peer was asked (its report's ``args``)."""
    asked = {
        "snowballs": "--steps.jump.expand_large_events=true",
        "showers": "--steps.jump.find_showers=true",
        "charge_migration": "--steps.charge_migration.skip=false",
        "save_ramp": "--save_calibrated_ramp=true",
    }
    chosen = [option for name, option in asked.items() if peer.get(name)]
    return [*COMPATIBLE, *chosen, f"--steps.ramp_fit.algorithm={peer.get('alg', 'OLS_C')}"]


def sweep(bench: cases.Bench, folder: Path, pattern: str) -> bool:
    """Calibrate every case as the peer did, compare, and print one line for each product."""
    rows, good = [], True
    for report in sorted(folder.glob(f"{pattern}/peer*.json")):
        case, name = report.parent, report.stem
        ours = name.replace("peer", "ours")
        try:
            bench.run_ours(case, ours, *options_like(json.loads(report.read_text())["args"]))
        except SystemExit as failure:
            good = False
            rows.append([f"{case.name} {name}", "FAILED", str(failure).splitlines()[-1]])
            print(" | ".join(rows[-1]), flush=True)
            continue
        for suffix, function in (("rate", compare), ("rateints", compare), ("ramp", compare_ramps)):
            if not list((case / name).glob(f"*_{suffix}.fits")):
                continue
            found = function(cases.product(case / ours, suffix), cases.product(case / name, suffix))
            worst = min(found, key=lambda row: row[1])
            good &= suffix == "ramp" or worst[1] >= 0.9999
            agree = " ".join(f"{row[0]} {row[1]:.6f}" for row in found)
            rows.append(
                [
                    f"{case.name} {name} {suffix}",
                    agree,
                    f"{worst[0]}: {worst[2]} pixels, {worst[3]}",
                ]
            )
            print(" | ".join(rows[-1]), flush=True)
    print("\n" + table(["case", "fraction that agrees", "worst"], rows))
    return good


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cases.add_arguments(parser)
    parser.add_argument("ours", type=Path, nargs="?")
    parser.add_argument("theirs", type=Path, nargs="?")
    parser.add_argument(
        "--cases", type=Path, help="calibrate and compare every case in this folder"
    )
    parser.add_argument("--only", default="*", help="pattern of case names")
    options = parser.parse_args()
    if options.cases:
        options.no_peer = True
        return 0 if sweep(cases.Bench(options), options.cases.resolve(), options.only) else 1
    if options.theirs is None:
        parser.error("give two folders, or --cases FOLDER")
    return 0 if show(options.ours, options.theirs) else 1
