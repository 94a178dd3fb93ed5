"""The soak of an observatory, shortened from an hour to seconds; and what it makes of its readings.

So short a run only sees a leak of megabytes a second. `python -m benchmarks soak` takes the hour.
"""

import numpy as np
import pytest

pytest.importorskip("alembic", reason="operations need the extra `operations`")
pytest.importorskip("fastapi", reason="the dashboard needs the extra `server`")

from benchmarks.soak import soaked, trend

SECONDS = 16.0
FILLS = 12.0  # MB that caches may take in that time after the first quarter; 3 to 6 were seen


@pytest.fixture
def times():
    return np.arange(0.0, 3600.0, 2.0)  # s


def test_memory_that_is_level_is_called_flat(times):
    noise = np.random.default_rng(1).normal(0, 0.3, times.size)

    found = trend(times, 60 + 5 * np.minimum(times / 600, 1) + noise)  # caches fill for 10 minutes

    assert found.is_flat
    assert abs(found.slope) < 3 * found.error
    assert found.end_mb == pytest.approx(65, abs=0.1)


def test_memory_that_leaks_is_not(times):
    noise = np.random.default_rng(2).normal(0, 0.3, times.size)

    found = trend(times, 60 + 10 * times / 3600 + noise)

    assert not found.is_flat
    assert found.slope == pytest.approx(10, abs=4 * found.error)


def test_the_error_is_that_of_the_slope():
    times, draw = np.arange(0.0, 3600.0, 20.0), np.random.default_rng(3)

    found = [trend(times, 60 + draw.normal(0, 1.0, times.size)) for _ in range(400)]

    pulls = [one.slope / one.error for one in found]
    # of Student's distribution with eight degrees of freedom: sqrt(8 / 6), known to 5 % from 400
    assert np.std(pulls) == pytest.approx(1.15, rel=0.15)


@pytest.mark.slow
def test_an_observatory_runs_and_keeps_to_its_memory(tmp_path):
    watched, counts = soaked(tmp_path, SECONDS, 0.5)

    for one in watched:
        found = trend(one.times, one.memory)
        assert found.end_mb - found.start_mb < FILLS, one.name
    # Exposures came, and products were made; how many is a matter of the machine.
    assert counts["datasets"]["CURRENT"] > counts["jobs"]["DONE"] > 0
    assert set(counts["jobs"]) <= {"DONE", "QUEUED", "RUNNING"}
