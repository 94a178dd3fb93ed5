"""Exposures that no mosaic can be made of, or not a whole one: from count rates to an outcome."""

import json
import shutil

import numpy as np
import pytest
from astropy.table import Table

pytest.importorskip("gwcs", reason="imaging needs the extra `imaging`")
pytest.importorskip("drizzle", reason="imaging needs the extra `imaging`")

from lightmill import app, models
from lightmill.cli import main
from lightmill.errors import UsageError
from lightmill.models.dq import PIXEL

EXPOSURES = 4
DEAD = np.uint32(PIXEL["DO_NOT_USE"])


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """Folder of the small field: count rates and references; not to be changed."""
    folder = tmp_path_factory.mktemp("field")
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "imaging-tiny", str(folder), "--level", "rate", "--quiet"])
    assert not ended.value.code
    return folder


@pytest.fixture
def ran(field, capsys):
    """Run a pipeline as the command does, and return its exit status; what it says is of this run."""

    def ran(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["run", *map(str, arguments), "--references", str(field)])
        return ended.value.code or 0

    return ran


@pytest.fixture
def stages(field, tmp_path, ran):
    """Change the count rates, run both stages; the exit statuses, and stage 3's folder."""

    def stages(change):
        rates = []
        for number, path in enumerate(sorted(field.glob("*_rate.fits"))):
            given = tmp_path / "given" / path.name
            given.parent.mkdir(exist_ok=True)
            changed = change(number, models.open(path))
            shutil.copy(path, given) if changed is None else changed.save(given)
            rates.append(given)
        second = ran("calwebb_image2", *rates, "--output-dir", tmp_path / "second")
        members = associated(sorted((tmp_path / "second").glob("*_cal.fits")))
        folder = tmp_path / "third"
        return second, ran("calwebb_image3", members, "--output-dir", folder), folder

    return stages


def associated(paths, name="field_asn.json"):
    """Write an association of files in one folder."""
    members = [{"expname": path.name, "exptype": "science"} for path in paths]
    document = {
        "asn_type": "image3",
        "asn_id": "a3001",
        "products": [{"name": "field", "members": members}],
    }
    path = paths[0].with_name(name)
    path.write_text(json.dumps(document))
    return path


def kinds(folder):
    """How many products of each kind there are; anything half-written would be another kind."""
    found = [path.stem.rpartition("_")[2] for path in folder.iterdir()]
    return {kind: found.count(kind) for kind in sorted(set(found))}


WHOLE = {"cat": 1, "crf": EXPOSURES, "i2d": 1, "run": 1, "segm": 1}


def notes(folder):
    """What the mosaic says of each step."""
    return {step["name"]: step for step in models.open(folder / "field_i2d.fits").record["steps"]}


def statuses(folder, step):
    return [
        models.open(path).meta.get(f"cal_step.{step}") for path in sorted(folder.glob("*_crf.fits"))
    ]


def moved(model, degrees):
    return model.evolve(meta={"wcsinfo.ra_ref": model.meta.wcsinfo.ra_ref + degrees})


# -- exposures that do not overlap ----------------------------------------------------------


def test_exposures_side_by_side_make_a_mosaic_that_says_they_do_not_overlap(stages, capsys):
    # physics: 256 pixels are 17 arcsec, the pointings 64 arcsec apart
    second, third, folder = stages(lambda number, rate: moved(rate, 0.02 * number))
    log = capsys.readouterr().err

    assert (second, third) == (0, 0)
    assert kinds(folder) == WHOLE
    said = notes(folder)
    for step, reason in (
        ("tweakreg", "no two exposures share enough stars"),
        ("skymatch", "no two exposures have sky in common"),
    ):
        assert statuses(folder, step) == ["SKIPPED"] * EXPOSURES
        assert said[step]["status"] == "SKIPPED"
        assert reason in said[step]["reason"]
        assert f"{step}: skipped: {reason}" in log
    planes = np.asarray(models.open(folder / "field_i2d.fits").con)
    seen = np.bitwise_count(planes).sum(axis=0)
    assert seen.max() == 1


def test_an_exposure_beside_the_others_is_named(stages, capsys):
    _, third, folder = stages(lambda number, rate: moved(rate, 0.02) if number == 2 else None)
    log = capsys.readouterr().err

    assert third == 0
    assert kinds(folder) == WHOLE
    expected = ["SKIPPED" if number == 2 else "COMPLETE" for number in range(EXPOSURES)]
    for step in ("tweakreg", "skymatch"):
        assert statuses(folder, step) == expected
        ((name, reason),) = notes(folder)[step]["skipped_exposures"].items()
        assert f"{name}: {reason}" in log


def test_exposures_of_fields_far_apart_are_refused(stages, capsys):
    second, third, folder = stages(lambda number, rate: moved(rate, 9.0 * number))

    assert (second, third) == (0, 3)
    said = capsys.readouterr().err
    assert "and 3 more: the mosaic would be too large" in said
    assert "make a mosaic of each field" in said
    assert not folder.exists()


