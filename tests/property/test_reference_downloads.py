"""Whatever a server does, in any order: the right file, or an error and none."""

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightmill.errors import LightmillError
from lightmill.reference.cache import Cache
from lightmill.reference.client import Client
from lightmill.reference.download import download
from lightmill.reference.transport import Patience
from lightmill.testing.loopback import loopback_server

NAME = "tmt_wide_dark_0001.fits"
CONTENT = random.Random(3).randbytes(300_000)
FAULT = st.one_of(
    st.integers(0, len(CONTENT)).map("cut:{}".format),
    st.integers(0, 2 * len(CONTENT)).map("lies:{}".format),
    st.sampled_from(
        ["", "no-range", "wrong", "wrong-part", "longer", "shorter", "503", "404", "416", "500"]
    ),
)
ANNOUNCED = st.sampled_from([{}, {"sha1sum": "none"}, {"size": ""}])


@settings(max_examples=60)
@given(st.lists(st.lists(FAULT, max_size=5), min_size=1, max_size=3), ANNOUNCED)
def test_a_file_is_right_or_not_there(tmp_path_factory, tries, unknown):
    root = tmp_path_factory.mktemp("cache")
    with (
        pytest.MonkeyPatch.context() as patch,
        loopback_server("tmt", {NAME: CONTENT}) as server,
    ):
        patch.setenv("XDG_CACHE_HOME", str(root / "home"))
        facts = {"size": str(len(CONTENT)), "sha1sum": _sha1(CONTENT)}
        server.announced[NAME] = {**facts, **unknown}
        client = Client(server.url, patience=Patience(3, 0.0, 5.0), environ={})
        for faults in tries:  # each is a new process that finds what the last one left
            server.faults[NAME] = list(faults)
            cache = Cache(root / "crds")
            error, path = tried(cache, client)
            if error is None:
                spoilt = "sha1sum" in unknown and any("wrong" in one for one in sum_of(tries))
                assert spoilt or path.read_bytes() == CONTENT
            else:
                assert error.remedy
                assert NAME in error.story()
                assert not cache.has(NAME, "tmt")


def tried(cache, client):
    """The error and no path, or no error and the path."""
    try:
        return None, download([NAME], cache, client, observatory="tmt")[NAME]
    except LightmillError as error:
        return error, None


def sum_of(lists):
    return [item for items in lists for item in items]


def _sha1(content):
    return hashlib.sha1(content).hexdigest()
