"""A campaign as a workflow of Snakemake: the same file for all, and profiles that say where it runs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lightmill.workflow import processes
from lightmill.workflow.campaign.folder import Campaign

__all__ = ["write_workflow"]

OURS = 0.9  # of this machine's memory, for the profile that runs here
OWN_MB, OWN_MB_SLURM = 100, 600  # of lightmill alone; of snakemake started in each job, too
SHARED: Mapping[str, Any] = {
    "keep-going": True,
    "rerun-incomplete": True,
    "rerun-triggers": ["mtime"],
    "show-failed-logs": True,
    # A lock would outlive a kill, and somebody would have to come. Steps that two run at the same time
    # do no harm: each attempt has its own folder, and what is done is written in one go.
    "nolock": True,
}


def write_workflow(
    campaign: Campaign,
    *,
    partition: str = "",
    account: str = "",
    runtime: int = 60,
    together: int = 1,
    jobs: int = 50,
) -> None:
    """Write what Snakemake needs into the folder of a campaign.

    Parameters
    ----------
    campaign : Campaign
    partition, account : str
        Of Slurm; empty: its defaults.
    runtime : int
        Limit of a job of Slurm [min].
    together : int
        Steps of one pipeline in a job of Slurm, one after the other.
    jobs : int
        Of Slurm at the same time.
    """
    shutil.copyfile(Path(__file__).with_name("Snakefile"), campaign.folder / "Snakefile")
    command = [sys.executable, "-m", "lightmill"]
    config = {"lightmill": command, "own_mb": OWN_MB, "threads": 1, "retries": 2}
    _write(campaign.folder / "config.yaml", config)
    total_mb, _ = processes.free_memory_mb()
    _write_profile(
        campaign, "local", {"cores": "all", "resources": [f"mem_mb={OURS * total_mb:.0f}"]}
    )
    resources = {"slurm_partition": partition, "slurm_account": account}
    slurm: dict[str, Any] = {
        "executor": "slurm",
        "jobs": jobs,
        "config": [f"own_mb={OWN_MB_SLURM}"],
        "default-resources": {
            "runtime": runtime, **{name: value for name, value in resources.items() if value}
        },
        # A cluster without accounting has a `sacct` that fails, and the executor would wait for ever.
        "slurm-status-command": "squeue",
        "slurm-init-seconds-before-status-checks": 5,
        "latency-wait": 30,
    }  # fmt: skip
    if not account:
        slurm["slurm-no-account"] = True
    if together > 1:
        rules = sorted(set(campaign.rules.values()))
        slurm["groups"] = [f"{rule}={rule}" for rule in rules]
        slurm["group-components"] = [f"{rule}={together}" for rule in rules]
        slurm["cores"] = 1  # of each job: its steps run one after the other
    _write_profile(campaign, "slurm", slurm)


def _write_profile(campaign: Campaign, name: str, content: Mapping[str, Any]) -> None:
    folder = campaign.folder / "profiles" / name
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "config.yaml", {**SHARED, **content})


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(content), sort_keys=False), encoding="utf-8")
