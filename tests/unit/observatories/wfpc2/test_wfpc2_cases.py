"""Archives whose truth somebody else worked out: every step of every delivery."""

import json
import shutil
import subprocess
import sys

import pytest

from lightmill.errors import CorruptFileError, DataError
from lightmill.observatories.hst.wfpc2.check import check, flag_differences
from lightmill.observatories.hst.wfpc2.flags import transitions
from lightmill.observatories.hst.wfpc2.instance import Instance
from lightmill.observatories.hst.wfpc2.replay import replay


@pytest.fixture(scope="module")
def small(cases):
    return check(cases / "small", keep=True)


def test_every_delivery_does_what_the_truth_says(small):
    assert small.differences == []
    assert small.counts["transitions"] == 147
    assert small.counts["scenarios"] == 17


def test_the_rule_of_1997_misses_what_content_finds(small):
    after = small.deliveries[1]

    assert after["previews"] == {"gen_date_1997": 6, "preview_field": 8, "content_hash": 8}
    runs = {name: set(one) for name, one in small.result["steps"][1]["preview_runs"].items()}
    # moved by a re-archived jitter file, and smaller by a corrected filter: no date has changed
    assert runs["content_hash"] - runs["gen_date_1997"] == {"UZ050300A", "UZ050700A"}
    # the field saw the first only, and made one again of the same numbers
    assert runs["content_hash"] - runs["preview_field"] == {"UZ050700A"}
    assert runs["preview_field"] - runs["content_hash"] == {"UZ051400A"}


@pytest.mark.parametrize("seed", [20, 21])
def test_archives_never_seen_before_agree_too(make_archive, seed):
    found = check(make_archive(seed, 14, "--rearchive-frac", "0.1"))

    assert found.counts["compared_with_truth"]
    assert found.differences == []


def test_a_fault_is_seen(cases, tmp_path):
    # The check can fail: a member's shift, a quality and a step of the truth are falsified.
    shutil.copytree(cases / "small", tmp_path / "small")
    path = tmp_path / "small" / "truth.json"
    path.chmod(0o644)
    path.parent.chmod(0o755)
    truth = json.loads(path.read_text())
    truth["type_A"]["associations"][0]["members"][2]["shifts"]["PC1"][0] += 0.006
    truth["type_B"]["associations"][0]["members"][1]["q"] = "G"
    truth["steps"][1]["jep_ok"].pop()
    path.write_text(json.dumps(truth))

    found = check(tmp_path / "small")

    assert len(found.differences) == 3


def test_the_independent_checker_accepts_our_archive(small, cases, tmp_path):
    # its oracle knows other formulae and the flags as literal SQL; it reads our result as the truth
    folder = tmp_path / "small"
    shutil.copytree(cases / "small", folder)
    folder.chmod(0o755)
    (folder / "truth.json").unlink()
    truth = json.loads((cases / "small" / "truth.json").read_text())
    instance = Instance(cases / "small")
    pointings = {
        f"{one.dataset.lower()}_{one.gen_date_str}": one
        for step in replay(instance)
        for one in step.archive.state.pointings.values()
    }
    ours = {**small.result, "oms_generations": truth["oms_generations"]}
    for stem, one in pointings.items():
        mean = None if one.ra is None else [one.ra, one.dec, one.roll]
        ours["oms_generations"][stem].update(quality=one.quality, mean=mean)
    for delivery, proposals in ((1, {90005}), (2, {90001, 90002, 90005})):
        name = f"after_delivery_{delivery}"
        kept = [one for one in ours[name]["type_A"] if one["pep_id"] in proposals]
        ours[name] = {"type_A": kept}
    (folder / "truth.json").write_text(json.dumps(ours))

    answer = subprocess.run(
        [sys.executable, cases / "check_cases.py", folder], capture_output=True, text=True
    )

    assert answer.stdout.rstrip().endswith("PASS 0"), answer.stdout + answer.stderr


def test_the_independent_checker_accepts_our_flags(cases, tmp_path):
    def named(flags):
        return {"cal": flags.cal, "oms": flags.oms}

    ours = [
        {"id": f"{event}:{before}", "event": event, "before": named(before), "after": named(after)}
        for before, event, after in transitions()
    ]
    (tmp_path / "transitions.json").write_text(json.dumps({"transitions": ours}))
    shutil.copy(cases / "check_transitions.py", tmp_path)

    answer = subprocess.run(
        [sys.executable, tmp_path / "check_transitions.py"], capture_output=True, text=True
    )

    assert len(ours) == 147
    assert answer.stdout.rstrip().endswith("PASS 0"), answer.stdout + answer.stderr


def test_a_wrong_transition_is_seen(cases):
    rules = json.loads((cases / "transitions.json").read_text())
    rules["transitions"][0]["after"]["cal"] = "R"
    rules["scenarios"][0]["trace"][-1] = "RY"

    assert len(flag_differences(rules)) == 2


@pytest.mark.parametrize("content", ["", "[]", "{}", "{", '{"steps": []}'])
def test_a_truth_that_is_none_is_refused(cases, tmp_path, content):
    shutil.copy(cases / "small" / "archive.sqlite", tmp_path)
    (tmp_path / "truth.json").write_text(content)

    with pytest.raises(CorruptFileError):
        check(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"not a database, but long enough to be read as one" * 50]
)
def test_tables_that_are_none_are_refused(tmp_path, content):
    (tmp_path / "archive.sqlite").write_bytes(content)

    with pytest.raises(DataError):
        check(tmp_path)


def test_an_archive_without_a_truth_is_held_against_itself(make_archive):
    folder = make_archive(22, 8)
    (folder / "truth.json").unlink()

    found = check(folder)

    assert found.differences == []
    assert not found.counts["compared_with_truth"]
    assert found.counts["associations"] > 0
