"""What all tests share: repeatable property tests, and where a peer may be."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Every run draws the same examples, so that a failure of one commit is that commit's.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# No test chooses by the rules of a cache that this machine may have.
for _name in [name for name in os.environ if name.startswith("CRDS_")]:
    del os.environ[_name]

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """Folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def peer() -> Path:
    """Python of the peer's environment; skips, loudly, where there is none."""
    found = Path(os.environ.get("LIGHTMILL_PEER", ROOT / ".peers" / "jwst")) / "bin" / "python"
    if not found.exists():
        pytest.skip(
            f"NO PEER at {found}: python3 -m venv .peers/jwst && .peers/jwst/bin/pip install 'jwst==3.0.0'"
        )
    return found
