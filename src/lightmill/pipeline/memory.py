"""Keep the memory of one band for the next, instead of giving it back and asking again.

Each band frees arrays of some megabytes and asks for the same again. The C
library returns blocks of that size to the system, which must then clear and
map every page anew: a fifth of the time of a whole run.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# Names and numbers of <malloc.h> of the GNU C library.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8


def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed, for this process.

    Returns
    -------
    done : bool
        False where the C library has no such setting; nothing is lost but time.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    wishes = (
        (_MMAP_THRESHOLD, 1 << 30),
        (_TRIM_THRESHOLD, (1 << 31) - 1),
        (_TOP_PAD, 64 << 20),
        (_ARENA_MAX, 1),  # threads take their bands from one store
    )
    answers = [mallopt(name, value) for name, value in wishes]  # all of them, also after a refusal
    return all(answer == 1 for answer in answers)