# -- exposures with nothing to see ----------------------------------------------------------


def test_exposures_without_stars_make_a_mosaic_and_an_empty_catalog(stages, capsys):
    def sky(number, rate):
        noise = np.random.default_rng(number).normal(1, np.nanmedian(rate.err), rate.data.shape)
        return rate.evolve(data=noise.astype(np.float32))

    second, third, folder = stages(sky)
    log = capsys.readouterr().err

    assert (second, third) == (0, 0)
    assert kinds(folder) == WHOLE
    assert statuses(folder, "tweakreg") == ["SKIPPED"] * EXPOSURES
    assert "no stars were found" in notes(folder)["tweakreg"]["reason"]
    assert "tweakreg: skipped: no stars were found" in log
    table = Table.read(folder / "field_cat.ecsv")
    assert len(table) == 0
    assert "label" in table.colnames
    assert any("no sources" in note for note in table.meta["notes"])
    assert not np.any(models.open(folder / "field_segm.fits").data)


@pytest.mark.parametrize("what", ["flagged", "not a number"])
def test_an_exposure_without_a_usable_pixel_is_named_and_weighs_nothing(stages, capsys, what):
    def spoil(number, rate):
        if number != 1:
            return None
        if what == "flagged":
            return rate.evolve(dq=rate.dq | DEAD)
        return rate.evolve(data=np.full_like(rate.data, np.nan))

    second, third, folder = stages(spoil)
    log = capsys.readouterr().err

    assert (second, third) == (0, 0)
    assert kinds(folder) == WHOLE
    # stage 2 calibrates it, but there is no picture of it
    alone = folder.with_name("second")
    assert kinds(alone) == {"asn": 1, "cal": EXPOSURES, "i2d": EXPOSURES - 1, "run": EXPOSURES}
    dead = sorted(alone.glob("*_cal.fits"))[1]
    reasons = {one["name"]: one.get("reason") for one in models.open(dead).record["steps"]}
    assert reasons["resample"] == "the exposure has no pixel that can be used"
    expected = ["SKIPPED" if number == 1 else "COMPLETE" for number in range(EXPOSURES)]
    for step in ("tweakreg", "skymatch"):
        assert statuses(folder, step) == expected
        assert list(notes(folder)[step]["skipped_exposures"]) == [dead.name]
        assert f"{dead.name}: " in log
    planes = np.asarray(models.open(folder / "field_i2d.fits").con)
    assert not np.any(planes & 2)
    assert np.any(planes & 4)
    assert len(Table.read(folder / "field_cat.ecsv")) > 20


def test_exposures_that_are_all_flagged_are_refused(stages, capsys):
    second, third, folder = stages(lambda _, rate: rate.evolve(dq=rate.dq | DEAD))

    assert (second, third) == (0, 3)
    said = capsys.readouterr().err
    assert "_cal.fits and 3 more: no exposure has a pixel that can be used" in said
    assert "try:" in said
    assert not folder.exists()


# -- the wrong files ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "keyword"),
    [
        ({"instrument.detector": "NRCA1"}, "DETECTOR"),
        ({"instrument.name": "NIRCAM", "instrument.detector": "NRCA1"}, "INSTRUME"),
    ],
)
def test_a_flat_of_another_detector_is_refused(field, tmp_path, ran, capsys, meta, keyword):
    (flat,) = field.glob("*_flat.fits")
    other = models.open(flat).evolve(meta=meta).save(tmp_path / "other.fits")
    rates = sorted(field.glob("*_rate.fits"))[:2]

    status = ran(
        "calwebb_image2", *rates, f"--override-flat={other}", "--output-dir", tmp_path / "out"
    )

    assert status == 3
    said = capsys.readouterr().err
    assert f"other.fits[PRIMARY/{keyword}]: the flat reference is for another" in said
    assert "try:      give the reference of" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pipeline", ["calwebb_image2", "calwebb_image3"])
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"products": [{"name": "field", "members": []}]}, "there is no science exposure"),
        ({"products": []}, "this is no association"),
        (None, "there is no exposure in the folder"),
    ],
    ids=["no members", "no products", "an empty folder"],
)
def test_no_exposures_are_refused(tmp_path, ran, capsys, pipeline, given, says):
    path = tmp_path / "given"
    path.mkdir()
    if given is not None:
        path = path / "field_asn.json"
        path.write_text(json.dumps(given))

    status = ran(pipeline, path, "--output-dir", tmp_path / "out")

    assert status == 3
    assert f"{path}: {says}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_input_at_all_is_wrong_usage(ran, tmp_path, capsys):
    assert ran("calwebb_image3", "--output-dir", tmp_path / "out") == 2
    assert "no input is given" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no input is given"):
        app.run("calwebb_image3", [])
