"""We make the files of the field's generator with every combination of its options that matters.

The generator runs here, on small pools of the cases; it takes a few seconds for each run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.peer, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
CASES = Path(os.environ.get("LIGHTMILL_CASES", ROOT.parent / "shared" / "cases")) / "associations"
POOLS = ["pool_013_coron_nircam", "x15_two_programs"]
OPTIONS = [
    "-D",
    "-D --discover",
    "-D --merge",
    "-D --all-candidates",
    "-D -i o001",
    "-D --DMS -i o001",
    "--no-finalize",
    "--no-finalize --discover",
    "--no-finalize --all-candidates",
    "--no-finalize -i o001 o002",
    "--no-finalize --merge",
    "--no-finalize --merge --all-candidates",
    "--per-pool-algorithm",
    "--per-pool-algorithm -D",
    "--per-pool-algorithm --no-finalize",
    "--per-pool-algorithm --merge",
    "--per-pool-algorithm --all-candidates",
    "--per-pool-algorithm -i o001",
]
# the version of the program, addresses of memory, and the time of the run
NOT_COMPARED = ("code_version", "constraints", "version_id")


def contents(folder):
    found = {}
    for path in folder.glob("*.json"):
        content = json.loads(path.read_text())
        found[path.name] = {k: v for k, v in content.items() if k not in NOT_COMPARED}
    return found


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("options", OPTIONS)
def test_the_files_are_those_of_the_field(peer, tmp_path, name, options):
    pool = CASES / "pools" / f"{name}.csv"
    if not pool.exists():
        pytest.skip(f"the pools to compare with are not here: {CASES}")
    for folder, program in (
        ("theirs", [Path(peer).with_name("asn_generate")]),
        ("ours", [sys.executable, "-m", "lightmill", "asn", "generate"]),
    ):
        (tmp_path / folder).mkdir()
        command = [*program, pool, "-p", tmp_path / folder, *options.split()]
        subprocess.run(command, capture_output=True, timeout=300, check=True, cwd=tmp_path)

    assert contents(tmp_path / "ours") == contents(tmp_path / "theirs")
