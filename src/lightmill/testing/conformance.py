"""What every instrument's folder must fulfil, ours or a plug-in's.

A plug-in tests itself in three lines::

    from lightmill.testing import InstrumentSuite

    class TestOurInstrument(InstrumentSuite):
        instruments = [INSTRUMENT]
"""

# ruff: noqa: SLF001 - the suite looks where a plug-in need not

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lightmill import models
from lightmill.errors import LightmillError
from lightmill.instrument import Instrument
from lightmill.models import UncalModel
from lightmill.models.overlay import model_schema, overlay_of, register_overlay

__all__ = ["InstrumentSuite", "problems_of_pipeline", "problems_of_rules"]

_DETECTOR = (
    "rows", "columns", "reference_bottom", "reference_top", "reference_left", "reference_right",
    "outputs", "interleaved",
)  # fmt: skip


class InstrumentSuite:
    """Tests of an instrument; a subclass names its `instruments`.

    With pytest, every test runs once for each of them.
    """

    instruments: list[Instrument] = []

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Run each test for each instrument."""
        if "instrument" in metafunc.fixturenames:
            found = list(type(self).instruments)
            metafunc.parametrize("instrument", found, ids=[i.name for i in found])

    def test_it_is_known_by_the_names_in_its_data(self, instrument: Instrument) -> None:
        """Names are upper case, folders exist."""
        assert instrument.name == instrument.name.upper()
        assert instrument.observatory.name == instrument.observatory.name.upper()
        assert instrument.home.is_dir()
        assert instrument.observatory.home.is_dir()

    def test_its_detectors_are_described(self, instrument: Instrument) -> None:
        """The light-sensitive part is not empty, outputs divide the columns."""
        table = instrument.facts["detectors"]
        assert table
        for name, facts in table.items():
            assert set(facts) <= set(_DETECTOR), f"{name}: {set(facts) - set(_DETECTOR)}"
            detector = instrument.detector(name)
            assert detector is not None
            assert detector.reference_bottom + detector.reference_top < detector.rows
            assert detector.reference_left + detector.reference_right < detector.columns
            assert detector.columns % detector.outputs == 0

    def test_its_keywords_can_be_read(self, instrument: Instrument) -> None:
        """Every schema takes the observatory's keywords; no two paths share a keyword."""
        register_overlay(instrument.observatory.name, instrument.observatory.home)
        overlay = overlay_of(instrument.observatory.name)
        assert overlay is not None
        for ours in overlay.models.values():
            assert models.class_named(ours) is not None, f"{ours} is no class of models"
        schema = model_schema("ramp-1.0.0", instrument.observatory.name)
        for (_, keyword), field in schema.keywords.items():
            assert len(keyword) <= 8, f"{field.path}: {keyword}"

    def test_its_pipelines_name_only_what_there_is(self, instrument: Instrument) -> None:
        """Steps, checkpoints and conditions of every pipeline exist."""
        found = []
        for folder in (instrument.home, instrument.observatory.home):
            for path in sorted((folder / "pipelines").glob("*.yaml")):
                found += problems_of_pipeline(path)
        assert not found, "\n".join(found)

    def test_its_parameters_are_parameters(self, instrument: Instrument) -> None:
        """Every file of parameters is named after a step or pipeline and holds its parameters."""
        from lightmill import app
        from lightmill.pipeline.settings import Settings

        for folder in (instrument.home, instrument.observatory.home):
            for path in sorted((folder / "parameters").glob("*.yaml")):
                values = instrument.parameters(path.stem)
                known = app._steps()
                step = known[path.stem]() if path.stem in known else self._pipeline(path)
                app.apply_settings(step, Settings.of(values, str(path)))

    def test_its_rules_name_fields_its_schemas_have(self, instrument: Instrument) -> None:
        """Rules that choose references are sound, and ask only for what data can say."""
        found = problems_of_rules(instrument)
        assert not found, "\n".join(found)

    def test_its_operations_name_only_what_there_is(self, instrument: Instrument) -> None:
        """What runs when data arrive are pipelines."""
        from lightmill import app
        from lightmill.yaml_files import read_yaml

        path = instrument.observatory.home / "operations.yaml"
        if not path.exists():
            return
        facts = read_yaml(path)
        named = [*facts["exposures"].values(), *facts["associations"].values()]
        assert not set(named) - set(app.pipelines())
        for part in ("makes", "memory"):
            assert not set(facts.get(part, ())) - set(named), f"{path}: {part}"

    def test_a_raw_file_becomes_a_valid_model(self, instrument: Instrument, tmp_path: Path) -> None:
        """What the observatory's headers say survives the way to a file and back."""
        meta = self.raw_metadata(instrument)
        counts = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
        path = UncalModel(meta=meta, data=counts).save(tmp_path / "raw_uncal.fits")

        raw = models.open(path)

        assert isinstance(raw, UncalModel)
        raw.validate()
        assert np.array_equal(raw.data, counts)
        for name, value in meta.items():
            assert raw.meta.get(name) == value

    def raw_metadata(self, instrument: Instrument) -> dict[str, Any]:
        """Return what a raw file of the instrument says; a subclass may say more."""
        name = next(iter(instrument.facts["detectors"]))
        schema = model_schema("uncal-1.0.0", instrument.observatory.name)
        field = schema.fields["instrument.detector"]
        if name == "any":
            name = next(iter(field.node.get("enum", ["DET1"])))
        return {
            "telescope": instrument.observatory.name,
            "instrument.name": instrument.name,
            "instrument.detector": name,
            "exposure.nints": 2,
            "exposure.ngroups": 3,
            "exposure.nframes": 1,
            "exposure.groupgap": 0,
            "exposure.frame_time": 1.5,
            "exposure.group_time": 1.5,
            "subarray.xstart": 1,
            "subarray.ystart": 1,
            "subarray.xsize": 5,
            "subarray.ysize": 4,
        }

    @staticmethod
    def _pipeline(path: Path) -> Any:
        from lightmill import app

        files = app.pipelines()
        assert path.stem in files, f"{path}: no step or pipeline is called {path.stem}"
        return app._pipeline(files[path.stem][0][1])()


