import pytest

from lightmill.cli import main


def ended(capsys, *typed):
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in typed])
    said = capsys.readouterr()
    return caught.value.code, said.out, said.err


def test_a_simulated_night_can_be_processed_as_it_stands(capsys, tmp_path):
    status, raw, _ = ended(capsys, "simulate", "minimal", tmp_path / "night")

    done = ended(
        capsys,
        *("run", "calwebb_detector1", *raw.split(), "--references", tmp_path / "night"),
        *("--output-dir", tmp_path / "out"),
    )

    assert (status, done[0]) == (0, 0)
    assert [p.name.rpartition("_")[2] for p in sorted((tmp_path / "out").glob("*.fits"))] == [
        "rate.fits",
        "rateints.fits",
    ]


def test_the_demo_ends_in_a_report_and_says_what_to_do_next(capsys, tmp_path):
    pytest.importorskip("matplotlib")

    status, out, _ = ended(capsys, "demo", tmp_path / "demo", "--scene", "minimal")

    assert status == 0
    assert (tmp_path / "demo" / "report.html").stat().st_size > 1000
    assert f"{tmp_path / 'demo' / 'report.html'}" in out
    assert "lightmill explain" in out


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [
        (("minmal",), "did you mean 'minimal'?"),
        (("minimal", "--instrument", "nircm"), "did you mean 'NIRCAM'?"),
    ],
)
def test_a_misspelled_scene_or_instrument_gets_a_suggestion(capsys, tmp_path, typed, remedy):
    scene, *options = typed

    status, _, err = ended(capsys, "simulate", scene, tmp_path / "night", *options)

    assert status == 5
    assert remedy in err


def test_a_scene_that_no_observatory_runs_stays_on_this_machine(capsys, tmp_path):
    status, _, told = ended(
        capsys, "demo", tmp_path / "demo", "--scene", "minimal", "--engine", "dask"
    )

    assert status == 2
    assert "night" in told
    assert not (tmp_path / "demo").exists()


def test_slurm_has_to_be_told_a_partition(capsys, tmp_path):
    assert ended(capsys, "ops", "init", "--root", tmp_path, "--observatory", "JWST")[0] == 0

    status, _, told = ended(
        capsys, "ops", "watch", tmp_path / "inbox", "--root", tmp_path, "--engine", "slurm"
    )

    assert status == 2
    assert "--partition" in told
