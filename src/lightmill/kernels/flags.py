"""Group flags that follow from other groups."""

from __future__ import annotations

import numpy as np

from lightmill.kernels._arrays import image, ramp
from lightmill.kernels._library import address, kernel

__all__ = ["flag_charge_migration", "flag_first_groups"]

_flag_charge_migration = kernel("lm_flag_charge_migration", "p s p s f")
_flag_first_groups = kernel("lm_flag_first_groups", "p s p n n")


def flag_charge_migration(data: np.ndarray, groupdq: np.ndarray, threshold: float) -> None:
    """Flag groups whose charge has begun to migrate to neighbouring pixels, in place.

    A group above the threshold, unless its flags are DO_NOT_USE and nothing else, makes that
    group and all later ones CHARGELOSS and DO_NOT_USE, in its pixel and in the four
    neighbours [1]_.

    Parameters
    ----------
    data : (nints, ngroups, ny, nx) ndarray of float32
        Counts [DN].
    groupdq : (nints, ngroups, ny, nx) ndarray of uint8
        Flags of each group; changed. A band's first and last rows need the rows beyond.
    threshold : float
        Counts above which charge migrates [DN].

    Raises
    ------
    ShapeError
        The arrays do not fit each other.

    References
    ----------
    .. [1] Goudfrooij, P., et al. 2024, PASP, 136, 014503.
    """
    shape, dq_shape = (
        ramp(data, "data", read_only=True),
        ramp(groupdq, "groupdq", np.uint8, data.shape),
    )
    _flag_charge_migration(address(data), shape, address(groupdq), dq_shape, threshold)


def flag_first_groups(
    groupdq: np.ndarray, pixeldq: np.ndarray, first: int, later: int | None = None
) -> None:
    """Flag the first groups of each integration DO_NOT_USE, in place.

    A pixel that saturates early keeps more of them: with n groups to flag, each SATURATED group
    among 1 ... n + 1 makes it one fewer, unless group 0 is SATURATED too. Such a pixel gets
    FLUX_ESTIMATED.

    Parameters
    ----------
    groupdq : (nints, ngroups, ny, nx) ndarray of uint8
        Flags of each group; changed.
    pixeldq : (ny, nx) ndarray of uint32
        Flags of each pixel; changed.
    first, later : int
        How many groups of the first integration, and of the others (as many, by default).

    Raises
    ------
    ShapeError
        The arrays do not fit each other.
    UsageError
        More groups to flag than there are.
    """
    dq_shape = ramp(groupdq, "groupdq", np.uint8)
    image(pixeldq, "pixeldq", np.uint32, groupdq.shape[2:])
    _flag_first_groups(
        address(groupdq), dq_shape, address(pixeldq), first, first if later is None else later
    )
