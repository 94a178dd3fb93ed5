"""The flags of 1997: what each event does to the state of one exposure.

The archive's table ``dads_received`` had a flag ``jitter`` in each row; the state of an exposure is
the pair of flags of its current calibrated data (CAL) and its current jitter files (OMS). Here the
flags decide nothing: they are a view of the log, kept because operators know them. The page of the
states is written from this module.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["CAL_FLAGS", "NOTHING", "OMS_FLAGS", "Flags", "Happening", "after", "transitions"]

CAL_FLAGS = {
    "-": "no calibrated data yet",
    " ": "a generation of the data that no association was asked for",
    "R": "its proposal's associations are to be built",
    "Y": "associations were built with this generation",
}
OMS_FLAGS = {
    "-": "no jitter files yet",
    " ": "a generation whose pointing is not extracted",
    "Y": "pointing extracted",
}


class Flags(NamedTuple):
    """Flags of an exposure's current calibrated data and current jitter files."""

    cal: str
    oms: str


NOTHING = Flags("-", "-")
_EVERY = {pair: Flags(*pair) for pair in itertools.product(CAL_FLAGS, OMS_FLAGS)}


class Happening(enum.StrEnum):
    """What can happen to one exposure."""

    CAL_ARRIVES_NEWER = "cal_arrives_newer"
    OMS_ARRIVES_NEWER = "oms_arrives_newer"
    CAL_ARRIVES_DUPLICATE = "cal_arrives_duplicate"
    OMS_ARRIVES_DUPLICATE = "oms_arrives_duplicate"
    CAL_ARRIVES_OLDER = "cal_arrives_older"
    OMS_ARRIVES_OLDER = "oms_arrives_older"
    JEP_OK = "jep_ok"
    JEP_FAIL = "jep_fail"
    SQL = "sql"
    CHDB = "chdb"
    AB_OK = "ab_ok"
    AB_FAIL = "ab_fail"
    AB_OK_BUT_CAL_ARRIVED_MEANWHILE = "ab_ok_but_cal_arrived_meanwhile"

    @property
    def meaning(self) -> str:
        """What it is, in words."""
        return _MEANINGS[self]


_MEANINGS = {
    Happening.CAL_ARRIVES_NEWER: "a first or newer generation of the exposure arrives",
    Happening.OMS_ARRIVES_NEWER: "a first or newer generation of its jitter files arrives",
    Happening.CAL_ARRIVES_DUPLICATE: "the exposure arrives again, the same",
    Happening.OMS_ARRIVES_DUPLICATE: "its jitter files arrive again, the same",
    Happening.CAL_ARRIVES_OLDER: "an older generation of the exposure arrives",
    Happening.OMS_ARRIVES_OLDER: "an older generation of its jitter files arrives",
    Happening.JEP_OK: "jitter extraction looks at it, and the pair is good",
    Happening.JEP_FAIL: "jitter extraction looks at it, and the pair cannot be read",
    Happening.SQL: "the SQL script looks for exposures archived again",
    Happening.CHDB: "a value of the exposure in the database is changed",
    Happening.AB_OK: "the association builder rebuilds its proposal",
    Happening.AB_FAIL: "the association builder fails on its proposal",
    Happening.AB_OK_BUT_CAL_ARRIVED_MEANWHILE: "the same, and a newer exposure came while it ran",
}


def after(flags: Flags, event: Happening) -> Flags:
    """Return an exposure's flags after an event.

    Parameters
    ----------
    flags : Flags
        Before it.
    event : Happening
        What happened.

    Returns
    -------
    flags : Flags
        The same where the event does not concern this exposure.
    """
    cal, oms = flags
    match event:
        case Happening.CAL_ARRIVES_NEWER | Happening.AB_OK_BUT_CAL_ARRIVED_MEANWHILE:
            cal = " "
        case Happening.OMS_ARRIVES_NEWER:
            oms = " "
        case Happening.CAL_ARRIVES_OLDER if cal == "-":
            cal = " "
        case Happening.OMS_ARRIVES_OLDER if oms == "-":
            oms = " "
        case Happening.JEP_OK if oms == " " and cal != "-":
            cal, oms = "R", "Y"
        case Happening.SQL if cal == " " and oms == "Y":
            cal = "R"
        case Happening.CHDB if cal != "-" and oms == "Y":
            cal = "R"
        case Happening.AB_OK if cal == "R":
            cal = "Y"
    return _EVERY[cal, oms]


def transitions() -> Iterator[tuple[Flags, Happening, Flags]]:
    """Yield every state, every event and the state after it.

    Yields
    ------
    before, event, after : Flags, Happening, Flags
        The builder can be overtaken only where it was asked to build.
    """
    for cal, oms, event in itertools.product(CAL_FLAGS, OMS_FLAGS, Happening):
        if event is not Happening.AB_OK_BUT_CAL_ARRIVED_MEANWHILE or cal == "R":
            yield Flags(cal, oms), event, after(Flags(cal, oms), event)
