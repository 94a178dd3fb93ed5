"""Raw exposures in the layout of the observatory's archive (FITS level 1b)."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.simulate.facts import InstrumentFacts, Window
from lightmill.simulate.fits_stream import FitsStream
from lightmill.simulate.focal_plane import View
from lightmill.simulate.pointing import Pointing
from lightmill.simulate.readout import Pattern, Readout

__all__ = ["Visit", "metadata_tree", "primary_keywords", "window_keywords", "write_uncal"]

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_ASDF_HEAD = """#ASDF 1.0.0
#ASDF_STANDARD 1.6.0
%YAML 1.1
%TAG ! tag:stsci.edu:asdf/
--- !core/asdf-1.1.0
"""
_GROUP_COLUMNS = [
    ("integration_number", "i4"),
    ("group_number", "i2"),
    ("end_day", "i2"),
    ("end_milliseconds", "i4"),
    ("end_submilliseconds", "i2"),
    ("group_end_time", "S26"),
    ("number_of_columns", "i2"),
    ("number_of_rows", "i2"),
    ("number_of_gaps", "i2"),
    ("completion_code_number", "i2"),
    ("completion_code_text", "S36"),
    ("bary_end_time", "f8"),
    ("helio_end_time", "f8"),
]
_INT_COLUMNS = [
    ("integration_number", "i4"),
    ("int_start_MJD_UTC", "f8"),
    ("int_mid_MJD_UTC", "f8"),
    ("int_end_MJD_UTC", "f8"),
    ("int_start_BJD_TDB", "f8"),
    ("int_mid_BJD_TDB", "f8"),
    ("int_end_BJD_TDB", "f8"),
]


@dataclass(frozen=True)
class Visit:
    """Which exposure of which programme this is.

    Attributes
    ----------
    number, count : int
        This exposure, counted from 1, and how many there are.
    start : float
        Start of the exposure [MJD, UTC].
    offset : (dx, dy)
        Dither [arcsec].
    target : (ra, dec)
        What was asked for [deg].
    name : str
        Name of the target.
    program : str
        Five digits.
    visit : int
        Number of the visit in the observation.
    activity : str
        Two characters that count the settings of a visit, such as filters.
    dither : (number, count) or None
        Place in the pattern of dithers, if it is not the exposure's own number.
    keywords : mapping
        Further keywords of the primary header.
    """

    number: int
    count: int
    start: float
    offset: tuple[float, float]
    target: tuple[float, float]
    name: str
    program: str = "99001"
    visit: int = 1
    activity: str = "01"
    dither: tuple[int, int] | None = None
    keywords: Mapping[str, Any] = field(default_factory=dict)

    def file_name(self, facts: InstrumentFacts, level: str = "uncal") -> str:
        """Return the name of the raw file, or of what it has become."""
        observation = f"jw{self.program}001{self.visit:03d}_021{self.activity}"
        return f"{observation}_{self.number:05d}_{facts.file_suffix}_{level}.fits"


def window_keywords(facts: InstrumentFacts, window: Window) -> dict[str, Any]:
    """Return the keywords that say which part of the detector this is."""
    return {
        "SUBARRAY": (window.name, "Subarray used"),
        "SUBSTRT1": (window.x, "Starting pixel in axis 1 direction"),
        "SUBSTRT2": (window.y, "Starting pixel in axis 2 direction"),
        "SUBSIZE1": (window.columns, "Number of pixels in axis 1 direction"),
        "SUBSIZE2": (window.rows, "Number of pixels in axis 2 direction"),
        "FASTAXIS": (facts.geometry.fast_axis, "Fast readout axis direction"),
        "SLOWAXIS": (facts.geometry.slow_axis, "Slow readout axis direction"),
    }


def write_uncal(
    path: Path,
    facts: InstrumentFacts,
    window: Window,
    pattern: Pattern,
    pointing: Pointing | View,
    visit: Visit,
    readout: Readout,
    *,
    history: list[str],
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Read out an exposure straight into a raw file.

    Never more than one group is in memory.

    Parameters
    ----------
    path : Path
        The file to write.
    history : list of str
        Lines that say how the file was simulated.
    progress : callable, optional
        Told (groups done, groups in all).
    """
    primary = primary_keywords(path, facts, window, pattern, visit)
    primary["HISTORY"] = history
    shape = (pattern.nints, pattern.ngroups, *window.shape)
    has_zero_frame = facts.zero_frame and pattern.nframes > 1
    total = pattern.nints * pattern.ngroups
    with (
        FitsStream(path, primary) as file,
        tempfile.TemporaryFile() as zero_frames,
    ):
        science = pointing.header(window.shape)
        file.begin_image("SCI", shape, np.uint16, {"BUNIT": "DN"} | science)
        for index, group in enumerate(readout.groups(), start=1):
            file.write(group)
            if has_zero_frame and index % pattern.ngroups == 1 % pattern.ngroups:
                assert readout.first_frame is not None  # set with every first group
                zero_frames.write(readout.first_frame.tobytes())
            if progress:
                progress(index, total)
        file.table("GROUP", _group_table(window, pattern, visit))
        file.table("INT_TIMES", _integration_table(pattern, visit))
        if has_zero_frame:
            zero_frames.seek(0)
            file.begin_image("ZEROFRAME", (pattern.nints, *window.shape), np.uint16)
            for _ in range(pattern.nints):
                plane = zero_frames.read(2 * window.rows * window.columns)
                file.write(np.frombuffer(plane, np.uint16))
        file.table("ASDF", metadata_tree(primary | science, facts.metadata))
    return path


