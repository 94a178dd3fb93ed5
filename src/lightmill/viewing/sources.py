"""A catalog of sources, to be laid over an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import CorruptFileError, DataError
from lightmill.models.lazy import FileBytes
from lightmill.viewing.sky import Sky

__all__ = ["Sources"]

_SKY = (("sky_centroid.ra", "sky_centroid.dec"), ("ra", "dec"), ("RA", "DEC"), ("RA", "Dec"),
        ("ra_deg", "dec_deg"), ("RAJ2000", "DEJ2000"), ("ALPHA_J2000", "DELTA_J2000"))  # fmt: skip
_PIXELS = (("xcentroid", "ycentroid"), ("x_centroid", "y_centroid"), ("x", "y"))
MOST = 500_000  # sources; more would not be told apart, and are refused


class Sources:
    """The rows of a catalog.

    Parameters
    ----------
    path : path
        ECSV with ``sky_centroid``, or ``ra`` and ``dec`` [deg], or ``xcentroid`` and
        ``ycentroid`` [pixel, 0 is the centre of the first].

    Raises
    ------
    DataError
        If it has no such columns, or too many rows.
    CorruptFileError
        If it cannot be read as ECSV.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        FileBytes(self.path)  # tells what is wrong with the path itself
        self.table = _read(self.path)
        if len(self.table) > MOST:
            raise DataError(
                "the catalog has too many rows to be shown",
                place=self.path,
                found=len(self.table),
                expected=f"at most {MOST}",
                remedy="write the rows of this field to a file of their own",
            )
        self.names = self.table.colnames
        self._sky = _pair(self.table, _SKY, "deg")
        self._pixels = _pair(self.table, _PIXELS, "pix")
        if self._sky is None and self._pixels is None:
            raise DataError(
                "the catalog does not say where its sources are",
                place=self.path,
                found=", ".join(self.names),
                expected="columns sky_centroid, or ra and dec, or xcentroid and ycentroid",
            )

    def __len__(self) -> int:
        return len(self.table)

    def on(self, sky: Sky | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels of the sources on an image.

        Parameters
        ----------
        sky : Sky or None
            The image's; a catalog of another image lies right by it.

        Returns
        -------
        x, y : (n,) ndarray of float64
            NaN where a source has no place.

        Raises
        ------
        DataError
            If the catalog has sky coordinates alone, and the image none.
        """
        if self._sky is not None and sky is not None:
            return sky.pixels(*self._sky)
        if self._pixels is not None:
            return self._pixels
        raise DataError(
            "the catalog has positions on the sky, and the image has no sky coordinates",
            place=self.path,
            remedy="give columns xcentroid and ycentroid, or an image with a WCS",
        )

    def columns(self) -> list[list[str]]:
        """Return name and unit of each column."""
        units = [getattr(self.table[name], "unit", None) for name in self.names]
        return [
            [name, "" if unit is None else str(unit)]
            for name, unit in zip(self.names, units, strict=True)
        ]

    def row(self, number: int) -> list[str]:
        """Return the values of a row, as texts."""
        return [_text(self.table[name][number]) for name in self.names]


def _read(path: Path) -> Any:
    import warnings

    from astropy.table import Table

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # units of another standard: shown as they are
            table = Table.read(path, format="ascii.ecsv")
    except Exception as error:  # whatever a broken table raises in the reader
        raise CorruptFileError(
            "the catalog cannot be read", place=path, found=error, expected="a table in ECSV"
        ) from error
    for name in list(table.colnames):
        column = table[name]
        if hasattr(column, "spherical"):  # positions: two columns of numbers
            icrs = column.icrs
            at = table.colnames.index(name)
            table.replace_column(name, icrs.ra.deg)
            table.rename_column(name, f"{name}.ra")
            table.add_column(icrs.dec.deg, name=f"{name}.dec", index=at + 1)
            table[f"{name}.ra"].unit = table[f"{name}.dec"].unit = "deg"
    return table


def _pair(table: Any, known: Any, unit: str) -> tuple[np.ndarray, np.ndarray] | None:
    for names in known:
        if not set(names) <= set(table.colnames):
            continue
        columns = []
        for name in names:
            column = table[name]
            if getattr(column, "dtype", np.dtype(object)).kind not in "iuf" or column.ndim != 1:
                break
            values: np.ndarray = np.ma.filled(
                np.ma.asarray(getattr(column, "value", column), float), np.nan
            )
            given = getattr(column, "unit", None)
            scale = 1.0
            if unit == "deg" and given is not None and hasattr(given, "to"):
                try:
                    scale = float(given.to("deg"))
                except Exception:  # noqa: BLE001 - not an angle: these are other columns
                    break
            columns.append(np.asarray(values, float) * scale)
        if len(columns) == 2:
            return columns[0], columns[1]
    return None


def _text(value: Any) -> str:
    if np.ma.is_masked(value):
        return ""
    if isinstance(value, float):  # numpy's float64 too; a float32 is short as it is
        return f"{value:.10g}"
    return str(getattr(value, "value", value))[:2000]
