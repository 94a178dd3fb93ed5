"""Open a file as the model it holds."""

from __future__ import annotations

import os
from typing import Any

from lightmill.errors import CorruptFileError, DataError
from lightmill.models import dq
from lightmill.models.asdf_tree import AsdfSection
from lightmill.models.cards import Header
from lightmill.models.classes import (
    DarkImageModel,
    DarkModel,
    RampModel,
    RateIntsModel,
    RateModel,
    ReferenceModel,
    UncalModel,
    class_named,
    class_of_reftype,
)
from lightmill.models.exposures import Exposures
from lightmill.models.fits_reader import FitsFile, Hdu, read_fits
from lightmill.models.foreign import Foreign
from lightmill.models.lazy import FileBytes, HeldBytes
from lightmill.models.model import Model, accepted
from lightmill.models.namespace import MetaStore
from lightmill.models.overlay import model_schema, overlay_of
from lightmill.models.schema import ModelSchema
from lightmill.models.tables import LazyTable

__all__ = ["open", "read_header"]


def open(path_or_model: Any, *, leave_out: bool = False) -> Any:
    """Return the model a file holds; only headers are read.

    Parameters
    ----------
    path_or_model : path, Model, Exposures, or sequence of paths and models
        A FITS file (plain or gzipped), an ASDF file, or an association (JSON). A model is
        returned as it is.
    leave_out : bool
        Of an association: go on without members that are missing or damaged.

    Returns
    -------
    Model or Exposures
        Of the class the file names (DATAMODL), else its reference type
        (REFTYPE), else the shape of its image. Several exposures together for an association
        with one product, and for a sequence.

    Raises
    ------
    DataError
        If there is no such file.
    CorruptFileError
        If it is damaged or neither FITS nor ASDF.
    ValidationError, ShapeError
        If what it says breaks its schema.
    """
    if isinstance(path_or_model, (Model, Exposures)):
        return path_or_model
    if isinstance(path_or_model, (list, tuple)):
        return Exposures.of(path_or_model)
    if not isinstance(path_or_model, (str, os.PathLike)):
        raise DataError(
            "this cannot be opened as a model",
            found=type(path_or_model).__name__,
            expected="a path or a model",
        )
    if os.fspath(path_or_model).endswith(".json"):
        return Exposures.only(path_or_model, leave_out=leave_out)
    source: Any = FileBytes(os.fspath(path_or_model))
    start = bytearray(min(6, source.size))
    source.read_into(memoryview(start), 0)
    if start.startswith(b"\x1f\x8b"):
        source = _decompressed(source)
        start = bytearray(min(6, source.size))
        source.read_into(memoryview(start), 0)
    if start.startswith(b"#ASDF"):
        from lightmill.models.asdf_file import read_asdf

        return read_asdf(source)
    return _from_fits(read_fits(source))


def read_header(path: str | os.PathLike[str]) -> FitsFile:
    """Return the header-data units of a FITS file, for a look without a model."""
    return read_fits(FileBytes(os.fspath(path)))


def _decompressed(source: FileBytes) -> HeldBytes:
    import gzip
    import zlib

    try:
        with gzip.open(source.path) as stream:
            return HeldBytes(stream.read(), source.path)
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptFileError(
            "the file cannot be decompressed", place=source.path, found=error,
            remedy="fetch the file again",
        ) from error  # fmt: skip


def _from_fits(file: FitsFile) -> Model:
    header = file.primary.header
    telescope = header.text("TELESCOP") or None
    model_class = _class_of(file, telescope)
    schema = model_schema(model_class.schema, telescope)
    foreign = Foreign()
    section = file.find("ASDF")
    if section is not None and section.kind == "table":
        foreign.asdf = AsdfSection(section.data_bytes, section.place)
    arrays, places = _arrays(file, model_class, schema, foreign, section)
    store = MetaStore(schema, _values(file, schema, model_class), foreign, file.path.name)
    model = model_class._made(store, arrays, path=file.path, places=places)
    for name, field in schema.arrays.items():
        if field.required and name not in arrays:
            raise CorruptFileError(
                f"the file has no {field.hdu} extension",
                place=file.path,
                found=", ".join(hdu.name or "?" for hdu in file.hdus),
                expected=f"{field.hdu}: {field.title}",
                remedy="fetch the file again",
            )
    model._check_shapes()
    return model


def _values(file: FitsFile, schema: ModelSchema, model_class: type[Model]) -> dict[str, Any]:
    """Return what the headers say, checked."""
    headers = {hdu.name: hdu.header for hdu in reversed(file.hdus) if hdu.version == 1}
    lenient = issubclass(model_class, ReferenceModel)
    values: dict[str, Any] = {}
    # The headers hold fewer keywords than the schema knows: look these up, not those.
    known = [
        (header, keyword, schema.keywords[hdu, keyword])
        for hdu, header in headers.items()
        for keyword in header.keywords()
        if (hdu, keyword) in schema.keywords
    ]
    for header, keyword, field in known:
        value = header.get(keyword)
        if value is None:
            continue
        if lenient and "enum" in field.node and isinstance(value, str):
            values[field.path] = value
            continue
        values[field.path] = field.checked(value, f"{header.place}/{keyword}")
    return values


