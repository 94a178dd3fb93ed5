"""What associating a pool gives: associations, their products and their members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Association", "Member", "Product"]


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a product, and the role it plays in it."""

    expname: str  # file name, as the level of the rule calls it
    exptype: str  # role: science, background, target_acquisition, …
    details: tuple[tuple[str, str | None], ...] = ()  # further keys, in the order of the file
    row: int | None = None  # of the pool; None for files made on the way

    def as_dict(self) -> dict[str, str | None]:
        """Return the member as an association file has it."""
        return {"expname": self.expname, "exptype": self.exptype, **dict(self.details)}


@dataclass(frozen=True, slots=True)
class Product:
    """A file to be made, and the members it is made of."""

    name: str
    members: Sequence[Member] = ()


@dataclass(frozen=True, slots=True)
class Association:
    """A set of exposures that one rule puts together.

    ``sequence`` counts, from 1, the associations of one candidate and type; it is 0 before
    they are numbered. ``rule`` has the prefix (``candidate_``, ``discover_``) the field gives it.
    """

    rule: str
    type: str
    level: int  # 2: one exposure; 3: combined
    candidate: str  # identifier, such as o001, c1000 or a3001
    program: str
    target: str
    pool: str  # base name of the pool's file
    products: tuple[Product, ...]
    sequence: int = 0
    candidate_type: str = ""
    constraints: str = ""  # what the members share, for people
    degraded: bool = False  # a member has an error associated with it
    duplicate: int | None = None  # number of one kept although it was pruned
    notes: tuple[str, ...] = field(default=(), compare=False)  # warnings a person should read
