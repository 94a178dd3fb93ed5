"""A Slurm of one node on this machine, for tests; skips, loudly, where there is none."""

import contextlib
import os
import shutil
import subprocess

import pytest

# What takes minutes on a quiet machine: continuous integration runs a part of what there is.
in_full = pytest.mark.skipif(
    os.environ.get("LIGHTMILL_CLUSTER") != "all",
    reason="SHORT: LIGHTMILL_CLUSTER=all, or bash .ci/clusters, runs it",
)

PLACES = "/usr/sbin:/usr/bin:/sbin:/bin"


@contextlib.contextmanager
def running_slurm(root, folder, port):
    """Start a Slurm on ports of its own, and end it with all it runs; yield its folder."""
    script = root.parent / "shared" / "tools" / "slurm-localhost.sh"
    missing = [
        one for one in ("slurmctld", "slurmd", "munged") if not shutil.which(one, path=PLACES)
    ]
    if missing or not script.exists():
        pytest.skip(f"NO SLURM: apt-get install slurm-wlm munge; {script}")
    ours = os.environ | {"SLURM_LOCAL_DIR": str(folder), "SLURM_LOCAL_PORT": str(port)}

    def told(word):
        subprocess.run(["bash", script, word], env=ours, check=True, capture_output=True)

    with pytest.MonkeyPatch.context() as patch:
        told("start")
        try:
            patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
            patch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
            yield folder
        finally:
            told("stop")
