"""Parameters of drizzling as an observatory keeps them: a table by filter and number of exposures."""

from __future__ import annotations

from typing import Any

import numpy as np

from lightmill.errors import DataError

__all__ = ["drizzle_settings"]

# Our parameter → column of the table. A further column, stepsize, tells other software how finely
# to interpolate positions; here they are always interpolated to 1e-4 pixel.
COLUMNS = {
    "pixfrac": "pixfrac",
    "kernel": "kernel",
    "fillval": "fillval",
    "weight_type": "wht_type",
}
ANY = "ANY"


def drizzle_settings(
    table: np.ndarray, filter_: str | None, count: int, place: object = None
) -> dict[str, str]:
    """Return what a table of drizzle parameters says for some exposures [1]_.

    Rows of their filter come before rows of ANY filter. Of these, the one with the largest number
    of images that is not larger than the number of exposures counts, wherever in the table it is.

    Parameters
    ----------
    table : structured ndarray
        Columns ``numimages`` and ``filter``, and any of ``pixfrac``, ``kernel``, ``fillval``,
        ``wht_type``; their case does not matter.
    filter_ : str or None
        Of the exposures.
    count : int
        How many there are; detectors that were exposed together are one.
    place : object, optional
        Of the table, for errors.

    Returns
    -------
    settings : dict
        Name of a parameter of the step ``resample`` → its text, those the table has.

    Raises
    ------
    DataError
        If the table has no such columns, or no row for these exposures.

    References
    ----------
    .. [1] Space Telescope Science Institute, JWST calibration reference files: DRIZPARS.
    """
    columns = {name.lower(): table[name] for name in table.dtype.names or ()}
    missing = {"numimages", "filter"} - set(columns)
    if missing:
        raise DataError(
            "the table of drizzle parameters has no columns to choose a row by",
            place=f"{place}[DRIZPARS]",
            found=", ".join(sorted(columns)) or "no column",
            expected="numimages, filter",
            remedy="use another reference with --override-drizpars, or resample.use_drizpars=false",
        )
    filters = np.array([_word(value).upper() for value in columns["filter"]], str)
    least = np.asarray(columns["numimages"], np.int64)
    for wanted in ((filter_ or ANY).strip().upper(), ANY):
        rows = np.flatnonzero((filters == wanted) & (least <= count))
        if len(rows):
            row = int(rows[np.argmax(least[rows])])
            return {
                name: value
                for name, column in COLUMNS.items()
                if column in columns and (value := _value(columns[column][row])) is not None
            }
    raise DataError(
        "the table of drizzle parameters has no row for these exposures",
        place=f"{place}[DRIZPARS]",
        found=f"filter {filter_}, {count} exposure{'s'[: count != 1]}",
        expected=f"filter {', '.join(sorted(set(filters)))}, from {least.min() if len(least) else 0}",
        remedy="use another reference with --override-drizpars, or resample.use_drizpars=false",
    )


def _value(value: Any) -> str | None:
    """Return an entry as a parameter takes it; None where nothing is said."""
    return (_word(value) if isinstance(value, bytes | str) else str(value)).lower() or None


def _word(value: bytes | str) -> str:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text.strip()
