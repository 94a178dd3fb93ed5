"""The numbers that decide what belongs together and how good a pointing is."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from lightmill.errors import ConfigurationError

__all__ = ["BUILDER", "Rules"]

BUILDER = "1"  # what the builder computes; raised when the same inputs give other associations


@dataclass(frozen=True, slots=True)
class Rules:
    """Tolerances and thresholds; limits belong to what they allow.

    Parameters
    ----------
    radius : float
        Largest distance of a member from its leader [arcsec]; the archive's .asn files print
        100 pixels of WF4.
    roll : float
        Largest difference of roll [deg]; printed there as Delta Roll.
    split : float
        Members closer than this on WF4 are one pointing, a CR-SPLIT [pixel].
    sigma_good : float
        Largest scatter of the pointing, in either axis, of quality P [arcsec]. The archive's
        examples show 4 mas of quality P and 14 mas of quality G.
    sigma_bad : float
        Beyond this scatter the log is not believed at all: quality B [arcsec].
    roll_disagrees : float
        Rolls of jitter file and header that differ by more make quality R [deg]: predicted and
        measured roll differ by up to 0.4 deg (FGS Instrument Handbook).
    trust_hours : float
        Shifts between good pointings are trusted within this time [h]: later the guide stars may
        have been acquired anew.
    trust_pixels : float
        Shifts below this on every chip are trusted whatever the quality, and those that differ by
        less from what the headers say [pixel of the chip].
    grace : float or None
        Days after an exposure from which it is also associated by its header, with or without
        jitter files (type B of 2001): by then they have come, or will not. None: it never is.
    """

    radius: float = 10.0
    roll: float = 0.03
    split: float = 0.2
    sigma_good: float = 0.010
    sigma_bad: float = 1.0
    roll_disagrees: float = 0.5
    trust_hours: float = 4.0
    trust_pixels: float = 0.2
    grace: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (value is None and name == "grace") and not 0 <= value < math.inf:
                raise ConfigurationError(
                    "a tolerance must be a number that is not negative", place=name, found=value
                )

    def text(self) -> str:
        """Return version and numbers as one line: part of what an association was made from.

        The grace time is not in it: it decides who takes part, and that is part of it anyhow.
        """
        numbers = " ".join(
            f"{name}={value!r}" for name, value in asdict(self).items() if name != "grace"
        )
        return f"builder={BUILDER} {numbers}"
