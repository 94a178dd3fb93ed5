"""What the rules of three types of HST reference take for granted beside their tables.

All of it was found by asking the archive's own client what it answers to headers that differ in one
field; ``docs/decisions/0011-reference-rules.md`` tells how.
"""

from __future__ import annotations

from typing import Any

from lightmill.reference.rules.hooks import Hooks
from lightmill.reference.rules.values import condition, number, parse_date

__all__ = ["hooks"]

Header = dict[str, str]
SERVICING_MISSION_4 = "2009-05-14 00:00:00"  # new electronics: other amplifiers, other gains
GAINS_SINCE = {"0.5", "1.4"}  # of the wide-field channel; no reference was ever made for them
HALF_FRAME = 2048  # columns; wider readouts show the overscan of two amplifiers
TWO_AMPLIFIERS = {"A": "AD", "D": "AD", "B": "BC", "C": "BC"}


def hooks(instrument: str, filekind: str, header: dict[str, Any]) -> Hooks:
    """Return what the rules of a type need.

    Parameters
    ----------
    instrument, filekind : str
        Whose rules, lower case.
    header : dict
        The header of the rules.
    """
    del header
    if instrument == "acs":
        return Hooks(
            precondition=before_acs_bias if filekind == "biasfile" else None,
            did_not_run=has_gain_without_references,
            fields=("DETECTOR", "CCDGAIN"),
            epochs=(SERVICING_MISSION_4,),
        )
    if (instrument, filekind) == ("wfc3", "biasfile"):
        return Hooks(precondition=before_wfc3_bias, epochs=())
    if (instrument, filekind) == ("wfpc2", "flatfile"):
        return Hooks(fallback=filters_in_other_order)
    return Hooks()


def has_gain_without_references(rules: Any, header: Header) -> bool:
    """Say whether a wide-field exposure used a gain for which the step is not run."""
    del rules
    return header.get("DETECTOR") == "WFC" and header.get("CCDGAIN") in GAINS_SINCE


def before_acs_bias(rules: Any, header: Header) -> Header:
    """Return the header by which biases of the Advanced Camera are chosen.

    Before the fourth servicing mission the aperture did not count, and readouts wider than half
    the frame came through two amplifiers; whole frames of the wide-field channel count rows twice.
    """
    changed = dict(header)
    moment = f"{header.get('DATE-OBS', '')} {header.get('TIME-OBS', '')}"
    date = parse_date(moment, f"DATE-OBS, TIME-OBS for {rules.place}")
    if date < SERVICING_MISSION_4:
        changed["APERTURE"] = "N/A"
        columns = number(header.get("NUMCOLS", ""))
        amplifier = header.get("CCDAMP", "")
        if columns is not None and columns > HALF_FRAME:
            changed["CCDAMP"] = TWO_AMPLIFIERS.get(amplifier, amplifier)
    corners = header.get("XCORNER"), header.get("YCORNER")
    if header.get("DETECTOR") == "WFC" and corners == ("0.0", "0.0"):
        rows = number(header.get("NUMROWS", ""))
        if rows is not None and abs(rows) < 1e15:
            changed["NUMROWS"] = condition(int(rows) / 2)
    return changed


def before_wfc3_bias(rules: Any, header: Header) -> Header:
    """Return the header by which biases of the Wide Field Camera 3 are chosen.

    The aperture of a subarray counts only where it names one.
    """
    del rules
    if header.get("SUBARRAY") == "T" and "SUB" not in header.get("APERTURE", ""):
        return {**header, "APERTURE": "N/A"}
    return header


def filters_in_other_order(rules: Any, header: Header) -> Header:
    """Return a header with the two filters exchanged: flats are listed in one order only."""
    del rules
    undefined = "UNDEFINED"
    return {
        **header,
        "FILTER1": header.get("FILTER2", undefined),
        "FILTER2": header.get("FILTER1", undefined),
    }
