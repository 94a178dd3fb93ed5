"""Write a model as FITS: keywords merged into the file's own cards, arrays streamed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightmill.errors import CorruptFileError, ShapeError
from lightmill.models.asdf_file import inline
from lightmill.models.asdf_tree import (
    STANDARD,
    ObjectNode,
    Tagged,
    array_reference,
    datatype_of,
    dump_tree,
)
from lightmill.models.cards import (
    CARD,
    Header,
    commentary_cards,
    fits_can_hold,
    format_card,
    section_cards,
)
from lightmill.models.codec import encode, stored_form
from lightmill.models.fits_reader import BLOCK, Hdu
from lightmill.models.namespace import nested
from lightmill.models.output import AtomicFile, atomic
from lightmill.models.schema import Field, ModelSchema
from lightmill.models.tables import LazyTable, table_bytes, table_cards

if TYPE_CHECKING:
    from lightmill.models.model import Model

__all__ = ["Reserved", "begin_fits", "end_fits", "merged_cards", "rewrite_primary", "write_fits"]

CHUNK = 4 << 20
_STRUCTURE = frozenset({
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "EXTEND", "PCOUNT", "GCOUNT", "BSCALE", "BZERO",
    "BLANK", "EXTNAME", "EXTVER", "EXTLEVEL", "INHERIT", "GROUPS", "TFIELDS", "THEAP", "CHECKSUM",
    "DATASUM", "END",
})  # fmt: skip
_NUMBERED = (
    "NAXIS", "TTYPE", "TFORM", "TDIM", "TZERO", "TSCAL", "TNULL", "TUNIT", "TDISP", "TBCOL",
)  # fmt: skip


def write_fits(
    model: Model, path: Path, values: Mapping[str, Any], tree: Mapping[str, Any]
) -> None:
    """Write a model to a FITS file, atomically.

    Parameters
    ----------
    model : Model
    path : Path
    values : mapping
        The metadata to write, path -> value.
    tree : mapping
        What goes to the ASDF extension besides metadata and arrays.
    """
    with atomic(path) as file:
        references = begin_fits(file, model, values)
        end_fits(file, model, values, tree, references)


def begin_fits(file: AtomicFile, model: Model, values: Mapping[str, Any]) -> dict[str, Any]:
    """Write the headers, arrays and tables of a model; leave holes for `Reserved` arrays.

    Returns
    -------
    references : dict
        Name of each array → how the ASDF tree points to it.
    """
    schema, foreign = model.meta._store.schema, model.foreign
    references: dict[str, Any] = {}
    file.write(_primary_header(model, values))
    for name, hdu_name, version, value in model._stored():
        header = foreign.headers.get((hdu_name, version))
        if isinstance(value, LazyTable) or _is_table(value):
            units = model._column_units(name, header)
            shape, dtype = _write_table(file, value, hdu_name, version, units)
        else:
            known = values if version == 1 else {}
            cards = merged_cards(header, hdu_name, schema, known)
            unit = model.unit(name)
            if unit and not any(card.startswith(b"BUNIT   ") for card in cards):
                cards = [*format_card("BUNIT", unit, "unit of the values"), *cards]
            shape, dtype = _write_image(file, value, hdu_name, version, cards)
        references[name] = array_reference(hdu_name, version, shape, dtype, _standard_of(model))
    return references


def _standard_of(model: Model) -> str:
    """Return the version of the ASDF standard to write: what is taken over has its tags."""
    asdf = model.foreign.asdf
    return STANDARD if asdf is None else asdf.standard()


def rewrite_primary(file: AtomicFile, model: Model, values: Mapping[str, Any]) -> None:
    """Write the primary header again, with other numbers under the same keywords."""
    file.write_at(0, _primary_header(model, values))


def _primary_header(model: Model, values: Mapping[str, Any]) -> bytes:
    cards = merged_cards(
        model.foreign.headers.get(("PRIMARY", 1)), "PRIMARY", model.meta._store.schema, values,
        history=model.history,
    )  # fmt: skip
    return _header_block([*_primary_cards(), *cards])


def end_fits(
    file: AtomicFile,
    model: Model,
    values: Mapping[str, Any],
    tree: Mapping[str, Any],
    references: Mapping[str, Any],
) -> None:
    """Write what follows the arrays: foreign extensions, then the ASDF extension."""
    foreign = model.foreign
    names = {(hdu_name, version) for _, hdu_name, version, _ in model._stored()}
    for hdu in foreign.hdus:
        if (hdu.name, hdu.version) not in names:
            _copy_hdu(file, hdu)
    blocks = b"" if foreign.asdf is None else foreign.asdf.blocks()
    standard = _standard_of(model)
    tree = {key: inline(value, standard) for key, value in tree.items()}
    values = {k: v.of(standard) if isinstance(v, ObjectNode) else v for k, v in values.items()}
    whole = {
        **_history_tree(model.history),
        **references,
        "meta": nested(dict(sorted(values.items()))),
        **tree,
    }
    content = dump_tree(whole, blocks, standard)
    _write_header(file, _asdf_cards(len(content)))
    _write_data(file, content)


class Reserved:
    """Room in a file for an array whose rows are written later.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype_like
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.offset = -1  # where the data begin, once the header is written

    def chunks(self) -> Iterator[np.ndarray]:
        """Yield nothing: the rows come later."""
        yield from ()

    def write(self, file: AtomicFile, y0: int, rows: np.ndarray) -> None:
        """Write full-width rows of every plane, (..., rows, nx), from row `y0` on."""
        ny, nx = self.shape[-2:]
        height = rows.shape[-2]
        row = nx * self.dtype.itemsize
        planes = np.ascontiguousarray(rows, self.dtype).reshape(-1, height, nx)
        for number, plane in enumerate(planes):
            file.write_at(self.offset + (number * ny + y0) * row, encode(plane).data)


