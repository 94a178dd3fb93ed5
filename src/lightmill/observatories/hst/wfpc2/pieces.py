"""The pieces of maintenance on files alone: a pointing, a proposal's associations, a product.

What a piece is given and what it makes are files, so that any engine can run it anywhere: nothing is
known of a store. `lightmill ops` has them run; the results are those of `lightmill wfpc2 run`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightmill.errors import CorruptFileError, ValidationError
from lightmill.models.output import atomic
from lightmill.observatories.hst.wfpc2.associations import Association
from lightmill.observatories.hst.wfpc2.builder import associate
from lightmill.observatories.hst.wfpc2.events import Built, Extracted, event_of
from lightmill.observatories.hst.wfpc2.exposures import Exposure, root_of
from lightmill.observatories.hst.wfpc2.jitter import Pointing, extract
from lightmill.observatories.hst.wfpc2.products import write_products
from lightmill.observatories.hst.wfpc2.rules import Rules

__all__ = [
    "Stem",
    "association_of",
    "build",
    "make_product",
    "measure",
    "pointing_of",
    "read_json",
    "stem_of",
]

PAIR = re.compile(r"(u[a-z0-9]{7})j_(\d{12})_(jit|jif|jih|cmi|cmh|pointing)\.[a-z]+")
LARGEST = 256 << 20  # bytes of a document


class Stem(tuple[str, str]):
    """Jitter dataset and generation that a file's name tells."""

    __slots__ = ()

    @property
    def dataset(self) -> str:
        """Name of the jitter dataset."""
        return self[0]

    @property
    def generation(self) -> str:
        """YYYYMMDDHHMM."""
        return self[1]


def stem_of(name: str) -> Stem:
    """Return which generation of which jitter dataset a file is of.

    Parameters
    ----------
    name : str
        ``u26k2s02j_199703130951_jit.fits``, ``_jif.fits``, of GEIS files ``_jih.fits``, ``_cmi.fits``
        and ``_cmh.fits``, or ``_pointing.json``.

    Raises
    ------
    ValidationError
        If it is called otherwise.
    """
    found = PAIR.fullmatch(name.lower())
    if found is None:
        raise ValidationError(
            "this is not the name of a jitter file",
            found=name,
            expected="u26k2s02j_199703130951_jit.fits: dataset, generation, what it is",
            remedy="give the file its name",
        )
    return Stem((f"{found[1].upper()}J", found[2]))


def measure(jit: Path, jif: Path, folder: Path, rules: Rules | None = None) -> Path:
    """Measure the pointing in a pair of jitter files, and write it down.

    Parameters
    ----------
    jit, jif : path
        The table, and the statistics; both of one generation, as their names tell.
    folder : path
        Where to.
    rules : Rules, optional
        Thresholds of quality.

    Returns
    -------
    path : Path
        ``<dataset>_<generation>_pointing.json``.

    Raises
    ------
    DataError, CorruptFileError, ValidationError
        If the pair cannot be read, or is of two generations.
    """
    stem = stem_of(jit.name)
    if stem_of(jif.name) != stem:
        raise ValidationError(
            "table and statistics are not a pair", place=jit.name, found=jif.name,
            expected=f"{stem.dataset.lower()}_{stem.generation}_jif.fits",
        )  # fmt: skip
    found = extract(jit, jif, dataset=stem.dataset, gen_date_str=stem.generation, rules=rules)
    path = folder / f"{stem.dataset.lower()}_{stem.generation}_pointing.json"
    _write(path, asdict(found))
    return path


def build(document: Path, pointings: Path, folder: Path) -> list[Path]:
    """Build the associations of a proposal, and write each down.

    Parameters
    ----------
    document : path
        ``exposures``: what the archive's database tells of each, with ``gen_date_str``;
        ``rules``: tolerances.
    pointings : path
        Folder of ``_pointing.json``; of each exposure one.
    folder : path
        Where to.

    Returns
    -------
    paths : list of Path
        ``<association>_asn.json``, in order.
    """
    told = read_json(document)
    try:
        exposures = [Exposure.from_row(one) for one in told["exposures"]]
        generations = {
            e.root: str(o["gen_date_str"])
            for e, o in zip(exposures, told["exposures"], strict=True)
        }
        rules = Rules(**told.get("rules", {}))
    except (KeyError, TypeError) as error:
        raise ValidationError(
            "this is no proposal", place=document, found=error, expected="exposures, rules"
        ) from error
    measured: dict[str, Pointing] = {}
    for path in sorted(pointings.glob("*_pointing.json")):
        pointing = pointing_of(read_json(path))
        measured[root_of(pointing.dataset)] = pointing
    paths = []
    for one in associate(exposures, measured, generations, rules=rules).associations.values():
        paths.append(folder / f"{one.assoc_id.lower()}_asn.json")
        _write(paths[-1], asdict(one))
    return paths


def make_product(
    association: Path, folder: Path, frames: Path | None = None, rules: Rules | None = None
) -> list[Path]:
    """Make the products of an association that was written down.

    Parameters
    ----------
    association : path
        ``<association>_asn.json``.
    folder : path
        Where to.
    frames : path, optional
        Folder of calibrated frames; without it the table only is made.
    rules : Rules, optional
        Tolerances it was built with.

    Returns
    -------
    paths : list of Path
        Each whole or not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return write_products(folder, association_of(read_json(association)), frames, rules)


def pointing_of(record: Mapping[str, Any]) -> Pointing:
    """Return the pointing that a record holds.

    Parameters
    ----------
    record : mapping
        Of plain values, as `measure` writes it.

    Raises
    ------
    ValidationError
        If it is none.
    """
    found = event_of({"event": "Extracted", "pointing": record})
    assert isinstance(found, Extracted)
    return found.pointing


def association_of(record: Mapping[str, Any]) -> Association:
    """Return the association that a record holds.

    Parameters
    ----------
    record : mapping
        Of plain values, as `build` writes it.

    Raises
    ------
    ValidationError
        If it is none.
    """
    found = event_of(
        {"event": "Built", "pep_id": record.get("pep_id"), "read": (), "upto": 0, "inputs": "",
         "associations": [record]}
    )  # fmt: skip
    assert isinstance(found, Built)
    return found.associations[0]


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a file of JSON holds.

    Parameters
    ----------
    path : path
        Of the file.

    Raises
    ------
    CorruptFileError
        If it cannot be read, or holds something else.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"more than {LARGEST} bytes")  # noqa: TRY301 - told like the others
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptFileError("the file cannot be read", place=path, found=error) from error
    if not isinstance(found, dict):
        raise CorruptFileError(
            "the file is not what it should be", place=path, found=type(found).__name__,
            expected="an object",
        )  # fmt: skip
    return found


def _write(path: Path, record: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as file:
        file.write(json.dumps(record, indent=1, sort_keys=True).encode())
