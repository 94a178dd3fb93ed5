"""Where jobs run: processes of this machine, a Dask cluster, a batch system; behind one interface."""

from lightmill.workflow.engines.interface import Ended, Engine, NoRoomError, Output, Room, Work

__all__ = ["Ended", "Engine", "NoRoomError", "Output", "Room", "Work"]
