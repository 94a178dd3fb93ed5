"""A worker on a job's folder, from a process that waits for it: on a node of a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lightmill.workflow.worker import LOG_FILE

__all__ = ["work_on"]


def work_on(folder: str, cores: int) -> None:
    """Run a worker on a job's folder, and wait for it; it does not outlive this process.

    Parameters
    ----------
    folder : str
    cores : int
        That the job may use.
    """
    words = [sys.executable, "-P", "-m", "lightmill.workflow.worker", "--cores", str(cores)]
    words += ["--parent", str(os.getpid()), folder]
    with Path(folder, LOG_FILE).open("ab") as log:
        subprocess.run(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)  # noqa: S603 - the words are ours
