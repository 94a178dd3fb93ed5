"""Exposures and their reference files on disk, as a user has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightmill.models import Model
from lightmill.testing.exposures import make_uncal
from lightmill.testing.references import make_references

__all__ = ["Exposure", "write_exposure"]


@dataclass
class Exposure:
    """A raw file and the reference files that fit it.

    Parameters
    ----------
    path : Path
        The raw file.
    overrides : dict
        Reference type → file.
    """

    path: Path
    overrides: dict[str, str] = field(default_factory=dict)


def write_exposure(
    folder: str | Path,
    uncal: Model | None = None,
    *,
    name: str = "lantern001_uncal.fits",
    values: dict[str, Any] | None = None,
    **physics: Any,
) -> Exposure:
    """Write a raw exposure and its reference files.

    Parameters
    ----------
    folder : path_like
        Made where it is not there.
    uncal : Model, optional
        The exposure; made of `physics` otherwise.
    name : str
        Of the raw file.
    values : dict, optional
        Reference type → what it says; see `make_reference`.
    **physics
        See `make_uncal`.

    Returns
    -------
    exposure : Exposure
        The raw file, and a reference file of every type as overrides.
    """
    folder = Path(folder)
    (folder / "references").mkdir(parents=True, exist_ok=True)
    uncal = make_uncal(**physics) if uncal is None else uncal
    path = uncal.save(folder / name)
    overrides = {}
    for reftype, reference in make_references(uncal, **(values or {})).items():
        overrides[reftype] = str(reference.save(folder / "references" / f"{reftype}.fits"))
    return Exposure(path, overrides)
