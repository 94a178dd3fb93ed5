"""An association and its members, as text that is the same wherever it was made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from lightmill.observatories.hst.wfpc2.geometry import CHIPS
from lightmill.observatories.hst.wfpc2.rules import BUILDER

__all__ = ["Association", "Member"]

SHIFT_STEP = 100  # content knows shifts to 1 / 100 pixel: jitter is good to 1 / 5


@dataclass(frozen=True, slots=True)
class Member:
    """An exposure of an association.

    Parameters
    ----------
    dataset : str
        Name of the exposure.
    quality : str
        P, G, B, I (no jitter file) or R (its roll disagrees with the header's).
    exptime : float
        Exposure time [s].
    gen_date_str : str
        Generation of the exposure's calibrated data.
    start_time : str
        Start, ISO 8601.
    distance : int
        From the leader [mas].
    delta_roll : float
        Roll beyond the leader's, carried to it [deg].
    pointing : int
        Which of the association's pointings; those of one number are a CR-SPLIT.
    shifts : tuple of (float, float)
        Where a star is beyond its place in the leader, on each chip of `CHIPS` [pixel].
    shift_source : str
        ``jitter``, ``wcs``, or ``none`` for the leader.
    shift_trusted : bool
        Whether the shift may be used without looking at the image.
    """

    dataset: str
    quality: str
    exptime: float
    gen_date_str: str
    start_time: str
    distance: int
    delta_roll: float
    pointing: int
    shifts: tuple[tuple[float, float], ...]
    shift_source: str
    shift_trusted: bool

    def content(self) -> str:
        """Return what a product made with this member depends on."""
        steps = " ".join(str(round(SHIFT_STEP * one)) for shift in self.shifts for one in shift)
        return f"{self.dataset} {self.gen_date_str} {self.exptime!r} {self.quality} {steps}"


@dataclass(frozen=True, slots=True)
class Association:
    """Exposures of a proposal that look at one place through one filter at one roll.

    Parameters
    ----------
    assoc_id : str
        First eight characters of the leader, then the type, A or B.
    leader : str
        The deepest exposure.
    pep_id : int
        Proposal.
    targname, filter : str
        Target of the leader, filters of all.
    ra, dec, roll : float
        Pointing of the leader at the fiducial, roll of +V3 there [deg].
    exptime : float
        Sum over the members of quality P [s].
    exptime_all : float
        Sum over all members [s].
    min_distance, max_distance : int
        Of members that are not the leader [mas].
    max_time_span : int
        First start to last start [s].
    start_time : str
        First start.
    start_time_dmf, release_date_dmf : int
        First start and latest release of a member, since the archive's epoch [s].
    gen_date_str : str
        Latest generation of a member's calibrated data.
    n_pointings : int
        Pointings further apart than a CR-SPLIT's.
    kind : str
        ``CR`` one pointing, ``DITHER`` all differ, ``DITHER+CR``.
    members : tuple of Member
        In order of their names.
    content : str
        Digest of all that a product made of it depends on; not of the target's name.
    """

    assoc_id: str
    leader: str
    pep_id: int
    targname: str
    filter: str
    ra: float
    dec: float
    roll: float
    exptime: float
    exptime_all: float
    min_distance: int
    max_distance: int
    max_time_span: int
    start_time: str
    start_time_dmf: int
    release_date_dmf: int
    gen_date_str: str
    n_pointings: int
    kind: str
    members: tuple[Member, ...]
    content: str

    @staticmethod
    def digest(kind: str, filters: str, members: tuple[Member, ...]) -> str:
        """Return the digest of what a product depends on.

        Parameters
        ----------
        kind : str
            A or B.
        filters : str
            Filters.
        members : tuple of Member
            In order of their names.

        Returns
        -------
        content : str
            32 hexadecimal digits.
        """
        lines = [f"{BUILDER} {kind} {filters} {','.join(CHIPS)}", *(m.content() for m in members)]
        return hashlib.sha256("\n".join(lines).encode("ascii")).hexdigest()[:32]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the members."""
        return tuple(one.dataset for one in self.members)
