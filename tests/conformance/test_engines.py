"""Every engine runs jobs as the service expects it."""

from lightmill.testing.engines import EngineConformance
from lightmill.workflow.engines.local import LocalEngine


class TestProcessesOfThisMachine(EngineConformance):
    def engine(self, cores, memory_mb):
        return LocalEngine(cores, memory_mb)
