"""Parameter files go both ways between the reference pipeline and us.

Differences of meaning: the peer's exports leave every ``override_*`` out, ours hold them; what
only we know stands in a block of its own, which the peer does not look at.
"""

import json
import os
import subprocess

import pytest

from lightmill import app
from lightmill.pipeline import parameter_files
from lightmill.pipeline.parameters import accepted

pytestmark = pytest.mark.peer

OURS_ALONE = {
    "jump": {"statistic"},
    "ramp_fit": {"dark_current_unit", "variances"},
    "linearity": {"override_saturation"},
}
EXPORT = """
from jwst.pipeline import Detector1Pipeline
from jwst.jump import JumpStep
pipeline = Detector1Pipeline()
pipeline.jump.rejection_threshold = 5.5
pipeline.save_calibrated_ramp = True
pipeline.export_config("pipeline.asdf", include_metadata=True)
JumpStep(rejection_threshold=3.0).export_config("step.asdf")
"""
READ = """
import json
from stpipe import Step
pipeline = Step.from_config_file(PATH)
print(json.dumps({
    "class": type(pipeline).__name__,
    "threshold": pipeline.jump.rejection_threshold,
    "gain": pipeline.ramp_fit.override_gain,
    "ipc": pipeline.ipc.skip,
    "ramp": pipeline.save_calibrated_ramp,
}))
"""


@pytest.fixture
def ask(peer, tmp_path):
    """Run a program with the peer, in a folder of its own, without a network."""
    config = tmp_path / "crds" / "config" / "jwst"
    config.mkdir(parents=True)
    (config / "server_config").write_text(
        "{'observatory':'jwst','operational_context':'jwst_0000.pmap','last_synced':'never'}"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "CRDS_PATH": str(tmp_path / "crds"),
        "STPIPE_DISABLE_CRDS_STEPPARS": "true",
    }

    def run(program):
        done = subprocess.run(
            [peer, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def detector1(monkeypatch):
    cls = app.target_class("calwebb_detector1", {"telescope": "JWST", "instrument.name": "NIRISS"})
    for name, names in OURS_ALONE.items():
        known = getattr(cls.steps[name], "extensions", frozenset())
        monkeypatch.setattr(cls.steps[name], "extensions", known | names, raising=False)
    return cls


def test_the_peers_files_are_read_and_every_name_in_them_is_known(ask, tmp_path, monkeypatch):
    ask(EXPORT)

    pipeline = parameter_files.read(tmp_path / "pipeline.asdf", aliases=app.aliases())
    step = parameter_files.read(tmp_path / "step.asdf", aliases=app.aliases())

    assert (pipeline.target, step.target) == ("calwebb_detector1", "jump")
    assert pipeline.settings.explain("jump", "rejection_threshold")[0].value == 5.5
    assert pipeline.settings.value("save_calibrated_ramp") is True
    steps = detector1(monkeypatch).steps
    unknown = {
        name: set(given) - {d.name for d in accepted(steps[name])}
        for name, given in pipeline.settings.steps.items()
        if name in steps
    }
    assert not {name: names for name, names in unknown.items() if names}


def test_the_peer_reads_what_we_save(ask, tmp_path, monkeypatch):
    pipeline = detector1(monkeypatch)()
    pipeline.jump.rejection_threshold = 5.5
    pipeline.save_calibrated_ramp = True
    path = parameter_files.write(
        tmp_path / "ours.asdf",
        pipeline,
        overrides={"gain": str(tmp_path / "gain.fits"), "saturation": "N/A"},
        skip=["ipc"],
        aliases=app.aliases(),
    )

    answer = json.loads(ask(READ.replace("PATH", repr(str(path)))).splitlines()[-1])

    assert answer == {
        "class": "Detector1Pipeline",
        "threshold": 5.5,
        "gain": str(tmp_path / "gain.fits"),
        "ipc": True,
        "ramp": True,
    }
