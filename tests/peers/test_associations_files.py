"""The field's loader reads the association files we write, and refuses what we call faulty.

Where we mean something else: names that leave their folder or that a shell reads as a command
are faults to us, whereas the loader at most warns; a product without members is a fault to us.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from lightmill.association.documents import faults_of_text
from lightmill.association.from_list import EXPOSURE, from_list
from lightmill.association.output import write_associations, write_document
from lightmill.association.records import Association, Member, Product
from lightmill.cli.main import main

pytestmark = pytest.mark.peer

ROOT = Path(__file__).parents[2]
CASES = Path(os.environ.get("LIGHTMILL_CASES", ROOT.parent / "shared" / "cases")) / "associations"

LOADS = """
import json, sys, warnings
warnings.simplefilter("ignore")
from jwst.associations import load_as_asn, load_asn
answers = []
for path in sys.argv[1:]:
    try:
        with open(path) as file:
            load_asn(file)
        made = load_as_asn.LoadAsAssociation.load(path)
        answers.append([[p["name"], [m["expname"] for m in p["members"]]] for p in made["products"]])
    except Exception as error:
        answers.append(type(error).__name__)
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def loader(peer):
    """Give files to the field's loader; return what it found in each."""

    def load(paths):
        done = subprocess.run(
            [peer, "-c", LOADS, *paths], capture_output=True, text=True, timeout=300, check=True
        )
        return json.loads(done.stdout.splitlines()[-1])

    return load


def made(level, **changes):
    details = (("exposerr", None), *([("asn_candidate", "[('o001', 'x')]")] if level == 3 else []))
    rule = {2: ("candidate_Asn_Lv2Image", "image2"), 3: ("candidate_Asn_Lv3Image", "image3")}[level]
    members = tuple(Member(f"{name}_uncal.fits", "science", details) for name in "ab")
    return Association(
        **{
            "rule": rule[0], "type": rule[1], "level": level, "candidate": "o001",
            "program": "99009", "target": "t001", "pool": "night_pool.csv",
            "products": (Product("a-{source_id}", members),), "sequence": 1, **changes,
        }
    )  # fmt: skip


def test_what_we_write_is_read(loader, tmp_path):
    written = write_associations([made(2), made(3), made(2, degraded=True, sequence=2)], tmp_path)
    stamped = write_associations([made(2)], tmp_path, version="20260102t030405")
    listed = write_document(from_list(["a_cal.fits"], product="x"), tmp_path / "list.json")
    files = ["a_rate.fits", ("b_rate.fits", "background")]
    each = write_document(from_list(files, rule=EXPOSURE), tmp_path / "each.json")
    paths = [*written.paths, *stamped.paths, listed, each]

    answers = loader(paths)

    assert answers == [
        [
            [p["name"], [m["expname"] for m in p["members"]]]
            for p in json.loads(path.read_text())["products"]
        ]
        for path in paths
    ]


def test_what_it_refuses_we_refuse(loader, tmp_path):
    good = from_list(["a_cal.fits"], product="x")
    texts = [json.dumps({**good, **change}) for change in (
        {"products": 3}, {"products": [{}]}, {"products": [{"members": [{"expname": "a"}]}]},
        {"asn_type": 1}, {"asn_pool": None}, {"program": []},
        {"products": [{"name": 1, "members": []}]},
    )]  # fmt: skip
    texts += [json.dumps(good)[:-1], "", "[]"]
    paths = [tmp_path / f"{number}.json" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)

    answers = loader(paths)

    assert all(isinstance(answer, str) for answer in answers), answers
    assert all(any(fault.fatal for fault in faults_of_text(text)[1]) for text in texts)


@pytest.mark.parametrize(
    ("pool", "options"),
    [
        ("pool_018_all_exptypes", []),
        ("pool_010_spec_nirspec_lv2bkg", ["--merge"]),
        ("pool_033_wfs_jitter", ["--version-id"]),
        ("x02_nircam_wfss", ["-D"]),
    ],
)
def test_what_is_generated_of_real_pools_is_read(loader, tmp_path, pool, options):
    path = CASES / "pools" / f"{pool}.csv"
    if not path.exists():
        pytest.skip(f"the pools to compare with are not here: {CASES}")
    with pytest.raises(SystemExit) as left:
        main(["asn", "generate", str(path), "-p", str(tmp_path), "-q", *options])
    assert left.value.code == 0
    paths = sorted(tmp_path.glob("*.json"))

    answers = loader(paths)

    assert paths
    assert answers == [
        [
            [p["name"], [m["expname"] for m in p["members"]]]
            for p in json.loads(path.read_text())["products"]
        ]
        for path in paths
    ]
