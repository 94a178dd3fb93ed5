"""Deliveries of an archive's copy, put where operations take in what is delivered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from lightmill.models.output import atomic
from lightmill.observatories.hst.wfpc2 import events
from lightmill.observatories.hst.wfpc2.exposures import Exposure, root_of
from lightmill.observatories.hst.wfpc2.instance import Instance, inside

__all__ = ["Handed", "hand_over"]


@dataclass(frozen=True)
class Handed:
    """What was put where operations take it in.

    Parameters
    ----------
    files : list of Path
        Whole, under their names.
    missing : list of str
        Files that the delivery names and the archive's folder does not have.
    corrections : list of Changed
        Values of the database, to be told to operations when the files are taken in.
    """

    files: list[Path]
    missing: list[str]
    corrections: list[events.Changed]


def hand_over(instance: Instance, delivery: int, inbox: Path) -> Handed:
    """Put a delivery where operations take it in.

    Parameters
    ----------
    instance : Instance
        The archive's copy.
    delivery : int
        Its number.
    inbox : path
        Where `lightmill ops watch` looks; jitter files are copied there, and of each exposure
        what the database says at the time of the delivery is written, ``_exposure.json``.

    Returns
    -------
    handed : Handed
        Killed before it returns, the same can be done again.
    """
    inbox.mkdir(parents=True, exist_ok=True)
    exposures = _exposures(instance, delivery)
    files, missing = [], []
    for arrived in instance.arrivals(delivery):
        if arrived.archive_class == "CAL":
            exposure = exposures.get(root_of(arrived.dataset))
            if exposure is None:
                missing.append(arrived.dataset)
                continue
            name = f"{exposure.dataset_name.lower()}_{arrived.gen_date_str}_exposure.json"
            told = {k: None if v != v else v for k, v in asdict(exposure).items()}  # noqa: PLR0124 - NaN only
            told["gen_date_str"] = arrived.gen_date_str
            files.append(_written(inbox / name, json.dumps(told, indent=1).encode()))
            continue
        for path in arrived.files:
            source = inside(instance.home, path)
            if source.is_file():
                files.append(_written(inbox / source.name, source.read_bytes()))
            else:
                missing.append(path)
    return Handed(files, missing, instance.changes(delivery))


def _exposures(instance: Instance, delivery: int) -> dict[str, Exposure]:
    """Return what the database says of exposures when a delivery comes."""
    known = {
        one.exposure.root: one.exposure
        for one in instance.exposures()
        if isinstance(one, events.Described)
    }
    for change in _changes(instance, delivery):
        root = root_of(change.dataset)
        if root in known:
            known[root] = known[root].changed(change.column, change.value)
    return known


def _changes(instance: Instance, delivery: int) -> Iterator[events.Changed]:
    for number in instance.deliveries:
        if number <= delivery:
            yield from instance.changes(number)


def _written(path: Path, content: bytes) -> Path:
    with atomic(path) as file:
        file.write(content)
    return path
