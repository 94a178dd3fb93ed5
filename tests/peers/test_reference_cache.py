"""The official client and we use one another's caches.

It asks its server at each start; we do when we are told to. It writes more into ``server_config``
than it was told (`server`, `status`, `connected`); so do we.
"""

import hashlib
import os
import random
import subprocess

import pytest

from lightmill.reference.bundle import read_bundle, write_bundle
from lightmill.reference.cache import Cache
from lightmill.reference.client import Client
from lightmill.reference.download import download
from lightmill.testing.loopback import loopback_server

pytestmark = pytest.mark.peer

DARK = "jwst_miri_dark_0001.fits"
RULES = """header = {{
    'derived_from' : 'nothing',
    'mapping' : '{kind}',
    'name' : '{name}',
    'observatory' : 'JWST',
    {more}
    'parkey' : {parkey},
    'sha1sum' : 'SUM',
}}
selector = {selector}
"""
ASK = """
import crds
header = {"META.TELESCOPE": "JWST", "META.INSTRUMENT.NAME": "MIRI", "META.INSTRUMENT.DETECTOR": "MIRIMAGE",
          "META.OBSERVATION.DATE": "2024-01-01", "META.OBSERVATION.TIME": "00:00:00"}
print(crds.getreferences(header, reftypes=["dark"], observatory="jwst", context="jwst_0001.pmap")["dark"])
"""


def rules(name, kind, parkey, selector, more=""):
    text = RULES.format(name=name, kind=kind, parkey=parkey, selector=selector, more=more)
    rest = "".join(line for line in text.splitlines(keepends=True) if "sha1sum" not in line)
    return text.replace("SUM", hashlib.sha1(rest.encode()).hexdigest()).encode()


@pytest.fixture
def files():
    return {
        "jwst_0001.pmap": rules(
            "jwst_0001.pmap",
            "PIPELINE",
            "('META.INSTRUMENT.NAME',)",
            "{'MIRI': 'jwst_miri_0001.imap'}",
        ),
        "jwst_miri_0001.imap": rules(
            "jwst_miri_0001.imap",
            "INSTRUMENT",
            "('REFTYPE',)",
            "{'dark': 'jwst_miri_dark_0001.rmap'}",
            "'instrument': 'MIRI',",
        ),
        "jwst_miri_dark_0001.rmap": rules(
            "jwst_miri_dark_0001.rmap",
            "REFERENCE",
            "(('META.INSTRUMENT.DETECTOR',), ('META.OBSERVATION.DATE', 'META.OBSERVATION.TIME'))",
            "Match({('MIRIMAGE',): UseAfter({'2020-01-01 00:00:00': '" + DARK + "'})})",
            "'instrument': 'MIRI', 'filekind': 'DARK',",
        ),
        DARK: random.Random(7).randbytes(300_000),
    }


@pytest.fixture
def server(files, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    with loopback_server("jwst", files) as running:
        running.answers["get_mapping_names"] = [name for name in files if name != DARK]
        running.answers["get_file_info"] = {"instrument": "miri", "size": "300000"}
        yield running


def official(peer, cache, url):
    """Path of the dark the official client gives."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CRDS_")}
    environ |= {"CRDS_PATH": str(cache), "CRDS_SERVER_URL": url}
    done = subprocess.run([peer, "-c", ASK], env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_we_use_a_cache_the_official_client_filled(peer, server, files, tmp_path):
    path = official(peer, tmp_path / "theirs", server.url)

    cache = Cache(tmp_path / "theirs")
    assert cache.default_context("jwst") == "jwst_0001.pmap"
    assert str(cache.reference_path(DARK)) == path
    assert cache.file_info(DARK).sha1 == hashlib.sha1(files[DARK]).hexdigest()
    assert cache.verify(DARK) is None


def test_the_official_client_uses_a_cache_we_filled_without_a_server(peer, server, files, tmp_path):
    cache, client = Cache(tmp_path / "ours"), Client(server.url, environ={})
    cache.save_config(client.server_info())
    paths = download(files, cache, client, observatory="jwst")

    path = official(peer, tmp_path / "ours", "https://crds-serverless-mode.stsci.edu")

    assert path == str(paths[DARK])


def test_the_official_client_uses_a_cache_a_bundle_filled(peer, files, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    ours = Cache(tmp_path / "ours")
    for name, content in files.items():
        ours.store(name, [content])
    archive = tmp_path / "night.zip"
    whole = {"observatory": "jwst", "context": "jwst_0001.pmap", "names": list(files)}
    write_bundle(archive, ours, **whole, instruments={DARK: "miri"})

    read_bundle(archive, Cache(tmp_path / "new"))

    path = official(peer, tmp_path / "new", "https://crds-serverless-mode.stsci.edu")
    assert path == str(Cache(tmp_path / "new").reference_path(DARK))
