"""The archive's tables of 1997, as views of the state: names, columns and flags operators know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightmill.observatories.hst.wfpc2.previews import DEFAULT_POLICY
from lightmill.observatories.hst.wfpc2.state import State

__all__ = ["dads_received", "hst_association_members", "hst_associations", "jit_member", "tables"]

Row = dict[str, Any]
MAS = 3_600_000  # milliarcsec of a degree
TYPES = {"A": 1, "B": 2}  # ass_type; 0 is an exposure alone


def dads_received(state: State, policy: str = DEFAULT_POLICY) -> Iterator[Row]:
    """Yield a row for each generation of each dataset, and one for each association.

    Parameters
    ----------
    state : State
        Of the archive.
    policy : str
        Preview policy that the flag of associations follows.

    Yields
    ------
    row : dict
        In order of class and names; ``is_association`` tells an association's name from an
        exposure's.
    """
    for (root, kind), received in sorted(state.received.items()):
        exposure = state.exposures.get(root)
        flags = state.flags[root]
        for generation, one in sorted(received.generations.items()):
            current = generation == received.current
            yield {
                "dataset_name": received.dataset,
                "archive_class": kind,
                "gen_date_str": generation,
                "gen_date": date_of(generation),
                "jitter": (flags.cal if kind == "CAL" else flags.oms) if current else one.flag,
                "curr": "Y" if current else "N",
                "preview": " ",
                "pep_id": exposure.pep_id if exposure else None,
                "is_association": False,
            }
    for assoc_id, association in sorted(state.associations.items()):
        yield {
            "dataset_name": assoc_id,
            "archive_class": "CAL",
            "gen_date_str": association.gen_date_str,
            "gen_date": date_of(association.gen_date_str),
            "jitter": "Y",
            "curr": "Y",
            "preview": _preview(state, policy, assoc_id),
            "pep_id": association.pep_id,
            "is_association": True,
        }


def jit_member(state: State) -> Iterator[Row]:
    """Yield the pointing in use of each exposure.

    Parameters
    ----------
    state : State
        Of the archive.

    Yields
    ------
    row : dict
        In order of names.
    """
    for _, at in sorted(state.pointings.items()):
        yield {
            "dataset": at.dataset,
            "gen_date_str": at.gen_date_str,
            "ra": at.ra,
            "dec": at.dec,
            "roll": at.roll,
            "sigma_ra": at.sigma_ra,
            "sigma_dec": at.sigma_dec,
            "sigma_roll": at.sigma_roll,
            "quality": at.quality,
            "causes": "; ".join(at.causes),
        }


def hst_associations(state: State, policy: str = DEFAULT_POLICY) -> Iterator[Row]:
    """Yield associations, and exposures alone as associations of one (ass_type 0).

    Parameters
    ----------
    state : State
        Of the archive.
    policy : str
        Preview policy that the field ``preview`` follows.

    Yields
    ------
    row : dict
        In order of proposal and identity.
    """
    for pep_id in sorted(state.proposals):
        rows = [_association(state, policy, one) for one in state.of_proposal.get(pep_id, ())]
        rows += [
            _single(state, root)
            for root in state.proposals[pep_id]
            if state.exposures[root].dataset_name not in state.member_of and state.generation(root)
        ]
        yield from sorted(rows, key=lambda row: row["assoc_id"])


def hst_association_members(state: State) -> Iterator[Row]:
    """Yield the members of associations.

    Parameters
    ----------
    state : State
        Of the archive.

    Yields
    ------
    row : dict
        In order of association and name.
    """
    for assoc_id, association in sorted(state.associations.items()):
        for member in association.members:
            yield {
                "assoc_id": assoc_id,
                "dataset_name": member.dataset,
                "member_type": member.quality,
                "distance": member.distance,
                "delta_roll": member.delta_roll,
                "shifts": member.shifts,
                "gen_date_str": member.gen_date_str,
                "gen_date": date_of(member.gen_date_str),
            }


def tables(state: State, policy: str = DEFAULT_POLICY) -> dict[str, list[Row]]:
    """Return all tables: equal for equal archives, however they came to be.

    Parameters
    ----------
    state : State
        Of the archive.
    policy : str
        Preview policy.

    Returns
    -------
    tables : dict
        Name → rows, in order.
    """
    return {
        "dads_received": list(dads_received(state, policy)),
        "jit_member": list(jit_member(state)),
        "hst_associations": list(hst_associations(state, policy)),
        "hst_association_members": list(hst_association_members(state)),
    }


def date_of(gen_date_str: str) -> str:
    """Return a generation's date as ISO 8601, UTC; as it is where it is none.

    Parameters
    ----------
    gen_date_str : str
        YYYYMMDDHHMM.

    Returns
    -------
    date : str
        YYYY-MM-DDTHH:MM:00.
    """
    g = gen_date_str
    if len(g) != 12 or not g.isdigit():
        return g
    return f"{g[:4]}-{g[4:6]}-{g[6:8]}T{g[8:10]}:{g[10:]}:00"


def _preview(state: State, policy: str, assoc_id: str) -> str:
    return " " if assoc_id in state.owed[policy] else "Y"


def _association(state: State, policy: str, assoc_id: str) -> Row:
    one = state.associations[assoc_id]
    return {
        "assoc_id": assoc_id,
        "targname": one.targname,
        "pep_id": one.pep_id,
        "ra_jit": round(one.ra * MAS),
        "dec_jit": round(one.dec * MAS),
        "roll_jit": round(one.roll * MAS),
        "exptime": one.exptime,
        "filter": one.filter,
        "min_distance": one.min_distance,
        "max_distance": one.max_distance,
        "max_time_span": one.max_time_span,
        "no_members": len(one.members),
        "ass_type": TYPES[assoc_id[-1]],
        "ass_start_time_dmf": one.start_time_dmf,
        "ass_release_date_dmf": one.release_date_dmf,
        "gen_date_str": one.gen_date_str,
        "gen_date": date_of(one.gen_date_str),
        "preview": _preview(state, policy, assoc_id),
    }


def _single(state: State, root: str) -> Row:
    exposure, generation = state.exposures[root], state.generation(root)
    return {
        "assoc_id": exposure.dataset_name,
        "targname": exposure.targname,
        "pep_id": exposure.pep_id,
        "ra_jit": None,
        "dec_jit": None,
        "roll_jit": None,
        "exptime": exposure.exptime,
        "filter": exposure.filter,
        "min_distance": 0,
        "max_distance": 0,
        "max_time_span": 0,
        "no_members": 1,
        "ass_type": 0,
        "ass_start_time_dmf": exposure.start_time_dmf,
        "ass_release_date_dmf": exposure.release_date_dmf,
        "gen_date_str": generation,
        "gen_date": date_of(generation),
        "preview": " ",
    }
