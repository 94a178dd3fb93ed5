"""YAML files of ours are parsed once, and read again when they change."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lightmill import yaml_files
from lightmill.errors import ConfigurationError
from lightmill.yaml_files import read_yaml


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    # physics: a user's cache folder that nobody else has
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(yaml_files, "_memory", None)
    monkeypatch.setattr(yaml_files, "_fresh", {})
    monkeypatch.setattr("atexit.register", lambda function: function)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def next_process(monkeypatch) -> None:
    yaml_files._store()
    monkeypatch.setattr(yaml_files, "_memory", None)
    monkeypatch.setattr(yaml_files, "_fresh", {})


def test_the_next_process_needs_no_parser(tmp_path, monkeypatch):
    path = written(tmp_path / "a.yaml", "a: [1, 2.5, yes, null, text]\n")
    first = read_yaml(path)
    next_process(monkeypatch)
    monkeypatch.setattr(yaml_files, "_parsed", lambda _: pytest.fail("parsed again"))

    assert read_yaml(path) == first == {"a": [1, 2.5, True, None, "text"]}


def test_a_changed_file_is_parsed_again(tmp_path, monkeypatch):
    path = written(tmp_path / "a.yaml", "a: 1\n")
    read_yaml(path)
    next_process(monkeypatch)
    written(path, "a: 2\n")
    os.utime(path, ns=(1, 1))

    assert read_yaml(path) == {"a": 2}


@pytest.mark.parametrize("text", ["1: a\n", "a: 2026-01-01\n", "a: !!binary aGk=\n"])
def test_what_json_would_change_is_not_kept(tmp_path, monkeypatch, text):
    path = written(tmp_path / "a.yaml", text)
    first = read_yaml(path)
    next_process(monkeypatch)

    assert read_yaml(path) == first


@pytest.mark.parametrize("content", [b"", b"[1, 2]", b"\xff", b'{"x": 3}', b"[" * 100_000])
def test_a_damaged_cache_is_no_failure(tmp_path, content):
    cache = tmp_path / "cache" / "lightmill" / "yaml.json"
    cache.parent.mkdir(parents=True)
    cache.write_bytes(content)

    assert read_yaml(written(tmp_path / "a.yaml", "a: 1\n")) == {"a": 1}


def test_files_that_are_gone_are_forgotten(tmp_path, monkeypatch):
    path = written(tmp_path / "a.yaml", "a: 1\n")
    read_yaml(path)
    next_process(monkeypatch)
    path.unlink()
    read_yaml(written(tmp_path / "b.yaml", "b: 1\n"))
    yaml_files._store()

    kept = json.loads((tmp_path / "cache" / "lightmill" / "yaml.json").read_text())
    assert list(kept) == [str(tmp_path / "b.yaml")]


def test_a_file_that_is_not_yaml_names_its_place(tmp_path):
    path = written(tmp_path / "a.yaml", "a: [1\n")
    with pytest.raises(ConfigurationError, match=r"a\.yaml"):
        read_yaml(path)
