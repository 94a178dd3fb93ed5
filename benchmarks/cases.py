"""Make exposures, run the peer on them, and run Lightmill on them."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from benchmarks.measure import Cost, measured

COMMAND = [sys.executable, "-c", "from lightmill.cli import main; main()"]
ROOT = Path(__file__).resolve().parents[1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every side-by-side benchmark takes."""
    parser.add_argument(
        "--peer",
        type=Path,
        default=ROOT / ".peers" / "jwst",
        help="virtual environment of the peer",
    )
    parser.add_argument(
        "--no-peer", action="store_true", help="measure only Lightmill (the case must exist)"
    )
    parser.add_argument(
        "--ramps",
        type=Path,
        default=ROOT.parent / "shared" / "cases" / "ramps",
        help="folder of make_ramp_case.py and run_peer.py",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=ROOT / "build" / "benchmarks",
        help="where cases and products go",
    )
    parser.add_argument(
        "--lightmill", default=None, help="the lightmill command (default: this Python's)"
    )


class Bench:
    """The two pipelines and the folder they work in."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.ramps = options.ramps.resolve()
        self.work = options.work.resolve()
        self.peer = None if options.no_peer else options.peer.resolve() / "bin" / "python"
        self.command = options.lightmill.split() if options.lightmill else COMMAND
        self.logs = self.work / "log"
        self.work.mkdir(parents=True, exist_ok=True)
        if self.peer is not None and not self.peer.exists():
            raise SystemExit(
                f"no peer at {self.peer}: python3 -m venv .peers/jwst && .peers/jwst/bin/pip install 'jwst==3.0.0',"
                " or --peer PATH, or --no-peer"
            )

    def peer_environment(self) -> dict[str, str]:
        """Return an environment in which the peer asks no server (it wants one text file)."""
        cache = self.work / "crds"
        config = cache / "config" / "jwst" / "server_config"
        if not config.exists():
            config.parent.mkdir(parents=True, exist_ok=True)
            config.write_text(
                "{'observatory':'jwst','operational_context':'jwst_0000.pmap','last_synced':'never'}\n",
                encoding="ascii",
            )
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CRDS"))}
        return environment | {"CRDS_PATH": str(cache), "STPIPE_DISABLE_CRDS_STEPPARS": "true"}

    def case(self, name: str, *arguments: str) -> Path:
        """Return the folder of a case, made first if it is not there."""
        folder = self.work / name
        if not (folder / "overrides.json").exists():
            if self.peer is None:
                raise SystemExit(
                    f"{folder} does not exist, and only the peer's environment can make it"
                )
            print(f"making {name} …", flush=True)
            measured(
                [str(self.peer), str(self.ramps / "make_ramp_case.py"), str(folder), *arguments],
                self.logs / f"{name}.make",
                self.peer_environment(),
            )
        return folder

    def variant(self, case: Path, name: str, **parameters: dict[str, object]) -> Path:
        """Return a case with the same files and other step parameters."""
        folder = case.parent / f"{case.name}-{name}"
        folder.mkdir(exist_ok=True)
        for file in case.glob("*.fits"):
            link = folder / file.name
            if not link.exists():
                link.symlink_to(file)
        steps = json.loads((case / "overrides.json").read_text())
        for step, values in parameters.items():
            steps.setdefault(step, {}).update(values)
        (folder / "overrides.json").write_text(json.dumps(steps, indent=1))
        return folder

    def run_peer(self, case: Path, name: str = "peer", *options: str) -> tuple[Cost, dict]:
        """Run the peer; return its cost and its own report (time per step, import, pipeline)."""
        if self.peer is None:
            raise SystemExit("the peer was asked for with --no-peer")
        report = case / f"{name}.json"
        cost = measured(
            [
                str(self.peer),
                str(self.ramps / "run_peer.py"),
                str(case),
                "--out",
                str(case / name),
                "--json",
                str(report),
                *options,
            ],
            self.logs / f"{case.name}.{name}",
            self.peer_environment(),
        )
        return cost, json.loads(report.read_text())

    def run_ours(self, case: Path, name: str = "ours", *options: str) -> tuple[Cost, dict]:
        """Run Lightmill; return its cost and what ``--json`` printed."""
        out = case / name
        shutil.rmtree(out, ignore_errors=True)
        log = self.logs / f"{case.name}.{name}"
        cost = measured(
            [
                *self.command,
                "run",
                "calwebb_detector1",
                str(case / "uncal.fits"),
                "--output-dir",
                str(out),
                "--json",
                *step_options(case),
                *options,
            ],
            log,
        )
        return cost, record_of(log.read_text(errors="replace"))


def step_options(case: Path) -> list[str]:
    """Return the case's overrides and parameters as command line options."""
    steps = json.loads((case / "overrides.json").read_text())
    return [
        f"--steps.{step}.{parameter}={str(value).lower() if isinstance(value, bool) else value}"
        for step, parameters in steps.items()
        for parameter, value in parameters.items()
    ]


def record_of(text: str) -> dict:
    """Return the run record of the first exposure in what ``lightmill run --json`` printed."""
    outcomes = json_at_end(text).get("outcomes") or [{}]
    return outcomes[0].get("record") or {}


def json_at_end(text: str) -> dict:
    """Return the last JSON object of a log, or an empty one."""
    decoder = json.JSONDecoder()
    for start in range(len(text)):
        if text[start] == "{" and (start == 0 or text[start - 1] == "\n"):
            try:
                value, _ = decoder.raw_decode(text, start)
            except json.JSONDecodeError:
                continue
            return value
    return {}


def product(folder: Path, suffix: str) -> Path:
    """Return the one product of a folder with this suffix."""
    found = sorted(folder.glob(f"*_{suffix}.fits")) or sorted(folder.glob(f"{suffix}.fits"))
    if not found:
        raise SystemExit(f"no _{suffix}.fits in {folder}")
    return found[0]
