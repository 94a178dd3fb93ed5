"""Detectors in real time: reads as they come, frames while they come, reduced frames after the last."""

from lightmill.observatories.tmt.iris.live.reads import Exposure, Read

__all__ = ["Exposure", "Read"]
