"""A batch campaign: what there is to be done, written down for others to run, and taken in again."""

from lightmill.workflow.campaign.folder import Campaign, Given, Step, read_campaign
from lightmill.workflow.campaign.planning import LeftOut, planned
from lightmill.workflow.campaign.running import run_step
from lightmill.workflow.campaign.snakemake import write_workflow
from lightmill.workflow.campaign.taking import Taken, take_in

__all__ = [
    "Campaign",
    "Given",
    "LeftOut",
    "Step",
    "Taken",
    "planned",
    "read_campaign",
    "run_step",
    "take_in",
    "write_workflow",
]
