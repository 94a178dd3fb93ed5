"""One step of a campaign, run where the workflow manager says: no store is asked, no network used."""

from __future__ import annotations

from pathlib import Path

from lightmill.errors import DataError, LightmillError
from lightmill.workflow.campaign.folder import Campaign, Done, Given, Step
from lightmill.workflow.engines import Ended, Work
from lightmill.workflow.engines.interface import result_of
from lightmill.workflow.engines.working import work_on
from lightmill.workflow.jobs import Commander, prepared
from lightmill.workflow.store.values import Startable
from lightmill.workflow.worker import LOG_FILE

__all__ = ["StepFailedError", "run_step"]

GROWTH = (
    2.0  # of the memory that a step may have, each time it is tried again; as the Snakefile has it
)
BAD_DATA = 3  # exit status: the same again will fail again
SHOWN = 2000  # characters of a log


class StepFailedError(LightmillError):
    """A step of a campaign did not end well."""

    code = "step-failed"
    exit_status = 70


def run_step(
    campaign: Campaign, number: int, commander: Commander, *, cores: int = 1, attempt: int = 1
) -> Done:
    """Run one step of a campaign in a folder of its own, and say that it is done.

    Parameters
    ----------
    campaign : Campaign
    number : int
        Of the step.
    commander : Commander
    cores : int
        That it may use.
    attempt : int
        How often the workflow manager has tried, with this one. Each may have twice the memory of
        the one before; above 1, a step that failed for bad data is not tried again.

    Returns
    -------
    done : Done
        What it was made of, and what it made.

    Raises
    ------
    UnknownNameError
        If there is no such step.
    DataError
        If an input is not there, or not what it was.
    StepFailedError
        If it did not end well; with the exit status of the job.
    """
    step = campaign.step(number)
    tried = campaign.attempts(number)
    if attempt > 1 and tried:
        before = _ended(campaign, number, tried[-1])
        if before is not None and before.exit_status == BAD_DATA:
            raise _failed(campaign, step, tried[-1], before)
    sources, checksums, size = _inputs(campaign, step)
    turn, folder = _new_folder(campaign, number, (tried or [0])[-1] + 1)
    job = Startable(
        number, number, turn, step.type, step.pipeline, step.name, step.document,
        dict.fromkeys(step.inputs, ""), size, 2.0 ** (attempt - 1), 0,
    )  # fmt: skip
    prepared(job, folder, sources, commander)
    work_on(str(folder), cores)
    ended = _ended(campaign, number, turn)
    if ended is None or ended.reason or ended.exit_status != 0:
        raise _failed(campaign, step, turn, ended)
    outputs = {
        one.name: {"path": one.path, "sha256": one.sha256, "size": one.size}
        for one in ended.outputs
    }
    done = Done(turn, checksums, outputs)
    campaign.write_done(number, done)
    return done


def _new_folder(campaign: Campaign, number: int, turn: int) -> tuple[int, Path]:
    """Make the folder of the next attempt: nobody else has it."""
    while True:
        folder = campaign.job(number, turn)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            turn += 1
            continue
        return turn, folder


def _inputs(campaign: Campaign, step: Step) -> tuple[dict[str, Path], dict[str, str], int]:
    """Return where the inputs of a step are, their checksums, and their size together [byte]."""
    sources, checksums, size = {}, {}, 0
    for name, given in step.inputs.items():
        if Path(name).name != name or "\0" in name or name == "..":
            raise DataError(
                "the name of an input leads elsewhere", place=f"step {step.number}", found=name,
                expected="a name of a file, without a folder",
            )  # fmt: skip
        if given.step:
            sources[name], one = _made(campaign, name, given.step)
        else:
            sources[name], one = campaign.archive / given.path, given
        _check(sources[name], one.size)
        checksums[name] = one.sha256
        size += one.size
    return sources, checksums, size


def _made(campaign: Campaign, name: str, number: int) -> tuple[Path, Given]:
    """Return where another step has put a product, and what it is."""
    done = campaign.done(number)
    if done is None or name not in done.outputs:
        raise DataError(
            "a step did not make what another needs", place=f"step {number}",
            found="it is not done" if done is None else ", ".join(sorted(done.outputs)) or "nothing",
            expected=name, remedy=f"look at {campaign.folder / 'jobs' / str(number)}",
        )  # fmt: skip
    one = done.outputs[name]
    path = campaign.job(number, done.attempt) / one["path"]
    return path, Given(sha256=one["sha256"], size=one["size"])


def _check(path: Path, size: int) -> None:
    try:
        found = path.stat().st_size
    except OSError as error:
        raise DataError("an input is not there", place=path, found=error.strerror) from error
    if found != size:
        raise DataError(
            "an input is not what it was", place=path, found=f"{found} bytes",
            expected=f"{size} bytes", remedy="export the campaign again",
        )  # fmt: skip


def _ended(campaign: Campaign, number: int, turn: int) -> Ended | None:
    return result_of(Work(number, campaign.job(number, turn), 0.0))


def _failed(campaign: Campaign, step: Step, turn: int, ended: Ended | None) -> StepFailedError:
    folder = campaign.job(step.number, turn)
    try:
        log = (folder / LOG_FILE).read_text(encoding="utf-8", errors="replace")[-SHOWN:].strip()
    except OSError:
        log = ""
    error = StepFailedError(
        f"step {step.number}, {step.pipeline} of {step.name}, did not end well",
        place=folder,
        found=(ended.reason if ended else "it vanished without a result") + (log and f"\n{log}"),
        remedy="mend the cause and start the workflow again: what is done is not done again",
    )
    if ended is not None and ended.exit_status is not None and 0 < ended.exit_status < 126:
        error.exit_status = ended.exit_status
    return error
