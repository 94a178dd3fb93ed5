import json

import pytest
import yaml

from lightmill.cli import main

pytest.importorskip("alembic", reason="operations need the extra `operations`")


def ended(capsys, *typed):
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in typed])
    said = capsys.readouterr()
    return caught.value.code or 0, said.out, said.err


@pytest.fixture
def site(capsys, tmp_path):
    """An observatory to which nothing has been delivered."""
    root = tmp_path / "it's $HOME"  # a folder's name is only a name
    assert ended(capsys, "ops", "init", "--root", root, "--observatory", "JWST")[0] == 0
    return root


def test_a_campaign_of_nothing_says_so(capsys, site, tmp_path):
    status, told, _ = ended(
        capsys, "ops", "export", "snakemake", tmp_path / "new", "--root", site, "--json"
    )

    assert status == 0
    assert json.loads(told) == {"steps": {}, "left_out": {}}


def test_a_folder_that_holds_something_is_left_alone(capsys, site, tmp_path):
    (tmp_path / "mine.txt").touch()

    status, _, told = ended(capsys, "ops", "export", "snakemake", tmp_path, "--root", site)

    assert status == 2
    assert "something in the folder" in told
    assert not (tmp_path / "Snakefile").exists()


def test_the_profile_of_slurm_says_what_the_options_do(capsys, site, tmp_path):
    folder = tmp_path / "new"
    options = ("--partition", "long", "--account", "survey", "--runtime", "90", "--together", "5")

    assert ended(capsys, "ops", "export", "snakemake", folder, "--root", site, *options)[0] == 0

    told = yaml.safe_load((folder / "profiles" / "slurm" / "config.yaml").read_text())
    assert told["default-resources"] == {
        "runtime": 90, "slurm_partition": "long", "slurm_account": "survey"
    }  # fmt: skip
    assert told["cores"] == 1  # steps that are together run one after the other
    assert "slurm-no-account" not in told


def test_a_campaign_of_another_observatory_is_refused(capsys, site, tmp_path):
    folder, other = tmp_path / "campaign", tmp_path / "other"
    assert ended(capsys, "ops", "export", "snakemake", folder, "--root", site)[0] == 0
    assert ended(capsys, "ops", "init", "--root", other, "--observatory", "JWST")[0] == 0

    status, _, told = ended(capsys, "ops", "import", folder, "--root", other)

    assert status == 2
    assert "another observatory" in told
    assert ended(capsys, "ops", "import", folder, "--root", site) == (0, "nothing\n", "")


def test_a_step_that_is_not_there_is_named(capsys, site, tmp_path):
    folder = tmp_path / "campaign"
    assert ended(capsys, "ops", "export", "snakemake", folder, "--root", site)[0] == 0

    status, _, told = ended(capsys, "ops", "run-step", folder, "17")

    assert status == 5
    assert "17" in told
