"""Find the groups in which a cosmic ray added charge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lightmill.detector.groups import (
    flag_gain,
    flags_whole_groups,
    group_time_of,
    unusable_groups,
)
from lightmill.kernels import jump
from lightmill.models import GainModel, RampModel, ReadnoiseModel, Region
from lightmill.models.lineage import region_of
from lightmill.pipeline import Beside, Skipped, Step, param

__all__ = ["DetectJumps"]


@dataclass(frozen=True)
class _Known:
    """What a band must know of the whole frame."""

    usable: int  # groups that are not unusable everywhere
    median_gain: float


class DetectJumps(Step):
    """Flag the groups whose signal jumps: cosmic rays and the large events they cause."""

    name = "jump"
    reads, writes = RampModel, RampModel
    references = {"gain": GainModel, "readnoise": ReadnoiseModel}
    rows = True
    extensions = frozenset({"statistic", "group_time"})
    counts = True
    version = "2"  # counts what it finds

    @dataclass(frozen=True)
    class Parameters:
        rejection_threshold: float = param(
            4.3, "threshold with five groups or more", ge=0, unit="sigma"
        )
        three_group_rejection_threshold: float = param(
            6.0, "threshold with three groups", ge=0, unit="sigma"
        )
        four_group_rejection_threshold: float = param(
            5.0, "threshold with four groups", ge=0, unit="sigma"
        )
        statistic: Literal["signed", "absolute"] = param(
            "signed", "differences compared: signed, or absolute as in jwst 3.0"
        )
        maximum_cores: str = param("1", "accepted for old parameter files; see --threads")
        flag_4_neighbors: bool = param(True, "flag the four neighbours of a jump too")
        max_jump_to_flag_neighbors: float = param(
            1000.0, "largest jump whose neighbours are flagged", ge=0, unit="sigma"
        )
        min_jump_to_flag_neighbors: float = param(
            10.0, "smallest jump whose neighbours are flagged", ge=0, unit="sigma"
        )
        after_jump_flag_dn1: float = param(
            0.0, "jumps above this flag the groups after, first pair", ge=0, unit="DN"
        )
        after_jump_flag_time1: float = param(
            0.0, "time flagged after such a jump, first pair", ge=0, unit="s"
        )
        after_jump_flag_dn2: float = param(
            0.0, "jumps above this flag the groups after, second pair", ge=0, unit="DN"
        )
        after_jump_flag_time2: float = param(
            0.0, "time flagged after such a jump, second pair", ge=0, unit="s"
        )
        expand_large_events: bool = param(False, "find snowballs")
        min_sat_area: float = param(
            1.0, "smallest saturated core of a snowball", ge=0, unit="pixel"
        )
        min_jump_area: float = param(
            5.0, "smallest group of jumps looked at as a large event", ge=0, unit="pixel"
        )
        expand_factor: float = param(2.0, "growth of a snowball's ellipse", ge=0)
        use_ellipses: bool = param(
            False, "accepted for old parameter files; ellipses are always used"
        )
        sat_required_snowball: bool = param(True, "a snowball has a saturated core")
        min_sat_radius_extend: float = param(2.5, "smallest core that is grown", ge=0, unit="pixel")
        sat_expand: int = param(2, "growth of the saturated core's radius", ge=0, unit="pixel")
        edge_size: int = param(
            25, "distance from the edge within which no core is required", ge=0, unit="pixel"
        )
        mask_snowball_core_next_int: bool = param(True, "flag cores in the next integration")
        snowball_time_masked_next_int: int = param(
            4000, "time cores are flagged in it", ge=0, unit="s"
        )
        find_showers: bool = param(False, "find showers")
        max_shower_amplitude: float = param(
            4.0, "largest change of rate that flags of a shower may cause", ge=0, unit="DN/s"
        )
        extend_snr_threshold: float = param(
            1.2, "threshold of the smoothed image for showers", ge=0, unit="sigma"
        )
        extend_min_area: int = param(90, "smallest shower", ge=0, unit="pixel")
        extend_inner_radius: float = param(
            1.0, "inner radius of the smoothing ring", ge=0, unit="pixel"
        )
        extend_outer_radius: float = param(
            2.6, "outer radius of the smoothing ring", gt=0, unit="pixel"
        )
        extend_ellipse_expand_ratio: float = param(1.1, "growth of a shower's ellipse", ge=0)
        time_masked_after_shower: float = param(15.0, "time flagged after a shower", ge=0, unit="s")
        min_diffs_single_pass: int = param(10, "differences from which one pass is enough", ge=2)
        max_extended_radius: int = param(200, "largest radius of a large event", ge=1, unit="pixel")
        minimum_groups: int = param(3, "groups needed at all", ge=2)
        minimum_sigclip_groups: int = param(
            100, "integrations from which the same group is compared among them", ge=2
        )
        group_time: float | None = param(
            None, "time between groups where the header does not say", gt=0, unit="s"
        )
        only_use_ints: bool = param(True, "compare among integrations only, not among groups")

    def halo_rows(self, model: Any, **references: Any) -> int:  # noqa: ARG002
        """Its four neighbours."""
        return 1

    def survey(self, rows: Any, *, gain: GainModel, **references: Any) -> _Known:  # noqa: ARG002
        """Count the groups of use, and take the median gain."""
        ngroups = rows.source.array("data").shape[1]
        unusable = unusable_groups(rows) if flags_whole_groups(rows) else np.zeros(ngroups, bool)
        wanted = self.parameters.after_jump_flag_dn1 > 0 or self.parameters.after_jump_flag_dn2 > 0
        median = 1.0  # not looked at unless wanted
        if wanted:
            values = gain.data
            median = float(np.median(values[np.isfinite(values) & (values > 0)]))
        return _Known(int(ngroups - unusable.sum()), median)

    def apply(
        self,
        ramp: RampModel,
        *,
        gain: GainModel,
        readnoise: ReadnoiseModel,
        survey: _Known,
        own: Region,
    ) -> Beside | Skipped:
        """Compare the differences of neighbouring groups with their median [1]_.

        References
        ----------
        .. [1] Anderson, R. E. & Gordon, K. D. 2011, PASP, 123, 1237.
        """
        parameters = self.parameters
        if ramp.data.shape[1] <= 2:
            return Skipped(ramp, "two groups or fewer")
        if survey.usable < parameters.minimum_groups:
            return Skipped(
                ramp, f"{survey.usable} groups of use, {parameters.minimum_groups} needed"
            )
        exposure = ramp.meta.exposure
        flag_gain(ramp.pixeldq, gain.data)
        group_time = group_time_of(ramp, parameters.group_time, self.name)
        y0 = region_of(ramp).y0
        found = jump.flag_jumps(
            ramp.data,
            ramp.groupdq,
            ramp.pixeldq,
            gain.data,
            readnoise.data,
            nframes=exposure.nframes or 1,
            group_time=group_time,
            rejection_threshold=parameters.rejection_threshold,
            three_group_rejection_threshold=parameters.three_group_rejection_threshold,
            four_group_rejection_threshold=parameters.four_group_rejection_threshold,
            flag_4_neighbors=parameters.flag_4_neighbors,
            min_jump_to_flag_neighbors=parameters.min_jump_to_flag_neighbors,
            max_jump_to_flag_neighbors=parameters.max_jump_to_flag_neighbors,
            after_jump_flag_dn1=parameters.after_jump_flag_dn1,
            after_jump_flag_n1=int(parameters.after_jump_flag_time1 // group_time),
            after_jump_flag_dn2=parameters.after_jump_flag_dn2,
            after_jump_flag_n2=int(parameters.after_jump_flag_time2 // group_time),
            median_gain=survey.median_gain,
            min_diffs_single_pass=parameters.min_diffs_single_pass,
            usable_groups=survey.usable,
            only_use_ints=parameters.only_use_ints,
            minimum_sigclip_groups=parameters.minimum_sigclip_groups,
            method="peer" if parameters.statistic == "absolute" else "signed",
            count_rows=(own.y0 - y0, own.y1 - y0),
        )
        differences = ramp.data.shape[0] * (survey.usable - 1) * own.shape[0] * own.shape[1]
        return Beside(ramp, counts={"jumps": found, "differences": differences})

    def tell(self, counts: Mapping[str, int], model: RampModel) -> dict[str, float]:
        """Return how many cosmic rays there were per 1000 pixels and second, and large events."""
        searched = counts["differences"] * group_time_of(
            model, self.parameters.group_time, self.name
        )
        told = {"exposure.primary_cosmic_rays": 1e3 * counts["jumps"] / searched}
        if "events" in counts:
            told["exposure.extended_emission_events"] = 1e6 * counts["events"] / searched
        return told

    def finishes(self, model: Any) -> bool:  # noqa: ARG002
        """Large events are seen on the whole frame only."""
        return self.parameters.expand_large_events or self.parameters.find_showers

    def finish(self, ramp: RampModel, *, gain: GainModel, readnoise: ReadnoiseModel) -> Beside:
        """Flag snowballs and showers, and count them."""
        from lightmill.detector import large_events

        events = 0
        if self.parameters.expand_large_events:
            ramp, found = large_events.flag_snowballs(ramp, self.parameters)
            events += found
        if self.parameters.find_showers:
            ramp, found = large_events.flag_showers(
                ramp, gain.data, readnoise.data, self.parameters
            )
            events += found
        return Beside(ramp, counts={"events": events})
