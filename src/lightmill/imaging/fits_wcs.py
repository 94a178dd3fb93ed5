"""Say where on the sky each pixel is, from the FITS keywords of the exposure itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from lightmill.errors import DataError
from lightmill.imaging.footprint import corners, region_text
from lightmill.imaging.plain_systems import TangentSystem
from lightmill.models import CalModel
from lightmill.models.asdf_tree import STANDARD, array_tag
from lightmill.models.cards import Header
from lightmill.models.content import celestial_cards, put_celestial_cards, wcs_of_cards
from lightmill.models.lineage import force, frame_of
from lightmill.pipeline import Skipped, Step

__all__ = ["AssignFitsWcs", "tangent_system"]

KEYS = ("crpix1", "crpix2", "crval1", "crval2", "cdelt1", "cdelt2")
MATRIX = {"pc1_1": 1.0, "pc1_2": 0.0, "pc2_1": 0.0, "pc2_2": 1.0}  # what none means
TANGENT = ("RA---TAN", "DEC--TAN")
AXES = ("ctype1", "ctype2", "cunit1", "cunit2")
# Of a plain tangent plane: what these say otherwise than here makes it another system.
USUAL = {"wcsaxes": 2, "latpole": None, "lonpole": 180.0, "radesys": "ICRS", "radecsys": "ICRS",
         "equinox": 2000.0}  # fmt: skip


class AssignFitsWcs(Step):
    """Give an image its world coordinates from its FITS keywords.

    For telescopes that say where each frame looked, and need no model of the optics. Keywords
    of the primary header are taken where those of the image say nothing. The product gets the
    keywords in the header of the image, and its outline; a tangent plane, the usual case, also as
    a generalised system in its ASDF extension. Other projections and distortion polynomials (SIP,
    TPV) stay keywords: `lightmill.models.wcs_of` evaluates them.
    """

    name = "fits_wcs"
    reads, writes = CalModel, CalModel
    rows = True  # every band gets the system of the whole frame

    def apply(self, image: CalModel) -> CalModel | Skipped:
        """Put the system together; no array is touched."""
        cards = celestial_cards(image)
        if not cards:
            return Skipped(image, "the header has no world coordinates")
        header = Header(cards, f"{image.path or image.meta.filename}")
        said = {keyword.lower(): header.get(keyword) for keyword in header.keywords()}
        if not _is_plain(said):
            return _by_keywords(image, cards)
        system = tangent_system(said, frame_of(image), image.path or image.meta.filename)
        tree = image.foreign.asdf
        standard = STANDARD if tree is None else tree.standard()
        result: CalModel = image.evolve()
        force(result, "wcs", system.node(array_tag(standard)))
        outline = region_text(corners(system.forward_transform, system.bounding_box))
        result.meta.update(
            {
                **{
                    f"wcsinfo.{name}": said[name]
                    for name in (*KEYS, *MATRIX, *AXES)
                    if said.get(name) is not None
                },
                "wcsinfo.wcsaxes": 2,
                "wcsinfo.s_region": outline,
            }
        )
        return result


def _is_plain(said: dict[str, Any]) -> bool:
    """Say whether keywords describe nothing but a tangent plane, completely or not."""
    if (said.get("ctype1"), said.get("ctype2")) != TANGENT:
        return False
    for name, value in said.items():
        usual = USUAL.get(name)
        if name not in {*KEYS, *MATRIX, *AXES, *USUAL} or (usual is not None and value != usual):
            return False
    return True


def _by_keywords(image: CalModel, cards: list[bytes]) -> CalModel:
    """Return an image whose system is that of its FITS keywords, whatever their projection."""
    place = f"{image.path or image.meta.filename}"
    wcs = wcs_of_cards(cards, place)
    kinds = None if wcs is None else (wcs.wcs.lngtyp.strip(), wcs.wcs.lattyp.strip())
    if kinds != ("RA", "DEC"):
        raise DataError(
            "the world coordinates of the image are of another kind",
            place=f"{place}[CTYPE1, CTYPE2]",
            found="no place on the sky" if wcs is None else ", ".join(wcs.wcs.ctype),
            expected="RA---xxx, DEC--xxx, of any projection",
            remedy="correct the keywords, or leave the step out: --skip fits_wcs",
        )
    ny, nx = frame_of(image)

    def sky(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        ra, dec = wcs.all_pix2world(x, y, 0)
        return ra, dec

    outline = region_text(corners(sky, ((-0.5, nx - 0.5), (-0.5, ny - 0.5))))
    if outline is None:
        raise DataError(
            "a corner of the image is nowhere on the sky",
            place=place,
            found=", ".join(wcs.wcs.ctype),
            expected="right ascension and declination of every pixel",
            remedy="correct the keywords, or leave the step out: --skip fits_wcs",
        )
    result: CalModel = put_celestial_cards(image, cards)  # type: ignore[assignment]
    result.meta.update({"wcsinfo.wcsaxes": 2, "wcsinfo.s_region": outline})
    return result


def tangent_system(
    said: dict[str, Any], shape: tuple[int, int], place: object = None
) -> TangentSystem:
    """Return the tangent plane that FITS keywords describe [1]_.

    Parameters
    ----------
    said : dict
        Keywords in small letters: ``crpix1`` … from 1, as FITS counts; ``crval1``, ``cdelt1`` …
        [deg]; ``pc1_1`` … , the identity where they are not there; ``ctype1``, ``cunit1`` … .
    shape : (int, int)
        Rows and columns of the image.
    place : object, optional
        Of the keywords, for errors.

    Returns
    -------
    system : TangentSystem
        Its pixels count from 0.

    Raises
    ------
    DataError
        If a keyword is missing, or it is no tangent plane in degrees.

    References
    ----------
    .. [1] Calabretta, M. R. & Greisen, E. W. 2002, A&A, 395, 1077.
    """
    kinds = (said.get("ctype1"), said.get("ctype2"))
    if kinds != TANGENT:
        raise DataError(
            "the projection of the image is not known",
            place=f"{place}[CTYPE1, CTYPE2]",
            found=", ".join(map(str, kinds)),
            expected=", ".join(TANGENT),
            remedy="leave the step out: --skip fits_wcs",
        )
    units = {str(said.get(name) or "deg").strip().lower() for name in ("cunit1", "cunit2")}
    missing = [name.upper() for name in KEYS if said.get(name) is None]
    if missing or units != {"deg"}:
        raise DataError(
            "the world coordinates of the image are not complete",
            place=place,
            found=f"no {', '.join(missing)}" if missing else f"CUNIT {', '.join(sorted(units))}",
            expected=f"{', '.join(name.upper() for name in KEYS)} in degrees",
            remedy="correct the keywords, or leave the step out: --skip fits_wcs",
        )
    pc = [default if said.get(name) is None else said[name] for name, default in MATRIX.items()]
    scale = np.array([said["cdelt1"], said["cdelt2"]], np.float64)
    step = float(np.sqrt(abs(scale[0] * scale[1])))
    if not step > 0:
        raise DataError(
            "pixels of the image have no size",
            place=f"{place}[CDELT1, CDELT2]",
            found=f"{scale[0]}, {scale[1]}",
            expected="degrees, not 0",
        )
    return TangentSystem(
        crval=(said["crval1"], said["crval2"]),
        crpix=(said["crpix1"] - 1.0, said["crpix2"] - 1.0),
        step=step,
        matrix=np.reshape(np.array(pc, np.float64), (2, 2)) * scale[:, None] / step,
        shape=shape,
    )
