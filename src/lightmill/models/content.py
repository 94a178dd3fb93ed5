"""Objects in the ASDF tree of a model: transforms, tables, world coordinate systems.

A tree is read as plain nodes with tags (`lightmill.models.asdf_tree`). What a tag stands for is
made by the packages that define it (asdf-astropy, gwcs), imported only when somebody asks for the
object; an object put into a model becomes nodes only when the model is written.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

from lightmill.errors import ConfigurationError, CorruptFileError, DataError
from lightmill.models.asdf_file import inline
from lightmill.models.asdf_tree import STANDARD, AsdfSection, ObjectNode, Tagged, dump_tree
from lightmill.models.cards import Header
from lightmill.models.fits_writer import merged_cards
from lightmill.models.lineage import force
from lightmill.models.model import Model

__all__ = [
    "cards_of_image", "celestial_cards", "content", "keyword_wcs_of", "node_of", "put_celestial_cards", "put_wcs",
    "wcs_of", "wcs_of_cards",
]  # fmt: skip

_HOLDER = "held"
# FITS standard 4.0 (Pence et al. 2010, A&A 524, A42); SIP: Shupe et al. 2005, ASPC 347, 491.
_CELESTIAL = re.compile(
    rb"(WCSAXES|RADE(CSYS|SYS)|EQUINOX|LONPOLE|LATPOLE|C(TYPE|RPIX|RVAL|DELT|UNIT|ROTA)[12]"
    rb"|(PC|CD)[12]_[12]|P[VS][12]_\d+|[AB]P?_(ORDER|DMAX|\d+_\d+)) *="
)
WCS = "wcs"  # place of the world coordinate system in the metadata, as the field's files have it


def node_of(value: Any, standard: str = STANDARD) -> Tagged:
    """Return the node that stands for an object the ASDF packages know.

    Parameters
    ----------
    value : object
        A transform, a table, a world coordinate system …
    standard : str
        Version of the ASDF standard to write for.

    Raises
    ------
    DataError
        If no package knows how to write it.
    """
    asdf = _library()
    stream = io.BytesIO()
    try:
        asdf.AsdfFile({_HOLDER: value}, version=standard).write_to(
            stream, all_array_storage="inline"
        )
    except Exception as error:  # whatever the converter of the object raises
        raise DataError(
            "the object cannot be written into an ASDF tree",
            place=type(value).__name__,
            found=error,
        ) from error
    node = AsdfSection(stream.getvalue, type(value).__name__).tree().get(_HOLDER)
    if not isinstance(node, Tagged):
        raise DataError(
            "the object has no tag of its own in ASDF", place=type(value).__name__, found=node
        )
    return node


def content(model: Model, name: str) -> Any:
    """Return what the tree of a model holds under a name, as the object it stands for.

    Parameters
    ----------
    model : Model
        From a file with an ASDF tree.
    name : str
        ``model`` of a distortion reference, for instance; ``meta.`` leads into the metadata.

    Returns
    -------
    held : object
        None if there is no such name.

    Raises
    ------
    CorruptFileError
        If the tree is damaged, or a tag's content is not what the tag wants.
    ConfigurationError
        If the packages that know such objects are not installed.
    """
    if name.startswith("meta."):
        node = model.meta.get(name.removeprefix("meta."))
    else:
        node = model.foreign.tree().get(name)
    return None if node is None else _object_of(node, model, name)


def wcs_of(model: Model) -> Any:
    """Return the world coordinate system of an image.

    Parameters
    ----------
    model : Model
        An image.

    Returns
    -------
    wcs : gwcs.WCS or astropy.wcs.WCS or None
        The generalised system of the ASDF tree; without one that of the FITS keywords; None if
        there is neither. Both have ``pixel_to_world_values`` and ``world_to_pixel_values``
        (pixels from 0, degrees).

    Raises
    ------
    CorruptFileError
        If the tree is damaged.
    """
    node = model.meta.get(WCS)
    if node is None:
        return keyword_wcs_of(model)
    if isinstance(node, ObjectNode):
        return node.held
    wcs = _object_of(node, model, f"meta.{WCS}")
    model._store.values[WCS] = kept = ObjectNode(wcs)  # made once a model
    if isinstance(node, Tagged) and not _has_blocks(model):
        kept._nodes[_standard_of(model)] = node
    return wcs


def put_wcs(model: Model, wcs: Any) -> Model:
    """Return the model with another world coordinate system.

    Parameters
    ----------
    model : Model
    wcs : gwcs.WCS
        It must not be changed afterwards.
    """
    changed = model.evolve()
    force(changed, WCS, ObjectNode(wcs))
    return changed


def _standard_of(model: Model) -> str:
    asdf = model.foreign.asdf
    return STANDARD if asdf is None else asdf.standard()


def _has_blocks(model: Model) -> bool:
    asdf = model.foreign.asdf
    return asdf is not None and bool(asdf.blocks())


def _object_of(node: Any, model: Model, name: str) -> Any:
    if isinstance(node, ObjectNode):
        return node.held
    asdf = _library()
    section = model.foreign.asdf
    blocks = b"" if section is None else section.blocks()
    standard = _standard_of(model)
    stream = io.BytesIO(dump_tree({_HOLDER: inline(node, standard)}, blocks, standard))
    place = f"{model.path or model.model_type}[ASDF]/{name}"
    try:
        with asdf.open(stream, memmap=False, lazy_load=False) as file:
            held = file.tree[_HOLDER]
    except Exception as error:  # whatever the converter of a tag raises
        raise CorruptFileError(
            "the tree holds an object that cannot be made",
            place=place,
            found=error,
            remedy="fetch the file again",
        ) from error
    return held


def keyword_wcs_of(model: Model) -> Any:
    """Return the world coordinate system that the FITS keywords of an image tell.

    It needs no package but astropy, and agrees with the generalised one to 0.01 pixel or so; a
    picture can do with it.

    Parameters
    ----------
    model : Model
        An image.

    Returns
    -------
    wcs : astropy.wcs.WCS or None
        None if the keywords tell of no place on the sky.

    Raises
    ------
    CorruptFileError
        If the keywords contradict each other.
    """
    cards = cards_of_image(model)
    return wcs_of_cards(cards, model.path or model.model_type) if _has_axes(cards) else None


def cards_of_image(model: Model) -> list[bytes]:
    """Return the header of a model's image, as it would be written.

    Parameters
    ----------
    model : Model
        An image, a spectrum or a cube.

    Returns
    -------
    cards : list of bytes
        80 bytes each; those of the primary header where the image has none of its own.
    """
    store, headers = model.meta._store, model.foreign.headers
    header = headers.get(("SCI", 1))
    cards = merged_cards(header, "SCI", store.schema, store.values)
    if not _has_axes(cards) and header is None and ("PRIMARY", 1) in headers:
        return list(headers["PRIMARY", 1].cards)
    return cards


def celestial_cards(model: Model) -> list[bytes]:
    """Return the cards that say where the pixels of an image are on the sky.

    Parameters
    ----------
    model : Model
        An image.

    Returns
    -------
    cards : list of bytes
        80 bytes each, of any projection, with distortion polynomials: those of the image, else
        those of the primary header; empty where neither says anything.
    """
    store, headers = model.meta._store, model.foreign.headers
    for hdu in ("SCI", "PRIMARY"):
        cards = merged_cards(headers.get((hdu, 1)), hdu, store.schema, store.values)
        if _has_axes(cards):
            return [card for card in cards if _CELESTIAL.match(card)]
    return []


def put_celestial_cards(model: Model, cards: list[bytes]) -> Model:
    """Return the image with other cards that say where its pixels are on the sky.

    Parameters
    ----------
    model : Model
    cards : list of bytes
        As of `celestial_cards`; they stand in the header of the image then.
    """
    changed = model.evolve()
    store = changed.meta._store
    given = Header(list(cards), f"{model.path or model.model_type}[SCI]")
    for (hdu, keyword), field in store.schema.keywords.items():
        if hdu == "SCI" and _CELESTIAL.match(keyword.ljust(8).encode() + b"="):
            changed.meta[field.path] = given.get(keyword)
    old = store.foreign.headers.get(("SCI", 1))
    rest = [] if old is None else [card for card in old.cards if not _CELESTIAL.match(card)]
    unknown = [
        card for card in cards if ("SCI", card[:8].decode().rstrip()) not in store.schema.keywords
    ]
    place = given.place if old is None else old.place
    headers = {**store.foreign.headers, ("SCI", 1): Header([*rest, *unknown], place)}
    store.foreign = replace(store.foreign, headers=headers)
    return changed


def wcs_of_cards(cards: list[bytes], place: object = None) -> Any:
    """Return the world coordinate system that the cards of a header tell.

    Parameters
    ----------
    cards : list of bytes
        80 bytes each.
    place : object, optional
        Of the header, for errors.

    Returns
    -------
    wcs : astropy.wcs.WCS or None
        Of the first two axes; None if they are no places on the sky.

    Raises
    ------
    CorruptFileError
        If the keywords contradict each other.
    """
    import warnings

    from astropy import wcs as fits_wcs
    from astropy.io import fits

    text = b"".join(cards) + b"END".ljust(80)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits_wcs.FITSFixedWarning)
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        try:
            header_of_cards = fits.Header.fromstring(text.decode("latin-1"))
            for axis, order in (("CTYPE1", "A_ORDER"), ("CTYPE2", "B_ORDER")):
                if order in header_of_cards and str(header_of_cards[axis]).endswith("-TAN"):
                    header_of_cards[axis] += "-SIP"  # left out by some observatories, and meant
            wcs = fits_wcs.WCS(header_of_cards, naxis=2)
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptFileError(
                "the keywords of the world coordinates contradict each other",
                place=f"{place}[SCI]",
                found=error,
            ) from error
    return wcs if wcs.has_celestial else None


def _has_axes(cards: list[bytes]) -> bool:
    return any(card.startswith(b"CTYPE1  =") for card in cards)


def _library() -> Any:
    try:
        import asdf
        import asdf_astropy  # noqa: F401 - its presence is what matters
        import gwcs  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "world coordinates need packages that are not installed",
            found=error,
            expected="gwcs and asdf-astropy",
            remedy="pip install 'lightmill[imaging]'",
        ) from error
    return asdf
