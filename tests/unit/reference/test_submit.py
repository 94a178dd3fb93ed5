"""New references get numbers, rows and new rules; what was there stays as it was."""

import json
import os
import threading

import numpy as np
import pytest
from click.testing import CliRunner

from lightmill.cli.refs import refs
from lightmill.errors import ConfigurationError, LightmillError, OutputError, ValidationError
from lightmill.models import DarkModel
from lightmill.reference.cache import Cache
from lightmill.reference.insertion import Place, header_keys, insert, pattern_keyword, place_of
from lightmill.reference.rules.mapping import load
from lightmill.reference.rules.text import Node, parse_mapping
from lightmill.reference.submit import prepare
from lightmill.testing.contexts import small_context

META = {
    "telescope": "LANTERN",
    "instrument.name": "GLOWCAM",
    "instrument.detector": "SMALL",
    "reftype": "DARK",
    "useafter": "2031-01-01T00:00:00",
    "pedigree": "GROUND",
    "author": "A. Tester",
    "description": "A dark of nothing",
}
OLD = "lantern_glowcam_dark_0007.fits"


@pytest.fixture
def cache(tmp_path):
    """A cache with one context, whose rules know one dark of the small detector."""
    root = tmp_path / "cache"
    files = small_context(references={"dark": {"SMALL": [("2029-01-01 00:00:00", OLD)]}})
    folder = root / "mappings" / "lantern"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (root / "references" / "lantern" / "glowcam").mkdir(parents=True)
    return Cache(root)


@pytest.fixture
def dark(tmp_path):
    def made(name="new.fits", **changes):
        meta = {**META, **{key.replace("__", "."): value for key, value in changes.items()}}
        data = np.zeros((3, 4, 5), np.float32)
        model = DarkModel(
            meta={key: value for key, value in meta.items() if value is not None},
            data=data,
            dq=np.zeros((4, 5), np.uint32),
        )
        return model.save(tmp_path / name)

    return made


def contents(cache):
    return {path: path.read_bytes() for path in cache.root.rglob("*") if path.is_file()}


def answer(cache, context, detector="SMALL", date="2031-06-01"):
    header = {
        "META.INSTRUMENT.NAME": "GLOWCAM",
        "META.INSTRUMENT.DETECTOR": detector,
        "META.OBSERVATION.DATE": date,
        "META.OBSERVATION.TIME": "00:00:00",
    }
    return load(context, cache).best_references(header)["dark"]


def test_a_new_reference_is_chosen_under_the_new_context_only(cache, dark):
    before = contents(cache)

    submission = prepare([dark()], cache, "lantern_0001.pmap")
    written = submission.write()

    assert submission.new_context == "lantern_0002.pmap"
    assert [path.name for path in written] == [
        "lantern_glowcam_dark_0008.fits",
        "lantern_glowcam_dark_0002.rmap",
        "lantern_glowcam_0002.imap",
        "lantern_0002.pmap",
    ]
    assert answer(cache, "lantern_0002.pmap") == "lantern_glowcam_dark_0008.fits"
    assert answer(cache, "lantern_0002.pmap", date="2030-01-01") == OLD
    assert answer(cache, "lantern_0001.pmap") == OLD
    after = contents(cache)
    assert {path: after[path] for path in before} == before


def test_new_rules_say_what_they_were_made_from(cache, dark):
    submission = prepare([dark()], cache, "lantern_0001.pmap")
    submission.write()
    for name, old in (
        ("lantern_0002.pmap", "lantern_0001.pmap"),
        ("lantern_glowcam_0002.imap", "lantern_glowcam_0001.imap"),
        ("lantern_glowcam_dark_0002.rmap", "lantern_glowcam_dark_0001.rmap"),
    ):
        header = parse_mapping(cache.read_mapping(name)[0], name).header
        assert (header["name"], header["derived_from"]) == (name, old)
        load(name, cache)  # verifies its checksum


def test_rows_and_dates_that_are_missing_are_made_in_their_order(cache, dark):
    files = [
        dark("a.fits", instrument__detector="LARGE"),
        dark("b.fits", useafter="2028-01-01T00:00:00"),
        dark("c.fits", useafter="2030-01-01T00:00:00"),
    ]
    submission = prepare(files, cache, "lantern_0001.pmap")
    selector = submission.mappings["lantern_glowcam_dark_0002.rmap"].selector

    assert [key for key, _, _ in selector.items] == [("LARGE",), ("SMALL",)]
    dates = [key for key, _, _ in selector.items[1][1].items]
    assert dates == ["2028-01-01 00:00:00", "2029-01-01 00:00:00", "2030-01-01 00:00:00"]
    assert [one.sentence for one in submission.changes() if one.sentence.endswith(".fits'")] == [
        "added Match rule for 'lantern_glowcam_dark_0008.fits'",
        "added terminal 'lantern_glowcam_dark_0009.fits'",
        "added terminal 'lantern_glowcam_dark_0010.fits'",
    ]


def test_a_reference_of_the_same_row_and_date_takes_the_place_of_the_old_one(cache, dark):
    submission = prepare([dark(useafter="2029-01-01T00:00:00")], cache, "lantern_0001.pmap")
    sentences = [one.sentence for one in submission.changes()]
    assert f"replaced '{OLD}' with 'lantern_glowcam_dark_0008.fits'" in sentences


def test_a_row_that_competes_with_another_is_pointed_out(cache, dark):
    path = dark(instrument__detector="SMALL|LARGE")
    found = prepare([path], cache, "lantern_0001.pmap").findings()
    assert [(one.severity, one.code) for one in found] == [("warning", "ambiguous")]
    assert prepare([dark()], cache, "lantern_0001.pmap").findings() == []


