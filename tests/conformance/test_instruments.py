"""Every instrument that is found, and one that is not ours, fulfil the contract."""

from importlib.metadata import EntryPoint

import pytest

from lightmill import app
from lightmill.errors import ConfigurationError
from lightmill.testing import InstrumentSuite, problems_of_pipeline
from lightmill.testing.observatory.glowcam import INSTRUMENT as GLOWCAM


class TestEveryInstrumentFound(InstrumentSuite):
    instruments = list(app.discover().values())


class TestAnOutsider(InstrumentSuite):
    instruments = [GLOWCAM]


@pytest.fixture
def installed(monkeypatch):
    """Pretend that a distribution with entry points is installed; forget it afterwards."""

    def install(*points):
        monkeypatch.setattr(
            app, "_entry_points", lambda group: [p for p in points if p.group == group]
        )
        app.discover.cache_clear()
        app._steps.cache_clear()

    yield install
    monkeypatch.undo()
    app.discover.cache_clear()
    app._steps.cache_clear()


def plugin(value, group="lightmill.instruments", name="glowcam"):
    return EntryPoint(name=name, value=value, group=group)


def test_a_plug_in_is_found_by_its_entry_point(installed):
    installed(plugin("lightmill.testing.observatory.glowcam:INSTRUMENT"))

    assert app.discover()["LANTERN/GLOWCAM"] is GLOWCAM


def test_two_that_define_the_same_instrument_are_both_named(installed):
    installed(
        plugin("lightmill.testing.observatory.glowcam:INSTRUMENT"),
        plugin("lightmill.testing.observatory.glowcam:INSTRUMENT", name="again"),
    )

    with pytest.raises(ConfigurationError, match="LANTERN/GLOWCAM"):
        app.discover()


def test_a_plug_in_that_cannot_be_loaded_is_named(installed):
    installed(plugin("lightmill_missing_plugin:INSTRUMENT"))

    with pytest.raises(ConfigurationError, match="lightmill_missing_plugin"):
        app.discover()


def test_a_pipeline_that_names_an_unknown_step_is_reported(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("name: wrong\nflow: [dq_init, saturatoin]\n")

    (problem,) = problems_of_pipeline(path)

    assert "did you mean 'saturation'?" in problem


def test_a_checkpoint_and_a_condition_must_exist(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(
        "name: wrong\nflow: [dq_init, {save: ramp, when: wanted}]\ncheckpoints: [jump]\n"
    )

    problems = problems_of_pipeline(path)

    assert any("checkpoint jump" in p for p in problems)
    assert any("parameter wanted" in p for p in problems)
