"""Campaigns of the stand-in observatory; run as a program, it is what their jobs call.

    python campaign_stand_in.py ops run-step DIR STEP --cores N --attempt N

A file ``bad`` beside the campaign has jobs of stage 2 end with the exit status of bad data, a file
``passing`` with another, and ``wait`` has those of stage 2 wait until it is gone.
"""

import sys
from pathlib import Path

from lightmill.errors import LightmillError
from lightmill.workflow.campaign import read_campaign, run_step
from tests.end_to_end.stand_in import ENDINGS, StandIn

TROUBLE = """
import pathlib, sys, time
beside = pathlib.Path(sys.argv.pop(1))
pathlib.Path("running").touch()
while (beside / "wait").exists():
    time.sleep(0.02)
if (beside / "bad").exists():
    sys.exit(3)
if (beside / "passing").exists():
    sys.exit("No space left on device")
"""


class Maker(StandIn):
    """Knows what the stand-in's pipelines make."""

    def __init__(self, beside=None):
        super().__init__()
        self.beside = beside

    def makes(self, pipeline, name, document):
        del document
        stem = name.removesuffix("_uncal.txt")
        return {f"{stem}_{ending}" for ending in ENDINGS[pipeline]}

    def command(self, job, folder):
        words, memory = super().command(job, folder)
        if self.beside is not None and job.pipeline == "stage2":
            (folder / "job.py").write_text(TROUBLE + (folder / "job.py").read_text())
            words.insert(3, str(self.beside))
        return words, memory


def main(folder, step, *options):
    campaign = read_campaign(Path(folder))
    attempt = int(options[options.index("--attempt") + 1])
    try:
        run_step(campaign, int(step), Maker(campaign.folder.parent), attempt=attempt)
    except LightmillError as error:
        print(error.story(), file=sys.stderr)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    assert sys.argv[1:3] == ["ops", "run-step"]
    main(*sys.argv[3:])
