"""The official client and we choose the same references for the same headers.

Where it crashes (an ``AttributeError``, an ``IndexError``, …) any answer of ours is right. Where the two
mean different things on purpose is in ``docs/decisions/0011-reference-rules.md``; of that, only rows that
all give the same file are met here.
"""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from lightmill.app import discover
from lightmill.errors import LightmillError
from lightmill.reference.rules import load
from lightmill.testing.rule_headers import RandomHeaders

pytestmark = pytest.mark.peer

ROOT = Path(__file__).parents[2]
CASES = Path(os.environ.get("LIGHTMILL_CASES", ROOT.parent / "shared" / "cases")) / "references"
HELPER = ROOT / "benchmarks" / "_peer_rules.py"
UNREADABLE = {
    "hst-bad-xsum.rmap",
    "hst-missing-xsum.rmap",
}


@pytest.fixture(scope="module")
def client(peer):
    """Ask the client: a request as JSON, its answer."""
    if not CASES.is_dir():
        pytest.skip(f"the rules to compare with are not here: {CASES}")
    discover()
    process = subprocess.Popen(
        [peer, HELPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={
            **os.environ, "CRDS_PATH": str(CASES), "CRDS_READONLY_CACHE": "1", "CRDS_MODE": "local",
            "CRDS_SERVER_URL": "https://crds-serverless-mode.stsci.edu",
        },
    )  # fmt: skip

    def ask(**request):
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    with process:
        yield ask
        process.stdin.close()


def told(answer):
    if isinstance(answer, LightmillError):
        return {"error": answer.kind}
    return {"answer": json.loads(json.dumps(answer))}


def chosen(rules, header):
    try:
        if hasattr(rules, "select"):
            return told(rules.select(header))
        return {"answers": {kind: told(one) for kind, one in rules.best_references(header).items()}}
    except LightmillError as error:
        return told(error)


def agrees(theirs, ours):
    if "answers" in theirs and "answers" in ours:
        return theirs["answers"].keys() == ours["answers"].keys() and all(
            agrees(one, ours["answers"][kind]) for kind, one in theirs["answers"].items()
        )
    files = theirs.get("answer")
    if isinstance(files, list) and len(files) > 1 and files == [ours.get("answer")] * len(files):
        return True  # rows that all give the same file: one answer
    if "error" in theirs:
        return theirs["error"] in {"crash", ours.get("error")}
    return theirs == ours


def asked_as(path):
    """Return the path of rules whose name does not say where in a cache they are."""
    return str(path) if path.name.startswith("synphot") else path.name


def differences(client, path, headers):
    rules = load(path, verify=False)
    theirs = client(op="bestref", mapping=asked_as(path), headers=headers)
    pairs = [
        (header, one, chosen(rules, header)) for header, one in zip(headers, theirs, strict=True)
    ]
    return [
        f"{path.name} {header}: {ours}, the client: {one}"
        for header, one, ours in pairs
        if not agrees(one, ours)
    ]


@pytest.mark.parametrize("observatory", ["hst", "jwst", "roman", "tobs"])
def test_random_headers_get_the_same_references(client, observatory):
    dice = random.Random(20261121)
    differ, asked = [], 0
    for path in sorted((CASES / "mappings" / observatory).glob("*.rmap")):
        try:
            rules = load(path, verify=False)
        except LightmillError:
            continue  # refused by both: the cases say so
        if path.name in UNREADABLE:
            continue
        maker = RandomHeaders(rules, dice)
        headers = [maker.header() for _ in range(20)]
        differ += differences(client, path, headers)
        asked += len(headers)
    assert not differ, f"{len(differ)} of {asked}\n" + "\n".join(differ[:10])
    assert asked >= 60


@pytest.mark.parametrize(
    "name",
    ["hst/hst_9001.pmap", "jwst/jwst_na_omit.pmap", "roman/roman_9001.pmap", "tobs/tobs_9001.pmap"],
)
def test_whole_contexts_give_the_same_references_of_every_type(client, name):
    dice = random.Random(7)
    path = CASES / "mappings" / name
    context = load(path)
    headers = []
    for instrument in context.instruments:
        try:
            types = context.rules(instrument).with_rules()
        except LightmillError:
            continue
        for _ in range(12 if types else 0):
            header = {}
            for kind in dice.sample(types, min(4, len(types))):
                header |= {
                    k.upper(): v
                    for k, v in RandomHeaders(context.rules(instrument).rules(kind), dice)
                    .header()
                    .items()
                }
            headers.append({**header, context.instrument_key: instrument.upper()})
    differ = differences(client, path, headers)
    assert not differ, f"{len(differ)} of {len(headers)}\n" + "\n".join(differ[:5])


def test_a_file_that_several_rows_give_is_repeated_in_the_answer(client):
    path = CASES / "mappings" / "hst" / "synphot_thruput.rmap"
    header = {
        "COMPNAME": "N/A2", "DATE": "2000-04-18 20:45:26",
        "DESCRIP": "FILTER TRANSMISSION MULTIPLIED BY A NEW SCALAR CORRECTION",
    }  # fmt: skip
    assert not differences(client, path, [header])
    assert len(load(path, verify=False).select(header)) == 2729
