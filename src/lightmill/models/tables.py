"""Binary tables of FITS files as structured arrays, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from lightmill.errors import CorruptFileError
from lightmill.models.cards import Header, format_card
from lightmill.models.fits_reader import Hdu

__all__ = ["LazyTable", "read_table", "table_bytes", "table_cards"]

_FORM = re.compile(r"\s*(\d*)([LXBIJKAEDCMPQ])(.*)$")
_CODES = {
    "L": "i1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8",
    "E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16",
}  # fmt: skip
_UNSIGNED = {"I": (1 << 15, "u2"), "J": (1 << 31, "u4"), "K": (1 << 63, "u8")}
_LETTERS = {
    "b1": "L", "u1": "B", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D", "c8": "C",
    "c16": "M", "u2": "I", "u4": "J", "u8": "K", "i1": "B",
}  # fmt: skip
_SHAPING = frozenset({b"TFIEL", b"TTYPE", b"TFORM", b"TZERO", b"TSCAL", b"TDIM1", b"TDIM2",
                      b"TDIM3", b"TDIM4", b"TDIM5", b"TDIM6", b"TDIM7", b"TDIM8", b"TDIM9"})  # fmt: skip
_KNOWN: dict[
    tuple[bytes, ...], tuple[np.dtype, np.dtype]
] = {}  # an archive's tables share few forms


class LazyTable:
    """A binary table in a file, not yet read.

    Parameters
    ----------
    hdu : Hdu
        The extension it is in.
    """

    __slots__ = ("_dtype", "hdu")

    def __init__(self, hdu: Hdu) -> None:
        self.hdu = hdu
        self._dtype: np.dtype | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows."""
        return (self.hdu.header.integer("NAXIS2"),)

    @property
    def dtype(self) -> np.dtype:
        """Its columns."""
        if self._dtype is None:
            self._dtype = _forms(self.hdu)[1]
        return self._dtype

    @property
    def nbytes(self) -> int:
        """Bytes the table takes once read."""
        return self.shape[0] * self.dtype.itemsize

    @property
    def place(self) -> str:
        """Name for error messages."""
        return self.hdu.place

    def read(self) -> np.ndarray:
        """Return the table as a structured array."""
        return read_table(self.hdu)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        values = self.read()
        return values if dtype is None else values.astype(dtype, copy=False)


def read_table(hdu: Hdu) -> np.ndarray:
    """Return a binary table, native-endian; unsigned, logical and scaled columns as such.

    Raises
    ------
    CorruptFileError
        If the columns do not add up to the row, or hold arrays of variable length.
    """
    form, native = _forms(hdu)
    width, rows = form.itemsize, hdu.header.integer("NAXIS2")
    raw = np.frombuffer(hdu.data_bytes(), np.uint8)[: width * rows].view(form)
    table = np.empty(rows, native)
    for number, name in enumerate(native.names or (), 1):
        column, kind = raw[name].reshape(rows, *native[name].shape), native[name].base
        if kind.kind == "b":
            table[name] = column == ord("T")
        elif kind.kind == "u" and form[name].base.kind == "i":
            table[name] = column.astype(kind) ^ _zero(kind)
        elif kind == np.int8:
            table[name] = column.astype(np.int16) - 128
        elif kind.kind == "f" and form[name].base.kind in "iu":
            scale = hdu.header.number(f"TSCAL{number}", 1)
            table[name] = column * scale + hdu.header.number(f"TZERO{number}", 0)
        elif kind.kind == "S":
            table[name] = np.char.rstrip(column, b" \0") if column.size else column
        else:
            table[name] = column
    return table


def _forms(hdu: Hdu) -> tuple[np.dtype, np.dtype]:
    """Return the dtype of a row in the file and in memory; of cards seen before, at once."""
    cards = tuple(
        card for card in hdu.header.cards if card[:5] in _SHAPING or card[:7] == b"NAXIS1 "
    )
    forms = _KNOWN.get(cards)
    if forms is None:
        forms = _forms_by_cards(hdu)
        if len(_KNOWN) >= 64:
            _KNOWN.clear()
        _KNOWN[cards] = forms
    return forms


def _forms_by_cards(hdu: Hdu) -> tuple[np.dtype, np.dtype]:
    header = hdu.header
    stored, wanted = [], []
    for number in range(1, header.integer("TFIELDS") + 1):
        name = header.text(f"TTYPE{number}") or f"col{number}"
        stored.append((name, *_stored_column(header, number)))
        wanted.append((name, *_native_column(header, number, stored[-1])))
    try:
        form, native = np.dtype(stored), np.dtype(wanted)
    except (ValueError, TypeError) as error:
        raise _damaged(hdu.place, error, "columns with names of their own") from error
    width = header.integer("NAXIS1")
    if form.itemsize != width:
        raise _damaged(hdu.place, f"columns of {form.itemsize} bytes", f"rows of {width} bytes")
    return form, native


def _zero(unsigned: np.dtype) -> np.ndarray:
    """Return the offset that FITS stores unsigned integers with."""
    return np.array(1 << (8 * unsigned.itemsize - 1)).astype(unsigned)


