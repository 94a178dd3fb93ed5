"""What the framework costs: no-op steps in a pipeline, and starting the command.

    python -m benchmarks overhead

A pipeline of ten steps that return what they are given runs on a 2048 x 2048 model; the time per
step is the difference to a pipeline of one such step, divided by nine. Copies are counted by
asking whether the arrays that come out are those that went in, and by the growth of peak memory.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.cases import COMMAND
from benchmarks.measure import measured, table


def noop_pipeline(count: int):
    """Return a pipeline of `count` steps that do nothing."""
    from lightmill.models import RateModel
    from lightmill.pipeline import Pipeline, Step

    class LeaveAlone(Step):
        """Return the model as it is."""

        name = "leave_alone"
        reads, writes = RateModel, RateModel

        def apply(self, model):
            return model

    steps = {f"leave_alone_{i}": LeaveAlone for i in range(count)}
    return type(
        "Nothing",
        (Pipeline,),
        {
            "name": f"nothing_{count}",
            "steps": steps,
            "flow": tuple(steps),
            "__doc__": "Do nothing.",
        },
    )()


def seconds(pipeline, model, repeats: int) -> float:
    """Return the least CPU seconds of one run."""
    times = []
    for _ in range(repeats):
        began = time.process_time()
        pipeline.run(model)
        times.append(time.process_time() - began)
    return min(times)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--work", type=Path, default=Path("build/benchmarks"))
    options = parser.parse_args()
    from lightmill.models import RateModel

    plane = np.ones((2048, 2048), np.float32)
    model = RateModel(
        data=plane,
        err=plane,
        dq=np.zeros(plane.shape, np.uint32),
        var_poisson=plane,
        var_rnoise=plane,
    )
    one, ten = noop_pipeline(1), noop_pipeline(10)
    seconds(ten, model, 2)  # imports and first-time set-up
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = (seconds(ten, model, options.repeats) - seconds(one, model, options.repeats)) / 9
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    result = ten.run(model).model
    shared = sum(
        np.shares_memory(getattr(result, n), getattr(model, n)) for n in ("data", "err", "dq")
    )
    rows: list[list[object]] = [
        ["no-op step in a pipeline, ms", step * 1e3, "< 0.5"],
        ["arrays that are the caller's own, of 3", shared, "3"],
        ["peak memory added by ten steps, MiB", grown, "0"],
    ]
    for name, arguments in {
        "import lightmill, CPU s": [sys.executable, "-c", "import lightmill"],
        "numpy alone, CPU s": [sys.executable, "-c", "import numpy"],
        "lightmill --help, CPU s": [*COMMAND, "--help"],
        "lightmill steps jump, CPU s": [*COMMAND, "steps", "jump"],
    }.items():
        costs = [measured(arguments, options.work / "log" / "start") for _ in range(5)]
        rows.append([name, min(c.cpu for c in costs), "< 0.5" if "help" in name else ""])
    print(table(["", "measured", "wanted"], rows))
    return 0
