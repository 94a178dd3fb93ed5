"""An observatory joins with rules in its own folder, and no file elsewhere."""

from pathlib import Path

import numpy as np
import pytest

from lightmill import app, models
from lightmill.errors import ConfigurationError
from lightmill.models import UncalModel
from lightmill.reference.errors import RulesFormatError
from lightmill.reference.headers import header_of
from lightmill.reference.lint import lint
from lightmill.reference.rules.mapping import Context, load
from lightmill.reference.yaml_rules import collect, has_rules, read_rules, rules_of
from lightmill.reference.yaml_rules.vocabulary import HEADER_KEY, KINDS
from lightmill.testing import make_ramp, make_reference
from lightmill.testing.observatory import OBSERVATORY
from lightmill.testing.observatory.glowcam import INSTRUMENT

HEADER = {
    "META.INSTRUMENT.NAME": "GLOWCAM",
    "META.INSTRUMENT.DETECTOR": "SMALL",
    "META.LAMP.COLOUR": "WARM",
    "META.OBSERVATION.DATE": "2030-06-01",
    "META.OBSERVATION.TIME": "12:00:00",
    "LAMPBRI": 5.0,
}


def test_rules_in_the_folder_are_a_context():
    context = rules_of(OBSERVATORY.home)
    assert isinstance(context, Context)
    assert context.observatory == "lantern"
    assert context.best_references(HEADER) == {
        "dark": "lantern_glowcam_dark_0002.fits",
        "gain": "lantern_gain_0001.fits",
    }


@pytest.mark.parametrize(
    ("changes", "dark", "gain"),
    [
        ({"META.OBSERVATION.TIME": "11:59:59"}, "0001", "lantern_gain_0001.fits"),
        ({"META.LAMP.COLOUR": "COLD"}, "0003", "lantern_gain_0001.fits"),
        ({"META.INSTRUMENT.DETECTOR": "LARGE", "LAMPBRI": 100}, "0004", "N/A"),
    ],
)
def test_every_word_of_the_rules_counts(changes, dark, gain):
    answers = rules_of(OBSERVATORY.home).best_references({**HEADER, **changes})
    assert answers == {"dark": f"lantern_glowcam_dark_{dark}.fits", "gain": gain}


def test_its_own_keywords_reach_the_rules(tmp_path):
    models.register_overlay(OBSERVATORY.name, OBSERVATORY.home)
    meta = {
        "telescope": "LANTERN", "instrument.name": "GLOWCAM", "instrument.detector": "SMALL",
        "lamp.colour": "COLD", "lamp.brightness": 3.5,
        "observation.date": "2030-01-01", "observation.time": "00:00:00",
    }  # fmt: skip
    path = UncalModel(meta=meta, data=np.zeros((1, 2, 4, 5), np.uint16)).save(
        tmp_path / "x_uncal.fits"
    )
    context = rules_of(OBSERVATORY.home)
    header = header_of(path, context.required_keys("glowcam"))
    assert context.best_references(header)["dark"] == "lantern_glowcam_dark_0003.fits"


def test_the_name_of_the_context_fixes_the_rules(tmp_path):
    folder = tmp_path / "obs" / "reference"
    folder.mkdir(parents=True)
    text = "type: dark\ninstrument: cam\nmatch: [A]\nentries:\n  - {match: [x], file: a.fits}\n"
    (folder / "dark.yaml").write_text(text)
    first = rules_of(tmp_path / "obs").name
    assert rules_of(tmp_path / "obs").name == first
    (folder / "dark.yaml").write_text(text.replace("a.fits", "b.fits"))
    assert rules_of(tmp_path / "obs").name != first


def test_several_types_fit_into_one_file(tmp_path):
    folder = tmp_path / "obs" / "reference"
    folder.mkdir(parents=True)
    (folder / "rules.yaml").write_text(
        "type: dark\ninstrument: cam\nmatch: [A]\nentries:\n  - {match: [x], file: a.fits}\n---\n"
        "type: flat\ninstrument: cam\nmatch: [B]\nentries:\n  - {match: [y], file: b.fits}\n"
    )
    context = rules_of(tmp_path / "obs")
    assert context.best_references({"INSTRUME": "CAM", "A": "X", "B": "y"}) == {
        "dark": "a.fits", "flat": "b.fits",
    }  # fmt: skip


