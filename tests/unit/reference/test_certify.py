"""Rules and references are checked before they are released."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from lightmill.cli.refs import refs
from lightmill.errors import ConfigurationError
from lightmill.models import DarkModel
from lightmill.reference.certify import certify_reference, certify_rules
from lightmill.reference.conditions import ArrayFacts, evaluate
from lightmill.reference.constraints import check_constraints, read_constraints
from lightmill.reference.parsed import opened
from lightmill.reference.row_checks import is_special_case
from lightmill.reference.rules.text import Node, parse_mapping

HEAD = """
type: dark
observatory: OBS
instrument: CAM
"""


@pytest.fixture
def lint_of(tmp_path):
    def found(body, name="dark.yaml"):
        path = tmp_path / name
        path.write_text(HEAD + body)
        return certify_rules(path)

    return found


def codes(findings):
    return {(one.severity, one.code) for one in findings}


@pytest.fixture(scope="module")
def cases(root):
    folder = (
        Path(os.environ.get("LIGHTMILL_CASES", root.parent / "shared" / "cases")) / "references"
    )
    if not (folder / "cases.json").is_file():
        pytest.skip(f"NO CASES at {folder}: set LIGHTMILL_CASES")
    return folder


def test_good_rules_have_no_findings(lint_of):
    body = "match: [DETECTOR]\nuse_after: [DATE-OBS]\nentries:\n  - {match: [A], from: 2020-01-01, file: a.fits}\n"
    assert lint_of(body) == []


@pytest.mark.parametrize(
    ("rows", "severity", "code", "line"),
    [
        (["[A], file: a", "[A], file: b"], "error", "duplicate", 8),
        (["['1'], file: a", "[1.0], file: b"], "error", "equal-keys", 8),
        (["['F*122'], file: a", "[G], file: b"], "error", "unreachable", 7),
        (["['A|B'], file: a", "[A], file: b"], "error", "ambiguous", 8),
        (["['*'], file: a", "[N/A], file: b"], "warning", "shadowed", 8),
        (["['{abc}'], file: a"], "error", "cell", 7),
        (["['#==3#'], file: a"], "error", "cell", 7),
        (["['#>1 and <3 and >2#'], file: a"], "error", "cell", 7),
        (["['(F[)'], file: a"], "error", "cell", 7),
        (["['(F1)'], file: a"], "note", "cell", 7),
        (["['not *'], file: a"], "error", "cell", 7),
        (["['between 5 1'], file: a"], "error", "cell", 7),
        (["[A, B], file: a"], "error", "key-length", 7),
        (["[A], file: n/a"], "warning", "answer", 7),
        (["[A], file: [a, b]"], "note", "answer", 7),
    ],
)
def test_each_oddity_of_rows_is_said_with_its_line(lint_of, rows, severity, code, line):
    entries = "\n".join(f"  - {{match: {row}.fits}}" if "n/a" not in row and "[a, b]" not in row
                        else f"  - {{match: {row}}}" for row in rows)  # fmt: skip
    found = lint_of(f"match: [DETECTOR]\nentries:\n{entries}\n")
    assert (severity, code, line) in {(one.severity, one.code, one.line) for one in found}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("use_after: [D]\nentries:\n  - {from: 2020-02-30, file: a.fits}\n", "date"),
        (
            "use_after: [D]\nentries:\n  - {from: !exact '2020-02-03T00:00:00', file: a.fits}\n",
            "date",
        ),
        (
            "select: [version_after]\nparkey: [[V]]\nentries:\n  - {from_version: x.y, file: a.fits}\n",
            "version",
        ),
        (
            "select: [select_version]\nparkey: [[V]]\nentries:\n  - {version: '= 3', file: a.fits}\n",
            "version",
        ),
        ("select: [{nearest: [T]}]\nentries:\n  - {near: warm, file: a.fits}\n", "number"),
        ("match: [!exact a]\nentries:\n  - {match: [A], file: a.fits}\n", "lower-case-field"),
        (
            "match: [A]\nrelevant_when: B ==\nentries:\n  - {match: [A], file: a.fits}\n",
            "expression",
        ),
        (
            "match: [A]\nrelevant_when: B == 'X'\nentries:\n  - {match: [A], file: a.fits}\n",
            "unknown-field",
        ),
        ("match: [A]\nentries: []\n", "empty"),
        (
            (
                "match: [A]\nuse_after: [D]\nentries:\n  - {match: [A], from: 2020-01-01, file: a.fits}\n"
                "  - {match: [B], file: b.fits}\n"
            ),
            "ragged",
        ),
    ],
)
def test_each_oddity_of_other_levels_is_said(lint_of, body, code):
    assert code in {one.code for one in lint_of(body)}


def test_special_cases_of_equal_weight_are_the_known_ones(cases):
    known = json.loads((cases / "cases.json").read_text())
    known = known if isinstance(known, list) else known["cases"]
    compared = 0
    for case in known:
        if case["op"] != "validate":
            continue
        path = cases / "mappings" / case["mapping"]
        selector = parse_mapping(path.read_text(), path.name).selector
        assert isinstance(selector, Node)
        keys = [key if isinstance(key, tuple) else (key,) for key, _, _ in selector.items]
        found = [
            [list(map(str, one)), list(map(str, other))]
            for one in keys
            for other in keys
            if is_special_case(one, other)
        ]
        assert sorted(found) == case["expected"], case["id"]
        compared += 1
    assert compared == 7


def test_every_known_mapping_is_looked_at_without_failure(cases):
    seen = 0
    for path in sorted((cases / "mappings").glob("*/*map")):
        if path.stat().st_size < 60000:
            for one in certify_rules(path, recurse=False):
                assert one.severity in {"error", "warning", "note"}
                assert one.fact
            seen += 1
    assert seen > 230


def test_a_wrong_checksum_and_a_missing_mapping_are_found(tmp_path):
    text = "header = {\n 'mapping' : 'INSTRUMENT', 'observatory' : 'OBS', 'instrument' : 'CAM',\n"
    text += " 'name' : 'obs_cam_0001.imap', 'derived_from' : 'x', 'parkey' : ('REFTYPE',),\n"
    text += "}\nselector = {\n 'dark' : 'obs_cam_dark_0001.rmap',\n}\n"
    path = tmp_path / "obs_cam_0001.imap"
    path.write_text(text)
    assert {"checksum", "named", "missing"} & {one.code for one in certify_rules(path)} >= {
        "checksum", "named",
    }  # fmt: skip


# ------------------------------------------------------------------------- reference files

META = {
    "telescope": "LANTERN",
    "instrument.name": "GLOWCAM",
    "instrument.detector": "SMALL",
    "reftype": "DARK",
    "useafter": "2030-01-01T00:00:00",
    "pedigree": "GROUND",
    "author": "A. Tester",
    "description": "A dark of nothing",
}


@pytest.fixture
def dark(tmp_path):
    def made(**changes):
        meta = {**META, **{key.replace("__", "."): value for key, value in changes.items()}}
        meta = {key: value for key, value in meta.items() if value is not None}
        data = np.zeros((3, 4, 5), np.float32)
        model = DarkModel(meta=meta, data=data, dq=np.zeros((4, 5), np.uint32))
        return model.save(tmp_path / "dark.fits")

    return made


def test_a_complete_reference_has_no_errors(dark):
    assert not [one for one in certify_reference(dark()) if one.severity == "error"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"useafter": "tomorrow"}, "USEAFTER"),
        ({"pedigree": "INFLIGHT 2030-02-01 2030-01-01"}, "ends before"),
        ({"pedigree": "GUESSED"}, "PEDIGREE"),
        ({"author": None}, "AUTHOR"),
        ({"description": None}, "DESCRIP"),
    ],
)
def test_metadata_every_reference_needs_are_checked(dark, change, word):
    errors = [one.fact for one in certify_reference(dark(**change)) if one.severity == "error"]
    assert any(word in fact for fact in errors), errors


def test_a_value_no_row_has_is_pointed_out(dark, tmp_path):
    rules = tmp_path / "dark.yaml"
    rules.write_text(HEAD + "match: [instrument.detector]\nselect: use_after\nentries:\n"
                     "  - {match: [LARGE], from: 2020-01-01, file: a.fits}\n")  # fmt: skip
    found = certify_reference(dark(), rules=opened(rules)[0])
    assert ("warning", "new-value") in codes(found)


def test_a_damaged_file_is_a_finding_not_a_crash(dark):
    path = dark()
    path.write_bytes(path.read_bytes()[:1000])
    assert [one.severity for one in certify_reference(path)] == ["error"]


# ------------------------------------------------------------------------- constraints


@pytest.fixture
def constrained(tmp_path):
    def found(text, header, arrays=None):
        path = tmp_path / "cam_dark.tpn"
        path.write_text(text)
        return list(check_constraints(read_constraints(path), header, arrays or {}, "x.fits"))

    return found


@pytest.mark.parametrize(
    ("line", "header", "is_kept"),
    [
        ("FILTER H C R F1,F2", {"FILTER": "F2"}, True),
        ("FILTER H C R F1,F2", {"FILTER": "F1|F2|"}, True),
        ("FILTER H C R F1,F2", {"FILTER": "F3"}, False),
        ("FILTER H C R F1,\\\n   F2", {"FILTER": "F2"}, True),
        ("FILTER H C R", {}, False),
        ("FILTER H C O F1", {}, True),
        ("FILTER H C E", {"FILTER": "F1"}, False),
        ("GAIN H R R 1.0:2.5", {"GAIN": 2.0}, True),
        ("GAIN H R R 1.0:2.5", {"GAIN": 3}, False),
        ("GAIN H I R", {"GAIN": 2.5}, False),
        ("USEAFTER H C R &JWSTDATE", {"USEAFTER": "2020-01-01T00:00:00"}, True),
        ("USEAFTER H C R &SYBDATE", {"USEAFTER": "Feb 08 2006 01:02AM"}, True),
        ("USEAFTER H C R &JWSTDATE", {"USEAFTER": "Feb 08 2006"}, False),
        ("PEDIGREE H C R &PEDIGREE", {"PEDIGREE": "INFLIGHT 01/02/2003 03/04/2005"}, True),
        ("FILTER H C (DETECTOR=='A') F1", {"DETECTOR": "A"}, False),
        ("FILTER H C (DETECTOR=='A') F1", {"DETECTOR": "B"}, True),
        ("FILTER X X R (DETECTOR in ['A', 'B'])", {"DETECTOR": "C"}, False),
        ("META.SUBARRAY.NAME X X R (not(META_SUBARRAY_NAME)in(['GENERIC']))", {"META.SUBARRAY.NAME": "GENERIC"}, False),
    ],
)  # fmt: skip
def test_constraints_mean_what_they_say(constrained, line, header, is_kept):
    assert (constrained(line + "  # a comment\n", header) == []) is is_kept


def test_conditions_on_arrays_are_evaluated(constrained):
    arrays = {
        "SCI": ArrayFacts((4, 5), "IMAGE", "float32"),
        "DQ_DEF": ArrayFacts((3,), "TABLE", "", {"BIT": "int32", "NAME": "S20"}),
    }
    text = """
        SCI     A X R (ndim(SCI_ARRAY, 2))
        SCI     A X R (SCI_ARRAY.SHAPE[-2:] == (4, 5))
        SCI     A X R (nobody_knows(SCI_ARRAY))
        SCI     A X R (SCI_ARRAY.SHAPE[0] > 9)
        DQ_DEF  A X O (is_table(DQ_DEF_ARRAY) and has_columns(DQ_DEF_ARRAY, ['BIT', 'NAME']))
        DQ_DEF  A X O (has_column_type(DQ_DEF_ARRAY, 'BIT', 'STRING'))
        ERR     A X (warning(True))
    """
    found = constrained(text, {}, arrays)
    assert [one.severity for one in found] == ["note", "error", "error", "warning"]


def test_included_files_and_replacements_are_followed(tmp_path):
    (tmp_path / "inc.tpn").write_text("SCI A X R (ndim(SCI_ARRAY, WIDTH))\n")
    (tmp_path / "a.tpn").write_text("replace SCI COEFFS\nreplace WIDTH 3\ninclude inc.tpn\n")
    one = read_constraints(tmp_path / "a.tpn")[0]
    assert (one.name, one.values) == ("COEFFS", "(ndim(COEFFS_ARRAY, 3))")


def test_files_that_include_each_other_are_refused(tmp_path):
    (tmp_path / "a.tpn").write_text("include a.tpn\n")
    with pytest.raises(ConfigurationError, match="include each other"):
        read_constraints(tmp_path / "a.tpn")


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "().__class__", "A.B", "[x for x in (1,)]", "lambda: 1", "open('/etc/passwd')",
     "9**9**9", "'a'*9", "(" * 500 + ")" * 500, "A" * 5000],
)  # fmt: skip
def test_conditions_run_no_code(text):
    with pytest.raises(ConfigurationError):
        evaluate(text, {}, {})


# ------------------------------------------------------------------------- the command


def test_the_command_tells_findings_and_leaves_with_three(tmp_path, dark):
    rules = tmp_path / "dark.yaml"
    rules.write_text(HEAD + "match: [DETECTOR]\nentries:\n  - {match: [A], file: a.fits}\n")
    good = CliRunner().invoke(refs, ["certify", str(rules)], standalone_mode=False)
    asked = CliRunner().invoke(
        refs, ["certify", str(rules), "--exist", "--json"], standalone_mode=False
    )
    reference = CliRunner().invoke(refs, ["certify", str(dark(author=None))], standalone_mode=False)

    assert (good.return_value, asked.return_value, reference.return_value) == (0, 3, 3)
    finding = json.loads(asked.output)["findings"][0]
    assert (finding["code"], finding["line"]) == ("exist", 7)
    assert "AUTHOR" in reference.output
