"""Campaigns that the stock Snakemake runs: what is made is what the observatory's service makes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from sqlalchemy import select

pytest.importorskip("alembic", reason="operations need the extra `operations`")

from lightmill.errors import ConfigurationError, DataError
from lightmill.workflow.campaign import (
    Campaign,
    planned,
    read_campaign,
    run_step,
    take_in,
    write_workflow,
)
from lightmill.workflow.conditions import Expectations
from lightmill.workflow.machine import Policy
from lightmill.workflow.store import Store, create_store
from lightmill.workflow.store import tables as t
from tests.end_to_end.campaign_stand_in import Maker
from tests.end_to_end.stand_in import delivered, service_of
from tests.slurm import in_full, running_slurm

NAMES = ["p1-a-0", "p1-a-1", "p1-b-0", "p2-a-$(touch pwned) '\"; touch pwned #"]
PATIENCE = 300  # s


class Observatory:
    """The stand-in observatory, with exposures that nothing has been made of."""

    def __init__(self, folder, names=NAMES):
        self.folder, self.root, self.inbox = folder, folder / "site", folder / "inbox"
        self.inbox.mkdir(parents=True)
        create_store(self.root)
        for name in names:
            delivered(self.inbox, name)

    def run(self):
        """Let the observatory's own service do everything."""
        service = service_of(self.root)
        service.run(until_idle=1.0, pause=0.02)
        service.close()

    def take(self):
        """Take the exposures into the archive, and put together what belongs together."""
        service = service_of(self.root, role="watcher")
        service.ingest(sorted(self.inbox.iterdir()))
        service.expectations = Expectations(0.0, 0.0)
        service.associate()
        service.close()

    def store(self):
        return Store(self.root, policy=Policy(pause=0.0))

    def exported(self, name="campaign", **wanted):
        """Return a campaign, with what runs it."""
        store = self.store()
        steps, left_out = planned(store, Maker(), **wanted)
        store.close()
        campaign = Campaign(
            self.folder / name, f"identity of {name}", self.root / "archive",
            is_again=wanted.get("is_again", False), rules={one.number: one.rule for one in steps},
        )  # fmt: skip
        campaign.folder.mkdir()
        write_workflow(campaign, partition="main", runtime=5, together=4)
        campaign.write(steps)
        config = yaml.safe_load((campaign.folder / "config.yaml").read_text())
        words = [sys.executable, str(Path(__file__).with_name("campaign_stand_in.py"))]
        (campaign.folder / "config.yaml").write_text(yaml.safe_dump(config | {"lightmill": words}))
        return campaign, left_out

    def imported(self, campaign):
        store = self.store()
        taken = take_in(campaign, store, self.root, Maker())
        store.close()
        return taken

    def result(self):
        """Current files by name, and states of tasks and jobs."""
        d, store = t.datasets.c, self.store()
        with store.reading() as connection:
            query = select(d.name, d.sha256, d.generation, d.program, d.path)
            files = connection.execute(query.where(d.state == "CURRENT").order_by(d.name)).all()
        counts = store.status()
        store.close()
        assert all((self.root / "archive" / row.path).is_file() for row in files)
        return [tuple(row) for row in files], counts["tasks"], counts["jobs"]


def snakemake(campaign, profile="local"):
    """Start the stock Snakemake on a campaign."""
    places = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    with (campaign.folder / "snakemake.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--profile", f"profiles/{profile}"],
            cwd=campaign.folder, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def until(is_so):
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def finished(process):
    try:
        return process.wait(timeout=PATIENCE)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """What the observatory's own service makes of the exposures."""
    one = Observatory(tmp_path_factory.mktemp("calm"))
    one.run()
    return one.result()


@pytest.fixture
def observatory(tmp_path):
    one = Observatory(tmp_path / "batch")
    one.take()
    return one


@pytest.fixture
def needs_snakemake():
    pytest.importorskip("snakemake", reason="NO SNAKEMAKE: pip install 'lightmill[cluster]'")


# -- without a workflow manager --------------------------------------------------------------------


def test_steps_one_by_one_make_what_the_service_makes(observatory, calm):
    campaign, left_out = observatory.exported()

    for number in campaign.rules:
        run_step(campaign, number, Maker())
    first, second = observatory.imported(campaign), observatory.imported(campaign)

    assert left_out == []
    assert first.counts == {"taken": 11}  # four first stages, four second, three stacks
    assert second.counts == {"known": 11}
    assert observatory.result() == calm
    jobs = observatory.root / "jobs"
    assert {path.name for path in (jobs / "1").iterdir()} >= {"job.json", "log.txt", "result.json"}