def problems_of_rules(instrument: Instrument) -> list[str]:
    """Return what is wrong with the rules in an observatory's folder, one line for each.

    Parameters
    ----------
    instrument : Instrument
        Whose rules are looked at.

    Returns
    -------
    problems : list of str
        Empty where there is none, or no rules are kept there.
    """
    from lightmill.reference.certify import certify_folder
    from lightmill.reference.headers import path_of
    from lightmill.reference.yaml_rules import has_rules, rules_of

    observatory = instrument.observatory
    if not has_rules(observatory.home):
        return []
    register_overlay(observatory.name, observatory.home)
    problems = [
        f"{one.where}: {one.fact}"
        for one in certify_folder(observatory.home)
        if one.severity == "error"
    ]
    if problems:
        return problems
    context = rules_of(observatory.home)
    schema = model_schema("uncal-1.0.0", observatory.name)
    name = instrument.name.lower()
    keys = context.required_keys(name) if name in context.instruments else []
    for key in keys:
        path = path_of(key, observatory.name, "uncal-1.0.0")
        if path not in schema.fields:
            problems.append(f"{observatory.home}: rules ask for {key}, which no schema has")
    return problems


def problems_of_pipeline(path: str | Path) -> list[str]:
    """Return what is wrong with the file of a pipeline, one line for each.

    Parameters
    ----------
    path : path_like
        A YAML file.

    Returns
    -------
    problems : list of str
        Empty where there is none.
    """
    from lightmill import app
    from lightmill.pipeline.parameters import declared
    from lightmill.pipeline.pipeline import Save

    try:
        cls = app._pipeline(Path(path))
    except LightmillError as error:
        return [str(error)]
    names = [item for item in cls.flow or () if isinstance(item, str)]
    parameters = {declaration.name for declaration in declared(cls)}
    problems = [] if names else [f"{path}: no step"]
    problems += [f"{path}: {name} occurs twice" for name in set(names) if names.count(name) > 1]
    problems += [f"{path}: checkpoint {c} is not in the flow" for c in cls.checkpoints - set(names)]
    problems += [
        f"{path}: the save point {item.suffix} asks for a parameter {item.when} that is not there"
        for item in cls.flow or ()
        if isinstance(item, Save) and item.when is not None and item.when not in parameters
    ]
    problems += [
        f"{path}: {name} is both available and not yet" for name in cls.not_yet & set(cls.steps)
    ]
    return problems