def test_written_as_mapping_files_they_answer_the_same(tmp_path):
    rules = collect(OBSERVATORY.home)
    rules.write(tmp_path)
    context = load(tmp_path / rules.context)
    assert context.best_references(HEADER) == rules_of(OBSERVATORY.home).best_references(HEADER)


def test_a_wrong_row_is_refused_with_its_line_in_the_yaml_file(tmp_path):
    folder = tmp_path / "obs" / "cam" / "reference"
    folder.mkdir(parents=True)
    (folder / "dark.yaml").write_text(
        "# darks\nmatch: [A, B]\nentries:\n  - {match: [x], file: a.fits}\n"
    )
    context = rules_of(tmp_path / "obs")
    with pytest.raises(RulesFormatError) as caught:
        context.rules("cam").rules("dark")
    assert "dark.yaml:4" in str(caught.value.place)


def test_two_files_for_one_type_are_refused(tmp_path):
    folder = tmp_path / "obs" / "reference"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / f"{name}.yaml").write_text(
            "type: dark\ninstrument: cam\nmatch: [A]\nentries: []\n"
        )
    with pytest.raises(ConfigurationError, match="two files"):
        rules_of(tmp_path / "obs")


def test_a_folder_without_rules_says_where_they_belong(tmp_path):
    assert not has_rules(tmp_path)
    with pytest.raises(ConfigurationError, match="holds no rules"):
        rules_of(tmp_path)


def test_a_single_file_loads_as_the_rules_of_its_type(tmp_path):
    path = tmp_path / "dark.yaml"
    text = Path(OBSERVATORY.home / "glowcam" / "reference" / "dark.yaml").read_text()
    path.write_text("observatory: lantern\ninstrument: glowcam\n" + text)
    rules = load(path)
    assert (rules.filekind, rules.instrument) == ("dark", "glowcam")
    assert rules.select(HEADER) == "lantern_glowcam_dark_0002.fits"


@pytest.mark.parametrize("page", ["how-to/rules-for-a-new-observatory", "reference/yaml-rules"])
def test_the_rules_in_the_documentation_are_rules(root, page):
    text = (root / "docs" / f"{page}.md").read_text()
    blocks = [one.partition("```")[0] for one in text.split("```yaml\n")[1:]]
    shown = [one for one in blocks if "entries:" in one]
    assert shown
    for block in shown:
        rules = read_rules(block, page)
        assert not [one for one in lint(rules, page) if one.severity != "note"]


def test_the_page_of_the_form_has_every_word(root):
    text = (root / "docs" / "reference" / "yaml-rules.md").read_text()
    words = [*HEADER_KEY, *(kind.level for kind in KINDS), *(kind.entry for kind in KINDS)]
    assert not [word for word in words if f"`{word}" not in text]


def test_data_of_the_observatory_are_calibrated_with_what_its_rules_name(tmp_path):
    # physics: each group holds 2 DN of dark signal more than the one before
    app.register(INSTRUMENT)
    facts = {
        "telescope": "LANTERN", "instrument.name": "GLOWCAM", "instrument.detector": "SMALL",
        "lamp.colour": "COLD", "observation.date": "2030-01-01", "observation.time": "00:00:00",
    }  # fmt: skip
    ramp = make_ramp(rate=1.0, n_groups=3).evolve(meta=facts)
    home = tmp_path / "crds" / "references" / "lantern" / "glowcam"
    home.mkdir(parents=True)
    make_reference("dark", ramp, 2.0).save(home / "lantern_glowcam_dark_0003.fits")
    path = ramp.save(tmp_path / "x_ramp.fits")

    outcome = app.run("dark_current", [path], output_dir=tmp_path, crds_path=tmp_path / "crds")[0]

    # physics: with the cold lamp's dark the signal loses just that
    assert outcome.error is None
    lost = np.median(ramp.data[0] - outcome.model.data[0], axis=(1, 2))
    assert lost.tolist() == [2.0, 4.0, 6.0]
    used = outcome.record["steps"][0]["references"]["dark"]
    assert used["name"] == "lantern_glowcam_dark_0003.fits"
    assert used["context"] == rules_of(OBSERVATORY.home).name
