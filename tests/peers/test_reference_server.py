"""The official client gets contexts, best references and files from our server.

Differences of meaning: the official client chooses by itself, from the rules it fetches; only with
``CRDS_MODE=remote`` does it ask the server for best references. It asks in the name of an observatory
it guesses from the server's address or takes from ``CRDS_OBSERVATORY``, so with several observatories
each has an address of its own. After
a transfer that breaks off it logs an error, keeps what came under the name of the whole file, and uses
it from then on, until ``crds sync --repair-files``; our client goes on where the transfer broke off.
"""

import contextlib
import json
import os
import random
import subprocess
import threading
from pathlib import Path

import pytest

from lightmill.reference.cache import Cache
from lightmill.reference.client import Client
from lightmill.reference.library import Library
from lightmill.testing.contexts import small_context, with_checksum

pytestmark = pytest.mark.peer

JWST = {
    "META.TELESCOPE": "JWST",
    "META.INSTRUMENT.NAME": "MIRI",
    "META.INSTRUMENT.DETECTOR": "MIRIMAGE",
    "META.OBSERVATION.DATE": "2024-01-01",
    "META.OBSERVATION.TIME": "00:00:00",
    "REFTYPE": "undefined",
}
HST = {
    "INSTRUME": "COS",
    "DETECTOR": "FUV",
    "DATE-OBS": "2012-01-01",
    "TIME-OBS": "00:00:00",
    "REFTYPE": "undefined",
}
DARKS = {
    "MIRIMAGE": [
        ("2020-01-01 00:00:00", "jwst_miri_dark_0001.fits"),
        ("2023-01-01 00:00:00", "jwst_miri_dark_0002.fits"),
    ],
    "MIRIFULONG": [("2020-01-01 00:00:00", "jwst_miri_dark_0003.fits")],
}
DARK, FLAT = "jwst_miri_dark_0002.fits", "t1234567l_flat.fits"
ASK = """
import json, sys, crds
header, types, observatory, context = json.loads(sys.argv[1])
print("ANSWER", json.dumps(crds.getreferences(header, reftypes=types, observatory=observatory, context=context)))
"""
RULES = """header = {{
    'derived_from' : 'a test',
    'mapping' : '{kind}',
    'name' : '{name}',
    'observatory' : 'HST',
{more}    'parkey' : {parkey},
    'sha1sum' : 'SUM',
}}

selector = {selector}
"""