def _primary_cards() -> list[bytes]:
    return [
        *format_card("SIMPLE", True, "conforms to FITS standard"),
        *format_card("BITPIX", 8, "array data type"),
        *format_card("NAXIS", 0, "number of array dimensions"),
        *format_card("EXTEND", True),
    ]


def merged_cards(
    header: Header | None,
    hdu: str,
    schema: ModelSchema,
    values: Mapping[str, Any],
    history: Iterable[str] = (),
) -> list[bytes]:
    """Return the cards of a header: the file's in their order, with today's values.

    A card whose value is unchanged stays byte for byte. New keywords follow the
    last of their section, or come at the end under the section's title.
    """
    wanted = {
        keyword: field
        for (place, keyword), field in schema.keywords.items()
        if place == hdu and values.get(field.path) is not None
        and fits_can_hold(values[field.path])
    }  # fmt: skip
    known = {keyword for place, keyword in schema.keywords if place == hdu}
    cards: list[bytes] = []
    last_of: dict[str, int] = {}
    written: set[str] = set()
    dropping = False
    header = Header() if header is None else header
    for position, card in enumerate(header.cards):
        keyword = card[:8].decode("latin-1").rstrip()
        if keyword == "CONTINUE" and dropping:
            continue
        dropping = False
        if _is_structure(keyword) or (keyword == "HISTORY" and history):
            dropping = True
            continue
        if keyword not in known or card[8:10] != b"= ":
            cards.append(card)
            continue
        dropping = True
        if keyword not in wanted or keyword in written:
            continue
        field = wanted[keyword]
        same, kept, comment = _kept(header, position, values[field.path])
        written.add(keyword)
        cards += (
            kept if same else format_card(keyword, values[field.path], comment or field.comment)
        )
        last_of[_section(field)] = len(cards)
    fresh: dict[str, list[bytes]] = {}
    for keyword, field in wanted.items():
        if keyword not in written:
            new = format_card(keyword, values[field.path], field.comment)
            fresh.setdefault(_section(field), []).extend(new)
    cards = _inserted(cards, fresh, last_of, schema.sections)
    for entry in history:
        cards += commentary_cards("HISTORY", entry)
    return cards


def _kept(header: Header, position: int, value: Any) -> tuple[bool, list[bytes], str]:
    """Whether the card already says `value`, the card with its CONTINUEs, and its comment."""
    try:
        old, comment = header.value_at(position)
    except CorruptFileError:
        return False, [], ""
    same = old == value and isinstance(old, bool) == isinstance(value, bool)
    cards = [header.cards[position]]
    for more in header.cards[position + 1 :]:
        if more[:8] != b"CONTINUE":
            break
        cards.append(more)
    return same, cards, comment


def _inserted(
    cards: list[bytes],
    fresh: Mapping[str, list[bytes]],
    last_of: Mapping[str, int],
    titles: Mapping[str, str],
) -> list[bytes]:
    """Put the new cards of each section behind its last card, or at the end."""
    at: dict[int, list[bytes]] = {}
    plain: list[bytes] = []
    end: list[bytes] = []
    for section, new in fresh.items():
        if section in last_of:
            at.setdefault(last_of[section], []).extend(new)
        elif not section:
            plain += new
        else:
            title = titles.get(section)
            end += [*(section_cards(title) if title else []), *new]
    # Nothing to do with a section: before the first blank line, where a header says what it is.
    if plain:
        first = next((i for i, card in enumerate(cards) if not card.strip()), len(cards))
        at.setdefault(first, []).extend(plain)
    result: list[bytes] = []
    for position in range(len(cards) + 1):
        result += at.get(position, [])
        if position < len(cards):
            result.append(cards[position])
    return result + end


def _section(field: Field) -> str:
    return field.path.split(".")[0] if "." in field.path else ""


def _is_structure(keyword: str) -> bool:
    if keyword in _STRUCTURE:
        return True
    stem = keyword.rstrip("0123456789")
    return stem != keyword and stem in _NUMBERED