def test_a_campaign_is_taken_in_while_it_runs(observatory):
    campaign, _ = observatory.exported()
    order = list(campaign.rules)

    run_step(campaign, order[0], Maker())

    assert observatory.imported(campaign).counts == {"taken": 1, "not done": 10}
    assert observatory.result()[1] == {"DONE": 1, "READY": 4, "WAITING": 6}


def test_only_what_is_asked_for_and_what_it_needs(observatory):
    campaign, _ = observatory.exported(programs=["p1"], types=["image2"])

    assert Counter(campaign.rules.values()) == {"stage1": 3, "stage2": 3}
    again, _ = observatory.exported("again", tasks=[max(campaign.rules)])
    assert sorted(again.rules.values()) == ["stage1", "stage2"]


def test_what_nobody_will_make_is_left_out_with_all_that_needs_it(observatory):
    store = observatory.store()
    with store.engine.begin() as connection:
        connection.execute(
            t.tasks.update().where(t.tasks.c.name == "p1-b-0_uncal.txt"), {"state": "CANCELLED"}
        )
        connection.execute(
            t.tasks.update().where(t.tasks.c.identity == "exposure|p1-b-0"), {"state": "CANCELLED"}
        )
    store.close()

    campaign, left_out = observatory.exported()

    assert len(campaign.rules) == 8
    assert [one.name for one in left_out] == ["p1-b-0", "p1-b"]
    assert "p1-b-0_rate.txt" in left_out[0].reason
    assert f"task {left_out[0].number}" in left_out[1].reason


def test_a_step_whose_input_changed_meanwhile_is_passed_over(observatory):
    campaign, _ = observatory.exported()
    for number in campaign.rules:
        run_step(campaign, number, Maker())
    delivered(observatory.inbox, "p1-b-0", generation=2)
    observatory.take()

    taken = observatory.imported(campaign)

    assert taken.counts == {"taken": 8, "passed over": 3}
    assert {why.partition(" ")[0] for why in taken.passed_over.values()} == {
        "p1-b-0_uncal.txt", "p1-b-0_rate.txt", "p1-b-0_cal.txt",
    }  # fmt: skip
    last, _ = observatory.exported("rest")
    assert sorted(last.rules.values()) == ["stage1", "stage2", "stage3"]


def test_a_task_that_the_observatory_does_itself_is_left_to_it(observatory):
    campaign, _ = observatory.exported()
    first, second, *_ = campaign.rules
    for number in (first, second):
        run_step(campaign, number, Maker())
    store = observatory.store()
    jobs = {one.task_id: one.job_id for one in store.startable()}
    assert store.start(jobs[first], "local", 1.0, ["somewhere"])
    store.close()

    taken = observatory.imported(campaign)

    assert taken.counts == {"taken": 1, "passed over": 1, "not done": 9}
    assert taken.passed_over == {first: "its task is RUNNING"}
    assert observatory.result()[2] == {"DONE": 1, "QUEUED": 3, "RUNNING": 1}


def test_an_import_that_was_killed_is_gone_on_with(observatory, calm):
    campaign, _ = observatory.exported()
    for number in campaign.rules:
        run_step(campaign, number, Maker())
    store = observatory.store()
    job = store.startable()[0]
    assert store.start(job.job_id, "campaign", 1.0, ["killed here"])
    store.close()

    assert observatory.imported(campaign).counts == {"taken": 11}
    assert observatory.result() == calm


def test_what_is_done_is_done_again_if_asked_for(observatory, calm):
    campaign, _ = observatory.exported()
    for number in campaign.rules:
        run_step(campaign, number, Maker())
    observatory.imported(campaign)

    assert observatory.exported("nothing")[0].rules == {}
    again, _ = observatory.exported("again", is_again=True)
    for number in again.rules:
        run_step(again, number, Maker())

    assert observatory.imported(again).counts == {"taken": 11}
    files, tasks, jobs = observatory.result()
    assert (files, tasks) == calm[:2]
    assert jobs == {"DONE": 22}


