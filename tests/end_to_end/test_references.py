"""From raw exposure to product with nothing but a cache: what is chosen, recorded, and said when it fails."""

import json
import shutil
import subprocess
import sys

import pytest
from astropy.io import fits

from lightmill import app, models, simulate
from lightmill.cli import main
from lightmill.errors import IncompleteReferencesError
from lightmill.pipeline import parameter_files
from lightmill.testing.caches import add_to_cache

PIPELINE = "calwebb_detector1"


@pytest.fixture(autouse=True)
def _no_cache_of_this_machine(monkeypatch, tmp_path_factory):
    for name in ("CRDS_PATH", "CRDS_CONTEXT", "CRDS_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setattr("lightmill.reference.rulebook._books", {})


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A window of an exposure, and its cache."""
    folder = tmp_path_factory.mktemp("night")
    home = app.discover()["JWST/NIRISS"].home
    facts = simulate.InstrumentFacts.from_yaml(home / "simulate.yaml")
    made = simulate.exposure(facts, "minimal", seed=4, directory=folder)
    simulate.write_cache(folder / "crds", facts, [made])
    return folder


@pytest.fixture
def night(original, tmp_path):
    """A copy to change."""
    return shutil.copytree(original, tmp_path / "night")


@pytest.fixture
def uncal(night):
    (path,) = night.glob("*_uncal.fits")
    return path


def run(uncal, *typed):
    with pytest.raises(SystemExit) as caught:
        main(["run", PIPELINE, str(uncal), "--output-dir", str(uncal.parent), *map(str, typed)])
    return caught.value.code


def product(uncal):
    return uncal.with_name(uncal.name.replace("_uncal", "_rate"))


def test_a_cache_is_all_that_is_needed(uncal, night, capsys):
    assert run(uncal, "--crds-path", night / "crds") == 0

    header = fits.getheader(product(uncal))
    assert header["CRDS_CTX"] == "jwst_0001.pmap"
    assert header["R_DARK"] == "crds://jwst_niriss_dark_0001.fits"
    assert header["S_DARK"] == "COMPLETE"
    assert "R_REFPIX" not in header
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["explain", str(product(uncal))])
    story = capsys.readouterr().out
    assert "jwst_0001.pmap" in story
    assert "jwst_niriss_dark_0001.rmap" in story


def test_the_variables_of_the_field_say_the_same(uncal, night, monkeypatch):
    run(uncal, "--crds-path", night / "crds", "--context", "jwst_0001.pmap")
    by_option = product(uncal).read_bytes()
    product(uncal).unlink()
    monkeypatch.setenv("CRDS_PATH", str(night / "crds"))
    monkeypatch.setenv("CRDS_CONTEXT", "jwst_0001.pmap")

    assert run(uncal) == 0
    assert product(uncal).read_bytes() == by_option


def test_the_same_numbers_come_out_as_with_the_files_named(uncal, night):
    run(uncal, "--crds-path", night / "crds")
    chosen = models.open(product(uncal)).data
    run(uncal, "--references", night)

    assert (models.open(product(uncal)).data == chosen).mean() > 0.99  # the others are NaN


def test_a_run_with_a_folder_loads_no_rules(uncal, night):
    code = (
        "import sys; from lightmill.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as end: assert not end.code\n"
        "print([m for m in sys.modules if m.startswith('lightmill.reference')])"
    )
    typed = ["run", PIPELINE, uncal, "--references", night, "--output-dir", night, "--quiet"]

    answer = subprocess.run(
        [sys.executable, "-c", code, *map(str, typed)], capture_output=True, text=True
    )

    assert answer.returncode == 0, answer.stderr
    for module in ("rules", "rulebook", "library", "cache", "client"):
        assert f"'lightmill.reference.{module}'" not in answer.stdout


def test_the_plan_says_which_rules_chose(uncal, night, capsys):
    assert run(uncal, "--crds-path", night / "crds", "--dry-run", "--json") == 0

    (outcome,) = json.loads(capsys.readouterr().out)["outcomes"]
    steps = {step["name"]: step for step in outcome["record"]["steps"]}
    dark = steps["dark_current"]["references"]["dark"]
    assert (dark["name"], dark["context"]) == ("jwst_niriss_dark_0001.fits", "jwst_0001.pmap")


def test_all_files_the_cache_lacks_are_told_at_once(uncal, night, capsys):
    for kind in ("dark", "gain"):
        next((night / "crds" / "references").rglob(f"*_{kind}_0001.fits")).unlink()

    assert run(uncal, "--crds-path", night / "crds") == 4

    story = capsys.readouterr().err
    assert "2 references are missing" in story
    assert "jwst_niriss_dark_0001.fits" in story
    assert "jump, ramp_fit" in story
    assert "refs sync" in story
    assert not product(uncal).exists()


def test_an_exposure_before_the_rules_begin_is_told_why(uncal, night):
    fits.setval(uncal, "DATE-OBS", value="2019-01-01")

    with pytest.raises(IncompleteReferencesError) as caught:
        app.run(PIPELINE, [uncal], crds_path=night / "crds", output_dir=night)

    assert len(caught.value.missing) == 8
    assert all(one["reason"] for one in caught.value.missing)


def test_a_damaged_reference_is_never_used(uncal, night, capsys):
    path = next((night / "crds" / "references").rglob("*_dark_0001.fits"))
    data = bytearray(path.read_bytes())
    data[-3000] ^= 1
    path.unlink()  # the file in the night's folder has the same content by another name
    path.write_bytes(data)

    assert run(uncal, "--crds-path", night / "crds") == 4
    assert "damaged" in capsys.readouterr().err


def test_an_unknown_context_is_refused_with_what_to_do(uncal, night, capsys):
    status = run(uncal, "--crds-path", night / "crds", "--context", "jwst_9999.pmap")

    story = capsys.readouterr().err
    assert status in {4, 5}
    assert "jwst_9999.pmap" in story
    assert "try:" in story


def test_an_empty_cache_is_refused_with_what_to_do(uncal, night, capsys):
    assert run(uncal, "--crds-path", night / "empty") in {4, 5}
    assert "try:" in capsys.readouterr().err


def test_a_run_that_goes_on_later_names_the_references_of_all_steps(uncal, night):
    assert run(uncal, "--crds-path", night / "crds", "--stop-after", "jump") == 0
    (outcome,) = app.run(PIPELINE, [uncal], crds_path=night / "crds", output_dir=night, resume=True)

    statuses = {note["name"]: note["status"] for note in outcome.record["steps"]}
    assert statuses["ramp_fit"] == "COMPLETE"
    header = fits.getheader(product(uncal))
    assert header["R_DARK"] == "crds://jwst_niriss_dark_0001.fits"
    assert header["CRDS_CTX"] == "jwst_0001.pmap"


# -- parameters -----------------------------------------------------------------------------


@pytest.fixture
def with_parameters(uncal, night):
    """The cache, with a parameter file for the jump step."""
    step = app.prepared("jump", models.open(uncal), {"rejection_threshold": 5.25})
    file = parameter_files.write(night / "pars.asdf", step, aliases=app.aliases())
    add_to_cache(night / "crds", models.open(uncal), "pars-jumpstep", file)
    return night / "crds"


def threshold(uncal, cache, **more):
    (outcome,) = app.run(PIPELINE, [uncal], crds_path=cache, output_dir=uncal.parent, **more)
    (jump,) = (note for note in outcome.record["steps"] if note["name"] == "jump")
    given = jump["parameters"]["rejection_threshold"]
    return given["value"], given["origin"], outcome.record


def test_parameters_come_from_the_rules(uncal, with_parameters):
    value, origin, record = threshold(uncal, with_parameters)

    assert value == 5.25
    assert origin == "reference jwst_niriss_pars-jumpstep_0001.asdf"
    (noted,) = record["parameter_references"]
    assert noted["context"] == record["context"] == "jwst_0002.pmap"


def test_the_users_words_are_stronger_than_the_rules(uncal, with_parameters, night):
    file = night / "mine.yaml"
    file.write_text("run: calwebb_detector1\nsteps: {jump: {rejection_threshold: 6}}\n")

    typed = threshold(uncal, with_parameters, parameters={"steps.jump.rejection_threshold": 7})
    (outcome,) = app.run(file, [uncal], crds_path=with_parameters, output_dir=night)
    (jump,) = (note for note in outcome.record["steps"] if note["name"] == "jump")

    assert typed[:2] == (7, "command line")
    assert jump["parameters"]["rejection_threshold"]["value"] == 6


def test_parameter_references_can_be_left_out(uncal, with_parameters, monkeypatch):
    monkeypatch.setenv("STPIPE_DISABLE_CRDS_STEPPARS", "true")

    assert threshold(uncal, with_parameters)[0] == 5.25  # no variable changes a result
    assert threshold(uncal, with_parameters, parameter_references=False)[1] == "default"
    assert run(uncal, "--crds-path", with_parameters, "--disable-crds-steppars") == 0


def test_saved_parameters_say_that_rules_set_them(uncal, with_parameters, night):
    saved = night / "saved.yaml"
    run(uncal, "--crds-path", with_parameters, "--save-parameters", saved)

    assert "reference jwst_niriss_pars-jumpstep_0001.asdf" in saved.read_text()


# -- lock files -----------------------------------------------------------------------------


def test_a_lock_file_holds_a_run_to_what_it_pins(
    uncal, night, with_parameters, capsys, monkeypatch
):
    lock = night / "night.lock"
    with pytest.raises(SystemExit):
        main(["refs", "lock", str(lock), str(uncal), "--crds-path", str(with_parameters)])
    assert run(uncal, "--crds-path", with_parameters, "--lock", lock) == 0
    (night / "crds" / "mappings" / "jwst" / "jwst_niriss_dark_0001.rmap").write_text("header = {}")
    monkeypatch.setattr("lightmill.reference.rulebook._books", {})  # as in another process

    assert run(uncal, "--crds-path", with_parameters, "--lock", lock) != 0
    assert "jwst_niriss_dark_0001.rmap" in capsys.readouterr().err