def _is_table(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.names is not None


def _write_image(
    file: AtomicFile, value: Any, name: str, version: int, cards: list[bytes]
) -> tuple[tuple[int, ...], str]:
    dtype, shape = np.dtype(value.dtype), tuple(value.shape)
    stored, zero = stored_form(dtype)
    bitpix = 8 * stored.itemsize * (-1 if stored.kind == "f" else 1)
    head = [
        *format_card("XTENSION", "IMAGE", "image extension"),
        *format_card("BITPIX", bitpix, "array data type"),
        *format_card("NAXIS", len(shape), "number of array dimensions"),
    ]
    for axis, length in enumerate(reversed(shape), 1):
        head += format_card(f"NAXIS{axis}", int(length))
    head += format_card("PCOUNT", 0, "number of parameters")
    head += format_card("GCOUNT", 1, "number of groups")
    if zero:
        head += format_card("BSCALE", 1)
        head += format_card("BZERO", zero)
    head += format_card("EXTNAME", name, "extension name")
    if version != 1:
        head += format_card("EXTVER", version, "extension version")
    _write_header(file, [*head, *cards])
    start = file.written
    expected = int(np.prod(shape, dtype=object)) * stored.itemsize if shape else 0
    if isinstance(value, Reserved):
        value.offset = start
        file.skip(expected)
    else:
        for piece in _pieces(value):
            file.write(encode(piece).data)
    if file.written - start != expected:
        raise ShapeError(
            f"the pieces of {name} do not add up to its shape",
            place=f"{file.path.name}[{name}]",
            found=f"{file.written - start} bytes",
            expected=f"{expected} bytes",
        )
    _pad(file)
    if dtype == np.bool_:
        return shape, "uint8"
    return shape, "float32" if dtype == np.float16 else dtype.name


def _pieces(value: Any) -> Iterator[np.ndarray]:
    if not isinstance(value, np.ndarray):
        yield from value.chunks()
        return
    if value.nbytes <= CHUNK or value.ndim < 2:
        yield value
        return
    if value.flags.c_contiguous:
        flat = value.reshape(-1)
        step = CHUNK // value.itemsize
        for start in range(0, flat.size, step):
            yield flat[start : start + step]
        return
    for part in value:
        yield from _pieces(part)


def _write_table(
    file: AtomicFile, value: Any, name: str, version: int, units: Mapping[str, str]
) -> tuple[tuple[int, ...], Any]:
    if isinstance(value, LazyTable):
        _copy_hdu(file, value.hdu)
        return value.shape, datatype_of(value.dtype)
    cards = table_cards(value, name, units)
    if version != 1:
        cards += format_card("EXTVER", version, "extension version")
    _write_header(file, cards)
    _write_data(file, table_bytes(value))
    return value.shape, datatype_of(value.dtype)


def _copy_hdu(file: AtomicFile, hdu: Hdu) -> None:
    _write_header(file, hdu.header.cards)
    done = 0
    while done < hdu.size:
        buffer = bytearray(min(CHUNK, hdu.size - done))
        hdu.source.read_into(memoryview(buffer), hdu.offset + done)
        file.write(bytes(buffer))
        done += len(buffer)
    _pad(file, b" " if hdu.header.text("XTENSION") == "TABLE" else b"\0")


def _asdf_cards(size: int) -> list[bytes]:
    return [
        *format_card("XTENSION", "BINTABLE", "binary table extension"),
        *format_card("BITPIX", 8, "array data type"),
        *format_card("NAXIS", 2, "number of array dimensions"),
        *format_card("NAXIS1", size, "length of a row [byte]"),
        *format_card("NAXIS2", 1, "number of rows"),
        *format_card("PCOUNT", 0, "number of group parameters"),
        *format_card("GCOUNT", 1, "number of groups"),
        *format_card("TFIELDS", 1, "number of columns"),
        *format_card("TTYPE1", "ASDF_METADATA"),
        *format_card("TFORM1", f"{size}B"),
        *format_card("EXTNAME", "ASDF", "extension name"),
    ]


def _history_tree(history: Iterable[str]) -> dict[str, Any]:
    entries = [
        Tagged("tag:stsci.edu:asdf/core/history_entry-1.0.0", {"description": text})
        for text in history
    ]
    return {"history": {"entries": entries}} if entries else {}


def _write_header(file: AtomicFile, cards: Iterable[bytes]) -> None:
    file.write(_header_block(cards))


def _header_block(cards: Iterable[bytes]) -> bytes:
    block = b"".join([*cards, b"END".ljust(CARD)])
    return block + b" " * (-len(block) % BLOCK)


def _write_data(file: AtomicFile, data: bytes) -> None:
    file.write(data)
    _pad(file)


def _pad(file: AtomicFile, filler: bytes = b"\0") -> None:
    file.write(filler * (-file.written % BLOCK))
