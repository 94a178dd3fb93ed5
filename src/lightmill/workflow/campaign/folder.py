"""The folder of a campaign: what is in it, and how it is read.

::

    campaign.json       which observatory, which steps, what each needs
    steps/12.json       step 12: pipeline, association, where its inputs come from
    jobs/12/1/          what the first attempt at it was given, said and made
    done/RULE/12.json   written last, in one go: how step 12 ended well
    logs/RULE/12.log    what the command said that ran it

A step's number is that of its task in the store. All that comes from data, such as names of files,
is in JSON; names of files in the folder, and words of commands, are made of numbers and of the names
of pipelines only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError, DataError, UnknownNameError
from lightmill.workflow.jobs import LEAST_MB
from lightmill.workflow.outputs import written

__all__ = ["Campaign", "Done", "Given", "Step", "read_campaign", "rule_of"]

FILE, FORMAT = "campaign.json", 1


@dataclass(frozen=True)
class Given:
    """Where an input of a step comes from: the archive, or another step.

    Attributes
    ----------
    path : str
        Below the archive's folder; empty if another step makes it.
    sha256 : str
    size : int
        [byte]
    step : int
        That makes it; 0: none.
    """

    path: str = ""
    sha256: str = ""
    size: int = 0
    step: int = 0


@dataclass(frozen=True)
class Step:
    """One job of a campaign.

    Attributes
    ----------
    number : int
        Of the task.
    type, pipeline, name : str
        Of the task.
    document : dict or None
        The association.
    inputs : mapping of str to Given
        Name of each file → where it comes from.
    base_mb, mb_per_mb : float
        Memory that it needs whatever it is given, and for each byte of its inputs [1e6 byte, 1].
    """

    number: int
    type: str
    pipeline: str
    name: str
    document: dict[str, Any] | None
    inputs: Mapping[str, Given]
    base_mb: float = 0.0
    mb_per_mb: float = 0.0

    @property
    def rule(self) -> str:
        """Name that jobs of its pipeline have."""
        return rule_of(self.pipeline)

    @property
    def needs(self) -> list[int]:
        """The steps that have to be done before."""
        return sorted({one.step for one in self.inputs.values() if one.step})


@dataclass(frozen=True)
class Done:
    """How a step ended well.

    Attributes
    ----------
    attempt : int
    inputs : mapping of str to str
        Name of each input → its SHA-256.
    outputs : mapping of str to dict
        Name of each product → its path in the attempt's folder, sha256 and size.
    """

    attempt: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Campaign:
    """A campaign, as its folder has it.

    Attributes
    ----------
    folder : Path
    identity : str
        Unlike that of any other campaign.
    archive : Path
        Of the observatory.
    observatory : str
        Name of the leaf.
    run : sequence of str
        Words for every ``lightmill run``.
    is_again : bool
        It has steps that were done before.
    rules : mapping of int to str
        Number of each step, in an order in which they can be done → name of its rule.
    """

    folder: Path
    identity: str
    archive: Path
    observatory: str = ""
    run: Sequence[str] = ()
    is_again: bool = False
    rules: Mapping[int, str] = field(default_factory=dict)

    def write(self, steps: Sequence[Step]) -> None:
        """Write the steps, and last what makes the folder a campaign's."""
        for kind in ("steps", "jobs", "done", "logs"):
            (self.folder / kind).mkdir(parents=True, exist_ok=True)
        for one in steps:
            path = self.folder / "steps" / f"{one.number}.json"
            path.write_text(json.dumps(asdict(one), indent=1), encoding="utf-8")
        content = {
            "format": FORMAT, "identity": self.identity, "archive": str(self.archive),
            "observatory": self.observatory, "run": list(self.run), "is_again": self.is_again,
            "least_mb": LEAST_MB,
            "steps": {
                one.number: {
                    "rule": one.rule, "needs": one.needs,
                    "given_mb": sum(given.size for given in one.inputs.values()) / 1e6,
                    "base_mb": one.base_mb, "mb_per_mb": one.mb_per_mb,
                }
                for one in steps
            },
        }  # fmt: skip
        written(self.folder / FILE, json.dumps(content, indent=1))

    def step(self, number: int) -> Step:
        """Return a step.

        Raises
        ------
        UnknownNameError
            If the campaign has none of this number.
        """
        if number not in self.rules:
            raise UnknownNameError("step of the campaign", str(number), map(str, self.rules))
        told = json.loads((self.folder / "steps" / f"{number}.json").read_text(encoding="utf-8"))
        inputs = {name: Given(**one) for name, one in told.pop("inputs").items()}
        return Step(inputs=inputs, **told)

    def attempts(self, number: int) -> list[int]:
        """Return the attempts at a step, in their order."""
        names = [path.name for path in (self.folder / "jobs" / str(number)).glob("*")]
        return sorted(int(name) for name in names if name.isdecimal())

    def job(self, number: int, attempt: int) -> Path:
        """Return the folder of an attempt at a step."""
        return self.folder / "jobs" / str(number) / str(attempt)

    def done_file(self, number: int) -> Path:
        """Return the file that says how a step ended well."""
        return self.folder / "done" / self.rules[number] / f"{number}.json"

    def done(self, number: int) -> Done | None:
        """Return how a step ended, None if it is not done.

        Raises
        ------
        DataError
            If the file that says so cannot be read.
        """
        path = self.done_file(number)
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            return Done(int(told["attempt"]), dict(told["inputs"]), dict(told["outputs"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                "how the step ended cannot be read", place=path, found=error,
                remedy="remove the file: the step is done again",
            ) from error  # fmt: skip

    def write_done(self, number: int, done: Done) -> None:
        """Say how a step ended well, in one go."""
        path = self.done_file(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        written(path, json.dumps(asdict(done), indent=1))


def read_campaign(folder: Path) -> Campaign:
    """Return the campaign of a folder.

    Raises
    ------
    ConfigurationError
        If it is none.
    """
    path = folder / FILE
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        rules = {int(number): rule_of(one["rule"]) for number, one in told["steps"].items()}
        found = Campaign(
            folder.resolve(), told["identity"], Path(told["archive"]), told["observatory"],
            told["run"], told["is_again"], rules,
        )  # fmt: skip
        version = told["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            "this is no folder of a campaign",
            place=folder,
            found=error,
            expected=f"the file {FILE}",
            remedy=f"lightmill ops export snakemake {folder}",
        ) from error
    if version != FORMAT:
        raise ConfigurationError(
            "the campaign was written by another version", place=path, found=version,
            expected=FORMAT, remedy="export it again, to another folder",
        )  # fmt: skip
    return found


def rule_of(pipeline: str) -> str:
    """Return the name that jobs of a pipeline have in a workflow: a plain word."""
    return re.sub(r"\W", "_", pipeline, flags=re.ASCII) or "_"
