"""Hypothesis strategies: ramps as detectors really give them."""

from __future__ import annotations

from typing import Any

import numpy as np

from lightmill.models.dq import PIXEL
from lightmill.testing.exposures import make_ramp

__all__ = ["ramps"]


def ramps(
    *,
    max_shape: tuple[int, int] = (8, 9),
    max_groups: int = 9,
    max_ints: int = 3,
    flagged: bool = True,
) -> Any:
    """Return a strategy of noisy ramps, with cosmic rays, full pixels and flags.

    Parameters
    ----------
    max_shape : (int, int)
        Most rows and columns.
    max_groups, max_ints : int
        Most groups and integrations.
    flagged : bool
        Some pixels and groups are flagged at random.

    Returns
    -------
    strategy : SearchStrategy of RampModel
        Draws ramps of 2 to `max_shape` rows and columns, one group and one integration or more.
    """
    from hypothesis import strategies as st

    @st.composite
    def drawn(draw: Any) -> Any:
        shape = draw(st.integers(2, max_shape[0])), draw(st.integers(2, max_shape[1]))
        n_groups, n_ints = draw(st.integers(1, max_groups)), draw(st.integers(1, max_ints))
        seed = draw(st.integers(0, 2**31 - 1))
        dice = np.random.default_rng(seed)
        jumps = [
            (
                int(dice.integers(n_ints)),
                int(dice.integers(n_groups)),
                int(dice.integers(shape[0])),
                int(dice.integers(shape[1])),
                float(dice.uniform(50, 5000)),
            )
            for _ in range(draw(st.integers(0, 4)))
        ]
        ramp = make_ramp(
            dice.uniform(0, draw(st.sampled_from([1.0, 50.0, 1000.0])), shape),
            n_groups=n_groups,
            n_ints=n_ints,
            shape=shape,
            group_time=draw(st.sampled_from([0.5, 10.0, 100.0])),
            jumps=jumps,
            saturate=draw(st.sampled_from([None, 2000.0])),
            seed=seed,
        )
        if flagged:
            groupdq, pixeldq = np.asarray(ramp.groupdq), np.asarray(ramp.pixeldq)  # views
            for flag in ("DO_NOT_USE", "SATURATED", "JUMP_DET"):
                share = draw(st.sampled_from([0.0, 0.1, 0.5]))
                groupdq[dice.random(groupdq.shape) < share] |= np.uint8(PIXEL[flag])
            pixeldq[dice.random(shape) < 0.1] |= np.uint32(PIXEL["DO_NOT_USE"])
        return ramp

    return drawn()
