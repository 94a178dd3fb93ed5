"""Steps that only IRIS needs: its file of linearity coefficients, its subarrays."""

from lightmill.observatories.tmt.iris.steps.live_readout import SampleLive
from lightmill.observatories.tmt.iris.steps.nonlinearity import CorrectNonlinearity
from lightmill.observatories.tmt.iris.steps.subarrays import MergeSubarrays, ParseSubarrayMap

__all__ = ["CorrectNonlinearity", "MergeSubarrays", "ParseSubarrayMap", "SampleLive"]
