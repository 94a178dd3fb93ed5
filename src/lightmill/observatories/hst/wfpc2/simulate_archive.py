"""A small archive that changes: exposures of one field, their jitter files and frames, deliveries."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightmill.observatories.hst.wfpc2.exposures import Exposure, oms_name
from lightmill.observatories.hst.wfpc2.geometry import attitude_of, coordinates_of, moved

__all__ = ["dithered", "write_archive"]

_TABLES = """
    create table exposures(dataset_name text primary key, pep_id int, visit text, targname text,
      ra_hdr real, dec_hdr real, pa_v3_hdr real, aperture text, filtnam1 text, filtnam2 text,
      exptime real, start_time text, start_time_dmf int, release_date_dmf int, imagetyp text,
      mtflag text);
    create table delivery_items(delivery int, seq int, dataset_name text, archive_class text,
      gen_date_str text, jit text, jif text, primary key(delivery, seq));
    create table db_changes(delivery int, dataset_name text, column text, new_value text);
"""


def dithered(
    field: tuple[float, float, float],
    steps: Iterable[tuple[float, float]],
    *,
    program: str = "Z99",
    visit: str = "01",
    **facts: Any,
) -> list[Exposure]:
    """Return exposures of one field, some arcseconds apart.

    Parameters
    ----------
    field : (float, float, float)
        Right ascension, declination and position angle of +V3 [deg], at the fiducial.
    steps : iterable of (float, float)
        Of the telescope along V2 and V3, from there [arcsec].
    program, visit : str
        Three and two characters of the names.
    **facts
        What else there is to say of all of them, as of `Exposure`.

    Returns
    -------
    exposures : list of Exposure
        One after the other; the first is the deepest.
    """
    found = []
    for number, (v2, v3) in enumerate(steps):
        at = coordinates_of(moved(attitude_of(*field), v2, v3))
        ra, dec, roll = (float(one[0]) for one in at)
        given = {
            "pep_id": 99001, "targname": "FIELD", "aperture": "UWFALL", "filtnam1": "F606W",
            "filtnam2": "", "exptime": 500.0 + (number == 0),
            "start_time": f"1997-03-01T{number // 6:02d}:{10 * (number % 6):02d}:00",
            "start_time_dmf": 600 * number, **facts,
        }  # fmt: skip
        found.append(
            Exposure(
                dataset_name=f"U{program}{visit}{number:02d}T", visit=visit, ra_hdr=ra, dec_hdr=dec,
                pa_v3_hdr=roll, **given,
            )
        )  # fmt: skip
    return found


def write_archive(
    folder: Path,
    exposures: Sequence[Exposure],
    deliveries: Mapping[int, Sequence[tuple[str, str, tuple[str, ...]]]],
    changes: Sequence[tuple[int, str, str, str]] = (),
) -> Path:
    """Write the tables of an archive.

    Parameters
    ----------
    folder : path
        Of the archive; gets ``archive.sqlite``.
    exposures : sequence of Exposure
        As the database tells of them at first.
    deliveries : mapping
        Number → what came: (exposure, generation, files of its jitter pair relative to the folder).
        With files the jitter dataset came, without them the exposure.
    changes : sequence of (int, str, str, str)
        Delivery, exposure, column, new value.

    Returns
    -------
    path : Path
        Of the tables.
    """
    path = Path(folder) / "archive.sqlite"
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(_TABLES)
        for one in exposures:
            row = asdict(one)
            marks = ", ".join("?" * len(row))
            connection.execute(
                f"insert into exposures ({', '.join(row)}) values ({marks})",  # noqa: S608 - names of ours
                tuple(row.values()),
            )
        for delivery, items in deliveries.items():
            for number, (dataset, generation, files) in enumerate(items):
                name, kind = (oms_name(dataset), "OMS") if files else (dataset, "CAL")
                row_ = (delivery, number, name, kind, generation, *(files or ("", "")))
                connection.execute("insert into delivery_items values (?, ?, ?, ?, ?, ?, ?)", row_)
        connection.executemany("insert into db_changes values (?, ?, ?, ?)", changes)
        connection.commit()
    return path
