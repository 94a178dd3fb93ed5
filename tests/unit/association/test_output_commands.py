"""``asn validate`` and ``asn from-list``, as a person uses them."""

import json
import subprocess
import sys

import pytest

from lightmill.association.output import write_associations
from lightmill.association.records import Association, Member, Product
from lightmill.cli.main import main
from lightmill.errors import OutputError


@pytest.fixture
def asn(capsys):
    """Run a command; return its exit status, and what it printed on both streams."""

    def run(*words):
        with pytest.raises(SystemExit) as left:
            main(["asn", *map(str, words)])
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return run


def test_a_list_is_written_and_is_good(asn, tmp_path):
    path = tmp_path / "l3.json"

    made = asn(
        "from-list", "-o", path, "--product-name", "m31", "a_cal.fits", "b_cal.fits,background"
    )

    assert made == (0, f"{path}\n", "")
    assert json.loads(path.read_text())["products"][0]["members"][1]["exptype"] == "background"
    assert asn("validate", path) == (0, f"{path}: good, 1 products of 2 members\n", "")


def test_products_of_exposures_lose_the_suffix_of_their_files(asn, tmp_path):
    asn(
        "from-list",
        "-o",
        tmp_path / "l2.json",
        "-r",
        "DMSLevel2bBase",
        "jw1_rate.fits",
        "n/b_rateints.fits",
    )

    products = json.loads((tmp_path / "l2.json").read_text())["products"]

    assert [product["name"] for product in products] == ["jw1", "n/b"]


@pytest.mark.parametrize(
    "words",
    [
        ["a.fits"],
        ["--product-name", "../x", "a.fits"],
        ["--product-name", "x", "../a.fits"],
        ["--product-name", "x", "a;b.fits"],
        ["--product-name", "x", "-r", "NoRule", "a.fits"],
    ],
)
def test_a_bad_list_writes_nothing(asn, tmp_path, words):
    status, _, said = asn("from-list", "-o", tmp_path / "x.json", *words)

    assert status in {3, 5}
    assert said
    assert list(tmp_path.iterdir()) == []


def test_every_bad_file_is_named_with_the_place_of_its_fault(asn, tmp_path):
    (tmp_path / "a.json").write_text(
        '{"products": [\n  {"members": [{"expname": "/etc/x", "exptype": 1}]}]}'
    )
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.txt").write_text(
        '{"products": [{"members": [{"expname": "../x", "exptype": "s"}]}]}'
    )

    status, said, _ = asn("validate", *sorted(tmp_path.iterdir()), tmp_path / "d.json")

    assert status == 3
    assert "a.json:2:49 [products[0].members[0].exptype]: 'exptype' is not text" in said
    assert "b.json:1:2: no JSON" in said
    assert "c.txt:1:1: the name does not end in '.json'" in said
    assert "leaves its folder" in said
    assert "d.json: the association cannot be read" in said


def test_a_file_that_is_wrong_throughout_is_said_so_once(asn, tmp_path):
    members = [{"expname": f"../{number}", "exptype": "science"} for number in range(5000)]
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"products": [{"name": "a", "members": members}]}))

    status, said, _ = asn("validate", path)

    assert status == 3
    assert "4900 more faults" in said
    assert said.count("leaves its folder") == 100


def test_members_that_are_not_there_are_said_when_asked_for(asn, tmp_path):
    path = tmp_path / "l3.json"
    asn("from-list", "-o", path, "--product-name", "m31", "a_cal.fits")

    status, said, _ = asn("validate", "--members", "--json", path)

    (answer,) = json.loads(said)
    assert status == 3
    assert answer["errors"][0]["fact"] == "there is no such file"
    (tmp_path / "a_cal.fits").touch()
    assert asn("validate", "--members", "-q", path) == (0, "", "")


def test_associating_a_small_pool_imports_neither_arrays_nor_instruments(tmp_path):
    # physics: none; a pool of few rows takes the time of what is imported
    pool = tmp_path / "pool.csv"
    pool.write_text("filename|asn_candidate|program|exp_type|targetid|pntgtype\n")
    code = f"""
import sys
from lightmill.cli.main import main
try:
    main(["asn", "generate", {str(pool)!r}, "-p", {str(tmp_path)!r}])
except SystemExit as left:
    print(left.code, sorted({{"numpy", "lightmill.app", "jsonschema"}} & set(sys.modules)))
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_folder_in_the_way_leaves_the_others_as_they_were(tmp_path):
    made = [
        Association(
            "r", "t", 2, "o001", "1", "1", "p", (Product("a", (Member("a", "science"),)),), n
        )
        for n in (1, 2)
    ]
    (tmp_path / "1-o001_t_00002_asn.json").mkdir()

    with pytest.raises(OutputError):
        write_associations(made, tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["1-o001_t_00002_asn.json"]


def test_a_link_is_replaced_not_followed(tmp_path):
    (outside := tmp_path / "outside.json").write_text("mine")
    (folder := tmp_path / "out").mkdir()
    (folder / "1-o001_t_00001_asn.json").symlink_to(outside)
    product = Product("a", (Member("a", "science"),))

    write_associations([Association("r", "t", 2, "o001", "1", "1", "p", (product,), 1)], folder)

    assert outside.read_text() == "mine"
    assert not (folder / "1-o001_t_00001_asn.json").is_symlink()