def table_cards(
    table: np.ndarray, name: str, units: Mapping[str, str] | None = None
) -> list[bytes]:
    """Return the cards of a binary table extension."""
    columns = _columns(table)
    cards = [
        *format_card("XTENSION", "BINTABLE", "binary table extension"),
        *format_card("BITPIX", 8, "array data type"),
        *format_card("NAXIS", 2, "number of array dimensions"),
        *format_card("NAXIS1", sum(width for *_, width in columns), "length of a row [byte]"),
        *format_card("NAXIS2", len(table), "number of rows"),
        *format_card("PCOUNT", 0, "number of group parameters"),
        *format_card("GCOUNT", 1, "number of groups"),
        *format_card("TFIELDS", len(columns), "number of columns"),
    ]
    for number, (column, form, dim, zero, _width) in enumerate(columns, 1):
        cards += format_card(f"TTYPE{number}", column)
        cards += format_card(f"TFORM{number}", form)
        if dim:
            cards += format_card(f"TDIM{number}", dim)
        if zero:
            cards += format_card(f"TZERO{number}", zero)
        if units and units.get(column):
            cards += format_card(f"TUNIT{number}", units[column])
    return cards + format_card("EXTNAME", name, "extension name")


def table_bytes(table: np.ndarray) -> bytes:
    """Return the rows of a table as a FITS file stores them."""
    form = []
    for column in table.dtype.names or ():
        field = table.dtype[column]
        base = field.base
        code = {"b": "i1", "U": f"S{base.itemsize // 4}"}.get(base.kind)
        code = "u1" if base == np.int8 else code
        if code is None:
            signed = base.str[1:].replace("u", "i") if base.itemsize > 1 else base.str[1:]
            code = signed if base.kind == "S" or base.itemsize == 1 else ">" + signed
        form.append((column, code, field.shape))
    out = np.zeros(table.shape, np.dtype(form))
    for column in table.dtype.names or ():
        base = table.dtype[column].base
        values = table[column]
        if base.kind == "b":
            values = np.where(values, ord("T"), ord("F"))
        elif base.kind == "u" and base.itemsize > 1:
            values = (values ^ _zero(base)).view(base.str.replace("u", "i"))
        elif base == np.int8:
            values = (values.astype(np.int16) + 128).astype(np.uint8)
        elif base.kind == "U":
            values = np.char.encode(values, "ascii", "replace")
        out[column] = values
    return out.tobytes()


def _columns(table: np.ndarray) -> list[tuple[str, str, str, int, int]]:
    columns = []
    for name in table.dtype.names or ():
        field = table.dtype[name]
        base, shape = field.base, field.shape
        repeat = int(np.prod(shape, dtype=int)) if shape else 1
        zero = 1 << (8 * base.itemsize - 1) if base.kind == "u" and base.itemsize > 1 else 0
        zero = -128 if base.str[1:] == "i1" else zero
        if base.kind in "SU":
            length = base.itemsize // (4 if base.kind == "U" else 1)
            form, width = f"{repeat * length}A", repeat * length
        else:
            form, width = f"{repeat}{_LETTERS[base.str[1:]]}", repeat * base.itemsize
            form = form.removeprefix("1") if repeat == 1 else form
        dim = f"({','.join(str(n) for n in reversed(shape))})" if len(shape) > 1 else ""
        columns.append((name, form, dim, zero, width))
    return columns


def _stored_column(header: Header, number: int) -> tuple:
    text = header.text(f"TFORM{number}")
    match = _FORM.match(text)
    if match is None:
        raise _damaged(f"{header.place}/TFORM{number}", text, "a column format")
    repeat, letter = int(match[1] or 1), match[2]
    if letter in "PQ":
        raise _damaged(
            f"{header.place}/TFORM{number}", text, "a column of fixed length (not a heap)"
        )
    if repeat > header.integer("NAXIS1") * 8:
        raise _damaged(f"{header.place}/TFORM{number}", text, "a column that fits the row")
    if letter == "A":
        return (f"S{repeat}",)
    if letter == "X":
        return ("u1", ((repeat + 7) // 8,))
    if repeat == 1:
        return (_CODES[letter],)
    return (_CODES[letter], (repeat,))


def _native_column(header: Header, number: int, stored: tuple) -> tuple:
    code = stored[1]
    letter = header.text(f"TFORM{number}").strip().lstrip("0123456789")[:1]
    shape = stored[2] if len(stored) > 2 else ()
    if code.startswith("S"):
        return (code,)
    if letter == "L":
        return ("?", shape) if shape else ("?",)
    zero = header.number(f"TZERO{number}", 0)
    scale = header.number(f"TSCAL{number}", 1)
    if letter in _UNSIGNED and (scale, zero) == (1, _UNSIGNED[letter][0]):
        code = _UNSIGNED[letter][1]
    elif letter == "B" and (scale, zero) == (1, -128):
        code = "i1"
    elif (scale, zero) != (1, 0):
        code = "f8" if letter != "E" else "f4"
    dim = re.fullmatch(r"\((\d+(?:,\d+)*)\)", header.text(f"TDIM{number}").replace(" ", ""))
    if dim and shape:
        axes = tuple(int(n) for n in reversed(dim[1].split(",")))
        if int(np.prod(axes, dtype=object)) == shape[0]:
            shape = axes
    return (code.lstrip(">"), shape) if shape else (code.lstrip(">"),)


def _damaged(place: object, found: object, expected: str) -> CorruptFileError:
    return CorruptFileError(
        "the table is damaged", place=place, found=found, expected=expected,
        remedy="fetch the file again",
    )  # fmt: skip
