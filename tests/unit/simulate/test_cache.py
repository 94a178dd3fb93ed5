"""The cache beside a simulation: complete, in the field's layout, and never overwritten."""

import hashlib
from pathlib import Path

import pytest

from lightmill import simulate
from lightmill.errors import ConfigurationError


def test_every_reference_is_in_the_cache_under_a_name_of_its_observatory(
    near_infrared, empty, tmp_path
):
    made = simulate.exposure(near_infrared, empty, seed=1, directory=tmp_path)

    cache = simulate.write_cache(tmp_path / "crds", near_infrared, [made])

    folder = tmp_path / "crds" / "references" / "jwst" / "niriss"
    assert {p.name for p in folder.iterdir()} == {
        f"jwst_niriss_{kind}_0001.fits" for kind in made.references
    }
    assert (folder / "jwst_niriss_dark_0001.fits").samefile(made.references["dark"])
    assert cache.context == "jwst_0001.pmap"


def test_each_file_of_rules_carries_the_checksum_of_its_other_lines(facts, empty, tmp_path):
    made = simulate.exposure(facts, empty, seed=1, directory=tmp_path)

    simulate.write_cache(tmp_path / "crds", facts, [made])

    rules = list((tmp_path / "crds" / "mappings" / "jwst").iterdir())
    assert len(rules) == len(made.references) + 2
    for path in rules:
        lines = path.read_text().splitlines(keepends=True)
        rest = "".join(line for line in lines if "sha1sum" not in line)
        (said,) = (line.split("'")[3] for line in lines if "sha1sum" in line)
        assert said == hashlib.sha1(rest.encode(), usedforsecurity=False).hexdigest()


def test_the_same_simulation_again_changes_nothing(near_infrared, empty, tmp_path):
    before = _night(near_infrared, empty, tmp_path, seed=1)
    names = _names(tmp_path)

    after = _night(near_infrared, empty, tmp_path, seed=1)

    assert after == before
    assert _names(tmp_path) == names


def test_another_detector_drawn_for_the_same_rows_gets_new_numbers(near_infrared, empty, tmp_path):
    _night(near_infrared, empty, tmp_path, seed=1)
    dark = tmp_path / "crds/references/jwst/niriss/jwst_niriss_dark_0001.fits"
    content = dark.read_bytes()

    after = _night(near_infrared, empty, tmp_path, seed=2)

    assert after.context == "jwst_0002.pmap"
    assert dark.read_bytes() == content
    rules = (tmp_path / "crds/mappings/jwst/jwst_niriss_dark_0002.rmap").read_text()
    assert "jwst_niriss_dark_0002.fits" in rules
    assert "jwst_niriss_dark_0001.fits" not in rules
    assert "'derived_from' : 'jwst_niriss_dark_0001.rmap'" in rules


def test_a_second_instrument_joins_the_first(near_infrared, averaging, empty, tmp_path):
    _night(near_infrared, empty, tmp_path, seed=1)

    after = _night(averaging, empty, tmp_path, seed=1)

    context = (tmp_path / "crds/mappings/jwst" / after.context).read_text()
    assert "'NIRCAM' : 'jwst_nircam_0001.imap'" in context
    assert "'NIRISS' : 'jwst_niriss_0001.imap'" in context


def test_what_this_detector_needs_not_is_said_to_be_not_applicable(
    near_infrared, mid_infrared, empty, tmp_path
):
    for facts in (near_infrared, mid_infrared):
        _night(facts, empty, tmp_path / facts.name, seed=1)

    near = tmp_path / "NIRISS/crds/mappings/jwst/jwst_niriss_0001.imap"
    mid = tmp_path / "MIRI/crds/mappings/jwst/jwst_miri_0001.imap"
    assert "'reset' : 'N/A'" in near.read_text()
    assert "'superbias' : 'N/A'" in mid.read_text()


def test_without_rules_of_the_observatory_there_is_no_cache(near_infrared, empty, tmp_path):
    import dataclasses

    facts = dataclasses.replace(near_infrared, rules=None)
    made = simulate.exposure(facts, empty, seed=1, directory=tmp_path)

    with pytest.raises(ConfigurationError, match="not known how"):
        simulate.write_cache(tmp_path / "crds", facts, [made])


def _night(facts, scene, folder: Path, *, seed: int) -> simulate.SimulatedCache:
    made = simulate.exposure(facts, scene, seed=seed, directory=folder)
    return simulate.write_cache(folder / "crds", facts, [made])


def _names(folder: Path) -> set[str]:
    return {str(p) for p in (folder / "crds").rglob("*")}
