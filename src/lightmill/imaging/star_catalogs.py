"""Catalogs of the stars of single exposures: those a user gives, and those found, to be saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.errors import ConfigurationError
from lightmill.imaging.reference_stars import read_positions
from lightmill.imaging.star_finding import Stars

__all__ = ["given_stars", "star_catalog"]


def given_stars(path: str | Path, names: Sequence[str]) -> dict[str, Stars]:
    """Return the stars of a user's own catalogs.

    Parameters
    ----------
    path : path
        A text file with lines: name of an exposure, name of its catalog (ECSV, CSV or FITS with
        columns ``x`` and ``y`` [pixel, from 0]), which lies beside the list or below it. What
        follows # is a comment.
    names : sequence of str
        The exposures.

    Returns
    -------
    stars : dict
        Exposure → stars; without those that the list does not name.

    Raises
    ------
    ConfigurationError
        If the list or a catalog is not there, or a catalog lies elsewhere.
    CorruptFileError, DataError
        If a catalog is not a table of positions.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            "the list of catalogs cannot be read",
            place="tweakreg.catfile",
            found=str(path) or "no name",
            expected="a text file with lines: name of an exposure, name of its catalog",
        ) from error
    found = {}
    for line in lines:
        words = line.split("#")[0].split()
        if len(words) < 2 or words[0] not in names:
            continue
        name = Path(words[1])
        if name.is_absolute() or ".." in name.parts:
            raise ConfigurationError(
                "a catalog lies outside the folder of the list",
                place=path,
                found=words[1],
                expected="a name in or below the folder",
            )
        x, y = read_positions(Path(path).parent / name)
        ones = np.ones(len(x))
        # nothing is known of their errors: those of a star of S/N 100
        found[words[0]] = Stars(x, y, ones, 100 * ones, ones, ones, 1.0)
    return found


def star_catalog(stars: Stars, wcs: Any, model: Any) -> Any:
    """Return the stars of an exposure as a table to be saved.

    Parameters
    ----------
    stars : Stars
    wcs : gwcs.WCS or astropy.wcs.WCS
        World coordinates of the exposure before it is aligned.
    model : Model
        The exposure.

    Returns
    -------
    catalog : Catalog
        Columns ``id``, ``x``, ``y`` [pixel, from 0], ``RA``, ``DEC`` [deg], ``flux`` [unit of the
        image x pixel] and ``snr``.
    """
    from astropy import units
    from astropy.table import QTable

    from lightmill.models.catalog import Catalog

    ra, dec = wcs.pixel_to_world_values(stars.x, stars.y)
    table = QTable(
        {
            "id": np.arange(1, len(stars) + 1),
            "x": stars.x * units.pix,
            "y": stars.y * units.pix,
            "RA": np.asarray(ra) * units.deg,
            "DEC": np.asarray(dec) * units.deg,
            "flux": stars.flux,
            "snr": stars.snr,
        }
    )
    return Catalog(table, meta=model.meta, path=model.path)