def test_a_name_taken_meanwhile_leaves_everything_as_it_was(cache, dark):
    submission = prepare([dark()], cache, "lantern_0001.pmap")
    cache.mapping_path("lantern_0002.pmap").write_text("someone else's")
    before = contents(cache)

    with pytest.raises(OutputError, match="nothing was submitted"):
        submission.write()

    assert contents(cache) == before


def test_two_at_once_both_come_whole_or_not_at_all(cache, dark):
    files = [dark("a.fits"), dark("b.fits", instrument__detector="LARGE")]
    submissions = [prepare([file], cache, "lantern_0001.pmap") for file in files]
    errors = []

    def write(one):
        try:
            one.write()
        except OutputError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(one,)) for one in submissions]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert len(errors) == 1
    new = [p.name for p in contents(cache) if "0002" in p.name or "0008" in p.name]
    assert len(new) == 4


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser writes anywhere")
def test_a_cache_that_cannot_be_written_is_an_error(cache, dark):
    submission = prepare([dark()], cache, "lantern_0001.pmap")
    folder = cache.mapping_path("lantern_0001.pmap").parent
    folder.chmod(0o500)
    with pytest.raises(LightmillError):
        submission.write()
    folder.chmod(0o700)


def test_what_the_reference_does_not_say_is_asked_for(cache, dark):
    with pytest.raises(ValidationError, match="from when"):
        prepare([dark(useafter=None)], cache, "lantern_0001.pmap")
    with pytest.raises(ValidationError, match="selected by"):
        prepare([dark(instrument__detector=None)], cache, "lantern_0001.pmap")
    with pytest.raises(ConfigurationError, match="flat"):
        prepare([dark(reftype="FLAT")], cache, "lantern_0001.pmap")


RULES = """
header = {
    'filekind' : 'FLAT', 'instrument' : 'CAM', 'mapping' : 'REFERENCE', 'observatory' : 'OBS',
    'name' : 'obs_cam_flat_0001.rmap', 'derived_from' : 'x',
    'parkey' : (('DETECTOR', 'META.SUBARRAY.NAME', 'GAIN'), ('DATE-OBS', 'TIME-OBS')),
    'reference_to_dataset' : {'SUBARR' : 'META.SUBARRAY.NAME'},
    'parkey_relevance' : {'gain' : '(DETECTOR != "B")'},
}
selector = Match({
    ('A|B', 'FULL', 1) : UseAfter({
        '2020-01-01 00:00:00' : 'one.fits',
    }),
})
"""


def test_patterns_translations_and_relevance_decide_the_row():
    rules = parse_mapping(RULES, "obs_cam_flat_0001.rmap")
    assert "P_DETECT" in header_keys(rules)
    header = {
        "P_DETECT": "b|a|", "DETECTOR": "A", "SUBARR": "full", "GAIN": "1.0",
        "USEAFTER": "2021-02-03T04:05:06",
    }  # fmt: skip
    place = place_of(rules, header, "x.fits")
    assert place.keys == (
        ("Match", ("B|A", "FULL", "1.0")),
        ("UseAfter", "2021-02-03 04:05:06"),
    )
    new = insert(rules, place, "two.fits")
    assert isinstance(new.selector, Node)
    assert len(new.selector.items) == 1  # the row of A|B is that of B|A
    assert [file for _, file, _ in new.selector.items[0][1].items] == ["one.fits", "two.fits"]
    assert len(rules.selector.items[0][1].items) == 1  # the old rules are as they were

    other = place_of(rules, {**header, "P_DETECT": None, "DETECTOR": "B"}, "x.fits")
    assert other.keys[0][1] == ("B", "FULL", "N/A")


def test_the_names_of_patterns_are_those_of_the_files():
    assert pattern_keyword("DETECTOR") == "P_DETECT"
    assert pattern_keyword("META.INSTRUMENT.DETECTOR") == "META.INSTRUMENT.P_DETECTOR"


def test_a_place_is_an_entry_of_the_yaml_form():
    place = Place((("Match", ("A", "N/A")), ("UseAfter", "2021-02-03 00:00:00")))
    assert place.as_entry("x.fits") == "- {match: [A, N/A], from: 2021-02-03, file: x.fits}"


def test_the_command_shows_before_it_writes(cache, dark):
    path = str(dark())
    base = ["submit", path, "--crds-path", str(cache.root)]
    before = contents(cache)
    shown = CliRunner().invoke(refs, [*base, "--dry-run"], standalone_mode=False)
    assert shown.exception is None, shown.exception
    assert contents(cache) == before
    assert "lantern_0002.pmap" in shown.output
    done = CliRunner().invoke(refs, [*base, "--json"], standalone_mode=False)
    facts = json.loads(done.output)
    assert facts["written"]
    assert answer(cache, facts["new_context"]) == facts["references"][path]


def test_an_unfit_reference_is_refused(cache, dark):
    base = ["submit", str(dark(author=None)), "--crds-path", str(cache.root)]
    refused = CliRunner().invoke(refs, base, standalone_mode=False)
    assert isinstance(refused.exception, ValidationError)


def test_for_rules_in_yaml_the_entry_is_printed(dark, root):
    folder = str(root / "src" / "lightmill" / "testing" / "observatory")
    done = CliRunner().invoke(
        refs, ["submit", str(dark()), "--context", folder], standalone_mode=False
    )
    assert done.exception is None, done.exception
    assert "glowcam/reference/dark.yaml" in done.output
    assert "- {match: [SMALL, N/A], from: 2031-01-01, file: new.fits}" in done.output
