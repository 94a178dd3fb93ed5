"""What the archive says when it is asked why."""

import dataclasses

import pytest

from lightmill.errors import UnknownNameError, ValidationError
from lightmill.observatories.hst.wfpc2 import events
from lightmill.observatories.hst.wfpc2.asn import asn_text, remove_asn, write_asn
from lightmill.observatories.hst.wfpc2.explain import (
    change_of,
    explain_association,
    explain_exposure,
)
from lightmill.observatories.hst.wfpc2.maintenance import Archive, maintain
from lightmill.observatories.hst.wfpc2.state import State

NOW = "199801010000"


class Instant:
    """Reads pointings out of a table."""

    def __init__(self, pointings):
        self.pointings = pointings

    def extract(self, dataset, gen_date_str, generation):
        del gen_date_str, generation
        return self.pointings[dataset]

    def preview(self, association):
        """Make nothing."""


@pytest.fixture
def archive(make_exposure, make_pointing):
    """Return an archive with every reason to be in an association, or not."""
    exposures = {
        "leader": make_exposure(1, exptime=400.0),
        "member": make_exposure(2, 3.0),
        "far": make_exposure(3, 0.0, 20.0),
        "turned": make_exposure(4, 0.0, 1.0, turned=0.05),
        "bad": make_exposure(5),
        "lost": make_exposure(6),
        "dark": make_exposure(7, imagetyp="DARK"),
        "other filter": make_exposure(8, filtnam1="F814W"),
        "second leader": make_exposure(9, 15.0, exptime=300.0),
        "between": make_exposure(10, 7.0),
    }
    pointings = {}
    found = Archive(State())
    for name, one in exposures.items():
        found.record(events.Described(one))
        found.record(events.Arrived(one.dataset_name, "CAL", NOW))
        if name != "lost":
            quality, causes = (
                ("B", ("SLEWING: the telescope slewed",)) if name == "bad" else ("P", ())
            )
            pointings[f"{one.root}J"] = make_pointing(one, quality, NOW, causes=causes)
            found.record(events.Arrived(f"{one.root}J", "OMS", NOW))
    maintain(found, Instant(pointings))
    return found, Instant(pointings)


@pytest.mark.parametrize(
    ("dataset", "verdict"),
    [
        ("UZ010101T", "leads UZ010101A, R3: nothing deeper is within the tolerances"),
        ("UZ010102T", "member of UZ010101A, R4: its nearest leader is UZ010101T"),
        ("UZ010103T", "alone, R5: no other exposure of its proposal and filters is within"),
        ("UZ010105T", "alone, R1: jitter of quality B (SLEWING: the telescope slewed)"),
        ("UZ010106T", "alone, R1: no jitter file (quality I)"),
        ("UZ010107T", "alone, R0: calibration (DARK)"),
        ("UZ010108T", "alone, R2: no other exposure of its proposal and filters"),
        ("UZ010110T", "member of UZ010101A, R4: its nearest leader is UZ010101T"),
    ],
)
def test_an_exposure_tells_the_rule_that_decided(archive, dataset, verdict):
    found, _ = archive

    assert explain_exposure(found.state, dataset).verdict.startswith(verdict)


def test_an_exposure_tells_why_no_other_leader_took_it(archive):
    found, _ = archive

    held = explain_exposure(found.state, "UZ010110T").candidates

    # every leader of its filters, those who lead nobody too; nearest first
    assert [(one.dataset[6:8], one.taken, one.rule) for one in held] == [
        ("01", True, "R4: the nearest leader within the tolerances"),
        ("04", False, "R3: turned by more than 0.03 deg"),
        ("09", False, "R4: within the tolerances, another is nearer"),
        ("03", False, "R3: further than 10 arcsec"),
    ]
    assert held[0].distance == pytest.approx(7.0, abs=1e-6)


def test_an_association_tells_of_everybody_with_its_filters(archive):
    found, _ = archive

    explanation = explain_association(found.state, "UZ010101A")

    rules = {one.dataset[6:8]: one.rule for one in explanation.candidates}
    assert rules == {
        "02": "R4: within the tolerances",
        "10": "R4: within the tolerances",
        "03": "R3: further than 10 arcsec",
        "04": "R3: turned by more than 0.03 deg",
        "09": "R3: further than 10 arcsec",
        "05": "R1: jitter of quality B (SLEWING: the telescope slewed)",
        "06": "R1: no jitter file (quality I)",
        "07": "R0: calibration (DARK)",
    }
    text = explanation.text()
    assert "+ UZ010102T" in text
    assert "- UZ010103T" in text


def test_what_changed_since_the_last_version_is_told(archive):
    found, workshop = archive
    change = events.Changed("UZ010102T", "filtnam1", "F606W")

    maintain(found, workshop, changes=[change])

    facts = explain_association(found.state, "UZ010101A").facts
    assert any("UZ010102T left" in one for one in facts)
    assert any("version 2" in one for one in facts)


def test_a_retired_name_tells_where_it_leads(archive):
    found, workshop = archive
    change = events.Changed("UZ010102T", "exptime", "900.0")

    maintain(found, workshop, changes=[change])
    explanation = explain_association(found.state, "UZ010101A")

    assert explanation.verdict == "retired: its leader UZ010101T is a member of UZ010102A now"
    assert explanation.facts == ("leads to UZ010102A",)


def test_names_that_are_unknown_are_answered_with_the_nearest(archive):
    found, _ = archive

    with pytest.raises(UnknownNameError, match="UZ010101T"):
        explain_exposure(found.state, "UZ01O101T")
    with pytest.raises(UnknownNameError, match="UZ010101A"):
        explain_association(found.state, "UZ01O101A")


def test_versions_that_are_the_same_do_not_differ(archive):
    found, _ = archive
    one = found.state.associations["UZ010101A"]

    assert change_of(one, one) == []
    assert change_of(one, dataclasses.replace(one, content="")) == [
        "made by another version of the builder"
    ]


def test_the_table_of_an_association_can_be_read_back(archive):
    found, _ = archive
    one = found.state.associations["UZ010101A"]

    text = asn_text(one)

    facts = dict(line.split(None, 1) for line in text.splitlines() if line[:1] not in {"#", " "})
    assert facts["Association"] == "UZ010101A"
    assert facts["Radius"].startswith("100.415 [WF4 pixels]")
    assert facts["Members"].startswith("3:3 ")
    rows = [line.split() for line in text.splitlines() if line.startswith("  ")]
    assert [row[0] for row in rows] == list(one.names)
    for row, member in zip(rows, one.members, strict=True):
        shifts = [float(value) for value in row[8:]]
        assert shifts == pytest.approx([x for shift in member.shifts for x in shift], abs=6e-4)


def test_a_table_is_written_where_it_should_be_and_nowhere_else(archive, tmp_path):
    found, _ = archive
    one = found.state.associations["UZ010101A"]

    path = write_asn(tmp_path, one)

    assert path == tmp_path / "uz010101a.asn"
    assert path.read_text() == asn_text(one)
    assert remove_asn(tmp_path, "UZ010101A") is True
    assert remove_asn(tmp_path, "UZ010101A") is False
    for name in ("../secret", "UZ010101T"):
        with pytest.raises(ValidationError):
            remove_asn(tmp_path, name)