def metadata_tree(cards: Mapping[str, Any], paths: Mapping[str, str]) -> np.ndarray:
    """Return the same metadata as a tree, in an ASDF file of text only, as a one-row table."""
    import yaml

    meta: dict[str, Any] = {}
    for keyword, path in paths.items():
        value = cards.get(keyword)
        value = value[0] if isinstance(value, tuple) else value
        if value is None:
            continue
        *branches, leaf = path.split(".")
        node = meta
        for branch in branches:
            node = node.setdefault(branch, {})
        node[leaf] = value.item() if isinstance(value, np.generic) else value
    text = _ASDF_HEAD + yaml.safe_dump({"meta": meta}, default_flow_style=None) + "...\n"
    content = np.frombuffer(text.encode(), np.uint8)
    return np.array([(content,)], [("ASDF_METADATA", "u1", content.shape)])


def primary_keywords(
    path: Path, facts: InstrumentFacts, window: Window, pattern: Pattern, visit: Visit
) -> dict[str, Any]:
    """Return the keywords of a raw file's primary header."""
    start, end = visit.start, visit.start + _duration(pattern) / 86400
    program, place = visit.program, visit.dither or (visit.number, visit.count)
    cards: dict[str, Any] = {
        "DATE": (_iso(datetime.now(UTC)), "UTC date this file was written"),
        "FILENAME": path.name,
        "DATAMODL": "Level1bModel",
        "TITLE": "Simulated by lightmill",
        "PROGRAM": program,
        "OBSERVTN": "001",
        "VISIT": f"{visit.visit:03d}",
        "VISITGRP": "02",
        "SEQ_ID": "1",
        "ACT_ID": visit.activity,
        "EXPOSURE": f"{visit.number:05d}",
        "VISIT_ID": f"{program}001{visit.visit:03d}",
        "DATE-OBS": _at(start)[:10],
        "TIME-OBS": _at(start)[11:],
        "DATE-BEG": _at(start),
        "DATE-END": _at(end),
        "TARGPROP": visit.name,
        "TARGNAME": visit.name,
        "TARG_RA": visit.target[0],
        "TARG_DEC": visit.target[1],
    }
    cards |= facts.header
    cards |= {
        "EXPCOUNT": (visit.count, "Running count of exposures in visit"),
        "EXPSTART": (start, "UTC exposure start time [MJD]"),
        "EXPMID": ((start + end) / 2, "UTC exposure mid time [MJD]"),
        "EXPEND": (end, "UTC exposure end time [MJD]"),
        "READPATT": facts.read_pattern(pattern.nframes, pattern.groupgap),
        "NOUTPUTS": window.outputs,
        "NINTS": pattern.nints,
        "INTSTART": 1,
        "INTEND": pattern.nints,
        "NGROUPS": pattern.ngroups,
        "NFRAMES": pattern.nframes,
        "FRMDIVSR": pattern.divisor,
        "GROUPGAP": pattern.groupgap,
        "DRPFRMS1": 0,
        "DRPFRMS3": 0,
        "NSAMPLES": 1,
        "TSAMPLE": (facts.geometry.sample_time * 1e6, "Time between samples [us]"),
        "TFRAME": (pattern.frame_time, "[s]"),
        "TGROUP": (pattern.group_time, "[s]"),
        "EFFINTTM": (pattern.integration_time, "[s]"),
        "EFFEXPTM": (pattern.integration_time * pattern.nints, "[s]"),
        "DURATION": (_duration(pattern), "[s]"),
        "NRSTSTRT": 1,
        "NRESETS": 1,
        "ZEROFRAM": facts.zero_frame and pattern.nframes > 1,
        "XOFFSET": (visit.offset[0], "Dither along x [arcsec]"),
        "YOFFSET": (visit.offset[1], "Dither along y [arcsec]"),
        "NUMDTHPT": place[1],
        "PATT_NUM": place[0],
        "APERNAME": facts.optics.aperture,
    }
    return cards | dict(visit.keywords) | window_keywords(facts, window)


