"""Images that FITS stores in an unusual way: left to astropy, imported when needed."""

from __future__ import annotations

import re

import numpy as np

from lightmill.errors import CorruptFileError
from lightmill.models.cards import Header
from lightmill.models.codec import native_dtype
from lightmill.models.fits_reader import Hdu, stored_dtype
from lightmill.models.regions import Region
from lightmill.models.unread import UnreadArray

__all__ = ["CompressedArray", "without_compression"]

_COMPRESSION = re.compile(
    r"Z(IMAGE|CMPTYPE|BITPIX|NAXIS\d*|TILE\d+|NAME\d+|VAL\d+|QUANTIZ|DITHER0|BLANK|SCALE|ZERO"
    r"|TENSION|PCOUNT|GCOUNT|HECKSUM|DATASUM|SIMPLE|EXTEND|MASKCMP|BLOCKED)$"
)
LONGEST = 1 << 36  # elements; a compressed file says nothing of the size of its image


class CompressedArray(UnreadArray):
    """A tile-compressed image, not yet read.

    Parameters
    ----------
    hdu : Hdu
        The binary table that holds the tiles.
    """

    def __init__(
        self, hdu: Hdu, *, region: Region | None = None, dtype: np.dtype | None = None
    ) -> None:
        header = hdu.header
        axes = [
            header.integer(f"ZNAXIS{axis}")
            for axis in range(1, min(header.integer("ZNAXIS"), 32) + 1)
        ]
        if not axes or min(axes) < 0 or int(np.prod(axes, dtype=object)) > LONGEST:
            raise CorruptFileError(
                "the header is damaged", place=f"{hdu.place}/ZNAXIS", found=axes,
                expected="the axes of an image",
            )  # fmt: skip
        stored = stored_dtype(header.integer("ZBITPIX"), hdu.place)
        scale, zero = header.number("BSCALE", 1), header.number("BZERO", 0)
        frame = tuple(reversed(axes))
        self.hdu = hdu
        self.region = region
        self.shape = frame if region is None else (*frame[:-2], *region.shape)
        self.dtype = dtype or native_dtype(stored, zero, scale)
        self.place = hdu.place

    def cut(self, region: Region) -> CompressedArray:
        """Return the part of the last two axes in `region`; nothing is read."""
        return CompressedArray(self.hdu, region=self._within(region), dtype=self.dtype)

    def astype(self, dtype: np.dtype) -> CompressedArray:
        """Return the same array, to be read as another dtype; nothing is read."""
        return CompressedArray(self.hdu, region=self.region, dtype=np.dtype(dtype))

    def _whole(self) -> np.ndarray:
        from astropy.io import fits

        try:
            with fits.open(self.hdu.source.path, memmap=False) as file:
                return np.asarray(file[self.hdu.number].data)
        except Exception as error:  # a damaged tile raises whatever its codec raises
            raise CorruptFileError(
                "the image cannot be decompressed", place=self.place, found=error,
                remedy="fetch the file again",
            ) from error  # fmt: skip


def without_compression(header: Header) -> Header:
    """Return a header without the cards that say how the image is compressed."""
    cards = [
        card for card in header.cards if not _COMPRESSION.match(card[:8].decode("latin-1").rstrip())
    ]
    return Header(cards, header.place)
