"""Mangle a raw file a thousand ways: each is calibrated, or refused with one clear error.

    python -m benchmarks fuzz --count 1000

Bytes are changed, inserted, removed, moved or cut off, in headers more often than in data. The
table says how the runs ended; anything but a product or an error of the data (exit status 3), the
references (4) or the configuration (5) is a defect, and so is a run of more than `--limit` seconds
or a file left in the output folder by a run that failed.
"""

from __future__ import annotations

import argparse
import collections
import random
import shutil
import signal
import tempfile
import time
import traceback
from pathlib import Path

from benchmarks.measure import table

NAMES = ("mask", "saturation", "superbias", "linearity", "dark", "gain", "readnoise")


def mangled(content: bytes, dice: random.Random) -> bytes:
    """Change a file as disks, networks and editors do."""
    changed = bytearray(content)
    for _ in range(dice.choice([1, 1, 3, 20])):
        start = dice.randrange(max(len(changed), 1))
        if dice.random() < 0.5:
            start %= 2880 * 4  # the headers are where it hurts
        length = dice.choice([1, 1, 8, 80, 2880])
        kind = dice.randrange(6)
        if kind == 0:
            changed[start : start + length] = dice.randbytes(length)
        elif kind == 1:
            del changed[start : start + length]
        elif kind == 2:
            changed[start:start] = dice.randbytes(length)
        elif kind == 3 and dice.random() < 0.3:
            del changed[start:]
        elif kind == 4:  # a digit of a header becomes another
            digits = [
                i for i in range(start, min(start + 2880, len(changed))) if 48 <= changed[i] < 58
            ]
            if digits:
                changed[dice.choice(digits)] = dice.choice(b"0123456789-.E")
        else:
            other = dice.randrange(max(len(changed), 1))
            changed[start : start + length] = changed[other : other + length]
    return bytes(changed)


class Late(Exception):  # noqa: N818
    """A run that took too long."""


def ring(*_):
    raise Late


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--limit", type=int, default=10, help="seconds for one run")
    parser.add_argument("--case", type=Path, help="mangle this raw file's like instead")
    options = parser.parse_args()
    from lightmill import app
    from lightmill.errors import LightmillError
    from lightmill.testing import write_exposure

    folder = Path(tempfile.mkdtemp(prefix="lightmill-fuzz-"))
    exposure = write_exposure(folder / "night", rate=5.0, shape=(32, 32), seed=1)
    overrides = {name: exposure.overrides[name] for name in NAMES}
    content = exposure.path.read_bytes()
    if options.case:
        content = options.case.read_bytes()
    ends: collections.Counter[str] = collections.Counter()
    defects: list[str] = []
    signal.signal(signal.SIGALRM, ring)
    began = time.perf_counter()
    for seed in range(options.first, options.first + options.count):
        path, out = folder / "mangled_uncal.fits", folder / "out"
        path.write_bytes(mangled(content, random.Random(seed)))
        signal.alarm(options.limit)
        try:
            app.run("lantern_ramps", [path], overrides=overrides, output_dir=out)
            ends["product"] += 1
        except Late:
            ends["no end"] += 1
            defects.append(f"{seed}: no end in {options.limit} s")
        except LightmillError as error:
            ends[f"refused, exit status {error.exit_status}: {error.code}"] += 1
            if error.exit_status not in {3, 4, 5} or not error.place:
                defects.append(f"{seed}: {error.story()}")
            if out.exists() and any(out.iterdir()):
                defects.append(f"{seed}: left behind {[p.name for p in out.iterdir()]}")
        except BaseException as error:  # noqa: BLE001
            ends[f"traceback: {type(error).__name__}"] += 1
            defects.append(f"{seed}: {traceback.format_exc(limit=-3)}")
        finally:
            signal.alarm(0)
        shutil.rmtree(out, ignore_errors=True)
    print(table(["end", "runs"], [[name, count] for name, count in ends.most_common()]))
    print(f"{options.count} files in {time.perf_counter() - began:.1f} s, {len(defects)} defects")
    for defect in defects[:20]:
        print(f"  {defect}")
    shutil.rmtree(folder, ignore_errors=True)
    return 1 if defects else 0
