"""Peak memory against the number of integrations, and a large exposure.

python -m benchmarks memory                 2 and 20 integrations, full frame
python -m benchmarks memory --large 2.6     an exposure of 2.6 GB, of many integrations
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from benchmarks import cases
from benchmarks.measure import table


def repeat_integrations(case: Path, n_ints: int, folder: Path, n_groups: int | None = None) -> Path:
    """Write the first integration of a case `n_ints` times into a new case, plane by plane."""
    from astropy.io import fits

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "uncal.fits"
    steps = (case / "overrides.json").read_text()
    (folder / "overrides.json").write_text(steps)
    if target.exists():
        return folder
    with fits.open(case / "uncal.fits", do_not_scale_image_data=True) as file:
        primary, science = file[0].copy(), file["SCI"]
        first = science.data[0]
        n_groups = n_groups or first.shape[0]
        first = np.resize(first, (n_groups, *first.shape[1:]))  # more groups: begin again
        header = science.header.copy()
    primary.header["NINTS"], primary.header["NGROUPS"] = n_ints, n_groups
    primary.header["INTEND"] = n_ints
    header["NAXIS4"], header["NAXIS3"] = n_ints, n_groups
    primary.writeto(target, overwrite=True)
    with target.open("ab") as out:
        out.write(header.tostring().encode("ascii"))
        size = 0
        for _ in range(n_ints):
            size += out.write(first.astype(">i2").tobytes())
        out.write(b"\0" * (-size % 2880))
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cases.add_arguments(parser)
    parser.add_argument("--instrument", default="niriss")
    parser.add_argument("--ints", type=int, nargs="*", default=[2, 20])
    parser.add_argument(
        "--large", type=float, metavar="GB", help="also an exposure of this many gigabytes"
    )
    options = parser.parse_args()
    bench = cases.Bench(options)
    one = bench.case(
        f"{options.instrument}-full-1x8-s1",
        "--inst",
        options.instrument,
        "--size",
        "full",
        "--seed",
        "1",
    )
    rows: list[list[object]] = []
    for n_ints in options.ints:
        case = repeat_integrations(
            one, n_ints, bench.work / f"{options.instrument}-full-{n_ints}x8"
        )
        cost, _ = bench.run_ours(case)
        size = (case / "uncal.fits").stat().st_size / 1e6
        rows.append([f"{n_ints} integrations", size, cost.peak_mb, cost.cpu, cost.wall])
        print(table(["", "raw MB", "peak MiB", "CPU s", "wall s"], rows), flush=True)
    if len(rows) > 1:
        print(f"\npeak of {rows[-1][0]} / {rows[0][0]}: {rows[-1][2] / rows[0][2]:.3f}")
    if options.large:
        out = bench.work / f"large-{options.large:g}"
        case = simulate_large(bench, options.large, out)
        cost, _ = bench.run_ours(case)
        size = (case / "uncal.fits").stat().st_size / 1e6
        print(
            "\n"
            + table(
                ["", "raw MB", "peak MiB", "CPU s", "wall s"],
                [["large", size, cost.peak_mb, cost.cpu, cost.wall]],
            )
        )
    return 0


def simulate_large(bench: cases.Bench, gigabytes: float, folder: Path) -> Path:
    """Return a case of a mid-infrared exposure of this size, (integrations repeated)."""
    if not (folder / "overrides.json").exists():
        one = bench.case("miri-full-1x8-s1", "--inst", "miri", "--size", "full", "--seed", "1")
        n_groups = 40
        n_ints = max(1, round(gigabytes * 1e9 / (2 * 1024 * 1032 * n_groups)))
        repeat_integrations(one, n_ints, folder, n_groups=n_groups)
        steps = json.loads((folder / "overrides.json").read_text())
        (folder / "overrides.json").write_text(json.dumps(steps, indent=1))
    return folder


if __name__ == "__main__":
    sys.exit(main())