def hst_context():
    cos = "    'instrument' : 'COS',\n"
    named = [
        ("hst_0001.pmap", "PIPELINE", "('INSTRUME',)", "{'COS': 'hst_cos_0001.imap'}", ""),
        (
            "hst_cos_0001.imap",
            "INSTRUMENT",
            "('REFTYPE',)",
            "{'flatfile': 'hst_cos_flatfile_0001.rmap'}",
            cos,
        ),
        (
            "hst_cos_flatfile_0001.rmap",
            "REFERENCE",
            "(('DETECTOR',), ('DATE-OBS', 'TIME-OBS'))",
            f"Match({{('FUV',) : UseAfter({{'1996-10-01 00:00:00' : '{FLAT}'}})}})",
            cos + "    'filekind' : 'FLATFILE',\n",
        ),
    ]
    return {
        name: with_checksum(
            RULES.format(name=name, kind=kind, parkey=parkey, selector=selector, more=more)
        )
        for name, kind, parkey, selector, more in named
    }


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Return a cache of two observatories."""
    root = tmp_path_factory.mktemp("served")
    noise = random.Random(3)
    files = {
        "jwst": small_context("jwst", "miri", {"dark": DARKS}),
        "hst": hst_context(),
    }
    for observatory, rules in files.items():
        folder = root / "mappings" / observatory
        folder.mkdir(parents=True)
        for name, content in rules.items():
            (folder / name).write_bytes(content)
    jwst = root / "references" / "jwst" / "miri"
    jwst.mkdir(parents=True)
    for rows in DARKS.values():
        for _, name in rows:
            (jwst / name).write_bytes(noise.randbytes(400_000))
    hst = root / "references" / "hst"
    hst.mkdir()
    (hst / FLAT).write_bytes(noise.randbytes(1000))
    (root / "config" / "hst").mkdir(parents=True)
    (root / "config" / "hst" / "ref_cache_subdir_mode").write_text("flat")
    return root


class Watched:
    """Notes what is asked, and breaks off the first answers with a file.

    Parameters
    ----------
    app : ASGI application
        The server.
    """

    def __init__(self, app):
        self.app, self.paths, self.cuts = app, [], 0

    async def __call__(self, scope, receive, send):
        self.paths.append(scope["path"])
        cut = self.cuts > 0 and scope["path"].endswith(".fits")
        self.cuts -= cut
        sent = 0

        async def cutting(message):
            nonlocal sent
            if cut and message["type"] == "http.response.body":
                if sent:
                    raise ConnectionAbortedError
                sent += 1
                message = {**message, "body": message["body"][:1000], "more_body": True}
            await send(message)

        with contextlib.suppress(ConnectionAbortedError):
            await self.app(scope, receive, cutting)


@pytest.fixture(scope="module")
def watched(served):
    from lightmill.reference.server.app import create_app

    return Watched(create_app(Cache(served, readonly=True)))


@pytest.fixture(scope="module")
def url(watched, tmp_path_factory):
    from lightmill.serving import running

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("home")))
        with running(watched) as address:
            yield address


@pytest.fixture
def official(peer, url, watched, tmp_path):
    """Run the official client with an empty cache: arguments → its output."""

    def run(observatory, *arguments, status=0, **variables):
        known = {k: v for k, v in os.environ.items() if not k.startswith(("CRDS_", "PYTHON"))}
        environ = {
            **known,
            "CRDS_SERVER_URL": f"{url}/{observatory}",
            "CRDS_OBSERVATORY": observatory,
            "CRDS_PATH": str(tmp_path / "empty"),
            "CRDS_CLIENT_RETRY_DELAY_SECONDS": "0",
            **variables,
        }
        del watched.paths[:]
        if arguments[0] == "crds":
            arguments = (peer.parent / "crds", *arguments[1:])
        answer = subprocess.run(
            [peer, *arguments], env=environ, capture_output=True, text=True, timeout=300
        )
        assert answer.returncode == status, answer.stdout + answer.stderr
        return answer.stdout

    return run


def references(official, header, types, context=None, **variables):
    observatory = "hst" if "INSTRUME" in header else "jwst"
    question = json.dumps([header, types, observatory, context])
    output = official(observatory, "-c", ASK, question, **variables)
    line = next(one for one in output.splitlines() if one.startswith("ANSWER "))
    return json.loads(line.removeprefix("ANSWER "))


def crds(official, observatory, *arguments, **variables):
    return official(observatory, "crds", *arguments, **variables)


def same(path, served):
    original = next(served.rglob(Path(path).name))
    return Path(path).read_bytes() == original.read_bytes()


@pytest.mark.parametrize(
    ("header", "types", "context", "name"),
    [
        (JWST, ["dark"], "jwst_0001.pmap", DARK),
        (JWST, ["dark"], None, DARK),
        (HST, ["flatfile"], "hst_0001.pmap", FLAT),
        (HST, None, "hst-operational", FLAT),
    ],
)
def test_the_official_client_gets_its_references(official, served, header, types, context, name):
    found = references(official, header, types, context)

    path = next(iter(found.values()))
    assert Path(path).name == name
    assert same(path, served)


@pytest.mark.parametrize(("header", "name"), [(JWST, DARK), (HST, FLAT)])
def test_the_official_client_lets_our_server_choose(official, watched, header, name):
    found = references(
        official, header, ["dark" if name == DARK else "flatfile"], CRDS_MODE="remote"
    )

    assert Path(next(iter(found.values()))).name == name
    assert any("get_best_references" in path for path in watched.paths)


def test_a_broken_transfer_is_repaired_by_the_official_client(official, watched, served):
    # It leaves the cut file in its cache, says so in its log, and returns its path all the same.
    watched.cuts = 1
    found = references(official, JWST, ["dark"], "jwst_0001.pmap")
    assert not same(found["dark"], served)

    crds(
        official,
        "jwst",
        *("sync", "--contexts", "jwst_0001.pmap", "--fetch-references"),
        *("--check-files", "--check-sha1sum", "--repair-files"),
        status=1,  # something was wrong; it is right now
    )

    assert same(found["dark"], served)


def test_what_the_official_client_left_cut_our_client_repairs(
    official, url, watched, served, tmp_path
):
    watched.cuts = 1
    found = references(official, JWST, ["dark"], "jwst_0001.pmap")
    assert not same(found["dark"], served)

    library = Library(
        Cache(tmp_path / "empty", environ={}), Client(f"{url}/jwst", environ={}), environ={}
    )
    ours = library.select(JWST, "jwst", ["dark"])["dark"]

    assert same(ours.path, served)
    assert str(ours.path) == found["dark"]


def test_the_status_is_shown(official, url):
    text = crds(official, "jwst", "list", "--status")

    assert f"{url}/jwst" in text
    assert "jwst_0001.pmap" in text


@pytest.mark.parametrize("observatory", ["jwst", "hst"])
def test_the_files_of_a_context_are_listed(official, served, observatory):
    context = f"{observatory}_0001.pmap"
    mappings = crds(official, observatory, "list", "--mappings", "--contexts", context)
    files = crds(official, observatory, "list", "--references", "--contexts", context)

    folder = served / "mappings" / observatory
    assert set(mappings.split()) == {one.name for one in folder.iterdir()}
    assert set(files.split()) == {
        one.name for one in (served / "references" / observatory).rglob("*.fits")
    }


def test_contexts_are_resolved_by_their_state(official):
    names = ["jwst-edit", "jwst-operational", "jwst-latest"]

    text = crds(official, "jwst", "list", "--resolve-contexts", "--contexts", *names)

    assert text.split() == ["jwst_0001.pmap"] * 3


def test_a_cache_is_filled(official, served, tmp_path):
    crds(
        official,
        "jwst",
        "sync",
        "--contexts",
        "jwst_0001.pmap",
        "--fetch-references",
        "--check-sha1sum",
    )

    filled = tmp_path / "empty"
    names = sorted(one.name for one in filled.rglob("*.fits"))
    assert names == sorted(one.name for one in (served / "references/jwst").rglob("*.fits"))
    assert all(same(one, served) for one in filled.rglob("*.fits"))
    assert len(list((filled / "mappings/jwst").iterdir())) == 3


def test_best_references_are_written_into_data(official, tmp_path):
    from astropy.io import fits

    data = tmp_path / "data_raw.fits"
    primary = fits.PrimaryHDU()
    for key, value in {**HST, "TELESCOP": "HST", "FLATFILE": ""}.items():
        if key != "REFTYPE":
            primary.header[key] = value
    primary.writeto(data)

    crds(
        official,
        "hst",
        *("bestrefs", "--files", str(data), "--new-context", "hst_0001.pmap"),
        *("--types", "flatfile", "--update-bestrefs", "--sync-references=1"),
    )

    assert fits.getval(data, "FLATFILE").endswith(FLAT)


def test_official_clients_share_the_server(official, served, tmp_path):
    found = {}

    def ask(number):
        found[number] = references(
            official, JWST, ["dark"], CRDS_PATH=str(tmp_path / f"cache{number}")
        )["dark"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert len(found) == 3
    assert all(same(path, served) for path in found.values())
