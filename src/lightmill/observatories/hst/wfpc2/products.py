"""What is made of an association: its table, one image of each chip, and a picture to look at."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightmill.models.cards import format_card
from lightmill.models.output import atomic
from lightmill.observatories.hst.wfpc2.asn import remove_asn, write_asn
from lightmill.observatories.hst.wfpc2.associations import Association
from lightmill.observatories.hst.wfpc2.exposures import root_of
from lightmill.observatories.hst.wfpc2.frames import ChipImage, combine, read_frame
from lightmill.observatories.hst.wfpc2.geometry import CHIPS
from lightmill.observatories.hst.wfpc2.instance import Instance
from lightmill.observatories.hst.wfpc2.jitter import Pointing
from lightmill.observatories.hst.wfpc2.rules import BUILDER, Rules
from lightmill.observatories.hst.wfpc2.simulate import extension, fits_bytes
from lightmill.observatories.hst.wfpc2.state import Generation

__all__ = ["Products", "chips_of", "frame_path", "picture", "remove_products", "write_products"]

SUFFIXES = ("_drz.fits", ".png")
BIN = 4  # pixels of a frame in a pixel of the picture, in each direction
CONTRAST = 60.0  # of the inverse hyperbolic sine: linear up to a sixtieth of the range


@dataclass(frozen=True)
class Products:
    """Reads an archive's jitter files and frames, and writes products.

    Parameters
    ----------
    instance : Instance
        The archive.
    folder : path or None
        Where products go; None makes none.
    frames : path or None
        Folder of calibrated frames, ``<exposure>_c0m.fits``; None makes tables only.
    rules : Rules, optional
        Tolerances that tables tell.
    """

    instance: Instance
    folder: Path | None
    frames: Path | None = None
    rules: Rules | None = None

    def extract(self, dataset: str, gen_date_str: str, generation: Generation) -> Pointing:
        """Measure the pointing in a pair of jitter files; see `Instance.extract`."""
        return self.instance.extract(dataset, gen_date_str, generation)

    def preview(self, association: Association) -> None:
        """Write the products of an association."""
        if self.folder is not None:
            write_products(self.folder, association, self.frames, self.rules)


def write_products(
    folder: Path, association: Association, frames: Path | None, rules: Rules | None = None
) -> list[Path]:
    """Write the table of an association and, of its frames, an image and a picture.

    Parameters
    ----------
    folder : path
        Where to.
    association : Association
        Any.
    frames : path or None
        Folder of calibrated frames; None writes the table only.
    rules : Rules, optional
        Tolerances it was built with.

    Returns
    -------
    paths : list of Path
        Each whole or not there; the table last.

    Raises
    ------
    DataError, CorruptFileError
        If a frame is missing or damaged: nothing is written then.
    """
    written = []
    if frames is not None:
        images = chips_of(association, frames)
        stem = Path(folder) / association.assoc_id.lower()
        contents = (_fits(association, images), picture([one.rate for one in images]))
        for suffix, content in zip(SUFFIXES, contents, strict=True):
            path = stem.with_name(stem.name + suffix)
            with atomic(path) as file:
                file.write(content)
            written.append(path)
    return [*written, write_asn(folder, association, rules)]


def remove_products(folder: Path, assoc_id: str) -> bool:
    """Remove the products of an association that is no more.

    Parameters
    ----------
    folder : path
        Where they were written.
    assoc_id : str
        Identity.

    Returns
    -------
    removed : bool
        False if there were none.
    """
    removed = remove_asn(folder, assoc_id)  # asks whether it is a name
    for suffix in SUFFIXES:
        path = Path(folder) / f"{assoc_id.lower()}{suffix}"
        removed |= path.exists()
        path.unlink(missing_ok=True)
    return removed


def chips_of(association: Association, frames: Path) -> list[ChipImage]:
    """Return what the frames of an association show together, chip by chip.

    Parameters
    ----------
    association : Association
        Any.
    frames : path
        Folder of calibrated frames.

    Returns
    -------
    images : list of ChipImage
        In the order of `CHIPS`.
    """
    read = [read_frame(frame_path(frames, one.dataset)) for one in association.members]
    return [
        combine(association, [frame[number] for frame in read], chip)
        for number, chip in enumerate(CHIPS)
    ]


def frame_path(folder: Path, dataset: str) -> Path:
    """Return where the calibrated frame of an exposure is.

    Parameters
    ----------
    folder : path
        Of frames.
    dataset : str
        Name of the exposure.

    Returns
    -------
    path : Path
        ``<dataset>_c0m.fits``, lower case.
    """
    root_of(dataset)
    return Path(folder) / f"{dataset.lower()}_c0m.fits"


def picture(chips: list[np.ndarray]) -> bytes:
    """Return the four chips as a PNG picture, as they lie in the focal plane.

    Parameters
    ----------
    chips : list of (ny, nx) ndarray of float32
        In the order of `CHIPS`.

    Returns
    -------
    content : bytes
        WF3 at the lower left, rows upwards turned by half a turn; the chips' first pixels meet in
        the middle. PC1, at the upper right, is shown as large as the others. Grey, 8 bits.
    """
    small = []
    for chip in chips:
        ny, nx = (length // BIN * BIN for length in chip.shape)
        blocks = np.nan_to_num(chip[:ny, :nx]).reshape(ny // BIN, BIN, nx // BIN, BIN)
        small.append(_shades(blocks.mean(axis=(1, 3))))
    pc1, wf2, wf3, wf4 = small
    # Beside WF3 the chips are turned by the differences of their angles to V3: quarters, nearly.
    upwards = np.block([[np.rot90(pc1, 2), np.rot90(wf2, 1)], [np.rot90(wf4, -1), wf3]])
    return _png(np.rot90(upwards[::-1], 2))


def _shades(image: np.ndarray) -> np.ndarray:
    middle = float(np.median(image))
    sigma = 1.4826 * float(np.median(np.abs(image - middle)))
    low, high = middle - 2 * sigma, max(float(np.percentile(image, 99.8)), middle + 20 * sigma)
    part = np.clip((image - low) / ((high - low) or 1.0), 0, 1)
    return np.rint(255 * np.arcsinh(part * CONTRAST) / np.arcsinh(CONTRAST)).astype(np.uint8)


def _png(shades: np.ndarray) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    rows, columns = shades.shape
    lines = np.zeros((rows, columns + 1), np.uint8)  # each row begins with its filter, none
    lines[:, 1:] = shades
    head = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    data = zlib.compress(lines.tobytes(), 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _fits(association: Association, images: list[ChipImage]) -> bytes:
    """Return the images as FITS: extensions SCI and WHT for each chip; names what it is made of."""
    keywords = {
        "TELESCOP": "HST", "INSTRUME": "WFPC2", "ROOTNAME": association.assoc_id.lower(),
        "LEADER": association.leader, "PROPOSID": association.pep_id,
        "TARGNAME": association.targname, "FILTER": association.filter,
        "EXPTIME": association.exptime_all, "NMEMBERS": len(association.members),
        "GENDATE": association.gen_date_str, "CONTENT": association.content, "BUILDER": BUILDER,
        **{f"MEM{n:05d}": f"{m.dataset} {m.gen_date_str} {m.quality}"
           for n, m in enumerate(association.members, 1)},
    }  # fmt: skip
    content = fits_bytes(keywords)
    for version, (chip, image) in enumerate(zip(CHIPS, images, strict=True), 1):
        for name, unit, plane in (
            ("SCI", "ELECTRONS/S", image.rate), ("WHT", "S", image.weight),
        ):  # fmt: skip
            cards = [
                *format_card("XTENSION", "IMAGE"), *format_card("BITPIX", -32),
                *format_card("NAXIS", 2), *format_card("NAXIS1", plane.shape[1]),
                *format_card("NAXIS2", plane.shape[0]), *format_card("PCOUNT", 0),
                *format_card("GCOUNT", 1), *format_card("EXTNAME", name),
                *format_card("EXTVER", version), *format_card("CHIP", chip),
                *format_card("BUNIT", unit),
            ]  # fmt: skip
            content += extension(cards, np.ascontiguousarray(plane, ">f4").tobytes())
    return content
