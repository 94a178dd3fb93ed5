"""What the archive's tables say of an exposure, and what its names mean."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, fields, replace
from typing import Any

from lightmill.errors import ValidationError

__all__ = ["CALIBRATIONS", "Exposure", "oms_name", "root_of"]

CALIBRATIONS = frozenset(
    {"DARK", "BIAS", "INTFLAT", "UVFLAT", "VISFLAT", "KSPOTS", "EARTH-CALIB"}
)  # IMAGETYP or target of exposures that look at no field
_NAME = re.compile(r"U[A-Z0-9]{8}")  # IPPPSSOOT; nothing else is ever made part of a path


@dataclass(frozen=True, slots=True)
class Exposure:
    """One exposure, as the archive's database describes it.

    Parameters
    ----------
    dataset_name : str
        IPPPSSOOT, nine letters and digits.
    pep_id : int
        Proposal.
    visit, targname : str
        Visit, and what the proposer called the target.
    ra_hdr, dec_hdr, pa_v3_hdr : float
        Pointing of the aperture and roll by the science header [deg].
    aperture : str
        Aperture whose pointing that is.
    filtnam1, filtnam2 : str
        Filters; empty where the wheel was clear.
    exptime : float
        Exposure time [s].
    start_time : str
        Start, ISO 8601, UTC.
    start_time_dmf, release_date_dmf : int
        Start, and the day it becomes public, since the archive's epoch [s].
    imagetyp, mtflag : str
        Kind of image; ``T`` where the target moved.
    """

    dataset_name: str
    pep_id: int
    visit: str
    targname: str
    ra_hdr: float
    dec_hdr: float
    pa_v3_hdr: float
    aperture: str
    filtnam1: str
    filtnam2: str
    exptime: float
    start_time: str
    start_time_dmf: int = 0
    release_date_dmf: int = 0
    imagetyp: str = "EXT"
    mtflag: str = "F"

    @classmethod
    def from_row(cls, row: Any) -> Exposure:
        """Return the exposure of a database row.

        Parameters
        ----------
        row : mapping
            Column → value; columns not known here are left aside. A pointing may be missing: it is
            NaN then.

        Returns
        -------
        exposure : Exposure
            With values of the types it declares.

        Raises
        ------
        ValidationError
            If its name is none, a column is missing, or a value is not of its type.
        """
        known = set(row.keys())
        dataset = row["dataset_name"] if "dataset_name" in known else None
        root_of(dataset)
        values: dict[str, Any] = {}
        for name, kind, default in _COLUMNS:
            value = row[name] if name in known else None
            if type(value) is str and kind is str:
                values[name] = sys.intern(value)
                continue
            if value is None and default is None:
                raise ValidationError(
                    "the exposure lacks a value", place=dataset, found=None, expected=name
                )
            values[name] = default if value is None else _typed(value, kind, str(dataset), name)
        return cls(**values)

    @property
    def root(self) -> str:
        """The eight characters that exposure and jitter files share."""
        return sys.intern(self.dataset_name[:8])

    @property
    def filter(self) -> str:
        """Filters in alphabetical order: either wheel may hold either."""
        return "+".join(sorted(name for name in (self.filtnam1, self.filtnam2) if name))

    def changed(self, column: str, value: str) -> Exposure:
        """Return the exposure with one column of the database at another value.

        Parameters
        ----------
        column : str
            Name of the column.
        value : str
            The new value as text.

        Raises
        ------
        ValidationError
            If there is no such column, it says who the exposure is, or the value is not of its type.
        """
        known = {one.name for one in fields(self)} - {"dataset_name", "pep_id"}
        if column not in known:
            raise ValidationError(
                "this column cannot be changed",
                place=self.dataset_name,
                found=column,
                expected=", ".join(sorted(known)),
            )
        kind = type(getattr(self, column))
        return replace(self, **{column: _typed(value, kind, self.dataset_name, column)})

    def left_out(self) -> str | None:
        """Return why the exposure is never associated, or None if it may be (rule R0)."""
        if self.imagetyp != "EXT" or self.targname in CALIBRATIONS:
            kind = self.imagetyp if self.imagetyp != "EXT" else self.targname
            return f"calibration ({kind})"
        if self.mtflag == "T":
            return "moving target"
        if not self.exptime > 0:
            return "no exposure time"
        return None


_COLUMNS: tuple[tuple[str, type, Any], ...] = (  # name, type, what stands for no value; None: none may
    ("dataset_name", str, None), ("pep_id", int, None), ("visit", str, ""), ("targname", str, ""),
    ("ra_hdr", float, math.nan), ("dec_hdr", float, math.nan), ("pa_v3_hdr", float, math.nan),
    ("aperture", str, ""), ("filtnam1", str, ""), ("filtnam2", str, ""), ("exptime", float, None),
    ("start_time", str, None), ("start_time_dmf", int, 0), ("release_date_dmf", int, 0),
    ("imagetyp", str, "EXT"), ("mtflag", str, "F"),
)  # fmt: skip


def _typed(value: Any, kind: type, dataset: str, name: str) -> Any:
    """Return a value of a table as what it should be; one copy of texts that are the same."""
    try:
        found = kind(value)
    except (TypeError, ValueError, OverflowError):
        found = None
    if found is None or (kind is float and not math.isfinite(found)):
        raise ValidationError(
            "a value is of another type",
            place=f"{dataset}/{name}",
            found=value,
            expected="a finite number" if kind is float else kind.__name__,
        )
    return sys.intern(found) if type(found) is str else found


def root_of(dataset: Any) -> str:
    """Return the first eight characters of a dataset's name.

    Parameters
    ----------
    dataset : str
        IPPPSSOOT of an exposure, or the same with J of its jitter files.

    Raises
    ------
    ValidationError
        If this is no name of a WFPC2 dataset: it may come from a file or a table, and lead anywhere.
    """
    if not isinstance(dataset, str) or not _NAME.fullmatch(dataset):
        raise ValidationError(
            "this is not the name of a WFPC2 dataset",
            found=dataset,
            expected="U and eight letters or digits, upper case",
            remedy="correct the name where it comes from",
        )
    return sys.intern(dataset[:8])


def oms_name(dataset: str) -> str:
    """Return the name of an exposure's jitter dataset."""
    return f"{root_of(dataset)}J"
