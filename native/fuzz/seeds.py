"""Write small files of each kind that lm-readout reads, for the fuzzer to begin with.

    python3 native/fuzz/seeds.py FOLDER [FITS FILE...]

The two bytes before each file choose options (see fuzz_readout.c).
"""

import struct
import sys
from pathlib import Path

BLOCK = 2880


def header(*cards: str) -> bytes:
    """Return cards as a FITS header."""
    text = "".join(card.ljust(80) for card in (*cards, "END"))
    return text.ljust(-len(text) % BLOCK + len(text)).encode()


def image(first: str, bitpix: int, axes: tuple[int, ...], values: bytes, *more: str) -> bytes:
    """Return an HDU."""
    cards = [first, f"BITPIX  = {bitpix:20d}", f"NAXIS   = {len(axes):20d}"]
    cards += [f"NAXIS{k}  = {n:20d}" for k, n in enumerate(axes, 1)]
    return header(*cards, *more) + values + bytes(-len(values) % BLOCK)


def files() -> dict[str, bytes]:
    """Return each kind by name."""
    primary, extension = "SIMPLE  =                    T", "XTENSION= 'IMAGE   '"
    counts = [100 + 7 * k for k in range(3 * 2 * 4)]
    empty = image(primary, 8, (), b"", "TGROUP  =                  1.5")
    named = ("PCOUNT  =                    0", "GCOUNT  =                    1")
    reads = image(
        extension, -32, (3, 2, 4, 1), struct.pack(">24f", *counts), *named, "EXTNAME = 'SCI'"
    )
    flags = image(
        extension, 8, (3, 2, 4, 1), bytes([0, 4, 1, 2] * 6), *named, "EXTNAME = 'GROUPDQ'"
    )
    pixels = image(
        extension, 32, (3, 2), bytes([128, 0, 0, 0] * 6), *named,
        "BZERO   =           2147483648", "EXTNAME = 'PIXELDQ'",
    )  # fmt: skip
    short = image(
        primary, 16, (3, 2, 4), struct.pack(">24h", *counts), "BZERO   =                32768"
    )
    return {
        "int32": image(primary, 32, (3, 2, 4), struct.pack(">24i", *counts)),
        "uint16": short,
        "scaled": short.replace(b"32768", b"  2.5", 1),
        "byte": image(primary, 8, (3, 2, 2, 2), bytes(range(24)), "BLANK   =                    3"),
        "flagged": empty + reads + pixels + flags,
        "square": image(primary, -32, (2, 2, 5), struct.pack(">20f", *range(20))),
    }


def main() -> int:
    """Write them."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    kinds = files() | {Path(path).stem: Path(path).read_bytes() for path in sys.argv[2:]}
    for name, content in kinds.items():
        for options in (b"\0\0", b"\6\1", b"\x18\x08", b"\x21\x02", b"\x48\x08"):
            (folder / f"{name}-{options.hex()}").write_bytes(options + content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