def _duration(pattern: Pattern) -> float:
    """Length of an exposure [s]: one reset frame before each integration but the first."""
    between = pattern.frame_time * (pattern.nints - 1)
    return pattern.integration_time * pattern.nints + between


def _start_of(pattern: Pattern, integration: int) -> float:
    return integration * (pattern.integration_time + pattern.frame_time)


def _group_table(window: Window, pattern: Pattern, visit: Visit) -> np.ndarray:
    rows = np.zeros((pattern.nints, pattern.ngroups), _GROUP_COLUMNS)
    rows["integration_number"] = 1 + np.arange(pattern.nints)[:, None]
    rows["group_number"] = 1 + np.arange(pattern.ngroups)
    rows["number_of_columns"], rows["number_of_rows"] = window.columns, window.rows
    rows["completion_code_text"] = b"COMPLETE"
    rows["bary_end_time"] = rows["helio_end_time"] = np.nan
    for i in range(pattern.nints):
        for g in range(pattern.ngroups):
            frames = g * pattern.stride + pattern.nframes
            seconds = _start_of(pattern, i) + frames * pattern.frame_time
            end = _MJD_EPOCH + timedelta(days=visit.start, seconds=seconds)
            since = end - datetime(2000, 1, 1, tzinfo=UTC)
            row = rows[i, g]
            row["end_day"] = since.days
            row["end_milliseconds"] = since.seconds * 1000 + since.microseconds // 1000
            row["end_submilliseconds"] = since.microseconds % 1000
            row["group_end_time"] = end.strftime("%Y-%m-%dT%H:%M:%S.%f").encode()
    return rows.reshape(-1)


def _integration_table(pattern: Pattern, visit: Visit) -> np.ndarray:
    rows = np.zeros(pattern.nints, _INT_COLUMNS)
    start = np.array([_start_of(pattern, i) for i in range(pattern.nints)])
    rows["integration_number"] = 1 + np.arange(pattern.nints)
    for name, part in (("start", 0.0), ("mid", 0.5), ("end", 1.0)):
        seconds = start + part * pattern.integration_time
        rows[f"int_{name}_MJD_UTC"] = visit.start + seconds / 86400
        rows[f"int_{name}_BJD_TDB"] = np.nan  # nobody has computed the light travel time yet
    return rows


def _at(mjd: float) -> str:
    return _iso(_MJD_EPOCH + timedelta(days=mjd))


def _iso(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