def _arrays(
    file: FitsFile,
    model_class: type[Model],
    schema: ModelSchema,
    foreign: Foreign,
    section: Hdu | None,
) -> tuple[dict[str, Any], dict[str, tuple[str, int]]]:
    known = {field.hdu: field for field in schema.arrays.values() if field.hdu}
    found: dict[str, Any] = {}
    places: dict[str, tuple[str, int]] = {}
    definitions = None
    image_in_primary = file.primary.has_data and file.find("SCI") is None
    for hdu in file.hdus:
        first = hdu is file.primary
        name = "SCI" if first and image_in_primary else hdu.name
        if first:
            foreign.headers["PRIMARY", 1] = hdu.header
        if hdu is section or (first and not hdu.has_data):
            continue
        field = known.get(name) if hdu.version == 1 else None
        if field is not None and _kind_of(hdu) == ("table" if field.is_table else "image"):
            value = LazyTable(hdu) if field.is_table else _fitting(hdu, field)
            if value is not None:
                found[field.name] = accepted(field, value, hdu.place)
                foreign.headers.setdefault((name, hdu.version), _own_header(hdu))
                continue
        if name == "DQ_DEF" and hdu.kind == "table" and issubclass(model_class, ReferenceModel):
            definitions = hdu
            continue
        if model_class is Model and _kind_of(hdu) == "image" and hdu.has_data:
            attribute = _attribute(name, hdu.version, found)
            found[attribute] = _array(hdu)
            places[attribute] = (name or attribute.upper(), hdu.version)
            foreign.headers.setdefault(places[attribute], _own_header(hdu))
            continue
        if not first:
            foreign.hdus.append(hdu)
    if definitions is not None:
        translate = dq.translator(_definitions(definitions))
        for name, field in schema.arrays.items():
            if field.flags and name in found and translate is not None:
                found[name] = found[name].translated(translate)
        if translate is None:
            foreign.hdus.append(definitions)
    ordered = {name: found[name] for name in schema.arrays if name in found}
    return {**ordered, **{name: one for name, one in found.items() if name not in ordered}}, places


def _kind_of(hdu: Hdu) -> str:
    return "image" if hdu.kind == "compressed" else hdu.kind


def _fitting(hdu: Hdu, field: Any) -> Any:
    """Return the image of an extension, a missing integration axis put in front."""
    if not hdu.has_data:
        return None
    array = _array(hdu)
    short = field.layout(array.ndim) is None and field.layout(array.ndim + 1) is not None
    if short and field.axes[0][0] == "integration":
        return array.reshape((1, *array.shape))
    return array


def _array(hdu: Hdu) -> Any:
    if hdu.kind == "compressed":
        from lightmill.models.unusual import CompressedArray

        return CompressedArray(hdu)
    return hdu.array()


def _own_header(hdu: Hdu) -> Header:
    if hdu.kind == "compressed":
        from lightmill.models.unusual import without_compression

        return without_compression(hdu.header)
    return hdu.header


def _definitions(hdu: Hdu) -> list[tuple[int, str]]:
    table = LazyTable(hdu).read()
    names = {name.upper(): name for name in table.dtype.names or ()}
    if "NAME" not in names or not {"VALUE", "BIT"} & set(names):
        raise CorruptFileError(
            "the table of flags is damaged", place=hdu.place, found=", ".join(names),
            expected="columns BIT or VALUE, and NAME",
        )  # fmt: skip
    texts = [str(text, "latin-1").strip() for text in table[names["NAME"]].tolist()]
    if "VALUE" in names:
        values = [int(value) for value in table[names["VALUE"]].tolist()]
    else:
        values = [1 << int(bit) for bit in table[names["BIT"]].tolist() if 0 <= int(bit) < 32]
    return list(zip(values, texts, strict=False))


def _attribute(name: str, version: int, taken: dict[str, Any]) -> str:
    attribute = "data" if name == "SCI" else (name or "image").lower().replace("-", "_")
    if not attribute.isidentifier() or hasattr(Model, attribute):
        attribute = f"image_{attribute}"
    if version != 1 or attribute in taken:
        number = version if version != 1 else 2
        while f"{attribute}_{number}" in taken:
            number += 1
        attribute = f"{attribute}_{number}"
    return attribute


def _class_of(file: FitsFile, telescope: str | None) -> type[Model]:
    header = file.primary.header
    overlay = overlay_of(telescope)
    name = header.text("DATAMODL")
    if name:
        extensions = {hdu.name for hdu in file.hdus}
        ours = (overlay.class_of(name, extensions) if overlay is not None else None) or name
        model_class = class_named(ours)
        if model_class is not None:
            return model_class
    reftype = header.text("REFTYPE")
    if reftype:
        model_class = class_of_reftype(reftype) or ReferenceModel
        science = file.find("SCI") or file.primary
        if model_class is DarkModel and science.has_data and len(science.shape) == 2:
            return DarkImageModel  # one image, not one for each group
        return model_class
    if name and overlay is not None:
        return Model
    return _class_by_shape(file)


def _class_by_shape(file: FitsFile) -> type[Model]:
    science = file.find("SCI") or file.primary
    if science.kind not in ("image", "compressed") or not science.has_data:
        return Model
    names = {hdu.name for hdu in file.hdus}
    whole_numbers = science.bitpix > 0
    ndim = len(science.shape)
    if ndim == 4 or (ndim == 3 and (whole_numbers or "GROUPDQ" in names)):
        flagged = bool({"PIXELDQ", "GROUPDQ"} & names)
        return UncalModel if whole_numbers and not flagged else RampModel
    if file.find("SCI", 2) is not None:
        return Model
    return {2: RateModel, 3: RateIntsModel}.get(ndim, Model)