def test_bad_data_are_not_tried_again_and_their_story_is_kept(observatory):
    campaign, _ = observatory.exported(tasks=[5])
    first, second = campaign.rules
    (campaign.folder.parent / "bad").touch()
    maker = Maker(campaign.folder.parent)

    run_step(campaign, first, maker)
    for attempt in (1, 2, 3):
        with pytest.raises(Exception, match="did not end well") as failed:
            run_step(campaign, second, maker, attempt=attempt)
        assert failed.value.exit_status == 3

    assert campaign.attempts(second) == [1]
    assert observatory.imported(campaign).counts == {"taken": 1, "failed": 1}
    assert observatory.imported(campaign).counts == {"known": 2}
    assert observatory.result()[1]["FAILED"] == 1
    (campaign.folder.parent / "bad").unlink()
    run_step(campaign, second, maker)  # the workflow is started again
    assert observatory.imported(campaign).counts == {"known": 1, "taken": 1}
    assert "FAILED" not in observatory.result()[1]


def test_names_that_lead_elsewhere_are_refused(observatory):
    campaign, _ = observatory.exported()
    path = campaign.folder / "steps" / "1.json"
    told = json.loads(path.read_text())
    (given,) = told["inputs"].values()
    path.write_text(json.dumps(told | {"inputs": {"../../../escaped": given}}))

    with pytest.raises(DataError, match="leads elsewhere"):
        run_step(campaign, 1, Maker())


def test_an_input_that_was_cut_off_is_named(observatory):
    campaign, _ = observatory.exported()
    given = next(iter(campaign.step(1).inputs.values()))
    path = observatory.root / "archive" / given.path
    path.chmod(0o644)
    path.write_text("short")

    with pytest.raises(DataError, match="not what it was"):
        run_step(campaign, 1, Maker())


def test_a_folder_that_is_no_campaign_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="no folder of a campaign"):
        read_campaign(tmp_path)


# -- Snakemake -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("needs_snakemake")
def test_snakemake_killed_and_started_again_makes_what_the_service_makes(observatory, calm):
    campaign, _ = observatory.exported()
    wait = campaign.folder.parent / "wait"
    wait.touch()
    process = snakemake(campaign)
    steps = campaign.folder / "jobs"
    until(lambda: process.poll() is not None or list(steps.glob("*/1/running")))  # of stage 2
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = [number for number in campaign.rules if campaign.done(number)]
    wait.unlink()

    assert finished(snakemake(campaign)) == 0, (campaign.folder / "snakemake.log").read_text()

    assert {campaign.rules[number] for number in done} == {"stage1"}
    again = [number for number in campaign.rules if len(campaign.attempts(number)) > 1]
    assert len(again) <= len(os.sched_getaffinity(0))  # what Snakemake had not seen the end of
    assert observatory.imported(campaign).counts == {"taken": 11}
    assert observatory.result() == calm
    assert not list(observatory.folder.rglob("pwned"))


@pytest.mark.slow
@pytest.mark.usefixtures("needs_snakemake")
def test_snakemake_tries_again_what_may_pass_and_goes_on_with_the_rest(observatory):
    campaign, _ = observatory.exported(tasks=[1, 2, 5])
    trouble = campaign.folder.parent / "passing"
    trouble.touch()

    assert finished(snakemake(campaign)) == 1

    ends = {(rule, len(campaign.attempts(number))) for number, rule in campaign.rules.items()}
    assert ends == {("stage1", 1), ("stage2", 3)}
    log = (campaign.folder / "logs" / "stage2" / f"{max(campaign.rules)}.log").read_text()
    assert "No space left on device" in log


@pytest.fixture
def slurm(root, tmp_path):
    pytest.importorskip(
        "snakemake_executor_plugin_slurm", reason="NO PLUGIN: pip install 'lightmill[cluster]'"
    )
    with running_slurm(root, tmp_path / "slurm", 16937) as folder:
        yield folder


@in_full
@pytest.mark.slow
@pytest.mark.usefixtures("needs_snakemake")
def test_snakemake_on_slurm_makes_what_the_service_makes(observatory, calm, slurm):
    campaign, _ = observatory.exported(types=["image2"])
    profile = campaign.folder / "profiles" / "slurm" / "config.yaml"
    told = yaml.safe_load(profile.read_text()) | {"slurm-init-seconds-before-status-checks": 1}
    profile.write_text(yaml.safe_dump(told))

    assert finished(snakemake(campaign, "slurm")) == 0, (
        campaign.folder / "snakemake.log"
    ).read_text()

    assert observatory.imported(campaign).counts == {"taken": 8}
    files = observatory.result()[0]
    assert files == [
        one for one in calm[0] if one[0].rpartition("_")[2] not in ("i2d.txt", "cat.txt")
    ]
    jobs = (slurm / "log" / "jobcomp.txt").read_text().splitlines()
    assert len(jobs) == 2  # of Slurm: four steps in each
