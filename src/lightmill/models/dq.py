"""Data-quality flags: one table of bits, and the translation of other tables into it.

The bits are those of the JWST pipeline's 32-bit pixel flags, which the field's
files carry; the low eight are also the flags of single groups.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from lightmill.errors import DataError, UnknownNameError

__all__ = ["GROUP", "MEANING", "PIXEL", "counts", "describe", "mask_of", "names", "translator"]

_TABLE = (
    ("DO_NOT_USE", "bad for every purpose"),
    ("SATURATED", "at or above the saturation limit during the exposure"),
    ("JUMP_DET", "a cosmic ray or another jump was found"),
    ("DROPOUT", "the data were lost on the way"),
    ("OUTLIER", "differs from other exposures of the same sky"),
    ("PERSISTENCE", "holds signal of an earlier exposure"),
    ("AD_FLOOR", "at or below the lowest count of the converter"),
    ("CHARGELOSS", "charge has moved to the neighbours"),
    ("RESERVED", "not used (earlier: the error is unreliable)"),
    ("NON_SCIENCE", "not on the science part of the detector"),
    ("DEAD", "does not respond to light"),
    ("HOT", "dark signal far too high"),
    ("WARM", "dark signal too high"),
    ("LOW_QE", "responds too weakly to light"),
    ("RC", "shows a resistor-capacitor decay"),
    ("TELEGRAPH", "jumps between a few levels"),
    ("NONLINEAR", "strongly non-linear"),
    ("BAD_REF_PIXEL", "a reference pixel that cannot be used"),
    ("NO_FLAT_FIELD", "no flat-field value"),
    ("NO_GAIN_VALUE", "no gain value"),
    ("NO_LIN_CORR", "no linearity coefficients"),
    ("NO_SAT_CHECK", "no saturation limit"),
    ("UNRELIABLE_BIAS", "the bias varies too much"),
    ("UNRELIABLE_DARK", "the dark signal varies too much"),
    ("UNRELIABLE_SLOPE", "the slope varies too much"),
    ("UNRELIABLE_FLAT", "the flat field varies too much"),
    ("OPEN", "an open pixel: its charge goes to the neighbours"),
    ("ADJ_OPEN", "next to an open pixel"),
    ("FLUX_ESTIMATED", "the flux rests on groups that are normally left out"),
    ("MSA_FAILED_OPEN", "lit through a shutter that stays open"),
    ("OTHER_BAD_PIXEL", "bad for a reason that has no flag of its own"),
    ("REFERENCE_PIXEL", "a reference pixel: sees no light by design"),
)

PIXEL: dict[str, int] = {"GOOD": 0, **{name: 1 << bit for bit, (name, _) in enumerate(_TABLE)}}
"""Name of every flag of a pixel and its value."""

GROUP: dict[str, int] = {name: value for name, value in PIXEL.items() if value < 256}
"""The flags one group of a ramp may have: the low eight bits of `PIXEL`."""

MEANING: dict[str, str] = {"GOOD": "nothing is known against it", **dict(_TABLE)}
"""What each flag says, in words."""

# Names older reference files use for bits that have another name today.
_FORMER = {
    "UNRELIABLE_ERROR": "RESERVED",
    "UNRELIABLE_RESET": "FLUX_ESTIMATED",
    "REF_PIXEL": "REFERENCE_PIXEL",
    "BADPIX": "OTHER_BAD_PIXEL",
    "NOISY": "OTHER_BAD_PIXEL",
}


def names(value: int) -> list[str]:
    """Return the names of the flags set in one value, lowest bit first.

    Parameters
    ----------
    value : int
        A pixel's or a group's data-quality value.

    Returns
    -------
    list of str
        Empty when nothing is set.
    """
    value = int(value)
    return [name for bit, (name, _) in enumerate(_TABLE) if value >> bit & 1]


def mask_of(flags: str | int | Iterable[str]) -> int:
    """Return the value of one flag or the sum of several.

    Parameters
    ----------
    flags : str, int or iterable of str
        ``"DEAD"``, ``"DEAD+HOT"``, ``["DEAD", "HOT"]``, or a value already.

    Raises
    ------
    UnknownNameError
        If a name is not a flag.
    """
    if isinstance(flags, (int, np.integer)):
        return int(flags)
    parts = (
        [part for part in re.split(r"[\s+,|]+", flags) if part] if isinstance(flags, str) else flags
    )
    mask = 0
    for name in parts:
        if name not in PIXEL:
            raise UnknownNameError("data-quality flag", name, PIXEL)
        mask |= PIXEL[name]
    return mask


def counts(dq: np.ndarray) -> dict[str, int]:
    """Return how many elements have each flag that occurs, most frequent first."""
    flat = np.ascontiguousarray(dq).ravel()
    present = int(np.bitwise_or.reduce(flat)) if flat.size else 0
    found = {
        name: int(np.count_nonzero(flat & flat.dtype.type(PIXEL[name]))) for name in names(present)
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def describe(value: int | None = None) -> str:
    """Return the table of flags as text: bit, value, name, meaning.

    Parameters
    ----------
    value : int, optional
        Only the flags set in this value.
    """
    chosen = set(names(value)) if value is not None else None
    return "\n".join(
        f"{bit:2d}  {1 << bit:>10d}  {name:<17s} {meaning}"
        for bit, (name, meaning) in enumerate(_TABLE)
        if chosen is None or name in chosen
    )


def translator(
    definitions: Iterable[tuple[int, str]] | Mapping[str, int],
) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return a function that turns a file's own flags into `PIXEL` flags.

    Parameters
    ----------
    definitions : iterable of (value, name), or mapping name -> value
        The file's ``DQ_DEF`` table: what each of its bits is called.

    Returns
    -------
    callable or None
        Takes and returns an array of uint32 of any shape. None when the file's
        bits already are ours. A name we do not know becomes OTHER_BAD_PIXEL,
        so that nothing flagged turns good; a bit the table does not define is
        dropped, as it says nothing.
    """
    if isinstance(definitions, Mapping):
        definitions = [(value, name) for name, value in definitions.items()]
    pairs = []
    for value, name in definitions:
        known = name.strip().upper()
        known = _FORMER.get(known, known)
        target = PIXEL.get(known, PIXEL["OTHER_BAD_PIXEL"])
        if not -(1 << 31) <= value < 1 << 32:
            raise DataError(
                "the table of flags is damaged", found=f"{name}: {value}", expected="32 bits"
            )
        # A signed column shows the highest bit as a negative number.
        if value and target:
            pairs.append((int(value) & 0xFFFFFFFF, target))
    if not pairs or all(value == target for value, target in pairs):
        return None

    def translate(dq: np.ndarray) -> np.ndarray:
        result = np.zeros(dq.shape, np.uint32)
        if not dq.any():
            return result
        for value, target in pairs:
            result[(dq & np.uint32(value)) != 0] |= np.uint32(target)
        return result

    return translate
