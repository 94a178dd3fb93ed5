"""Reads as files: one FITS file each, that appear in a folder complete or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import DataError, LightmillError
from lightmill.kernels import codec
from lightmill.observatories.tmt.iris.live.reads import Exposure, Read

__all__ = ["exposure_of", "read_file", "reads_of", "write_read"]

MICRO = 1e-6  # [s]: times in the headers of reads
_OWN = ("RAMP_NO", "READ_NO", "READTIME", "RST_TIME", "COMPLETE", "XSIZE", "YSIZE", "EXPNAME")
_STRUCTURE = ("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "BZERO", "BSCALE",
              "DATAMODL", "CHECKSUM", "DATASUM", "COMMENT", "HISTORY")  # fmt: skip


def write_read(folder: Path, read: Read) -> Path:
    """Write a read into a folder; the file appears complete or not at all.

    Parameters
    ----------
    folder : Path
    read : Read

    Returns
    -------
    path : Path
        ``<exposure>_<ramp>_<read>.fits``.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    from astropy.io import fits

    exposure = read.exposure
    header = fits.Header(dict(exposure.cards))
    ny, nx = exposure.shape
    header.update(
        {
            "EXPNAME": exposure.name, "DETECTOR": exposure.detector,
            "NGROUPS": exposure.reads, "NINTS": exposure.ramps,
            "RAMP_NO": read.ramp, "READ_NO": read.number, "XSIZE": nx, "YSIZE": ny,
            "RST_TIME": 0, "READTIME": round(read.time / MICRO),
            "COMPLETE": read.index == exposure.total - 1,
        }
    )  # fmt: skip
    path = folder / f"{exposure.name}_{read.ramp:03d}_{read.number:05d}.fits"
    aside = path.with_name(f".{path.name}.part")
    fits.PrimaryHDU(read.pixels, header=header).writeto(aside, overwrite=True)
    aside.replace(path)
    return path


def read_file(path: Path) -> Read:
    """Return the read a file holds.

    Parameters
    ----------
    path : Path
        Its primary header has EXPNAME (or OBS_ID), DETECTOR, NGROUPS, NINTS, RAMP_NO, READ_NO, and
        READTIME and RST_TIME [µs].

    Returns
    -------
    read : Read
        With its pixels.

    Raises
    ------
    DataError
        If it is no read, or damaged.
    """
    from astropy.io import fits

    try:
        with Path(path).open("rb") as stream, fits.open(stream, memmap=False) as hdus:
            header, pixels = hdus[0].header, hdus[0].data
        exposure = Exposure(
            str(header.get("EXPNAME") or header["OBS_ID"]), str(header["DETECTOR"]).strip(),
            header["NGROUPS"], header.get("NINTS", 1), _said_shape(header, pixels),
            pixels.dtype.newbyteorder("=").name, _cards(header),
        )  # fmt: skip
        time = (header["READTIME"] - header.get("RST_TIME", 0)) * MICRO
        ramp, number = int(header.get("RAMP_NO", 1)), int(header["READ_NO"])
        native = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
        return Read(exposure, ramp, number, float(time), native)
    except LightmillError as error:
        error.place = f"{path}[{error.place}]"
        raise
    except Exception as error:  # whatever a broken file raises in the reader
        raise DataError(
            "this is no read of a detector", place=path,
            found=f"{type(error).__name__}: {error}",
            expected="a FITS image with DETECTOR, NGROUPS, READ_NO, READTIME",
            remedy="see docs/reference/detector-reads.md",
        ) from error  # fmt: skip


def _said_shape(header: Any, pixels: np.ndarray) -> tuple[int, int]:
    """Return the size the header announces: that of the image may be wrong."""
    ny, nx = pixels.shape  # fails where there is no image, or one of other axes
    return int(header.get("YSIZE", ny)), int(header.get("XSIZE", nx))


def exposure_of(path: Path, *, detector: str | None = None) -> Exposure:
    """Return what a raw exposure is.

    Parameters
    ----------
    path : Path
        With the extension SCI (ramps, reads, y, x) of uint16.
    detector : str, optional
        Take it as if it were another detector's.

    Returns
    -------
    exposure : Exposure
        With all keywords of its header.

    Raises
    ------
    DataError
        If it is no raw exposure.
    """
    return _opened(path, detector)[0]


def reads_of(path: Path, *, detector: str | None = None) -> Iterator[Read]:
    """Yield the reads of a raw exposure; only one of them is in memory at a time.

    Parameters
    ----------
    path : Path
        With the extension SCI (ramps, reads, y, x) of uint16.
    detector : str, optional
        Take it as if it were another detector's.

    Yields
    ------
    read : Read
        At multiples of TGROUP after the reset.

    Raises
    ------
    DataError
        If it is no raw exposure.
    """
    exposure, start, step = _opened(path, detector)
    with Path(path).open("rb") as stream:
        for ramp in range(1, exposure.ramps + 1):
            for number in range(1, exposure.reads + 1):
                here = (ramp - 1) * exposure.reads + number - 1
                stream.seek(start + here * exposure.nbytes)
                pixels = np.empty(exposure.shape, np.uint16)
                codec.decode(stream.read(exposure.nbytes), ">i2", 32768, out=pixels)
                yield Read(exposure, ramp, number, step * number, pixels)


def _opened(path: Path, detector: str | None) -> tuple[Exposure, int, float]:
    """Return an exposure, where its counts begin in the file, and the time between reads [s]."""
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            header, image = hdus[0].header, hdus["SCI"].header
            ramps, reads, ny, nx = (int(image[f"NAXIS{n}"]) for n in (4, 3, 2, 1))
            is_counts = (image["BITPIX"], image.get("BZERO")) == (16, 32768)
            start = int(hdus["SCI"].fileinfo()["datLoc"])
        step, own = float(header["TGROUP"]), str(header["DETECTOR"])
    except (OSError, KeyError) as error:
        raise DataError("this is no raw exposure", place=path, found=error) from error
    if not is_counts:
        raise DataError("the counts are not of 16 bits", place=f"{path}[SCI]")
    name, cards = Path(path).name.removesuffix("_uncal.fits"), _cards(header)
    if detector is not None and detector != own:
        name = name.replace(own.lower(), detector.lower())
        cards |= {"DETECTOR": detector, "FILENAME": f"{name}_uncal.fits"}
    exposure = Exposure(name, detector or own, reads, ramps, (ny, nx), "uint16", cards)
    return exposure, start, step


def _cards(header: Any) -> dict[str, Any]:
    """Return the keywords that say what an exposure is, not how its file is laid out."""
    return {
        name: value
        for name, value in header.items()
        if name and name not in _OWN + _STRUCTURE and isinstance(value, str | int | float)
    }
