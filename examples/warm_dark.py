"""Customise a step: subtract a dark that is scaled to the temperature of the night.

    python examples/warm_dark.py

The tutorial docs/tutorials/customise-a-step.md explains it.
"""

from dataclasses import dataclass

import numpy as np

from lightmill.models import DarkModel, RampModel
from lightmill.pipeline import Skipped, Step, param


class SubtractWarmDark(Step):
    """Remove a dark scaled to the temperature of the night."""

    name = "warm_dark"
    reads, writes = RampModel, RampModel
    references = {"dark": DarkModel}

    @dataclass(frozen=True)
    class Parameters:
        factor: float = param(1.0, "dark signal relative to the reference file", ge=0)

    def apply(self, ramp, *, dark):
        """Subtract the scaled dark from every integration."""
        if dark is None:
            return Skipped(ramp, "there is no dark for this detector")
        signal = self.parameters.factor * np.nan_to_num(dark.data[: ramp.data.shape[1]])
        return ramp.evolve(data=ramp.data - signal.astype(np.float32))


def main() -> None:
    """Make a ramp that holds nothing but dark signal, and take it away."""
    n_groups, n_rows, n_columns = 5, 32, 32
    read = np.arange(1, n_groups + 1, dtype=np.float32)[:, None, None]
    dark = DarkModel(
        data=read * np.full((n_rows, n_columns), 2, np.float32),
        dq=np.zeros((n_rows, n_columns), np.uint32),
    )
    ramp = RampModel(
        data=1.2 * dark.data[None],  # a night on which the detector was warmer
        groupdq=np.zeros((1, n_groups, n_rows, n_columns), np.uint8),
        pixeldq=np.zeros((n_rows, n_columns), np.uint32),
    )

    outcome = SubtractWarmDark(factor=1.2).run(ramp, override_dark=dark)

    print(
        f"{outcome.status}: {ramp.data.max():.2f} DN before, {np.abs(outcome.model.data).max():.2f} DN after"
    )


if __name__ == "__main__":
    main()
