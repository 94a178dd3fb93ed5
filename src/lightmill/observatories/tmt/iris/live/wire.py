"""How reads travel through a socket: a header, a read, and an answer to each.

See docs/reference/detector-reads.md.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import numpy as np

from lightmill.errors import DataError
from lightmill.kernels.checksum import crc32
from lightmill.observatories.tmt.iris.live.reads import Exposure, Read

__all__ = ["AGAIN", "REFUSED", "TAKEN", "DamagedReadError", "receive", "send"]

MAGIC = b"LMREAD1\n"
TAKEN, AGAIN, REFUSED = b"\x06", b"\x15", b"\x18"  # ACK, NAK, CAN
_PREFIX = struct.Struct("!8sIIQI")  # magic; header: bytes, CRC-32; pixels: bytes, CRC-32
_LONGEST = 1 << 16  # bytes of a header
_PIECE = 1 << 20  # bytes sent or received at a time


class DamagedReadError(DataError):
    """What came is no read; where the next one begins is not known if ``lost`` is true.

    Parameters
    ----------
    fact : str
    lost : bool
        The stream cannot be followed any more.
    read : Read or None
        What was said of the read, where that much is known.
    """

    code = "damaged-read"

    def __init__(self, fact: str, *, lost: bool, read: Read | None = None, **more: Any) -> None:
        super().__init__(fact, **more)
        self.lost = lost
        self.read = read


def send(link: socket.socket, read: Read) -> bytes:
    """Send a read, and return the answer.

    Parameters
    ----------
    link : socket
    read : Read

    Returns
    -------
    answer : bytes
        `TAKEN`, `AGAIN` (it came damaged) or `REFUSED`.

    Raises
    ------
    OSError
        If the connection is gone.
    """
    exposure = read.exposure
    header = json.dumps(
        {
            "exposure": exposure.name, "detector": exposure.detector,
            "ramp": read.ramp, "read": read.number, "time": read.time,
            "reads": exposure.reads, "ramps": exposure.ramps,
            "shape": list(exposure.shape), "dtype": exposure.dtype, "cards": dict(exposure.cards),
        }
    ).encode()  # fmt: skip
    little = np.ascontiguousarray(read.pixels, read.pixels.dtype.newbyteorder("<"))
    body = memoryview(little.data).cast("B")
    prefix = _PREFIX.pack(MAGIC, len(header), crc32(header), len(body), crc32(body))
    link.sendall(prefix + header)
    link.sendall(body)
    return _exactly(link, 1) or b""


def receive(link: socket.socket) -> Read | None:
    """Return the next read of a connection; None where it was ended between two reads.

    Parameters
    ----------
    link : socket

    Raises
    ------
    DamagedReadError
        If what came is no read, or came damaged.
    OSError
        If the connection is gone.
    """
    prefix = _exactly(link, _PREFIX.size, may_end=True)
    if prefix is None:
        return None
    magic, length, check, size, body_check = _PREFIX.unpack(prefix)
    if magic != MAGIC or length > _LONGEST:
        raise DamagedReadError(
            "this is no read of a detector", lost=True, found=bytes(magic), expected=MAGIC,
            remedy="see the protocol: docs/reference/detector-reads.md",
        )  # fmt: skip
    header = _exactly(link, length)
    if header is None or crc32(header) != check:
        raise DamagedReadError(
            "the header of a read came damaged", lost=True, expected="its CRC-32"
        )
    read, dtype = _described(header)
    if size != read.exposure.nbytes:
        _skip(link, size)
        raise DamagedReadError(
            "the size of a read is wrong", lost=False, read=read, place=read.label,
            found=f"{size} bytes", expected=f"{read.exposure.nbytes}",
        )  # fmt: skip
    pixels = np.empty(read.exposure.shape, dtype)
    _fill(link, memoryview(pixels.data).cast("B"))
    if crc32(memoryview(pixels.data).cast("B")) != body_check:
        raise DamagedReadError("a read came damaged", lost=False, read=read, place=read.label,
                      expected="pixels with the CRC-32 of its header")  # fmt: skip
    native = pixels.astype(dtype.newbyteorder("="), copy=False)
    return Read(read.exposure, read.ramp, read.number, read.time, native)


def _described(header: bytes) -> tuple[Read, np.dtype[Any]]:
    """Return the read a header describes, without pixels, and their type on the wire."""
    try:
        said = json.loads(header)
        exposure = Exposure(
            said["exposure"], said["detector"], said["reads"], said["ramps"],
            tuple(said["shape"]), said["dtype"], dict(said.get("cards") or {}),
        )  # fmt: skip
        ramp, number, time = said["ramp"], said["read"], float(said["time"])
        ramp, number = _count(ramp), _count(number)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedReadError(
            "the header of a read cannot be understood", lost=True,
            found=f"{type(error).__name__}: {error}",
            remedy="see the protocol: docs/reference/detector-reads.md",
        ) from error  # fmt: skip
    except DamagedReadError:
        raise
    except DataError as error:
        raise DamagedReadError(error.fact, lost=True, place=error.place, found=error.found,
                      expected=error.expected, remedy=error.remedy) from error  # fmt: skip
    none = np.empty((0, 0), exposure.dtype)
    return Read(exposure, ramp, number, time, none), np.dtype(exposure.dtype).newbyteorder("<")


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 31:
        raise ValueError(f"{value!r} counts nothing")
    return value


def _exactly(link: socket.socket, count: int, *, may_end: bool = False) -> bytes | None:
    """Return so many bytes; None where the connection was ended before the first of them."""
    found = bytearray()
    while len(found) < count:
        piece = link.recv(min(count - len(found), _PIECE))
        if not piece:
            if may_end and not found:
                return None
            raise ConnectionError("the connection ended in the middle of a read")
        found += piece
    return bytes(found)


def _fill(link: socket.socket, room: memoryview) -> None:
    while len(room):
        got = link.recv_into(room[:_PIECE])
        if not got:
            raise ConnectionError("the connection ended in the middle of a read")
        room = room[got:]


def _skip(link: socket.socket, size: int) -> None:
    """Read over what is not wanted, if that is worth the while."""
    if size > 1 << 29:
        raise DamagedReadError("the size of a read is wrong", lost=True, found=f"{size} bytes")
    room = memoryview(bytearray(min(size, _PIECE) or 1))
    while size:
        piece = room[: min(size, _PIECE)]
        _fill(link, piece)
        size -= len(piece)
